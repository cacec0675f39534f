"""A region from a hint: one click in it, or a box around it.

Nothing is known of the organ: a region is what looks like the hint and unlike its surroundings. Sizes are mm, so
spacing and orientation of the images do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.editing.patch import Patch, cube_corners, nested, placed, several_images
from tumortwin.geometry.editing.refinement import UNSURE_MM, depth_of, walk
from tumortwin.geometry.editing.strokes import index_inside, place_text
from tumortwin.geometry.sampling import average
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.progress import Progress, silent

SEED_MM = 2.5
"""Radius of what a click points at."""
EDGE_MM = (3.0, 1.5)
"""How far inside and outside the region that a box suggests its edge is looked for."""
FAINTEST = 2.0
"""Contrast below this many standard deviations of noise is said."""


@dataclass(frozen=True, eq=False)
class Hinted:
    """A region found from a hint.

    Parameters
    ----------
    mask : Mask
        Where it is more likely than not, on the first image's grid.
    probability : Volume
        That a random walker reaches the region's seed before the surroundings', 0..1. It says how sharp the edge is,
        not how often such an outline is right.
    low_ml, high_ml : float
        Volume where the probability is above 0.8 and above 0.2, mL.
    findings : tuple of Finding
        What to look at.
    """

    mask: Mask
    probability: Volume
    low_ml: float
    high_ml: float
    findings: tuple[Finding, ...] = ()


def segment_from_click(
    images: Volume | Iterable[Volume], point: ArrayLike, *, reach_mm: float = 40.0, progress: Progress = silent
) -> Hinted:
    """Segment the region around a clicked point.

    The images' mean around the click against their median within reach gives a direction of contrast (each image
    weighted by contrast over squared noise, as in a linear discriminant with uncorrelated noise). Along it the
    surroundings are 0 and the click is 1. What is connected to the click above one half is a first outline; its inside
    and what is far from it are the seeds of a random walker, which settles the edge.

    Parameters
    ----------
    images : Volume or several
        In one frame of reference; the grids may differ. The first one's grid is the result's.
    point : (3,) array
        In the region, (x, y, z) in LPS mm.
    reach_mm : float
        Nothing farther than this from the click belongs to the region.
    progress : Progress
        Told of three steps; cancels by raising.

    Returns
    -------
    Hinted

    Raises
    ------
    InputError
        If the click is outside an image, an image is constant there, or nothing stands out.
    """
    several = several_images(images)
    place = np.asarray(point, float)
    for image in several:
        index_inside(image.grid, place)
    if not 2 * SEED_MM <= reach_mm < np.inf:
        raise InputError(f"a click reaches at least {2 * SEED_MM:g} mm, not {reach_mm}")
    progress(0, 3, "segment from a click")
    patch = Patch.around(several, cube_corners(place, reach_mm))
    distance = np.linalg.norm(patch.world - place, axis=-1)
    inside = distance <= reach_mm
    at = index_inside(patch.grid, place)
    seed = (distance <= max(SEED_MM, 0.5 * max(patch.grid.spacing))) & inside
    seed[at] = True
    if not patch.known[seed].all():
        raise InputError(f"an image has no value at {place_text(place)} mm: click elsewhere")
    likeness, noise = patch.contrast(seed, inside & (distance > 2 * SEED_MM))
    # brighter than the click is the region too, up to twice its contrast: a rim's brightest part
    alike = inside & patch.known & (likeness > 0.5) & (likeness < 2.5)
    alike[at] = True
    progress(1, 3, "segment from a click")
    labels, _ = ndimage.label(alike)
    first = labels == labels[at]
    # through a bridge of one voxel the region would run into its neighbor
    opened, _ = ndimage.label(ndimage.binary_opening(first))
    whole = opened == opened[at] if opened[at] else first
    findings = _look_at(whole, inside, place, patch, noise)
    sure = ndimage.binary_erosion(whole) & (likeness > 0.7)
    sure[at] = True
    away = ndimage.distance_transform_edt(~whole, sampling=patch.grid.spacing)
    other = (away > UNSURE_MM) | ~inside | ~patch.known | (likeness < 0.1) & ~whole
    progress(2, 3, "segment from a click")
    found = walk(likeness, sure, other & ~sure, patch.grid)
    return _finished(found, patch.grid, several[0], findings, progress, "segment from a click")


def segment_from_box(
    images: Volume | Iterable[Volume],
    corner: ArrayLike,
    opposite: ArrayLike,
    *,
    margin_mm: float = 4.0,
    progress: Progress = silent,
) -> Hinted:
    """Segment the region that a box was drawn around.

    What lies around the box shows how the surroundings look; what is more frequent inside than that is the region
    (histograms, refined twice as in GrabCut: Rother et al. 2004, doi:10.1145/1015706.1015720). Its clear part is the
    seed of a random walker, which settles the edge. A region of several kinds of tissue (a rim and its necrosis) is
    taken as one.

    Parameters
    ----------
    images : Volume or several
        As for :func:`segment_from_click`.
    corner, opposite : (3,) arrays
        Two opposite corners, (x, y, z) in LPS mm; the box lies along the first image's axes.
    margin_mm : float
        How far around the box the surroundings are looked at.
    progress : Progress
        Told of three steps; cancels by raising.

    Returns
    -------
    Hinted

    Raises
    ------
    InputError
        If the box has no volume or lies outside an image, an image is constant there, or nothing in the box differs
        from its surroundings.
    """
    several = several_images(images)
    grid = several[0].grid
    ends = np.sort(grid.to_index(np.array([corner, opposite], float)), axis=0)
    if not np.isfinite(ends).all() or ((ends[1] - ends[0]) * grid.spacing < 0.5 * np.array(grid.spacing)).any():
        raise InputError(
            f"the box from {place_text(corner)} to {place_text(opposite)} mm has no volume: give two opposite corners"
        )
    middle = grid.to_world(ends.mean(0))
    for image in several:
        index_inside(image.grid, middle)
    progress(0, 3, "segment from a box")
    margin = margin_mm / np.array(grid.spacing)
    patch = Patch.around(several, grid.to_world(np.array([ends[0] - margin, ends[1] + margin])))
    index = grid.to_index(patch.world)
    inside = ((index >= ends[0] - 1e-6) & (index <= ends[1] + 1e-6)).all(-1) & patch.known
    around = patch.known & ~inside
    if min(inside.sum(), around.sum()) < 30:
        raise InputError(
            f"the box holds {inside.sum()} voxels and has {around.sum()} around it: make it larger, and "
            "leave some room to the edge of the image"
        )
    # a box is drawn around something: its middle is more likely than its corners
    from_middle = ((2 * (index - ends.mean(0)) / (ends[1] - ends[0])) ** 2).sum(-1)
    likeness = patch.frequency(
        inside & (from_middle < 0.6), patch.known & (from_middle > 1.1), inside, 2 * (1 - np.minimum(from_middle, 4))
    )
    progress(1, 3, "segment from a box")
    whole = _clearest(inside & (likeness > 0.5))
    if not whole.any():
        raise InputError(
            f"nothing in the box from {place_text(corner)} to {place_text(opposite)} mm differs from what "
            "is around it: choose another image, or draw by hand"
        )
    whole = ndimage.binary_fill_holes(whole) & inside
    findings = []
    shell = inside & ~ndimage.binary_erosion(inside)
    if whole[shell].mean() > 0.25:
        findings.append(
            Finding(
                "the region fills the box up to its sides",
                f"box around {place_text(middle)} mm",
                "cut off there: draw a larger box",
                Severity.NOTE,
            )
        )
    # values between the region's and the surroundings' occur in neither and count as the region's: its edge lies inside
    depth = depth_of(whole, patch.grid)
    sure = depth > min(EDGE_MM[0], 0.5 * float(depth.max()))
    other = ~inside | (depth < -EDGE_MM[1])
    progress(2, 3, "segment from a box")
    found = walk(patch.steps(sure, around), sure, other & ~sure, patch.grid)
    return _finished(found, patch.grid, several[0], tuple(findings), progress, "segment from a box")


def deep_box(grid: Grid, corner: ArrayLike, opposite: ArrayLike, axis: int) -> tuple[NDArray[np.float64], ...]:
    """Turn a rectangle drawn in a slice into a box that is as deep as the rectangle is wide (the mean of its sides).

    Parameters
    ----------
    grid : Grid
        What was drawn on.
    corner, opposite : (3,) arrays
        Of the rectangle, LPS mm.
    axis : int
        The array axis across the slice.

    Returns
    -------
    corner, opposite : (3,) arrays
        For :func:`segment_from_box`, LPS mm, cut off at the image's edge.
    """
    ends = grid.to_index(np.array([corner, opposite], float))
    sides = np.abs(ends[1] - ends[0]) * grid.spacing
    depth = 0.5 * np.delete(sides, axis).mean() / grid.spacing[axis]
    ends[:, axis] = ends[:, axis].mean() + np.array([-depth, depth])
    return tuple(grid.to_world(np.clip(ends, -0.5, np.array(grid.shape) - 0.5)))


def _look_at(
    whole: NDArray[np.bool_], inside: NDArray[np.bool_], place: NDArray[np.float64], patch: Patch, noise: float
) -> tuple[Finding, ...]:
    where = f"click at {place_text(place)} mm"
    findings = []
    if noise > 1 / FAINTEST:
        findings.append(
            Finding(
                f"what was clicked stands out by {1 / noise:.1f} standard deviations of the noise only",
                where,
                "look at the outline closely, or draw it by hand",
                Severity.NOTE,
            )
        )
    shell = inside & ~ndimage.binary_erosion(inside)
    # where the image itself ends, nothing is cut off
    edge = whole & shell & ndimage.binary_erosion(patch.known, border_value=0)
    if edge.any():
        findings.append(
            Finding(
                "the region reaches the end of what a click looks at",
                where,
                "cut off there: give a longer reach, or draw a box",
                Severity.NOTE,
            )
        )
    return tuple(findings)


def _clearest(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the pieces of a region, after opening, that are at least a fifth of the largest."""
    opened = ndimage.binary_opening(region)
    region = opened if opened.any() else region
    labels, count = ndimage.label(region)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return (sizes >= max(0.2 * sizes.max(), 1))[labels] & region


def _finished(
    share: NDArray[np.float32], grid: Grid, image: Volume, findings: tuple[Finding, ...], progress: Progress, what: str
) -> Hinted:
    found = placed(share, grid, image.grid) if nested(grid, image.grid) else average(Volume(share, grid), image.grid)
    found[found < 1e-3] = 0
    probability = Volume(found, image.grid, "1", "probability")
    low, high = (float((found > p).sum()) * image.grid.voxel_volume / 1000 for p in (0.8, 0.2))
    progress(3, 3, what)
    return Hinted(Mask(found > 0.5, image.grid), probability, low, high, findings)
