"""Derivatives of a growth law's flow by the proliferation rate, the capacity and each drug's sensitivity.

A flow maps u to f(u). Its derivative by any of these numbers is a combination of three functions of u that the kernel
forms: for a Moebius map u / (1 + c u)^2 and u^2 / (1 + c u)^2; for a power map u where the map is linear, and f and
f ln u where it is the power. The combination's three factors are what is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumortwin.growth.terms.laws import Exponential, Gompertz, GrowthLaw, Logistic, Moebius, Numbers, Power
from tumortwin.growth.terms.treatment import DrugKill

RATE, CAPACITY = "proliferation_rate", "capacity"

# Gauss-Legendre rule on [0, 1]: on the pieces below it meets round-off, so the derivative of the integral is that of
# the law's own quadrature
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2

Push = tuple[float, float, float]


class _Rule(NamedTuple):
    """A quadrature rule in time: days and weights."""

    times: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values @ self.weights


def flow_derivatives(
    law: GrowthLaw,
    rate: float,
    t0: float,
    t1: float,
    kill: DrugKill,
    drugs: Mapping[str, DrugKill],
    capacity: float = 1.0,
) -> tuple[Moebius | Power, dict[str, Push]]:
    """Compute the flow from `t0` to `t1` and its derivatives.

    Parameters
    ----------
    law : Logistic, Gompertz or Exponential
        The growth law.
    rate : float
        Proliferation rate, 1/day.
    t0, t1 : float
        Days.
    kill : DrugKill
        All drugs with their sensitivities.
    drugs : mapping of str to DrugKill
        The drugs whose sensitivities are differentiated by, each alone with sensitivity 1.
    capacity : float
        Density at which growth stops.

    Returns
    -------
    flow : Moebius or Power
        The pointwise map.
    derivatives : dict of str to tuple of 3 float
        By "proliferation_rate", "capacity" and each drug's name: factors of the three functions of u.
    """
    flow = law.flow(rate, t0, t1, kill, capacity)
    if isinstance(flow, Moebius):
        assert not isinstance(law, Gompertz)
        # u g / (1 + c u) has the derivative (u g' + u^2 (g' c - g c')) / (1 + c u)^2
        slopes = moebius_derivatives(law, rate, t0, t1, kill, drugs, capacity)
        return flow, {
            name: (float(g), float(g * flow.crowding - flow.growth * c), 0.0) for name, (g, c) in slopes.items()
        }
    assert isinstance(law, Gompertz)
    return flow, _power_derivatives(law, flow, rate, t0, t1, kill, drugs, capacity)


def moebius_derivatives(
    law: Logistic | Exponential,
    rate: ArrayLike,
    t0: float,
    t1: float,
    kill: DrugKill,
    drugs: Mapping[str, DrugKill],
    capacity: float = 1.0,
) -> dict[str, Numbers]:
    """Compute the derivatives of a Moebius flow's growth and crowding, at one rate or each of many.

    Parameters
    ----------
    law, rate, t0, t1, kill, drugs, capacity
        As for :func:`flow_derivatives`; `rate` may be an array.

    Returns
    -------
    dict of str to pair of arrays
        By "proliferation_rate" (each rate by itself), "capacity" and each drug's name.
    """
    rates, span = np.asarray(rate, np.float64), t1 - t0
    growth, crowding = law.numbers(rates, t0, t1, kill, capacity)
    once = {drug: unit.between(t0, t1) for drug, unit in drugs.items()}
    none = np.zeros(rates.shape)
    if isinstance(law, Exponential):
        slopes = {RATE: (span * growth, none), CAPACITY: (none, none)}
        return slopes | {drug: (-k * growth, none) for drug, k in once.items()}
    rule = _rule(float(np.abs(rates).max()), t0, t1, kill, drugs)
    since = kill.until(rule.times) - kill.until(t0)
    grown = np.exp(rates[..., None] * (rule.times - t0) - since)
    by_rate = (rule(grown) + rates * rule((rule.times - t0) * grown)) / capacity
    slopes = {RATE: (span * growth, by_rate), CAPACITY: (none, -crowding / capacity)}
    for drug, k in once.items():
        alone = drugs[drug].until(rule.times) - drugs[drug].until(t0)
        slopes[drug] = -k * growth, -rates * rule(alone * grown) / capacity
    return slopes


def _power_derivatives(
    law: Gompertz,
    flow: Power,
    rate: float,
    t0: float,
    t1: float,
    kill: DrugKill,
    drugs: Mapping[str, DrugKill],
    capacity: float,
) -> dict[str, Push]:
    linear, _, exponent = flow
    span = t1 - t0
    rule = _rule(rate, t0, t1, kill, drugs)
    since = kill.until(rule.times) - kill.until(t0)
    memory = np.exp(-rate * (t1 - rule.times))
    # ln factor = -(kill - rho int kill e^(-rho (t1 - t)) dt) + (1 - exponent) ln capacity
    by_rate = rule(since * memory) - rate * rule(since * (t1 - rule.times) * memory)
    by_rate += span * exponent * np.log(capacity)
    found = {
        RATE: (-span * float(np.log(law.floor)) * linear, float(by_rate), -span * exponent),
        CAPACITY: (0.0, (1 - exponent) / capacity, 0.0),
    }
    for drug, unit in drugs.items():
        k, alone = unit.between(t0, t1), unit.until(rule.times) - unit.until(t0)
        found[drug] = -k * linear, float(rate * rule(alone * memory)) - k, 0.0
    return found


def _rule(rate: float, t0: float, t1: float, kill: DrugKill, drugs: Mapping[str, DrugKill]) -> _Rule:
    # the pieces of all drugs with an effect are those of each
    kills = [kill] if kill.between(t0, t1) else list(drugs.values())
    found = [kill.smooth_pieces(t0, t1) for kill in kills]
    edges = np.unique(np.concatenate([[t0, t1], *(e for e in found if e is not None)]))
    # also split where rho makes the integrand vary too much for one rule
    pieces = [np.linspace(a, b, max(1, int(np.ceil(abs(rate) * (b - a)))) + 1)[:-1] for a, b in pairwise(edges)]
    edges = np.append(np.concatenate(pieces), t1)
    widths = np.diff(edges)
    return _Rule((edges[:-1, None] + widths[:, None] * _NODES).ravel(), (widths[:, None] * _WEIGHTS).ravel())
