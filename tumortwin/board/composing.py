"""Gathering what a board page shows from a twin, its calibration, its forecast and the compared schedules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumortwin.board.content import BoardContent
from tumortwin.board.cuts import Plane, best_slice, reslice_grid
from tumortwin.board.planned import dose_fields, plan_fields
from tumortwin.board.values import (
    Comparison,
    Measure,
    MethodScore,
    Panel,
    Parameter,
    PredictedVolume,
    Role,
    Scan,
    TimelineCourse,
)
from tumortwin.board.wording import OWN_METHOD
from tumortwin.calibration.observation import contour_ml, contour_share
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import MRSequence as MrSequence
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.planning.options import Interval
from tumortwin.version import __version__

if TYPE_CHECKING:
    from tumortwin.calibration import Calibration, Forecast
    from tumortwin.patient import Clinical, Patient
    from tumortwin.planning import GivenDose, PlanFront
    from tumortwin.twin import Observation, Twin

QUANTITIES = ("whole", "core")
PANELS = 6
MARGIN_MM = 10.0
ASPECT = 0.94
"""Height of a picture over its width: six of them fill the page."""
WHITE = 2.3
"""Signal that is drawn white, over that of healthy brain."""
DEFINITIONS = ("Core: inside the T1Gd contour, necrosis included.", "Intervals: 5th to 95th percentile.")
_BREAK_DAYS = 4.0
"""Doses further apart than a long weekend are drawn as two bars."""


def compose(
    twin: Twin,
    fit: Calibration | None = None,
    forecast: Forecast | None = None,
    front: PlanFront | None = None,
    *,
    given: GivenDose | None = None,
    patient: Patient | None = None,
) -> BoardContent:
    """Gather the page.

    Parameters
    ----------
    twin : Twin
        Whose page.
    fit : Calibration, optional
        Adds parameters, quality and what each scan was used for.
    forecast : Forecast, optional
        Adds bands, the predicted picture and the comparison with held-out scans.
    front : PlanFront, optional
        Adds the schedules, and the given dose that they scale.
    given : GivenDose, optional
        Adds the given dose where there is no front.
    patient : Patient, optional
        Shows each visit's own image instead of the reference visit's.

    Returns
    -------
    BoardContent
    """
    used = set() if fit is None else set(fit.visits)
    roles = [
        Role.OBSERVED if fit is None else Role.FITTED if i in used else Role.HELD_OUT
        for i in range(len(twin.observations))
    ]
    findings: tuple[Finding, ...] = twin.findings
    for stage in (fit, forecast, front):
        findings += tuple(f for f in getattr(stage, "findings", ()) if f not in findings)
    if front is not None:
        given = front.given
    shown = {**dose_fields(given), **plan_fields(front)}
    scores = () if forecast is None else _scores(twin, forecast)
    return BoardContent(
        patient_id=twin.patient_id,
        reference_time=twin.reference_time,
        version=__version__,
        input_hash=hashlib.sha256(json.dumps(sorted(twin.sources.items())).encode()).hexdigest(),
        clinical=_clinical(twin.clinical),
        scans=tuple(
            Scan(o.date, o.day, role, {q: contour_ml(o, q) for q in QUANTITIES})
            for o, role in zip(twin.observations, roles, strict=True)
        ),
        courses=_courses(twin, given),
        bands=()
        if forecast is None
        else tuple(
            PredictedVolume(q, forecast.days, b.median, b.p05, b.p95, forecast.start)
            for q, b in forecast.volumes.items()
        ),
        panels=_panels(twin, roles, forecast, patient),
        comparisons=_comparisons(twin, roles, forecast),
        scores=scores,
        parameters=() if fit is None else _parameters(fit),
        quality=() if fit is None else _quality(fit),
        limits=_limits(twin, fit),
        findings=findings,
        left_out=_left_out(twin, fit, forecast, front, given),
        sources=twin.sources,
        identity_removed=twin.identity_removed,
        **{**shown, "definitions": (*DEFINITIONS, *shown.get("definitions", ()))},
    )


def _clinical(clinical: Clinical) -> tuple[str, ...]:
    said = []
    if clinical.diagnosis:
        said.append(clinical.diagnosis)
    if clinical.age_years is not None:
        said.append(f"{clinical.age_years:.0f} years")
    named = (clinical.diagnosis or "").upper()  # a diagnosis often says the markers already
    if clinical.mgmt_methylated is not None and "MGMT" not in named:
        said.append("MGMT methylated" if clinical.mgmt_methylated else "MGMT unmethylated")
    if clinical.idh_mutant is not None and "IDH" not in named:
        said.append("IDH mutant" if clinical.idh_mutant else "IDH wild type")
    return tuple(said)


def _courses(twin: Twin, given: GivenDose | None) -> tuple[TimelineCourse, ...]:
    courses = []
    if twin.removals:
        days = tuple(r.day for r in twin.removals)
        courses.append(TimelineCourse("surgery", "Resection", "", days, _spans(days)))
    if twin.irradiations:
        days = tuple(i.day for i in twin.irradiations)
        detail = f"{len(days)} fractions" if given is None else f"{given.schedule.total:.1f} Gy / {len(days)}"
        courses.append(TimelineCourse("radiotherapy", "Radiotherapy", detail, days, _spans(days)))
    drugs = list(dict.fromkeys((a.drug, a.amount, a.unit) for a in twin.administrations))
    for drug, amount, unit in drugs:
        days = tuple(a.day for a in twin.administrations if (a.drug, a.amount, a.unit) == (drug, amount, unit))
        detail = f"{amount:g} {str(unit).replace('m2', 'm²')} × {len(days)}"
        courses.append(TimelineCourse("drug", drug.capitalize(), detail, days, _spans(days)))
    return tuple(courses)


def _spans(days: Sequence[float]) -> tuple[tuple[float, float], ...]:
    spans: list[tuple[float, float]] = []
    for day in sorted(days):
        if spans and day - spans[-1][1] <= _BREAK_DAYS:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    return tuple(spans)


def _scores(twin: Twin, forecast: Forecast) -> tuple[MethodScore, ...]:
    dates = {o.day: o.date for o in twin.observations}
    rows = []
    for s in forecast.scores:
        when = dates.get(s.day, forecast.date(s.day)), s.day
        error = s.volume_error_percent if s.observed_ml > 0 else None
        off = s.forecast_ml - s.observed_ml
        rows.append(MethodScore(*when, OWN_METHOD, s.quantity, s.dice, s.forecast_ml, off, error, s.low_ml, s.high_ml))
        for method, overlap, error in (
            ("last scan unchanged", s.last_scan_dice, s.last_scan_volume_error_percent),
            ("exponential growth", None, s.exponential_volume_error_percent),
        ):
            if np.isfinite(error):  # it is not where nothing was observed
                off = s.observed_ml * error / 100
                rows.append(MethodScore(*when, method, s.quantity, overlap, s.observed_ml + off, off, error))
    return tuple(rows)


def _comparisons(twin: Twin, roles: Sequence[Role], forecast: Forecast | None) -> tuple[Comparison, ...]:
    if forecast is None:
        return ()
    return tuple(
        Comparison(
            o.date,
            o.day,
            role,
            q,
            contour_ml(o, q),
            Interval(*(float(np.interp(o.day, forecast.days, values)) for values in (b.median, b.p05, b.p95))),
        )
        for o, role in zip(twin.observations, roles, strict=True)
        for q, b in forecast.volumes.items()
        if forecast.days[0] <= o.day <= forecast.days[-1]
    )


def _parameters(fit: Calibration) -> tuple[Parameter, ...]:
    rows = []
    for e, unknown in zip(fit.estimates, fit.unknowns, strict=True):
        known = "scans and prior" if e.moved else "prior, hardly moved by the scans" if e.fitted else "prior only"
        rows.append(Parameter(e.name, e.unit, e.value, e.low, e.high, *unknown.interval(), e.source, known))
    for name in ("alpha_beta", "grey_ratio"):
        if all(row.name != name for row in rows):
            p, value = fit.parameters, float(getattr(fit.parameters, name))
            rows.append(Parameter(name, p.unit(name), value, None, None, None, None, p.source(name), "fixed"))
    return tuple(rows)


def _quality(fit: Calibration) -> tuple[Measure, ...]:
    d = fit.diagnostics
    rows = [Measure("Search", float(d.solves), "solutions", "converged" if d.converged else "NOT converged")]
    names = {"whole": "Misfit to FLAIR contours", "core": "Misfit to T1Gd contours", "density": "Misfit to ADC"}
    rows += [Measure(names.get(kind, kind), sigma, "SD of a voxel", "") for kind, sigma in d.sigma.items()]
    rows.append(Measure("Draws that agree with the scans", 100 * d.accepted, "%", ""))
    rows.append(Measure("Effective voxels per sample", d.voxels_per_sample, "1", "noise is correlated"))
    if {"diffusivity", "proliferation_rate"} <= {u.name for u in fit.unknowns}:
        correlation = fit.correlation("diffusivity", "proliferation_rate")
        rows.append(Measure("Correlation of log D, log ρ", correlation, "1", ""))
    return tuple(rows)


def _limits(twin: Twin, fit: Calibration | None) -> tuple[str, ...]:
    said = []
    if fit is not None:
        said.append("Bands hold what is unknown of the parameters, not the model's own error.")
        if twin.irradiations and twin.administrations:
            said.append("Radiotherapy and drug overlap: scans cannot tell α from the drug's effect.")
    if twin.irradiations:
        said.append("Pseudoprogression within 12 weeks of radiotherapy is not ruled out.")
    return tuple(said)


def _left_out(
    twin: Twin, fit: Calibration | None, forecast: Forecast | None, front: PlanFront | None, given: GivenDose | None
) -> tuple[str, ...]:
    """State what is left out of the page, why, and how to add it."""
    said = []
    if fit is None:
        few = f": {len(twin.observations)} visit(s) with a visible tumor, two are needed"
        said.append(f"Not calibrated{few if len(twin.observations) < 2 else ''}.")
    elif forecast is None:
        said.append("No forecast: this page was made without one; forecast=fit.forecast(until=...) adds it.")
    elif not forecast.scores:
        said.append(_unscored(twin, forecast))
    if front is None:
        said.append(
            "No plan options were compared."
            if twin.irradiations
            else "No plan options: no radiotherapy plan, dose or delivered fraction is known."
        )
    if twin.irradiations and given is None:
        said.append(
            "No dose-volume histograms: this page was made without the given dose; "
            "given=given_dose(twin), of tumortwin.planning, adds it."
            if front is None
            else "No dose-volume histograms: the schedules were saved by a version that did not keep the given dose; "
            "compare them again."
        )
    return tuple(said)


def _unscored(twin: Twin, forecast: Forecast) -> str:
    later = [o.day for o in twin.observations if o.day > forecast.start]
    if not later:
        return "No held-out scan: the forecast is not scored."
    if min(later) > forecast.days[-1]:
        return f"The forecast ends on day {forecast.days[-1]:.0f}, before the held-out scans: it is not scored."
    return (
        "The forecast has no score of the held-out scans: it is of another treatment than the one given, or was saved "
        "by a version that did not keep scores."
    )


def _panels(twin: Twin, roles: Sequence[Role], forecast: Forecast | None, patient: Patient | None) -> tuple[Panel, ...]:
    """Pictures of one axial slice: the scans, and last what was predicted of the last held-out one."""
    if not twin.observations:
        return ()
    domain = twin.domain.grid
    regions = [contour_share(o, q) for o in twin.observations[-1:] for q in QUANTITIES]
    if not any(r.any() for r in regions):
        regions = [contour_share(o, q) for o in twin.observations for q in QUANTITIES]
    if not any(r.any() for r in regions):
        return ()
    cut = best_slice(domain, *regions)
    grid = _window(twin, regions, cut.position)
    brain = _flat({"brain": twin.domain.mask}, domain, grid)["brain"] >= 0.5
    held = next(
        (
            f
            for f in reversed(forecast.fields if forecast else ())
            if any(abs(f.day - o.day) < 1e-6 for o in twin.observations)
        ),
        None,
    )
    panels = []
    for i in _chosen(roles, PANELS - (held is not None)):
        o = twin.observations[i]
        predicted = (
            _flat({q: held.probability[q] for q in QUANTITIES}, domain, grid)
            if (held is not None and abs(held.day - o.day) < 1e-6)
            else {}
        )
        anatomy = _anatomy(twin, o, patient, grid)
        outlines = _flat({q: contour_share(o, q) for q in QUANTITIES}, domain, grid)
        healthy = anatomy.array[brain & (outlines["whole"] < 0.5)]
        # scanners differ in scale: healthy brain gets the same grey in all pictures
        window = (0.0, WHITE * float(np.median(healthy))) if healthy.size and np.median(healthy) > 0 else None
        panels.append(Panel("observed", o.date, o.day, roles[i], anatomy, outlines, None, predicted, window))
        if held is not None and predicted:
            density = _flat({"density": held.density}, domain, grid)["density"]
            panels.append(Panel("predicted", o.date, o.day, roles[i], anatomy, {}, density, predicted, window))
    return tuple(panels)


def _chosen(roles: Sequence[Role], most: int) -> list[int]:
    """Which scans to show: the last, the first, the last used to calibrate, then the later ones first."""
    every = range(len(roles))
    fitted = [i for i in every if roles[i] is Role.FITTED]
    order = dict.fromkeys((every[-1], 0, *fitted[-1:], *reversed(every)))
    return sorted(list(order)[:most])


def _flat(fields: Mapping[str, NDArray[Any]], source: Grid, target: Grid) -> dict[str, NDArray[np.float32]]:
    return {name: resample(Volume(np.asarray(f, np.float32), source), target).array for name, f in fields.items()}


def _anatomy(twin: Twin, observation: Observation, patient: Patient | None, grid: Grid) -> Volume:
    """Resample the visit's own contrast-enhanced (or best other) image to a grid, else the reference visit's image."""
    if patient is not None:
        visit = patient.visits[observation.visit]
        for sequence in (MrSequence.T1GD, MrSequence.FLAIR, MrSequence.T2, MrSequence.T1):
            if sequence in visit.images:
                picture = resample(visit.images[sequence], grid, observation.transform)
                return picture.with_array(picture.array, name=f"{sequence} of {visit.date:%Y-%m-%d}", source=())
    picture = resample(twin.anatomy, grid)
    return picture.with_array(picture.array, name=f"reference visit's {twin.anatomy.name or 'image'}", source=())


def _window(twin: Twin, regions: Iterable[NDArray[np.floating]], position: float) -> Grid:
    """Build the grid of a 1 mm axial slice over the brain, cropped above and below the tumor to fit the page."""
    grid = reslice_grid(twin.domain.grid, Plane.AXIAL, position)
    brain = _flat({"brain": twin.domain.mask}, twin.domain.grid, grid)["brain"][0] >= 0.5
    tumor = np.sum(list(_flat({str(i): r for i, r in enumerate(regions)}, twin.domain.grid, grid).values()), axis=0)[0]
    rows, columns = np.nonzero(brain if brain.any() else np.ones_like(brain))
    low, high = max(columns.min() - MARGIN_MM, 0), min(columns.max() + MARGIN_MM + 1, brain.shape[1])
    top, bottom = max(rows.min() - MARGIN_MM, 0), min(rows.max() + MARGIN_MM + 1, brain.shape[0])
    height = ASPECT * (high - low)
    if bottom - top > height:
        middle = (top + bottom) / 2
        if tumor.any():
            middle = float(np.average(np.arange(len(tumor)), weights=tumor.sum(axis=1)))
        top = float(np.clip(middle - height / 2, top, bottom - height))
        bottom = top + height
    return grid.cropped((slice(0, 1), slice(round(top), round(bottom)), slice(round(low), round(high))))
