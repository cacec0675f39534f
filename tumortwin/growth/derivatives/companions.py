"""Derivatives of what a companion field does in a step of reaction.

Dead cells are a sum of what they were and of the living cells before and after the step, with weights that depend on
time, half-time and drugs. Necrosis is a chain of pointwise maps of the pair of fields, whose slopes the kernel forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import exp, expm1, log

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth.derivatives.flow import CAPACITY, RATE
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.growth.terms.companions import DeadCells, Necrosis, pulse
from tumortwin.growth.terms.treatment import DrugKill

Shares = tuple[float, float, float]


def dead_derivatives(
    dead: DeadCells, t0: float, t1: float, kill: DrugKill, drugs: Mapping[str, DrugKill]
) -> dict[str, Shares]:
    """Compute the derivatives of :meth:`DeadCells.shares` by "half_time" and each drug's sensitivity.

    Parameters
    ----------
    dead : DeadCells
        The companion.
    t0, t1 : float
        Days.
    kill : DrugKill
        All drugs with their sensitivities.
    drugs : mapping of str to DrugKill
        The drugs whose sensitivities are differentiated by, each alone with sensitivity 1.
    """
    span, clearance = t1 - t0, log(2) / dead.half_time
    total, share = pulse(kill, t0, t1)
    stays, of_before, of_after = dead.shares(t0, t1, total, share)
    # every share is 0.5^(days / half_time) of something
    longer = clearance / dead.half_time * span
    late = (1 - share) * longer
    found = {"half_time": (longer * stays, late * of_before, late * of_after)}
    for drug, unit in drugs.items():
        # without any kill yet, where its half will be done is what the drug alone says
        half = share if total else pulse(unit, t0, t1)[1]
        by_total, by_share = _pulse_slopes(kill, unit, t0, t1, half)
        left = 0.5 ** ((1 - half) * span / dead.half_time)
        before, after = (1 - half) * -expm1(-total), half * expm1(total)
        sooner = clearance * span * by_share
        found[drug] = (
            0.0,
            left * ((1 - half) * exp(-total) * by_total + expm1(-total) * by_share + sooner * before),
            left * (half * exp(total) * by_total + expm1(total) * by_share + sooner * after),
        )
    return found


def necrosis_steps(
    parameters: GrowthParameters, t0: float, t1: float, kill: DrugKill, drugs: Mapping[str, DrugKill]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Compute the maps that make up :meth:`Necrosis.react`, in order, and what each number changes in them.

    Parameters
    ----------
    parameters : GrowthParameters
        Rate and capacity.
    t0, t1, kill, drugs
        As for :func:`dead_derivatives`.

    Returns
    -------
    steps : (n, 4) array
        0 and days of dying; or 1, days of growth, the share that a kill leaves then, and e^(rate days) - 1.
    changes : dict of str to (n, 6) array
        By each number's name: how much it changes each map's proliferation rate, capacity, death rate, threshold, days
        of growth and log-kill after them.
    """
    span = t1 - t0
    total, share = pulse(kill, t0, t1)
    # log-kills at instants, and what drugs change in them. Without any kill yet, each drug has an instant of its own
    instants = [(share, total, {drug: _pulse_slopes(kill, unit, t0, t1, share) for drug, unit in drugs.items()})]
    if not total:
        alone = {drug: pulse(unit, t0, t1) for drug, unit in drugs.items()}
        instants = sorted(
            ((half, 0.0, {drug: (whole, 0.0)}) for drug, (whole, half) in alone.items() if whole),
            key=lambda instant: instant[0],
        )
    edges = [0.0, *(half for half, _, _ in instants), 1.0]
    kills = [*(log_kill for _, log_kill, _ in instants), 0.0]
    days = [(end - begin) * span for begin, end in pairwise(edges)]
    growing = [(1.0, d, exp(-k), expm1(parameters.proliferation_rate * d)) for d, k in zip(days, kills, strict=True)]
    steps = np.array([(0.0, span / 2, 0.0, 0.0), *growing, (0.0, span / 2, 0.0, 0.0)])
    own = (RATE, CAPACITY, *Necrosis.numbers)
    changes = {name: np.tile(np.eye(6)[j], (len(steps), 1)) for j, name in enumerate(own)}
    changes |= {drug: np.zeros((len(steps), 6)) for drug in drugs}
    for i, (_, _, slopes) in enumerate(instants, 1):
        for drug, (by_total, by_share) in slopes.items():
            changes[drug][i, 4:] += span * by_share, by_total
            changes[drug][i + 1, 4] -= span * by_share
    return steps, changes


def _pulse_slopes(kill: DrugKill, unit: DrugKill, t0: float, t1: float, share: float) -> tuple[float, float]:
    """Compute the derivatives by a drug's sensitivity of the log-kill and of the time when half of it is done."""
    whole, rate = unit.between(t0, t1), float(kill.rate(t0 + share * (t1 - t0)))
    first = unit.between(t0, t0 + share * (t1 - t0))
    return whole, (whole / 2 - first) / (rate * (t1 - t0)) if rate > 0 else 0.0
