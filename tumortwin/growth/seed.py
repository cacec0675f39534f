"""A smooth ellipsoid of tumor: the state that a growth history is begun from, and its derivatives by its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm, expm_frechet
from scipy.special import expit

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.imaging.volume import Grid

SEED_NUMBERS = (
    "center_x",
    "center_y",
    "center_z",
    "radius",
    "shape_xx",
    "shape_yy",
    "shape_xy",
    "shape_xz",
    "shape_yz",
    "width",
    "peak",
)
"""Names of the numbers of :func:`ellipsoid_seed`."""


def shape_matrix(numbers: ArrayLike) -> NDArray[np.float64]:
    """Build the traceless symmetric matrix of five numbers: the log of an ellipsoid's axes over its mean radius."""
    xx, yy, xy, xz, yz = np.asarray(numbers, float)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, -xx - yy]])


def shape_numbers(matrix: NDArray[np.float64]) -> tuple[float, ...]:
    """Extract the five numbers of a symmetric matrix's traceless part."""
    m = matrix - np.eye(3) * np.trace(matrix) / 3
    return float(m[0, 0]), float(m[1, 1]), float(m[0, 1]), float(m[0, 2]), float(m[1, 2])


def ellipsoid_distance(grid: Grid, center: ArrayLike, shape: ArrayLike = (0, 0, 0, 0, 0)) -> NDArray[np.float64]:
    """Distance of each voxel from a center after undoing an ellipsoid's shape: |exp(-A) x|, mm.

    Parameters
    ----------
    grid : Grid
        The voxels.
    center : (3,) array
        World point (x, y, z) in LPS mm.
    shape : (5,) array
        A_xx, A_yy, A_xy, A_xz, A_yz of the symmetric traceless matrix A, along the world's axes.

    Returns
    -------
    (z, y, x) array
        mm. Surfaces of equal distance are ellipsoids of the volume of the sphere of that radius.
    """
    return np.sqrt(sum(part**2 for part in _undone(grid, center, expm(-shape_matrix(shape)))))


def ellipsoid_seed(
    domain: Domain,
    center: ArrayLike,
    radius: float,
    *,
    shape: ArrayLike = (0, 0, 0, 0, 0),
    width: float = 2.0,
    peak: float = 1.0,
) -> NDArray[np.float64]:
    """Density of an ellipsoid with a logistic front: peak / (1 + exp((r - radius) / width)).

    It is a smooth function of all its numbers. r is the distance from the center after undoing the shape: |exp(-A) x|,
    where A is the symmetric traceless matrix of `shape`, so the volume stays that of the sphere.

    Parameters
    ----------
    domain : Domain
        Where cells can be; elsewhere the density is 0.
    center : (3,) array
        World point (x, y, z) in LPS mm.
    radius : float
        Radius of the sphere of equal volume, mm, where the density is peak / 2.
    shape : (5,) array
        A_xx, A_yy, A_xy, A_xz, A_yz: logarithms of how the axes are stretched. All 0 is a sphere; (0.3, -0.15, 0, 0, 0)
        is longer along x by exp(0.3) and shorter along y and z by exp(-0.15).
    width : float
        Decay length of the front, mm, > 0.
    peak : float
        Density deep inside, 0..1.

    Returns
    -------
    (z, y, x) array
        Cell density.

    Raises
    ------
    InputError
        If a number is not finite or out of its range.
    """
    _check(center, radius, shape, width, peak)
    return peak * expit((radius - ellipsoid_distance(domain.grid, center, shape)) / width) * domain.mask


def ellipsoid_seed_tangents(
    domain: Domain,
    center: ArrayLike,
    radius: float,
    *,
    shape: ArrayLike = (0, 0, 0, 0, 0),
    width: float = 2.0,
    peak: float = 1.0,
    by: Sequence[str] = SEED_NUMBERS,
) -> dict[str, NDArray[np.float64]]:
    """Compute the derivatives of :func:`ellipsoid_seed` by its numbers, as `initial_tangents` of a solve.

    At the center itself, where the distance has no derivative by place, that by the center is 0.

    Parameters
    ----------
    domain, center, radius, shape, width, peak
        As for :func:`ellipsoid_seed`.
    by : sequence of str
        Which numbers, of :data:`SEED_NUMBERS`; all if not given.

    Returns
    -------
    dict of str to (z, y, x) array
        Density per mm (center, radius, width) or per 1 (shape, peak).

    Raises
    ------
    InputError
        If a number is not finite or out of its range, or a name is unknown.
    """
    _check(center, radius, shape, width, peak)
    for name in by:
        if name not in SEED_NUMBERS:
            raise InputError(f"{name!r} is no number of a seed: choose from {', '.join(SEED_NUMBERS)}")
    matrix = shape_matrix(shape)
    undo = expm(-matrix)
    parts = _undone(domain.grid, center, undo)
    distance = np.sqrt(sum(part**2 for part in parts))
    inside = expit((radius - distance) / width) * domain.mask
    by_radius = peak * inside * (1 - inside) / width
    outward = [part / np.maximum(distance, 1e-300) for part in parts]  # derivative of the distance by each part

    def derivative(name: str) -> NDArray[np.float64]:
        if name.startswith("center"):
            column = undo[:, "xyz".index(name[-1])]
            return by_radius * sum(n * c for n, c in zip(outward, column, strict=True))
        if name.startswith("shape"):
            unit = np.eye(5)[SEED_NUMBERS.index(name) - SEED_NUMBERS.index("shape_xx")]
            change = expm_frechet(-matrix, -shape_matrix(unit), compute_expm=False) @ expm(matrix)
            return -by_radius * sum(
                n * sum(c * part for c, part in zip(row, parts, strict=True))
                for n, row in zip(outward, change, strict=True)
            )
        if name == "width":
            return by_radius * (distance - radius) / width
        return by_radius if name == "radius" else inside

    return {name: derivative(name) for name in by}


def _undone(grid: Grid, center: ArrayLike, undo: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """x, y and z of each voxel's offset from the center, after undoing the shape."""
    # the undone offset is linear in the index: three small products instead of one large array of points
    steps = undo @ grid.affine[:3, :3]
    origin = undo @ (grid.affine[:3, 3] - np.asarray(center, float))
    z, y, x = np.ogrid[tuple(slice(n) for n in grid.shape)]
    return [origin[k] + steps[k, 0] * z + steps[k, 1] * y + steps[k, 2] * x for k in range(3)]


def _check(center: ArrayLike, radius: float, shape: ArrayLike, width: float, peak: float) -> None:
    if np.size(center) != 3 or np.size(shape) != 5:
        raise InputError(f"a seed has 3 numbers as center and 5 as shape, not {np.size(center)} and {np.size(shape)}")
    numbers = np.array([*np.ravel(center), radius, *np.ravel(shape), width, peak], float)
    if not np.isfinite(numbers).all() or radius <= 0 or width <= 0 or not 0 <= peak <= 1:
        raise InputError(
            "a seed has finite numbers, radius > 0 and width > 0 in mm and a peak of 0..1, not "
            f"center {center!r}, radius {radius}, shape {shape!r}, width {width}, peak {peak}"
        )
