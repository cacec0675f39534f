"""Pictures of the board page as single PNG files, for slides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from tumortwin.board import charts, wording
from tumortwin.board.composing import compose
from tumortwin.board.content import BoardContent
from tumortwin.board.cuts import cut_at
from tumortwin.board.identity import for_export
from tumortwin.board.slices import OUTLINE_COLORS, show_slice
from tumortwin.board.values import Panel
from tumortwin.outputs import new_file

if TYPE_CHECKING:
    from tumortwin.calibration import Calibration, Forecast
    from tumortwin.patient import Patient
    from tumortwin.twin import Twin

WIDTH, TOP, BOTTOM, RIGHT = 5.0, 0.42, 0.5, 0.55  # inches


def save_overlays(
    twin: Twin,
    fit: Calibration | None,
    forecast: Forecast | None,
    folder: str | os.PathLike[str],
    *,
    patient: Patient | None = None,
    overwrite: bool = False,
    identity: str = "removed",
) -> list[Path]:
    """Write each picture of the board page as a PNG: the scans with their outlines, and what was predicted.

    Parameters
    ----------
    twin, fit, forecast
        What there is.
    folder : path-like
        Where to; the files are named by number, date and what they show.
    patient : Patient, optional
        Shows each visit's own image instead of the reference visit's.
    overwrite : bool
        Replace files that are there already.
    identity : str
        "removed" or "source": see :meth:`BoardReport.save`.

    Returns
    -------
    list of Path
        The files, in order of time.

    Raises
    ------
    OutputExistsError
        If a file exists and `overwrite` is false.
    """
    report = for_export(compose(twin, fit, forecast, patient=patient), identity)
    paths = []
    for i, panel in enumerate(report.panels, 1):
        path = Path(folder) / f"{i:02d}-{panel.date:%Y-%m-%d}-{wording.caption(panel).replace(' ', '-')}.png"
        with new_file(path, overwrite=overwrite) as temporary, mpl.rc_context(_style()):
            FigureCanvasAgg(overlay_figure(report, panel)).print_png(temporary, metadata={"Software": None})
        paths.append(path)
    return paths


def _style() -> dict[Any, Any]:
    return {**charts.page_style(), "font.size": 9.0}


def picture(report: BoardContent, panel: Panel) -> NDArray[np.uint8]:
    """One picture as red, green and blue, (rows, columns, 3)."""
    with mpl.rc_context(_style()):
        canvas = FigureCanvasAgg(overlay_figure(report, panel))
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def overlay_figure(report: BoardContent, panel: Panel) -> Figure:
    """One picture with its caption, the key of its outlines, and the research-use notice."""
    cut = cut_at(panel.anatomy.grid)
    _, w, h, _ = cut.extent
    picture = WIDTH * h / w
    width, height = WIDTH + RIGHT, picture + TOP + BOTTOM
    figure = Figure(figsize=(width, height), dpi=160)
    ax = figure.add_axes((0, BOTTOM / height, WIDTH / width, picture / height))
    artists = show_slice(
        ax,
        panel.anatomy,
        cut,
        window=panel.window,
        density=panel.density,
        outlines=panel.outlines,
        dashed=panel.predicted,
    )
    if artists.density is not None:
        bar = figure.add_axes(((WIDTH + 0.08) / width, (BOTTOM + 0.1) / height, 0.1 / width, (picture - 0.4) / height))
        Colorbar(bar, artists.density)
        bar.set_title("density", fontsize="x-small", loc="left")
    figure.text(
        0.1 / width,
        1 - 0.17 / height,
        f"{report.patient_id}   {panel.date:%Y-%m-%d}, day {panel.day:.0f}: {wording.caption(panel)}",
        fontweight="bold",
        va="center",
    )
    figure.text(
        0.1 / width,
        1 - 0.33 / height,
        f"over the {panel.anatomy.name}",
        fontsize="small",
        color=charts.QUIET,
        va="center",
    )
    handles = [
        Line2D([], [], color=OUTLINE_COLORS[name], linestyle=style, linewidth=1.6, label=text)
        for name, style, text in wording.outline_key((panel,))
    ]
    if handles:
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.08 / width, 0.2 / height),
            ncols=4,
            frameon=False,
            fontsize="x-small",
            handlelength=1.6,
            columnspacing=1.0,
            borderaxespad=0.1,
        )
    figure.text(
        0.1 / width,
        0.11 / height,
        f"{wording.RESEARCH_USE}.",
        color=charts.BROKEN,
        fontsize="small",
        fontweight="bold",
        va="center",
    )
    return figure
