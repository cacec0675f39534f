"""Where a registration could start from: a search of turns and shifts on a coarse level, without descent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tumortwin.geometry.sampling import isotropic
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Mask, Volume

LEVEL_MM = 12.0
POINTS = 600
BINS = 8
LARGEST_DEGREES = 52.0
TURN_DEGREES = 30.0
"""Spacing of the turns on a body-centered lattice of rotation vectors: none is farther than 17 degrees from one."""
REACH_MM = 100.0
SHIFT_MM = 18.0
LEAST_SHARE = 0.25
"""Of the mask, that must lie in the moving image."""

Start = tuple[NDArray[np.float64], NDArray[np.float64]]
"""A rotation matrix about the mask's middle, and where the middle goes (world point, LPS mm)."""


def likely_starts(fixed: Volume, moving: Volume, mask: Mask, count: int = 4) -> list[Start]:
    """Find the most likely of some 100,000 rigid motions, each with another rotation.

    Every turn of a lattice up to 52 degrees is tried with every shift on a lattice of 18 mm, to 100 mm from where the
    scanner's coordinates put the head and from where the images' middles meet. What counts is the information the
    images share: n times their mutual information, less what chance gives, (a - 1)(b - 1) / 2 for a and b signal levels
    seen (Miller 1955). Unlike the mutual information it grows with the n points that both images see, so a small
    overlap does not win by accident; unlike a center of mass it does not care for what is cut off.

    Parameters
    ----------
    fixed, moving : Volume
        The images.
    mask : Mask
        Where to compare, in the fixed image's frame.
    count : int
        How many.

    Returns
    -------
    list of (rotation, place)
        Best first.
    """
    still, mover = isotropic(fixed, LEVEL_MM), isotropic(moving, LEVEL_MM)
    look = resample(mask, still.grid).array
    if not look.any():
        return []
    index = np.argwhere(look)
    middle = still.grid.to_world(index.mean(0))
    index = index[:: max(1, len(index) // POINTS)]
    arms = still.grid.to_world(index) - middle
    seen = still.array[tuple(index.T)]
    first = np.searchsorted(_limits(seen), seen).astype(np.int32)
    levels = np.searchsorted(_limits(mover.array[mover.array > np.percentile(mover.array, 30)]), mover.array)

    spacing = np.array(mover.grid.spacing)
    # what lies outside the image gets a level of its own, and enough room that no shift leaves the array
    room = np.ceil((2 * REACH_MM + np.linalg.norm(arms, axis=1).max()) / spacing).astype(int) + 2
    wide = np.pad(levels.astype(np.int32) * BINS, [(r, r) for r in room], constant_values=BINS * BINS)
    strides = np.array([wide.shape[1] * wide.shape[2], wide.shape[2], 1])
    places = _places(mover, middle, spacing)
    offsets = (places + room) @ strides
    values = wide.ravel()

    found: list[tuple[float, int, Start]] = []
    for turn in _turns():
        rotation = Rotation.from_rotvec(np.deg2rad(turn)).as_matrix()
        relative = np.rint(arms @ rotation.T @ np.linalg.inv(mover.affine[:3, :3]).T).astype(int) @ strides
        at = np.clip(offsets[:, None] + relative, 0, len(values) - 1)
        shared = _shared_information(values[at] + first, len(arms))
        best = int(np.argmax(shared))
        found.append((-float(shared[best]), len(found), (rotation, mover.grid.to_world(places[best]))))
    return [start for score, _, start in sorted(found, key=lambda entry: entry[:2])[:count] if np.isfinite(score)]


def _limits(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where to cut values into levels that are about equally full."""
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))


def _turns() -> NDArray[np.float64]:
    """Rotation vectors in degrees, the smallest first."""
    n = int(LARGEST_DEGREES // TURN_DEGREES) + 1
    steps = np.arange(-n, n + 1) * TURN_DEGREES
    cubic = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = np.concatenate([cubic, cubic + TURN_DEGREES / 2])
    size = np.linalg.norm(lattice, axis=1)
    return lattice[np.argsort(size, kind="stable")][: int((size <= LARGEST_DEGREES).sum())]


def _places(moving: Volume, middle: NDArray[np.float64], spacing: NDArray[np.float64]) -> NDArray[np.int64]:
    """Voxels of the moving image (and beyond it) where the middle could come to lie."""
    steps = np.maximum(1, np.rint(SHIFT_MM / spacing)).astype(int)
    axes = [
        np.arange(-int(REACH_MM // (a * k)), int(REACH_MM // (a * k)) + 1) * k
        for a, k in zip(spacing, steps, strict=True)
    ]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    scanner = np.rint(moving.grid.to_index(middle)).astype(int)
    center = (np.array(moving.grid.shape) - 1) // 2
    # from the scanner's place as far as the lattice goes; where the two lie far apart, around the image's middle, too
    near = np.abs((scanner - center) * spacing).max() < REACH_MM / 2
    limit = np.array(moving.grid.shape) / 2 + REACH_MM / spacing
    around = [scanner + lattice] if near else [scanner + lattice, center + lattice]
    places = np.unique(np.concatenate(around), axis=0)
    return places[(np.abs(places - center) <= limit).all(1)]


def _shared_information(pairs: NDArray[np.int32], points: int) -> NDArray[np.float64]:
    """Of each row of pairs of levels (moving times BINS plus fixed): n I, in nats, less its mean by chance."""
    cells = BINS * (BINS + 1)
    rows = len(pairs)
    joint = np.bincount((pairs + cells * np.arange(rows, dtype=np.int32)[:, None]).ravel(), minlength=rows * cells)
    # the last level lies outside
    joint = joint.reshape(rows, BINS + 1, BINS)[:, :BINS]
    moving, fixed, count = joint.sum(2), joint.sum(1), joint.sum((1, 2))

    def spread(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.multiply(counts, np.log(np.maximum(counts, 1)), dtype=np.float64)

    shared = spread(joint).sum((1, 2)) - spread(moving).sum(1) - spread(fixed).sum(1) + spread(count)
    chance = ((moving > 0).sum(1) - 1) * ((fixed > 0).sum(1) - 1) / 2
    return np.where(count >= LEAST_SHARE * points, shared - chance, -np.inf)
