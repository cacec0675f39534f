"""The page: the same numbers in each format, nothing clipped, nothing fetched, the same bytes twice."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pydicom
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from pydicom.uid import MRImageStorage

from tumortwin.board import BoardReport, wording
from tumortwin.board.pdf import board_figure
from tumortwin.board.values import OrganDose
from tumortwin.errors import InputError, OutputExistsError
from tumortwin.planning.options import Interval


@pytest.fixture(scope="module")
def pdf(report: BoardReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.save(tmp_path_factory.mktemp("page") / "board.pdf")


@pytest.fixture(scope="module")
def html(report: BoardReport, tmp_path_factory: pytest.TempPathFactory) -> str:
    return report.save(tmp_path_factory.mktemp("page") / "board.html").read_text(encoding="utf-8")


def words_of_html(page: str) -> str:
    import html as escapes

    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(escapes.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def figures(report: BoardReport) -> list[str]:
    """Every number and name that the one page is to show."""
    said = [report.patient_id, report.version, report.input_hash[:16], wording.RESEARCH_USE, wording.headline(report)]
    said += [f"{scan.date:%Y-%m-%d}" for scan in report.scans]
    plans = wording.plan_table(report)
    said += [cell for row in plans.rows for cell in (*row[:2], *row[3:]) if cell != "–"]
    said += [cell for row in wording.parameter_table(report, main=True).rows for cell in row[:3] if cell]
    for score in wording.last_scores(report):
        said += [wording.number(wording.observed_ml(score)), *(c for c in wording.score_cells(score) if c != "–")]
    said += [wording.number(limit.value) for limit in report.dvh_limits]
    return said


@pytest.mark.skipif(which("pdftotext") is None, reason="needs pdftotext: apt install poppler-utils")
def test_pdf_and_html_show_the_same_numbers(report: BoardReport, pdf: Path, html: str) -> None:
    run = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, check=True)
    # pdftotext sets its own spaces between letters that stand apart
    in_pdf, in_html = ("".join(text.split()) for text in (run.stdout.decode(), words_of_html(html)))
    wanted = figures(report)
    assert len(wanted) > 100
    assert [text for text in wanted if "".join(text.split()) not in in_pdf] == []
    assert [text for text in wanted if "".join(text.split()) not in in_html] == []


def test_html_lists_everything(report: BoardReport, html: str) -> None:
    text = words_of_html(html)
    for table in (
        wording.score_table,
        wording.plan_table,
        wording.parameter_table,
        wording.volume_table,
        wording.limit_table,
    ):
        for row in table(report).rows:
            assert all(" ".join(cell.split()) in text for cell in row), row
    for line in (*wording.finding_lines(report), *wording.quality_lines(report)):
        assert line in text


def test_html_is_self_contained(html: str) -> None:
    addresses = re.findall(r"""(?:src|href|data|action)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", html)
    found = [a or b for a, b in addresses]
    assert found
    assert all(address.startswith("data:image/") for address in found)
    assert not re.search(r"https?://|@import|<script|<link", html)
    assert wording.RESEARCH_USE in html[html.index("<title>") : html.index("</title>")]


@pytest.mark.parametrize("suffix", [".pdf", ".html"])
def test_the_same_report_gives_the_same_bytes(
    report: BoardReport, pdf: Path, html: str, tmp_path: Path, suffix: str
) -> None:
    again = report.save(tmp_path / f"again{suffix}").read_bytes()
    assert again == (pdf.read_bytes() if suffix == ".pdf" else html.encode())


def test_pdf_has_one_page_and_says_what_it_is_for(pdf: Path) -> None:
    raw = pdf.read_bytes()
    assert b"CreationDate" not in raw
    assert len(re.findall(rb"/Type /Page\b", raw)) == 1
    title = re.search(rb"/Title \((.*?)\)", raw)
    assert title is not None
    assert wording.RESEARCH_USE.encode() in title.group(1)
    assert b"TT-0001" not in title.group(1)


def test_the_page_as_dicom_is_the_same_pdf(report: BoardReport, pdf: Path, dicom_errors, tmp_path: Path) -> None:
    one, two = (report.save(tmp_path / name) for name in ("one.dcm", "two.dcm"))
    assert one.read_bytes() == two.read_bytes()
    assert dicom_errors(one) == []
    dataset = pydicom.dcmread(one)
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == pdf.read_bytes()
    assert (dataset.PatientID, dataset.StudyDate, dataset.ContentDate) == ("TT-0001", "20240108", "20240924")


def test_a_page_goes_into_its_own_patients_study_only(report: BoardReport, tmp_path: Path) -> None:
    image = pydicom.Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.SeriesInstanceUID = MRImageStorage, "2.25.1", "2.25.2"
    image.StudyInstanceUID, image.StudyDate, image.PatientID = "2.25.3", "20240108", "TT-0001"
    dataset = pydicom.dcmread(report.save(tmp_path / "board.dcm", source=image))
    assert dataset.StudyInstanceUID == "2.25.3"
    assert dataset.SourceInstanceSequence[0].ReferencedSOPInstanceUID == "2.25.1"
    image.PatientID = "TT-0002"
    with pytest.raises(InputError, match="the page names 'TT-0001', the study is of 'TT-0002'"):
        report.save(tmp_path / "other.dcm", source=image)
    assert not (tmp_path / "other.dcm").exists()


def texts(figure) -> list[tuple[Text, object]]:
    """Every text that is drawn, with its box in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            hidden |= {axis.label} if not ax.axison else set()
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not (ax.axison and low - 1e-9 <= tick.get_loc() <= high + 1e-9):
                    hidden |= {tick.label1, tick.label2}
    return [
        (t, t.get_window_extent(canvas.get_renderer()))
        for t in figure.findobj(Text)
        if t.get_visible() and t.get_text().strip() and t not in hidden
    ]


def long_names(report: BoardReport) -> BoardReport:
    """A report with more and longer of everything."""
    return replace(
        report,
        clinical=("a very long diagnosis that was typed by somebody who had a lot of time for it, " * 4,),
        findings=report.findings * 12,
        limits=report.limits * 3,
        parameters=tuple(
            replace(p, source=p.source + " and a great many words about where it is from" * 3)
            for p in report.parameters
        ),
    )


@pytest.mark.parametrize("change", [lambda r: r, long_names], ids=["plain", "long"])
def test_no_text_is_clipped_or_printed_over_another(report: BoardReport, change) -> None:
    figure = board_figure(change(report))
    width, height = figure.canvas.get_width_height()
    boxes = texts(figure)
    assert len(boxes) > 200
    outside = [t.get_text() for t, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height]
    assert outside == []
    overlaps = [
        (a.get_text(), b.get_text())
        for i, (a, p) in enumerate(boxes)
        for b, q in boxes[i + 1 :]
        if min(p.x1, q.x1) - max(p.x0, q.x0) > 1.5 and min(p.y1, q.y1) - max(p.y0, q.y0) > 2.5
    ]
    assert overlaps == []


BARE = {
    "bands": (),
    "comparisons": (),
    "scores": (),
    "options": (),
    "outcome_names": {},
    "dvh": (),
    "dvh_limits": (),
    "parameters": (),
    "quality": (),
    "limits": (),
    "left_out": ("Not calibrated: 1 visit.",),
}


def test_less_than_everything_still_makes_a_page(report: BoardReport, tmp_path: Path) -> None:
    one = replace(report, **BARE, scans=report.scans[:1], panels=report.panels[:1], courses=())
    assert "This page was made without a forecast." in wording.headline(one)
    nothing = replace(one, scans=(), panels=(), findings=())
    for name, less in (("one", one), ("nothing", nothing)):
        assert less.save(tmp_path / f"{name}.pdf").stat().st_size > 5000
        page = less.save(tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert "Not calibrated: 1 visit." in page
        assert wording.RESEARCH_USE in page


def test_saved_report_draws_the_same_page(report: BoardReport, html: str, tmp_path: Path) -> None:
    again = BoardReport.load(report.save(tmp_path / "report.npz"))
    assert again.save(tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_nothing_is_replaced_unasked_and_other_suffixes_are_refused(report: BoardReport, tmp_path: Path) -> None:
    path = tmp_path / "board.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="is there already"):
        report.save(path)
    assert path.read_text() == "mine"
    less = replace(report, **BARE, panels=())
    assert less.save(path, overwrite=True).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match=r"\.docx"):
        report.save(tmp_path / "board.docx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["board.html"]


def test_text_from_the_patient_cannot_become_markup(report: BoardReport, tmp_path: Path) -> None:
    odd = replace(report, **BARE, panels=(), patient_id="<b>x</b>$y$")
    assert "&lt;b&gt;x&lt;/b&gt;" in odd.save(tmp_path / "odd.html").read_text(encoding="utf-8")
    assert odd.save(tmp_path / "odd.pdf").is_file()


def test_a_broken_limit_is_seen_without_color(report: BoardReport) -> None:
    option = report.options[4]
    worse = replace(option, organs=tuple(replace(o, value=60.0, met=False) for o in option.organs))
    assert not worse.met
    assert "60 / 54 !" in wording.plan_table(replace(report, options=(worse,))).rows[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12.345, "12.3"),
        (-8.04, "−8.04"),
        (1234.5, "1234"),
        (123.45, "123"),
        (0.000104, "0.000104"),
        (float("nan"), "n/a"),
        (99.96, "100"),
        (1e-9, "1e-09"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert wording.number(value) == text


def test_small_probabilities_are_rounded() -> None:
    said = [wording.organ(OrganDose("chiasm", "NTCP %", value, 5.0, True)) for value in (0.0, 2.1e-10, 0.0945)]
    assert said == ["0 / 5", "<0.01 / 5", "0.0945 / 5"]


def test_spans_of_negative_numbers_have_no_two_dashes() -> None:
    assert wording.span(-0.161, -0.0231) == "−0.161 to −0.0231"
    assert wording.span(0.2, 0.31) == "0.2–0.31"


def test_intervals_beyond_the_horizon() -> None:
    assert wording.interval(Interval(np.inf, 120.0, np.inf), 365.0) == ">365 (120 to >365)"
    assert wording.interval(Interval(41.23, 33.0, 50.06)) == "41.2 (33–50.1)"
