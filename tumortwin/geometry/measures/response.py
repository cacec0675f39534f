"""How large a lesion is, as response criteria measure it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist, squareform
from skimage.measure import find_contours, marching_cubes

from tumortwin.errors import InputError
from tumortwin.geometry.measures.ellipsoid import Ellipsoid
from tumortwin.geometry.segmentation.certainty import Z90, surface_mm2
from tumortwin.imaging.resampling import index_map
from tumortwin.imaging.volume import Grid, Mask

Point = tuple[float, float, float]

SMOOTHING = 1.0
"""Standard deviation, in voxels, of the kernel that a voxel edge's steps are smoothed with."""
FINEST = 160
"""Most planes that a lesion is resampled to."""
EDGE = 1 / np.sqrt(12)
"""Where in a voxel its edge lies is not known: standard deviation of a uniform distribution, in voxels."""
"""Two-sided 95 per cent of a normal distribution."""
FEWEST = 3
"""Voxels that a lesion spans along each axis for its ellipsoid to tell anything."""


@dataclass(frozen=True)
class Response:
    """Size of a lesion. Computed from a mask or shares, not measured by a reader.

    Parameters
    ----------
    volume_ml : float
        Computed volume in mL.
    longest_mm : float
        Computed longest diameter in any axial plane (the RECIST diameter), mm.
    perpendicular_mm : float
        Computed longest diameter perpendicular to it in the same plane, mm.
    longest_ends, perpendicular_ends : pairs of (x, y, z)
        Where they end, LPS mm; None without a lesion. The plane may lie between two slices.
    longest_3d_mm : float
        Computed longest diameter in any direction, mm.
    interval_ml : (low, high)
        90 per cent interval of the volume, mL.
    counted_ml : float
        Voxels times their volume, mL, as :attr:`tumortwin.imaging.volume.Mask.volume_ml` has it.
    """

    volume_ml: float
    longest_mm: float
    perpendicular_mm: float
    longest_ends: tuple[Point, Point] | None = None
    perpendicular_ends: tuple[Point, Point] | None = None
    longest_3d_mm: float = 0.0
    interval_ml: tuple[float, float] = (0.0, 0.0)
    counted_ml: float = 0.0

    @property
    def product_mm2(self) -> float:
        """The bidimensional product of RANO (Wen et al. 2010, doi:10.1200/JCO.2009.26.3541), mm^2."""
        return self.longest_mm * self.perpendicular_mm


def measure(
    lesion: Mask | NDArray[np.float32],
    grid: Grid | None = None,
    *,
    edge_mm: float | None = None,
    probability: NDArray[np.float32] | None = None,
) -> Response:
    """Measure a lesion.

    Holes are filled for diameters. The lesion is smoothed by a kernel of one voxel without second moment (so that flat
    and round edges stay) and interpolated by cubic splines onto fine axial planes. In each plane the longest diameter,
    and the longest one perpendicular to it, are those of the convex hull of the outline at one half; in space the
    longest one is that of the hull of the surface. (Of a crescent the hull's diameter can run outside it; readers then
    draw a shorter one.)

    What voxels do to such a measurement is then taken off: the ellipsoid of the same center and second moments
    is put on the same grid, measured in the same way, and its error, known exactly, subtracted: of diameters at most a
    voxel's diagonal, of a mask's volume what counting is off by. It counts by w^2, where w = 1 - (unlike voxels) /
    (voxels at the edge), so that it hardly matters for a lesion that is like no ellipsoid.

    Parameters
    ----------
    lesion : Mask or (z, y, x) array
        A mask, or shares 0..1 of each voxel.
    grid : Grid, optional
        Of the shares.
    edge_mm : float, optional
        Standard deviation, in mm, of where the whole edge lies, for the interval V +- 1.64 S edge_mm with the surface
        S. Default: 0.29 voxels (uniform within a voxel): what a mask leaves open, and less than two readers differ by.
    probability : (z, y, x) array, optional
        Probability of each voxel to be lesion, on the same grid. The interval then is what holds it with 95 per cent
        to what holds it with 2.5.

    Returns
    -------
    Response
        Zeros for an empty lesion. With several pieces the diameters span all of them: see :func:`measure_lesions`.

    Raises
    ------
    ValueError
        If shares or probabilities do not fit the grid, or `edge_mm` is negative.
    """
    shares = not isinstance(lesion, Mask)
    if isinstance(lesion, Mask):
        share, grid = lesion.array.astype(np.float32), lesion.grid
    elif grid is None or np.shape(lesion) != grid.shape:
        raise ValueError(f"shares of shape {np.shape(lesion)} need the grid they lie on, not {grid}")
    else:
        share = np.asarray(lesion, np.float32)
    if edge_mm is not None and not edge_mm >= 0:
        raise ValueError(f"the edge's standard deviation is 0 mm or more, not {edge_mm}")
    counted = float(share.sum(dtype=np.float64)) * grid.voxel_volume / 1000
    if probability is not None:
        if np.shape(probability) != grid.shape:
            raise ValueError(f"probabilities of shape {np.shape(probability)} do not fit {grid}")
        low, high = (float((np.asarray(probability) >= p).sum()) * grid.voxel_volume / 1000 for p in (0.95, 0.05))
    if not (share >= 0.5).any():  # at most part of a voxel anywhere: no outline
        bounds = (0.0, counted) if probability is None else (min(low, counted), max(high, counted))
        return Response(counted, 0.0, 0.0, interval_ml=bounds, counted_ml=counted)
    share, grid = _cropped(share, grid)
    filled = _filled(share)
    like = _like(filled, grid, shares)
    found = _raw(filled, grid)
    volume = counted
    # a thin lesion's look-alike can slip between the voxels: then nothing tells how it is misjudged
    if like is not None and ((drawn := like.on(grid, shares=shares)) >= 0.5).any():
        found = _corrected(found, like, _raw(drawn, grid), grid, _alike(filled, drawn))
        volume += 0.0 if shares else _uncounted(share, filled, like, grid)
    if probability is None:
        edge = EDGE * grid.voxel_volume ** (1 / 3) if edge_mm is None else edge_mm
        spread = Z90 * edge * surface_mm2(Mask(share >= 0.5, grid)) / 1000
        low, high = max(0.0, volume - spread), volume + spread
    return replace(found, volume_ml=volume, counted_ml=counted, interval_ml=(min(low, volume), max(high, volume)))


def _cropped(share: NDArray[np.float32], grid: Grid) -> tuple[NDArray[np.float32], Grid]:
    """Crop a lesion to its bounding box with four empty voxels around."""
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(share))
    around = 4
    part = grid.cropped(box)  # type: ignore[arg-type]
    affine = np.array(part.affine)
    affine[:3, 3] = part.to_world((-around,) * 3)
    padded = np.pad(share[box], around)
    return padded, Grid(padded.shape, affine, grid.frame)


def _filled(share: NDArray[np.float32]) -> NDArray[np.float32]:
    holes = ndimage.binary_fill_holes(share >= 0.5) & (share < 0.5)
    if not holes.any():
        return share
    # the shares around a hole are part lesion, part hole: all lesion once it is filled
    return np.where(ndimage.binary_dilation(holes) & (share > 0) | holes, np.float32(1), share)


def _like(share: NDArray[np.float32], grid: Grid, shares: bool) -> Ellipsoid | None:
    inside = np.argwhere(share >= 0.5)
    if np.min(np.ptp(inside, axis=0) + 1) < FEWEST:
        return None
    try:
        return Ellipsoid.like(share, grid, shares=shares)
    except InputError:
        return None


def _raw(share: NDArray[np.float32], grid: Grid) -> Response:
    """As measured, with what voxels do to it. The volume is left out."""
    fine, plane = _axial(share, grid)
    level = min(0.5, 0.5 * float(fine.max()))
    planes = np.flatnonzero((fine > level).any((1, 2)))
    hulls = [hull for hull in (_hull(fine[z], level, plane, int(z)) for z in planes) if len(hull)]
    best = Response(0.0, 0.0, 0.0)
    if hulls:
        best = _diameters(max(hulls, key=lambda hull: float(pdist(hull[:, :2]).max())))
    try:
        corners = marching_cubes(fine, level)[0]
        corners = corners[ConvexHull(corners).vertices]
    except (QhullError, ValueError, RuntimeError):  # a surface without volume
        return replace(best, longest_3d_mm=best.longest_mm)
    return replace(best, longest_3d_mm=float(pdist(corners).max()) * plane.spacing[0])


def _axial(share: NDArray[np.float32], grid: Grid) -> tuple[NDArray[np.float64], Grid]:
    """Smooth a lesion and resample it onto axial planes."""
    smooth = ndimage.gaussian_filter(share.astype(np.float64), SMOOTHING, truncate=5)
    curved = sum(ndimage.convolve1d(smooth, [1, -2, 1], axis=axis) for axis in range(3))
    smooth -= 0.5 * SMOOTHING**2 * curved
    world = grid.to_world(np.argwhere(share > 0))
    around = 1.5 * max(grid.spacing)
    low, high = world.min(0) - around, world.max(0) + around
    step = max(min(grid.spacing) * 0.7, float((high - low).max()) / FINEST)
    size = np.ceil((high - low) / step).astype(int) + 1
    plane = Grid.regular((int(size[2]), int(size[1]), int(size[0])), step, low, grid.frame)
    matrix = index_map(grid, plane, None)
    fine = ndimage.affine_transform(
        smooth, matrix[:3, :3], matrix[:3, 3], output_shape=plane.shape, order=3, mode="constant", output=np.float64
    )
    return fine, plane


def _alike(body: NDArray[np.float32], drawn: NDArray[np.float32]) -> float:
    """How far two bodies are misjudged alike: 1 with the same voxels, 0 when they differ by as many as the edge has."""
    inside = body >= 0.5
    edge = int((inside & ~ndimage.binary_erosion(inside)).sum())
    return max(0.0, 1 - float(np.abs(body - drawn).sum(dtype=np.float64)) / edge) ** 2


def _corrected(found: Response, like: Ellipsoid, seen: Response, grid: Grid, weight: float) -> Response:
    """Less what the same measurement gets wrong on an ellipsoid; at most a voxel's diagonal."""
    limit = float(np.linalg.norm(grid.spacing))

    def less(value: float, wrong: float) -> float:
        return max(0.0, value - weight * float(np.clip(wrong, -limit, limit)))

    long, across = like.axial_mm
    longest = less(found.longest_mm, seen.longest_mm - long)
    perpendicular = less(found.perpendicular_mm, seen.perpendicular_mm - across)
    # no diameter exceeds the longest in its plane, nor that the longest of all
    perpendicular = min(perpendicular, longest)
    in_space = max(longest, less(found.longest_3d_mm, seen.longest_3d_mm - like.longest_mm))
    return replace(
        found,
        longest_mm=longest,
        perpendicular_mm=perpendicular,
        longest_3d_mm=in_space,
        longest_ends=_stretched(found.longest_ends, longest),
        perpendicular_ends=_stretched(found.perpendicular_ends, perpendicular),
    )


def _stretched(ends: tuple[Point, Point] | None, length: float) -> tuple[Point, Point] | None:
    """Change the length of a line about its middle."""
    if ends is None:
        return None
    a, b = np.array(ends)
    half = (b - a) / np.linalg.norm(b - a) * length / 2
    (x, y, z), (u, v, w) = ((a + b) / 2 - half).tolist(), ((a + b) / 2 + half).tolist()
    return (x, y, z), (u, v, w)


def _uncounted(share: NDArray[np.float32], filled: NDArray[np.float32], like: Ellipsoid, grid: Grid) -> float:
    """Compute what to add to a mask's counted volume, mL: the part of the body, less that of its holes."""
    added = _miscount(filled, like, grid)
    labels, count = ndimage.label((filled > 0) & (share == 0))
    for hole in (labels == n for n in range(1, count + 1)):
        own = _like(hole.astype(np.float32), grid, False)
        added -= 0.0 if own is None else _miscount(hole.astype(np.float32), own, grid)
    return added


def _miscount(body: NDArray[np.float32], like: Ellipsoid, grid: Grid) -> float:
    drawn = like.on(grid)
    return _alike(body, drawn) * (like.volume_ml - float(drawn.sum(dtype=np.float64)) * grid.voxel_volume / 1000)


def _hull(share: NDArray[np.float64], level: float, grid: Grid, z: int) -> NDArray[np.float64]:
    """Corners (n, 3) of the convex hull of a plane's outline, world mm, in order; none without area."""
    outlines = find_contours(np.pad(share, 1), level)
    if not outlines:
        return np.empty((0, 3))
    outline = np.concatenate(outlines) - 1
    world = grid.to_world(np.column_stack([np.full(len(outline), z), outline]))
    try:
        return world[ConvexHull(world[:, :2]).vertices]
    except QhullError:  # an outline without area
        return np.empty((0, 3))


def _diameters(world: NDArray[np.float64]) -> Response:
    """Measure the longest diameter of a plane convex outline, and the longest perpendicular to it."""
    flat = world[:, :2]
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

    return Response(
        0.0, float(distances[a, b]), float(max(lengths)), (end(int(a)), end(int(b))), (point(low_at), point(high_at))
    )


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
