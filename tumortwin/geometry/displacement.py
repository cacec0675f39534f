"""A displacement field in the world of the reference visit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tumortwin.imaging.volume import Grid


@dataclass(frozen=True, eq=False)
class Deformation:
    """A smooth displacement, in the world of the reference.

    Parameters
    ----------
    grid : Grid
        A coarse grid in the reference's frame; outside it the displacement is that of its border.
    vectors : (z, y, x, 3) float32 array
        Displacement (x, y, z) in mm, LPS: the tissue at p of the reference is seen at T(p + vectors(p)) of the visit,
        with T the rigid pose.
    jacobian : (2,) tuple of float
        Smallest and largest determinant of the gradient of p + vectors(p): 1 keeps volumes, 0 folds.
    """

    grid: Grid
    vectors: NDArray[np.float32]
    jacobian: tuple[float, float]

    def at(self, world: ArrayLike) -> NDArray[np.float64]:
        """Displacements (..., 3) in mm at world points (..., 3)."""
        index = np.moveaxis(self.grid.to_index(world), -1, 0)
        parts = [
            ndimage.map_coordinates(self.vectors[..., k], index, order=1, mode="nearest", output=np.float64)
            for k in range(3)
        ]
        return np.stack(parts, axis=-1)
