"""Plans, doses and records of delivery into dated fractions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np

from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.study import Study
from tumortwin.imaging.volume import FractionDose, TotalDose
from tumortwin.therapy.events import Fraction
from tumortwin.therapy.schedule import weekday_times

ASSUMED_CALENDAR = "assumed: weekday calendar"
IMPOSSIBLE_FRACTION_GY = 100.0
"""More than any fraction that is given, radiosurgery of trigeminal neuralgia with 90 Gy included."""


def radiotherapy_of(
    study: Study, doses: list[TotalDose], findings: list[Finding]
) -> tuple[PlanRecord | None, TotalDose | None, list[Fraction]]:
    """Build the course as planned, its dose, and every fraction as delivered (else on an assumed calendar).

    Parameters
    ----------
    study : Study
        Plans and records of delivery.
    doses : list of TotalDose
        The study's, in the frame of the visits where a registration leads there.
    findings : list of Finding
        Appended to.
    """
    courses = _courses(study, doses, findings)
    plan, dose = _as_one(courses, findings)
    return plan, dose, [f for course in courses for f in course.fractions]


def _the_plans(
    plans: tuple[PlanRecord, ...], deliveries: tuple[DeliveryRecord, ...], findings: list[Finding]
) -> list[PlanRecord]:
    """Select the plans that were delivered, by date; without records the latest."""
    given = Counter(d.plan_uid for d in deliveries)
    ordered = sorted(plans, key=lambda p: p.date or datetime.min)
    used = [p for p in ordered if given[p.uid]] or ordered[-1:]
    for other in ordered:
        if not any(other is p for p in used):
            what = f"another plan ({other.label or other.uid}), of which no delivery is recorded"
            findings.append(
                Finding(
                    what,
                    f"plan {used[0].label or used[0].uid}",
                    "left out: the delivered plans, or without records the latest, are used",
                    Severity.LEFT_OUT,
                )
            )
    return used


@dataclass(frozen=True, eq=False)
class _PlannedCourse:
    """One plan with its dose and its dated fractions."""

    plan: PlanRecord | None
    dose: TotalDose | None
    fractions: list[Fraction]
    share: float
    """Of the planned fractions that were given (or are assumed)."""


def _course(
    plan: PlanRecord | None, doses: Iterable[TotalDose], deliveries: Iterable[DeliveryRecord], findings: list[Finding]
) -> _PlannedCourse:
    dose = _the_dose(tuple(doses), plan, findings)
    fractions, share = _fractions(plan, dose, tuple(deliveries), findings)
    return _PlannedCourse(plan, dose, fractions, share)


def _courses(study: Study, doses: list[TotalDose], findings: list[Finding]) -> list[_PlannedCourse]:
    """Build a course for each delivered plan: a boost, or a plan that was made anew."""
    plans = _the_plans(study.plans, study.deliveries, findings)
    if len(plans) < 2:
        plan = plans[0] if plans else None
        records = [d for d in study.deliveries if plan is None or d.plan_uid in (plan.uid, None)]
        if len(records) < len(study.deliveries):
            findings.append(
                Finding(
                    f"{len(study.deliveries) - len(records)} records of delivery are of other plans",
                    _plan_name(plan),
                    "left out",
                    Severity.LEFT_OUT,
                )
            )
        return [_course(plan, doses, records, findings)]
    known = {p.uid for p in plans}
    stray = [d for d in study.deliveries if d.plan_uid not in known]
    if stray:
        findings.append(
            Finding(
                f"{len(stray)} records of delivery name none of {len(plans)} delivered plans",
                "radiotherapy",
                "left out",
                Severity.LEFT_OUT,
            )
        )
    own = {p.uid: [d for d in doses if known.intersection(d.source) == {p.uid}] for p in plans}
    shared = [d for d in doses if known.issubset(d.source)]
    records = [d for d in study.deliveries if d.plan_uid in known]
    if shared and not all(own.values()):
        return [_course(_joined(plans, [1.0] * len(plans)), shared, records, findings)]
    return [_course(p, own[p.uid], [d for d in records if d.plan_uid == p.uid], findings) for p in plans]


def _joined(plans: list[PlanRecord], shares: list[float]) -> PlanRecord:
    """Several plans as one, each with the share of its fractions that is given."""
    prescribed = [s * p.prescribed for p, s in zip(plans, shares, strict=True) if p.prescribed is not None]
    fractions = [s * p.fractions for p, s in zip(plans, shares, strict=True) if p.fractions is not None]
    whole = len(prescribed) == len(fractions) == len(plans)
    return PlanRecord(
        plans[0].uid,
        " + ".join(p.label or p.uid for p in plans),
        sum(prescribed) if whole else None,
        round(sum(fractions)) if whole else None,
        plans[0].date,
    )


def _as_one(courses: list[_PlannedCourse], findings: list[Finding]) -> tuple[PlanRecord | None, TotalDose | None]:
    """Several delivered plans as one: doses and prescriptions added up by what was given of each."""
    if len(courses) == 1:
        return courses[0].plan, courses[0].dose
    plan = _joined([c.plan for c in courses if c.plan is not None], [c.share for c in courses])
    names = plan.label
    findings.append(
        Finding(
            f"{len(courses)} plans were delivered",
            f"plans {names}",
            "taken as one course: each fraction with the dose of its plan",
        )
    )
    with_dose = [(c, c.dose) for c in courses if c.dose is not None]
    if len(with_dose) < len(courses) or len({d.frame for _, d in with_dose}) > 1:
        findings.append(
            Finding(
                "not all plans have a dose in one frame of reference",
                f"plans {names}",
                "no dose of the whole course; the fractions keep theirs",
                Severity.LEFT_OUT,
            )
        )
        return plan, None
    grid = min((d.grid for _, d in with_dose), key=lambda g: g.voxel_volume)
    array = sum(np.float32(c.share) * (d if d.grid.matches(grid) else resample(d, grid)).array for c, d in with_dose)
    source = tuple(dict.fromkeys(s for _, d in with_dose for s in d.source))
    return plan, TotalDose(np.asarray(array, np.float32), grid, name=names, source=source)


def _plan_name(plan: PlanRecord | None) -> str:
    return f"plan {plan.label or plan.uid}" if plan else "radiotherapy"


def _the_dose(doses: tuple[TotalDose, ...], plan: PlanRecord | None, findings: list[Finding]) -> TotalDose | None:
    """Select the plan's dose: of several the first, and without any a dose that names no plan."""
    own = [d for d in doses if plan is not None and plan.uid in d.source]
    fitting = own or [d for d in doses if plan is None or len(d.source) < 2]
    for other in doses:
        if not fitting or other is not fitting[0]:
            findings.append(
                Finding(
                    f"a dose map of {'the same' if other in own else 'another or no'} plan",
                    f"dose {other.name}",
                    "left out: one dose map a plan is used",
                    Severity.LEFT_OUT,
                )
            )
    return fitting[0] if fitting else None


def _fractions(
    plan: PlanRecord | None, dose: TotalDose | None, records: tuple[DeliveryRecord, ...], findings: list[Finding]
) -> tuple[list[Fraction], float]:
    """Dated fractions, and their share of the planned ones.

    Of the records of delivery, else on an assumed weekday calendar from the plan's date.
    """
    where = _plan_name(plan)
    given = _sittings(list(records), where, findings)
    number = plan.fractions if plan else None
    if number is None and given:
        number = len(given)
        findings.append(
            Finding(
                "the number of planned fractions is not given",
                where,
                f"the {number} delivered ones are taken for all",
                Severity.ASSUMED,
            )
        )
    whole = _dose_of_a_fraction(plan, dose, number)
    highest = float(np.max(whole.array)) if isinstance(whole, FractionDose) else whole or 0.0
    if highest > IMPOSSIBLE_FRACTION_GY:
        findings.append(
            Finding(
                f"{highest:.4g} Gy a fraction, more than {IMPOSSIBLE_FRACTION_GY:g} Gy are never given",
                where,
                "no fraction is dated: check whether prescription or dose is in cGy, and the number of fractions",
                Severity.LEFT_OUT,
            )
        )
        return [], 0.0
    if number is None or whole is None:
        if plan is not None or dose is not None or given:
            findings.append(
                Finding(
                    "dose or number of fractions is unknown", where, "no fraction could be dated", Severity.LEFT_OUT
                )
            )
        return [], 0.0
    if not given:
        if plan is None or plan.date is None:
            findings.append(
                Finding(
                    "neither records of delivery nor a date of the plan",
                    where,
                    "no fraction could be dated",
                    Severity.LEFT_OUT,
                )
            )
            return [], 0.0
        times = weekday_times(plan.date, number)
        findings.append(
            Finding(
                "no records of delivery",
                where,
                f"{number} fractions on weekdays from {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d} "
                "are assumed, starting on the plan's date",
                Severity.ASSUMED,
            )
        )
        return [Fraction(time, whole, ASSUMED_CALENDAR) for time in times], 1.0
    total = sum(share for _, share, _ in given)
    if abs(total - number) > 0.005 * number:
        findings.append(
            Finding(f"{total:.4g} of {number} planned fractions were delivered", where, "as delivered is simulated")
        )
    return [Fraction(time, _share_of(whole, share), source) for time, share, source in given], total / number


def _sittings(records: list[DeliveryRecord], where: str, findings: list[Finding]) -> list[tuple[datetime, float, str]]:
    """Time, share and source of each fraction; records of single beams of one fraction count once."""
    records = sorted(records, key=lambda d: (d.time.date(), d.fraction or 0, d.time))
    sittings, several = [], 0
    for (_, fraction), group in groupby(records, key=lambda d: (d.time.date(), d.fraction)):
        members = list(group)
        for same in [members] if fraction is not None else [[m] for m in members]:
            share = sum(d.delivered_share for d in same)
            share = share if len(same) == 1 else min(share, 1.0)
            several += len(same) > 1
            if share > 0:
                sittings.append((same[0].time, share, same[0].uid))
    if several:
        findings.append(
            Finding(
                f"{several} fractions have several records on a day (one a beam, or resumed)",
                where,
                "each is counted as one fraction, at most whole",
                Severity.ASSUMED,
            )
        )
    return sorted(sittings)


def _dose_of_a_fraction(
    plan: PlanRecord | None, dose: TotalDose | None, number: int | None
) -> FractionDose | float | None:
    if not number:
        return None
    if dose is not None:
        return dose.per_fraction(number)
    return plan.prescribed / number if plan is not None and plan.prescribed else None


def _share_of(dose: FractionDose | float, share: float) -> FractionDose | float:
    """Scale a dose by a share; a whole fraction keeps the same object, so that thirty fractions hold one map."""
    if abs(share - 1) < 1e-6:
        return dose
    return dose.with_array(dose.array * np.float32(share)) if isinstance(dose, FractionDose) else dose * share
