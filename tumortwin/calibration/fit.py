"""Finding the numbers of the model for one patient: the maximum of the posterior, and its width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from lmfit import Minimizer, Parameters
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.calibration import unknowns as known
from tumortwin.calibration.calibration import Calibration, Diagnostics
from tumortwin.calibration.course import Box, Course, cropped, shape_numbers, slices_of
from tumortwin.calibration.observation import QUANTITIES, channels, contour_share, informative, reweighted
from tumortwin.calibration.problem import Problem, Vector, cost
from tumortwin.calibration.uncertainty import correlation_lengths, covariance, kappa
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.progress import Progress, silent
from tumortwin.twin import Observation, Twin

MARGIN_MM = 24.0
"""The fit's box reaches this far beyond every scan's tumor."""

FIRST_LENGTH_MM = 4.0
"""First guess of the residuals' correlation length, until it is measured."""

WALL_DENSITY = 0.02
"""Density on the box's faces above which its walls may have held the tumor back."""

WIDE_CORRELATION = 0.8
"""Correlation of two unknowns above which they are called confounded."""


@dataclass
class _Budget:
    """Counts solutions of the growth equation, tells the caller and stops the fit at its limit."""

    limit: int
    progress: Progress
    solves: int = 0

    def tick(self) -> None:
        self.solves += 1
        self.progress(min(self.solves, self.limit), self.limit, "calibrate")

    @property
    def spent(self) -> bool:
        return self.solves >= self.limit


def calibrate(twin: Twin, visits: slice | Sequence[int] | None = None, *, rng: int | np.random.Generator = 0,
              max_solves: int = 300, threads: int = 1, progress: Progress = silent) -> Calibration:
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
    rng : int or numpy.random.Generator
        Seed of the samples that the result draws by default. The fit itself is deterministic.
    max_solves : int
        Solutions of the growth equation after which the best so far is taken.
    threads : int
        Solutions that run at the same time.
    progress : Progress
        Told after each solution; cancels by raising.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If no visit is chosen, or none of them shows a tumor inside the domain.

    Notes
    -----
    Priors are weighted by kappa, the number of neighboring voxels that count as one; standard deviations and kappa are
    estimated from the residuals of a first fit, and the fit goes on with them.
    """
    used = _chosen(twin.observations, visits)
    spacing = min(twin.domain.grid.spacing)
    fractions = [f.day for f in twin.irradiations if f.day < used[-1].day]
    box = _box(twin, used)
    slices = slices_of(box)
    here = [_cropped_observation(o, slices) for o in used]
    compared = channels(here, twin.domain.mask[slices], twin.domain.grid.spacing, max(fractions, default=None))
    first = next((o for o in here if contour_share(o, "whole").any() or contour_share(o, "enhancing").any()), None)
    if first is None or not compared:
        raise InputError(f"none of the {len(used)} visits chosen shows a tumor inside the domain: "
                         "choose others, or check the contours")
    center, radius, shape = _ellipsoid(first, spacing)

    course = Course(cropped(twin, box), used[0].day, center)
    table = (known.DIFFUSIVITY, known.PROLIFERATION, known.ALPHA, known.TEMOZOLOMIDE, known.EARLY_GROWTH,
             *known.seed_unknowns(radius, spacing),
             known.WHOLE, known.ENHANCING, known.ADC_OFFSET, known.ADC_SCALE, known.CLEARANCE)
    held = _held(twin, used, {c.kind for c in compared})
    budget = _Budget(max_solves, progress)
    problem = Problem(course, [o.day for o in used], compared, table, [u.name for u in table if u.name not in held],
                      threads, budget.tick)

    start = problem.prior_mean.copy()
    for k, u in enumerate(problem.varied):
        if u.name in known.SHAPES:
            start[k] = np.clip(shape[known.SHAPES.index(u.name)], -2 * u.spread, 2 * u.spread)
    lengths = np.full(3, FIRST_LENGTH_MM / spacing)
    start = _scanned(problem, start, kappa(lengths))
    theta, _ = _descend(problem, start, kappa(lengths), budget, tolerance=1e-2)
    # the scans' own misfit says how far each kind of data can be trusted, and over what distance it errs together
    rough = problem.residuals(theta)
    first_sigma = {c.kind: c.sigma for c in problem.channels}
    problem.channels = reweighted(problem.channels, rough)
    lengths = np.maximum(correlation_lengths(problem.channels, rough), min(o.correlation_mm for o in used) / spacing)
    theta, converged = _descend(problem, theta, kappa(lengths), budget, tolerance=1e-3)

    residuals, jacobians = problem.residuals(theta), problem.jacobian(theta)
    spread = covariance(problem.channels, jacobians, problem.prior_precision, lengths)
    names = [u.name for u in problem.varied]
    at = [[u.name for u in table].index(name) for name in names]
    mean = np.array([u.mean for u in table])
    mean[at] = theta
    full = np.diag([u.spread**2 for u in table])
    full[np.ix_(at, at)] = spread
    chi2 = {}
    for kind in first_sigma:
        parts = [r[informative(c, r)] for c, r in zip(problem.channels, residuals, strict=True) if c.kind == kind]
        chi2[kind] = float(np.mean(np.concatenate(parts) ** 2))
    wall = _wall_density(problem, theta)
    diagnostics = Diagnostics(
        solves=budget.solves, converged=converged, reduced_chi2=chi2, sigma={c.kind: c.sigma for c in problem.channels},
        correlation_mm=tuple(float(x) for x in lengths * spacing), kappa=kappa(lengths), wall_density=wall,
    )
    seed = int(rng) if isinstance(rng, int | np.integer) else int(rng.integers(2**31))
    return Calibration(
        twin=twin, visits=tuple(twin.observations.index(o) for o in used), box=box, start=course.start,
        center=course.center, unknowns=table, fitted=tuple(names), mean=mean, covariance=full, seed=seed,
        diagnostics=diagnostics, findings=_findings(diagnostics, held, table, at, full, max_solves),
    )


def _chosen(observations: Sequence[Observation], visits: slice | Sequence[int] | None) -> tuple[Observation, ...]:
    """The observations to use, by day."""
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


def _box(twin: Twin, used: Sequence[Observation]) -> Box:
    """The grid's part within a margin of every used scan's tumor."""
    tumor = np.any([contour_share(o, kind) > 0.5 for o in used for kind in QUANTITIES], axis=0) & twin.domain.mask
    if not tumor.any():
        raise InputError(f"none of the {len(used)} visits chosen shows a tumor inside the domain: "
                         "choose others, or check the contours")
    box = []
    for axis, (n, h) in enumerate(zip(tumor.shape, twin.domain.grid.spacing, strict=True)):
        there = np.nonzero(tumor.any(axis=tuple(a for a in range(3) if a != axis)))[0]
        reach = int(np.ceil(MARGIN_MM / h))
        box.append((max(0, int(there[0]) - reach), min(n, int(there[-1]) + 1 + reach)))
    z, y, x = box
    return z, y, x


def _cropped_observation(o: Observation, box: tuple[slice, ...]) -> Observation:
    return replace(o, **{name: getattr(o, name)[box] for name in ("density", "whole", "enhancing", "necrosis", "seen")})


def _ellipsoid(o: Observation, spacing: float) -> tuple[NDArray[np.float64], float, tuple[float, ...]]:
    """Centre (index), radius (mm) and shape numbers of a visit's whole tumor, from its moments."""
    share = contour_share(o, "whole" if o.whole.any() else "enhancing").astype(float)
    # the largest piece: satellites and false positives must not pull the centre
    labels, count = ndimage.label(share > 0.5)
    if count > 1:
        sizes = ndimage.sum_labels(share, labels, range(1, count + 1))
        share = share * (labels == 1 + int(np.argmax(sizes)))
    points = np.argwhere(share > 0)
    weights = share[share > 0]
    center = np.average(points, axis=0, weights=weights)
    offsets = (points - center) * spacing
    # a solid ellipsoid with axes a has second moments a^2 / 5; a voxel's own width keeps a thin one from vanishing
    moments = np.cov(offsets.T, aweights=weights, ddof=0) + np.eye(3) * spacing**2 / 12
    eigenvalues, vectors = np.linalg.eigh(moments)
    radius = (3 * weights.sum() * spacing**3 / (4 * np.pi)) ** (1 / 3)
    return center, float(radius), shape_numbers((vectors * (0.5 * np.log(eigenvalues))) @ vectors.T)


def _held(twin: Twin, used: Sequence[Observation], kinds: set[str]) -> dict[str, str]:
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
    for kind, names in (("whole", ("threshold_whole",)), ("enhancing", ("threshold_enhancing",)),
                        ("density", ("adc_offset", "adc_scale"))):
        if kind not in kinds:
            held |= dict.fromkeys(names, f"no {kind} data in the scans used")
    return held


def _scanned(problem: Problem, start: Vector, weight: float) -> Vector:
    """The best of a few starts: the rates and the radiosensitivity move the cost most, and over decades."""
    at = {u.name: k for k, u in enumerate(problem.varied)}
    best, lowest = start, cost(problem.residuals(start), start, problem, weight)
    for name, steps in (("proliferation_rate", (-1.0, 1.0)), ("alpha", (-1.5, -0.75, 0.75)),
                        ("diffusivity", (-1.0, 1.0)), ("proliferation_rate", (-0.5, 0.5))):
        if name not in at:
            continue
        center = best
        for step in steps:
            trial = center.copy()
            trial[at[name]] += step
            value = cost(problem.residuals(trial), trial, problem, weight)
            if value < lowest:
                best, lowest = trial, value
    return best


def _descend(problem: Problem, start: Vector, weight: float, budget: _Budget, tolerance: float) -> tuple[Vector, bool]:
    """Levenberg-Marquardt from `start`; priors weighted by `weight`. The best point, and whether it converged."""
    root = np.sqrt(weight * problem.prior_precision)
    parameters = Parameters()
    for unknown, value in zip(problem.varied, start, strict=True):
        low, high = unknown.bounds
        parameters.add(unknown.name, value=float(np.clip(value, low, high)), min=low, max=high)

    def theta_of(p: Parameters) -> Vector:
        return np.array([p[u.name].value for u in problem.varied])

    def residual(p: Parameters) -> Vector:
        theta = theta_of(p)
        return np.concatenate([*problem.residuals(theta), root * (theta - problem.prior_mean)])

    def derivative(p: Parameters) -> Vector:
        return np.concatenate([*problem.jacobian(theta_of(p)), np.diag(root)])

    lowest, best = np.inf, start

    def watch(p: Parameters, iteration: int, residuals: Vector) -> bool:
        nonlocal lowest, best
        value = float(residuals @ residuals)
        if value < lowest:
            lowest, best = value, theta_of(p)
        return budget.spent

    result = Minimizer(residual, parameters, iter_cb=watch, scale_covar=False, calc_covar=False).minimize(
        method="leastsq", Dfun=derivative, col_deriv=0, ftol=tolerance, xtol=tolerance, max_nfev=10 * len(start))
    return best, bool(result.success) and not result.aborted


def _wall_density(problem: Problem, theta: Vector) -> float:
    """The highest living density on those faces of the box that are not the grid's edge or the domain's wall."""
    living = problem.trajectory(theta).living
    faces = [np.take(living, i, axis) for axis in (1, 2, 3) for i in (0, -1)]
    return float(max(f.max() for f in faces))


def _findings(diagnostics: Diagnostics, held: dict[str, str], table: Sequence[known.Unknown], at: Sequence[int],
              covariance: NDArray[np.float64], max_solves: int) -> tuple[Finding, ...]:
    """What a reader of the estimates should know."""
    found = [Finding(f"{name} cannot be told from these scans: {why}", "calibration",
                     "it keeps its prior, and its width", Severity.ASSUMED) for name, why in held.items()]
    if not diagnostics.converged:
        found.append(Finding(f"the fit had not converged after {diagnostics.solves} solutions (limit {max_solves})",
                             "calibration", "the best point is used; raise max_solves", Severity.ASSUMED))
    deviations = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(deviations, deviations)
    for i, a in enumerate(at):
        for b in at[:i]:
            rates = {"diffusivity", "proliferation_rate", "alpha", "temozolomide", "clearance"}
            if abs(correlations[a, b]) > WIDE_CORRELATION and {table[a].name, table[b].name} <= rates:
                found.append(Finding(f"{table[b].name} and {table[a].name} are confounded (correlation "
                                     f"{correlations[a, b]:.2f})", "calibration",
                                     "read them together: their combination is known better than either"))
    if "temozolomide" not in held and "alpha" not in held:
        found.append(Finding("temozolomide and radiotherapy were given together", "calibration",
                             "what each killed rests on the prior of the drug's sensitivity"))
    if diagnostics.wall_density > WALL_DENSITY:
        found.append(Finding(f"the density at the edge of the fit's box reaches {diagnostics.wall_density:.2g}",
                             "calibration", "the box may hold the tumor back", Severity.ASSUMED))
    return tuple(found)
