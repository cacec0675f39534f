"""What was scanned: DICOM and NIfTI to and from Volume, Mask and Dose, with findings."""
