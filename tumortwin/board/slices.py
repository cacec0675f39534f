"""Drawing slices through a patient, always in radiological convention: patient right on image left.

Where to cut is in :mod:`tumortwin.board.cuts`; its names can be imported from here too. Drawing functions take an axes,
return their artists and compute nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.patheffects as patheffects
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.image import AxesImage
from matplotlib.text import Text
from numpy.typing import NDArray

from tumortwin.board.cuts import Cut, Plane, best_slice, cut_at, reslice_grid
from tumortwin.imaging.volume import Volume

__all__ = [
    "DENSITY_THRESHOLD",
    "OUTLINE_COLORS",
    "Cut",
    "Plane",
    "SliceArtists",
    "best_slice",
    "cut_at",
    "reslice_grid",
    "show_difference",
    "show_slice",
]

# Okabe & Ito (2008) colors, told apart with any of the common color vision deficiencies
OUTLINE_COLORS = {
    "core": "#f5a300",
    "enhancing": "#f5a300",
    "whole": "#56c4f5",
    "necrosis": "#f0e442",
    "cavity": "#f08bd8",
}
DENSITY_THRESHOLD = 0.1
"""Densities below this share of capacity are not drawn."""

_HALO = [patheffects.withStroke(linewidth=2.0, foreground="black", alpha=0.75)]
_INK = "#ffffff"


@dataclass(frozen=True)
class SliceArtists:
    """What :func:`show_slice` drew."""

    anatomy: AxesImage
    density: AxesImage | None
    outlines: dict[str, QuadContourSet]
    isodoses: QuadContourSet | None
    letters: dict[str, Text]
    scale_bar: tuple[Artist, ...]
    position: Text | None


def show_slice(
    ax: Axes,
    volume: Volume,
    cut: Cut | None = None,
    *,
    window: tuple[float, float] | None = None,
    density: NDArray[np.floating] | None = None,
    threshold: float = DENSITY_THRESHOLD,
    outlines: Mapping[str, NDArray[Any]] | None = None,
    dashed: Mapping[str, NDArray[Any]] | None = None,
    colors: Mapping[str, str] | None = None,
    dose: NDArray[np.floating] | None = None,
    isodoses: Sequence[float] = (),
    position: bool = True,
) -> SliceArtists:
    """Draw one slice of the anatomy, and what is laid over it.

    Parameters
    ----------
    ax : Axes
        Where to draw; its frame and ticks are taken away.
    volume : Volume
        The anatomy, drawn in grey.
    cut : Cut, optional
        Which slice; the middle axial one by default.
    window : (float, float), optional
        Values drawn black and white; the 1st and 99.5th percentile of the slice by default.
    density : (z, y, x) array, optional
        Cell density, 0..1, drawn in viridis where it is at least `threshold`.
    threshold : float
        See `density`.
    outlines, dashed : mapping of str to (z, y, x) array, optional
        Masks or shares of each voxel; the line where they are one half, in the color of their name
        (`colors`, else :data:`OUTLINE_COLORS`, else white).
    colors : mapping of str to str, optional
        See `outlines`.
    dose : (z, y, x) array, optional
        Dose in Gy, drawn as labelled lines at `isodoses`.
    isodoses : sequence of float
        Doses in Gy; those that the slice does not reach are left out.
    position : bool
        Whether to write the slice's position.

    Returns
    -------
    SliceArtists
        What was drawn.
    """
    cut = cut_at(volume.grid) if cut is None else cut
    picture = cut.picture(volume.array)
    if window is None:
        finite = picture[np.isfinite(picture)]
        window = (float(np.percentile(finite, 1)), float(np.percentile(finite, 99.5))) if finite.size else (0.0, 1.0)
    anatomy = ax.imshow(
        picture, cmap="gray", vmin=window[0], vmax=window[1], extent=cut.extent, interpolation="bilinear"
    )
    ax.set_axis_off()
    shown = None
    if density is not None:
        values = cut.picture(density)
        values = np.ma.masked_where(~(values >= threshold), values)
        shown = ax.imshow(
            values, cmap="viridis", vmin=0, vmax=1, extent=cut.extent, alpha=0.75, interpolation="nearest"
        )
    lines = {
        name: contours
        for style, masks in (("solid", outlines or {}), ("dashed", dashed or {}))
        for name, contours in _outlines(ax, cut, masks, style, OUTLINE_COLORS | dict(colors or {})).items()
    }
    isolines = None if dose is None else _isodoses(ax, cut, cut.picture(dose), isodoses)
    return SliceArtists(
        anatomy,
        shown,
        lines,
        isolines,
        _letters(ax, cut),
        _scale_bar(ax, cut),
        _position(ax, cut) if position else None,
    )


def show_difference(
    ax: Axes,
    volume: Volume,
    difference: NDArray[np.floating],
    cut: Cut | None = None,
    *,
    limit: float,
    visible: float = 0.02,
    window: tuple[float, float] | None = None,
) -> tuple[SliceArtists, AxesImage]:
    """Draw a difference over the anatomy, on a diverging map centred at 0.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    volume : Volume
        The anatomy.
    difference : (z, y, x) array
        E.g. predicted minus observed density.
    cut : Cut, optional
        Which slice; the middle axial one by default.
    limit : float
        The map runs from -limit to +limit.
    visible : float
        Share of `limit` below which nothing is drawn.
    window : (float, float), optional
        As for :func:`show_slice`.

    Returns
    -------
    SliceArtists, AxesImage
        The anatomy's artists and the difference's image (for a color bar).
    """
    cut = cut_at(volume.grid) if cut is None else cut
    artists = show_slice(ax, volume, cut, window=window)
    values = cut.picture(difference)
    values = np.ma.masked_where(~(np.abs(values) >= visible * limit), values)
    return artists, ax.imshow(
        values, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=cut.extent, alpha=0.85, interpolation="nearest"
    )


def _centres(cut: Cut) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the pixels' centres are, in the extent's mm."""
    _, width, height, _ = cut.extent
    rows, columns = cut.grid.shape[cut.axes[1]], cut.grid.shape[cut.axes[2]]
    return (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows


def _outlines(
    ax: Axes, cut: Cut, masks: Mapping[str, NDArray[Any]], style: str, colors: Mapping[str, str]
) -> dict[str, QuadContourSet]:
    drawn = {}
    for name, mask in masks.items():
        share = cut.picture(np.asarray(mask, float))
        if min(share.shape) > 1 and share.min() < 0.5 <= share.max():
            contours = ax.contour(
                *_centres(cut),
                share,
                levels=[0.5],
                colors=[colors.get(name, "white")],
                linewidths=1.1,
                linestyles=style,
            )
            contours.set_path_effects([patheffects.withStroke(linewidth=1.9, foreground="black", alpha=0.6)])
            drawn[name if style == "solid" else f"{name} ({style})"] = contours
    return drawn


def _isodoses(ax: Axes, cut: Cut, dose: NDArray[np.floating], levels: Sequence[float]) -> QuadContourSet | None:
    reached = [level for level in sorted(levels) if dose.min() < level <= dose.max()]
    if not reached:
        return None
    contours = ax.contour(*_centres(cut), dose, levels=reached, cmap="YlOrRd_r", linewidths=0.9)
    ax.clabel(contours, fmt="%g Gy", fontsize="x-small")
    return contours


def _write(ax: Axes, x: float, y: float, text: str, horizontal: str, vertical: str) -> Text:
    return ax.text(
        x, y, text, transform=ax.transAxes, color=_INK, fontsize="small", ha=horizontal, va=vertical, path_effects=_HALO
    )


def _letters(ax: Axes, cut: Cut) -> dict[str, Text]:
    places = {
        "left": (0.015, 0.5, "left", "center"),
        "right": (0.985, 0.5, "right", "center"),
        "top": (0.5, 0.985, "center", "top"),
        "bottom": (0.5, 0.015, "center", "bottom"),
    }
    return {edge: _write(ax, x, y, cut.letters[edge], *anchor) for edge, (x, y, *anchor) in places.items()}


def _scale_bar(ax: Axes, cut: Cut) -> tuple[Artist, ...]:
    """Draw a scale bar: the largest of 5, 10, 20 and 50 mm that takes at most 30 % of the width."""
    _, width, height, _ = cut.extent
    length = max((bar for bar in (5, 10, 20, 50) if bar <= 0.3 * width), default=1)
    x, y = 0.97 * width, 0.965 * height
    (line,) = ax.plot([x - length, x], [y, y], color=_INK, linewidth=1.6, solid_capstyle="butt", path_effects=_HALO)
    label = ax.text(
        x,
        y - 0.02 * height,
        f"{length} mm",
        color=_INK,
        fontsize="x-small",
        ha="right",
        va="bottom",
        path_effects=_HALO,
    )
    return line, label


def _position(ax: Axes, cut: Cut) -> Text:
    text = _write(ax, 0.015, 0.015, cut.position_text, "left", "bottom")
    text.set_fontsize("x-small")
    return text
