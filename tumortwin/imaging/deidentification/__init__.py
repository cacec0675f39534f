"""De-identification for longitudinal work: who it is goes, when it was moves as a whole, what it shows stays."""

from tumortwin.imaging.deidentification.folder import deidentify
from tumortwin.imaging.deidentification.report import DeidentificationReport

__all__ = ["DeidentificationReport", "deidentify"]
