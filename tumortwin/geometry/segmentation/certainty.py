"""How sure a volume is: from the evidence for a segmentation, and from a drawn outline's edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.imaging.volume import Grid, Mask

Z90 = 1.6449
EDGE_VOXELS = 0.5
"""A drawn edge is taken to lie within half a voxel, 90 % of the time, of where the same reader would draw it again.

Readers differ among each other by more: Dice 0.74 to 0.85 for the parts of gliomas (Menze et al. 2015,
doi:10.1109/TMI.2014.2377694).
"""
BAND = np.log(0.95 / 0.05)
"""Log odds of 0.95."""


def segmented_interval(log_odds: NDArray[np.float32], mask: Mask) -> tuple[float, float]:
    """90 % interval of a segmented volume, mL: from the voxels that are surely inside to those that may be.

    The voxels' errors are taken to go together (a threshold too low is too low everywhere), which gives the widest
    interval: the volume of the voxels with a probability above 0.95, and above 0.05.
    """
    here = float(mask.grid.voxel_volume) / 1000
    low, high = float((log_odds > BAND).sum()) * here, float((log_odds > -BAND).sum()) * here
    return min(low, mask.volume_ml), max(high, mask.volume_ml)


def drawn_interval(mask: Mask) -> tuple[float, float]:
    """90 % interval of a drawn volume, mL: its edge moved by half a voxel either way."""
    step = EDGE_VOXELS * float(np.mean(mask.grid.spacing))
    change = step * surface_mm2(mask) / 1000
    return max(mask.volume_ml - change, 0.0), mask.volume_ml + change


def surface_mm2(mask: Mask) -> float:
    """Surface of a mask: two thirds of its voxels' open faces, exact in the mean over orientations."""
    total = 0.0
    padded = np.pad(mask.array, 1)
    for axis, spacing in enumerate(mask.grid.spacing):
        total += float(np.diff(padded, axis=axis).sum()) * mask.grid.voxel_volume / spacing
    return 2 / 3 * total


def drawn_log_odds(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Log odds that a voxel is inside a drawn mask: by its distance from the edge, +-6 from two voxels on."""
    if not mask.any():
        return np.full(grid.shape, -6, np.float32)
    outside = ndimage.distance_transform_edt(~mask, sampling=grid.spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=grid.spacing)
    voxel = float(np.mean(grid.spacing))
    # voxel centers next to the edge are half a voxel from it
    depth = np.where(mask, inside - voxel / 2, voxel / 2 - outside) / voxel
    return np.clip(4 * depth, -6, 6).astype(np.float32)
