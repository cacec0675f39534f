"""What is measured of a tumor: volumes, diameters, lesions, and the cell density that images suggest."""
