"""Slices through a patient, always in radiological convention: patient right on image left, from the affine.

Where to cut (:func:`cut_at`, :func:`best_slice`) is apart from what to draw (:func:`show_slice`,
:func:`show_difference`). Drawing functions take an axes, return their artists and compute nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import matplotlib.patheffects as patheffects
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.image import AxesImage
from matplotlib.text import Text
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid, Volume

# Okabe & Ito (2008) colors, told apart with any of the common color vision deficiencies
OUTLINE_COLORS = {"enhancing": "#f5a300", "whole": "#56c4f5", "necrosis": "#f0e442", "cavity": "#f08bd8"}
DENSITY_THRESHOLD = 0.1
"""Densities below this share of capacity are not drawn."""

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))  # of LPS x, y, z: towards the negative and the positive end
_HALO = [patheffects.withStroke(linewidth=2.0, foreground="black", alpha=0.75)]
_INK = "#ffffff"


class Plane(StrEnum):
    """An anatomical plane."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


# LPS axis and sign of (through the plane, down the picture, to the right of the picture)
_VIEWS: dict[Plane, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    Plane.AXIAL: ((2, 1), (1, 1), (0, 1)),
    Plane.CORONAL: ((1, 1), (2, -1), (0, 1)),
    Plane.SAGITTAL: ((0, 1), (2, -1), (1, 1)),
}


@dataclass(frozen=True)
class Cut:
    """One slice of a grid, turned the way a radiologist hangs it.

    Parameters
    ----------
    grid : Grid
        What is cut.
    plane : Plane
        The anatomical plane that the slice is nearest to.
    index : int
        Which slice.
    axes : tuple of int
        Array axes (through the plane, down the picture, right in the picture).
    flips : tuple of bool
        Whether the picture runs against the array (down, right).
    """

    grid: Grid
    plane: Plane
    index: int
    axes: tuple[int, int, int]
    flips: tuple[bool, bool]

    def picture(self, array: NDArray[Any]) -> NDArray[Any]:
        """The slice of a (z, y, x) array on the grid, as (rows from the top, columns from the left)."""
        if array.shape != self.grid.shape:
            raise InputError(f"an array of shape {array.shape} is not on the grid of shape {self.grid.shape}")
        through, down, right = self.axes
        flat = np.take(array, self.index, axis=through)
        flat = flat if down < right else flat.T
        return flat[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def pixel(self, index: Sequence[int] | NDArray[Any]) -> tuple[float, float]:
        """(row, column) in the picture of a (z, y, x) index of the grid; the index across the plane is not used."""
        row, column = float(index[self.axes[1]]), float(index[self.axes[2]])
        rows, columns = self.grid.shape[self.axes[1]], self.grid.shape[self.axes[2]]
        return (rows - 1 - row if self.flips[0] else row), (columns - 1 - column if self.flips[1] else column)

    def place(self, row: float, column: float) -> NDArray[np.float64]:
        """World point (x, y, z) in LPS mm of a (row, column) in the picture: the way back from :meth:`pixel`."""
        index = np.empty(3)
        rows, columns = self.grid.shape[self.axes[1]], self.grid.shape[self.axes[2]]
        index[self.axes[0]] = self.index
        index[self.axes[1]] = rows - 1 - row if self.flips[0] else row
        index[self.axes[2]] = columns - 1 - column if self.flips[1] else column
        return self.grid.to_world(index)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge in mm from the picture's top left corner, as ``imshow`` takes them."""
        _, down, right = self.axes
        width = self.grid.shape[right] * self.grid.spacing[right]
        height = self.grid.shape[down] * self.grid.spacing[down]
        return 0.0, width, height, 0.0

    @property
    def _directions(self) -> NDArray[np.float64]:
        """Unit vectors (through, down, right) in LPS as the picture runs; rows."""
        columns = self.grid.affine[:3, :3] / np.linalg.norm(self.grid.affine[:3, :3], axis=0)
        through, down, right = (columns[:, axis] for axis in self.axes)
        return np.array([through, -down if self.flips[0] else down, -right if self.flips[1] else right])

    @property
    def letters(self) -> dict[str, str]:
        """Patient directions at the picture's edges: "left", "right", "top", "bottom" to one of R L A P I S.

        Of an oblique slice, the direction that dominates.
        """
        found = {}
        for (low, high), direction in zip((("top", "bottom"), ("left", "right")), self._directions[1:], strict=True):
            axis = int(np.argmax(np.abs(direction)))
            ends = _LETTERS[axis] if direction[axis] > 0 else _LETTERS[axis][::-1]
            found[low], found[high] = ends
        return found

    @property
    def obliquity(self) -> float:
        """Angle in degrees between the slice's normal and the plane's, 0 to 90."""
        axis = _VIEWS[self.plane][0][0]
        return float(np.degrees(np.arccos(min(abs(self._directions[0][axis]), 1.0))))

    @property
    def position(self) -> float:
        """LPS coordinate in mm, across the anatomical plane, of the slice's middle."""
        middle = (np.array(self.grid.shape) - 1) / 2
        middle[self.axes[0]] = self.index
        return float(self.grid.to_world(middle)[_VIEWS[self.plane][0][0]])

    @property
    def position_text(self) -> str:
        """Where the slice is, for people: ``axial S 34 mm`` is 34 mm towards the head of the frame's origin."""
        negative, positive = _LETTERS[_VIEWS[self.plane][0][0]]
        side = positive if self.position >= 0 else negative
        tilt = f", {self.obliquity:.0f}° oblique" if self.obliquity >= 2 else ""
        return f"{self.plane} {side} {abs(self.position):.0f} mm{tilt}"


def cut_at(grid: Grid, plane: Plane | str = Plane.AXIAL, position: float | None = None) -> Cut:
    """The slice of a grid nearest to a place.

    Parameters
    ----------
    grid : Grid
        In any orientation; the array axes are matched to the anatomical ones as a whole, by the product of their
        direction cosines.
    plane : Plane or str
        "axial", "coronal" or "sagittal".
    position : float, optional
        LPS coordinate in mm across the plane (z for axial, y for coronal, x for sagittal); the middle by default.

    Raises
    ------
    InputError
        If the plane is unknown or the position is outside the grid.
    """
    try:
        plane = Plane(plane)
    except ValueError:
        raise InputError(f"a plane is one of {', '.join(Plane)}, not {plane!r}") from None
    cosines = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)  # [world, array axis]
    array_axis_of = max(
        itertools.permutations(range(3)),
        key=lambda axes: np.prod([abs(cosines[world, axis]) for world, axis in enumerate(axes)]),
    )
    axes = tuple(array_axis_of[world] for world, _ in _VIEWS[plane])
    down, right = (bool(cosines[world, array_axis_of[world]] * sign < 0) for world, sign in _VIEWS[plane][1:])
    middle = Cut(grid, plane, (grid.shape[axes[0]] - 1) // 2, (axes[0], axes[1], axes[2]), (down, right))
    if position is None:
        return middle
    step = float(grid.affine[_VIEWS[plane][0][0], axes[0]])
    index = round(middle.index + (position - middle.position) / step)
    if not 0 <= index < grid.shape[axes[0]]:
        raise InputError(f"no {plane} slice at {position} mm: the grid does not reach there")
    return Cut(grid, plane, index, middle.axes, middle.flips)


def best_slice(grid: Grid, *regions: NDArray[Any], plane: Plane | str = Plane.AXIAL) -> Cut:
    """The slice that shows most of some regions: the largest sum of their areas.

    Parameters
    ----------
    grid : Grid
        Of the regions.
    *regions : (z, y, x) arrays
        Masks, or shares or densities >= 0.
    plane : Plane or str
        "axial", "coronal" or "sagittal".

    Raises
    ------
    InputError
        If there is nothing in the regions.
    """
    middle = cut_at(grid, plane)
    others = middle.axes[1:]
    area = np.sum([np.nansum(region, axis=others, dtype=float) for region in regions], axis=0)
    if not np.any(area > 0):
        raise InputError("no region has a voxel: there is no best slice; give a position to cut_at instead")
    return Cut(grid, middle.plane, int(np.argmax(area)), middle.axes, middle.flips)


def reslice_grid(grid: Grid, plane: Plane | str, position: float, spacing: float = 1.0) -> Grid:
    """A grid of one slice, exactly in an anatomical plane, that covers another grid.

    Resampled on it (:func:`tumortwin.imaging.resampling.resample`), oblique scans of several dates show the same plane.

    Parameters
    ----------
    grid : Grid
        What to cover.
    plane : Plane or str
        The plane.
    position : float
        LPS coordinate in mm across the plane.
    spacing : float
        Pixel edge in mm.

    Returns
    -------
    Grid
        Of shape (1, rows, columns), hung as a radiologist does.
    """
    view = _VIEWS[Plane(plane)]
    corners = np.array(list(itertools.product(*[(-0.5, n - 0.5) for n in grid.shape])))
    low, high = (getattr(grid.to_world(corners), side)(axis=0) for side in ("min", "max"))
    affine, shape = np.zeros((4, 4)), [1, 1, 1]
    affine[3, 3] = 1
    for column, (world, sign) in enumerate(view):
        affine[world, column] = sign * spacing
        affine[world, 3] = position
        if column:
            shape[column] = max(int(np.ceil((high[world] - low[world]) / spacing)), 1)
            affine[world, 3] = low[world] + spacing / 2 if sign > 0 else high[world] - spacing / 2
    return Grid((shape[0], shape[1], shape[2]), affine, grid.frame)


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
    """A bar of the largest of 5, 10, 20, 50 mm that takes at most 30 % of the width."""
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
