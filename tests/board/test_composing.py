"""What is gathered from a twin, its calibration, its forecast and its schedules."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.text import Text

from tumortwin.board import BoardReport, export_dicom, save_overlays, wording, write_forecast, write_record
from tumortwin.board.pdf import board_figure
from tumortwin.board.values import Role
from tumortwin.calibration import Band, Calibration, Diagnostics, Forecast, ForecastField
from tumortwin.calibration import unknowns as known
from tumortwin.errors import OutputExistsError
from tumortwin.geometry.domain import Domain
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.patient import Clinical, Patient, Visit
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import SyntheticSeries
from tumortwin.planning.constraints import BURMAN, QUANTEC, ConstraintSet
from tumortwin.planning.given_dose import given_dose
from tumortwin.planning.options import Interval, Outcome, PlanFront, PlanOption, Source
from tumortwin.therapy.events import DoseUnit
from tumortwin.therapy.schedule import CLINICAL_SCHEDULES, weekday_times
from tumortwin.twin import Administration, Irradiation, Observation, Twin

DAY0 = datetime(2024, 1, 1, 10)
SHAPE, SPACING = (24, 32, 28), 4.0
DAYS = (0.0, 21.0, 95.0, 150.0, 205.0)
RADII = (12.0, 14.0, 11.0, 13.0, 16.0)


@dataclass(frozen=True)
class Stages:
    patient: Patient
    twin: Twin
    fit: Calibration
    forecast: Forecast
    front: PlanFront


def distances(grid: Grid, place: tuple[float, float, float]) -> np.ndarray:
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return np.linalg.norm(grid.to_world(index) - np.array(place), axis=-1)


@pytest.fixture(scope="module")
def stages() -> Stages:
    grid = Grid.regular(SHAPE, SPACING, (-54, -62, -46), "1.2.3")
    place = (22.0, -8.0, 9.0)  # the patient's left
    r, middle = distances(grid, place), distances(grid, (0, 0, 0))
    domain = Domain.uniform(grid, middle < 44)

    def ball(radius: float) -> np.ndarray:
        return np.clip((radius - r) / SPACING + 0.5, 0, 1).astype(np.float32) * domain.mask

    observations = []
    for i, (day, radius) in enumerate(zip(DAYS, RADII, strict=True)):
        whole, core, dead = ball(radius), ball(0.6 * radius), ball(0.3 * radius)
        volumes = {
            name: float(f.sum()) * grid.voxel_volume / 1000
            for name, f in (("whole", whole), ("enhancing", core - dead), ("necrosis", dead))
        }
        shift = np.eye(4)
        shift[0, 3] = 5.0 * i
        unknown = np.full(SHAPE, np.nan, np.float32)
        observations.append(
            Observation(
                day,
                DAY0 + timedelta(days=day),
                i,
                unknown,
                0.05,
                4.0,
                whole,
                core - dead,
                dead,
                domain.mask,
                volumes,
                "segmented",
                shift,
            )
        )
    dose = (60.6 / (1 + np.exp((r - 26) / 4)) * domain.mask).astype(np.float32)
    times = weekday_times(DAY0 + timedelta(days=28, hours=1), 30)
    twin = Twin(
        "TT-9",
        DAY0,
        domain,
        Volume(domain.mask.astype(np.float32), grid, "a.u.", "T1Gd"),
        tuple(observations),
        tuple(Irradiation((t - DAY0) / timedelta(days=1), dose / np.float32(30)) for t in times),
        tuple(Administration(28.0 + d, "temozolomide", 75.0, DoseUnit.MG_PER_M2) for d in range(40)),
        structures={
            "GTV": ball(14),
            "PTV": ball(20),
            "Brain": domain.mask.astype(np.float32),
            "BrainStem": (distances(grid, (0, 15, -20)) < 10).astype(np.float32),
        },
        dose=dose,
        clinical=Clinical(age_years=61.0, mgmt_methylated=False),
        findings=(Finding("slices 5 mm apart", "visit 2", "kept", Severity.NOTE),),
        sources={"a.dcm": "00ff"},
        identity_removed=True,
    )
    table = (
        known.DIFFUSIVITY,
        known.PROLIFERATION,
        known.ALPHA,
        known.TEMOZOLOMIDE,
        known.WHOLE,
        known.CORE,
        known.EARLY_GROWTH,
    )
    mean = np.array([u.mean for u in table])
    covariance = np.diag([(0.3 * u.spread) ** 2 for u in table[:-1]] + [table[-1].spread ** 2])
    fit = Calibration(
        twin=twin,
        visits=(0, 1, 2),
        box=((0, 24), (0, 32), (0, 28)),
        start=0.0,
        center=np.zeros(3),
        unknowns=table,
        fitted=tuple(u.name for u in table[:-1]),
        mean=mean,
        covariance=covariance,
        ensemble=np.array([mean, mean]),
        seed=0,
        diagnostics=Diagnostics(
            solves=57,
            converged=True,
            reduced_chi2={"whole": 1.0},
            sigma={"whole": 0.21, "density": 0.08},
            correlation_mm=(4.0, 4.0, 4.0),
            voxels_per_sample=61.0,
            accepted=0.9,
            wall_density=0.0,
        ),
        findings=(Finding("two scans after radiotherapy", "calibration", "more would narrow the intervals"),),
    )
    curve = np.arange(0, 206.0, 5.0)
    bands = {q: Band(v := scale * (1 + curve / 300), 0.8 * v, 1.3 * v) for q, scale in (("whole", 8.0), ("core", 2.0))}
    fields = tuple(ForecastField(d, ball(15), ball(14), {"whole": ball(15), "core": ball(9)}) for d in DAYS[3:])
    forecast = Forecast(
        "TT-9", DAY0, curve, bands, fields, {"whole": 0.25, "core": 0.7}, grid, tuple(observations[:3]), 20
    ).scored(observations)
    visits = []
    for o in observations:
        moved = np.linalg.inv(o.transform)
        fine = Grid.regular((60, 80, 70), 2.0, (-70, -80, -60), f"1.2.{o.visit}")
        index = np.moveaxis(np.indices(fine.shape), 0, -1)
        world = fine.to_world(index) @ moved[:3, :3].T + moved[:3, 3]
        spot = np.linalg.norm(world - np.array(place), axis=-1) < 8
        image = Volume(np.where(spot, 500.0, 100.0).astype(np.float32), fine, "a.u.", "T1 GD")
        visits.append(Visit(o.date, {MRSequence.T1GD: image}))
    return Stages(Patient("TT-9", tuple(visits)), twin, fit, forecast, front_of(fit, forecast, QUANTEC))


def front_of(fit: Calibration, forecast: Forecast, limits: ConstraintSet) -> PlanFront:
    """The given course and the clinical schedules, with outcomes made up."""
    given = given_dose(fit.twin, limits)
    options = []
    for i, schedule in enumerate((given.schedule, *(p.schedule(given.schedule.times[0]) for p in CLINICAL_SCHEDULES))):
        progression, final = Interval(100.0 + i, 80.0, np.inf), Interval(3.0, 2.0, 4.0)
        outcome = Outcome(forecast.days, forecast.volumes, progression, 0.2, final, np.array([100.0]))
        source, effects = Source.CLINICAL if i else Source.DELIVERED, given.effects(schedule)
        options.append(PlanOption(source, schedule, schedule.bed(8.0), schedule.eqd2(8.0), effects, outcome))
    shown = limits.name, 8.0, given.point, given.delivered, 0.9
    return PlanFront(fit, tuple(options), 28.0, 298.0, *shown, given=given)


@pytest.fixture(scope="module")
def whole_page(stages: Stages) -> BoardReport:
    return BoardReport.from_plan(stages.front, forecast=stages.forecast, patient=stages.patient)


def test_numbers_are_those_of_the_stages(stages: Stages, whole_page: BoardReport) -> None:
    r = whole_page
    assert [s.role for s in r.scans] == [Role.FITTED] * 3 + [Role.HELD_OUT] * 2
    volumes = stages.twin.observations[4].volumes_ml
    assert r.scans[4].volumes_ml["core"] == pytest.approx(volumes["enhancing"] + volumes["necrosis"])
    assert r.bands[0].fitted_until == 95.0
    scores = stages.forecast.score(stages.twin.observations[4])
    ours = next(s for s in r.scores if s.day == 205 and s.method == "tumortwin" and s.quantity == "whole")
    assert (ours.dice, ours.error_percent) == (scores["whole"].dice, scores["whole"].volume_error_percent)
    assert (ours.volume_ml, ours.low_ml) == (scores["whole"].forecast_ml, scores["whole"].low_ml)
    last = next(s for s in r.scores if s.day == 205 and s.method.startswith("last") and s.quantity == "whole")
    assert last.volume_ml == pytest.approx(stages.twin.observations[2].volumes_ml["whole"])
    held = next(c for c in r.comparisons if c.day == 205 and c.quantity == "whole")
    assert held.predicted.median == pytest.approx(8.0 * (1 + 205 / 300))
    rho = next(p for p in r.parameters if p.name == "proliferation_rate")
    assert (rho.low, rho.high) == pytest.approx(known.PROLIFERATION.interval(None, 0.3 * known.PROLIFERATION.spread))
    assert rho.known_from == "scans and prior"
    assert rho.source.startswith("Harpold")
    q = next(p for p in r.parameters if p.name == "early_growth")
    assert q.known_from == "prior only"
    fixed = next(p for p in r.parameters if p.name == "alpha_beta")
    assert (fixed.value, fixed.low) == (stages.fit.parameters.alpha_beta, None)
    assert r.clinical == ("61 years", "MGMT unmethylated")
    assert len(r.findings) == 2


def test_schedules_are_those_of_the_front(stages: Stages, whole_page: BoardReport) -> None:
    assert [o.name for o in whole_page.options] == [o.name for o in stages.front.options]
    ours = next(o for o in whole_page.options if o.name == "34 Gy / 10")
    theirs = next(o for o in stages.front.options if o.name == "34 Gy / 10")
    assert (ours.fractions, ours.dose_per_fraction) == (10, pytest.approx(3.4))
    assert (ours.bed, ours.eqd2, ours.met) == (theirs.tumor_bed, theirs.tumor_eqd2, theirs.met)
    stem = next(o for o in ours.organs if o.organ == "BrainStem")
    check = next(o for o in theirs.organs if o.structure == "BrainStem").checks[0]
    assert (stem.value, stem.limit, stem.met) == (check.value, check.constraint.limit, check.met)
    assert ours.outcomes["progression_days"].high == np.inf
    none = next(o for o in whole_page.options if o.fractions == 0)
    assert none.eqd2 == 0


def test_the_limit_is_marked_where_the_physical_dose_reaches_it(stages: Stages) -> None:
    twin = stages.twin
    half = replace(twin, irradiations=tuple(replace(i, dose=2 * i.dose) for i in twin.irradiations[::2]))
    limits = BoardReport.from_twin(half, given=given_dose(half)).dvh_limits
    (mark,) = {limit.physical_limit for limit in limits if limit.organ == "BrainStem"}
    assert mark / 15 * 15 * (mark / 15 + 2) / 4 == pytest.approx(54.0)  # EQD2, alpha/beta 2 Gy


def test_pictures_show_the_tumor_on_the_right_side_of_each_scan(whole_page: BoardReport) -> None:
    assert [p.title for p in whole_page.panels] == ["observed"] * 5 + ["predicted"]
    grids = {p.anatomy.grid for p in whole_page.panels}
    assert len(grids) == 1
    for panel in whole_page.panels:
        picture = panel.anatomy.array[0]
        rows, columns = np.nonzero(picture > 300)  # the spot that was put into each visit's own image
        assert columns.mean() > picture.shape[1] / 2
        outline = panel.outlines.get("whole", panel.predicted.get("whole"))[0]
        inside = np.argwhere(outline > 0.5).mean(axis=0)
        np.testing.assert_allclose(inside, (rows.mean(), columns.mean()), atol=2.0)
    assert whole_page.panels[-1].density is not None
    assert [p.anatomy.name for p in whole_page.panels[:2]] == ["T1Gd of 2024-01-01", "T1Gd of 2024-01-22"]


def test_the_scans_that_matter_are_shown(stages: Stages) -> None:
    extra = [
        replace(o, day=d, date=DAY0 + timedelta(days=d))
        for o, d in ((stages.twin.observations[1], 40.0), (stages.twin.observations[1], 60.0))
    ]
    some = (*stages.twin.observations[:2], *extra, *stages.twin.observations[2:])
    fit = replace(stages.fit, twin=replace(stages.twin, observations=some), visits=(0, 1, 2, 3, 4))
    days = [p.day for p in BoardReport.from_calibration(fit, forecast=stages.forecast).panels]
    assert days == [0.0, 60.0, 95.0, 150.0, 205.0, 205.0]


def test_without_the_patient_the_reference_scan_is_named(stages: Stages) -> None:
    report = BoardReport.from_calibration(stages.fit, forecast=stages.forecast)
    assert {p.anatomy.name for p in report.panels} == {"reference visit's T1Gd"}
    assert "No plan options were compared." in report.left_out
    assert report.options == ()


def test_without_a_forecast_the_page_says_that_none_was_given(stages: Stages, tmp_path: Path) -> None:
    report = BoardReport.from_plan(stages.front)
    assert [s.role for s in report.scans].count(Role.HELD_OUT) == 2
    assert "made without a forecast" in wording.headline(report)
    assert any("forecast=fit.forecast(until=...) adds it" in line for line in report.left_out)
    html = report.save(tmp_path / "board.html").read_text(encoding="utf-8")
    drawn = {text.get_text() for text in board_figure(report).findobj(Text)}
    assert "No held-out scan" not in html + "".join(drawn)
    assert "This page was made without a forecast." in drawn


def test_why_a_forecast_is_not_scored(stages: Stages) -> None:
    def said(forecast: Forecast, fit: Calibration = stages.fit) -> tuple[str, str]:
        report = BoardReport.from_calibration(fit, forecast=forecast, given=stages.front.given)
        return report.left_out[0], wording.unscored(report)

    bare = replace(stages.forecast, scores=())
    short = replace(bare, days=bare.days[:25], volumes={q: Band(*(v[:25],) * 3) for q, v in [("whole", bare.days)]})
    seen = replace(stages.fit, twin=replace(stages.twin, observations=stages.twin.observations[:3]))
    assert "has no score of the held-out scans" in said(bare)[0]
    assert said(bare)[1] == "The forecast is not scored."
    assert said(short)[0] == "The forecast ends on day 120, before the held-out scans: it is not scored."
    assert said(bare, seen) == ("No held-out scan: the forecast is not scored.",) * 2


def test_the_given_dose_is_shown_if_it_is_given(stages: Stages) -> None:
    without = BoardReport.from_calibration(stages.fit, forecast=stages.forecast)
    assert (without.dvh, without.dvh_limits, without.limit_set) == ((), (), "")
    assert any("given=given_dose(twin), of tumortwin.planning, adds it" in line for line in without.left_out)
    assert "This page was made without the given dose." in {t.get_text() for t in board_figure(without).findobj(Text)}
    given = given_dose(stages.twin, BURMAN)
    shown = BoardReport.from_twin(stages.twin, given=given)
    assert {curve.structure for curve in shown.dvh} == {"GTV", "PTV", "Brain", "BrainStem"}
    assert shown.limit_set == BURMAN.name
    assert shown.courses[0].detail == f"{given.schedule.total:.1f} Gy / 30"
    assert not any("dose-volume" in line for line in shown.left_out)
    old = BoardReport.from_plan(replace(stages.front, given=None))
    assert any("version that did not keep the given dose" in line for line in old.left_out)


def test_a_twin_of_one_visit(stages: Stages, tmp_path: Path) -> None:
    one = replace(
        stages.twin, observations=stages.twin.observations[:1], irradiations=(), administrations=(), dose=None
    )
    report = BoardReport.from_twin(one)
    assert len(report.panels) == 1
    assert any("two are needed" in line for line in report.left_out)
    assert any("no radiotherapy" in line for line in report.left_out)
    assert report.save(tmp_path / "board.pdf").is_file()
    assert report.save(tmp_path / "board.html").is_file()


def test_a_scan_without_tumor_has_a_page(stages: Stages) -> None:
    empty = np.zeros(SHAPE, np.float32)
    clear = replace(
        stages.twin.observations[0],
        whole=empty,
        enhancing=empty,
        necrosis=empty,
        volumes_ml={"whole": 0.0, "enhancing": 0.0, "necrosis": 0.0},
    )
    assert BoardReport.from_twin(replace(stages.twin, observations=(clear,))).panels == ()


def test_the_report_can_be_saved(whole_page: BoardReport, tmp_path: Path) -> None:
    again = BoardReport.load(whole_page.save(tmp_path / "report.npz"))
    assert again.options[0].outcomes["progression_days"] == whole_page.options[0].outcomes["progression_days"]
    assert again.panels[0].anatomy.grid == whole_page.panels[0].anatomy.grid


def test_files_for_other_programs(stages: Stages, tmp_path: Path) -> None:
    path = write_record(tmp_path / "twin.json", stages.twin, stages.fit, stages.forecast, stages.front)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert len(data["schedules"]) == 6
    assert data["inputs"]["files"] == {"a.dcm": "00ff"}
    assert len(data["inputs"]["sha256"]) == 64
    with pytest.raises(OutputExistsError):
        write_record(path, stages.twin)
    write_record(path, stages.twin, overwrite=True)
    assert json.loads(path.read_text(encoding="utf-8"))["parameters"] == []

    table = list(
        csv.DictReader(
            write_forecast(tmp_path / "forecast.csv", stages.forecast, identity="source").open(encoding="utf-8")
        )
    )
    assert len(table) == 2 * len(stages.forecast.days)
    row = next(r for r in table if r["quantity"] == "whole" and float(r["day"]) == 150)
    assert [float(row[c]) for c in ("p05_ml", "median_ml", "p95_ml")] == pytest.approx([9.6, 12.0, 15.6])
    assert row["date"] == "2024-05-30T10:00"


def test_overlays(stages: Stages, tmp_path: Path) -> None:
    paths = save_overlays(stages.twin, stages.fit, stages.forecast, tmp_path / "overlays", patient=stages.patient)
    assert [p.name for p in paths][-2:] == ["05-2024-07-24-held-out.png", "06-2024-07-24-predicted.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)
    with pytest.raises(OutputExistsError):
        save_overlays(stages.twin, stages.fit, stages.forecast, tmp_path / "overlays")


def scanned(stages: Stages, folder: Path) -> Patient:
    """The patient with a DICOM series of the first visit, in the twin's frame of reference, and a contoured target."""
    uid, (first, *others) = hashed_uid("series"), stages.patient.visits
    study = item(PatientName="TT-9^", PatientID="TT-9", StudyInstanceUID=hashed_uid("study"), PatientSex="")
    stamp(study, first.date, "Study")
    grid = replace(first.images[MRSequence.T1GD].grid, frame="1.2.3")
    image = replace(first.images[MRSequence.T1GD], grid=grid, source=(str(uid),))
    write_series(SyntheticSeries(MRSequence.T1GD, image, "t1"), study, uid, 1, first.date, 500.0, folder)
    target = Mask(stages.twin.structures["PTV"] > 0.5, stages.twin.domain.grid, name="PTV")
    visits = (replace(first, images={MRSequence.T1GD: image}), *others)
    return replace(stages.patient, visits=visits, structures={"PTV": target})


def test_other_limits_are_named_and_shown_everywhere(stages: Stages, tmp_path: Path) -> None:
    front = front_of(stages.fit, stages.forecast, BURMAN)
    found = replace(front.options[2], source=Source.SEARCH)
    front = replace(front, options=(*front.options, found))
    checks = [(e.structure, c) for e in front.delivered.organs for c in e.checks]
    rows = [(name, "NTCP %", 100 * c.value, 5.0, c.met) for name, c in checks]
    assert len(rows) == 2
    assert all(c.constraint in BURMAN.constraints for _, c in checks)

    page = BoardReport.from_plan(front, forecast=stages.forecast)
    assert page.limit_set == "Burman 1991"
    for organs in (page.dvh_limits, page.options[0].organs):
        assert sorted((o.organ, o.metric, o.value, pytest.approx(o.limit), o.met) for o in organs) == sorted(rows)
        assert all("Burman 1991" in o.source for o in organs)
    drawn = "".join(text.get_text() for text in board_figure(page).findobj(Text))
    html = page.save(tmp_path / "board.html").read_text(encoding="utf-8")

    record = write_record(tmp_path / "twin.json", stages.twin, stages.fit, stages.forecast, front).read_text("utf-8")
    data = json.loads(record)
    assert data["limit_set"] == "Burman 1991"
    for organs in (data["given_dose"], data["schedules"][0]["organs"]):
        assert sorted((o["organ"], o["metric"], o["value"], pytest.approx(o["limit"]), o["met"]) for o in organs) == (
            sorted(rows)
        )

    patient = scanned(stages, tmp_path / "images")
    shown = {"front": front, "report": page, "identity": "source"}
    export = export_dicom(patient, stages.twin, tmp_path / "images", tmp_path / "dicom", **shown)
    assert not [line for line in export.left_out if not line.startswith("the scan of")]
    plan, dose, board = (pydicom.dcmread(next((tmp_path / "dicom").glob(f"{n}*"))) for n in ("plan", "dose", "board"))
    document = board.EncapsulatedDocument[: board.EncapsulatedDocumentLength]
    assert document == page.save(tmp_path / "board.pdf").read_bytes()
    scale = front.given.shape.max() * found.schedule.total
    assert dose.pixel_array.max() * float(dose.DoseGridScaling) == pytest.approx(scale, rel=1e-4)

    for text in (drawn, html, record, plan.RTPlanDescription):
        assert "Burman 1991" in text
        assert not [word for word in ("QUANTEC", "Mayo", "Lawrence", "EQD2 Gy of") if word in text]
