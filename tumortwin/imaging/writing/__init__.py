"""DICOM objects that are written, each in a module named after the object."""
