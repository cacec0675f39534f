"""The board page as PDF: one landscape A4 sheet, the same bytes for the same report."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tumortwin.board import charts, wording
from tumortwin.board.content import BoardContent
from tumortwin.board.cuts import cut_at
from tumortwin.board.page import HEIGHT, LEFT, PITCH, RIGHT, SMALL, TEXT, WIDTH, Page
from tumortwin.board.slices import OUTLINE_COLORS, show_slice
from tumortwin.board.wording import RESEARCH_USE

ORGANS = 2  # columns of the schedules' table


def render(report: BoardContent) -> bytes:
    """Render the report as the bytes of a PDF file."""
    buffer = io.BytesIO()
    with mpl.rc_context(charts.page_style()):
        metadata = {"Title": f"tumortwin board page. {RESEARCH_USE}.", "CreationDate": None}
        with PdfPages(buffer, metadata=metadata) as pages:
            pages.savefig(board_figure(report))
    return buffer.getvalue()


def board_figure(report: BoardContent) -> Figure:
    """Draw the page as a matplotlib figure, for a notebook or another format."""
    with mpl.rc_context(charts.page_style()):
        page = Page(Figure(figsize=(WIDTH, HEIGHT)))
        _header(page, report)
        _timeline(page, report, 1.30)
        _forecast(page, report, 1.30)
        _pictures(page, report, 3.3)
        _options(page, report, 5.36)
        _dose(page, report, 5.36)
        _parameters(page, report, 6.99)
        _notes(page, "Quality and limits", wording.quality_lines(report), 7.22, 9.13)
        _notes(page, "Findings", wording.finding_lines(report), 9.36, RIGHT)
        _footer(page, report)
        return page.figure


def _header(page: Page, report: BoardContent) -> None:
    page.text(LEFT, 0.47, f"Tumor board   {report.patient_id}", 14, bold=True)
    page.badge()
    for row, (label, text) in enumerate(wording.identity(report)):
        page.text(LEFT, 0.66 + 0.125 * row, label, SMALL, color=charts.QUIET)
        page.text(LEFT + 0.45, 0.66 + 0.125 * row, page.fit(text, RIGHT - LEFT - 0.45, TEXT), TEXT)
    said = wording.headline(report)
    bold = 1.15 * page.width(said, 8.2)
    page.text(LEFT, 1.09, said, min(8.2, 8.2 * (RIGHT - LEFT) / bold), bold=True)


def _absent(page: Page, x: float, y: float, text: str) -> None:
    page.text(x, y + 0.2, text, TEXT, color=charts.QUIET)


def _timeline(page: Page, report: BoardContent, y: float) -> None:
    right = 6.55
    page.title(LEFT, right, y, "Course and tumor volume", "median and 90 % interval" if report.bands else "")
    if not report.scans:
        return _absent(page, LEFT, y, "No scan shows a tumor.")
    left = LEFT + 2.0
    height = 0.115 * (len(report.courses) + 1) + 0.05
    top = page.axes(left, y + 0.1, right - left, height)
    charts.show_timeline(top, report.courses, report.scans)
    bottom = page.axes(left, y + 0.16 + height, right - left, 1.44 - height)
    charts.show_volumes(bottom, report.scans, report.bands)
    charts.explain_volumes(bottom, report.scans, report.bands, loc="upper right", bbox_to_anchor=(-0.085, 1.06))
    days = [d for c in report.courses for d in c.days] + [s.day for s in report.scans]
    days += [float(d) for b in report.bands for d in (b.days[0], b.days[-1])]
    margin = max(0.02 * (max(days) - min(days)), 3.0)
    for ax in (top, bottom):
        ax.set_xlim(min(days) - margin, max(days) + margin)
    top.spines["bottom"].set_visible(False)
    top.tick_params(axis="x", length=0, labelbottom=False)
    bottom.set_xlabel(f"days since {report.reference_time:%Y-%m-%d}")
    return None


def _forecast(page: Page, report: BoardContent, y: float) -> None:
    left = 6.85
    scores = wording.last_scores(report)
    page.title(
        left,
        RIGHT,
        y,
        "Forecast and observation",
        f"scan of {scores[0].date:%Y-%m-%d}, day {scores[0].day:.0f}, was held out" if scores else "",
    )
    x = left
    if report.comparisons:
        charts.show_agreement(page.axes(left + 0.3, y + 0.13, 1.42, 1.42), report.comparisons)
        x = left + 1.8
    if not scores:
        return _absent(page, x, y, wording.unscored(report))
    xs = (x, -(RIGHT - 1.22), -(RIGHT - 0.42), -RIGHT)
    page.cells(("", "Dice", "mL", "error"), xs, y + 0.2, SMALL, charts.QUIET)
    y += 0.2
    for quantity in dict.fromkeys(s.quantity for s in scores):
        group = [s for s in scores if s.quantity == quantity]
        color = charts.QUANTITY_COLORS.get(quantity, charts.INK)
        page.text(x, y, wording.name_of(quantity), TEXT, color=color, bold=True)
        y += PITCH
        page.cells(("observed", "", wording.number(wording.observed_ml(group[0])), ""), xs, y)
        for score in group:
            y += PITCH
            page.cells(wording.score_cells(score), xs, y)
        y += 1.4 * PITCH
    return None


def _pictures(page: Page, report: BoardContent, y: float) -> None:
    if not report.panels:
        page.title(LEFT, RIGHT, y, "One slice over time")
        return _absent(page, LEFT, y, "No image of this patient can be shown.")
    cuts = [cut_at(panel.anatomy.grid) for panel in report.panels]
    page.title(LEFT, RIGHT, y, "One slice over time")
    page.text(LEFT + 1.25, y, wording.picture_note(report), SMALL, color=charts.QUIET)
    _, w, h, _ = cuts[0].extent
    room = RIGHT - LEFT - 0.42  # the color bar's
    width = min(1.56 * w / h, (room + 0.08) / len(report.panels) - 0.08)
    height = width * h / w
    for i, (panel, cut) in enumerate(zip(report.panels, cuts, strict=True)):
        x = LEFT + i * (width + 0.08)
        page.text(x, y + 0.17, f"{panel.date:%Y-%m-%d}, day {panel.day:.0f}", TEXT, color=charts.QUIET)
        page.text(x + width, y + 0.17, wording.caption(panel), TEXT, bold=True, align="right")
        ax = page.axes(x, y + 0.22, width, height)
        artists = show_slice(
            ax,
            panel.anatomy,
            cut,
            window=panel.window,
            density=panel.density,
            outlines=panel.outlines,
            dashed=panel.predicted,
            position=False,
        )
        if artists.density is not None:
            bar = page.axes(x + width + 0.07, y + 0.4, 0.07, height - 0.3)
            Colorbar(bar, artists.density).outline.set_visible(False)
            bar.tick_params(labelsize=SMALL, length=2, width=0.5, pad=1.5)
            page.text(x + width + 0.06, y + 0.32, "density", SMALL)
    _legend(page, report, y)
    return None


def _legend(page: Page, report: BoardContent, y: float) -> None:
    """Explain the outlines, at the right end of the title's line."""
    x = RIGHT
    for name, style, text in reversed(wording.outline_key(report.panels)):
        page.text(x, y, text, SMALL, align="right")
        x -= page.width(text, SMALL) + 0.32
        page.figure.add_artist(
            Line2D(
                [x / WIDTH, (x + 0.26) / WIDTH],
                [1 - (y - 0.03) / HEIGHT] * 2,
                color=OUTLINE_COLORS[name],
                linestyle=style,
                linewidth=1.6,
            )
        )
        x -= 0.15


def _options(page: Page, report: BoardContent, y: float) -> None:
    right = 7.75
    table = wording.plan_table(report, ORGANS)
    organs = len(table.columns) - 5 - len(report.outcome_names)
    page.title(LEFT, right, y, table.title, wording.organ_note(report))
    if not report.options:
        return _absent(page, LEFT, y, "No plan options.")
    at = LEFT + 2.7
    xs = [LEFT, LEFT + 1.22, -(LEFT + 2.24), -at, *(-(at + 0.66 * (i + 1)) for i in range(organs))]
    page.table(table, [0, 1, 3, 4, *range(5, 5 + organs)], xs, y + 0.2)
    at += 0.66 * organs + 0.15
    outcomes = list(report.outcome_names)[:2]
    for i, key in enumerate(outcomes):
        # the last outcome's text ends at the right edge, the one before it has room for a chart of its own
        end = right if i == len(outcomes) - 1 else right - 1.3
        page.table(table, [5 + organs + i], [-end], y + 0.2)
        if i == 0:
            ax = page.axes(at, y + 0.245, end - 1.05 - at, PITCH * len(report.options))
            charts.show_outcomes(ax, report.options, key, "", report.horizon_days if key.endswith("days") else None)
    return None


def _dose(page: Page, report: BoardContent, y: float) -> None:
    left = 8.0
    metrics = dict.fromkeys(limit.metric for limit in report.dvh_limits)
    page.title(left, RIGHT, y, "Given dose", f"{', '.join(metrics)} / limit" if metrics else "")
    if not report.dvh:
        return _absent(page, left, y, wording.no_dose(report))
    ax = page.axes(left + 0.33, y + 0.16, 1.25, 1.05)
    charts.show_dvh(ax, report.dvh, report.dvh_limits, legend=False)
    limits = {limit.organ: wording.organ(limit) for limit in report.dvh_limits}
    for row, line in enumerate(ax.lines[: len(report.dvh)]):
        name, at = str(line.get_label()), y + 0.2 + row * PITCH
        page.figure.add_artist(
            Line2D(
                [(left + 1.72) / WIDTH, (left + 1.87) / WIDTH],
                [1 - (at - 0.035) / HEIGHT] * 2,
                color=line.get_color(),
                linewidth=1.6,
            )
        )
        page.cells((page.fit(name, 0.8, TEXT), limits.get(name, "")), (left + 1.92, -RIGHT), at)
    return None


def _parameters(page: Page, report: BoardContent, y: float) -> None:
    right, chart, pitch = 6.97, LEFT + 3.42, 0.118
    table = wording.parameter_table(report, main=True)
    page.title(
        LEFT, right, y, table.title, "relative to the prior: grey prior, dark after the scans" if report.quality else ""
    )
    if not table.rows:
        return _absent(page, LEFT, y, "Not calibrated.")
    page.table(table, (0, 1, 2), (LEFT, LEFT + 1.3, LEFT + 2.82), y + 0.17, pitch)
    page.text(chart + 1.25, y + 0.17, "source", SMALL, color=charts.QUIET)
    for row, cells in enumerate(table.rows):
        source = page.fit(wording.short_source(cells[5]), right - chart - 1.25)
        page.text(chart + 1.25, y + 0.17 + (row + 1) * pitch, source, SMALL)
    ax = page.axes(chart, y + 0.2, 1.12, pitch * len(table.rows))
    charts.show_parameters(ax, wording.main_parameters(report), "")
    return None


def _notes(
    page: Page,
    title: str,
    lines: Sequence[str],
    left: float,
    right: float,
    y: float = 6.99,
    bottom: float = 8.0,
    leading: float = 0.102,
) -> None:
    """Draw wrapped notes, as many as there is room for, and state how many more there are."""
    page.title(left, right, y, title)
    y += 0.17
    for i, note in enumerate(lines):
        wrapped = page.wrap(note, right - left - 0.08)
        rest = len(lines) - i
        if y + leading * (len(wrapped) - 1 + (rest > 1)) > bottom:
            page.text(left, y, f"and {rest} more: see the HTML page", SMALL, color=charts.QUIET)
            return
        page.text(left, y, "·", SMALL, color=charts.QUIET, bold=True)
        for line in wrapped:
            page.text(left + 0.08, y, line, SMALL)
            y += leading
        y += 0.015


def _footer(page: Page, report: BoardContent) -> None:
    page.text(LEFT, HEIGHT - 0.12, RESEARCH_USE + ".", SMALL, color=charts.BROKEN, bold=True)
    said = ""
    for definition in report.definitions:  # the HTML page has all of them
        longer = f"{said}  {definition}".strip()
        if page.width(longer, SMALL) > RIGHT - LEFT - 2.4:
            break
        said = longer
    page.text(RIGHT, HEIGHT - 0.12, said, SMALL, color=charts.QUIET, align="right")
