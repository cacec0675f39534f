"""What was drawn, on an image's own voxels, from shares of the twin's coarser ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, Mask, Volume


def outline(share: Volume, grid: Grid, transform: NDArray[np.float64] | None = None) -> Mask:
    """Reconstruct a mask from the share of each coarser voxel inside it, with the same volume.

    Shares are blurred by their voxels: cut at one half, a ball of 5 mm would lose an eighth of its volume on a grid of
    2 mm, and one of 3 mm a third. So they are cut where the volume is that of the shares.

    Parameters
    ----------
    share : Volume
        0..1.
    grid : Grid
        Where to.
    transform : (4, 4) array, optional
        World of `grid` to world of `share`.
    """
    values = resample(share, grid, transform).array
    count = round(float(values.sum(dtype=np.float64)))
    if count == 0:
        return Mask(np.zeros(grid.shape, bool), grid)
    return Mask(values >= np.partition(values, -count, axis=None)[-count], grid)
