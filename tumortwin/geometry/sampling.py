"""Bringing images and masks onto the twin's grid once, as averages over its voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tumortwin.imaging.resampling import index_map
from tumortwin.imaging.volume import Grid, Volume

if TYPE_CHECKING:
    from tumortwin.geometry.displacement import Deformation


def to_itk(volume: Volume) -> sitk.Image:
    """Convert a volume to a SimpleITK image of the same values and place, float32 (uint8 for a mask)."""
    image = sitk.GetImageFromArray(volume.array.astype(np.uint8 if volume.array.dtype == bool else np.float32))
    spacing = volume.grid.spacing
    image.SetSpacing(spacing[::-1])
    image.SetDirection((volume.affine[:3, :3] / spacing)[:, ::-1].ravel())
    image.SetOrigin(volume.affine[:3, 3])
    return image


def average(
    volume: Volume,
    grid: Grid,
    transform: NDArray[np.float64] | None = None,
    *,
    fill: float = 0.0,
    displacement: Deformation | None = None,
) -> NDArray[np.float32]:
    """Mean of a volume over each voxel of a grid; of a mask, the share of the voxel that lies inside.

    The volume is interpolated linearly at points spaced no wider than its own voxels and averaged, so a fine mask keeps
    its volume on a coarse grid.

    Parameters
    ----------
    volume : Volume
        An image, or a mask (as its indicator function).
    grid : Grid
        Where to.
    transform : (4, 4) array, optional
        World of `grid` to world of `volume`. Without it both must share a frame of reference.
    fill : float
        Value outside the volume.
    displacement : Deformation, optional
        Applied to points of `grid` before the transform.

    Returns
    -------
    (z, y, x) float32 array
        In the unit of the volume; of a mask 0..1.

    Raises
    ------
    InputError
        If no transform is given and the frames of reference differ.
    """
    matrix = index_map(volume.grid, grid, transform)
    if displacement is not None:
        return _bent_average(volume.array, matrix, grid, fill, displacement)
    if volume.array.dtype == bool and fill == 0:
        return _share(volume, grid, matrix)
    return _average(volume.array, matrix, grid.shape, fill)


def _share(mask: Volume, grid: Grid, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Only what the box around a mask can reach is computed."""
    share = np.zeros(grid.shape, np.float32)
    found = np.argwhere(mask.array)
    if len(found) == 0:
        return share
    low, high = found.min(0) - 1, found.max(0) + 1
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    inverse = np.linalg.inv(matrix)
    there = corners @ inverse[:3, :3].T + inverse[:3, 3]
    start = np.clip(np.floor(there.min(0)), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(there.max(0)) + 1, start, grid.shape).astype(int)
    if (stop == start).any():
        return share
    local = matrix.copy()
    local[:3, 3] += matrix[:3, :3] @ start
    size = (int(stop[0] - start[0]), int(stop[1] - start[1]), int(stop[2] - start[2]))
    share[box_slices(start, stop)] = _average(mask.array, local, size, 0.0)
    return share


def box_slices(start: ArrayLike, stop: ArrayLike) -> tuple[slice, slice, slice]:
    """Build the slices from one corner of a box to the other."""
    (a, b, c), (d, e, f) = np.asarray(start, int).tolist(), np.asarray(stop, int).tolist()
    return slice(a, d), slice(b, e), slice(c, f)


def _average(
    array: NDArray, matrix: NDArray[np.float64], target: tuple[int, int, int], fill: float
) -> NDArray[np.float32]:
    points = _points_per_voxel(matrix)
    # index of sub-point s of target voxel i is i + (s + 1/2) / n - 1/2
    fine = matrix.copy()
    fine[:3, :3] = matrix[:3, :3] / points
    fine[:3, 3] = matrix[:3, 3] + matrix[:3, :3] @ (0.5 / points - 0.5)
    shape = tuple(int(n * k) for n, k in zip(target, points, strict=True))
    values = ndimage.affine_transform(
        array.astype(np.float32),
        fine[:3, :3],
        fine[:3, 3],
        output_shape=shape,
        order=1,
        mode="grid-constant",
        cval=fill,
        output=np.float32,
    )
    z, y, x = target
    a, b, c = points
    return values.reshape(z, a, y, b, x, c).mean((1, 3, 5))


def _points_per_voxel(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """Along each axis of the target; 6 stands for a 1 mm image on a 6 mm grid."""
    return np.clip(np.ceil(np.abs(matrix[:3, :3]).max(0) - 0.01), 1, 6).astype(int)


def _bent_average(
    array: NDArray, matrix: NDArray[np.float64], grid: Grid, fill: float, displacement: Deformation
) -> NDArray[np.float32]:
    """As `_average`, with points displaced first; one set of points within the voxels after the other."""
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in _points_per_voxel(matrix)]
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in grid.shape], indexing="ij"), axis=-1)
    to_index = np.linalg.inv(grid.affine[:3, :3])
    # the displacement hardly changes within a voxel: it is looked up at the centers
    index += displacement.at(grid.to_world(index)) @ to_index.T
    values = array.astype(np.float32)
    total = np.zeros(grid.shape, np.float32)
    offsets = [(a, b, c) for a in steps[0] for b in steps[1] for c in steps[2]]
    for offset in offsets:
        there = (index + offset) @ matrix[:3, :3].T + matrix[:3, 3]
        total += ndimage.map_coordinates(
            values, np.moveaxis(there, -1, 0), order=1, mode="grid-constant", cval=fill, output=np.float32
        )
    return total / np.float32(len(offsets))


def covered(
    source: Grid, grid: Grid, transform: NDArray[np.float64] | None = None, displacement: Deformation | None = None
) -> NDArray[np.bool_]:
    """Voxels of `grid` whose centre lies inside the field of view of `source`."""
    matrix = index_map(source, grid, transform)
    inside = np.ones(grid.shape, bool)
    if displacement is not None:
        bent = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in grid.shape], indexing="ij"), axis=-1)
        bent += displacement.at(grid.to_world(bent)) @ np.linalg.inv(grid.affine[:3, :3]).T
        there = bent @ matrix[:3, :3].T + matrix[:3, 3]
        return np.all((there >= -0.5) & (there <= np.array(source.shape) - 0.5), axis=-1)
    axes = np.ogrid[tuple(slice(n) for n in grid.shape)]
    for row, size in zip(matrix[:3], source.shape, strict=True):
        index = row[3] + sum(step * axis for step, axis in zip(row[:3], axes, strict=True))
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return inside


def isotropic(volume: Volume, spacing: float) -> Volume:
    """Smooth and thin a volume so that no axis is finer than about `spacing` mm, for one level of an image pyramid.

    Each axis is thinned by a whole number; coarser axes stay as they are.
    """
    steps = [max(1, round(spacing / own)) for own in volume.grid.spacing]
    if max(steps) == 1:
        return volume.with_array(volume.array.astype(np.float32))
    # sigma of half the new spacing: little aliasing, little loss
    sigma = [0.5 * step if step > 1 else 0 for step in steps]
    smooth = ndimage.gaussian_filter(volume.array.astype(np.float32), sigma, mode="nearest")
    affine = volume.affine.copy()
    affine[:3, :3] *= steps
    starts = [(n - 1) % step // 2 for n, step in zip(volume.grid.shape, steps, strict=True)]
    affine[:3, 3] = volume.grid.to_world(starts)
    array = np.ascontiguousarray(smooth[tuple(slice(a, None, b) for a, b in zip(starts, steps, strict=True))])
    return Volume(array, Grid(array.shape, affine, volume.frame), volume.unit, volume.name)
