"""tumortwin: from a DICOM folder to a calibrated, honest tumor forecast. Research use only, not for clinical decisions.

The names below are the road, in its order; everything else is in the subpackage whose noun it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tumortwin.version import __version__

if TYPE_CHECKING:
    from tumortwin.board.export import export_dicom as export_dicom
    from tumortwin.board.report import BoardReport as BoardReport
    from tumortwin.calibration import Calibration as Calibration
    from tumortwin.calibration import Forecast as Forecast
    from tumortwin.calibration import calibrate as calibrate
    from tumortwin.errors import TumorTwinError as TumorTwinError
    from tumortwin.growth import GrowthParameters as GrowthParameters
    from tumortwin.growth import simulate as simulate
    from tumortwin.imaging.findings import Finding as Finding
    from tumortwin.imaging.volume import Mask as Mask
    from tumortwin.imaging.volume import Volume as Volume
    from tumortwin.network import DicomWeb as DicomWeb
    from tumortwin.network import DimsePeer as DimsePeer
    from tumortwin.network import pull_patient as pull_patient
    from tumortwin.network import push as push
    from tumortwin.patient import Patient as Patient
    from tumortwin.patient import Visit as Visit
    from tumortwin.patient import read_patient as read_patient
    from tumortwin.planning import PlanFront as PlanFront
    from tumortwin.planning import optimize_dose as optimize_dose
    from tumortwin.progress import TqdmProgress as TqdmProgress
    from tumortwin.twin import Twin as Twin
    from tumortwin.twin import build_twin as build_twin

_HOME = {
    "read_patient": "patient", "Patient": "patient", "Visit": "patient",
    "Volume": "imaging.volume", "Mask": "imaging.volume", "Finding": "imaging.findings",
    "build_twin": "twin", "Twin": "twin",
    "simulate": "growth", "GrowthParameters": "growth",
    "calibrate": "calibration", "Calibration": "calibration", "Forecast": "calibration",
    "optimize_dose": "planning", "PlanFront": "planning",
    "BoardReport": "board.report", "export_dicom": "board.export",
    "pull_patient": "network", "push": "network", "DicomWeb": "network", "DimsePeer": "network",
    "TqdmProgress": "progress",
    "TumorTwinError": "errors",
}  # fmt: skip

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    # names are imported when first used, so that `tumortwin --version` does not wait for ITK and matplotlib
    if name not in _HOME:
        raise AttributeError(f"module 'tumortwin' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tumortwin.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
