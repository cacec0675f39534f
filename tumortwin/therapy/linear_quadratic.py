"""The linear-quadratic model of radiotherapy: survival, BED and EQD2.

Doses are in Gy, alpha in 1/Gy, beta in 1/Gy^2, alpha/beta in Gy. Every function takes numbers or arrays that broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding

LARGE_FRACTION_GY = 6.0
"""Above 6 to 8 Gy a fraction plain LQ overestimates killing (Kirkpatrick 2008, doi:10.1016/j.semradonc.2008.04.005)."""

Result = Any
"""A float for numbers, a float64 array for arrays."""


def _checked(name: str, value: ArrayLike, *, positive: bool = False) -> Any:
    array = np.asarray(value, float)
    if not np.isfinite(array).all() or (array < 0).any() or (positive and (array == 0).any()):
        raise InputError(f"{name} is finite and {'> 0' if positive else '>= 0'}, not {value!r}")
    return array if array.ndim else float(array)


def survival(dose: ArrayLike, alpha: ArrayLike, beta: ArrayLike) -> Result:
    """Share of cells that survive one fraction: exp(-alpha d - beta d^2).

    Parameters
    ----------
    dose : array_like
        Dose of one fraction in Gy.
    alpha : array_like
        1/Gy.
    beta : array_like
        1/Gy^2.

    Returns
    -------
    array or float
        0..1.

    Raises
    ------
    InputError
        If anything is negative or not finite.

    References
    ----------
    Fowler 1989, doi:10.1259/0007-1285-62-740-679
    """
    d = _checked("a dose", dose)
    return np.exp(-(_checked("alpha", alpha) + _checked("beta", beta) * d) * d)


def survival_lql(dose: ArrayLike, alpha: ArrayLike, beta: ArrayLike, transition: ArrayLike | None = None) -> Result:
    """Share of cells that survive one large fraction: LQ up to a transition dose, log-linear above it.

    Above the transition dose d_T, ln S = -(alpha d_T + beta d_T^2) - (alpha + 2 beta d_T)(d - d_T): the straight line
    continues the LQ curve with its slope at d_T.

    Parameters
    ----------
    dose : array_like
        Dose of one fraction in Gy.
    alpha, beta : array_like
        1/Gy and 1/Gy^2.
    transition : array_like, optional
        d_T in Gy; 2 alpha/beta if not given.

    References
    ----------
    Astrahan 2008, doi:10.1118/1.2969065
    """
    d, a, b = _checked("a dose", dose), _checked("alpha", alpha), _checked("beta", beta)
    if transition is None:
        transition = 2 * a / _checked("beta", b, positive=True)
    turn = _checked("a transition dose", transition)
    below = np.minimum(d, turn)
    return np.exp(-(a + b * below) * below - (a + 2 * b * turn) * (d - below))


def bed(dose_per_fraction: ArrayLike, fractions: ArrayLike, alpha_beta: ArrayLike) -> Result:
    """Biologically effective dose n d (1 + d / (alpha/beta)) in Gy.

    Parameters
    ----------
    dose_per_fraction : array_like
        d in Gy.
    fractions : array_like
        How many of that size, n.
    alpha_beta : array_like
        Gy.

    References
    ----------
    Fowler 1989, doi:10.1259/0007-1285-62-740-679
    """
    d, n = _checked("a dose per fraction", dose_per_fraction), _checked("a number of fractions", fractions)
    return n * d * (1 + d / _checked("alpha/beta", alpha_beta, positive=True))


def eqd2(dose_per_fraction: ArrayLike, fractions: ArrayLike, alpha_beta: ArrayLike) -> Result:
    """Total dose in Gy that has the same effect in fractions of 2 Gy: D (d + alpha/beta) / (2 + alpha/beta).

    Parameters
    ----------
    dose_per_fraction, fractions, alpha_beta
        As in :func:`bed`.

    References
    ----------
    Withers 1983 (Radiother Oncol 1:187)
    """
    return bed_to_eqd2(bed(dose_per_fraction, fractions, alpha_beta), alpha_beta)


def bed_to_eqd2(effective: ArrayLike, alpha_beta: ArrayLike) -> Result:
    """Compute the EQD2 in Gy of a BED in Gy: BED / (1 + 2 / (alpha/beta))."""
    return _checked("a BED", effective) / (1 + 2 / _checked("alpha/beta", alpha_beta, positive=True))


def dose_per_fraction_of_bed(effective: ArrayLike, fractions: ArrayLike, alpha_beta: ArrayLike) -> Result:
    """Solve n d (1 + d / (alpha/beta)) = BED for d: the dose per fraction in Gy that gives a BED in n fractions."""
    b, n = _checked("a BED", effective), _checked("a number of fractions", fractions, positive=True)
    ratio = _checked("alpha/beta", alpha_beta, positive=True)
    return ratio / 2 * (np.sqrt(1 + 4 * b / (n * ratio)) - 1)


def incomplete_repair(fractions_per_day: int, interval_hours: float, repair_half_time_hours: float) -> float:
    """How much the quadratic term gains when fractions follow each other before repair is complete: h_m.

    h_m = (2/m) phi/(1 - phi) (m - (1 - phi^m)/(1 - phi)), phi = exp(-mu dT), mu = ln 2 / half-time; repair overnight
    is taken as complete.

    Parameters
    ----------
    fractions_per_day : int
        m.
    interval_hours : float
        dT between the fractions of a day.
    repair_half_time_hours : float
        Half-time of repair of sublethal damage; 0.3 to more than 4 h, long in the central nervous system
        (Joiner & van der Kogel 2009, chapter 9).

    Returns
    -------
    float
        0 for one fraction a day; at most m - 1.

    References
    ----------
    Thames 1985 (Int J Radiat Biol 47:319)
    """
    if fractions_per_day < 1:
        raise InputError(f"there is at least one fraction a day, not {fractions_per_day}")
    half_time = _checked("a half-time of repair", repair_half_time_hours, positive=True)
    phi = 0.5 ** (_checked("an interval between fractions", interval_hours) / half_time)
    # as the sum over pairs of fractions it has no 0/0 at phi = 1
    later = np.arange(1, fractions_per_day)
    return float(2 / fractions_per_day * ((fractions_per_day - later) * phi**later).sum())


def bed_incomplete_repair(
    dose_per_fraction: ArrayLike,
    fractions: ArrayLike,
    alpha_beta: ArrayLike,
    *,
    fractions_per_day: int,
    interval_hours: float,
    repair_half_time_hours: float,
) -> Result:
    """BED in Gy of several fractions a day: D [1 + (1 + h_m) d / (alpha/beta)].

    Parameters
    ----------
    dose_per_fraction, fractions, alpha_beta
        As in :func:`bed`; `fractions` counts all of the course.
    fractions_per_day, interval_hours, repair_half_time_hours
        As in :func:`incomplete_repair`.

    References
    ----------
    Thames 1985 (Int J Radiat Biol 47:319)
    """
    gain = 1 + incomplete_repair(fractions_per_day, interval_hours, repair_half_time_hours)
    plain = bed(dose_per_fraction, fractions, alpha_beta)
    total = np.multiply(dose_per_fraction, fractions)
    return total + gain * (plain - total)


def lea_catcheside(duration_hours: ArrayLike, repair_half_time_hours: ArrayLike) -> Result:
    """Dose-protraction factor G of a fraction given at a constant rate: beta becomes G beta.

    G = 2/x^2 (exp(-x) - 1 + x), x = mu T.

    Parameters
    ----------
    duration_hours : array_like
        T, from the first to the last moment of the fraction.
    repair_half_time_hours : array_like
        ln 2 / mu.

    Returns
    -------
    array or float
        1 for a flash, falling to 0.

    References
    ----------
    Lea & Catcheside 1942, doi:10.1007/BF02982830
    """
    half_time = _checked("a half-time of repair", repair_half_time_hours, positive=True)
    x = np.log(2) * _checked("a duration", duration_hours) / half_time
    series = 1 - x / 3 + x**2 / 12  # expm1(-x) + x loses all digits for small x
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x < 1e-4, series, 2 * (np.expm1(-x) + x) / np.square(x))[()]


def large_fraction_findings(dose_per_fraction: ArrayLike, where: str) -> tuple[Finding, ...]:
    """Return a finding if the plain LQ model is used above 6 Gy a fraction, where it is doubtful; else none.

    Parameters
    ----------
    dose_per_fraction : array_like
        Gy.
    where : str
        Schedule or plan, for the finding.
    """
    largest = float(np.max(dose_per_fraction, initial=0.0))
    if largest <= LARGE_FRACTION_GY:
        return ()
    return (
        Finding(
            f"{largest:.3g} Gy a fraction is beyond {LARGE_FRACTION_GY:g} to 8 Gy, where the linear-quadratic model "
            "overestimates killing",
            where,
            "read its effect with caution; survival_lql straightens the curve",
        ),
    )
