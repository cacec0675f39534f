"""A second field beside the living cells: dead ones that are still seen, or a necrotic core.

A companion does not move. In each step of reaction it is advanced together with the density of living cells, so the
pair is stepped with the second order of the scheme. What a scan sees is living cells and companion together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth.terms.treatment import DrugKill


def _pulse(kill: DrugKill, t0: float, t1: float) -> tuple[float, float]:
    """Log-kill between two days, and when within them its half is done, 0..1."""
    total = kill.between(t0, t1)
    if total <= 0:
        return 0.0, 0.5
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if kill.between(t0, t0 + middle * (t1 - t0)) < total / 2 else (low, middle)
    return total, (low + high) / 2


@dataclass(frozen=True)
class DeadCells:
    """Killed cells that clear with a half-time: dv/dt = k(t) u - (ln 2 / half_time) v.

    Radiotherapy adds what it kills at once. With it, what a scan after radiotherapy sees is u + v.

    Parameters
    ----------
    half_time : float
        Days, > 0.
    """

    half_time: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.half_time) and self.half_time > 0):
            raise InputError(f"dead cells clear with a half-time > 0 days, not {self.half_time}")

    def react(self, u: NDArray[np.floating], v: NDArray[np.floating], grow: Callable[[], None], rate: float, t0: float,
              t1: float, kill: DrugKill) -> None:
        """Advance both arrays in place; `grow` advances `u` by the growth law and the drugs."""
        total, share = _pulse(kill, t0, t1)
        before = u.copy() if total else u
        grow()
        v *= 0.5 ** ((t1 - t0) / self.half_time)
        if total:
            # exact for a kill at one instant at either end, and of second order between
            killed = (1 - share) * -np.expm1(-total) * before + share * np.expm1(total) * u
            v += killed * 0.5 ** ((1 - share) * (t1 - t0) / self.half_time)

    def irradiated(self, v: NDArray[np.floating], lost: NDArray[np.floating]) -> None:
        """Take what a fraction killed."""
        v += lost


@dataclass(frozen=True)
class Necrosis:
    """Cells that die where density stays high, and never leave: the necrotic core.

    With c = u + v, du/dt = rho u (1 - c) - k u - d(c) u and dv/dt = d(c) u, where d(c) = rate * s^2 (3 - 2 s) with
    s = (c - threshold) / (1 - threshold) within 0..1: a simplification of the hypoxia-driven necrosis of Swanson et al.
    Only for logistic growth at one rate.

    Parameters
    ----------
    rate : float
        Death rate at full density, 1/day, >= 0.
    threshold : float
        Total density from which cells begin to die, 0..1.

    References
    ----------
    Swanson et al. 2011, doi:10.1158/0008-5472.CAN-11-1399
    """

    rate: float = 0.05
    threshold: float = 0.7

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate >= 0 and 0 <= self.threshold < 1):
            raise InputError("necrosis has a rate >= 0 /day and a threshold within 0 <= t < 1, not "
                             f"{self.rate} and {self.threshold}")

    def react(self, u: NDArray[np.floating], v: NDArray[np.floating], grow: Callable[[], None], rate: float, t0: float,
              t1: float, kill: DrugKill) -> None:
        """Advance both arrays in place: half of the dying, growth into the room that is left, half of the dying."""
        total, share = _pulse(kill, t0, t1)
        self._die(u, v, (t1 - t0) / 2)
        net = rate * (1 - v)
        for span, survivors in ((share * (t1 - t0), np.exp(-total)), ((1 - share) * (t1 - t0), 1.0)):
            room = np.where(np.abs(net * span) > 1e-6, net, 1.0)
            integral = np.where(room == net, np.expm1(net * span) / room, span)
            u *= survivors * np.exp(net * span) / (1 + rate * integral * u)
        self._die(u, v, (t1 - t0) / 2)

    def _die(self, u: NDArray[np.floating], v: NDArray[np.floating], span: float) -> None:
        # total density is constant while cells die
        s = np.clip((u + v - self.threshold) / (1 - self.threshold), 0, 1)
        dead = -np.expm1(-self.rate * span * s * s * (3 - 2 * s)) * u
        u -= dead
        v += dead

    def irradiated(self, v: NDArray[np.floating], lost: NDArray[np.floating]) -> None:
        """What radiotherapy kills is taken to clear, not to be necrosis."""


Companion = DeadCells | Necrosis
