"""Bringing an image onto another grid, once."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid, Mask, Volume

AnyVolume = TypeVar("AnyVolume", bound=Volume)


def index_map(source: Grid, target: Grid, transform: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Compute the 4x4 matrix that takes an index of `target` to a fractional index of `source`.

    Parameters
    ----------
    source, target : Grid
        From and to where.
    transform : (4, 4) array, optional
        Takes a world point of `target` to the world point of `source` that shows the same tissue (the convention of
        ITK's resampler). Without it both must share a frame of reference.

    Raises
    ------
    InputError
        If no transform is given and the frames of reference differ.
    """
    if transform is None:
        if source.frame != target.frame:
            raise InputError(
                f"the images are in different frames of reference ({source.frame} and {target.frame}): "
                "register them and give the transform"
            )
        transform = np.eye(4)
    return np.linalg.inv(source.affine) @ transform @ target.affine


def resample(
    volume: AnyVolume, grid: Grid, transform: NDArray[np.float64] | None = None, *, order: int = 1, fill: float = 0.0
) -> AnyVolume:
    """Interpolate a volume on another grid.

    A mask is interpolated as its indicator function and cut at one half, so that its edge moves by less than a voxel.

    Parameters
    ----------
    volume : Volume
        What to resample.
    grid : Grid
        Where to.
    transform : (4, 4) array, optional
        World of `grid` to world of `volume`; see :func:`index_map`.
    order : int
        0 nearest neighbour, 1 linear, 3 cubic B-spline.
    fill : float
        Value outside the volume.

    Returns
    -------
    Volume
        Of the same type, on `grid`; float32 unless it is a mask.
    """
    from scipy import ndimage  # a quarter of a second that reading an image on its own grid should not cost

    matrix = index_map(volume.grid, grid, transform)
    is_mask = isinstance(volume, Mask)
    # "grid-constant" blends into the fill over the last voxel; "constant" would drop the outermost voxels whenever
    # rounding puts them 1e-12 outside
    values = ndimage.affine_transform(
        volume.array.astype(np.float32),
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=grid.shape,
        order=order,
        mode="grid-constant",
        cval=fill,
        output=np.float32,
    )
    return volume.with_array(values >= 0.5 if is_mask else values, grid=grid)
