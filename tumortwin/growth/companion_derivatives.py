"""Derivatives of what a companion field does in a step of reaction.

Dead cells are a sum of what they were and of the living cells before and after the step, with weights that depend on
time, half-time and drugs. Necrosis is a chain of pointwise maps of the pair of fields, each with its matrix of slopes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import exp, expm1, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth.flow_derivatives import CAPACITY, RATE
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.growth.terms.companions import DeadCells, Necrosis, pulse
from tumortwin.growth.terms.treatment import DrugKill

Field = NDArray[np.floating]
Shares = tuple[float, float, float]


class PairMap(NamedTuple):
    """A pointwise map of living cells u and companion v, and its slopes: `uv` is that of the new u by the old v.

    `by` has the derivatives of the new u and v by numbers.
    """

    u: Field
    v: Field
    uu: Field
    uv: Field
    vu: Field
    vv: Field
    by: Mapping[str, tuple[Field, Field]]


def dead_derivatives(dead: DeadCells, t0: float, t1: float, kill: DrugKill,
                     drugs: Mapping[str, DrugKill]) -> dict[str, Shares]:
    """Derivatives of :meth:`DeadCells.shares` by "half_time" and each drug's sensitivity.

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
        found[drug] = (0.0, left * ((1 - half) * exp(-total) * by_total + expm1(-total) * by_share + sooner * before),
                       left * (half * exp(total) * by_total + expm1(total) * by_share + sooner * after))
    return found


def necrosis_maps(necrosis: Necrosis, u: Field, v: Field, parameters: GrowthParameters, t0: float, t1: float,
                  kill: DrugKill, drugs: Mapping[str, DrugKill]) -> Iterator[PairMap]:
    """The maps that :meth:`Necrosis.react` is made of, in order, each with its slopes and derivatives.

    Parameters
    ----------
    necrosis : Necrosis
        The companion.
    u, v : arrays
        Living and necrotic cells at `t0`; not changed.
    parameters : GrowthParameters
        Rate and capacity.
    t0, t1, kill, drugs
        As for :func:`dead_derivatives`.
    """
    span = t1 - t0
    total, share = pulse(kill, t0, t1)
    # log-kills at instants, and what drugs change in them. Without any kill yet, each drug has an instant of its own
    instants = [(share, total, {drug: _pulse_slopes(kill, unit, t0, t1, share) for drug, unit in drugs.items()})]
    if not total:
        alone = {drug: pulse(unit, t0, t1) for drug, unit in drugs.items()}
        instants = sorted(((half, 0.0, {drug: (whole, 0.0)}) for drug, (whole, half) in alone.items() if whole),
                          key=lambda instant: instant[0])
    died = _died(necrosis, u, v, span / 2, parameters.capacity)
    yield died
    u, v = died.u, died.v
    edges = [0.0, *(instant[0] for instant in instants), 1.0]
    for i, (begin, end) in enumerate(pairwise(edges)):
        _, log_kill, at_end = instants[i] if i < len(instants) else (1.0, 0.0, {})
        at_begin = instants[i - 1][2] if i else {}
        by = {drug: (span * (at_end.get(drug, _NOTHING)[1] - at_begin.get(drug, _NOTHING)[1]),
                     at_end.get(drug, _NOTHING)[0]) for drug in drugs}
        grown = _grown(necrosis, u, v, (end - begin) * span, log_kill, parameters, by)
        yield grown
        u = grown.u
    yield _died(necrosis, u, v, span / 2, parameters.capacity)


_NOTHING = (0.0, 0.0)


def _pulse_slopes(kill: DrugKill, unit: DrugKill, t0: float, t1: float, share: float) -> tuple[float, float]:
    """Derivatives by a drug's sensitivity of the log-kill and of when its half is done."""
    whole, rate = unit.between(t0, t1), float(kill.rate(t0 + share * (t1 - t0)))
    first = unit.between(t0, t0 + share * (t1 - t0))
    return whole, (whole / 2 - first) / (rate * (t1 - t0)) if rate > 0 else 0.0


Slopes = Mapping[str, Field]
"""Derivatives by the old u and v and by the three numbers of dying."""

_BY = ("u", "v", "necrosis_rate", "necrosis_threshold", CAPACITY)


def _died(necrosis: Necrosis, u: Field, v: Field, span: float, capacity: float) -> PairMap:
    one, none = np.ones_like(u), np.zeros_like(u)
    du, dv = (dict.fromkeys(_BY, none) | {name: one} for name in "uv")
    here = _stressed(necrosis, u, v, du, dv, capacity)
    half = _dying(necrosis, u, v, *here, span / 2, capacity)
    there = _stressed(necrosis, *half, capacity)
    left, core, by_left, by_core = _dying(necrosis, u, v, *there, span, capacity)
    return PairMap(left, core, by_left["u"], by_left["v"], by_core["u"], by_core["v"],
                   {name: (by_left[name], by_core[name]) for name in _BY[2:]})


def _stressed(necrosis: Necrosis, u: Field, v: Field, du: Slopes, dv: Slopes, capacity: float) -> tuple[Field, Slopes]:
    """The stress, and the derivatives of s^2 (3 - 2 s)."""
    s, total, room = necrosis.stress(u, v, capacity), (u + v) / capacity, 1 - necrosis.threshold
    steep = 6 * s * (1 - s) / room
    found = {name: steep / capacity * (du[name] + dv[name]) for name in _BY}
    found["necrosis_threshold"] = found["necrosis_threshold"] + steep * (total - 1) / room
    found[CAPACITY] = found[CAPACITY] - steep * total / capacity
    return s, found


def _dying(necrosis: Necrosis, u: Field, v: Field, stress: Field, by: Slopes, span: float,
           capacity: float) -> tuple[Field, Field, Slopes, Slopes]:
    """:meth:`Necrosis.died` of the old u and v, and its derivatives."""
    left, core = necrosis.died(u, v, stress, span, capacity)
    share, kept, room = stress * stress * (3 - 2 * stress), np.exp((left - u) / capacity), capacity - v
    du = {name: -necrosis.rate * span * left * by[name] for name in _BY}
    du["u"] = du["u"] + np.exp(-necrosis.rate * span * share)
    du["necrosis_rate"] = du["necrosis_rate"] - span * share * left
    dv = {name: -room * kept / capacity * du[name] for name in _BY}
    dv["u"] = dv["u"] + room * kept / capacity
    dv["v"] = dv["v"] + kept
    dv[CAPACITY] = dv[CAPACITY] + 1 - kept + room * kept * (left - u) / capacity**2
    return left, core, du, dv


def _grown(necrosis: Necrosis, u: Field, v: Field, span: float, log_kill: float, parameters: GrowthParameters,
           by_drugs: Mapping[str, tuple[float, float]]) -> PairMap:
    """Growth for `span` days, then a kill; `by_drugs` has what each drug changes in the two."""
    rate, capacity = parameters.proliferation_rate, parameters.capacity
    growth, crowding = necrosis.room(v, span, log_kill, parameters)
    net = rate * (1 - v / capacity)
    x = np.asarray(net, np.float64) * span
    crowded = 1 / (1 + crowding * u)

    def response(more: Field | float, tighter: Field | float) -> Field:
        """The change of the new u for changes of growth and crowding."""
        return (more - growth * u * crowded * tighter) * u * crowded

    by_net = response(span * growth, rate / capacity * span**2 * _second(x))
    integral = span * np.where(x == 0, 1, np.expm1(x) / np.where(x == 0, 1, x))
    by = {RATE: by_net * (1 - v / capacity) + response(0.0, integral / capacity),
          CAPACITY: by_net * rate * v / capacity**2 - response(0.0, crowding / capacity)}
    for drug, (longer, killed) in by_drugs.items():
        by[drug] = response(growth * (net * longer - killed), rate / capacity * np.exp(x) * longer)
    none = np.zeros_like(v)
    return PairMap(u * (growth / (1 + crowding * u)), v, growth * crowded**2, -rate / capacity * by_net, none,
                   none + 1, {name: (change, none) for name, change in by.items()})


def _second(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivative of (e^x - 1) / x."""
    near = np.abs(x) < 1e-2
    far = np.where(near, 1.0, x)
    series = 1 / 2 + x * (1 / 3 + x * (1 / 8 + x * (1 / 30 + x * (1 / 144 + x / 840))))
    return np.where(near, series, (far * np.exp(far) - np.expm1(far)) / far**2)
