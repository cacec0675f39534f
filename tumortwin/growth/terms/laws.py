"""How cells multiply and are killed at one place: growth laws and their exact flows.

A law answers for du/dt = growth(u) - k(t) u over an interval [t0, t1] with a pointwise map, the flow. The kill rate k
is that of :class:`~tumortwin.growth.terms.treatment.DrugKill`; its log-kill is integrated exactly. K is the capacity:
u / K obeys the law of K = 1, so that flows of any K are those of K = 1 on another scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        """Map densities `u` to the densities at the end of the step."""
        return self.growth * u / (1 + self.crowding * u)


class Power(NamedTuple):
    """The map u -> min(linear u, factor u^exponent), and linear u where u <= 0."""

    linear: float
    factor: float
    exponent: float

    def __call__(self, u: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map densities `u` to the densities at the end of the step."""
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
        """Map densities `u` to the densities at the end of the step."""
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

    def flow(
        self, law: GrowthLaw, rate: float, t0: float, t1: float, kill: DrugKill, capacity: float = 1.0
    ) -> MoebiusMap:
        """Flow of all voxels from `t0` to `t1` (days) with `rate` (1/day) times each one's factor; not Gompertz'."""
        assert not isinstance(law, Gompertz)  # a Model refuses it
        return MoebiusMap(*law.numbers(rate * self.levels, t0, t1, kill, capacity), self.place)


Flow = Moebius | Power | MoebiusMap
Numbers = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Exponential:
    """Growth without limit: du/dt = rho u - k u. It has no capacity, and densities no upper bound."""

    def fastest(self, rate: float) -> float:
        """Largest rate of growth of any density, 1/day."""
        return rate

    def numbers(self, rate: ArrayLike, t0: float, t1: float, kill: DrugKill, capacity: float = 1.0) -> Numbers:
        """Growth and crowding of the flow from `t0` to `t1` (days) at one rate or each of many (1/day)."""
        growth = np.exp(np.asarray(rate) * (t1 - t0) - kill.between(t0, t1))
        return growth, np.zeros(np.shape(rate))

    def flow(self, rate: float, t0: float, t1: float, kill: DrugKill, capacity: float = 1.0) -> Moebius:
        """Exact flow from `t0` to `t1` (days) at `rate` (1/day), whatever the capacity."""
        return Moebius(*map(float, self.numbers(rate, t0, t1, kill)))


@dataclass(frozen=True)
class Logistic:
    """Growth up to capacity: du/dt = rho u (1 - u/K) - k u.

    With R(t) = rho (t - t0) minus the log-kill since t0, the exact flow is u e^R / (1 + (u/K) rho int e^R dt):
    Bernoulli's equation. It holds for any u, also slightly outside 0..K.
    """

    def fastest(self, rate: float) -> float:
        """Largest rate of growth of any density, 1/day."""
        return rate

    def numbers(self, rate: ArrayLike, t0: float, t1: float, kill: DrugKill, capacity: float = 1.0) -> Numbers:
        """Growth and crowding of the flow from `t0` to `t1` (days) at one rate or each of many (1/day)."""
        rates = np.asarray(rate, np.float64)
        span = rates * (t1 - t0)
        edges = kill.smooth_pieces(t0, t1)
        if edges is None:
            return np.exp(span), np.expm1(span) / capacity
        # also split where rho itself makes e^R vary too much for one rule
        pieces = max(1, int(np.ceil(np.abs(span).max() / (2 * (len(edges) - 1)))))
        if pieces > 1:
            edges = np.interp(np.arange(pieces * (len(edges) - 1) + 1) / pieces, np.arange(len(edges)), edges)
        widths = np.diff(edges)
        times = edges[:-1, None] + widths[:, None] * _NODES
        exponent = rates[..., None, None] * (times - t0) - (kill.until(times) - kill.until(t0))
        integral = (np.exp(exponent) @ _WEIGHTS) @ widths
        return np.exp(span - kill.between(t0, t1)), rates * integral / capacity

    def flow(self, rate: float, t0: float, t1: float, kill: DrugKill, capacity: float = 1.0) -> Moebius:
        """Exact flow from `t0` to `t1` (days) at `rate` (1/day), with growth that stops at `capacity`."""
        return Moebius(*map(float, self.numbers(rate, t0, t1, kill, capacity)))


@dataclass(frozen=True)
class Gompertz:
    """Growth that slows with every doubling: du/dt = -rho u ln(max(u/K, floor)) - k u.

    ln u obeys a linear equation, so the flow is a power of u. Gompertz growth is infinitely fast at u = 0, where a
    continuous density means less than one cell: below `floor` it is held at its rate there, -rho ln(floor). The flow is
    exact for voxels that stay on one side of the floor during a step; for those that cross it, an upper bound.

    Parameters
    ----------
    floor : float
        Density over capacity below which growth is exponential.

    References
    ----------
    Laird 1964, doi:10.1038/bjc.1964.55
    """

    floor: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise InputError(f"Gompertz growth has a floor within 0 < floor < 1, not {self.floor}")

    def fastest(self, rate: float) -> float:
        """Largest rate of growth of any density, 1/day."""
        return -rate * float(np.log(self.floor))

    def flow(self, rate: float, t0: float, t1: float, kill: DrugKill, capacity: float = 1.0) -> Power:
        """Flow from `t0` to `t1` (days) at `rate` (1/day), which is not negative; growth stops at `capacity`."""
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
        exponent = np.exp(-span)
        return Power(float(linear), float(np.exp(-lost) * capacity ** (1 - exponent)), float(exponent))


GrowthLaw = Logistic | Gompertz | Exponential
