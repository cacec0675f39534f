"""Finding the numbers of the model for one patient: the maximum of the posterior, and its width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.arguments import described, require, require_rng
from tumortwin.calibration import unknowns as known
from tumortwin.calibration.calibration import Calibration, Diagnostics
from tumortwin.calibration.course import GrowthCourse, cropped, slices_of
from tumortwin.calibration.ensemble import ENSEMBLE, normal_draws, rejection_sampling
from tumortwin.calibration.observation import (
    BLUR_MM,
    REACH_MM,
    READERS,
    Channel,
    channels,
    contour_share,
    informative,
    reweighted,
)
from tumortwin.calibration.options import CalibrateOptions
from tumortwin.calibration.outline import ellipsoid_of, tumor_box
from tumortwin.calibration.problem import Problem
from tumortwin.calibration.search import Budget, best_start, descend
from tumortwin.calibration.uncertainty import (
    cholesky,
    correlation_lengths,
    covariance,
    repetition,
    voxels_per_sample,
)
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.options import chosen
from tumortwin.progress import Progress, automatic, bar_in_notebooks
from tumortwin.threads import one_blas_thread
from tumortwin.twin import Observation, Twin

MARGIN_MM = 24.0
"""The fit's box reaches this far beyond every scan's tumor."""

FIRST_LENGTH_MM = 4.0
"""First guess of the residuals' correlation length, until it is measured."""

WALL_DENSITY = 0.02
"""Density on the box's faces above which its walls may have held the tumor back."""

WIDE_CORRELATION = 0.8
"""Correlation of two unknowns above which they are called confounded."""


@bar_in_notebooks
@one_blas_thread()
def calibrate(
    twin: Twin,
    visits: slice | Sequence[int] | None = None,
    *,
    options: CalibrateOptions | None = None,
    max_solves: int = CalibrateOptions.max_solves,
    rng: int | np.random.Generator = 0,
    threads: int = 1,
    progress: Progress = automatic,
) -> Calibration:
    """Fit the model to the scans of a twin.

    The unknowns are the growth rates, the radiosensitivity, an ellipsoid that the tumor grew from before the first scan
    and the numbers of the observation model (:mod:`tumortwin.calibration.unknowns`). What is found is the maximum of
    the posterior, by Levenberg-Marquardt on logarithms with the priors as residuals, and a covariance that allows for
    neighboring voxels erring together. Unknowns that the scans cannot tell about keep their prior.

    Parameters
    ----------
    twin : Twin
        The patient on one grid.
    visits : slice or sequence of int, optional
        Which of ``twin.observations`` to use, by day; all if not given. The rest stay unseen.
    options : CalibrateOptions, optional
        All options as one value, in place of `max_solves`.
    max_solves : int
        Solutions of the growth equation after which the best so far is taken.
    rng : int or numpy.random.Generator
        Seed of the samples that the result draws by default. The fit itself is deterministic.
    threads : int
        Solutions that run at the same time.
    progress : Progress
        Told after each solution; cancels by raising. By default a bar in notebooks, nothing elsewhere.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If no visit is chosen, or none of them shows a tumor inside the domain.

    Notes
    -----
    Priors are weighted by the effective number of voxels per sample; it and the standard deviations are
    estimated from the residuals of a first fit, and the fit goes on with them.
    """
    require(twin, Twin, "calibrate takes a Twin, which build_twin makes of a Patient")
    require_rng(rng)
    max_solves = chosen(options, CalibrateOptions(max_solves)).max_solves
    used = _chosen(twin.observations, visits)
    budget = Budget(max_solves, progress)
    problem, held, start = _problem(twin, used, threads, budget)
    spacing = min(twin.domain.grid.spacing)

    lengths = np.full(3, FIRST_LENGTH_MM / spacing)
    start = best_start(problem, start, voxels_per_sample(lengths))
    theta, _ = descend(problem, start, voxels_per_sample(lengths), budget, tolerance=3e-2)
    # the scans' own misfit says how far each kind of data can be trusted, and over what distance it errs together
    rough = problem.residuals(theta)
    problem.channels = reweighted(problem.channels, rough)
    lengths = np.maximum(correlation_lengths(problem.channels, rough), min(o.correlation_mm for o in used) / spacing)
    repeated = repetition(problem.channels, rough)
    weight = repeated * voxels_per_sample(lengths)
    theta, converged = descend(problem, theta, weight, budget, tolerance=2e-3)
    residuals, jacobians = problem.residuals(theta), problem.jacobian(theta)
    spread, curvature = covariance(problem.channels, jacobians, problem.prior_precision, lengths, repeated)
    factor = cholesky(spread)
    spread = (factor[:, None] * factor).sum(axis=2)

    # what the scans cannot tell about keeps its prior
    table = problem.unknowns
    at = [table.index(u) for u in problem.varied]
    mean = np.array([u.mean for u in table])
    full = np.diag([u.spread**2 for u in table])
    mean[at], full[np.ix_(at, at)] = theta, spread
    seed = int(rng) if isinstance(rng, int | np.integer) else int(rng.integers(2**31))
    generator = np.random.default_rng(seed)
    ensemble = normal_draws(mean, full, ENSEMBLE, generator)
    ensemble[:, at], accepted = rejection_sampling(problem, theta, spread, curvature, weight, generator)

    kinds = sorted({c.kind for c in problem.channels})
    informed = [r[informative(c, r)] for c, r in zip(problem.channels, residuals, strict=True)]
    living = problem.trajectory(theta).living
    diagnostics = Diagnostics(
        solves=budget.solves,
        converged=converged,
        reduced_chi2={
            kind: float(
                np.mean(
                    np.concatenate([t for c, t in zip(problem.channels, informed, strict=True) if c.kind == kind]) ** 2
                )
            )
            for kind in kinds
        },
        # scans soon after radiotherapy have a larger one
        sigma={kind: min(c.sigma for c in problem.channels if c.kind == kind) for kind in kinds},
        correlation_mm=tuple(float(x) for x in lengths * spacing),
        voxels_per_sample=weight,
        accepted=accepted,
        wall_density=float(max(np.take(living, i, axis).max() for axis in (1, 2, 3) for i in (0, -1))),
    )
    return Calibration(
        twin=twin,
        visits=tuple(twin.observations.index(o) for o in used),
        box=tumor_box(twin, used, MARGIN_MM),
        start=problem.course.start,
        center=problem.course.center,
        unknowns=table,
        fitted=tuple(u.name for u in problem.varied),
        mean=mean,
        covariance=full,
        seed=seed,
        diagnostics=diagnostics,
        ensemble=ensemble,
        findings=(*_findings(diagnostics, held, table, at, full, max_solves), *problem.trajectory(theta).findings),
    )


def _problem(
    twin: Twin, used: Sequence[Observation], threads: int, budget: Budget
) -> tuple[Problem, dict[str, str], NDArray[np.float64]]:
    """Build the inverse problem; return it, the unknowns that are held and why, and the starting point."""
    grid = twin.domain.grid
    box, near = tumor_box(twin, used, MARGIN_MM), tumor_box(twin, used, REACH_MM + 2 * BLUR_MM)
    window = slices_of(near)
    here = [
        replace(o, **{name: getattr(o, name)[window] for name in ("density", "whole", "enhancing", "necrosis", "seen")})
        for o in used
    ]
    given = [f.day for f in twin.irradiations if f.day < used[-1].day]
    compared = channels(here, twin.domain.mask[window], grid.spacing, given)
    first = next(o for o in here if o.whole.any() or contour_share(o, "core").any())
    center, radius, shape = ellipsoid_of(first, min(grid.spacing))
    corner = np.array([inner[0] - outer[0] for inner, outer in zip(near, box, strict=True)])
    course = GrowthCourse(cropped(twin, box), used[0].day, center + corner)
    table = (
        known.DIFFUSIVITY,
        known.PROLIFERATION,
        known.ALPHA,
        known.TEMOZOLOMIDE,
        known.EARLY_GROWTH,
        *known.seed_unknowns(radius, min(grid.spacing)),
        known.WHOLE,
        known.CORE,
        known.READER_WHOLE,
        known.READER_CORE,
        known.ADC_OFFSET,
        known.ADC_SCALE,
        known.CLEARANCE,
    )
    held = _held(twin, used, compared)
    z, y, x = (slice(c, c + b[1] - b[0]) for c, b in zip(corner, near, strict=True))
    problem = Problem(
        course,
        (z, y, x),
        [o.day for o in used],
        compared,
        table,
        [u.name for u in table if u.name not in held],
        threads,
        budget.tick,
    )
    start = problem.prior_mean
    for k, u in enumerate(problem.varied):
        if u.name in known.SHAPES:
            start[k] = np.clip(shape[known.SHAPES.index(u.name)], -2 * u.spread, 2 * u.spread)
    return problem, held, known.rounded(start)


def _chosen(observations: Sequence[Observation], visits: slice | Sequence[int] | None) -> tuple[Observation, ...]:
    """Select the observations to use, by day."""
    if not (visits is None or isinstance(visits, slice)) and (
        not isinstance(visits, Iterable) or any(not isinstance(v, int | np.integer) for v in visits)
    ):
        raise InputError(
            "visits takes a slice, as slice(0, 4) for the first four, or a list of indices from 0, "
            f"not {described(visits)}"
        )
    if visits is None or isinstance(visits, slice):
        used = tuple(observations[visits or slice(None)])
    else:
        wrong = [v for v in visits if not -len(observations) <= v < len(observations)]
        if wrong:
            raise InputError(f"visits {wrong} are not there: the twin has {len(observations)}, counted from 0")
        used = tuple(observations[v] for v in sorted({v % len(observations) for v in visits}))
    if not used:
        raise InputError(f"visits={visits} chooses none of the twin's {len(observations)} observations")
    return tuple(sorted(used, key=lambda o: o.day))


def _held(twin: Twin, used: Sequence[Observation], compared: Sequence[Channel]) -> dict[str, str]:
    """Unknowns that these scans cannot tell about, and why."""
    last = used[-1].day
    held = {}
    if len(used) < 2:
        for name in ("diffusivity", "proliferation_rate", "early_growth"):
            held[name] = "one scan has no time in it"
    if not any(used[0].day < f.day < last for f in twin.irradiations):
        for name in ("alpha", "clearance"):
            held[name] = "no radiotherapy between the scans used"
    if not any(a.drug == "temozolomide" and used[0].day < a.day < last for a in twin.administrations):
        held["temozolomide"] = "no temozolomide between the scans used"
    kinds = {c.kind for c in compared}
    for kind, reader in READERS.items():
        if len({c.segmented for c in compared if c.kind == kind}) < 2:
            held[reader.name] = "all contours of this kind are by one reader"
    for kind, names in (
        ("whole", ("threshold_whole",)),
        ("core", ("threshold_core",)),
        ("density", ("adc_offset", "adc_scale")),
    ):
        if kind not in kinds:
            held |= dict.fromkeys(names, f"no {kind} data in the scans used")
    return held


def _findings(
    diagnostics: Diagnostics,
    held: dict[str, str],
    table: Sequence[known.Unknown],
    at: Sequence[int],
    covariance: NDArray[np.float64],
    max_solves: int,
) -> tuple[Finding, ...]:
    """List the findings that a reader of the estimates should know."""
    found = [
        Finding(
            f"{name} cannot be told from these scans: {why}",
            "calibration",
            "it keeps its prior, and its width",
            Severity.ASSUMED,
        )
        for name, why in held.items()
    ]
    if not diagnostics.converged:
        found.append(
            Finding(
                f"the fit had not converged after {diagnostics.solves} solutions (limit {max_solves})",
                "calibration",
                "the best point is used; raise max_solves",
                Severity.ASSUMED,
            )
        )
    deviations = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(deviations, deviations)
    for i, a in enumerate(at):
        for b in at[:i]:
            rates = {"diffusivity", "proliferation_rate", "alpha", "temozolomide", "clearance"}
            if abs(correlations[a, b]) > WIDE_CORRELATION and {table[a].name, table[b].name} <= rates:
                found.append(
                    Finding(
                        f"{table[b].name} and {table[a].name} are confounded (correlation {correlations[a, b]:.2f})",
                        "calibration",
                        "read them together: their combination is known better than either",
                    )
                )
    if "temozolomide" not in held and "alpha" not in held:
        found.append(
            Finding(
                "temozolomide and radiotherapy were given together",
                "calibration",
                "what each killed rests on the prior of the drug's sensitivity",
            )
        )
    if diagnostics.accepted < 0.5:
        found.append(
            Finding(
                f"only {diagnostics.accepted:.0%} of the draws around the best fit agree with the scans",
                "calibration",
                "the posterior is not normal: the table's intervals are too wide, the "
                "forecast's bands use the draws that agree",
            )
        )
    if diagnostics.wall_density > WALL_DENSITY:
        found.append(
            Finding(
                f"the density at the edge of the fit's box reaches {diagnostics.wall_density:.2g}",
                "calibration",
                "the box may hold the tumor back",
                Severity.ASSUMED,
            )
        )
    return tuple(found)
