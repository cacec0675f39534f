"""The quality pages as PDF and PNG: three visits a sheet, then the findings that found no room beside them."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tumortwin.board import charts
from tumortwin.board.cuts import cut_at
from tumortwin.board.page import HEIGHT, LEFT, RIGHT, SMALL, TEXT, WIDTH, Page
from tumortwin.board.quality.content import Picture, QualityContent, VisitQuality
from tumortwin.board.slices import OUTLINE_COLORS, show_slice
from tumortwin.board.wording import RESEARCH_USE, number
from tumortwin.imaging.findings import Finding

COLORS = {**OUTLINE_COLORS, "brain": "#2fe0a5"}
NAMES = {
    "brain": "outline of brain or organ at the reference visit",
    "whole": "whole tumor",
    "enhancing": "enhancing",
    "necrosis": "necrosis",
    "cavity": "resection cavity",
}
GRAYS = (-0.35, 1.5)
"""Drawn black and white, where 0 and 1 are the darkest and brightest normal brain."""
DPI = 150
ROWS = 3
TOP, ROW = 1.0, 2.36  # inches: first row's title, and from one row to the next
PICTURE = 1.98
TEXT_LEFT, LABEL = 7.42, 0.78
LEADING = 0.102
COLUMNS, GUTTER = 3, 0.25
BOTTOM = 7.98
GENERAL = "Findings of no visit in particular"
NOTE = (
    "Checkerboard: reference visit (top left tile) and registered visit in turn, tiles of 20 mm. Edges must run "
    "on from tile to tile."
)


def pdf(report: QualityContent) -> bytes:
    """Render the report as the bytes of a PDF file, which are the same for the same report."""
    buffer = io.BytesIO()
    metadata: dict[str, str | None] = {"Title": f"tumortwin quality pages. {RESEARCH_USE}.", "CreationDate": None}
    with mpl.rc_context(charts.page_style()), PdfPages(buffer, metadata=metadata) as pages:
        for figure in quality_figures(report):
            pages.savefig(figure)
    return buffer.getvalue()


def png(report: QualityContent) -> bytes:
    """Render the pages one below the other as one PNG picture: the same bytes for the same report."""
    sheets = []
    with mpl.rc_context(charts.page_style()):
        for figure in quality_figures(report):
            figure.set_dpi(DPI)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            sheets.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    buffer = io.BytesIO()
    metadata: Any = {"Software": None}  # matplotlib leaves out what is None
    mpl.image.imsave(buffer, np.concatenate(sheets), format="png", dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def quality_figures(report: QualityContent) -> tuple[Figure, ...]:
    """Draw the pages as matplotlib figures, for a notebook or another format."""
    with mpl.rc_context(charts.page_style()):
        sheets: list[Page] = [_sheet(report)]
        sections: list[tuple[str, list[str]]] = []
        y = TOP
        for i, visit in enumerate(report.visits):
            if i and i % ROWS == 0:
                sheets.append(_sheet(report))
            rest, y = _row(sheets[-1], visit, TOP + ROW * (i % ROWS))
            if rest:
                sections.append((f"{_when(visit)}, continued", rest))
        general = [said(f) for f in report.findings]
        if (
            general
            and report.visits
            and not sections
            and _beside(sheets[-1], general, y, _bottom(TOP + ROW * ((len(report.visits) - 1) % ROWS)))
        ):
            general = []
        if general:
            sections.append((GENERAL, general))
        used = len(report.visits) - ROWS * (len(sheets) - 1)
        _flow(report, sheets, sections, TOP + ROW * used)
        for i, sheet in enumerate(sheets, 1):
            _footer(sheet, i, len(sheets))
        return tuple(sheet.figure for sheet in sheets)


def _sheet(report: QualityContent) -> Page:
    page = Page(Figure(figsize=(WIDTH, HEIGHT)))
    page.text(LEFT, 0.47, f"Geometry, visit by visit   {page.fit(report.patient_id, 4.0, 14)}", 14, bold=True)
    page.badge()
    page.text(
        LEFT,
        0.66,
        f"tumortwin {report.version} · {report.files} input files, sha256 {report.input_hash[:16]} · "
        f"day 0 is {report.reference_time:%Y-%m-%d}",
        SMALL,
        color=charts.QUIET,
    )
    drawn = {name for visit in report.visits for picture in visit.pictures for name in picture.outlines}
    x = LEFT
    for name in (name for name in NAMES if name in drawn):
        page.figure.add_artist(
            Line2D([x / WIDTH, (x + 0.26) / WIDTH], [1 - 0.78 / HEIGHT] * 2, color=COLORS[name], linewidth=1.6)
        )
        page.text(x + 0.32, 0.80, NAMES[name], SMALL)
        x += 0.47 + page.width(NAMES[name], SMALL)
    if not report.visits:
        page.text(LEFT, TOP + 0.2, "No visit could be used.", TEXT, color=charts.QUIET)
    return page


def _when(visit: VisitQuality) -> str:
    return f"{visit.date:%Y-%m-%d}, day {visit.day:.0f}"


def _bottom(y: float) -> float:
    """Return the lowest baseline of the row with its title at y."""
    return y + ROW - 0.2


def _row(page: Page, visit: VisitQuality, y: float) -> tuple[list[str], float]:
    """One visit; returns the findings that found no room, and where its text ends."""
    bottom = _bottom(y)
    page.title(LEFT, RIGHT, y, _when(visit))
    page.text(
        LEFT + 1.55, y, visit.role, TEXT, bold=True, color=charts.BROKEN if visit.role == "left out" else charts.QUIET
    )
    x = LEFT
    for picture in visit.pictures:
        x += _picture(page, picture, x, y) + 0.08
    y += 0.17
    for label, text, doubtful in facts(visit):
        page.text(TEXT_LEFT, y, label, SMALL, color=charts.QUIET)
        for line in page.wrap(text + (" !" if doubtful else ""), RIGHT - TEXT_LEFT - LABEL):
            page.text(TEXT_LEFT + LABEL, y, line, SMALL, color=charts.BROKEN if doubtful else charts.INK)
            y += LEADING
    lines = [*visit.missing, *(said(f, visit) for f in visit.findings)]
    y += 0.04
    for i, line in enumerate(lines):
        wrapped = page.wrap(line, RIGHT - TEXT_LEFT - 0.08)
        rest = lines[i:]
        # the last line of the room is kept for how many more there are
        if y + LEADING * (len(wrapped) - 1 + (len(rest) > 1)) > bottom:
            page.text(TEXT_LEFT, y, f"{len(rest)} more after the last visit", SMALL, color=charts.QUIET)
            return rest, y
        y = _bullet(page, wrapped, TEXT_LEFT, y)
    return [], y


def _beside(page: Page, notes: Sequence[str], y: float, bottom: float) -> bool:
    """Set the general findings below the last visit's text if there is room for all of them."""
    wrapped = [page.wrap(note, RIGHT - TEXT_LEFT - 0.08) for note in notes]
    y += 0.1
    if y + 0.12 + sum(LEADING * len(lines) + 0.015 for lines in wrapped) > bottom + LEADING:
        return False
    page.text(TEXT_LEFT, y, GENERAL, SMALL, bold=True)
    y += 0.12
    for lines in wrapped:
        y = _bullet(page, lines, TEXT_LEFT, y)
    return True


def _picture(page: Page, picture: Picture, x: float, y: float) -> float:
    """Draw a picture; returns its width in inches."""
    cut = cut_at(picture.image.grid, picture.plane)
    _, w, h, _ = cut.extent
    scale = min(PICTURE / h, 1.66 / w)
    page.text(x, y + 0.17, page.fit(picture.title, 1.66), SMALL, color=charts.QUIET)
    ax = page.axes(x, y + 0.22, w * scale, h * scale)
    show_slice(ax, picture.image, cut, window=GRAYS, outlines=picture.outlines, colors=COLORS)
    return w * scale


def facts(visit: VisitQuality) -> list[tuple[str, str, bool]]:
    """List a visit's numbers: label, text, and whether they are doubtful."""
    lines: list[tuple[str, str, bool]] = []
    quality = visit.registration
    if quality is not None:
        lines.append(("Registered", f"{quality.moving} to {quality.fixed}", False))
        if math.isnan(quality.similarity):
            lines.append(("", "as the files claim, not registered", True))
        else:
            similarity = f"{quality.similarity:.3f} normalized mutual information"
            lines.append(("Similarity", similarity, "similarity" in quality.doubts))
        overlap = f"{100 * quality.overlap:.0f} % of the reference brain or organ"
        lines.append(("Overlap", overlap, "overlap" in quality.doubts))
        lines.append(("Residual", f"{quality.residual_mm:.2f} mm", "residual_mm" in quality.doubts))
    elif visit.role == "reference":
        lines.append(("Registered", "the others to this visit", False))
    if visit.volumes_ml:
        lines.append(
            ("Volumes", ", ".join(f"{NAMES.get(n, n)} {number(v)}" for n, v in visit.volumes_ml.items()) + " mL", False)
        )
    if visit.sigma is not None:
        lines.append(("Noise", f"{visit.sigma:.3f} of a voxel's density (SD)", False))
    if visit.masks:
        lines.append(("Masks", visit.masks, False))
    return lines


def said(finding: Finding, visit: VisitQuality | None = None) -> str:
    """Format a finding as a sentence; the visit is not named again in its own row."""
    where = finding.where
    if visit is not None:
        where = re.sub(rf"^visit of {visit.date:%Y-%m-%d}( \([^)]*\))?(, )?", "", where)
    return (
        f"{finding.severity.capitalize()}: {finding.what}{f' ({where})' if where else ''}"
        f"{f'; {finding.action}' if finding.action else ''}"
    )


def _bullet(page: Page, lines: Sequence[str], x: float, y: float) -> float:
    """Draw a note's lines behind a bullet; return the next note's baseline."""
    page.text(x, y, "·", SMALL, color=charts.QUIET, bold=True)
    for line in lines:
        page.text(x + 0.08, y, line, SMALL)
        y += LEADING
    return y + 0.015


def _flow(report: QualityContent, sheets: list[Page], sections: Sequence[tuple[str, list[str]]], top: float) -> None:
    """Set sections in columns below the last visit, and on as many more sheets as they take."""
    width = (RIGHT - LEFT - (COLUMNS - 1) * GUTTER) / COLUMNS
    column, y = 0, top
    if top + 0.5 > BOTTOM and sections:
        sheets.append(_sheet(report))
        y = top = TOP

    def next_column() -> tuple[int, float]:
        nonlocal top
        if column + 1 < COLUMNS:
            return column + 1, top
        sheets.append(_sheet(report))
        top = TOP
        return 0, top

    for title, notes in sections:
        if y + 0.5 > BOTTOM:
            column, y = next_column()
        left = LEFT + column * (width + GUTTER)
        sheets[-1].title(left, left + width, y, title)
        y += 0.17
        for note in notes:
            for i, line in enumerate(sheets[-1].wrap(note, width - 0.08)):
                if y > BOTTOM:
                    column, y = next_column()
                    y += 0.17
                left = LEFT + column * (width + GUTTER)
                if i == 0:
                    sheets[-1].text(left, y, "·", SMALL, color=charts.QUIET, bold=True)
                sheets[-1].text(left + 0.08, y, line, SMALL)
                y += LEADING
            y += 0.015
        y += 0.15


def _footer(page: Page, number_: int, count: int) -> None:
    page.text(LEFT, HEIGHT - 0.12, RESEARCH_USE + ".", SMALL, color=charts.BROKEN, bold=True)
    page.text(RIGHT, HEIGHT - 0.12, f"{NOTE}   Page {number_} of {count}", SMALL, color=charts.QUIET, align="right")
