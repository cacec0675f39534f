"""What organs at risk tolerate: limits with their sources, and the models behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from tumortwin.errors import InputError
from tumortwin.imaging.organ_names import names_brain
from tumortwin.planning.dvh import DoseVolumeHistogram
from tumortwin.therapy.linear_quadratic import bed, eqd2

NEAR_MAX_ML = 0.03
"""Dmax is read as the least dose of the hottest 0.03 mL: the maximum of single voxels depends on the grid."""


class Organ(StrEnum):
    """Organs at risk that limits are known of."""

    BRAIN = "brain"
    BRAINSTEM = "brainstem"
    CHIASM = "optic chiasm"
    OPTIC_NERVE = "optic nerve"
    LENS = "lens"


TARGETS = ("ptv", "ctv", "gtv")
"""Names of target volumes begin so; the first that is there is the one that a dose is prescribed to."""

_PATTERNS = (
    (Organ.BRAINSTEM, r"brainstem"),
    (Organ.CHIASM, r"chiasm"),
    (Organ.OPTIC_NERVE, r"optic(nrv|nerve|n[lr]?$)"),
    (Organ.LENS, r"^lens"),
)


def organ_named(name: str) -> Organ | None:
    """Find the organ that a structure's name means ("BrainStem", "OpticNrv_L" of TG-263, "Gehirn"); None if none.

    Margins around organs (PRV) are not the organ.
    """
    if names_brain(name):
        return Organ.BRAIN
    plain = re.sub(r"[^a-z]", "", name.lower())
    if "prv" in plain:
        return None
    return next((organ for organ, pattern in _PATTERNS if re.search(pattern, plain)), None)


class Quantity(StrEnum):
    """What is limited."""

    NEAR_MAX = "Dmax (D0.03cc)"
    NTCP = "NTCP"


@dataclass(frozen=True)
class Complication:
    """Parameters of the Lyman-Kutcher-Burman model.

    Parameters
    ----------
    td50 : float
        Uniform EQD2 in Gy that harms half of the patients.
    m : float
        Slope: standard deviation over td50.
    n : float
        Volume effect: 0 only the hottest spot counts, 1 the mean dose does.
    """

    td50: float
    m: float
    n: float


@dataclass(frozen=True)
class Constraint:
    """One limit for one organ.

    Parameters
    ----------
    organ : Organ
        Which.
    quantity : Quantity
        What is limited.
    limit : float
        In Gy of EQD2 (limits were found at 1.8 to 2 Gy a fraction), or a probability 0..1 for NTCP.
    alpha_beta : float
        Of the organ, Gy.
    risk : str
        What the limit stands for.
    reference : str
        Where it is from.
    complication : Complication or None
        For NTCP.
    """

    organ: Organ
    quantity: Quantity
    limit: float
    alpha_beta: float
    risk: str
    reference: str
    complication: Complication | None = None

    def value(self, physical: DoseVolumeHistogram, fractions: int) -> float:
        """Compute the limited quantity for a course, in the limit's unit.

        Parameters
        ----------
        physical : DoseVolumeHistogram
            Total physical dose of the course.
        fractions : int
            Equal fractions that it is given in; 0 for no dose.
        """
        if fractions == 0:
            return 0.0
        if self.quantity is Quantity.NEAR_MAX:
            return float(eqd2(physical.dose_to_ml(NEAR_MAX_ML) / fractions, fractions, self.alpha_beta))
        if self.complication is None:
            raise InputError(f"an NTCP limit for the {self.organ} needs the parameters of its complication")
        return ntcp_lkb(physical.of(lambda dose: eqd2(dose / fractions, fractions, self.alpha_beta)), self.complication)


@dataclass(frozen=True)
class ConstraintSet:
    """Limits of one source.

    Parameters
    ----------
    name : str
        The source.
    constraints : tuple of Constraint
        One or more for each organ.
    """

    name: str
    constraints: tuple[Constraint, ...]

    def of(self, organ: Organ | None) -> tuple[Constraint, ...]:
        """Return the limits of one organ."""
        return tuple(c for c in self.constraints if c.organ is organ)


_COMMON = "alpha/beta commonly quoted as 2 to 3 Gy; the lower is the more careful for large fractions"
_OPTIC = f"Mayo 2010, doi:10.1016/j.ijrobp.2009.07.1753; {_COMMON}"

QUANTEC = ConstraintSet(
    "QUANTEC 2010",
    (
        Constraint(
            Organ.BRAIN,
            Quantity.NEAR_MAX,
            72.0,
            3.0,
            "5 % symptomatic necrosis (60 Gy: < 3 %, 90 Gy: 10 %)",
            "Lawrence 2010, doi:10.1016/j.ijrobp.2009.02.091, which takes alpha/beta 3 Gy",
        ),
        Constraint(
            Organ.BRAINSTEM,
            Quantity.NEAR_MAX,
            54.0,
            2.0,
            "< 5 % neuropathy or necrosis",
            f"Mayo 2010, doi:10.1016/j.ijrobp.2009.08.078; {_COMMON}",
        ),
        Constraint(Organ.CHIASM, Quantity.NEAR_MAX, 55.0, 2.0, "< 3 % optic neuropathy", _OPTIC),
        Constraint(Organ.OPTIC_NERVE, Quantity.NEAR_MAX, 55.0, 2.0, "< 3 % optic neuropathy", _OPTIC),
    ),
)
"""Dose limits of the QUANTEC review: physical at 1.8 to 2 Gy a fraction, so compared as EQD2."""


def _burman(organ: Organ, td50: float, m: float, n: float, alpha_beta: float, end: str) -> Constraint:
    return Constraint(
        organ,
        Quantity.NTCP,
        0.05,
        alpha_beta,
        f"5 % {end}",
        "Burman 1991, doi:10.1016/0360-3016(91)90172-Z",
        Complication(td50, m, n),
    )


BURMAN = ConstraintSet(
    "Burman 1991",
    (
        _burman(Organ.BRAIN, 60, 0.15, 0.25, 3.0, "necrosis"),
        _burman(Organ.BRAINSTEM, 65, 0.14, 0.16, 2.0, "necrosis"),
        _burman(Organ.CHIASM, 65, 0.14, 0.25, 2.0, "blindness"),
        _burman(Organ.OPTIC_NERVE, 65, 0.14, 0.25, 2.0, "blindness"),
        _burman(Organ.LENS, 18, 0.27, 0.30, 2.0, "cataract (parameters commonly quoted)"),
    ),
)
"""Lyman-Kutcher-Burman fits to the tolerances of Emami 1991, held to 5 %. They are stricter than QUANTEC for the
brainstem: 11 % at a uniform 54 Gy. Say which set is in use."""


def geud(histogram: DoseVolumeHistogram, a: float) -> float:
    """Generalised equivalent uniform dose (sum v_i d_i^a)^(1/a) in the histogram's unit.

    Parameters
    ----------
    histogram : DoseVolumeHistogram
        Of dose or EQD2.
    a : float
        > 0: 1 is the mean, large the maximum. For an organ 1 / n.

    References
    ----------
    Niemierko 1997, doi:10.1118/1.598063
    """
    if not a > 0:
        raise InputError(f"the exponent of a gEUD of an organ is > 0, not {a}")
    top = histogram.maximum
    if top == 0:
        return 0.0
    shares = histogram.parts_ml / histogram.total_ml
    return float(top * (shares * (histogram.dose / top) ** a).sum() ** (1 / a))


def ntcp_lkb(equivalent: DoseVolumeHistogram, complication: Complication) -> float:
    """Normal-tissue complication probability Phi((gEUD - TD50) / (m TD50)), gEUD with a = 1/n.

    Parameters
    ----------
    equivalent : DoseVolumeHistogram
        EQD2 of the whole organ.
    complication : Complication
        TD50, m, n.

    References
    ----------
    Lyman 1985 (Radiat Res 104:S13); Kutcher & Burman 1989, doi:10.1016/0360-3016(89)90972-3
    """
    c = complication
    return float(ndtr((geud(equivalent, 1 / c.n) - c.td50) / (c.m * c.td50)))


def tcp_poisson(
    clonogens: ArrayLike, dose_per_fraction: ArrayLike, fractions: int, alpha: float, alpha_beta: float
) -> float:
    """Tumor control probability exp(-sum N_i S_i): that no clonogenic cell survives.

    Parameters
    ----------
    clonogens : array_like
        Number of clonogenic cells in each voxel (density times volume). No density is agreed on; say which was taken.
    dose_per_fraction : array_like
        Gy in each voxel.
    fractions : int
        How many.
    alpha, alpha_beta : float
        1/Gy and Gy.

    References
    ----------
    Munro & Gilbert 1961, doi:10.1259/0007-1285-34-400-246
    """
    survivors = np.asarray(clonogens, float) * np.exp(-alpha * bed(dose_per_fraction, fractions, alpha_beta))
    return float(np.exp(-survivors.sum()))
