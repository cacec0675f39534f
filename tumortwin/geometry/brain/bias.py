"""Slow intensity fields of the receive coils, estimated from tissue whose signal should be even."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.resampling import index_map
from tumortwin.imaging.volume import Grid, Volume

DEGREE = 3
PURE = 0.8
"""Share of white or grey matter from which on a voxel is taken for pure."""


def polynomials(grid: Grid, world: ArrayLike, degree: int = DEGREE) -> NDArray[np.float64]:
    """Products of powers of the position relative to a grid's center and half size, total degree 1 to `degree`.

    Parameters
    ----------
    grid : Grid
        Spans -1 to 1 along its axes; points outside it take the value at its border, so that a field fitted inside
        does not run away.
    world : (..., 3) array
        Points (x, y, z) in LPS mm.

    Returns
    -------
    (..., n) array
        Without the constant.
    """
    half = np.maximum((np.array(grid.shape) - 1) / 2, 0.5)
    z, y, x = np.moveaxis(np.clip(grid.to_index(world) / half - 1, -1, 1), -1, 0)
    powers = [
        (i, j, k)
        for i in range(degree + 1)
        for j in range(degree + 1)
        for k in range(degree + 1)
        if 0 < i + j + k <= degree
    ]
    return np.stack([z**i * y**j * x**k for i, j, k in powers], axis=-1)


def field_at(
    grid: Grid, coefficients: NDArray[np.float64], target: Grid, transform: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Evaluate a fitted log field on another grid.

    Parameters
    ----------
    grid : Grid
        That the polynomials refer to.
    coefficients : (n,) array
        Of :func:`polynomials`.
    target : Grid
        Where to.
    transform : (4, 4) array, optional
        World of `grid` to world of `target`.
    """
    inverse = np.eye(4) if transform is None else np.linalg.inv(transform)
    # a cubic over a head is smooth: points 8 mm apart and straight lines between them err by a thousandth
    steps = np.array([max(1, int(8 / s)) for s in target.spacing])
    shape = [-(-(n - 1) // step) + 1 for n, step in zip(target.shape, steps, strict=True)]
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1) * steps
    world = target.to_world(index) @ inverse[:3, :3].T + inverse[:3, 3]
    coarse = polynomials(grid, world) @ coefficients
    return ndimage.affine_transform(
        coarse, 1 / steps, output_shape=target.shape, order=1, mode="nearest", output=np.float32
    )


def flatten(
    volume: Volume,
    grid: Grid,
    white: NDArray[np.float32],
    grey: NDArray[np.float32],
    exclude: NDArray[np.bool_] | None = None,
    transform: NDArray[np.float64] | None = None,
    *,
    pure: float = PURE,
) -> Volume:
    """Take the slow field out of an MR image and scale it so that white matter is 1.

    log(image) = log(signal of white or grey matter) + polynomial of degree 3 is fitted to voxels that are nearly pure,
    by least squares with outliers (beyond 2.5 standard deviations) dropped. With the tissue known, even roughly from an
    atlas, this is steadier than a blind correction, on strong fields too: docs/geometry/brain.md has N4 (Tustison et
    al. 2010, doi:10.1109/TMI.2010.2046908) beside it.

    Parameters
    ----------
    volume : Volume
        The image, >= 0.
    grid : Grid
        Grid of the tissue maps.
    white, grey : (z, y, x) arrays
        Shares of white and grey matter on `grid`.
    exclude : (z, y, x) bool array, optional
        Voxels of `grid` not to trust: the tumor.
    transform : (4, 4) array, optional
        World of `grid` to world of the image.
    pure : float
        Share from which on a voxel counts as pure, 0..1; lower for the shares of an atlas.

    Returns
    -------
    Volume
        In units of white matter's signal ("1").

    Raises
    ------
    InputError
        If the image shows almost no white or grey matter.
    """
    known = np.maximum(white, grey) > pure
    if exclude is not None:
        known &= ~exclude
    index = np.argwhere(known)
    # 30,000 voxels determine 21 numbers well
    index = index[:: max(1, len(index) // 30_000)]
    there = index @ (matrix := index_map(volume.grid, grid, transform))[:3, :3].T + matrix[:3, 3]
    values = ndimage.map_coordinates(volume.array.astype(np.float32), there.T, order=1)
    shown = values > 0.05 * values.mean()
    index, values = index[shown], values[shown]
    is_white = white[tuple(index.T)] > pure
    if is_white.sum() < 200 or (~is_white).sum() < 200:
        raise InputError(
            f"{volume.name or 'image'}: it shows no brain where the reference has it "
            f"({is_white.sum()} voxels of white, {(~is_white).sum()} of grey matter)"
        )
    fit = fit_field(np.log(values, dtype=float), is_white, polynomials(grid, grid.to_world(index)))
    field = field_at(grid, fit[2:], volume.grid, transform)
    gain = np.exp(field + fit[0], dtype=float).astype(np.float32)
    return volume.with_array(volume.array / gain, unit="1")


def fit_field(
    signal: NDArray[np.floating], is_white: NDArray[np.bool_], basis: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares of log signals by tissue and polynomials, outliers dropped.

    Parameters
    ----------
    signal : (n,) array
        Log signal of voxels of white or grey matter.
    is_white : (n,) bool array
        Which of the two.
    basis : (n, m) array
        :func:`polynomials` there.

    Returns
    -------
    (2 + m,) array
        Log signal of white and of grey matter, and the coefficients of the field.
    """
    columns = np.column_stack([is_white, ~is_white, basis])
    keep = np.ones(len(signal), bool)
    for _ in range(6):
        fit = np.linalg.lstsq(columns[keep], signal[keep], rcond=None)[0]
        residual = signal - columns @ fit
        keep = np.abs(residual) < 2.5 * 1.4826 * np.median(np.abs(residual[keep]))
    return fit
