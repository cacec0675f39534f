"""The region in which a tumor can grow, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid


@dataclass(frozen=True, eq=False)
class Domain:
    """Where cells can be, on one grid.

    Parameters
    ----------
    grid : Grid
        The twin's one grid.
    mask : (z, y, x) bool array
        Voxels that can hold tumor; outside, the density is exactly 0.
    white, grey, csf : (z, y, x) float32 arrays
        Tissue fractions, 0..1, summing to at most 1. A domain without tissue classes has white = 1 on the mask.
    """

    grid: Grid
    mask: NDArray[np.bool_]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    csf: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("mask", "white", "grey", "csf"):
            array = np.ascontiguousarray(getattr(self, name), dtype=bool if name == "mask" else np.float32)
            if array.shape != self.grid.shape:
                raise InputError(f"the domain's {name} has shape {array.shape}, its grid {self.grid.shape}")
            object.__setattr__(self, name, array)
            if name != "mask" and not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1 + 1e-4):
                raise InputError(
                    f"the domain's share of {name} is 0..1, not {array.min():.3g} to {array.max():.3g}: "
                    "set unknown tissue to 0"
                )
        if (self.white + self.grey + self.csf).max() > 1 + 1e-3:
            raise InputError(
                "the domain's shares of white, grey and CSF sum to at most 1, not "
                f"{(self.white + self.grey + self.csf).max():.3g}"
            )
        if not self.mask.any():
            raise InputError("the domain's mask has no voxels: nothing can grow anywhere")

    @classmethod
    def uniform(cls, grid: Grid, mask: NDArray[np.bool_] | None = None) -> Domain:
        """Build a domain of one tissue on the whole grid or on a mask."""
        inside = np.ones(grid.shape, bool) if mask is None else mask
        zeros = np.zeros(grid.shape, np.float32)
        return cls(grid, inside, inside.astype(np.float32), zeros, zeros)

    def cropped(self, box: tuple[slice, slice, slice]) -> Domain:
        """Crop the domain to a box of slices, at the same place in the world; a box of one slice is a 2-D problem.

        Raises
        ------
        InputError
            If the mask has no voxels there.
        """
        return Domain(self.grid.cropped(box), self.mask[box], self.white[box], self.grey[box], self.csf[box])
