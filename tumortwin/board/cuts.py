"""Where to cut a patient, always in radiological convention: patient right on image left, from the affine.

What to draw in a cut is in :mod:`tumortwin.board.slices`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))  # of LPS x, y, z: towards the negative and the positive end


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
        """Extract the slice from a (z, y, x) array on the grid, as (rows from the top, columns from the left)."""
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
    """Find the slice of a grid nearest to a position.

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
    """Find the slice that shows most of some regions: the largest sum of their areas.

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
    """Build a grid of one slice, exactly in an anatomical plane, that covers another grid.

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
