"""How large a lesion is, as response criteria measure it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist, squareform
from skimage.measure import find_contours

from tumortwin.geometry.sampling import average
from tumortwin.imaging.volume import Grid, Mask

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Response:
    """Size of a lesion. Computed, not measured by a reader.

    Parameters
    ----------
    volume_ml : float
        Volume in mL.
    longest_mm : float
        Longest diameter in an axial plane (the RECIST diameter), mm.
    perpendicular_mm : float
        Longest diameter perpendicular to it in the same plane, mm.
    longest_ends, perpendicular_ends : pairs of (x, y, z)
        Where they end, LPS mm; None without a lesion.
    """

    volume_ml: float
    longest_mm: float
    perpendicular_mm: float
    longest_ends: tuple[Point, Point] | None = None
    perpendicular_ends: tuple[Point, Point] | None = None

    @property
    def product_mm2(self) -> float:
        """The bidimensional product of RANO (Wen et al. 2010, doi:10.1200/JCO.2009.26.3541), mm^2."""
        return self.longest_mm * self.perpendicular_mm


def measure(lesion: Mask | NDArray[np.float32], grid: Grid | None = None) -> Response:
    """Measure a lesion.

    The planes are the image's own if it is axial within 30 degrees; else the mask is first brought onto axial planes.
    In each, the outline at share one half is found between voxel centers, and the longest diameter and the longest one
    perpendicular to it are those of the outline's convex hull, exactly. (Of a crescent the hull's diameter can run
    outside it; readers then draw a shorter one.) A mask's edge is smoothed by
    one voxel first.

    Parameters
    ----------
    lesion : Mask or (z, y, x) array
        A mask, or shares 0..1 of each voxel.
    grid : Grid, optional
        Of the shares.

    Returns
    -------
    Response
        Zeros for an empty lesion. With several pieces the diameters span all of them: measure pieces apart.
    """
    if isinstance(lesion, Mask):
        share, grid = lesion.array.astype(np.float32), lesion.grid
    elif grid is None or np.shape(lesion) != grid.shape:
        raise ValueError(f"shares of shape {np.shape(lesion)} need the grid they lie on, not {grid}")
    else:
        share = np.asarray(lesion, np.float32)
    volume = float(share.sum(dtype=np.float64)) * grid.voxel_volume / 1000
    if not (share >= 0.5).any():
        return Response(volume, 0.0, 0.0)
    normal = np.cross(grid.affine[:3, 1], grid.affine[:3, 2])
    if abs(normal[2]) < np.cos(np.deg2rad(30)) * np.linalg.norm(normal):
        share, grid = _axial(share, grid)
    if isinstance(lesion, Mask):
        # a mask's edge is a staircase, whose corners stick out by half a voxel and more
        share = ndimage.gaussian_filter(share, [min(grid.spacing) / s for s in grid.spacing])
    best = Response(volume, 0.0, 0.0)
    for z in np.flatnonzero((share >= 0.5).any((1, 2))):
        found = _plane(np.pad(share[z], 1), grid, int(z), volume)
        if found.longest_mm > best.longest_mm:
            best = found
    return best


def _axial(share: NDArray[np.float32], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
    """The lesion on axial planes as finely spaced as its finest axis."""
    step = min(grid.spacing)
    corners = grid.to_world(np.argwhere(share > 0))
    low, high = corners.min(0) - 2 * max(grid.spacing), corners.max(0) + 2 * max(grid.spacing)
    shape = np.ceil((high - low) / step).astype(int) + 1
    target = Grid.regular((int(shape[2]), int(shape[1]), int(shape[0])), step, low, grid.frame)
    return average(Mask(share >= 0.5, grid), target), target


def _plane(share: NDArray[np.float32], grid: Grid, z: int, volume: float) -> Response:
    outline = np.concatenate(find_contours(share, 0.5)) - 1
    world = grid.to_world(np.column_stack([np.full(len(outline), z), outline]))
    across = grid.affine[:3, 2] / np.linalg.norm(grid.affine[:3, 2])
    down = grid.affine[:3, 1] - across * (grid.affine[:3, 1] @ across)
    flat = world @ np.column_stack([across, down / np.linalg.norm(down)])
    try:
        corners = ConvexHull(flat).vertices
    except QhullError:  # an outline without area
        return Response(volume, 0.0, 0.0)
    flat, world = flat[corners], world[corners]
    distances = squareform(pdist(flat))
    a, b = np.unravel_index(np.argmax(distances), distances.shape)
    along = (flat[b] - flat[a]) / distances[a, b]
    position, height = flat @ along, flat @ np.array([-along[1], along[0]])
    # a chord's length is concave between corners' positions, so the longest passes through a corner
    chords = [_chord(position, height, t) for t in position]
    lengths = [high[0] - low[0] for low, high in chords]
    (_, low_at), (_, high_at) = chords[int(np.argmax(lengths))]

    def point(at: tuple[int, int, float]) -> Point:
        i, j, part = at
        x, y, zed = world[i] + part * (world[j] - world[i])
        return float(x), float(y), float(zed)

    def end(i: int) -> Point:
        return point((i, i, 0.0))

    return Response(volume, float(distances[a, b]), float(max(lengths)), (end(int(a)), end(int(b))),
                    (point(low_at), point(high_at)))


Crossing = tuple[float, tuple[int, int, float]]


def _chord(position: NDArray[np.float64], height: NDArray[np.float64], t: float) -> tuple[Crossing, Crossing]:
    """Lowest and highest crossing of a convex outline with `position` = t: height, and between which corners."""
    crossings: list[Crossing] = []
    n = len(position)
    for i in range(n):
        j = (i + 1) % n
        span = position[j] - position[i]
        if (position[i] - t) * (position[j] - t) <= 0:
            part = float((t - position[i]) / span) if span else 0.0
            crossings.append((float(height[i] + part * (height[j] - height[i])), (i, j, part)))
    return min(crossings), max(crossings)
