"""The small values that a board page shows: what the charts draw and the tables print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tumortwin.imaging.volume import Volume
from tumortwin.planning.options import Interval


class Role(StrEnum):
    """What a scan was used for."""

    FITTED = "calibration"
    HELD_OUT = "held out"
    OBSERVED = "observed"


@dataclass(frozen=True, eq=False)
class Scan:
    """One visit's measured volumes.

    Parameters
    ----------
    date : datetime
        When.
    day : float
        Days since the first scan.
    role : Role
        Whether it was used to calibrate.
    volumes_ml : mapping of str to float
        By quantity ("whole", "core"), mL.
    """

    date: datetime
    day: float
    role: Role
    volumes_ml: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class PredictedVolume:
    """A predicted volume over time: median and 90 % interval, mL.

    Parameters
    ----------
    quantity : str
        "whole" or "core".
    days : (n,) array
        Days since the first scan.
    median, low, high : (n,) arrays
        mL; `low` and `high` are the 5th and 95th percentile.
    fitted_until : float
        Day of the last scan used; what comes after is forecast.
    """

    quantity: str
    days: NDArray[np.float64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fitted_until: float = 0.0


@dataclass(frozen=True)
class TimelineCourse:
    """A treatment on the timeline.

    Parameters
    ----------
    kind : str
        "radiotherapy", "drug" or "surgery".
    label : str
        "Radiotherapy", "temozolomide", "Resection".
    detail : str
        "60 Gy in 30 fractions", "75 mg/m2 x 42".
    days : tuple of float
        Each fraction, dose or operation, in days since the first scan.
    spans : tuple of (float, float)
        Unbroken runs, first to last day of each.
    """

    kind: str
    label: str
    detail: str
    days: tuple[float, ...]
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of the slice that all panels share.

    Parameters
    ----------
    title : str
        "observed" or "predicted".
    date : datetime
        Of the scan or the prediction.
    day : float
        Days since the first scan.
    role : Role
        Of the scan.
    anatomy : Volume
        One slice, shape (1, rows, columns).
    outlines : mapping of str to (1, rows, columns) array
        Observed regions, share of each pixel.
    density : (1, rows, columns) array or None
        Predicted cell density, 0..1.
    predicted : mapping of str to (1, rows, columns) array
        Predicted regions, share of each pixel (or of the samples).
    window : (float, float) or None
        Values drawn black and white.
    """

    title: str
    date: datetime
    day: float
    role: Role
    anatomy: Volume
    outlines: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    density: NDArray[np.float32] | None = None
    predicted: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """One predicted volume beside the observed one, mL."""

    date: datetime
    day: float
    role: Role
    quantity: str
    observed: float
    predicted: Interval


@dataclass(frozen=True)
class MethodScore:
    """How one method predicted one held-out region.

    Parameters
    ----------
    date : datetime
        The held-out scan.
    day : float
        Days since the first scan.
    method : str
        "tumortwin", "last scan unchanged", ...
    quantity : str
        "whole" or "core".
    dice : float or None
        Overlap with the observed region, 0..1.
    volume_ml : float
        What the method predicts.
    error_ml : float
        Predicted minus observed.
    error_percent : float or None
        The same in % of the observed volume.
    low_ml, high_ml : float or None
        The prediction's 90 % interval, if the method has one.
    """

    date: datetime
    day: float
    method: str
    quantity: str
    dice: float | None
    volume_ml: float
    error_ml: float
    error_percent: float | None
    low_ml: float | None = None
    high_ml: float | None = None


@dataclass(frozen=True)
class Parameter:
    """A number of the model: value, 90 % interval, where it is from.

    Parameters
    ----------
    name, unit : str
        As the code calls it, and its unit.
    value : float
        Posterior median, or the fixed value.
    low, high : float or None
        90 % interval; None for a fixed value.
    prior_low, prior_high : float or None
        90 % interval of the prior.
    source : str
        Where the value or the prior is from.
    known_from : str
        "scans and prior", "prior only", "fixed".
    """

    name: str
    unit: str
    value: float
    low: float | None
    high: float | None
    prior_low: float | None
    prior_high: float | None
    source: str
    known_from: str = ""


@dataclass(frozen=True)
class OrganDose:
    """A dose to an organ against its limit.

    Parameters
    ----------
    organ : str
        Structure name.
    metric : str
        What is limited, as "Dmax (D0.03cc)".
    value : float
        EQD2 in Gy (NTCP in %).
    limit : float or None
        What it may be.
    met : bool or None
        Whether the limit is kept; None without one.
    source : str
        Where the limit is from.
    physical_limit : float or None
        The limit as physical dose in Gy for the course's number of fractions: where a histogram marks it.
    """

    organ: str
    metric: str
    value: float
    limit: float | None
    met: bool | None
    source: str = ""
    physical_limit: float | None = None


@dataclass(frozen=True, eq=False)
class OptionRow:
    """One schedule and what the twin says of it.

    Parameters
    ----------
    name : str
        "60 Gy / 30".
    origin : str
        "clinical", "delivered" or "search".
    fractions : int
        Number of fractions.
    dose_per_fraction, total : float
        Prescribed, Gy.
    bed, eqd2 : float
        To the tumor, Gy.
    organs : tuple of OrganDose
        Doses to organs against their limits.
    outcomes : mapping of str to Interval
        By key of :attr:`tumortwin.board.BoardReport.outcome_names`, e.g. "volume_ml", "progression_days".
    """

    name: str
    origin: str
    fractions: int
    dose_per_fraction: float
    total: float
    bed: float
    eqd2: float
    organs: tuple[OrganDose, ...]
    outcomes: Mapping[str, Interval]

    @property
    def met(self) -> bool:
        """Whether every limit is kept."""
        return all(organ.met is not False for organ in self.organs)


@dataclass(frozen=True, eq=False)
class DvhCurve:
    """Share of a structure's volume (%) that gets at least a dose (Gy, physical)."""

    structure: str
    dose: NDArray[np.float64]
    volume: NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A number that says how good the calibration is."""

    what: str
    value: float
    unit: str
    meaning: str
