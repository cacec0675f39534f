"""Which voxels are tumor: drawn by an expert, or segmented; one visit at a time and over visits."""
