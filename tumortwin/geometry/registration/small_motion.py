"""Small motions between images of one head and any contrast, from the directions of their edges.

Mutual information needs the same tissue to have the same signal everywhere, so a coil's shading pulls it off by half a
millimeter and more. Where an edge lies and which way it faces hardly depends on shading, nor on which of its sides is
the brighter (normalized gradient fields; Haber and Modersitzki 2006, doi:10.1007/11866763_89).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.geometry.sampling import isotropic
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Mask, Volume

LEVELS_MM = (4.0, 2.0)
SAMPLES = 8000
RADIUS_MM = 60.0
"""A turn is counted as the way a point this far from the center goes, so that turns and shifts weigh alike."""
PROBE_MM = 0.5
LONGEST_STEP_MM = 3.0
ROUNDS = 9
FEW_POINTS = 500


@dataclass(frozen=True, eq=False)
class SmallMotion:
    """A motion between two images that lie nearly right.

    Parameters
    ----------
    transform : (4, 4) array
        World of the fixed image to world of the moving one, LPS mm.
    similarity, before : float
        Share of the edges that face the same way, 0..1, with the transform and without any.
    moved_mm, degrees : float
        Root mean square way over the points compared, and the angle turned by.
    residual_mm : float
        Root mean square distance between two estimates from half of the points each.
    """

    transform: NDArray[np.float64]
    similarity: float
    before: float
    moved_mm: float
    degrees: float
    residual_mm: float


def small_motion(fixed: Volume, moving: Volume, mask: Mask, *, enough_mm: float = 0.0) -> SmallMotion:
    """Find the rigid motion of a few millimeters and degrees between two images.

    The sum of ``(|a| - |a.b|)^2`` over random points is made smallest by Gauss-Newton steps, where a and b are the two
    images' gradients, ``g / sqrt(|g|^2 + mean|g|^2)``, b turned back with the motion. The points lie between the
    voxels: on them, an image that is not interpolated is sharper than one that is, and no motion would win always.

    Parameters
    ----------
    fixed, moving : Volume
        The images, in worlds that differ by little.
    mask : Mask
        Where to compare, in the fixed image's frame.
    enough_mm : float
        What moves less than this on the coarse level is not looked at on the fine one.

    Returns
    -------
    SmallMotion
        The identity, where too little of the mask is seen by both images.
    """
    points = _points(mask)
    points = points[_inside(moving, points)]
    if len(points) < FEW_POINTS:
        return SmallMotion(np.eye(4), 0.0, 0.0, 0.0, 0.0, np.inf)
    center = points.mean(0)
    motion = np.zeros(6)
    before = 0.0
    for level in LEVELS_MM:
        still, mover = isotropic(fixed, level), isotropic(moving, level)
        pair = _Pair(
            _Edges(still, resample(mask, still.grid).array),
            _Edges(mover, mover.array > mover.array.mean()),
            points,
            center,
        )
        before = pair.similarity(np.zeros(6))
        motion = pair.descend(motion, ROUNDS)
        if _way(motion, points, center) < enough_mm:
            break
    halves = [pair.half(k).descend(motion, 4) for k in (0, 1)]
    apart = [_moved(_matrix(half, center), points) for half in halves]
    residual = float(np.sqrt((np.linalg.norm(apart[0] - apart[1], axis=1) ** 2).mean()))
    degrees = float(np.rad2deg(np.linalg.norm(motion[:3]) / RADIUS_MM))
    return SmallMotion(
        _matrix(motion, center), pair.similarity(motion), before, _way(motion, points, center), degrees, residual
    )


def _points(mask: Mask) -> NDArray[np.float64]:
    """Points in the mask's voxels, the same for the same mask."""
    rng = np.random.default_rng(0)
    index = np.argwhere(mask.array)
    index = index[np.sort(rng.choice(len(index), min(SAMPLES, len(index)), replace=False))]
    return mask.grid.to_world(index + rng.uniform(-0.5, 0.5, index.shape))


def _inside(volume: Volume, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    index = volume.grid.to_index(points)
    return np.all((index > 0) & (index < np.array(volume.grid.shape) - 1), axis=1)


def _matrix(motion: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    turn = Rotation.from_rotvec(motion[:3] / RADIUS_MM).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, center - turn @ center + motion[3:]
    return matrix


def _moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _way(motion: NDArray[np.float64], points: NDArray[np.float64], center: NDArray[np.float64]) -> float:
    way = _moved(_matrix(motion, center), points) - points
    return float(np.sqrt((way**2).sum(1).mean()))


class _Edges:
    """An image's normalized gradient, along the axes of its world."""

    def __init__(self, volume: Volume, typical: NDArray[np.bool_]) -> None:
        spacing = np.array(volume.grid.spacing)
        array = volume.array.astype(np.float32)
        # an axis of one slice has no gradient
        slopes = [
            np.gradient(array, s, axis=k) if n > 1 else np.zeros_like(array)
            for k, (s, n) in enumerate(zip(spacing, array.shape, strict=True))
        ]
        gradient = np.einsum("ij,jzyx->izyx", (volume.affine[:3, :3] / spacing).astype(np.float32), np.stack(slopes))
        size = np.sqrt((gradient**2).sum(0))
        usual = size[typical].mean() if typical.any() else size.mean()
        self._field = gradient / np.sqrt(size**2 + max(usual, 1e-30) ** 2)
        self._inverse = np.asarray(np.linalg.inv(volume.affine), np.float64)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """(3, n) array at world points (n, 3)."""
        index = _moved(self._inverse, points).T
        return np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in self._field])


class _Pair:
    """Two images' edges at points of the first."""

    def __init__(self, fixed: _Edges, moving: _Edges, points: NDArray[np.float64], center: NDArray[np.float64]) -> None:
        self._fixed, self._moving, self._points, self._center = fixed, moving, points, center
        self._still = fixed.at(points)
        self._size = np.sqrt((self._still**2).sum(0))

    def half(self, which: int) -> _Pair:
        """Take every other point of the pair, beginning with number `which`."""
        return _Pair(self._fixed, self._moving, self._points[which::2], self._center)

    def _common(self, motion: NDArray[np.float64]) -> NDArray[np.float64]:
        matrix = _matrix(motion, self._center)
        there = self._moving.at(_moved(matrix, self._points))
        return (self._still * (matrix[:3, :3].T @ there)).sum(0)

    def _slopes(self, motion: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 6) derivatives of the common part by the motion's numbers."""
        matrix = _matrix(motion, self._center)
        turned = matrix[:3, :3] @ self._still
        places = _moved(matrix, self._points)
        # differences to both sides: to one, the best place would seem to lie half a probe off
        by_shift = np.stack(
            [
                (turned * (self._moving.at(places + PROBE_MM * e) - self._moving.at(places - PROBE_MM * e))).sum(0)
                / (2 * PROBE_MM)
                for e in np.eye(3)
            ],
            axis=1,
        )
        # a turn w moves a point by w x r, and its edge's direction along
        arms = places - self._center - motion[3:]
        by_turn = np.cross(arms, by_shift) + np.cross(turned.T, self._moving.at(places).T)
        return np.hstack([by_turn / RADIUS_MM, by_shift])

    def similarity(self, motion: NDArray[np.float64]) -> float:
        """Squared common part over squared size of the edges, 0..1."""
        return float((self._common(motion) ** 2).sum() / (self._size**2).sum())

    def descend(self, motion: NDArray[np.float64], rounds: int) -> NDArray[np.float64]:
        """Gauss-Newton steps, shortened where they would not help."""
        common = self._common(motion)
        cost = float(((self._size - np.abs(common)) ** 2).sum())
        for _ in range(rounds):
            sign = np.sign(common)
            columns = sign[:, None] * self._slopes(motion)
            normal = columns.T @ columns
            step = np.linalg.solve(
                normal + 1e-3 * np.trace(normal) / 6 * np.eye(6), columns.T @ (self._size - np.abs(common))
            )
            step *= min(1.0, LONGEST_STEP_MM / max(float(np.linalg.norm(step)), 1e-12))
            for _ in range(4):
                trial = self._common(motion + step)
                less = float(((self._size - np.abs(trial)) ** 2).sum())
                if less < cost:
                    break
                step = step / 3
            else:
                break
            motion, common, gain, cost = motion + step, trial, 1 - less / cost, less
            if np.abs(step).max() < 0.02 or gain < 1e-5:
                break
        return motion
