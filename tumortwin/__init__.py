"""tumortwin: from a DICOM folder to a calibrated, honest tumor forecast. Research use only, not for clinical decisions.

The names below are the road, in its order; everything else is in the subpackage whose noun it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tumortwin.exports import lazy_exports
from tumortwin.version import __version__ as __version__

if TYPE_CHECKING:
    from tumortwin.board.export import export_dicom as export_dicom
    from tumortwin.board.report import BoardReport as BoardReport
    from tumortwin.calibration import Calibration as Calibration
    from tumortwin.calibration import Forecast as Forecast
    from tumortwin.calibration import calibrate as calibrate
    from tumortwin.errors import TumorTwinError as TumorTwinError
    from tumortwin.growth import GrowthParameters as GrowthParameters
    from tumortwin.growth import simulate as simulate
    from tumortwin.imaging import Finding as Finding
    from tumortwin.imaging import Mask as Mask
    from tumortwin.imaging import Volume as Volume
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
else:
    # so that `tumortwin --version` does not wait for ITK and matplotlib
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "patient": "read_patient Patient Visit",
            "imaging": "Volume Mask Finding",
            "twin": "build_twin Twin",
            "growth": "simulate GrowthParameters",
            "calibration": "calibrate Calibration Forecast",
            "planning": "optimize_dose PlanFront",
            "board.report": "BoardReport",
            "board.export": "export_dicom",
            "network": "pull_patient push DicomWeb DimsePeer",
            "progress": "TqdmProgress",
            "errors": "TumorTwinError",
            "version": "__version__",
        },
    )
