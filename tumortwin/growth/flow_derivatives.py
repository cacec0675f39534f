"""Derivatives of a growth law's flow by the proliferation rate and by each drug's sensitivity.

A flow maps u to f(u). Its derivative by any of these numbers is a combination of three functions of u that the kernel
forms: for a Moebius map u / (1 + c u)^2 and u^2 / (1 + c u)^2; for a power map u where the map is linear, and f and
f ln u where it is the power. The combination's three factors are what is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth.terms.laws import Exponential, Flow, Gompertz, GrowthLaw, Logistic
from tumortwin.growth.terms.treatment import DrugKill

RATE = "proliferation_rate"

# Gauss-Legendre rule on [0, 1]: on the pieces below it meets round-off, so the derivative of the integral is that of
# the law's own quadrature
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2

Push = tuple[float, float, float]


class _Rule(NamedTuple):
    """A quadrature rule in time: days and weights."""

    times: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __call__(self, values: NDArray[np.float64]) -> float:
        return float(values @ self.weights)


def flow_derivatives(law: GrowthLaw, rate: float, t0: float, t1: float, kill: DrugKill,
                     drugs: Mapping[str, DrugKill]) -> tuple[Flow, dict[str, Push]]:
    """The flow from `t0` to `t1` and its derivatives.

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

    Returns
    -------
    flow : Moebius or Power
        The pointwise map.
    derivatives : dict of str to tuple of 3 float
        By "proliferation_rate" and by each drug's name: factors of the three functions of u.

    Raises
    ------
    InputError
        If the law is not one of the three.
    """
    flow = law.flow(rate, t0, t1, kill)
    span = t1 - t0
    once = {drug: unit.between(t0, t1) for drug, unit in drugs.items()}
    found: dict[str, Push]
    if isinstance(law, Exponential):
        growth = float(flow[0])
        found = {RATE: (span * growth, 0.0, 0.0)}
        return flow, found | {drug: (-k * growth, 0.0, 0.0) for drug, k in once.items()}
    if not isinstance(law, Logistic | Gompertz):
        raise InputError(f"there are no derivatives of {type(law).__name__} growth, only of logistic, Gompertz and "
                         "exponential growth")
    # the pieces of all drugs with an effect are those of each
    rule = _rule(rate, t0, t1, [kill] if kill.between(t0, t1) else list(drugs.values()))
    since = kill.until(rule.times) - kill.until(t0)
    alone = {drug: unit.until(rule.times) - unit.until(t0) for drug, unit in drugs.items()}
    if isinstance(law, Logistic):
        growth, crowding = flow[:2]
        # u g / (1 + c u) has the derivative (u g' + u^2 (g' c - g c')) / (1 + c u)^2
        grown = np.exp(rate * (rule.times - t0) - since)
        slopes = {RATE: (span * growth, rule(grown) + rate * rule((rule.times - t0) * grown))}
        slopes |= {drug: (-k * growth, -rate * rule(alone[drug] * grown)) for drug, k in once.items()}
        return flow, {name: (g, g * crowding - growth * c, 0.0) for name, (g, c) in slopes.items()}
    linear, _, exponent = flow  # type: ignore[misc]  # Gompertz' flow is a Power
    memory = np.exp(-rate * (t1 - rule.times))
    # ln factor = -(K - rho int k e^(-rho (t1 - t)) dt)
    by_rate = rule(since * memory) - rate * rule(since * (t1 - rule.times) * memory)
    found = {RATE: (-span * float(np.log(law.floor)) * linear, by_rate, -span * exponent)}
    return flow, found | {drug: (-k * linear, rate * rule(alone[drug] * memory) - k, 0.0) for drug, k in once.items()}


def _rule(rate: float, t0: float, t1: float, kills: list[DrugKill]) -> _Rule:
    found = [kill.smooth_pieces(t0, t1) for kill in kills]
    edges = np.unique(np.concatenate([[t0, t1], *(e for e in found if e is not None)]))
    # also split where rho makes the integrand vary too much for one rule
    pieces = [np.linspace(a, b, max(1, int(np.ceil(abs(rate) * (b - a)))) + 1)[:-1]
              for a, b in pairwise(edges)]
    edges = np.append(np.concatenate(pieces), t1)
    widths = np.diff(edges)
    return _Rule((edges[:-1, None] + widths[:, None] * _NODES).ravel(), (widths[:, None] * _WEIGHTS).ravel())
