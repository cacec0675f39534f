"""The board page as one self-contained HTML file: pictures inside, nothing fetched, dark on white, prints well."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tumortwin.board import charts, wording
from tumortwin.board.content import BoardContent
from tumortwin.board.cuts import cut_at
from tumortwin.board.slices import OUTLINE_COLORS, show_slice
from tumortwin.board.values import Panel


def render(report: BoardContent) -> bytes:
    """Render the report as the bytes of an HTML file, which are the same for the same report."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tumortwin.board"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    with mpl.rc_context({**charts.page_style(), "font.size": 9.0, "axes.labelsize": 8.5}):
        page = environment.get_template("board.html").render(
            report=report,
            wording=wording,
            research_use=wording.RESEARCH_USE,
            figures=_figures(report),
            panels=[(panel, wording.caption(panel), _panel(panel)) for panel in report.panels],
            outline_colors=OUTLINE_COLORS,
        )
    return page.encode()


def _figures(report: BoardContent) -> dict[str, str]:
    """Draw the charts that this report has, as data URIs."""
    figures = {}
    if report.scans:
        figures["volumes"] = _drawn(7.6, 3.2, lambda figure: _volumes(figure, report))
    if report.comparisons:
        figures["agreement"] = _drawn(3.1, 3.1, lambda f: charts.show_agreement(f.add_subplot(), report.comparisons))
    if report.dvh:
        figures["dvh"] = _drawn(4.6, 2.8, lambda f: charts.show_dvh(f.add_subplot(), report.dvh, report.dvh_limits))
    names = [option.name for option in report.options]
    for key, label in report.outcome_names.items():
        horizon = report.horizon_days if key.endswith("days") else None
        figures[key] = _rows(
            3.6, names, partial(charts.show_outcomes, options=report.options, outcome=key, label=label, horizon=horizon)
        )
    if any(option.organs for option in report.options):
        figures["limits"] = _rows(3.6, names, partial(charts.show_limits, options=report.options))
    fitted = [p for p in report.parameters if p.prior_low is not None and p.prior_low > 0]
    if fitted:
        figures["parameters"] = _rows(
            4.6, [wording.name_of(p.name) for p in fitted], partial(charts.show_parameters, parameters=fitted)
        )
    return figures


def _volumes(figure: Figure, report: BoardContent) -> None:
    rows = len(report.courses) + 1
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(rows, 12))
    charts.show_timeline(top, report.courses, report.scans)
    charts.show_volumes(bottom, report.scans, report.bands)
    charts.explain_volumes(bottom, report.scans, report.bands, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    bottom.set_xlabel(f"days since {report.reference_time:%Y-%m-%d}")
    top.spines["bottom"].set_visible(False)
    top.tick_params(axis="x", length=0, labelbottom=False)


def _rows(width: float, names: list[str], draw: Callable[[Axes], Any]) -> str:
    """Draw a chart with a row for each name."""

    def rows(figure: Figure) -> None:
        ax = figure.add_subplot()
        draw(ax)
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(axis="y", length=0)

    return _drawn(width, 0.6 + 0.23 * len(names), rows)


def _drawn(width: float, height: float, draw: Callable[[Figure], Any]) -> str:
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _uri("image/svg+xml", buffer.getvalue())


def _panel(panel: Panel) -> str:
    cut = cut_at(panel.anatomy.grid)
    _, width, height, _ = cut.extent
    figure = Figure(figsize=(2.0, 2.0 * height / width))
    show_slice(
        figure.add_axes((0, 0, 1, 1)),
        panel.anatomy,
        cut,
        window=panel.window,
        density=panel.density,
        outlines=panel.outlines,
        dashed=panel.predicted,
        position=False,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=220, metadata={"Software": None})
    return _uri("image/png", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
