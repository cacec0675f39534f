"""The quality pages: what is laid side by side, what a wrong registration looks like, and that nothing is clipped."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from shutil import which

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from scipy import ndimage

from tumortwin.board import QualityReport
from tumortwin.board.cuts import Plane, cut_at
from tumortwin.board.identity import NOBODY
from tumortwin.board.quality.composing import checkerboard, evened, leveled
from tumortwin.board.quality.pages import facts, quality_figures, said
from tumortwin.board.quality.report import without_identity
from tumortwin.board.wording import RESEARCH_USE
from tumortwin.errors import InputError, OutputExistsError
from tumortwin.geometry import Domain
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.twin import Observation, RegistrationQuality, Twin

DAY0 = datetime(2024, 3, 4, 9, 30)
SHAPE, SPACING = (44, 56, 48), 3.0
DAYS = (0.0, 21.0, 95.0, 150.0)
TUMOR = (24.0, -10.0, 6.0)  # the patient's left, in front
SHIFT = (4.0, -7.0, 3.0)  # of the later visits' worlds


def head(grid: Grid, shift=(0.0, 0.0, 0.0), gain: float = 1.0) -> np.ndarray:
    """A skin, a dark skull and a brain of patches, fixed in the world; then moved."""
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - np.array(shift)
    r = np.linalg.norm(world / np.array([58.0, 70.0, 56.0]), axis=-1)
    patches = np.sin(world[..., 0] / 5) * np.sin(world[..., 1] / 6) * np.sin(world[..., 2] / 7)
    values = np.where(r < 0.85, 100 + 40 * patches, np.where(r < 0.93, 15.0, np.where(r < 1.05, 180.0, 2.0)))
    return (gain * values).astype(np.float32)


def twin_and_patient(left_out: bool = False) -> tuple[Twin, Patient]:
    grid = Grid.regular(SHAPE, SPACING, -0.5 * SPACING * (np.array(SHAPE[::-1]) - 1), "1.2.3")
    world = grid.to_world(np.moveaxis(np.indices(SHAPE), 0, -1))
    brain = np.linalg.norm(world / np.array([58.0, 70.0, 56.0]), axis=-1) < 0.85
    distance = np.linalg.norm(world - np.array(TUMOR), axis=-1)
    share = [np.clip((radius - distance) / SPACING + 0.5, 0, 1).astype(np.float32) for radius in (16, 10, 5)]
    fine = Grid.regular((66, 84, 72), 2.0, -(np.array((72, 84, 66)) - 1.0), "1.2.3")
    observations, visits = [], []
    for i, day in enumerate(DAYS):
        transform = np.eye(4)
        transform[:3, 3] = SHIFT if i else 0
        quality = RegistrationQuality("T1Gd", "T1Gd", 1.31, 0.97, 0.4) if i else None
        images = {
            s: Volume(head(fine, transform[:3, 3], gain), fine, "a.u.", "t1_mprage Weatherby")
            for s, gain in ((MRSequence.T1GD, 1.0 + i), (MRSequence.FLAIR, 0.5))
        }
        if not (left_out and i == 3):
            observations.append(
                Observation(
                    day,
                    DAY0 + timedelta(days=day),
                    i,
                    np.where(brain, np.float32(0.4), np.nan),
                    0.043,
                    4.0,
                    *share,
                    brain,
                    {"whole": 17.2, "enhancing": 3.7, "necrosis": 0.5},
                    "drawn: RTSTRUCT GTV Weatherby",
                    transform,
                    quality,
                )
            )
        visits.append(Visit(DAY0 + timedelta(days=day), images))
    white = (0.8 * brain).astype(np.float32)
    domain = Domain(grid, brain, white, (0.1 * brain).astype(np.float32), (0.1 * brain).astype(np.float32))
    findings = (
        Finding("slices 5 mm apart", f"visit of {DAY0 + timedelta(days=21):%Y-%m-%d}, FLAIR", "kept"),
        Finding("no ADC map", f"visit of {DAY0 + timedelta(days=21):%Y-%m-%d}", "no density", Severity.LEFT_OUT),
        Finding("no overlap", f"visit of {DAY0 + timedelta(days=150):%Y-%m-%d}", "left out", Severity.LEFT_OUT),
        Finding("2 files are not DICOM", "Weatherby/notes.txt", "not read"),
    )
    twin = Twin(
        "MRN-40718833",
        DAY0,
        domain,
        Volume(head(grid), grid, "a.u.", "T1Gd"),
        tuple(observations),
        findings=findings,
        sources={"Weatherby/IM1.dcm": "00ff" * 16},
    )
    return twin, Patient("MRN-40718833", tuple(visits), findings=findings[-1:])


@pytest.fixture(scope="module")
def made() -> tuple[Twin, Patient]:
    return twin_and_patient()


@pytest.fixture(scope="module")
def report(made) -> QualityReport:
    return QualityReport.from_twin(made[0], patient=made[1])


def boards(visit):
    return [p for p in visit.pictures if p.title.startswith("checkerboard")]


def test_tiles_alternate_from_the_top_left():
    zero, one = np.zeros((50, 70)), np.ones((50, 70))
    board = checkerboard(zero, one, 20)
    assert (board[:20, :20] == 0).all()
    assert (board[:20, 20:40] == 1).all()
    assert (board[20:40, :20] == 1).all()
    assert (board[40:, 60:] == 1).all()
    assert board.mean() == pytest.approx(0.5, abs=0.05)


def test_grays_do_not_depend_on_a_scanners_scale_or_slow_field():
    rng = np.random.default_rng(0)
    values = ndimage.gaussian_filter(rng.standard_normal((120, 120)), 2) + 5
    inside = np.hypot(*(np.indices(values.shape) - 60)) < 50
    assert evened(3 * values + 7, inside) == pytest.approx(evened(values, inside), abs=1e-5)
    low, high = np.percentile(evened(values, inside)[inside], (2, 98))
    assert (low, high) == pytest.approx((0, 1), abs=1e-5)
    field = 1 + 0.3 * np.indices(values.shape)[0] / 120
    # a ramp is a quadratic: what is left is what the texture adds to its fit
    left = evened(leveled(values * field, inside), inside) - evened(leveled(values, inside), inside)
    without = evened(values * field, inside) - evened(values, inside)
    assert np.abs(left[inside]).mean() < 0.1 * np.abs(without[inside]).mean()
    assert evened(np.ones((5, 5)), np.ones((5, 5), bool)) is None
    assert evened(values, np.zeros_like(inside)) is None


def test_registered_visits_match_over_the_tiles_and_a_shift_of_6_mm_does_not(made, report):
    """Along the tiles' borders, the jump from pixel to pixel is that of one image; shifted, it is larger."""

    def jumps(picture):
        values = cut_at(picture.image.grid, picture.plane).picture(picture.image.array)
        brain = cut_at(picture.image.grid, picture.plane).picture(picture.outlines["brain"]) > 0.5
        steps = np.abs(np.diff(values, axis=1))
        both = brain[:, 1:] & brain[:, :-1]
        border = np.arange(steps.shape[1]) % 20 == 19
        return steps[:, border][both[:, border]].mean() / steps[:, ~border][both[:, ~border]].mean()

    for picture in boards(report.visits[2]):
        assert 0.7 < jumps(picture) < 1.3
    twin, patient = made
    moved = twin.observations[2].transform.copy()
    moved[0, 3] += 6
    wrong = replace(twin, observations=(*twin.observations[:2], replace(twin.observations[2], transform=moved)))
    for picture in boards(QualityReport.from_twin(wrong, patient=patient).visits[2]):
        assert jumps(picture) > 2


def test_planes_go_through_the_tumor_and_the_patients_left_is_on_the_right(report):
    for visit in report.visits:
        assert {p.plane for p in visit.pictures} == {Plane.AXIAL, Plane.CORONAL}
        for picture in visit.pictures:
            cut = cut_at(picture.image.grid, picture.plane)
            axis = {Plane.AXIAL: 2, Plane.CORONAL: 1}[picture.plane]
            assert cut.position == pytest.approx(TUMOR[axis], abs=SPACING)
            assert (cut.letters["left"], cut.letters["right"]) == ("R", "L")
            if "whole" in picture.outlines:
                columns = np.nonzero(cut.picture(picture.outlines["whole"]) > 0.5)[1]
                assert columns.min() > picture.image.array.shape[2] / 2


def test_a_visits_image_is_brought_to_where_its_outlines_are(report):
    """The later visits are the first one moved: resampled by their transforms they look alike."""
    first, last = (next(p for p in report.visits[i].pictures if p.title == "T1Gd and regions") for i in (0, 3))
    inside = first.outlines["whole"] > 0.5
    assert np.corrcoef(first.image.array[inside], last.image.array[inside])[0, 1] > 0.97


def test_numbers_and_findings_stand_with_their_visit(report):
    assert [v.role for v in report.visits] == ["reference", "registered", "registered", "registered"]
    numbers = {label: text for label, text, _ in facts(report.visits[1])}
    assert numbers["Registered"] == "T1Gd to T1Gd"
    assert numbers["Similarity"].startswith("1.310")
    assert numbers["Overlap"].startswith("97 %")
    assert numbers["Residual"] == "0.40 mm"
    assert "17.2" in numbers["Volumes"]
    assert numbers["Noise"].startswith("0.043")
    assert [f.what for f in report.visits[1].findings] == ["no ADC map", "slices 5 mm apart"]
    assert [f.what for f in report.visits[3].findings] == ["no overlap"]
    assert [f.what for f in report.findings] == ["2 files are not DICOM"]
    poor = replace(report.visits[1], registration=RegistrationQuality("T1Gd", "FLAIR", 1.01, 0.6, 3.0))
    assert [label for label, _, doubtful in facts(poor) if doubtful] == ["Similarity", "Overlap", "Residual"]
    day = f"{report.visits[1].date:%Y-%m-%d}"
    for where, shown in (
        (f"visit of {day}", ""),
        (f"visit of {day}, FLAIR", " (FLAIR)"),
        (f"visit of {day} (planning), FLAIR", " (FLAIR)"),
        (f"a/{day}.dcm", f" (a/{day}.dcm)"),
    ):
        assert said(Finding("blurred", where, "kept"), report.visits[1]) == f"Note: blurred{shown}; kept"


def test_a_visit_that_was_left_out_is_shown_as_such(tmp_path):
    twin, patient = twin_and_patient(left_out=True)
    row = QualityReport.from_twin(twin, patient=patient).visits[3]
    assert (row.role, row.registration, row.masks) == ("left out", None, "")
    assert [p.title for p in row.pictures] == ["T1Gd, not registered"] * 2
    assert [f.what for f in row.findings] == ["no overlap"]
    assert len(QualityReport.from_twin(twin).visits) == 3  # without the patient only what the twin holds is known


def test_what_cannot_be_shown_is_said(made):
    twin, patient = made
    alone = QualityReport.from_twin(twin)
    assert "no checkerboard" in alone.visits[1].missing[0]
    assert alone.visits[1].pictures
    far = twin.observations[1].transform.copy()
    far[2, 3] += 500
    lost = replace(twin, observations=(twin.observations[0], replace(twin.observations[1], transform=far)))
    row = QualityReport.from_twin(lost, patient=patient).visits[1]
    assert row.pictures == ()
    assert sum("does not show what is compared" in line for line in row.missing) == 4
    plain = replace(
        patient,
        visits=(
            *patient.visits[:2],
            replace(patient.visits[2], images={MRSequence.FLAIR: patient.visits[2].images[MRSequence.FLAIR]}),
            patient.visits[3],
        ),
    )
    assert [p.title for p in QualityReport.from_twin(twin, patient=plain).visits[2].pictures] == [
        "checkerboard, FLAIR",
        "checkerboard, FLAIR",
        "FLAIR and regions",
    ]
    empty = np.zeros(SHAPE, np.float32)
    unseen = replace(twin.observations[1], whole=empty, enhancing=empty, necrosis=empty)
    row = QualityReport.from_twin(replace(twin, observations=(twin.observations[0], unseen)), patient=patient).visits[1]
    assert any("No tumor is seen" in line for line in row.missing)
    assert len(row.pictures) == 4


def many(report: QualityReport) -> QualityReport:
    """More and longer findings than a visit's row has room for."""
    findings = tuple(
        Finding(
            f"finding {i} of this visit, with a good many words about what was seen and where",
            f"visit of {report.visits[2].date:%Y-%m-%d}, FLAIR",
            "used all the same",
            list(Severity)[i % 4],
        )
        for i in range(30)
    )
    path = Finding("x" * 150, "a/path/" + "y" * 120, "left out", Severity.LEFT_OUT)
    # without most of the pictures: the other reports have them
    visits = (
        report.visits[0],
        replace(report.visits[1], pictures=()),
        replace(report.visits[2], findings=findings, pictures=()),
        replace(report.visits[3], masks="drawn: " + "a very long name " * 12, pictures=()),
    )
    return replace(report, visits=visits, findings=(path,) * 40, patient_id="a patient with a very long name " * 8)


@pytest.mark.parametrize("change", [lambda r: r, many], ids=["plain", "many"])
def test_no_text_is_clipped_or_printed_over_another(report, change):
    for figure in quality_figures(change(report)):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = canvas.get_width_height()
        axes = {t for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for t in axis.findobj(Text)}
        boxes = [
            (t.get_text(), t.get_window_extent(canvas.get_renderer()))
            for t in figure.findobj(Text)
            if t.get_visible() and t.get_text().strip() and t not in axes
        ]
        assert len(boxes) > 5
        assert [s for s, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height] == []
        assert [
            (s, q)
            for i, (s, a) in enumerate(boxes)
            for q, b in boxes[i + 1 :]
            if min(a.x1, b.x1) - max(a.x0, b.x0) > 1.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2.5
        ] == []


@pytest.mark.skipif(which("pdftotext") is None, reason="needs pdftotext: apt install poppler-utils")
def test_every_finding_is_in_the_pdf_and_every_page_says_what_it_is_for(report, tmp_path):
    path = many(report).save(tmp_path / "quality.pdf", identity="source")
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True, check=True, text=True).stdout
    joined = "".join(text.split())
    assert all(f"finding{i}ofthisvisit" in joined for i in range(30))
    assert joined.count("x" * 20) >= 40
    pages = text.count("\f")
    assert pages == 3
    assert text.count(RESEARCH_USE + ".") == pages


@pytest.mark.skipif(which("pdftotext") is None, reason="needs pdftotext: apt install poppler-utils")
def test_pages_say_nothing_of_whom_unless_asked(report, tmp_path):
    less = replace(report, visits=tuple(replace(v, pictures=v.pictures[-1:]) for v in report.visits))

    def written(**how):
        path = less.save(tmp_path / "quality.pdf", overwrite=True, **how)
        run = subprocess.run(["pdftotext", path, "-"], capture_output=True, check=True, text=True)
        return run.stdout + path.read_bytes().decode("latin-1")

    secrets = ["Weatherby", "MRN-40718833", *(f"{v.date:%Y-%m-%d}" for v in report.visits)]
    removed = written()
    assert [s for s in secrets if s in removed] == []
    assert NOBODY in removed
    assert "day 21" in removed
    assert "drawn: GTV" in removed
    known = written(identity="source")
    assert [s for s in secrets if s not in known] == []
    nobody = without_identity(report)
    assert without_identity(nobody) is nobody
    assert {v.date - w.date for v, w in zip(report.visits, nobody.visits, strict=True)} == {
        report.reference_time - nobody.reference_time
    }
    assert not [p.image.name for v in nobody.visits for p in v.pictures if p.image.name]
    with pytest.raises(InputError, match="identity is one of"):
        report.save(tmp_path / "never.pdf", identity="perhaps")
    assert not (tmp_path / "never.pdf").exists()


@pytest.mark.parametrize("suffix", [".pdf", ".png"])
def test_the_same_report_gives_the_same_bytes_also_when_saved_and_loaded(made, report, tmp_path, suffix):
    less = replace(report, visits=report.visits[:1])
    one = less.save(tmp_path / f"one{suffix}")
    again = QualityReport.load(less.save(tmp_path / f"report{suffix}.npz")).save(tmp_path / f"two{suffix}")
    assert one.read_bytes() == again.read_bytes()
    assert b"CreationDate" not in one.read_bytes()
    assert b"Software" not in one.read_bytes()
    with pytest.raises(OutputExistsError, match="is there already"):
        less.save(one)
    with pytest.raises(InputError, match=r"\.docx"):
        less.save(tmp_path / "quality.docx")


def test_a_twin_of_no_visit_still_makes_a_page(made, tmp_path):
    nothing = replace(made[0], observations=(), findings=())
    assert QualityReport.from_twin(nothing).save(tmp_path / "quality.pdf").stat().st_size > 2000
