"""How cells multiply and are killed at one place: growth laws and their exact flows.

A law answers for du/dt = growth(u) - k(t) u over an interval [t0, t1] with a pointwise map, the flow. The kill rate k
is that of :class:`~tumortwin.growth.terms.treatment.DrugKill`; its log-kill is integrated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth.terms.treatment import DrugKill

# Gauss-Legendre rule on [0, 1]; ten points integrate exp over a span of 2 to round-off
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


class Moebius(NamedTuple):
    """The map u -> growth u / (1 + crowding u)."""

    growth: float
    crowding: float

    def __call__(self, u: NDArray[np.floating]) -> NDArray[np.floating]:
        return self.growth * u / (1 + self.crowding * u)


class Power(NamedTuple):
    """The map u -> min(linear u, factor u^exponent), and linear u where u <= 0."""

    linear: float
    factor: float
    exponent: float

    def __call__(self, u: NDArray[np.floating]) -> NDArray[np.floating]:
        positive = np.maximum(u, 0)
        return np.where(u > 0, np.minimum(self.linear * u, self.factor * positive**self.exponent), self.linear * u)


class MoebiusMap(NamedTuple):
    """The map u -> growth u / (1 + crowding u) with numbers of each voxel's own, interpolated in tables.

    `place` is where in the tables a voxel is: a (z, y, x) array of 0 ... n - 1.
    """

    growth: NDArray[np.float64]
    crowding: NDArray[np.float64]
    place: NDArray[np.float64]

    def __call__(self, u: NDArray[np.floating]) -> NDArray[np.floating]:
        growth, crowding = (np.interp(self.place, np.arange(t.size), t) for t in (self.growth, self.crowding))
        return growth * u / (1 + crowding * u)


class RateMap:
    """Growth at each voxel's own rate: the rates that occur, as a table of levels and each voxel's place in it.

    A place is kept in 16 bits: rates are whole multiples of 1/65535 of the map's range above its lowest.

    Parameters
    ----------
    factor : (z, y, x) array
        Rate over ``proliferation_rate``, >= 0.
    """

    LEVELS = 257
    """Flows are interpolated between this many rates: an error of order (difference of rates * step)^2 / 8."""

    def __init__(self, factor: NDArray[np.floating]) -> None:
        low, high = float(factor.min()), float(factor.max())
        quantum = (high - low) / 65535
        self.levels = low + quantum * 256 * np.arange(self.LEVELS)
        self.place = np.rint((np.asarray(factor, np.float64) - low) / (quantum or 1.0)) / 256

    def flow(self, law: GrowthLaw, rate: float, t0: float, t1: float, kill: DrugKill) -> MoebiusMap:
        """Flow of all voxels from `t0` to `t1` (days) with `rate` (1/day) times each one's factor."""
        flows = [law.flow(rate * level, t0, t1, kill) for level in self.levels]
        return MoebiusMap(np.array([f[0] for f in flows]), np.array([f[1] for f in flows]), self.place)


Flow = Moebius | Power | MoebiusMap


@dataclass(frozen=True)
class Exponential:
    """Growth without limit: du/dt = rho u - k u."""

    def fastest(self, rate: float) -> float:
        """Largest rate of growth of any density, 1/day."""
        return rate

    def flow(self, rate: float, t0: float, t1: float, kill: DrugKill) -> Moebius:
        """Exact flow from `t0` to `t1` (days) at `rate` (1/day)."""
        return Moebius(float(np.exp(rate * (t1 - t0) - kill.between(t0, t1))), 0.0)


@dataclass(frozen=True)
class Logistic:
    """Growth up to capacity: du/dt = rho u (1 - u) - k u.

    With R(t) = rho (t - t0) minus the log-kill since t0, the exact flow is u e^R / (1 + u rho int e^R dt): Bernoulli's
    equation. It holds for any u, also slightly outside 0..1.
    """

    def fastest(self, rate: float) -> float:
        """Largest rate of growth of any density, 1/day."""
        return rate

    def flow(self, rate: float, t0: float, t1: float, kill: DrugKill) -> Moebius:
        """Exact flow from `t0` to `t1` (days) at `rate` (1/day)."""
        span = rate * (t1 - t0)
        edges = kill.smooth_pieces(t0, t1)
        if edges is None:
            return Moebius(float(np.exp(span)), float(np.expm1(span)))
        # also split where rho itself makes e^R vary too much for one rule
        pieces = max(1, int(np.ceil(abs(span) / (2 * (len(edges) - 1)))))
        if pieces > 1:
            edges = np.interp(np.arange(pieces * (len(edges) - 1) + 1) / pieces, np.arange(len(edges)), edges)
        widths = np.diff(edges)
        times = edges[:-1, None] + widths[:, None] * _NODES
        exponent = rate * (times - t0) - (kill.until(times) - kill.until(t0))
        integral = float((np.exp(exponent) @ _WEIGHTS) @ widths)
        return Moebius(float(np.exp(span - kill.between(t0, t1))), rate * integral)


@dataclass(frozen=True)
class Gompertz:
    """Growth that slows with every doubling: du/dt = -rho u ln(max(u, floor)) - k u.

    ln u obeys a linear equation, so the flow is a power of u. Gompertz growth is infinitely fast at u = 0, where a
    continuous density means less than one cell: below `floor` it is held at its rate there, -rho ln(floor). The flow is
    exact for voxels that stay on one side of the floor during a step; for those that cross it, an upper bound.

    Parameters
    ----------
    floor : float
        Density below which growth is exponential.

    References
    ----------
    Laird 1964, doi:10.1038/bjc.1964.55
    """

    floor: float = 1e-4

    def fastest(self, rate: float) -> float:
        """Largest rate of growth of any density, 1/day."""
        return -rate * float(np.log(self.floor))

    def flow(self, rate: float, t0: float, t1: float, kill: DrugKill) -> Power:
        """Flow from `t0` to `t1` (days) at `rate` (1/day), which is not negative."""
        if rate < 0:
            raise InputError(f"Gompertz growth has a rate >= 0, not proliferation_rate {rate}/day")
        span = rate * (t1 - t0)
        linear = np.exp(-span * np.log(self.floor) - kill.between(t0, t1))
        edges = kill.smooth_pieces(t0, t1)
        lost = 0.0
        if edges is not None:
            # int k(t) exp(-rho (t1 - t)) dt by parts: only the log-kill itself is needed
            widths = np.diff(edges)
            times = edges[:-1, None] + widths[:, None] * _NODES
            since = kill.until(times) - kill.until(t0)
            memory = float(((since * np.exp(-rate * (t1 - times))) @ _WEIGHTS) @ widths)
            lost = kill.between(t0, t1) - rate * memory
        return Power(float(linear), float(np.exp(-lost)), float(np.exp(-span)))


GrowthLaw = Logistic | Gompertz | Exponential
