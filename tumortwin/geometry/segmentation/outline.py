"""Outlines of tumor, enhancement, necrosis and resection cavity in one visit's images, by classical means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from tumortwin.geometry.segmentation.evidence import LesionSignal, NormalSignal, settled
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

SEED_SIGMA = 5.0
"""A lesion starts where its share is this many standard deviations of normal tissue above 0."""
FULL_LESION, FULL_GAIN, FULL_NECROSIS = 90.0, 70.0, 80.0
"""Percentiles of the signal within an outline that stand for its full signal: beyond its blurred edge, within its
brightest spots. Contrast agent's is the lowest, as its spots are brightest."""
SMALLEST_ML = 0.1
PIECE = 0.2
"""A piece counts if it holds this share of the largest one's."""
CLOSE_MM = 4.0
CAVITY_RADIUS_MM = 3.0
"""A cavity holds a ball of this radius somewhere: sulci do not."""
CAVITY_REACH_MM = 5.0
"""A cavity lies this near to what is left of the tumor, or to where it was."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A region and the evidence for it.

    Parameters
    ----------
    mask : (z, y, x) bool array
        The region.
    log_odds : (z, y, x) float32 array
        For each voxel to be inside rather than outside.
    level : mapping of MRSequence to float
        Signal of the full lesion on each image it was told from.
    """

    mask: Bools
    log_odds: Floats
    level: Mapping[MRSequence, float]


def smoothed(image: Floats, grid: Grid) -> Floats:
    """Half a voxel's blur: less noise, hardly less edge."""
    return ndimage.gaussian_filter(image, [0.5 * min(grid.spacing) / s for s in grid.spacing])


def outline(
    images: Mapping[MRSequence, Floats],
    first: MRSequence,
    white: Floats,
    grey: Floats,
    brain: Bools,
    grid: Grid,
    seeds: Bools,
    allowed: Bools,
    level: Mapping[MRSequence, float] | None = None,
    *,
    exclude: Bools | None = None,
    percentile: float = FULL_LESION,
    pieces: bool = False,
) -> Outline:
    """Outline what differs from normal tissue the way a lesion does.

    A first look at one image finds voxels far above normal; what all images show there is the lesion's signal; then
    each voxel's share of lesion is estimated from all images together (see
    :class:`~tumortwin.geometry.segmentation.evidence.LesionSignal`), and what holds more than half is outlined,
    as far as it hangs together with the seeds. Twice, as normal tissue is better known once the lesion is.

    Parameters
    ----------
    images : mapping of MRSequence to (z, y, x) array
        Smoothed. Voxels that are not finite are judged by the other images.
    first : MRSequence
        The image in which the lesion is bright.
    white, grey : (z, y, x) arrays
        Shares of normal tissue.
    brain : (z, y, x) bool array
        Where normal signals are learned.
    grid : Grid
        Of all arrays.
    seeds, allowed : (z, y, x) bool arrays
        Where a lesion may start, and where it may reach.
    level : mapping of MRSequence to float, optional
        The lesion's full signal at another visit. It is taken where this visit's lesion is fainter: a fading lesion
        would else be outlined at half of its own contrast.
    exclude : (z, y, x) bool array, optional
        What is known not to be normal.
    percentile : float
        Of the first image within the lesion: its full signal.
    pieces : bool
        Keep all pieces, not only the largest and those at least a fifth of it.
    """
    known = np.zeros(grid.shape, bool) if exclude is None else exclude
    level = level or {}
    lead = {first: images[first]}
    normal = NormalSignal.of(lead, white, grey, brain, known)
    # until its signal is known, a lesion twice as bright as white matter stands for it: only the ratio to noise counts
    look = LesionSignal.of(lead, white, grey, normal, np.array([2.0 * max(normal.levels[:2, 0].max(), 0.5)]), allowed)
    start = _large((look.share > SEED_SIGMA * look.sigma) & seeds & allowed, grid, SMALLEST_ML)
    start = ndimage.binary_opening(start) if not level else start
    start = largest(start, look.share, grid, pieces)
    if not start.any():
        return Outline(start, np.full(grid.shape, -6, np.float32), {})
    found, log_odds, signal = start, look.share, {}
    for _ in range(2):
        near = ndimage.binary_dilation(found, iterations=max(1, round(3 / min(grid.spacing)))) | known
        normal = NormalSignal.of(images, white, grey, brain & np.isfinite(sum(images.values())), near)
        signal = _signal(images, first, found, percentile)
        if level.keys() >= images.keys() and level[first] > signal[first]:
            signal = {s: level[s] for s in images}
        log_odds = _evidence(images, white, grey, normal, signal, allowed, grid)
        inside = (log_odds > 0) & allowed
        found = largest(joined(start, inside), np.maximum(look.share, 0), grid, pieces)
        if not found.any():
            break
    # what does not hang together with the lesion is no part of it, however bright
    reach = joined(found, (log_odds > -2) & allowed)
    return Outline(found, np.where(reach, log_odds, np.minimum(log_odds, -2)), signal)


def _evidence(
    images: Mapping[MRSequence, Floats],
    white: Floats,
    grey: Floats,
    normal: NormalSignal,
    signal: Mapping[MRSequence, float],
    allowed: Bools,
    grid: Grid,
) -> Floats:
    """Log odds of lesion; where an image is missing, from the others."""
    finite = [np.isfinite(image) for image in images.values()]
    everywhere = np.logical_and.reduce(finite)
    lesion = np.array([signal[s] for s in images])
    log_odds = np.full(grid.shape, -6, np.float32)
    full = allowed & everywhere
    log_odds[full] = LesionSignal.of(images, white, grey, normal, lesion, full).log_odds()[full]
    rest = allowed & ~everywhere
    if rest.any():
        for keep in range(len(images) - 1, 0, -1):
            part = dict(list(images.items())[:keep])
            here = rest & np.logical_and.reduce(finite[:keep])
            if here.any():
                log_odds[here] = LesionSignal.of(
                    part, white, grey, normal.only(tuple(part)), lesion[:keep], here
                ).log_odds()[here]
                rest &= ~here
    return settled(log_odds, grid)


def _signal(
    images: Mapping[MRSequence, Floats], first: MRSequence, lesion: Bools, percentile: float
) -> dict[MRSequence, float]:
    """Estimate the full signal of a lesion on each image from the voxels that are bright on the first.

    Beyond the blurred edge and within the brightest spots; the others' medians there are not drawn to their own noise.
    """
    lead = images[first][lesion]
    bright = lead >= np.percentile(lead, 100 - 2 * (100 - percentile))
    signal = {first: float(np.percentile(lead, percentile))}
    for sequence, image in images.items():
        values = image[lesion][bright]
        values = values[np.isfinite(values)]
        signal.setdefault(sequence, float(np.median(values)) if values.size else np.nan)
    return signal


def fluid_within(
    images: Mapping[MRSequence, Floats],
    white: Floats,
    grey: Floats,
    brain: Bools,
    lesion: Bools,
    solid: Bools,
    grid: Grid,
) -> Bools:
    """Necrosis: what in a lesion tends from its own signal towards that of CSF, on T1 and ADC.

    FLAIR is not asked: it shows necrosis bright or dark. Two kinds are parted half way between the lesion's usual
    signal and that of its most fluid part, if they differ by more than noise and unevenness explain.

    Parameters
    ----------
    images : mapping of MRSequence to (z, y, x) array
        Smoothed; of T1 (else T1Gd) and ADC, those that there are.
    white, grey, brain : (z, y, x) arrays
        Shares, and where the brain is.
    lesion : (z, y, x) bool array
        The lesion, filled.
    solid : (z, y, x) bool array
        What in it is something else: enhancing.
    grid : Grid
        Of all arrays.
    """
    nothing = np.zeros(grid.shape, bool)
    asked = {s: images[s] for s in (MRSequence.T1, MRSequence.ADC) if s in images}
    if MRSequence.T1 not in asked and MRSequence.T1GD in images:
        asked = {MRSequence.T1GD: images[MRSequence.T1GD], **asked}
    valid = np.logical_and.reduce([np.isfinite(i) for i in asked.values()]) if asked else nothing
    where = lesion & ~solid & valid
    csf = brain & (white + grey < 0.05) & ~lesion & valid
    if where.sum() < 50 or csf.sum() < 50:
        return nothing
    values = np.stack([i[where] for i in asked.values()], -1)
    usual = np.median(values, 0)
    # purest CSF: its signal away from partial volume
    signs = np.sign(np.array([np.median(i[csf]) for i in asked.values()]) - usual)
    fluid = np.array(
        [np.percentile(i[csf], 75 if sign > 0 else 25) for i, sign in zip(asked.values(), signs, strict=True)]
    )
    spread = np.maximum(1.4826 * np.median(np.abs(values - usual), 0), 1e-9)
    weight = (fluid - usual) / spread**2
    share = np.zeros(grid.shape, np.float32)
    along = ((values - usual) * weight).sum(-1) / ((fluid - usual) * weight).sum()
    # where necrosis is a large part, the lesion's usual signal is that of the rest
    rest = _lower_kind(along)
    base = float(np.median(rest))
    share[where] = (along - base) / max(1 - base, 1e-3)
    noise = max(1.4826 * float(np.median(np.abs(rest - base))) / max(1 - base, 1e-3), 1e-3)
    start = _large(where & (share > max(0.25, 3 * noise)), grid, SMALLEST_ML)
    if not start.any():
        return nothing
    full = float(np.percentile(share[start], FULL_NECROSIS))
    above = where & (share > max(0.5 * full, 2 * noise))
    return _large(joined(start, above), grid, SMALLEST_ML)


def _lower_kind(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower of two groups split by Otsu (1979, doi:10.1109/TSMC.1979.4310076), or all if there is one."""
    middle = threshold_otsu(values)
    low, high = values[values <= middle], values[values > middle]
    if min(len(low), len(high)) < 20:
        return values
    within = np.sqrt((low.var() * len(low) + high.var() * len(high)) / len(values))
    # a single Gaussian, cut in two, has halves 2.6 of their standard deviations apart
    return low if high.mean() - low.mean() > 3.2 * within else values


def cavity_of(
    images: Mapping[MRSequence, Floats],
    white: Floats,
    grey: Floats,
    usual: Floats | None,
    brain: Bools,
    beside: Bools,
    grid: Grid,
) -> Bools:
    """Segment a resection's cavity: fluid where the brain should be, beside what is left of the tumor or where it was.

    Fluid is told from tissue half way between the two, on all images together. What the tissue map or the atlas
    explains (ventricles, sulci) is none.

    Parameters
    ----------
    images : mapping of MRSequence to (z, y, x) array
        Smoothed T1, FLAIR, T2, ADC: those that there are.
    white, grey : (z, y, x) arrays
        Shares of tissue.
    usual : (z, y, x) array or None
        Share of tissue that the atlas expects, if the tissue map was made after the resection and may know the cavity
        as CSF.
    brain : (z, y, x) bool array
        Where to look.
    beside : (z, y, x) bool array
        The tumor, left or former.
    grid : Grid
        Of all arrays.
    """
    valid = np.logical_and.reduce([np.isfinite(i) for i in images.values()])
    solid, liquid = brain & valid & (white + grey > 0.95), brain & valid & (white + grey < 0.05)
    nothing = np.zeros(grid.shape, bool)
    if solid.sum() < 500 or liquid.sum() < 100 or not beside.any():
        return nothing
    here = brain & valid
    score = np.zeros(grid.shape, np.float32)
    tissue, fluid = (np.stack([i[at] for i in images.values()], -1) for at in (solid, liquid))
    spread = np.maximum(1.4826 * np.median(np.abs(tissue - np.median(tissue, 0)), 0), 1e-9)
    middle = np.median(tissue, 0)
    # the purest half of the CSF: sulci mix with tissue
    away = np.abs(fluid - middle)
    full = middle + np.sign(np.median(fluid - middle, 0)) * np.percentile(away, 70, axis=0)
    weight = (full - middle) / spread**2
    # no image alone decides
    weight = weight / np.abs(weight * (full - middle)) / len(weight)
    score[here] = ((np.stack([i[here] for i in images.values()], -1) - middle) * weight).sum(-1)
    expected = white + grey if usual is None else np.maximum(white + grey, usual)
    fluid_there = here & (score > 0.5)
    candidates = fluid_there & (expected > 0.5)
    opened = ndimage.binary_opening(candidates, ball(CAVITY_RADIUS_MM, grid))
    near = ndimage.distance_transform_edt(~beside, sampling=grid.spacing) <= CAVITY_REACH_MM
    labels, count = ndimage.label(opened)
    touched = np.zeros(count + 1, bool)
    touched[np.unique(labels[near & opened])] = True
    touched[0] = False
    kept = touched[labels]
    if not kept.any():
        return nothing
    grown = ndimage.binary_dilation(kept, ball(CAVITY_RADIUS_MM, grid)) & fluid_there & (expected > 0.3)
    return filled(grown)


def joined(seeds: Bools, region: Bools) -> Bools:
    """Keep the pieces of a region that hold a seed."""
    labels, count = ndimage.label(region)
    kept = np.zeros(count + 1, bool)
    kept[np.unique(labels[seeds])] = True
    kept[0] = False
    return kept[labels]


def filled(region: Bools) -> Bools:
    """Fill the holes of a region, computed in its bounding box only."""
    if not region.any():
        return region
    box = ndimage.find_objects(region.astype(np.int8))[0]
    out = region.copy()
    out[box] = ndimage.binary_fill_holes(region[box])
    return out


def largest(region: Bools, weight: Floats, grid: Grid, pieces: bool) -> Bools:
    """Keep the pieces of at least 0.1 mL; without `pieces`, only those with a fifth of the largest weight or more."""
    labels, count = ndimage.label(region)
    if count == 0:
        return region
    voxels = ndimage.sum_labels(region, labels, np.arange(1, count + 1))
    mass = ndimage.sum_labels(weight, labels, np.arange(1, count + 1))
    keep = voxels * grid.voxel_volume / 1000 >= SMALLEST_ML
    if not pieces:
        keep &= mass >= PIECE * mass.max()
    return np.concatenate([[False], keep])[labels]


def _large(region: Bools, grid: Grid, ml: float) -> Bools:
    labels, count = ndimage.label(region)
    if count == 0:
        return region
    keep = np.bincount(labels.ravel()) * grid.voxel_volume / 1000 >= ml
    keep[0] = False
    return keep[labels]


def ball(radius_mm: float, grid: Grid) -> Bools:
    """Build a ball as a structuring element, one voxel thick along an axis with a spacing above its radius."""
    reach = [int(radius_mm / s) for s in grid.spacing]
    axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    return np.asarray(sum((a * s) ** 2 for a, s in zip(axes, grid.spacing, strict=True)) <= radius_mm**2)


def enclosed(enhancing: Bools, grid: Grid) -> Bools:
    """Find what a rim surrounds, in space or in the slices of two axes, and bridge gaps up to about 4 mm."""
    if not enhancing.any():
        return np.zeros(grid.shape, bool)
    box = ndimage.find_objects(enhancing.astype(np.int8))[0]
    whole, enhancing = np.zeros(grid.shape, bool), enhancing[box]
    reach = [int(CLOSE_MM / s) for s in grid.spacing]
    pad = [(r + 1, r + 1) for r in reach]
    closed = ndimage.binary_closing(np.pad(enhancing, pad), ball(CLOSE_MM, grid))
    filled = ndimage.binary_fill_holes(closed)
    votes = np.zeros(filled.shape, np.uint8)
    for axis in range(3):
        planes = np.moveaxis(closed, axis, 0)
        votes += np.moveaxis(np.stack([ndimage.binary_fill_holes(plane) for plane in planes]), 0, axis)
    filled |= votes >= 2
    inner = filled[tuple(slice(a, -b) for a, b in pad)]
    whole[box] = ndimage.binary_opening(inner & ~enhancing)
    return whole
