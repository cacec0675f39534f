"""Comparing schedules on a calibrated twin, and searching among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from tumortwin.arguments import require, require_rng
from tumortwin.calibration import Band, Calibration
from tumortwin.calibration.course import growth_parameters
from tumortwin.errors import InputError
from tumortwin.growth import model_of
from tumortwin.imaging.findings import Finding
from tumortwin.options import chosen
from tumortwin.planning.constraints import ConstraintSet, Organ
from tumortwin.planning.given_dose import GivenDose, given_dose, largest_dose, limits_of
from tumortwin.planning.options import (
    Interval,
    Outcome,
    PlanFront,
    PlanOption,
    Source,
    time_to_progression,
)
from tumortwin.planning.plan_options import PlanOptions
from tumortwin.planning.radial import ball_of, calendar, radial_volumes
from tumortwin.progress import Progress, automatic, bar_in_notebooks
from tumortwin.therapy.linear_quadratic import LARGE_FRACTION_GY, large_fraction_findings
from tumortwin.therapy.schedule import CLINICAL_SCHEDULES, Prescription, Schedule
from tumortwin.threads import one_blas_thread, pool_of
from tumortwin.twin import Irradiation

Vector = NDArray[np.float64]
Scores = tuple[Vector, Vector]

CURVE_DAYS = 7.0
"""Time between two points of a volume curve; a volume's progress between them is interpolated."""

MOST_FRACTIONS = 40

SHORT_COURSE = 15
"""The search also gives the best course of at most so many fractions: the longest of the clinical short courses."""

LEAST_GY = 0.5
"""Smaller fractions are not considered: below this the linear-quadratic model misses low-dose hypersensitivity."""


@bar_in_notebooks
@one_blas_thread()
def optimize_dose(
    fit: Calibration,
    constraints: ConstraintSet | str | None = None,
    *,
    options: PlanOptions | None = None,
    horizon_days: float = PlanOptions.horizon_days,
    samples: int = PlanOptions.samples,
    escalate: bool = PlanOptions.escalate,
    rng: int | np.random.Generator = 0,
    threads: int = 2,
    progress: Progress = automatic,
) -> PlanFront:
    """Compare radiotherapy schedules on a calibrated twin, and search for others.

    The course as delivered, the clinical schedules and no radiotherapy are simulated from the same samples of the
    posterior, from the first day of the radiotherapy given to a horizon. All have the shape of the given dose and start
    on the same day; drugs and surgery stay as they were. The search goes over the number of fractions (1 to 40, one
    each weekday), with the dose per fraction as large as the organs at risk allow: each limit in EQD2, or what the
    delivered course did to that organ if that was more. The brain, which holds the target, gets no more than from the
    delivered course: fractionation is searched, not more dose. A cheap radial model scores the candidates by the median
    time to progression; the best, and the best of at most 15 fractions, are then simulated in 3-D like the others.

    Parameters
    ----------
    fit : Calibration
        The calibrated twin; its first scan used is before radiotherapy.
    constraints : ConstraintSet or str, optional
        Limits of organs at risk: a set, or the name of one of ours ("Burman"); QUANTEC if not given.
    options : PlanOptions, optional
        All options as one value, in place of `constraints`, `horizon_days`, `samples` and `escalate`.
    horizon_days : float
        How far to look, from the first fraction.
    samples : int
        Draws from the posterior, at least 3. Ten give the range of the intervals rather than their percentiles.
    escalate : bool
        Let the search take the brain up to its limit too.
    rng : int or numpy.random.Generator
        Seed of the draws. Equal seeds give equal fronts.
    threads : int
        Samples that run at the same time.
    progress : Progress
        Told after each simulation; cancels by raising. By default a bar in notebooks, nothing elsewhere.

    Returns
    -------
    PlanFront

    Raises
    ------
    InputError
        If the twin has no radiotherapy, or it began before the first scan that was used.

    References
    ----------
    Number and size of fractions at fixed tolerance of an organ: Mizuta 2012 (Int J Radiat Oncol Biol Phys 84:829).
    """
    require(fit, Calibration, "optimize_dose takes a Calibration, which calibrate makes of a Twin")
    require_rng(rng)
    constraints = PlanOptions.constraints if constraints is None else constraints
    options = chosen(options, PlanOptions(constraints, horizon_days, samples, escalate))
    horizon_days, samples, escalate = options.horizon_days, options.samples, options.escalate
    twin, limits = fit.twin, options.limits
    given = given_dose(twin, limits)
    start = given.days[0]
    if not start > fit.start:
        raise InputError(
            f"radiotherapy began on day {start:.1f}, not after the first scan used (day {fit.start:.1f}): "
            "calibrate on a scan before radiotherapy to compare schedules"
        )
    compared = _Comparison(fit, given, start, start + horizon_days, fit.sample(samples, rng), threads, progress)
    first = given.schedule.times[0]
    known = [(Source.DELIVERED, given.schedule), *((Source.CLINICAL, p.schedule(first)) for p in CLINICAL_SCHEDULES)]
    candidates = _isotoxic(given, limits, escalate)
    cheap = compared.cheaply([*(s for _, s in known), *candidates])
    found = _best(candidates, cheap)
    schedules = [*known, *((Source.SEARCH, s) for s in found)]
    compared.expected = len(schedules) * samples
    results = [compared.outcome(schedule, source) for source, schedule in schedules]
    findings = [*given.findings]
    effects = {s.name: given.effects(s) for _, s in schedules}
    for check in (t for e in effects[given.schedule.name] for t in e.checks if not t.met):
        findings.append(
            Finding(
                f"the delivered course exceeds a limit: {check}",
                "plan",
                "the search may do as much to this organ as was done, and no more",
            )
        )
    for _, schedule in schedules:
        findings += large_fraction_findings(schedule.doses, schedule.name)
    merits = [_merit(cheap[s.name]) for _, s in schedules], [_merit((r.samples, r.last)) for r in results]
    agreement = float(kendalltau(*(_ranks(m) for m in merits)).statistic)
    findings.append(
        Finding(
            f"the cheap model of the search and the 3-D model order {len(schedules)} schedules with Kendall's tau "
            f"{agreement:.2f}",
            "plan",
            "the times shown are the 3-D model's",
        )
    )
    if not found:
        findings.append(
            Finding(
                f"no schedule of at least {LEAST_GY} Gy a fraction keeps the limits",
                "plan",
                "only the delivered and the clinical schedules are shown",
            )
        )
    ratio = fit.parameters.alpha_beta
    return PlanFront(
        calibration=fit,
        options=tuple(
            PlanOption(source, s, s.bed(ratio), s.eqd2(ratio), effects[s.name], r.outcome())
            for (source, s), r in zip(schedules, results, strict=True)
        ),
        start=start,
        horizon=start + horizon_days,
        constraint_set=limits.name,
        alpha_beta=ratio,
        prescription_point=given.point,
        histograms=tuple(h.of(lambda share: share * given.planned) for h in given.histograms),
        rank_agreement=agreement,
        findings=tuple(findings),
        given=given,
    )


def _isotoxic(given: GivenDose, limits: ConstraintSet, escalate: bool) -> list[Schedule]:
    """For each number of fractions the largest dose that the organs allow, on weekdays from the given start."""
    allowed = []
    for histogram in given.histograms:
        organ, constraints = limits_of(histogram.structure, limits)
        for c in constraints:
            done = c.value(histogram.of(lambda share: share * given.schedule.total), len(given.days))
            allowed.append((histogram, c, done if organ is Organ.BRAIN and not escalate else max(done, c.limit)))
    found = []
    for n in range(1, MOST_FRACTIONS + 1):
        # prescribed to a hundredth of a Gy, downwards; 1.9999999 is 2
        dose = float(np.floor(100 * largest_dose(n, allowed, LARGE_FRACTION_GY) + 1e-3)) / 100
        if dose >= LEAST_GY:
            course = Prescription(f"search: {n * dose:.1f} Gy / {n}", dose, n)
            found.append(course.schedule(given.schedule.times[0]))
    return found


def _merit(scored: Scores) -> tuple[float, float]:
    """Later progression is better; beyond the horizon, or at a tie, less tumor at the horizon."""
    progression, last = scored
    return float(np.quantile(progression, 0.5, method="inverted_cdf")), -float(np.median(last))


def _ranks(merits: Sequence[tuple[float, float]]) -> list[int]:
    ordered = sorted(set(merits))
    return [ordered.index(m) for m in merits]


def _best(candidates: Sequence[Schedule], cheap: dict[str, Scores]) -> list[Schedule]:
    """Find the best candidate and the best short course; among equally good ones, the shortest."""
    found: list[Schedule] = []
    for most in (MOST_FRACTIONS, SHORT_COURSE):
        allowed = [s for s in candidates if len(s.doses) <= most]
        if allowed:
            best = max(allowed, key=lambda s: (_merit(cheap[s.name]), -len(s.doses)))
            found += [] if best in found else [best]
    return found


@dataclass(frozen=True, eq=False)
class _Scored:
    """Volumes (quantity: (samples, days)) of one schedule, and each sample's time to progression."""

    days: Vector
    volumes: dict[str, Vector]
    samples: Vector

    @property
    def last(self) -> Vector:
        return self.volumes["core"][:, -1]

    def outcome(self) -> Outcome:
        return Outcome(
            self.days,
            {q: Band.of(v) for q, v in self.volumes.items()},
            Interval.of(self.samples),
            float(np.mean(np.isinf(self.samples))),
            Interval.of(self.last),
            self.samples,
        )


class _Comparison:
    """One set of samples that all schedules are run on."""

    def __init__(
        self,
        fit: Calibration,
        given: GivenDose,
        start: float,
        horizon: float,
        draws: list[dict[str, float]],
        threads: int,
        progress: Progress,
    ) -> None:
        self.fit, self.given, self.draws, self.threads, self.progress = fit, given, draws, threads, progress
        self.start, self.horizon = start, horizon
        # an hour before the first fraction (a field saved at a fraction is after it), or at the first scan
        self.begin = max(start - 1 / 24, fit.start)
        self.days = np.array([self.begin, *np.arange(start + CURVE_DAYS, horizon - 1e-6, CURVE_DAYS), horizon])
        self.done = self.expected = 0

    def cheaply(self, schedules: Sequence[Schedule]) -> dict[str, Scores]:
        """Time to progression and last volume, a number a sample, of each schedule in the radial model, by name."""
        fit, box = self.fit, tuple(slice(*b) for b in self.fit.box)
        twin = fit.course.twin
        doses = calendar(schedules, self.given.schedule.times[0].date(), int(self.horizon - self.start))
        days = np.arange(doses.shape[1] + 1.0)
        progression, last = [], []
        for done, values in enumerate(self.draws, 1):
            model = model_of(twin, growth_parameters(values))
            living = fit.trajectory([self.begin], values=values, irradiations=()).living[0]
            ball = ball_of(
                living,
                self.given.shape[box],
                model.diffusion.relative(twin.domain, model.parameters),
                twin.domain.mask,
                twin.domain.grid.voxel_volume,
            )
            volumes = radial_volumes(ball, values, model.parameters.alpha_beta, doses, model.kill, self.start)
            progression.append([time_to_progression(days, v) for v in volumes])
            last.append(volumes[:, -1])
            self.progress(done, len(self.draws), "search schedules")
        return {
            s.name: (np.array(p), np.array(v))
            for s, p, v in zip(schedules, np.transpose(progression), np.transpose(last), strict=True)
        }

    def outcome(self, schedule: Schedule, source: Source) -> _Scored:
        """Run a schedule on every sample in 3-D."""
        fit = self.fit
        irradiations: Sequence[Irradiation] | None = None  # the delivered course is the twin's own
        if source is not Source.DELIVERED:
            irradiations = self.given.irradiations(schedule, fit.twin)

        def run(values: dict[str, float]) -> dict[str, Vector]:
            course = fit.trajectory(self.days, values=values, irradiations=irradiations)
            return fit.visible_ml(course, values)

        volumes = []
        with pool_of(self.threads) as pool:
            for one in pool.map(run, self.draws):
                volumes.append(one)
                self.done += 1
                self.progress(min(self.done, self.expected), self.expected, "compare schedules")
        stacked = {q: np.stack([v[q] for v in volumes]) for q in volumes[0]}
        progression = [time_to_progression(self.days - self.start, v) for v in stacked["core"]]
        return _Scored(self.days, stacked, np.array(progression))
