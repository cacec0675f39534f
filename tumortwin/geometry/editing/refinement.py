"""A rough outline moved to the edge that an image shows: by random walks or by a geodesic contour."""

from __future__ import annotations

import warnings
from enum import StrEnum

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import random_walker

from tumortwin.errors import InputError
from tumortwin.geometry.editing.patch import MAX_VOXELS, Patch, nested, placed, same_frame
from tumortwin.geometry.editing.strokes import bounding_box
from tumortwin.geometry.sampling import average
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.progress import Progress, silent

EDGE_SHARE, CURVATURE, ADVECTION = 0.3, 0.05, 2.0
"""Slope that slows a contour, as a share of the steepest; weights of smoothness and of the pull to an edge."""
ITERATIONS, CONVERGED = 80, 0.01
CONTOUR_VOXELS = 60_000
UNSURE_MM = 4.0
"""How far from a drawn or first outline the final one is looked for."""
BETA = 30.0
"""A walker crosses a step of the whole contrast with a likelihood of exp(-30) (Grady's beta, of contrast 1)."""
STEP_MM = 2.0
"""Width of such a step."""


class Refinement(StrEnum):
    """How an outline is made exact."""

    RANDOM_WALKER = "random walker"
    """Grady 2006, doi:10.1109/TPAMI.2006.233."""
    GEODESIC_CONTOUR = "geodesic contour"
    """Caselles et al. 1997, doi:10.1023/A:1007979827043."""

    @classmethod
    def _missing_(cls, value: object) -> Refinement:
        raise InputError(f"a refinement is one of {', '.join(repr(str(i)) for i in cls)}, not {value!r}")


def refine(
    mask: Mask,
    image: Volume,
    method: Refinement | str = Refinement.RANDOM_WALKER,
    *,
    within_mm: float = UNSURE_MM,
    progress: Progress = silent,
) -> Mask:
    """Move a rough outline to the edge that an image shows.

    Parameters
    ----------
    mask : Mask
        Drawn roughly, in the image's frame of reference.
    image : Volume
        What shows the edge.
    method : Refinement
        The random walker takes what is deep inside the mask and what is far outside as known, and settles what lies
        between. The geodesic contour is pulled to the nearest strong edge and stays smooth: better for a blurred edge,
        worse for fingers; where the edge is blurred over much of a region's radius it lies inside it.
    within_mm : float
        How far the outline may move.
    progress : Progress
        Told of two steps; cancels by raising.

    Returns
    -------
    Mask
        On the mask's grid.

    Raises
    ------
    InputError
        If the mask is empty, no such method is known, the frames of reference differ, or the image is constant there.
    """
    method = Refinement(method)
    if not mask.array.any():
        raise InputError("there is nothing to refine: the mask is empty")
    if not within_mm > 0:
        raise InputError(f"an outline may move by more than 0 mm, not {within_mm}")
    same_frame(mask, image)
    progress(0, 2, f"refine by {method}")
    held = mask.grid.to_world(
        [[s.start for s in bounding_box(mask.array)], [s.stop - 1 for s in bounding_box(mask.array)]]
    )
    room = within_mm + 2 * max(mask.grid.spacing)
    ends = np.sort(mask.grid.to_index(held), axis=0) + np.array([[-1], [1]]) * room / np.array(mask.grid.spacing)
    patch = Patch.around(
        [image],
        mask.grid.to_world(ends),
        on=mask.grid,
        most=MAX_VOXELS if method is Refinement.RANDOM_WALKER else CONTOUR_VOXELS,
    )
    drawn = average(mask, patch.grid) >= 0.5
    if not drawn.any():
        raise InputError(f"the mask of {mask.volume_ml:.3f} mL is too small to refine: paint it by hand")
    depth = depth_of(drawn, patch.grid)
    progress(1, 2, f"refine by {method}")
    if method is Refinement.RANDOM_WALKER:
        # of a thin mask, its middle
        sure = depth > min(0.5 * within_mm, 0.5 * float(depth.max()))
        other = (depth < -within_mm) | ~patch.known
        if not other.any():
            other = ~drawn & (depth == depth.min())
        around = patch.known & (depth < -0.5 * within_mm)
        steps = patch.steps(sure, around if around.any() else other)
        share = walk(steps, sure, other & ~sure, patch.grid)
    else:
        share = _contour(patch, depth, within_mm)
    share = np.where(depth > within_mm, 1, np.where(depth < -within_mm, 0, share)).astype(np.float32)
    progress(2, 2, f"refine by {method}")
    if nested(patch.grid, mask.grid):
        return mask.with_array(placed(share, patch.grid, mask.grid) >= 0.5)
    return mask.with_array(resample(Volume(share, patch.grid), mask.grid).array >= 0.5)


def walk(
    values: NDArray[np.float32], sure: NDArray[np.bool_], other: NDArray[np.bool_], grid: Grid
) -> NDArray[np.float32]:
    """Probability of reaching `sure` before `other`, walking reluctantly across steps of values.

    `values` are (z, y, x) or (z, y, x, channel), in units of the contrast.
    """
    share = sure.astype(np.float32)
    if not other.any() or not sure.any() or (sure | other).all():
        return share
    # only what is not known, and the known next to it
    open_ = ndimage.binary_dilation(~(sure | other))
    box = bounding_box(open_)
    labels = np.where(sure, 1, np.where(other, 2, 0))[box]
    labels[~open_[box]] = -1
    data = np.clip(values[box], -20, 20).astype(np.float64)
    spread = float(data.std())
    if spread == 0 or not (labels == 1).any() or not (labels == 2).any() or not (labels == 0).any():
        return share
    labels = _reachable(labels)
    channels = data.shape[3] if data.ndim == 4 else 1
    # skimage divides squared steps by ten times the standard deviation, and by the root of the number of channels
    # on finer voxels an edge is made of smaller steps
    finer = max(1.0, STEP_MM / float(np.mean(grid.spacing))) ** 2
    beta = BETA * finer * 10 * spread / np.sqrt(channels)
    with warnings.catch_warnings():
        # the solver's tolerance lets probabilities pass 0 or 1 by a thousandth; they are clipped
        warnings.filterwarnings("ignore", "The probability range is outside")
        walked = random_walker(
            data,
            labels,
            beta=beta,
            mode="cg_j",
            tol=1e-3,
            return_full_prob=True,
            channel_axis=-1 if data.ndim == 4 else None,
        )
    part = share[box]
    unsure = labels == 0
    part[unsure] = np.clip(walked[0][unsure], 0, 1)
    return share


def _reachable(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Unknown voxels that no walker from a seed can reach belong to the surroundings."""
    pieces, _ = ndimage.label(labels >= 0)
    seeded = np.unique(pieces[labels > 0])
    return np.where((labels == 0) & ~np.isin(pieces, seeded), 2, labels)


def depth_of(drawn: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Distance in mm to a mask's outline, positive inside."""
    half = 0.5 * min(grid.spacing)
    inside = ndimage.distance_transform_edt(drawn, sampling=grid.spacing)
    if drawn.all():
        return inside.astype(np.float32)
    outside = ndimage.distance_transform_edt(~drawn, sampling=grid.spacing)
    return np.where(drawn, inside - half, half - outside).astype(np.float32)


def _contour(patch: Patch, depth: NDArray[np.float32], within_mm: float) -> NDArray[np.float32]:
    """Move a geodesic active contour from depth 0 to the edges, and return the share of each voxel inside it."""
    h = float(np.mean(patch.grid.spacing))
    smooth = ndimage.gaussian_filter(patch.channels[0], max(0.3, 0.7 / h))
    near = np.abs(depth) <= within_mm
    inner, outer = (
        float(np.median(smooth[near & side])) if (near & side).any() else 0.0 for side in (depth > 0, depth <= 0)
    )
    # going outward, the region's edge falls where the region is the brighter one; an edge that rises is another's
    inward = np.array([np.gradient(ndimage.gaussian_filter(depth, 1.0), h, axis=k) for k in range(3)])
    inward /= np.maximum(np.linalg.norm(inward, axis=0), 1e-3)
    slope = sum(np.gradient(smooth, h, axis=k) * inward[k] for k in range(3))
    slope = np.maximum(slope if inner >= outer else -slope, 0)
    # an edge is what is steeper than noise, and as steep as the steepest tenth near the outline
    steep = max(float(np.quantile(slope[near], 0.9)), patch.noise[0] / h)
    speed = (1 / (1 + (slope / (EDGE_SHARE * steep)) ** 2)).astype(np.float32)
    level, feature = (sitk.GetImageFromArray(a) for a in (-depth / h, speed))
    contour = sitk.GeodesicActiveContourLevelSetImageFilter()
    contour.SetPropagationScaling(0.0)
    contour.SetCurvatureScaling(CURVATURE)
    contour.SetAdvectionScaling(ADVECTION)
    contour.SetMaximumRMSError(CONVERGED)
    contour.SetNumberOfIterations(ITERATIONS)
    contour.SetNumberOfThreads(1)
    moved = sitk.GetArrayFromImage(contour.Execute(level, feature))
    # a share of a voxel where the contour passes through it
    return np.clip(0.5 - moved, 0, 1).astype(np.float32)
