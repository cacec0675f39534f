"""The head that a synthetic patient has: Colin27's tissues, moved by a smooth random warp of its own.

World coordinates are LPS mm with the origin of MNI space: x_LPS = -x_MNI, y_LPS = -y_MNI, z_LPS = z_MNI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid

TISSUES = ("white", "grey", "csf", "fat", "soft")
MNI_TO_LPS = np.array([-1.0, -1.0, 1.0])
_MARGIN = 6.0  # mm around the atlas, for heads larger than it


@dataclass(frozen=True, eq=False)
class Atlas:
    """The Colin27 head: tissue shares 0..1 as float32, by name, and the lateral ventricles."""

    grid: Grid
    tissues: Mapping[str, NDArray[np.float32]]
    organs: Mapping[str, Any]


@cache
def load_atlas() -> Atlas:
    """Read the packaged head (data/anatomy.npz and data/organs.json), once."""
    folder = files("tumortwin.phantom") / "data"
    with (folder / "anatomy.npz").open("rb") as stream, np.load(stream) as stored:
        levels = float(stored["levels"])
        tissues = {name: stored[name].astype(np.float32) / np.float32(levels) for name in TISSUES}
        tissues["ventricles"] = stored["ventricles"].astype(np.float32)
        grid = Grid.regular(tissues["white"].shape, 1.0, stored["origin"])
    organs = json.loads((folder / "organs.json").read_text(encoding="utf-8"))
    return Atlas(grid, tissues, {k: v for k, v in organs.items() if k != "about"})


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth map from an individual's head to the atlas: x -> scale * x + cubic B-spline displacement.

    Parameters
    ----------
    scale : (3,) array
        Stretch along (x, y, z).
    control : (3, nz, ny, nx) array
        B-spline coefficients of the displacement (x, y, z) in mm.
    origin : (3,) array
        World point (x, y, z) of control point (0, 0, 0), mm.
    knots : float
        Distance of the control points in mm.
    """

    scale: NDArray[np.float64]
    control: NDArray[np.float64]
    origin: NDArray[np.float64]
    knots: float

    def to_atlas(self, points: ArrayLike) -> NDArray[np.float64]:
        """Atlas points (..., 3) of an individual's points (..., 3), both (x, y, z) in LPS mm."""
        points = np.asarray(points, float)
        index = ((points.reshape(-1, 3) - self.origin) / self.knots).T[::-1]
        moved = [ndimage.map_coordinates(c, index, order=3, prefilter=False, mode="nearest") for c in self.control]
        return points * self.scale + np.stack(moved, -1).reshape(points.shape)

    def from_atlas(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map atlas points (..., 3) to an individual's points (..., 3), to 1e-6 mm, by fixed-point iteration."""
        points = np.asarray(points, float)
        found = points / self.scale
        for _ in range(100):
            miss = points - self.to_atlas(found)
            found = found + miss / self.scale
            if np.abs(miss).max() < 1e-6:
                return found
        raise InputError("the warp folds: its control points move too far for their distance")

    def on_grid(self, grid: Grid) -> NDArray[np.float32]:
        """Atlas points (3, z, y, x) of every voxel of an axis-aligned grid; the same as `to_atlas`, much faster."""
        weights = self._weights(grid)
        axes = grid_axes(grid)
        out = np.empty((3, *grid.shape), np.float32)
        for i in range(3):
            values = np.einsum("ck,ijk->ijc", weights[2], self.control[i])
            values = np.einsum("bj,ijc->ibc", weights[1], values)
            out[i] = np.einsum("ai,ibc->abc", weights[0], values, optimize=False)
            out[i] += (self.scale[i] * axes[2 - i]).reshape([-1 if k == 2 - i else 1 for k in range(3)])
        return out

    def _weights(self, grid: Grid) -> list[NDArray[np.float64]]:
        """Values of the cubic B-splines at the voxels along z, y and x."""
        out = []
        for axis, values in enumerate(grid_axes(grid)):
            position = (values - self.origin[2 - axis]) / self.knots
            t = np.abs(position[:, None] - np.arange(self.control.shape[1 + axis]))
            out.append(np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.maximum(2 - t, 0) ** 3 / 6))
        return out

    def jacobian(self, grid: Grid) -> NDArray[np.float64]:
        """Compute the Jacobian determinant of the map at each voxel of an axis-aligned grid, by central differences."""
        at = self.on_grid(grid).astype(float)
        dz, dy, dx = grid.spacing
        gradient = [np.gradient(component, dz, dy, dx) for component in at]
        matrix = np.stack([np.stack(g[::-1], -1) for g in gradient], -2)
        return np.linalg.det(matrix)


def grid_axes(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """World z, y and x of an axis-aligned grid's planes, in mm."""
    origin, (dz, dy, dx) = grid.affine[:3, 3], grid.spacing
    nz, ny, nx = grid.shape
    return origin[2] + dz * np.arange(nz), origin[1] + dy * np.arange(ny), origin[0] + dx * np.arange(nx)


def random_warp(rng: np.random.Generator, amplitude: float = 4.0, knots: float = 30.0) -> Warp:
    """Draw a warp: each axis stretched by some 3 %, and bumps of about `amplitude` mm (SD of a control point)."""
    scale = np.clip(1 + 0.03 * rng.standard_normal(3), 0.95, 1.05)
    atlas = load_atlas().grid
    low = atlas.to_world([0, 0, 0]) - _MARGIN - 2 * knots
    high = atlas.to_world(np.array(atlas.shape) - 1) + _MARGIN + 2 * knots
    count = np.ceil((high - low) / knots).astype(int)[::-1] + 1
    control = amplitude * np.clip(rng.standard_normal((3, *count)), -2, 2)
    return Warp(scale, control, low, knots)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One individual's head.

    Parameters
    ----------
    grid : Grid
        Axis-aligned, cubic voxels; LPS mm.
    tissues : mapping of str to (z, y, x) float32 arrays
        Shares 0..1 of "white", "grey", "csf" (ventricles and sulci), "fat", "soft" (muscle, skin, meninges); what is
        left is bone or air. And "ventricles".
    warp : Warp
        From this head to the atlas.
    """

    grid: Grid
    tissues: Mapping[str, NDArray[np.float32]]
    warp: Warp

    def share(self, name: str, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Interpolate a tissue's share linearly at world points (3, ...) given as (x, y, z); 0 outside."""
        index = (points[::-1] - self.grid.affine[2::-1, 3].reshape(3, *[1] * (points.ndim - 1))) / self.grid.spacing[0]
        return ndimage.map_coordinates(self.tissues[name], index, order=1, output=np.float32)

    def organ(self, name: str, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether world points (3, ...), given as (x, y, z), lie in an organ of data/organs.json."""
        organs = load_atlas().organs
        if name not in organs:
            raise InputError(f"no organ {name!r}: there are {', '.join(organs)}")
        flat = np.asarray(points, float).reshape(3, -1).T
        # only points near the organ are mapped to the atlas: the map is slow and the organs are small
        centers, reach = _bounds(organs[name]["shapes"])
        home = self.warp.from_atlas(centers * MNI_TO_LPS)
        near = np.zeros(len(flat), bool)
        for center, radius in zip(home, reach, strict=True):
            near |= (np.abs(flat - center) <= 1.3 * radius + 5).all(1)
        atlas = self.warp.to_atlas(flat[near]) * MNI_TO_LPS
        inside = np.zeros(len(atlas), bool)
        for shape in organs[name]["shapes"]:
            inside |= _inside(shape, atlas)
        if organs[name].get("within") == "tissue":
            inside &= self.share("white", flat[near].T) + self.share("grey", flat[near].T) >= 0.5
        out = np.zeros(len(flat), bool)
        out[near] = inside
        return out.reshape(points.shape[1:])


def individual(rng: np.random.Generator, spacing: float = 1.0) -> Anatomy:
    """Draw a head.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the warp.
    spacing : float
        Voxel edge in mm. The atlas has 1 mm; coarser heads are for quick tests.

    Raises
    ------
    InputError
        If the warp folds somewhere (Jacobian not positive).
    """
    atlas = load_atlas()
    warp = random_warp(rng)
    low = atlas.grid.to_world([0, 0, 0]) - _MARGIN
    size = (np.array(atlas.grid.shape)[::-1] + 2 * _MARGIN) / spacing
    nz, ny, nx = (int(n) for n in np.ceil(size)[::-1])
    grid = Grid.regular((nz, ny, nx), spacing, low)
    fewer = spacing / 4
    coarse = Grid.regular((int(nz * fewer) + 1, int(ny * fewer) + 1, int(nx * fewer) + 1), 4.0, low)
    folding = float(warp.jacobian(coarse).min())
    if folding <= 0.1:
        raise InputError(f"the random warp folds (least Jacobian {folding:.2f}): take another seed")
    points = warp.on_grid(grid)
    index = np.empty_like(points)
    for axis in range(3):
        index[axis] = points[2 - axis] - np.float32(atlas.grid.affine[2 - axis, 3])
    return Anatomy(grid, {name: _looked_up(values, index) for name, values in atlas.tissues.items()}, warp)


def _looked_up(values: NDArray[np.float32], index: NDArray[np.float32], block: int = 4) -> NDArray[np.float32]:
    """Linear interpolation of an image at indices (3, ...), skipping where whole blocks of it are empty."""
    padding = [(block, block + -n % block) for n in values.shape]
    padded = np.pad(values > 0, padding)
    shape = [k for n in padded.shape for k in (n // block, block)]
    filled = ndimage.binary_dilation(padded.reshape(shape).any((1, 3, 5)), np.ones((3, 3, 3), bool))
    at = tuple(np.clip(i.astype(np.int16) // block + 1, 0, n - 1) for i, n in zip(index, filled.shape, strict=True))
    wanted = filled[at]
    out = np.zeros(index.shape[1:], np.float32)
    out[wanted] = ndimage.map_coordinates(values, index[:, wanted], order=1, output=np.float32)
    return out


def _bounds(shapes: list[dict[str, Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centers (n, 3) in MNI mm and radii of balls around the shapes."""
    centers, reach = [], []
    for shape in shapes:
        if "ellipsoid" in shape:
            centers.append(shape["ellipsoid"])
            reach.append(max(shape["radii"]))
        else:
            line = np.array(shape["tube"], float)
            centers.append(line.mean(0))
            reach.append(np.linalg.norm(line - line.mean(0), axis=1).max() + shape["radius"])
    return np.array(centers, float), np.array(reach, float)


def _inside(shape: dict[str, Any], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether MNI points (n, 3) lie in an ellipsoid or in a tube around a polyline."""
    if "ellipsoid" in shape:
        return (((points - shape["ellipsoid"]) / shape["radii"]) ** 2).sum(1) <= 1
    line = np.array(shape["tube"], float)
    inside = np.zeros(len(points), bool)
    for start, stop in pairwise(line):
        along = np.clip(((points - start) @ (stop - start)) / ((stop - start) ** 2).sum(), 0, 1)
        inside |= np.linalg.norm(points - start - along[:, None] * (stop - start), axis=1) <= shape["radius"]
    return inside
