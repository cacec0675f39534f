"""Where in a head the tumor grows: the solver's grid, its tissues and what stops cells."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid
from tumortwin.phantom.anatomy import MNI_TO_LPS, Anatomy, grid_axes

_REACH = 54.0  # mm from the seed to the solver's walls


@dataclass(frozen=True, eq=False)
class Host:
    """The part of a head that a tumor can reach.

    Parameters
    ----------
    anatomy : Anatomy
        The head, with the sulci around the tumor effaced.
    grid : Grid
        The solver's, axis-aligned and cubic, in the head's world.
    points : (3, z, y, x) array
        World x, y, z of its voxels, mm.
    white, grey : (z, y, x) arrays
        Tissue shares.
    mask : (z, y, x) bool array
        Where cells can be.
    site : (3,) array
        World point of the seed, mm.
    """

    anatomy: Anatomy
    grid: Grid
    points: NDArray[np.float32]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    mask: NDArray[np.bool_]
    site: NDArray[np.float64]


def world_points(grid: Grid) -> NDArray[np.float32]:
    """World x, y, z (3, z, y, x) of an axis-aligned grid's voxels, mm."""
    return np.stack(np.meshgrid(*grid_axes(grid), indexing="ij"))[::-1].astype(np.float32)


def make_host(anatomy: Anatomy, site: tuple[float, float, float], spacing: float) -> Host:
    """Prepare a head for a tumor.

    Parameters
    ----------
    anatomy : Anatomy
        The head.
    site : (3,) tuple
        Where the tumor starts, MNI mm; moved to the nearest white matter.
    spacing : float
        Voxel edge of the solver's grid in mm.

    Raises
    ------
    InputError
        If no white matter is within 12 mm of the site.
    """
    home = _nearest_white(anatomy, anatomy.warp.from_atlas(np.array(site) * MNI_TO_LPS), site)
    anatomy = _effaced(anatomy, home)
    low, high = anatomy.grid.to_world([0, 0, 0]), anatomy.grid.to_world(np.array(anatomy.grid.shape) - 1)
    low, high = np.maximum(low, home - _REACH), np.minimum(high, home + _REACH)
    nx, ny, nz = (int(n) + 1 for n in (high - low) / spacing)
    grid = Grid.regular((nz, ny, nx), spacing, low)
    points = world_points(grid)
    white, grey = anatomy.share("white", points), anatomy.share("grey", points)
    mask = (white + grey >= 0.5) & ~_falx(anatomy, points)
    labels, _ = ndimage.label(mask)
    seed = tuple(np.round(grid.to_index(home)).astype(int))
    if labels[seed] == 0:
        raise InputError(f"the site {site} (MNI mm) is not in brain tissue: move it")
    return Host(anatomy, grid, points, white, grey, labels == labels[seed], home)


def _nearest_white(
    anatomy: Anatomy, point: NDArray[np.float64], site: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Find the nearest place with a neighborhood that is all white matter."""
    h = anatomy.grid.spacing[0]
    middle = np.round(anatomy.grid.to_index(point)).astype(int)
    reach = int(np.ceil(12 / h))
    low = np.clip(middle - reach, 0, np.array(anatomy.grid.shape) - 1)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, np.maximum(middle + reach + 1, low + 1), strict=True))
    white = ndimage.gaussian_filter(anatomy.tissues["white"][box], 1.5 / h)
    distance = np.linalg.norm(np.moveaxis(np.indices(white.shape), 0, -1) + low - middle, axis=-1) * h
    distance[white < 0.8] = np.inf
    if not np.isfinite(distance).any():
        raise InputError(f"no white matter within 12 mm of the site {site} (MNI mm): move it")
    best = np.array(np.unravel_index(np.argmin(distance), distance.shape)) + low
    return anatomy.grid.to_world(best)


def _effaced(anatomy: Anatomy, home: NDArray[np.float64], radius: float = 34.0) -> Anatomy:
    """Close the sulci within some 30 mm of the tumor, as its mass effect would; keep midline and ventricles."""
    h = anatomy.grid.spacing[0]
    middle = anatomy.grid.to_index(home)
    reach = int(np.ceil(radius / h))
    z, y, x = (slice(max(int(m) - reach, 0), int(m) + reach + 1) for m in middle)
    box = z, y, x
    tissues = {**anatomy.tissues, "csf": anatomy.tissues["csf"].copy(), "grey": anatomy.tissues["grey"].copy()}
    points = world_points(anatomy.grid.cropped(box))
    distance = np.sqrt(((points - home.astype(np.float32)[:, None, None, None]) ** 2).sum(0))
    wanted = np.clip((radius - distance) / 10, 0, 1)
    wanted *= 1 - ndimage.maximum_filter(tissues["ventricles"][box], 1 + 2 * round(3 / h))
    wanted *= np.abs(points[0]) > 4
    closed = wanted * tissues["csf"][box]
    tissues["csf"][box] -= closed
    tissues["grey"][box] += closed
    return replace(anatomy, tissues=tissues)


def _falx(anatomy: Anatomy, points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find the dura between the hemispheres: the midline above and around the corpus callosum."""
    x, y, z = np.moveaxis(anatomy.warp.to_atlas(np.moveaxis(points, 0, -1)) * MNI_TO_LPS, -1, 0)
    callosum = ((y + 3) / 48) ** 2 + ((z - 2) / 29) ** 2 < 1
    return (np.abs(x) < 1.2) & ~callosum & (z > -5)
