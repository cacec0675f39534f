"""One slice of a scan with what was drawn on it and planned for it, each brought to the slice from its own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes

from tumortwin.board.cuts import Cut
from tumortwin.board.slices import SliceArtists, show_slice
from tumortwin.imaging.resampling import AnyVolume, index_map, resample
from tumortwin.imaging.volume import Dose, Grid, Mask, Volume

LEVELS = (0.3, 0.5, 0.8, 0.95, 1.07)
"""Shares of a course's dose at which lines are drawn."""


def isodoses_of(dose: Dose, prescribed: float | None = None) -> tuple[float, ...]:
    """Doses in whole Gy at which to draw lines: shares of what is prescribed, or of the highest dose."""
    full = float(dose.array.max()) / LEVELS[-1] if prescribed is None else prescribed
    return tuple(sorted({float(round(share * full)) for share in LEVELS} - {0.0}))


@dataclass(frozen=True)
class Overlays:
    """What :func:`view_slice` drew.

    Parameters
    ----------
    artists : SliceArtists
        Of the slice.
    shown : tuple of str
        Names of masks that have a line in this slice.
    elsewhere : tuple of str
        Names of masks and doses whose frame of reference is not the image's: where they lie in it is not known.
    """

    artists: SliceArtists
    shown: tuple[str, ...]
    elsewhere: tuple[str, ...]


def view_slice(
    ax: Axes,
    image: Volume,
    cut: Cut,
    *,
    window: tuple[float, float] | None = None,
    masks: Mapping[str, Mask] | None = None,
    colors: Mapping[str, str] | None = None,
    dose: Dose | None = None,
    isodoses: Sequence[float] = (),
) -> Overlays:
    """Draw a slice of an image with masks and a dose that may be on other grids.

    Only the slice is resampled: masks as their indicator function cut at one half, the dose linearly.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    image : Volume
        In grey.
    cut : Cut
        Of its grid.
    window : (float, float), optional
        As for :func:`~tumortwin.board.slices.show_slice`.
    masks : mapping of str to Mask, optional
        Drawn as outlines.
    colors : mapping of str to str, optional
        As for :func:`~tumortwin.board.slices.show_slice`.
    dose : Dose, optional
        Drawn as lines at `isodoses`.
    isodoses : sequence of float
        Gy.

    Returns
    -------
    Overlays
    """
    through = cut.axes[0]
    box = tuple(slice(cut.index, cut.index + 1) if axis == through else slice(None) for axis in range(3))
    slab = image.cropped((box[0], box[1], box[2]))
    here = replace(cut, grid=slab.grid, index=0)
    elsewhere = [name for name, mask in (masks or {}).items() if mask.frame != image.frame]
    outlines = {
        name: brought(mask, slab.grid).array for name, mask in (masks or {}).items() if mask.frame == image.frame
    }
    lines = None
    if dose is not None:
        if dose.frame == image.frame:
            lines = brought(dose, slab.grid).array
        else:
            elsewhere.append(dose.name or "dose")
    artists = show_slice(ax, slab, here, window=window, outlines=outlines, colors=colors, dose=lines, isodoses=isodoses)
    return Overlays(artists, tuple(artists.outlines), tuple(elsewhere))


def brought(volume: AnyVolume, grid: Grid) -> AnyVolume:
    """Resample the volume to a grid; of a large volume, only the part around the grid is used."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1)
    matrix = index_map(volume.grid, grid)
    there = matrix[:3, :3] @ corners + matrix[:3, 3:]
    low = np.floor(there.min(axis=1)).astype(int) - 1
    high = np.ceil(there.max(axis=1)).astype(int) + 2
    # beside the volume altogether: its outermost voxels serve, and give nothing
    box = [
        slice(int(np.clip(a, 0, n - 1)), int(np.clip(b, 1, n)))
        for a, b, n in zip(low, high, volume.grid.shape, strict=True)
    ]
    box = [slice(s.start, max(s.stop, s.start + 1)) for s in box]
    return resample(volume.cropped((box[0], box[1], box[2])), grid)
