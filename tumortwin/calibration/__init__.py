"""What the numbers of the model are for this patient, and how well they are known."""

from tumortwin.calibration.calibration import Calibration, Diagnostics, Estimate
from tumortwin.calibration.fit import calibrate
from tumortwin.calibration.forecast import Band, Forecast, ForecastField, Score
from tumortwin.calibration.options import CalibrateOptions
from tumortwin.calibration.unknowns import Unknown

__all__ = [
    "Band", "CalibrateOptions", "Calibration", "Diagnostics", "Estimate", "Forecast", "ForecastField", "Score",
    "Unknown", "calibrate",
]  # fmt: skip
