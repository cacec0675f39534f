"""tumortwin: from a DICOM folder to a calibrated, honest tumor forecast. Research use only."""

__version__ = "0.1.0"
