"""What was scanned: DICOM and NIfTI to and from Volume, Mask and Dose, with findings."""

from tumortwin.deprecation import renamed
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.folder import read_folder, scan_folder
from tumortwin.imaging.labels import LabelScheme
from tumortwin.imaging.nifti import read_dose_map, read_image, read_labels, read_mask, write_nifti
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, AcquiredMask, SeriesInfo, Study
from tumortwin.imaging.volume import Dose, FractionDose, Grid, Mask, TotalDose, Volume

__all__ = [
    "AcquiredImage",
    "AcquiredMask",
    "DeliveryRecord",
    "Dose",
    "Finding",
    "FractionDose",
    "Grid",
    "LabelScheme",
    "MRSequence",
    "Mask",
    "PlanRecord",
    "SeriesInfo",
    "Severity",
    "Study",
    "TotalDose",
    "Volume",
    "read_dose_map",
    "read_folder",
    "read_image",
    "read_labels",
    "read_mask",
    "resample",
    "scan_folder",
    "write_nifti",
]

__getattr__ = renamed(__name__, {"Sequence": "MRSequence"})
