"""A few images on one small grid around a place: what a region is looked for on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.editing.strokes import place_text
from tumortwin.geometry.sampling import average, box_slices
from tumortwin.imaging.volume import Grid, Volume

MAX_VOXELS = 300_000
"""A patch has at most about this many voxels: larger boxes are looked at more coarsely."""
SMOOTH_MM = 0.7
BINS = 48


@dataclass(frozen=True, eq=False)
class Patch:
    """Images on one small grid around what is looked for.

    `channels` are (z, y, x) float32 arrays, `known` says where all have values, `noise` is a standard deviation each.
    """

    grid: Grid
    channels: list[NDArray[np.float32]]
    known: NDArray[np.bool_]
    noise: list[float]

    @classmethod
    def around(
        cls, images: list[Volume], points: NDArray[np.float64], *, on: Grid | None = None, most: int = MAX_VOXELS
    ) -> Patch:
        """Sample images in the box around world points, along a grid's axes (the first image's), in about cubic voxels.

        Raises
        ------
        InputError
            If the images do not overlap there, or one is constant.
        """
        source = on or images[0].grid
        index = source.to_index(points)
        start = np.clip(np.floor(index.min(0)), 0, np.array(source.shape) - 1).astype(int)
        stop = np.clip(np.ceil(index.max(0)) + 1, start + 1, source.shape).astype(int)
        grid = _even(source.cropped(box_slices(start, stop)), most)
        # NaN where an image ends, so that nothing is taken for an edge there
        channels = [
            average(image, grid, fill=np.nan)
            if image.grid != source or grid.spacing != source.spacing
            else image.array[box_slices(start, stop)].astype(np.float32)
            for image in images
        ]
        known = np.logical_and.reduce([np.isfinite(c) for c in channels])
        if not known.any():
            raise InputError("the images have no value in common there: they do not overlap")
        noise = []
        for image, channel in zip(images, channels, strict=True):
            if float(np.ptp(channel[known])) == 0:
                raise InputError(
                    f"{image.name or 'an image'} is constant around {place_text(grid.center)} mm: nothing "
                    "can be told apart there"
                )
            channel[~known] = np.median(channel[known])
            noise.append(_noise(channel))
        return cls(grid, channels, known, noise)

    @property
    def world(self) -> NDArray[np.float64]:
        """World points (z, y, x, 3) of the voxels, mm."""
        return self.grid.to_world(np.moveaxis(np.indices(self.grid.shape), 0, -1))

    @property
    def smooth(self) -> list[NDArray[np.float32]]:
        """The channels with less noise and hardly less edge: smoothed by half a voxel, at least 0.7 mm."""
        sigma = [max(0.5, SMOOTH_MM / h) for h in self.grid.spacing]
        return [ndimage.gaussian_filter(channel, sigma) for channel in self.channels]

    def contrast(self, seed: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[NDArray[np.float32], float]:
        """How far from the surroundings (0) to the seed (1) each voxel is, and the noise of that."""
        other = other & self.known
        total = np.zeros(self.grid.shape)
        power = 0.0
        for smooth, noise in zip(self.smooth, self.noise, strict=True):
            ground = float(np.median(smooth[other] if other.any() else smooth))
            step = float(np.median(smooth[seed])) - ground
            total += step / noise**2 * (smooth - ground)
            power += step**2 / noise**2
        if power == 0:
            raise InputError(
                "what was clicked looks like its surroundings in every image: click elsewhere, choose "
                "another image, or draw a box"
            )
        return (total / power).astype(np.float32), float(power**-0.5)

    def steps(self, inside: NDArray[np.bool_], around: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Scale the channels by their contrast, (z, y, x, channel): a random walker compares such values."""
        out = []
        for smooth, noise in zip(self.smooth, self.noise, strict=True):
            ground = float(np.median(smooth[around]))
            # a region may be brighter and darker than its surroundings: its typical distance counts
            contrast = max(float(np.median(np.abs(smooth[inside] - ground))), 2 * noise)
            out.append((smooth - ground) / np.float32(contrast))
        return np.stack(out, axis=-1)

    def frequency(
        self,
        middle: NDArray[np.bool_],
        around: NDArray[np.bool_],
        allowed: NDArray[np.bool_],
        before: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """How likely each voxel belongs to what is in the middle, from how often its values occur there and around.

        Parameters
        ----------
        middle, around : (z, y, x) bool arrays
            Where to count at first; in the middle are surroundings too.
        allowed : (z, y, x) bool array
            Where the region may be.
        before : (z, y, x) array
            Log odds without looking at the images.
        """
        sigma = [1.0 / h for h in self.grid.spacing]
        bins = [
            np.clip(np.searchsorted(np.quantile(s[self.known], np.linspace(0, 1, BINS + 1)[1:-1]), s), 0, BINS - 1)
            for s in self.smooth
        ]
        likeness = np.zeros(self.grid.shape, np.float32)
        region = middle
        for step in range(3):
            odds = before.astype(np.float64)
            for b in bins:
                there, here = _histogram(b[around]), _histogram(b[region])
                if step == 0:
                    # many values there are the surroundings' too, as often as they are there: take those off
                    here = np.maximum(here - float(np.quantile(here / there, 0.4)) * there, 1e-3 * here)
                    here /= here.sum()
                odds += np.clip(np.log(here / there), -4, 4)[b]
            likeness = ndimage.gaussian_filter((1 / (1 + np.exp(-np.clip(odds, -30, 30)))).astype(np.float32), sigma)
            if not (allowed & (likeness > 0.5)).any():
                break
            region = allowed & (likeness > 0.5)
        return likeness


def _histogram(bins: NDArray[Any]) -> NDArray[np.float64]:
    counts = ndimage.gaussian_filter1d(np.bincount(bins, minlength=BINS).astype(float), 1.0, mode="nearest") + 0.5
    return counts / counts.sum()


def several_images(images: Volume | Iterable[Volume]) -> list[Volume]:
    """One image or several as a list.

    Raises
    ------
    InputError
        If there is none, or they are not in one frame of reference.
    """
    several = [images] if isinstance(images, Volume) else list(images)
    if not several:
        raise InputError("no image: give at least one")
    for image in several[1:]:
        same_frame(several[0], image)
    return several


def same_frame(first: Volume, other: Volume) -> None:
    """Refuse images of unlike frames of reference."""
    if first.frame != other.frame:
        raise InputError(
            f"{other.name or 'an image'} is in another frame of reference ({other.frame}) than "
            f"{first.name or 'the first'} ({first.frame}): register and resample it first"
        )


def _even(grid: Grid, most: int) -> Grid:
    """Divide a grid's box into about cubic voxels, at most about `most`; return the grid itself if it is so already."""
    spacing, size = np.array(grid.spacing), np.array(grid.shape) * grid.spacing
    if spacing.max() < 1.5 * spacing.min() and np.prod(grid.shape) <= most:
        return grid
    # what lies between thick slices is not known any better on finer voxels
    step = max(float(spacing.min()), float(spacing.max()) / 4, float(np.prod(size) / most) ** (1 / 3))
    shape = np.maximum(np.round(size / step), 1).astype(int)
    affine = np.array(grid.affine)
    affine[:3, :3] *= np.array(grid.shape) / shape
    affine[:3, 3] = grid.to_world(0.5 * np.array(grid.shape) / shape - 0.5)
    z, y, x = shape.tolist()
    return Grid((z, y, x), affine, grid.frame)


def _noise(values: NDArray[np.float32]) -> float:
    """Estimate the standard deviation of white noise from differences of neighbors (robust against edges)."""
    steps = np.concatenate([np.diff(values, axis=k).ravel() for k in range(3)])
    spread = 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2)
    # an image without noise: a thousandth of what it spans
    return max(spread, 1e-3 * float(np.ptp(values)))


def cube_corners(middle: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """Compute the (8, 3) corners of a cube around a world point, along the world's axes."""
    return middle + half * np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T


def nested(inner: Grid, outer: Grid) -> bool:
    """Whether a grid is a box of another's voxels."""
    return bool(np.allclose(inner.affine[:3, :3], outer.affine[:3, :3]))


def placed(part: NDArray[np.float32], inner: Grid, outer: Grid) -> NDArray[np.float32]:
    """Place the values on a box of a grid's voxels into the whole grid, with zeros around them."""
    whole = np.zeros(outer.shape, np.float32)
    start = np.round(outer.to_index(inner.to_world([0, 0, 0]))).astype(int)
    whole[box_slices(start, start + inner.shape)] = part
    return whole
