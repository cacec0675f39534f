"""One tumor's course for given unknowns: grown from an ellipsoid before the first scan, then treated and followed.

The first scan is data like the others, not the truth: starting from its map biases every parameter. Instead the tumor
is grown from a smooth ellipsoid of half its radius for T = R / (4 sqrt(D rho)) days, the time a front takes to cross
the other half, so that R is the radius at the first scan whatever D and rho are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tumortwin.calibration.unknowns import SHAPES
from tumortwin.growth.model import model_of
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.growth.scheme import StepPlan
from tumortwin.growth.seed import ellipsoid_distance, shape_matrix, shape_numbers
from tumortwin.growth.solver import simulate
from tumortwin.growth.terms.treatment import survival
from tumortwin.imaging.findings import Finding
from tumortwin.twin import Administration, Irradiation, Removal, Twin

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Window = tuple[slice, slice, slice]
WHOLE_BOX: Window = (slice(None), slice(None), slice(None))
Plans = tuple[StepPlan, StepPlan | None]

SEED_SHARE = 0.5
"""Radius of the seed over that of the first scan's tumor: the rest is grown in the domain, and takes its shape."""

RTOL = 3e-3
"""Relative error in time of a solution; the error in space is larger."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Living cells at some days, and what each fraction killed.

    Parameters
    ----------
    days : (n,) array
        Days.
    living : (n, z, y, x) float32 array
        Density of living cells; at the time of a fraction, after it.
    killed_days : (m,) array
        Days of the fractions.
    killed : (m, z, y, x) float32 array
        Density that each fraction killed.
    plans : pair of StepPlan
        Time steps before and after the first scan; None without any after it.
    findings : tuple of Finding
        Of the solution.
    """

    days: NDArray[np.float64]
    living: NDArray[np.float32]
    killed_days: NDArray[np.float64]
    killed: NDArray[np.float32]
    plans: Plans
    findings: tuple[Finding, ...] = ()

    def visible(self, i: int, clearance: float, window: Window = WHOLE_BOX) -> NDArray[np.float32]:
        """Compute what a scan on ``days[i]`` sees: living cells, and killed ones that clear by a half-time in days."""
        since = self.days[i] - self.killed_days
        left = np.where(since >= 0, 0.5 ** (np.maximum(since, 0) / clearance), 0.0).astype(np.float32)
        seen = self.living[i][window].copy()
        # one fraction after the other: a product by BLAS adds in an order, and rounds, as the processor likes
        for share, killed in zip(left, self.killed, strict=True):
            if share > 0:
                seen += share * killed[window]
        return seen


@dataclass(frozen=True, eq=False)
class GrowthCourse:
    """The part of a twin that its tumor can reach, and where the tumor was at the first scan.

    Parameters
    ----------
    twin : Twin
        Cropped to a box of its grid, at the same spacing; without its observations.
    start : float
        Day of the first scan.
    center : (3,) array
        Index (z, y, x) of the tumor's centre at the first scan, in the box.
    """

    twin: Twin
    start: float
    center: NDArray[np.float64]

    def solve(
        self,
        values: Mapping[str, float],
        days: Sequence[float],
        *,
        irradiations: Iterable[Irradiation] | None = None,
        administrations: Iterable[Administration] | None = None,
        plans: Plans | None = None,
    ) -> Trajectory:
        """Grow and treat the tumor.

        Parameters
        ----------
        values : mapping of str to float
            Every unknown, in its unit.
        days : sequence of float
            When the density is wanted, by day, none before the first scan.
        irradiations, administrations : iterables, optional
            In place of the twin's own.
        plans : pair of StepPlan, optional
            Time steps of another solution, to be taken again: then the result is a smooth function of the unknowns.
        """
        parameters = growth_parameters(values)
        q = values["early_growth"]
        early = replace(
            parameters,
            diffusivity=parameters.diffusivity * math.exp(q),
            proliferation_rate=parameters.proliferation_rate * math.exp(-q),
        )
        begin = self.start - spin_up_days(values)
        untreated = model_of(replace(self.twin, removals=()), early, irradiations=(), administrations=())
        before = simulate(untreated, self.seed(values), begin, self.start, rtol=RTOL, plan=plans and plans[0])

        model = model_of(
            self.twin, parameters, until=days[-1], irradiations=irradiations, administrations=administrations
        )
        # a fraction on the first scan's very day is taken to be after it; a solve excludes what is on its first day
        fractions = [f for f in model.irradiations if self.start < f.day]
        after = None
        fields = {self.start: before.fields[-1]}
        if days[-1] > self.start:
            stops = sorted({*days, *(f.day for f in fractions)})
            after = simulate(
                model, before.fields[-1], self.start, days[-1], save_at=stops, rtol=RTOL, plan=plans and plans[1]
            )
            fields |= dict(zip(stops, after.fields, strict=True))
        # saved fields are those after the fraction: what it killed is (1 / S - 1) of what it left
        lost: dict[int, NDArray[np.float32]] = {}
        for f in fractions:
            # fractions of one plan share one dose map
            if id(f.dose) not in lost:
                lost[id(f.dose)] = (1 / survival(parameters, f.dose) - 1).astype(np.float32)
        killed = [fields[f.day] * lost[id(f.dose)] for f in fractions]
        return Trajectory(
            np.asarray(days, float),
            np.stack([fields[d] for d in days]),
            np.array([f.day for f in fractions]),
            np.stack(killed) if killed else np.zeros((0, *self.twin.domain.grid.shape), np.float32),
            (before.plan, after.plan if after else None),
            after.findings if after else before.findings,
        )

    def seed(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Build the ellipsoid that the tumor grows from: 1 inside, falling over the front width, 0 off the domain."""
        grid = self.twin.domain.grid
        turn = grid.affine[:3, :3] / grid.spacing  # from the grid's own axes, in which the unknowns are, to the world's
        offset = np.array([values[f"seed_{axis}"] for axis in "zyx"])
        shape = turn @ shape_matrix([values[name] for name in SHAPES]) @ turn.T
        distance = ellipsoid_distance(grid, grid.to_world(self.center) + turn @ offset, shape_numbers(shape))
        inward = SEED_SHARE * values["seed_radius"] - distance
        return ndtr(inward / values["front_width"]) * self.twin.domain.mask


def growth_parameters(values: Mapping[str, float]) -> GrowthParameters:
    """Build the growth equation's parameters for given unknowns; what is not unknown is at its default."""
    held = GrowthParameters()
    drugs = {**held.drug_sensitivity, "temozolomide": values["temozolomide"]}
    return replace(
        held,
        diffusivity=values["diffusivity"],
        proliferation_rate=values["proliferation_rate"],
        alpha=values["alpha"],
        drug_sensitivity=drugs,
    )


def spin_up_days(values: Mapping[str, float]) -> float:
    """Days from the seed to the first scan: the grown part of the radius over the front's speed 2 sqrt(D rho)."""
    speed = 2 * np.sqrt(values["diffusivity"] * values["proliferation_rate"])
    return float((1 - SEED_SHARE) * values["seed_radius"] / speed)


def slices_of(box: Box) -> Window:
    """Return the slices that cut a box from an array."""
    z, y, x = (slice(*b) for b in box)
    return z, y, x


def cropped(twin: Twin, box: Box) -> Twin:
    """Crop a twin to a box, at the same spacing and place; without its observations and structures."""
    slices = slices_of(box)
    domain = replace(
        twin.domain,
        grid=twin.domain.grid.cropped(slices),
        **{name: getattr(twin.domain, name)[slices] for name in ("mask", "white", "grey", "csf")},
    )
    doses: dict[int, NDArray[np.float32]] = {}

    def part(dose: NDArray[np.float32] | float) -> NDArray[np.float32] | float:
        if isinstance(dose, float | int):
            return dose
        # fractions of one plan share one map: crop it once
        return doses.setdefault(id(dose), np.ascontiguousarray(dose[slices]))

    return replace(
        twin,
        domain=domain,
        anatomy=twin.anatomy.cropped(slices),
        observations=(),
        irradiations=tuple(Irradiation(f.day, part(f.dose)) for f in twin.irradiations),
        removals=tuple(Removal(r.day, np.ascontiguousarray(r.removed[slices])) for r in twin.removals),
        structures={},
        dose=None,
    )
