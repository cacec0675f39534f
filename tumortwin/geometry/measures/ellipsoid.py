"""Ellipsoids: what is known exactly about them, and what they look like on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid

Floats = NDArray[np.float64]
SUBPOINTS = 5
"""Points along each axis of a voxel that the surface crosses, whose share inside is wanted."""
ROUNDS = 30
"""Most rounds in which an ellipsoid is fitted."""
SMALL = 60_000
"""Voxels of a box that is small enough for many tries, and whose lesion leaves an ellipsoid open."""
WALK = 150
"""Tries."""
FLAT = 1e-4
"""A body whose shortest axis squared is less than this share of all is flat: it has no ellipsoid."""


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """The points p with (p - c)' S^-1 (p - c) <= 1.

    Parameters
    ----------
    center : (3,) array
        c, world (x, y, z), mm.
    shape : (3, 3) array
        S, symmetric and positive definite, mm^2. Its eigenvalues are the squared semi-axes; n' S n is the squared
        half width along a unit vector n.
    """

    center: Floats
    shape: Floats

    @classmethod
    def turned(cls, center: ArrayLike, radii: ArrayLike, rotation: ArrayLike) -> Self:
        """From semi-axes in mm along the columns of a rotation matrix."""
        turn = np.asarray(rotation, float)
        return cls(np.asarray(center, float), turn @ np.diag(np.square(np.asarray(radii, float))) @ turn.T)

    @property
    def volume_ml(self) -> float:
        """4/3 pi a b c, mL."""
        return float(4 / 3 * np.pi * np.sqrt(np.linalg.det(self.shape))) / 1000

    @property
    def longest_mm(self) -> float:
        """Longest diameter: twice the longest semi-axis, mm."""
        return float(2 * np.sqrt(np.linalg.eigvalsh(self.shape)[-1]))

    @property
    def axial_mm(self) -> tuple[float, float]:
        """Longest diameter in an axial plane and the longest perpendicular to it there, mm.

        With A = S^-1 and t = z - c_z the section at t is (q - q_t)' A_2 (q - q_t) <= 1 - t^2 / S_zz, where A_2 is the
        upper left 2 x 2 part of A, q = (x, y) and q_t moves along a line: all sections are alike, and the one through
        the center is the largest. Its semi-axes are the inverse roots of A_2's eigenvalues.
        """
        small, large = np.linalg.eigvalsh(np.linalg.inv(self.shape)[:2, :2])
        return float(2 / np.sqrt(small)), float(2 / np.sqrt(large))

    @property
    def is_flat(self) -> bool:
        """Whether it has no inside to speak of."""
        return bool(np.linalg.eigvalsh(self.shape)[0] <= FLAT * np.trace(self.shape))

    def on(self, grid: Grid, *, shares: bool = False) -> NDArray[np.float32]:
        """How it looks on a grid.

        Parameters
        ----------
        grid : Grid
            Where.
        shares : bool
            Share of each voxel that lies inside (of 5 x 5 x 5 points), instead of whether its center does.

        Returns
        -------
        (z, y, x) float32 array
            0..1.
        """
        matrix = grid.affine[:3, :3]
        inverse = np.linalg.inv(self.shape)
        form = matrix.T @ inverse @ matrix
        start = grid.to_index(self.center)
        z, y, x = (axis - s for axis, s in zip(np.ogrid[tuple(slice(n) for n in grid.shape)], start, strict=True))
        value = (
            form[0, 0] * z * z
            + 2 * form[0, 1] * z * y
            + form[1, 1] * y * y
            + 2 * (form[0, 2] * z + form[1, 2] * y) * x
            + form[2, 2] * x * x
        )
        inside = (value <= 1).astype(np.float32)
        if not shares:
            return inside
        # the root of the form is a norm: it changes over a voxel by at most that of the voxel's half diagonal
        reach = max(
            np.sqrt(corner @ form @ corner) for corner in np.array([(1, a, b) for a in (-1, 1) for b in (-1, 1)]) / 2
        )
        near = np.argwhere(np.abs(np.sqrt(value) - 1) <= reach)
        steps = (np.arange(SUBPOINTS) + 0.5) / SUBPOINTS - 0.5
        count = np.zeros(len(near))
        for offset in np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T:
            point = near + offset - start
            count += np.einsum("ni,ij,nj->n", point, form, point, optimize=True) <= 1
        inside[tuple(near.T)] = count / SUBPOINTS**3
        return inside

    @classmethod
    def like(cls, share: NDArray[np.float32], grid: Grid, *, shares: bool) -> Self:
        """Find the ellipsoid that has, on this grid, a region's center and second moments.

        A solid ellipsoid's second central moments are S / 5. Sampled on a grid they are off, with few slices by ten
        per cent, and the ellipsoid's own are off alike: so it is corrected by the
        difference, and of all that were tried the one with the fewest unlike voxels is taken.

        Parameters
        ----------
        share : (z, y, x) array
            The region, 0..1.
        grid : Grid
            Where it lies.
        shares : bool
            Whether voxels hold shares of theirs, or 1 where their center is inside.

        Raises
        ------
        InputError
            If the region is empty or flat, so that it has no such ellipsoid.
        """
        mean, moment = _moments(share, grid)
        aim = moment
        if shares:
            aim = moment - grid.affine[:3, :3] @ grid.affine[:3, :3].T / 12  # the spread within a voxel
        center, shape, best, miss = mean, 5 * aim, None, np.inf
        # shares change smoothly: a few rounds are enough
        for number in range(6 if shares else ROUNDS):
            tried = cls(center, shape)
            if tried.is_flat:
                break
            drawn = tried.on(grid, shares=shares)
            if not drawn.any():
                break
            off = float(np.abs(drawn - share).sum(dtype=np.float64))
            if off < miss:
                best, miss = tried, off
            if off == 0:
                break
            own_mean, own = _moments(drawn, grid)
            # ever shorter steps: a voxel is inside or not, so that the difference jumps
            step = 0.8 * 0.93**number
            center, shape = center + step * (mean - own_mean), shape + step * 5 * (moment - own)
        if best is None:
            raise InputError("a region without volume is like no ellipsoid")
        return best if shares or share.size > SMALL else best._middle(share, grid, miss)

    def _middle(self, share: NDArray[np.float32], grid: Grid, miss: float) -> Self:
        """Average many ellipsoids with as few unlike voxels: a small region does not determine a single one.

        A random walk over centers and shapes, with steps that grow when taken and shrink when not.
        """
        rng = np.random.default_rng(0)
        here, step = self, 0.05
        length = np.sqrt(np.trace(self.shape) / 3)
        centers, shapes = [self.center], [self.shape]
        for _ in range(WALK):
            noise = rng.normal(size=(3, 3)) * step * grid.spacing[0] / length
            bend = np.eye(3) + (noise + noise.T) / 2
            tried = type(self)(
                here.center + rng.normal(size=3) * step * np.array(grid.spacing).min(), bend @ here.shape @ bend.T
            )
            off = np.inf if tried.is_flat else float(np.abs(tried.on(grid) - share).sum(dtype=np.float64))
            if off <= miss:
                if off < miss:
                    centers, shapes, miss = [], [], off
                here, step = tried, min(step * 1.3, 1.0)
            else:
                step *= 0.9
            centers.append(here.center)
            shapes.append(here.shape)
        return type(self)(np.mean(centers, axis=0), np.mean(shapes, axis=0))


def _moments(share: NDArray[np.float32], grid: Grid) -> tuple[Floats, Floats]:
    """Center (x, y, z) and second central moments of a region, mm and mm^2."""
    index = np.argwhere(share)
    if len(index) == 0:
        raise InputError("an empty region has no center")
    weight = share[tuple(index.T)].astype(np.float64)
    mean = weight @ index / weight.sum()
    away = (index - mean) @ grid.affine[:3, :3].T
    return grid.to_world(mean), (away * weight[:, None]).T @ away / weight.sum()
