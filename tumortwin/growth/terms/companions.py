"""A second field beside the living cells: dead ones that are still seen, or a necrotic core.

A companion does not move. In each step of reaction it is advanced together with the density of living cells, so the
pair is stepped with the second order of the scheme. What a scan sees is living cells and companion together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from tumortwin.errors import InputError
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.growth.terms.treatment import DrugKill

Field = NDArray[np.floating]


def pulse(kill: DrugKill, t0: float, t1: float) -> tuple[float, float]:
    """Log-kill between two days, and when within them its half is done, 0..1."""
    total = kill.between(t0, t1)
    if total <= 0:
        return 0.0, 0.5
    return total, brentq(lambda share: kill.between(t0, t0 + share * (t1 - t0)) - total / 2, 0.0, 1.0, xtol=1e-14)


@dataclass(frozen=True)
class DeadCells:
    """Killed cells that clear with a half-time: dv/dt = k(t) u - (ln 2 / half_time) v.

    Radiotherapy adds what it kills at once. With it, what a scan after radiotherapy sees is u + v.

    Parameters
    ----------
    half_time : float
        Days, > 0.
    """

    numbers: ClassVar[tuple[str, ...]] = ("half_time",)
    """Names of its parameters, in a derivative."""

    half_time: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.half_time) and self.half_time > 0):
            raise InputError(f"dead cells clear with a half-time > 0 days, not {self.half_time}")

    def react(
        self,
        u: Field,
        v: Field,
        grow: Callable[[], None],
        parameters: GrowthParameters,
        t0: float,
        t1: float,
        kill: DrugKill,
    ) -> None:
        """Advance both arrays in place; `grow` advances `u` by the growth law and the drugs."""
        stays, of_before, of_after = self.shares(t0, t1, *pulse(kill, t0, t1))
        before = u.copy() if of_before or of_after else u
        grow()
        v *= stays
        if of_before or of_after:
            v += of_before * before + of_after * u

    def shares(self, t0: float, t1: float, total: float, share: float) -> tuple[float, float, float]:
        """Shares of the dead cells, of the living ones at `t0` and of those at `t1` that are dead cells at `t1`.

        `total` is the log-kill, and `share` when within the interval its half is done. Exact for a kill at one instant
        at either end, and of second order between.
        """
        late = 0.5 ** ((1 - share) * (t1 - t0) / self.half_time)
        stays = 0.5 ** ((t1 - t0) / self.half_time)
        return stays, late * (1 - share) * -math.expm1(-total), late * share * math.expm1(total)

    def irradiated(self, v: Field, lost: Field) -> None:
        """Take what a fraction killed."""
        v += lost


@dataclass(frozen=True)
class Necrosis:
    """Cells that die where density stays high, and stay as long as there is room: the necrotic core.

    With c = (u + v) / K, du/dt = rho u (1 - c) - k u - d(c) u and dv/dt = d(c) u (1 - v / K), where
    d(c) = rate * s^2 (3 - 2 s), s = (c - threshold) / (1 - threshold) within 0..1 and K is the capacity: a
    simplification of the hypoxia-driven necrosis of Swanson et al. What dies where the core is full is resorbed. Only
    for logistic growth at one rate.

    Parameters
    ----------
    rate : float
        Death rate at full density, 1/day, >= 0.
    threshold : float
        Total density over capacity from which cells begin to die, 0..1.

    References
    ----------
    Swanson et al. 2011, doi:10.1158/0008-5472.CAN-11-1399
    """

    numbers: ClassVar[tuple[str, ...]] = ("necrosis_rate", "necrosis_threshold")
    """Names of its parameters, in a derivative."""

    rate: float = 0.05
    threshold: float = 0.7

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate >= 0 and 0 <= self.threshold < 1):
            raise InputError(
                f"necrosis has a rate >= 0 /day and a threshold within 0 <= t < 1, not {self.rate} and {self.threshold}"
            )

    def react(
        self,
        u: Field,
        v: Field,
        grow: Callable[[], None],
        parameters: GrowthParameters,
        t0: float,
        t1: float,
        kill: DrugKill,
    ) -> None:
        """Advance both arrays in place: half of the dying, growth into the room that is left, half of the dying."""
        total, share = pulse(kill, t0, t1)
        self._die(u, v, (t1 - t0) / 2, parameters.capacity)
        spans = ((share * (t1 - t0), total), ((1 - share) * (t1 - t0), 0.0)) if total else ((t1 - t0, 0.0),)
        for span, log_kill in spans:
            growth, crowding = self.room(v, span, log_kill, parameters)
            u *= growth / (1 + crowding * u)
        self._die(u, v, (t1 - t0) / 2, parameters.capacity)

    def room(self, v: Field, span: float, log_kill: float, parameters: GrowthParameters) -> tuple[Field, Field]:
        """Growth and crowding of the flow u -> growth u / (1 + crowding u) of `span` days, followed by a kill.

        It grows into the room that necrotic cells leave.
        """
        net = parameters.proliferation_rate * (1 - v / parameters.capacity)
        still = net * span == 0
        integral = np.where(still, span, np.expm1(net * span) / np.where(still, 1, net))
        return np.exp(net * span - log_kill), parameters.proliferation_rate / parameters.capacity * integral

    def stress(self, u: Field, v: Field, capacity: float) -> Field:
        """How far total density is above the threshold, over how far it can be: s, 0..1."""
        return np.clip(((u + v) / capacity - self.threshold) / (1 - self.threshold), 0, 1)

    def _die(self, u: Field, v: Field, span: float, capacity: float) -> None:
        # the midpoint rule: how dense it is half of the way decides
        half = self.died(u, v, self.stress(u, v, capacity), span / 2, capacity)
        u[...], v[...] = self.died(u, v, self.stress(*half, capacity), span, capacity)

    def died(self, u: Field, v: Field, stress: Field, span: float, capacity: float) -> tuple[Field, Field]:
        """Living and necrotic cells after `span` days at a given stress."""
        left = u * np.exp(-self.rate * span * stress * stress * (3 - 2 * stress))
        return left, capacity - (capacity - v) * np.exp((left - u) / capacity)

    def irradiated(self, v: Field, lost: Field) -> None:
        """Do nothing: cells killed by radiotherapy are assumed to be cleared, not to become necrosis."""


Companion = DeadCells | Necrosis
