"""A smooth ellipsoid of tumor: the state that a growth history is begun from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm
from scipy.special import expit

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain


def ellipsoid_seed(domain: Domain, center: ArrayLike, radius: float, *, shape: ArrayLike = (0, 0, 0, 0, 0),
                   width: float = 2.0, peak: float = 1.0) -> NDArray[np.float64]:
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
    numbers = np.array([*np.ravel(center), radius, *np.ravel(shape), width, peak], float)
    if numbers.shape != (11,):
        raise InputError(f"a seed has 3 numbers as center and 5 as shape, not {np.size(center)} and {np.size(shape)}")
    if not np.isfinite(numbers).all() or radius <= 0 or width <= 0 or not 0 <= peak <= 1:
        raise InputError("a seed has finite numbers, radius > 0 and width > 0 in mm and a peak of 0..1, not "
                         f"center {center!r}, radius {radius}, shape {shape!r}, width {width}, peak {peak}")
    xx, yy, xy, xz, yz = numbers[4:9]
    undo = expm(-np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, -xx - yy]]))
    grid = domain.grid
    # the undone offset is linear in the index: three small products instead of one large array of points
    steps = undo @ grid.affine[:3, :3]
    origin = undo @ (grid.affine[:3, 3] - numbers[:3])
    z, y, x = np.ogrid[tuple(slice(n) for n in grid.shape)]
    squared = sum((origin[k] + steps[k, 0] * z + steps[k, 1] * y + steps[k, 2] * x) ** 2 for k in range(3))
    return peak * expit((radius - np.sqrt(squared)) / width) * domain.mask
