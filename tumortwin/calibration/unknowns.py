"""The unknown numbers of the model: names, units, bounds and what is believed about them before this patient's scans.

Every unknown is worked with in a transformed space where its prior is a normal distribution: the logarithm of what must
be positive, the log-odds of what lies between 0 and 1, the number itself otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth.parameters import SOURCES, GrowthParameters

DECIMALS = 7
"""Decimals that are kept of the unknowns on their scales.

The unknowns are known to 0.01 or worse on their scales, and what linear algebra rounds differently on another processor
is in the twelfth decimal: rounding in between keeps it from growing in what is computed next.
"""


def rounded(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unknowns on their scales, or their deviations, to :data:`DECIMALS` decimals."""
    return np.round(numbers, DECIMALS)


class Scale(StrEnum):
    """Where an unknown's prior is normal."""

    LOG = "log"
    LOGIT = "logit"
    LINEAR = "linear"

    def forward(self, value: float) -> float:
        """From the number itself to the transformed one."""
        if self is Scale.LOG:
            return math.log(value)
        return math.log(value / (1 - value)) if self is Scale.LOGIT else float(value)

    def back(self, transformed: float) -> float:
        """From the transformed number to the number itself."""
        if self is Scale.LOG:
            return math.exp(transformed)
        return 1 / (1 + math.exp(-transformed)) if self is Scale.LOGIT else float(transformed)


@dataclass(frozen=True)
class Unknown:
    """One number to be found, with its prior.

    Parameters
    ----------
    name, symbol, unit : str
        Name in code, symbol in formulas, unit of the number itself.
    scale : Scale
        Where the prior is normal.
    median : float
        The prior's median, in `unit`.
    spread : float
        The prior's standard deviation on `scale`.
    source : str
        Where the prior is from.
    step : float
        Finite difference on `scale`.
    solves : bool
        Whether a change needs a new solution of the growth equation, or only of the observation model.
    """

    name: str
    symbol: str
    unit: str
    scale: Scale
    median: float
    spread: float
    source: str
    step: float = 0.01
    solves: bool = True

    @property
    def mean(self) -> float:
        """The prior's mean on `scale`."""
        return self.scale.forward(self.median)

    @property
    def bounds(self) -> tuple[float, float]:
        """Four standard deviations to either side, on `scale`: the search stays where the prior has any weight."""
        return self.mean - 4 * self.spread, self.mean + 4 * self.spread

    def interval(self, mean: float | None = None, spread: float | None = None) -> tuple[float, float]:
        """Compute the central 90 % of a normal distribution on `scale` (the prior's if not given), in `unit`."""
        m, s = self.mean if mean is None else mean, self.spread if spread is None else spread
        return self.scale.back(m - Z90 * s), self.scale.back(m + Z90 * s)

    def describe_prior(self) -> str:
        """For people: median and central 90 %."""
        low, high = self.interval()
        return f"{self.median:.3g} ({low:.3g} to {high:.3g})"


Z90 = 1.6448536269514722
"""Half width of a normal distribution's central 90 %, in standard deviations."""

SHAPES = tuple(f"seed_shape_{i}" for i in range(1, 6))

DIFFUSIVITY = Unknown(
    "diffusivity",
    "D",
    "mm^2/day",
    Scale.LOG,
    0.1,
    1.0,
    "Harpold, Alvord & Swanson 2007 (doi:10.1093/jnen/66.1.1): high-grade glioma, about 6 to 150 mm^2/year",
)
PROLIFERATION = Unknown(
    "proliferation_rate",
    "rho",
    "1/day",
    Scale.LOG,
    0.03,
    0.7,
    "Harpold, Alvord & Swanson 2007 (doi:10.1093/jnen/66.1.1): high-grade glioma, about 3 to 30 per year",
)
ALPHA = Unknown(
    "alpha",
    "alpha",
    "1/Gy",
    Scale.LOG,
    0.06,
    0.7,
    "between Qi 2006 (0.04 +- 0.06) and Pedicini 2014 (0.12), commonly quoted; the spread covers both",
)
TEMOZOLOMIDE = Unknown(
    "temozolomide",
    "s_TMZ",
    "1/(mg/m2)",
    Scale.LOG,
    GrowthParameters().drug_sensitivity["temozolomide"],
    0.8,
    SOURCES["drug_sensitivity"] + "; from next to nothing (MGMT not methylated) to several times that",
)
EARLY_GROWTH = Unknown(
    "early_growth",
    "q",
    "1",
    Scale.LINEAR,
    0.0,
    0.35,
    "growth before the first scan may have differed: D exp(q), rho exp(-q)",
)
FRONT_WIDTH = Unknown("front_width", "w", "mm", Scale.LOG, 4.0, 0.4, "width of the seed's edge: a few mm, assumed")
WHOLE = Unknown(
    "threshold_whole",
    "u_FLAIR",
    "1",
    Scale.LOGIT,
    0.25,
    0.6,
    "density at the edge of the FLAIR abnormality, commonly quoted as 0.16 to 0.35; wider, because edema is in it too",
    solves=False,
)
CORE = Unknown(
    "threshold_core",
    "u_T1Gd",
    "1",
    Scale.LOGIT,
    0.7,
    0.6,
    "density at the edge of enhancement, commonly quoted as 0.6 to 0.8; wider, because it is a convention",
    solves=False,
)
READER_WHOLE = Unknown(
    "reader_whole",
    "r_FLAIR",
    "mm",
    Scale.LINEAR,
    0.0,
    1.5,
    "an algorithm's FLAIR contour lies that far outside a person's; readers differ by 1 to 2 mm",
    solves=False,
)
READER_CORE = Unknown(
    "reader_core",
    "r_T1Gd",
    "mm",
    Scale.LINEAR,
    0.0,
    1.5,
    "an algorithm's T1Gd contour lies that far outside a person's; readers differ by 1 to 2 mm",
    solves=False,
)
ADC_OFFSET = Unknown(
    "adc_offset",
    "a",
    "1",
    Scale.LINEAR,
    0.0,
    0.1,
    "edema raises and healthy tissue lowers ADC: density from ADC is off by a constant",
    solves=False,
)
ADC_SCALE = Unknown(
    "adc_scale",
    "b",
    "1",
    Scale.LOG,
    1.0,
    0.2,
    "the ADC of densest tumor is not known for the patient: density from ADC is off by a factor",
    solves=False,
)
CLEARANCE = Unknown(
    "clearance",
    "t_half",
    "day",
    Scale.LOG,
    30.0,
    0.7,
    "assumed: killed cells stay visible and are cleared over weeks to months, as pseudoprogression fades",
    solves=False,
)


def seed_unknowns(radius: float, spacing: float) -> tuple[Unknown, ...]:
    """Build the unknowns of the ellipsoid that the tumor grew from, in mm about the first scan's center.

    Parameters
    ----------
    radius : float
        Radius of the first scan's tumor in mm.
    spacing : float
        Voxel edge in mm; the seed's place is believed to be within about three voxels.
    """
    place = "centre of the first scan's tumor, within three voxels"
    axes = "zyx"
    shape = "log of the ellipsoid's axes (a traceless symmetric matrix); a sphere, within a factor of about 1.5"
    return (
        *(Unknown(f"seed_{a}", a, "mm", Scale.LINEAR, 0.0, 3 * spacing, place, step=0.05 * spacing) for a in axes),
        Unknown("seed_radius", "R", "mm", Scale.LOG, radius, 0.7, "radius of the first scan's tumor"),
        *(Unknown(name, f"e{i}", "1", Scale.LINEAR, 0.0, 0.4, shape) for i, name in enumerate(SHAPES, 1)),
        FRONT_WIDTH,
    )
