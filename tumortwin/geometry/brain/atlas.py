"""Where the brain is: an atlas laid over a head image by an affine and a coarse free-form transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.brain.bias import flatten
from tumortwin.geometry.brain.compartments import Compartments, compartments_of
from tumortwin.geometry.registration.rigid import (
    best_start,
    descend,
    descent,
    matrix_of,
    mutual_information,
    one_thread,
)
from tumortwin.geometry.sampling import box_slices, covered, isotropic, to_itk
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.progress import step

MARGIN_MM = 10.0
SPLINE_SAMPLES = 8000
SPLINE_ROUNDS = 10
EVEN_MM = 30.0
"""Standard deviation of the blur that stands for the coils' field until the atlas lies on the head."""
BRIGHT = 2.0
"""Times the brain's level: all that is brighter is one, or the few levels that are told apart go to kinds of fat."""
SKULL_MM = 6.0
"""What lies this far out from the atlas' brain is dark: CSF, dura and bone."""
SCALP_MM = (11.0, 17.0)
"""Where the scalp lies over the top of the head, outward from the atlas' brain."""
SCALP_SIGNAL = 300.0
"""Another level than any tissue's; which one does not matter to mutual information."""
CAP_FROM_MM = 5.0
"""Height in MNI space above which skin lies on bone on all sides: above the frontal sinus, ears and muscles."""
CAP_ROOM = 10
"""Voxels added to the atlas for it."""
SIZES = (0.9, 0.96, 1.03, 1.1)
"""Factors of the atlas' lengths to begin with: 1400 to 2500 mL; descents go on from there."""
SIZE_ROUNDS = 25
"""Steps after which the sizes are told apart; the best goes on."""
ATLAS_PURE = 0.6
"""Share from which on the atlas, a mean of many heads, counts as sure of a tissue."""


@dataclass(frozen=True, eq=False)
class AtlasOnHead:
    """The atlas on a head image.

    Parameters
    ----------
    grid : Grid
        The image's grid cropped to the brain and 10 mm around it.
    brain, white, grey : (z, y, x) float32 arrays
        Prior shares, 0..1.
    compartments : Compartments, optional
        Hemispheres, and what lies below the tentorium.
    stretch : (3,) tuple of float
        Principal factors of the atlas' lengths, largest first.
    shown : float
        Share of the atlas' brain that lies in the image, 0..1.
    """

    grid: Grid
    brain: NDArray[np.float32]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    compartments: Compartments | None = None
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shown: float = 1.0


@cache
def atlas() -> dict[str, Volume]:
    """Load the ICBM 152 2009a atlas (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033) at 2 mm.

    Returns
    -------
    dict of str to Volume
        "t1" (skull-stripped, a.u.), and the shares "grey" and "white" (0..1).
    """
    with resources.files("tumortwin.geometry.brain.data").joinpath("icbm152_2mm.npz").open("rb") as file:
        arrays = dict(np.load(file))
    grid = Grid(arrays["t1"].shape, arrays["affine"], "ICBM 152")
    return {
        "t1": Volume(arrays["t1"].astype(np.float32), grid, "a.u.", "ICBM 152 T1"),
        "grey": Volume(arrays["gm"] / np.float32(255), grid, name="ICBM 152 grey matter"),
        "white": Volume(arrays["wm"] / np.float32(255), grid, name="ICBM 152 white matter"),
    }


@one_thread()
def register_atlas(head: Volume, exclude: Mask | None = None, brain: Mask | None = None) -> AtlasOnHead:
    """Find the brain in a head image with T1 contrast.

    The atlas, seen with 6 mm of darkness around it and a scalp over the top so that skull and skin count, is laid over
    the head by mutual information: rigid from several starts, affine from several sizes, then a cubic B-spline with
    control points about 35 mm apart, too coarse to follow a tumor.

    Parameters
    ----------
    head : Volume
        T1 or T1Gd image (others work less well).
    exclude : Mask, optional
        Tumor, left out of the comparison; in the head's frame.
    brain : Mask, optional
        The brain, if it is known, in the head's frame: what is returned covers it, too.

    Returns
    -------
    AtlasOnHead
    """
    capped, ring = _capped()
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(capped.grid.to_world(np.argwhere(ring.array).mean(0)))
    # each step first takes out what it can tell of the coils' field, which would pull the atlas astray
    step("atlas, rigid")
    fixed, moving = isotropic(capped, 8), _evened(isotropic(head, 8))
    start = best_start(descent(_thin(ring, 8), step=4), fixed, moving, rigid)
    step("atlas, affine")
    fixed, coarse = isotropic(capped, 4), isotropic(head, 4)
    affine = _sized(_thin(ring, 4), fixed, _evened(coarse), start)
    # with short steps: twelve free numbers can end in a squeezed brain
    moving = _flattened(coarse, affine)
    affine = descend(descent(_thin(ring, 4), step=0.5), fixed, moving, affine)
    step("atlas, free-form")
    moving = _flattened(coarse, affine)
    spline = _spline(moving, fixed, _thin(ring, 4), affine, exclude)
    composite = sitk.CompositeTransform([affine.GetInverse(), spline])
    grid = _brain_box(head, composite, brain)
    index = _atlas_index(grid, composite)

    def bring(array: NDArray, order: int = 1) -> NDArray:
        return ndimage.map_coordinates(
            array, index, order=order, mode="nearest" if order == 0 else "constant", output=array.dtype
        )

    parts = _compartments()
    laid = Compartments(bring(parts.part, 0), bring(parts.passage.astype(np.uint8), 0) > 0)
    t1, matrix = atlas()["t1"], matrix_of(affine)
    high, middle, low = np.linalg.svd(matrix[:3, :3], compute_uv=False).tolist()
    shown = float(covered(head.grid, t1.grid, matrix)[_inside(t1) > 0].mean())
    return AtlasOnHead(
        grid,
        bring(_inside(t1)),
        bring(atlas()["white"].array),
        bring(atlas()["grey"].array),
        laid,
        (high, middle, low),
        shown,
    )


def _atlas_index(grid: Grid, composite: sitk.Transform) -> NDArray[np.float32]:
    """Fractional indices (3, z, y, x) into the atlas of a head grid's voxels."""
    # the transform bends over 35 mm: points 4 mm apart and straight lines between them err by hundredths of a mm
    steps = np.array([max(1, int(4 / s)) for s in grid.spacing])
    shape = -(-(np.array(grid.shape) - 1) // steps) + 1
    affine = grid.affine @ np.diag([*steps, 1])
    coarse = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    place = to_itk(Volume(np.zeros(coarse.shape, np.float32), coarse))
    shifts = sitk.TransformToDisplacementField(
        composite, sitk.sitkVectorFloat64, place.GetSize(), place.GetOrigin(), place.GetSpacing(), place.GetDirection()
    )
    moved = sitk.GetArrayFromImage(shifts) + coarse.to_world(np.moveaxis(np.indices(coarse.shape), 0, -1))
    index = np.moveaxis(atlas()["t1"].grid.to_index(moved), -1, 0)
    return np.stack(
        [
            ndimage.affine_transform(
                axis, 1 / steps, output_shape=grid.shape, order=1, mode="nearest", output=np.float32
            )
            for axis in index
        ]
    )


@cache
def _compartments() -> Compartments:
    return compartments_of(atlas()["t1"])


def _inside(t1: Volume) -> NDArray[np.float32]:
    return ndimage.binary_fill_holes(t1.array > 40).astype(np.float32)


@cache
def _capped() -> tuple[Volume, Mask]:
    """Add skull and scalp to the atlas as they lie over the top of any head, and mark where to compare.

    Without a scalp, the outline that fits a bright scalp on dark air is as good as that of the brain on dark bone.
    """
    t1 = atlas()["t1"]
    # room for the cap; below, where the brainstem goes on, there is none
    room = ((0, CAP_ROOM), (CAP_ROOM, CAP_ROOM), (CAP_ROOM, CAP_ROOM))
    affine = t1.grid.affine.copy()
    affine[:3, 3] = t1.grid.to_world([0, -CAP_ROOM, -CAP_ROOM])
    array, inside = (np.pad(a, room) for a in (t1.array, _inside(t1) > 0))
    grid = Grid(array.shape, affine, t1.frame)
    depth = ndimage.distance_transform_edt(~inside, sampling=grid.spacing)
    height = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))[..., 2]
    scalp = (depth >= SCALP_MM[0]) & (depth <= SCALP_MM[1]) & (height > CAP_FROM_MM)
    look = (depth <= SKULL_MM) | scalp
    return Volume(np.where(scalp, np.float32(SCALP_SIGNAL), array), grid, "a.u.", "ICBM 152 T1"), Mask(look, grid)


def _sized(ring: Mask, fixed: Volume, moving: Volume, rigid: sitk.Euler3DTransform) -> sitk.AffineTransform:
    """Choose the best of the affine transforms that are optimized from atlases of several sizes."""
    method = descent(ring, step=2, rounds=SIZE_ROUNDS)
    ends = []
    for order, size in enumerate(SIZES):
        start = sitk.AffineTransform(3)
        start.SetCenter(rigid.GetCenter())
        start.SetMatrix((size * np.array(rigid.GetMatrix())).tolist())
        start.SetTranslation(rigid.GetTranslation())
        end = descend(method, fixed, moving, start)
        seen = covered(moving.grid, ring.grid, matrix_of(end))[ring.array].mean()
        ends.append((method.GetMetricValue() * seen, order, end))
    return min(ends, key=lambda entry: entry[:2])[2]


def _evened(head: Volume) -> Volume:
    """Divide a coarse head image by its own blurred copy, which removes any slow field and some contrast."""
    shown = head.array > 0.1 * np.percentile(head.array, 95)
    sigma = EVEN_MM / np.array(head.grid.spacing)
    even = head.array
    for _ in range(3):
        level = ndimage.gaussian_filter(np.where(shown, head.array, 0), sigma)
        weight = ndimage.gaussian_filter(shown.astype(np.float32), sigma)
        even = head.array * weight / np.maximum(level, 1e-3 * level.max() + 1e-20)
        # fat and vessels are many times as bright as brain: they must not set the level beside them
        shown &= even < BRIGHT
    return head.with_array(np.minimum(even, BRIGHT))


def _flattened(head: Volume, affine: sitk.Transform) -> Volume:
    """Remove the slow field of a coarse head image, estimated from the tissue of the atlas."""
    place = to_itk(head)
    white, grey = (
        sitk.GetArrayFromImage(sitk.Resample(to_itk(atlas()[name]), place, affine.GetInverse(), sitk.sitkLinear, 0.0))
        for name in ("white", "grey")
    )
    found = ndimage.find_objects((white + grey > 0.1).astype(int))
    try:
        box = found[0]
        even = flatten(head, head.grid.cropped(box), white[box], grey[box], pure=ATLAS_PURE)
    except (IndexError, InputError):
        return head  # a later step says what is wrong with the image
    return even.with_array(np.minimum(even.array, BRIGHT))


def _thin(mask: Mask, spacing: float) -> Mask:
    thin = isotropic(Volume(mask.array.astype(np.float32), mask.grid), spacing)
    return Mask(thin.array >= 0.5, thin.grid)


def _spline(head: Volume, template: Volume, ring: Mask, affine: sitk.Transform, exclude: Mask | None) -> sitk.Transform:
    """Free-form transform of head world, to be followed by the inverse affine."""
    inverse = affine.GetInverse()
    place = to_itk(head)
    near = sitk.Resample(to_itk(ring), place, inverse, sitk.sitkNearestNeighbor, 0.0)
    look = sitk.GetArrayFromImage(near) > 0
    if exclude is not None:
        gone = sitk.Resample(to_itk(exclude), place, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
        look &= ~ndimage.binary_dilation(sitk.GetArrayFromImage(gone) > 0)
    box = ndimage.find_objects(look.astype(int))[0]
    still, look_there = head.cropped(box), Mask(np.ascontiguousarray(look[box]), head.grid.cropped(box))
    spans = np.array(still.grid.shape) * still.grid.spacing
    spline = sitk.BSplineTransformInitializer(to_itk(still), [max(2, round(s / 35)) for s in spans[::-1]], order=3)
    method = mutual_information(look_there, samples=SPLINE_SAMPLES)
    method.SetMovingInitialTransform(inverse)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-5,
        numberOfIterations=SPLINE_ROUNDS,
        maximumNumberOfCorrections=5,
        maximumNumberOfFunctionEvaluations=SPLINE_ROUNDS + 3,
    )
    method.Execute(to_itk(still), to_itk(template))
    return spline


def _brain_box(head: Volume, composite: sitk.Transform, brain: Mask | None) -> Grid:
    """Crop the head image's grid to the brain and a margin."""
    thin = isotropic(head, 4)
    t1 = atlas()["t1"]
    inside = sitk.Resample(to_itk(t1.with_array(_inside(t1))), to_itk(thin), composite, sitk.sitkLinear, 0.0)
    found = [thin.grid.to_world(np.argwhere(sitk.GetArrayFromImage(inside) > 0.1))]
    if brain is not None:
        found.append(brain.grid.to_world(np.argwhere(brain.array)))
    places = head.grid.to_index(np.concatenate(found))
    margin = MARGIN_MM / np.array(head.grid.spacing)
    low = np.clip(np.floor(places.min(0) - margin), 0, None).astype(int)
    high = np.minimum(np.ceil(places.max(0) + margin).astype(int) + 1, head.grid.shape)
    return head.grid.cropped(box_slices(low, high))
