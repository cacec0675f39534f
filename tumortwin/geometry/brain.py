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
from tumortwin.geometry.bias import flatten
from tumortwin.geometry.compartments import Compartments, compartments_of
from tumortwin.geometry.registration import best_start, descend, descent, mutual_information, one_thread
from tumortwin.geometry.sampling import box_slices, isotropic, to_itk
from tumortwin.imaging.volume import Grid, Mask, Volume

MARGIN_MM = 10.0
SPLINE_SAMPLES = 8000
SPLINE_ROUNDS = 10
EVEN_MM = 30.0
"""Standard deviation of the blur that stands for the coils' field until the atlas lies on the head."""
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
    """

    grid: Grid
    brain: NDArray[np.float32]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    compartments: Compartments | None = None


@cache
def atlas() -> dict[str, Volume]:
    """The ICBM 152 2009a atlas (Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033) at 2 mm.

    Returns
    -------
    dict of str to Volume
        "t1" (skull-stripped, a.u.), and the shares "grey" and "white" (0..1).
    """
    with resources.files("tumortwin.geometry.data").joinpath("icbm152_2mm.npz").open("rb") as file:
        arrays = dict(np.load(file))
    grid = Grid(arrays["t1"].shape, arrays["affine"], "ICBM 152")
    return {
        "t1": Volume(arrays["t1"].astype(np.float32), grid, "a.u.", "ICBM 152 T1"),
        "grey": Volume(arrays["gm"] / np.float32(255), grid, name="ICBM 152 grey matter"),
        "white": Volume(arrays["wm"] / np.float32(255), grid, name="ICBM 152 white matter"),
    }


@one_thread()
def lay_atlas(head: Volume, exclude: Mask | None = None) -> AtlasOnHead:
    """Find the brain in a head image with T1 contrast.

    The atlas, seen with 6 mm of darkness around it so that the skull counts, is laid over the head by mutual
    information: rigid from several starts, affine, then a cubic B-spline with control points about 35 mm apart, too
    coarse to follow a tumor.

    Parameters
    ----------
    head : Volume
        T1 or T1Gd image (others work less well).
    exclude : Mask, optional
        Tumor, left out of the comparison; in the head's frame.

    Returns
    -------
    AtlasOnHead
    """
    t1 = atlas()["t1"]
    ring = Mask(ndimage.binary_dilation(t1.array > 0, iterations=3), t1.grid)
    center = t1.grid.to_world(np.argwhere(ring.array).mean(0))
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(center)
    # each step first takes out what it can tell of the coils' field, which would pull the atlas astray
    fixed, moving = isotropic(t1, 8), _evened(isotropic(head, 8))
    start = best_start(descent(_thin(ring, 8), step=4), fixed, moving, rigid)
    affine = sitk.AffineTransform(3)
    affine.SetCenter(center)
    affine.SetMatrix(start.GetMatrix())
    affine.SetTranslation(start.GetTranslation())
    # at 4 mm and with short steps: twelve free numbers on fewer voxels can end in a squeezed brain
    fixed, coarse = isotropic(t1, 4), isotropic(head, 4)
    moving = _evened(coarse)
    for _ in range(2):
        affine = descend(descent(_thin(ring, 4), step=0.5), fixed, moving, affine)
        moving = _flattened(coarse, affine)
    spline = _spline(moving, fixed, affine, exclude)
    composite = sitk.CompositeTransform([affine.GetInverse(), spline])
    grid = _brain_box(head, composite)

    index = _atlas_index(grid, composite)

    def bring(array: NDArray, order: int = 1) -> NDArray:
        return ndimage.map_coordinates(array, index, order=order, mode="nearest" if order == 0 else "constant",
                                       output=array.dtype)

    parts = _compartments()
    laid = Compartments(bring(parts.part, 0), bring(parts.passage.astype(np.uint8), 0) > 0)
    return AtlasOnHead(grid, bring(_inside(t1)), bring(atlas()["white"].array), bring(atlas()["grey"].array), laid)


def _atlas_index(grid: Grid, composite: sitk.Transform) -> NDArray[np.float32]:
    """Fractional indices (3, z, y, x) into the atlas of a head grid's voxels."""
    # the transform bends over 35 mm: points 4 mm apart and straight lines between them err by hundredths of a mm
    steps = np.array([max(1, int(4 / s)) for s in grid.spacing])
    shape = -(-(np.array(grid.shape) - 1) // steps) + 1
    affine = grid.affine @ np.diag([*steps, 1])
    coarse = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    place = to_itk(Volume(np.zeros(coarse.shape, np.float32), coarse))
    shifts = sitk.TransformToDisplacementField(composite, sitk.sitkVectorFloat64, place.GetSize(), place.GetOrigin(),
                                               place.GetSpacing(), place.GetDirection())
    moved = sitk.GetArrayFromImage(shifts) + coarse.to_world(np.moveaxis(np.indices(coarse.shape), 0, -1))
    index = np.moveaxis(atlas()["t1"].grid.to_index(moved), -1, 0)
    return np.stack([ndimage.affine_transform(axis, 1 / steps, output_shape=grid.shape, order=1, mode="nearest",
                                              output=np.float32) for axis in index])


@cache
def _compartments() -> Compartments:
    return compartments_of(atlas()["t1"])


def _inside(t1: Volume) -> NDArray[np.float32]:
    return ndimage.binary_fill_holes(t1.array > 40).astype(np.float32)


def _evened(head: Volume) -> Volume:
    """A coarse head over its own blur: any slow field goes, and some contrast with it."""
    shown = head.array > 0.1 * np.percentile(head.array, 95)
    sigma = EVEN_MM / np.array(head.grid.spacing)
    level = ndimage.gaussian_filter(np.where(shown, head.array, 0), sigma)
    weight = ndimage.gaussian_filter(shown.astype(np.float32), sigma)
    return head.with_array(head.array * weight / np.maximum(level, 1e-3 * level.max() + 1e-20))


def _flattened(head: Volume, affine: sitk.Transform) -> Volume:
    """A coarse head without its slow field, told from the atlas' tissue."""
    place = to_itk(head)
    white, grey = (sitk.GetArrayFromImage(sitk.Resample(to_itk(atlas()[name]), place, affine.GetInverse(),
                                                        sitk.sitkLinear, 0.0)) for name in ("white", "grey"))
    found = ndimage.find_objects((white + grey > 0.1).astype(int))
    try:
        box = found[0]
        return flatten(head, head.grid.cropped(box), white[box], grey[box], pure=ATLAS_PURE)
    except (IndexError, InputError):
        return head  # a later step says what is wrong with the image


def _thin(mask: Mask, spacing: float) -> Mask:
    thin = isotropic(Volume(mask.array.astype(np.float32), mask.grid), spacing)
    return Mask(thin.array >= 0.5, thin.grid)


def _spline(head: Volume, template: Volume, affine: sitk.Transform, exclude: Mask | None) -> sitk.Transform:
    """Free-form transform of head world, to be followed by the inverse affine."""
    inverse = affine.GetInverse()
    place = to_itk(head)
    ring = ndimage.binary_dilation(template.array > 20, iterations=2)
    near = sitk.Resample(to_itk(Mask(ring, template.grid)), place, inverse, sitk.sitkNearestNeighbor, 0.0)
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
    method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-5, numberOfIterations=SPLINE_ROUNDS,
                                maximumNumberOfCorrections=5, maximumNumberOfFunctionEvaluations=SPLINE_ROUNDS + 3)
    method.Execute(to_itk(still), to_itk(template))
    return spline


def _brain_box(head: Volume, composite: sitk.Transform) -> Grid:
    """The head's grid cropped to the brain and a margin."""
    thin = isotropic(head, 4)
    t1 = atlas()["t1"]
    inside = sitk.Resample(to_itk(t1.with_array(_inside(t1))), to_itk(thin), composite, sitk.sitkLinear, 0.0)
    found = np.argwhere(sitk.GetArrayFromImage(inside) > 0.1)
    corners = head.grid.to_index(thin.grid.to_world([found.min(0), found.max(0)]))
    margin = MARGIN_MM / np.array(head.grid.spacing)
    low = np.clip(np.floor(corners.min(0) - margin), 0, None).astype(int)
    high = np.minimum(np.ceil(corners.max(0) + margin).astype(int) + 1, head.grid.shape)
    return head.grid.cropped(box_slices(low, high))
