"""Seeded shapes of which everything is known, on grids of every kind, as masks and as shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tumortwin.geometry.measures.ellipsoid import Ellipsoid
from tumortwin.imaging.volume import Grid, Mask

POSES = ("axial", "sagittal", "coronal", "oblique", "any")
AXES = {  # columns: world directions of the index axes (z, y, x)
    "axial": [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    "sagittal": [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "coronal": [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
}


@dataclass(frozen=True, eq=False)
class Shape:
    """A body and its sizes: worked out by hand, not measured."""

    kind: str
    pose: str
    across: float
    """Voxels that it spans along the axis where they are fewest."""
    lesion: Mask | NDArray[np.float32]
    grid: Grid
    volume_ml: float
    longest_mm: float
    perpendicular_mm: float
    longest_3d_mm: float

    def errors(self, measured: object) -> NDArray[np.float64]:
        """Relative errors of volume, longest, perpendicular and longest in space."""
        names = ("volume_ml", "longest_mm", "perpendicular_mm", "longest_3d_mm")
        return np.array([getattr(measured, n) / getattr(self, n) - 1 for n in names])


def shapes(kind: str, count: int, across: float, *, shares: bool, seed: int = 4) -> Iterator[Shape]:
    """Shapes on grids that they span at least so many voxels of along each axis.

    Voxels are 0.5 to 2 mm in plane and up to 5 mm between planes, finer where `across` asks for it; the pose and the
    place between the voxels' centers are drawn, too.

    Parameters
    ----------
    kind : {"sphere", "ellipsoid", "shell", "capsule"}
        Spheres of radius 4 to 30 mm; ellipsoids with aspects to 3, turned at will; spherical shells 2 mm and a sixth of
        `across` voxels thick or more; capsules (a cylinder with half a sphere at each end), which are no ellipsoids,
        long in an axial plane.
    count : int
        How many.
    across : float
        Voxels along each axis, at least.
    shares : bool
        Shares of 5 x 5 x 5 points a voxel, or masks of voxels' centers.
    seed : int
        Of all draws.
    """
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        radius = float(np.exp(rng.uniform(np.log(4), np.log(30))))
        turn = Rotation.random(random_state=rng).as_matrix()
        thick = max(2.0, radius * rng.uniform(0.2, 0.5))
        ratio = 1 + rng.uniform(0, 2, 2)
        pose = POSES[number % len(POSES)]
        spacing = rng.uniform(0.5, 2, 1).repeat(3)
        spacing[0] = rng.uniform(max(1, spacing[1]), 5)
        if kind == "ellipsoid":
            radii = min(radius, 30 / ratio.max()) * np.array([1.0, *ratio])
            radii *= max(1.0, 4 / radii.min())
        else:
            radii = np.full(3, radius)
        body = Ellipsoid.turned((0, 0, 0), radii, turn)
        axes = np.array(AXES.get(pose, AXES["axial"]), float)
        if pose == "oblique":
            axes = Rotation.from_euler("xy", rng.uniform(5, 20, 2), True).as_matrix() @ axes
        elif pose == "any":
            axes = Rotation.random(random_state=rng).as_matrix()
        long = radius * rng.uniform(0.5, 1.5) if kind == "capsule" else 0.0
        way = np.array([np.cos(radius), np.sin(radius), 0.0])
        own = np.sqrt(np.einsum("ij,ik,kj->j", axes, body.shape, axes))
        half = own + long * np.abs(way @ axes)
        fit = np.minimum(1, 2 * own / spacing / across)
        if kind == "shell":
            fit = np.minimum(fit, thick / spacing / max(1.5, across / 6))
        spacing = spacing * np.array([fit[0], min(fit[1:]), min(fit[1:])])
        grid = _grid(axes, spacing, half, rng)
        volume, diameters = body.volume_ml, (*body.axial_mm, body.longest_mm)
        if kind == "capsule":
            share = _capsule(grid, radius, long, way, shares)
            volume += np.pi * radius**2 * 2 * long / 1000
            diameters = (2 * radius + 2 * long, 2 * radius, 2 * radius + 2 * long)
        else:
            share = body.on(grid, shares=shares)
        if kind == "shell":
            hole = Ellipsoid.turned((0, 0, 0), radii - thick, turn)
            share = share - hole.on(grid, shares=shares)
            volume -= hole.volume_ml
        lesion = share if shares else Mask(share > 0, grid)
        yield Shape(kind, pose, float((2 * own / spacing).min()), lesion, grid, volume, *diameters)


def _grid(
    axes: NDArray[np.float64], spacing: NDArray[np.float64], half: NDArray[np.float64], rng: np.random.Generator
) -> Grid:
    size = np.ceil(2 * half / spacing).astype(int) + 5
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = affine[:3, :3] @ (rng.uniform(-0.5, 0.5, 3) - (size - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)


def _capsule(grid: Grid, radius: float, long: float, way: NDArray[np.float64], shares: bool) -> NDArray[np.float32]:
    def inside(index: NDArray[np.float64]) -> NDArray[np.bool_]:
        world = grid.to_world(index)
        along = np.clip(world @ way, -long, long)
        return np.asarray(((world - along[..., None] * way) ** 2).sum(-1) <= radius**2)

    return _sampled(inside, grid, 4 if shares else 1)


def _sampled(
    inside: Callable[[NDArray[np.float64]], NDArray[np.bool_]], grid: Grid, points: int
) -> NDArray[np.float32]:
    index = np.moveaxis(np.indices(grid.shape), 0, -1).astype(np.float64)
    steps = (np.arange(points) + 0.5) / points - 0.5
    total = np.zeros(grid.shape, np.float32)
    for offset in np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T:
        total += inside(index + offset)
    return total / np.float32(points**3)
