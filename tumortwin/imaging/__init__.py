"""What was scanned: DICOM and NIfTI to and from Volume, Mask and Dose, with findings."""

from typing import TYPE_CHECKING

from tumortwin.exports import lazy_exports

if TYPE_CHECKING:
    from tumortwin.imaging.findings import Finding as Finding
    from tumortwin.imaging.findings import Severity as Severity
    from tumortwin.imaging.folder import read_folder as read_folder
    from tumortwin.imaging.folder import scan_folder as scan_folder
    from tumortwin.imaging.labels import LabelScheme as LabelScheme
    from tumortwin.imaging.nifti import read_dose_map as read_dose_map
    from tumortwin.imaging.nifti import read_image as read_image
    from tumortwin.imaging.nifti import read_labels as read_labels
    from tumortwin.imaging.nifti import read_mask as read_mask
    from tumortwin.imaging.nifti import write_nifti as write_nifti
    from tumortwin.imaging.plan import DeliveryRecord as DeliveryRecord
    from tumortwin.imaging.plan import PlanRecord as PlanRecord
    from tumortwin.imaging.resampling import resample as resample
    from tumortwin.imaging.sequence import MRSequence as MRSequence
    from tumortwin.imaging.study import AcquiredImage as AcquiredImage
    from tumortwin.imaging.study import AcquiredMask as AcquiredMask
    from tumortwin.imaging.study import SeriesInfo as SeriesInfo
    from tumortwin.imaging.study import Study as Study
    from tumortwin.imaging.volume import Dose as Dose
    from tumortwin.imaging.volume import FractionDose as FractionDose
    from tumortwin.imaging.volume import Grid as Grid
    from tumortwin.imaging.volume import Mask as Mask
    from tumortwin.imaging.volume import TotalDose as TotalDose
    from tumortwin.imaging.volume import Volume as Volume
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "findings": "Finding Severity",
            "folder": "read_folder scan_folder",
            "labels": "LabelScheme",
            "nifti": "read_dose_map read_image read_labels read_mask write_nifti",
            "plan": "DeliveryRecord PlanRecord",
            "resampling": "resample",
            "sequence": "MRSequence",
            "study": "AcquiredImage AcquiredMask SeriesInfo Study",
            "volume": "Dose FractionDose Grid Mask TotalDose Volume",
        },
        {"Sequence": "MRSequence"},
    )
