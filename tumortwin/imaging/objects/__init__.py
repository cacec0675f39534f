"""DICOM objects that are not images: segmentations, structure sets, plans, doses, registrations."""
