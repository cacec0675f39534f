"""Charts of a twin: timeline, volumes with their forecast, agreement, schedules, dose-volume histograms, parameters.

Each function draws the values of :mod:`tumortwin.board.values` into an axes and returns its artists. Nothing is
computed here. Scans used to calibrate are filled, held-out scans are hollow, everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from tumortwin.board.values import (
    Comparison,
    DvhCurve,
    OptionRow,
    OrganDose,
    Parameter,
    PredictedVolume,
    Role,
    Scan,
    TimelineCourse,
)
from tumortwin.board.wording import name_of

# the same hues as over images (slices.OUTLINE_COLORS), dark enough for white paper; Okabe & Ito (2008)
QUANTITY_COLORS = {"whole": "#0072b2", "core": "#d55e00"}
QUANTITY_MARKERS = {"whole": "o", "core": "s"}
COURSE_COLORS = {"radiotherapy": "#7a5195", "drug": "#009e73", "surgery": "#222222"}
STRUCTURE_COLORS = ("#d55e00", "#e69f00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#222222", "#8a6d00")
INK, QUIET, FAINT = "#1a1a1a", "#5f6368", "#e8eaed"
MET, BROKEN = "#00734d", "#b00020"


def plain(ax: Axes) -> None:
    """Take away what a reader does not need: the frame's top and right, heavy ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(QUIET)
    ax.spines[["left", "bottom"]].set_linewidth(0.6)
    ax.tick_params(color=QUIET, labelcolor=INK, width=0.6, length=2.5, labelsize="small", pad=2)


def show_timeline(ax: Axes, courses: Sequence[TimelineCourse], scans: Sequence[Scan]) -> list[Artist]:
    """Treatments as bars with a tick for each fraction or dose, and a mark for each scan; x in days.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    courses : sequence of TimelineCourse
        One row each.
    scans : sequence of Scan
        The last row.
    """
    artists: list[Artist] = []
    for row, course in enumerate(courses):
        color = COURSE_COLORS.get(course.kind, QUIET)
        spans = [(start, max(stop - start, 0.0)) for start, stop in course.spans if stop > start]
        if spans:
            artists.append(ax.broken_barh(spans, (row - 0.32, 0.64), color=color, alpha=0.22, linewidth=0))
        marker, size = ("|", 6.0) if spans else ("D", 4.0)
        artists += ax.plot(
            course.days, [row] * len(course.days), marker, color=color, markersize=size, markeredgewidth=0.6
        )
    for scan in scans:
        artists += ax.plot(
            scan.day,
            len(courses),
            "^",
            markersize=4.5,
            color=INK,
            markeredgewidth=0.9,
            markerfacecolor="white" if scan.role is Role.HELD_OUT else INK,
        )
    ax.set_yticks(range(len(courses) + 1), [f"{c.label}  {c.detail}".strip() for c in courses] + ["Scans"])
    ax.set_ylim(len(courses) + 0.6, -0.6)
    plain(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return artists


def show_volumes(ax: Axes, scans: Sequence[Scan], bands: Sequence[PredictedVolume] = ()) -> list[Artist]:
    """Observed volumes and the predicted median with its 90 % band, mL over days.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    scans : sequence of Scan
        Filled if used to calibrate, hollow if held out.
    bands : sequence of PredictedVolume
        Predictions.
    """
    artists: list[Artist] = []
    if bands:
        start = max(band.fitted_until for band in bands)
        stop = max(float(band.days[-1]) for band in bands)
        if stop > start:
            artists.append(ax.axvspan(start, stop, color=FAINT, alpha=0.6, linewidth=0, zorder=0))
            artists.append(
                ax.text(
                    start,
                    0.99,
                    " forecast",
                    transform=ax.get_xaxis_transform(),
                    va="top",
                    color=QUIET,
                    fontsize="small",
                )
            )
    for band in bands:
        color = QUANTITY_COLORS.get(band.quantity, INK)
        artists.append(ax.fill_between(band.days, band.low, band.high, color=color, alpha=0.20, linewidth=0))
        artists += ax.plot(band.days, band.median, color=color, linewidth=1.3)
    quantities = list(dict.fromkeys(q for scan in scans for q in scan.volumes_ml if q in QUANTITY_MARKERS))
    for scan in scans:
        for quantity in quantities:
            if quantity in scan.volumes_ml:
                color = QUANTITY_COLORS[quantity]
                artists += ax.plot(
                    scan.day,
                    scan.volumes_ml[quantity],
                    QUANTITY_MARKERS[quantity],
                    color=color,
                    markersize=5,
                    markeredgewidth=1.1,
                    zorder=4,
                    clip_on=False,
                    markerfacecolor="white" if scan.role is Role.HELD_OUT else color,
                )
    ax.set_ylim(bottom=0)
    ax.margins(x=0.02)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_ylabel("volume (mL)")
    plain(ax)
    return artists


def explain_volumes(ax: Axes, scans: Sequence[Scan], bands: Sequence[PredictedVolume] = (), **legend: Any) -> Legend:
    """Draw the legend of :func:`show_volumes`; further arguments go to ``ax.legend``."""
    handles = [
        Line2D(
            [],
            [],
            color=color,
            marker=QUANTITY_MARKERS.get(q, "o"),
            markersize=4.5,
            linewidth=1.3 if any(band.quantity == q for band in bands) else 0,
            label=name_of(q),
        )
        for q, color in QUANTITY_COLORS.items()
        if any(q in s.volumes_ml for s in scans)
    ]
    if any(scan.role is Role.HELD_OUT for scan in scans):
        handles += [
            Line2D([], [], color=QUIET, marker="o", markersize=4.5, linewidth=0, label=text, markerfacecolor=face)
            for text, face in (("calibration", QUIET), ("held out", "white"))
        ]
    settings = {"frameon": False, "fontsize": "small", "handlelength": 1.6, "labelspacing": 0.3, "borderaxespad": 0.1}
    return ax.legend(handles=handles, **{**settings, **legend})


def show_agreement(ax: Axes, comparisons: Sequence[Comparison]) -> list[Artist]:
    """Predicted volumes with 90 % intervals over observed ones, mL, and the line where they agree."""
    artists: list[Artist] = []
    top = 1.08 * max(max(c.observed, c.predicted.high) for c in comparisons)
    artists += ax.plot([0, top], [0, top], color=QUIET, linewidth=0.7, dashes=(4, 3), zorder=1)
    for c in comparisons:
        color = QUANTITY_COLORS.get(c.quantity, INK)
        artists.append(ax.vlines(c.observed, c.predicted.low, c.predicted.high, color=color, linewidth=1.0, zorder=2))
        artists += ax.plot(
            c.observed,
            c.predicted.median,
            QUANTITY_MARKERS.get(c.quantity, "D"),
            color=color,
            markersize=4.5,
            markeredgewidth=1.1,
            zorder=3,
            markerfacecolor="white" if c.role is Role.HELD_OUT else color,
        )
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="observed (mL)", ylabel="predicted (mL)")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    plain(ax)
    return artists


def show_outcomes(
    ax: Axes, options: Sequence[OptionRow], outcome: str, label: str, horizon: float | None = None
) -> list[Artist]:
    """One row a schedule: the outcome's median and 90 % interval.

    Parameters
    ----------
    ax : Axes
        Where to draw; rows at y = 0, 1, ... from the top.
    options : sequence of OptionRow
        The schedules.
    outcome : str
        Which of their outcomes.
    label : str
        What it is, with its unit.
    horizon : float, optional
        An infinite end is drawn as an arrow at this value.
    """
    artists: list[Artist] = []
    finite = [v for o in options for v in (o.outcomes[outcome].low, o.outcomes[outcome].high) if np.isfinite(v)]
    end = horizon if horizon is not None else 1.05 * max(finite, default=1.0)
    for row, option in enumerate(options):
        interval = option.outcomes[outcome]
        color = INK if option.met else BROKEN
        low, median, high = (min(v, end) for v in (interval.low, interval.median, interval.high))
        artists += ax.plot([low, high], [row, row], color=color, linewidth=1.3, solid_capstyle="butt")
        if not np.isfinite(interval.high):
            artists += ax.plot(high, row, ">", color=color, markersize=4)
        if np.isfinite(interval.median):
            artists += ax.plot(median, row, "o", color=color, markersize=4.5)
    ax.set_xlabel(label)
    ax.set_xlim(0, 1.06 * end)
    _rows(ax, len(options))
    return artists


def show_limits(ax: Axes, options: Sequence[OptionRow]) -> list[Artist]:
    """One row a schedule: each organ's dose in % of its limit, and the line at 100 %."""
    artists: list[Artist] = [ax.axvline(100, color=BROKEN, linewidth=0.8)]
    organs = list(dict.fromkeys(organ.organ for option in options for organ in option.organs))
    top = 110.0
    for row, option in enumerate(options):
        for organ in option.organs:
            if organ.limit:
                share = 100 * organ.value / organ.limit
                top = max(top, 1.08 * share)
                artists += ax.plot(
                    share,
                    row,
                    _ORGAN_MARKERS[organs.index(organ.organ) % len(_ORGAN_MARKERS)],
                    color=MET if organ.met else BROKEN,
                    markersize=4.2,
                    markeredgewidth=0.8,
                    markerfacecolor="none",
                )
    handles = [
        Line2D(
            [],
            [],
            color=QUIET,
            marker=_ORGAN_MARKERS[i % len(_ORGAN_MARKERS)],
            markersize=4.2,
            linewidth=0,
            markerfacecolor="none",
            label=organ,
        )
        for i, organ in enumerate(organs)
    ]
    artists.append(
        ax.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=2,
            frameon=False,
            fontsize="small",
            borderaxespad=0.1,
            handletextpad=0.1,
            columnspacing=1.0,
        )
    )
    ax.set_xlabel("organ dose, % of limit")
    ax.set_xlim(-0.03 * top, top)  # a mark at 0 stays off the names
    _rows(ax, len(options))
    return artists


_ORGAN_MARKERS = ("o", "s", "^", "D", "v", "P")


def _rows(ax: Axes, n: int) -> None:
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_yticks([])
    for row in range(0, n, 2):
        ax.axhspan(row - 0.5, row + 0.5, color=FAINT, alpha=0.5, linewidth=0, zorder=0)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    plain(ax)
    ax.spines["left"].set_visible(False)


def show_dvh(
    ax: Axes, curves: Sequence[DvhCurve], limits: Sequence[OrganDose] = (), *, legend: bool = True
) -> list[Artist]:
    """Cumulative dose-volume histograms, and a mark at the limit of each structure's maximum.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    curves : sequence of DvhCurve
        One line each.
    limits : sequence of OrganDose
        A downward mark at each ``physical_limit``, filled red if the limit is broken.
    legend : bool
        Whether to name the curves, beside the axes.
    """
    artists: list[Artist] = []
    colors = dict(zip([c.structure for c in curves], STRUCTURE_COLORS * len(curves), strict=False))
    for curve in curves:
        artists += ax.plot(
            curve.dose, curve.volume, color=colors[curve.structure], linewidth=1.2, label=curve.structure
        )
    for limit in limits:
        if limit.physical_limit is not None and limit.organ in colors:
            artists += ax.plot(
                limit.physical_limit,
                0,
                "v",
                color=colors[limit.organ],
                markersize=5.5,
                clip_on=False,
                zorder=5,
                markerfacecolor="white" if limit.met else BROKEN,
                markeredgewidth=1.0,
            )
    end = max([float(c.dose[-1]) for c in curves] + [1.06 * (x.physical_limit or 0) for x in limits])
    ax.set(xlim=(0, end), ylim=(0, 103), xlabel="dose (Gy, physical)", ylabel="volume (%)")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    if legend:
        artists.append(
            ax.legend(
                loc="upper left",
                bbox_to_anchor=(1.0, 1.03),
                frameon=False,
                fontsize="small",
                handlelength=1.2,
                borderaxespad=0.2,
                labelspacing=0.25,
                handletextpad=0.5,
            )
        )
    plain(ax)
    return artists


def show_parameters(
    ax: Axes, parameters: Sequence[Parameter], label: str = "relative to the prior's middle"
) -> list[Artist]:
    """One row a fitted parameter: prior (grey) and posterior (dark) 90 % intervals, relative to the prior's middle.

    A posterior as wide as its prior was not moved by the data, and this shows it. The middle of the (log-normal) prior
    is the geometric mean of its ends. Fixed parameters, and those that may
    be negative, have an empty row.
    """
    artists: list[Artist] = []
    ratios = [1.0]
    for row, p in enumerate(parameters):
        if p.low is None or p.high is None or p.prior_low is None or p.prior_high is None or p.prior_low <= 0:
            continue
        middle = float(np.sqrt(p.prior_low * p.prior_high))
        prior = np.array([p.prior_low, p.prior_high]) / middle
        posterior = np.array([p.low, p.high]) / middle
        artists += ax.plot(prior, [row, row], color="#b9bec4", linewidth=5, solid_capstyle="butt")
        artists += ax.plot(posterior, [row, row], color=INK, linewidth=1.4, solid_capstyle="butt")
        artists += ax.plot(p.value / middle, row, "o", color=INK, markersize=4)
        ratios += [*prior, *posterior]
    _rows(ax, len(parameters))
    ax.set_xscale("log")
    low, high = min(ratios) / 1.15, max(ratios) * 1.15
    ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if low <= t <= high]
    ax.set_xlim(low, high)
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.axvline(1, color=QUIET, linewidth=0.6, dashes=(3, 3), zorder=1)
    ax.set_xlabel(label)
    return artists


def page_style() -> dict[Any, Any]:
    """Matplotlib's settings for the board page: small type, text kept as text, nothing from the user's settings."""
    return {
        **mpl.rcParamsDefault,
        "font.size": 7.0,
        "axes.labelsize": 6.5,
        "axes.titlesize": 7.5,
        "font.family": ["DejaVu Sans"],
        "text.parse_math": False,
        "pdf.fonttype": 42,
        "svg.hashsalt": "tumortwin",
        "axes.labelcolor": INK,
        "text.color": INK,
        "axes.labelpad": 2.0,
    }
