"""The inverse problem of one twin: residuals and their derivatives for the unknowns that its scans can tell about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tumortwin.calibration.course import GrowthCourse, Plans, Trajectory, Window
from tumortwin.calibration.observation import Channel, Regions, residuals
from tumortwin.calibration.unknowns import CLEARANCE, Unknown
from tumortwin.threads import pool_of

Vector = NDArray[np.float64]
T = TypeVar("T")


class Problem:
    """Maps transformed unknowns to residuals.

    Parameters
    ----------
    course : GrowthCourse
        The growth problem.
    window : tuple of slice
        Part of the course's box that the channels are on.
    days : sequence of float
        Days of the scans that are used.
    channels : sequence of Channel
        What is compared.
    unknowns : sequence of Unknown
        All of them.
    varied : sequence of str
        Names of those that the scans can tell about; the rest stay at their prior's median.
    threads : int
        Columns of the derivative that are computed at the same time.
    tick : callable
        Called after each solution of the growth equation; raises to cancel.
    """

    def __init__(
        self,
        course: GrowthCourse,
        window: Window,
        days: Sequence[float],
        channels: Sequence[Channel],
        unknowns: Sequence[Unknown],
        varied: Sequence[str],
        threads: int,
        tick: Callable[[], None],
    ) -> None:
        self.course, self.days, self.channels = course, days, tuple(channels)
        self.unknowns, self.threads, self.tick = tuple(unknowns), threads, tick
        self.varied = tuple(u for u in unknowns if u.name in set(varied))
        self._window = window
        self._regions = Regions(course.twin.domain.mask[window], course.twin.domain.grid.spacing)
        self._solved: dict[bytes, Trajectory] = {}

    @property
    def prior_mean(self) -> Vector:
        """Means of the varied unknowns' priors."""
        return np.array([u.mean for u in self.varied])

    @property
    def prior_precision(self) -> Vector:
        """1 / variance of the varied unknowns' priors."""
        return np.array([u.spread**-2 for u in self.varied])

    def values(self, theta: Vector) -> dict[str, float]:
        """Every unknown in its unit."""
        found = {u.name: u.median for u in self.unknowns}
        return found | {u.name: u.scale.back(t) for u, t in zip(self.varied, theta, strict=True)}

    def trajectory(self, theta: Vector) -> Trajectory:
        """Compute the tumor's course; the last few are kept, because a fit asks for the same point more than once."""
        key = self._key(theta)
        if key not in self._solved:
            while len(self._solved) >= 4:
                del self._solved[next(iter(self._solved))]
            self._solved[key] = self._solve(theta)
            self.tick()
        return self._solved[key]

    def residuals(self, theta: Vector) -> list[Vector]:
        """Residuals of each channel, with unit variance."""
        return self._compare(self.trajectory(theta), theta)

    def costs(self, thetas: Iterable[Vector], weight: float) -> list[float]:
        """:func:`cost` at several points, computed at the same time as far as there are threads."""

        def one(theta: Vector) -> float:
            return cost(self._compare(self._solve(theta), theta), theta, self, weight)

        points = list(thetas)
        return self._mapped(one, points, [True] * len(points))

    def jacobian(self, theta: Vector) -> list[Vector]:
        """Compute the derivative of each channel's residuals, (n, k), by one-sided differences.

        All columns take the time steps of the solution at `theta`, so that the differences see the equation and not
        the step control.
        """
        base = self.trajectory(theta)
        at = self._compare(base, theta)

        def column(k: int) -> list[Vector]:
            unknown, moved = self.varied[k], theta.copy()
            moved[k] += unknown.step
            only_seen = not unknown.solves
            there = self._compare(base if only_seen else self._solve(moved, base.plans), moved)
            return [(r - r0) / unknown.step for r, r0 in zip(there, at, strict=True)]

        columns = self._mapped(column, range(len(theta)), [u.solves for u in self.varied])
        return [np.stack([c[i] for c in columns], axis=1) for i in range(len(self.channels))]

    def _mapped(self, work: Callable[[Any], T], items: Iterable[Any], solves: Sequence[bool]) -> list[T]:
        """`work` on each item, on the threads; ticks after those that solve the growth equation."""
        results = []
        with pool_of(self.threads) as pool:
            for result, solved in zip(pool.map(work, items), solves, strict=True):
                results.append(result)
                if solved:
                    self.tick()
        return results

    def _key(self, theta: Vector) -> bytes:
        return np.array([t for u, t in zip(self.varied, theta, strict=True) if u.solves]).tobytes()

    def _solve(self, theta: Vector, plans: Plans | None = None) -> Trajectory:
        return self.course.solve(self.values(theta), self.days, plans=plans)

    def _compare(self, trajectory: Trajectory, theta: Vector) -> list[Vector]:
        values = self.values(theta)
        visible = [trajectory.visible(i, values[CLEARANCE.name], self._window) for i in range(len(self.days))]
        return residuals(self.channels, visible, values, self._regions)


def cost(parts: Sequence[Vector], theta: Vector, problem: Problem, weight: float) -> float:
    """Half the sum of squares of the residuals and of the priors' with their weight: what is minimised."""
    prior = weight * problem.prior_precision * (theta - problem.prior_mean) ** 2
    return 0.5 * float(sum(np.square(r).sum() for r in parts) + prior.sum())
