"""Editing a mask by hand: strokes of a brush, growing, filling between slices.

Functions take a mask and give another; :class:`~tumortwin.geometry.editing.history.Edited` remembers what was changed.
Places are world points (x, y, z) in LPS mm and sizes are mm, so the same stroke means the same tissue on any grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.sampling import box_slices
from tumortwin.imaging.volume import Grid, Mask, Volume

_NEIGHBORS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Stroke:
    """A brush drawn through the patient.

    Parameters
    ----------
    points : (n, 3) array
        Where the brush's middle went, (x, y, z) in LPS mm; straight lines in between.
    radius_mm : float
        Of the brush. However small, the voxels that the line passes through are painted.
    axis : int, optional
        The array axis across which the brush is flat: a disc in the slice where the stroke begins. Without it, a ball.

    Raises
    ------
    InputError
        If there is no finite point, the radius is not positive, or there is no such axis.
    """

    points: NDArray[np.float64]
    radius_mm: float
    axis: int | None = None

    def __post_init__(self) -> None:
        points = np.atleast_2d(np.array(self.points, np.float64))
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
            raise InputError(f"a stroke has finite points (x, y, z) in mm, not {self.points}")
        if not 0 < self.radius_mm < np.inf:
            raise InputError(f"a brush has a radius above 0 mm, not {self.radius_mm}")
        if self.axis not in (None, 0, 1, 2):
            raise InputError(f"a flat brush lies across the array axis 0, 1 or 2, not {self.axis}")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)

    def voxels(self, grid: Grid) -> NDArray[np.bool_]:
        """Find the voxels that the line passes through, or that have their center within the radius of it.

        Returns
        -------
        (z, y, x) bool array
            Empty where the stroke is outside the grid.
        """
        touched = np.zeros(grid.shape, bool)
        path = grid.to_index(self.points)
        if self.axis is not None:
            path[:, self.axis] = np.round(path[0, self.axis])
        # how many voxels along each axis a ball of that radius spans
        reach = self.radius_mm * np.linalg.norm(np.linalg.inv(grid.affine[:3, :3]), axis=1)
        if self.axis is not None:
            reach[self.axis] = 0.0
        for a, b in zip(path, path[min(1, len(path) - 1) :], strict=False):
            self._segment(touched, grid, a, b, reach)
        return touched

    def _segment(
        self,
        touched: NDArray[np.bool_],
        grid: Grid,
        a: NDArray[np.float64],
        b: NDArray[np.float64],
        reach: NDArray[np.float64],
    ) -> None:
        start = np.clip(np.ceil(np.minimum(a, b) - reach - 1e-9), 0, grid.shape).astype(int)
        stop = np.clip(np.floor(np.maximum(a, b) + reach + 1e-9) + 1, start, grid.shape).astype(int)
        if (stop > start).all():
            box = box_slices(start, stop)
            axes = np.meshgrid(*(np.arange(i, j) for i, j in zip(start, stop, strict=True)), indexing="ij")
            centers = grid.to_world(np.stack(axes, axis=-1))
            first, last = grid.to_world(a), grid.to_world(b)
            along = last - first
            length = float(along @ along)
            part = np.clip((centers - first) @ along / length, 0, 1) if length else np.zeros(centers.shape[:3])
            nearest = first + part[..., None] * along
            touched[box] |= ((centers - nearest) ** 2).sum(-1) <= (self.radius_mm * (1 + 1e-9)) ** 2
        steps = int(np.ceil(2 * np.abs(b - a).max())) + 1
        passed = np.round(a + np.linspace(0, 1, steps)[:, None] * (b - a)).astype(int)
        passed = passed[((passed >= 0) & (passed < grid.shape)).all(1)]
        touched[tuple(passed.T)] = True


def paint(mask: Mask, stroke: Stroke) -> Mask:
    """Add the voxels that a stroke covers to a mask."""
    return mask.with_array(mask.array | stroke.voxels(mask.grid))


def erase(mask: Mask, stroke: Stroke) -> Mask:
    """Remove the voxels that a stroke covers from a mask."""
    return mask.with_array(mask.array & ~stroke.voxels(mask.grid))


def grow_region(
    image: Volume, point: ArrayLike, tolerance_sd: float = 1.0, *, reach_mm: float = 30.0, axis: int | None = None
) -> Mask:
    """Grow a region of similar values from a point.

    The image's values within `tolerance_sd` standard deviations of the place's own (a mean over the voxels next to
    it), connected to it by faces, within `reach_mm`. The standard deviation is a robust one (1.4826 times the median
    absolute deviation) of the values within reach: how much the image varies there.

    Parameters
    ----------
    image : Volume
        Any unit.
    point : (3,) array
        Where to begin, (x, y, z) in LPS mm.
    tolerance_sd : float
        See above.
    reach_mm : float
        Nothing grows farther than this from the place.
    axis : int, optional
        Stay in the slice across this array axis.

    Returns
    -------
    Mask
        On the image's grid.

    Raises
    ------
    InputError
        If the place is outside the image, the image is constant around it, or a number is not positive.
    """
    if not (tolerance_sd > 0 and reach_mm > 0):
        raise InputError(f"tolerance and reach are above 0, not {tolerance_sd} SD and {reach_mm} mm")
    index = index_inside(image.grid, point)
    near = Stroke(np.asarray(point, float), reach_mm, axis).voxels(image.grid)
    box = bounding_box(near)
    values, near = image.array[box].astype(np.float64), near[box]
    at = tuple(i - s.start for i, s in zip(index, box, strict=True))
    good = near & np.isfinite(values)
    if not good[at]:
        raise InputError(f"{image.name or 'the image'} has no value at {place_text(point)} mm: click elsewhere")
    spread = 1.4826 * float(np.median(np.abs(values[good] - np.median(values[good])))) or float(np.std(values[good]))
    if spread == 0:
        raise InputError(
            f"{image.name or 'the image'} is constant within {reach_mm:g} mm of "
            f"{place_text(point)} mm: nothing can be told apart there"
        )
    beside = tuple(slice(max(i - (k != axis), 0), i + (k != axis) + 1) for k, i in enumerate(at))
    own = float(values[beside][good[beside]].mean())
    alike = good & (np.abs(values - own) <= tolerance_sd * spread)
    alike[at] = True
    labels, _ = ndimage.label(alike)
    grown = np.zeros(image.grid.shape, bool)
    grown[box] = labels == labels[at]
    return Mask(grown, image.grid)


def interpolate(mask: Mask, axis: int, drawn: Sequence[int] | None = None) -> Mask:
    """Fill the slices between drawn ones by their shape.

    Each slice in between is where the signed distances (mm, positive inside) to the outlines of its two drawn
    neighbors, laid on each other's centers and weighted by nearness, sum to more than 0.

    Parameters
    ----------
    mask : Mask
        Drawn in some slices.
    axis : int
        The array axis across the slices.
    drawn : sequence of int, optional
        Slices that are taken as drawn; what lies between them is replaced. By default all that hold something, so that
        only empty slices are filled.

    Returns
    -------
    Mask
        Drawn slices stay as they are.

    Raises
    ------
    InputError
        If there are not two drawn slices with something in them, or no such axis.

    References
    ----------
    Raya & Udupa 1990, doi:10.1109/42.52980; laid on centers: Herman et al. 1992, doi:10.1109/38.135915.
    """
    if axis not in (0, 1, 2):
        raise InputError(f"slices lie across the array axis 0, 1 or 2, not {axis}")
    planes = np.moveaxis(mask.array, axis, 0).copy()
    spacing = [h for k, h in enumerate(mask.grid.spacing) if k != axis]
    chosen = np.flatnonzero(planes.any((1, 2))) if drawn is None else np.unique(drawn)
    if len(chosen) < 2 or chosen[0] < 0 or chosen[-1] >= len(planes) or not planes[chosen].any((1, 2)).all():
        raise InputError(
            f"interpolation goes between two or more slices with something drawn in them, not "
            f"{list(map(int, chosen))}: draw the first and the last slice, and some in between"
        )
    for low, high in itertools.pairwise(chosen.tolist()):
        if high - low > 1:
            planes[low + 1 : high] = _between(planes[low], planes[high], high - low, spacing)
    return mask.with_array(np.moveaxis(planes, 0, axis))


def _between(first: NDArray[np.bool_], last: NDArray[np.bool_], steps: int, spacing: list[float]) -> NDArray[np.bool_]:
    """Interpolate the `steps` - 1 slices between two drawn ones."""
    ends = np.array([ndimage.center_of_mass(first), ndimage.center_of_mass(last)])
    # room for both shapes wherever they are shifted to
    room = np.ceil(np.abs(ends[1] - ends[0])).astype(int) + 1
    pad = [(n, n) for n in room]
    distances = [_signed_distance(np.pad(shape, pad), spacing) for shape in (first, last)]
    inner = tuple(slice(n, -n) for n in room)
    filled = []
    for k in range(1, steps):
        t = k / steps
        middle = (1 - t) * ends[0] + t * ends[1]
        value = sum(
            weight * ndimage.shift(distance, middle - end, order=1, mode="nearest")
            for weight, distance, end in zip((1 - t, t), distances, ends, strict=True)
        )
        filled.append((value > 0)[inner])
    return np.array(filled)


def _signed_distance(shape: NDArray[np.bool_], spacing: list[float]) -> NDArray[np.float64]:
    """Distance in mm to the outline of a shape, half a voxel beyond its outermost centers; positive inside."""
    half = 0.5 * min(spacing)
    outside = ndimage.distance_transform_edt(~shape, sampling=spacing)
    # the array's edge is no outline
    inside = ndimage.distance_transform_edt(np.pad(shape, 1), sampling=spacing)[1:-1, 1:-1]
    return np.where(shape, inside - half, half - outside)


def without_small_pieces(mask: Mask, smallest_ml: float = 0.1) -> Mask:
    """Remove the connected pieces (by faces, edges or corners) of a mask that are below a volume in mL."""
    labels, sizes = _pieces(mask)
    keep = np.concatenate([[False], sizes * mask.grid.voxel_volume / 1000 >= smallest_ml])
    return mask.with_array(keep[labels])


def without_piece(mask: Mask, point: ArrayLike) -> Mask:
    """Remove the connected piece of a mask at a world point in LPS mm.

    Raises
    ------
    InputError
        If no piece is there.
    """
    index = index_inside(mask.grid, point)
    if not mask.array[index]:
        raise InputError(f"no piece of the mask is at {place_text(point)} mm: click on one")
    labels, _ = _pieces(mask)
    return mask.with_array(mask.array & (labels != labels[index]))


def fill_holes(mask: Mask, axis: int | None = None) -> Mask:
    """Fill what a mask encloses: in space, or with `axis` in each slice across that array axis."""
    if axis is None:
        return mask.with_array(ndimage.binary_fill_holes(mask.array))
    structure = np.moveaxis(ndimage.generate_binary_structure(2, 1)[None], 0, axis)
    return mask.with_array(ndimage.binary_fill_holes(mask.array, structure))


def _pieces(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    labels, count = ndimage.label(mask.array, _NEIGHBORS)
    return labels, np.bincount(labels.ravel(), minlength=count + 1)[1:]


def index_inside(grid: Grid, point: ArrayLike) -> tuple[int, int, int]:
    """Find the voxel (z, y, x) at a world point in LPS mm.

    Raises
    ------
    InputError
        If the point is outside the grid.
    """
    place = np.asarray(point, float)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InputError(f"a place is (x, y, z) in LPS mm, not {point!r}")
    z, y, x = np.round(grid.to_index(place)).astype(int).tolist()
    if not all(0 <= i < n for i, n in zip((z, y, x), grid.shape, strict=True)):
        raise InputError(
            f"{place_text(place)} mm (x, y, z) is outside the image, which is centered on "
            f"{place_text(grid.center)} mm: give a place inside it"
        )
    return z, y, x


def place_text(point: ArrayLike) -> str:
    """Format a world point for people to read, to a tenth of a mm."""
    return "(" + ", ".join(f"{c:.1f}" for c in np.asarray(point, float)) + ")"


def bounding_box(array: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Find the smallest box that holds all true voxels of a (z, y, x) array; an empty box if there are none."""
    sides = []
    for axis in range(3):
        found = np.flatnonzero(array.any(tuple(k for k in range(3) if k != axis)))
        sides.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0))
    return sides[0], sides[1], sides[2]


def tight(mask: Mask, margin: int = 3) -> Mask:
    """Crop a mask to what it holds, with some voxels around: its size stays the same and is quicker to measure."""
    box = bounding_box(mask.array)
    return (
        mask.cropped(
            (
                slice(max(box[0].start - margin, 0), box[0].stop + margin),
                slice(max(box[1].start - margin, 0), box[1].stop + margin),
                slice(max(box[2].start - margin, 0), box[2].stop + margin),
            )
        )
        if mask.array.any()
        else mask
    )
