"""Where the tumor is: registration, segmentation, cellularity and the growth domain."""
