"""How a brain has deformed between two visits, away from the tumor: a coarse free-form step after the rigid pose.

Off by default: a transform that may bend pulls a tumor that grew back to its old outline, and the growth is gone from
the data. Where brain has shifted (a resection, edema that went), a bend far from the tumor can still help to bring what
surrounds it to its place.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.displacement import Deformation
from tumortwin.geometry.registration.rigid import mutual_information, one_thread
from tumortwin.geometry.sampling import box_slices, isotropic, to_itk
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, Mask, Volume

CONTROL_MM = 30.0
"""Distance of the spline's control points: too coarse to follow the edge of a tumor."""
FREE_MM = 10.0
"""The tumor and this much around it do not count."""
LEVEL_MM = 4.0
GRID_MM = 6.0
SAMPLES = 20_000
ROUNDS = 15
FOLD = 0.3
"""A Jacobian determinant at or below this (or above its inverse) is refused: nothing in a head shrinks to a third."""


@one_thread()
def deform(fixed: Volume, moving: Volume, mask: Mask, tumor: Mask, transform: NDArray[np.float64]) -> Deformation:
    """Bend the reference to a visit, coarsely and not near the tumor.

    A cubic B-spline with control points 30 mm apart maximizes the mutual information on a 4 mm level (Rueckert et al.
    1999, doi:10.1109/42.796284) over the mask without the tumor and 10 mm around it, in few rounds from the rigid pose.
    There the spline follows its neighbors only; so that nothing there swells or shrinks with them, the displacement is
    replaced by its best rigid motion, blended out over the next 15 mm.

    Parameters
    ----------
    fixed, moving : Volume
        Reference and visit.
    mask : Mask
        Where to compare: the brain; in the reference's frame.
    tumor : Mask
        Of both visits, in the reference's frame; may be empty.
    transform : (4, 4) array
        The rigid pose: world of the reference to world of the visit.

    Raises
    ------
    InputError
        If there is too little to compare, or the best bend folds or nearly so.
    """
    still, mover = isotropic(fixed, LEVEL_MM), isotropic(moving, LEVEL_MM)
    kept = resample(mask, still.grid).array
    apart = _distance(resample(tumor, still.grid).array, still.grid)
    look = kept & (apart > FREE_MM)
    if look.sum() < 1000:
        raise InputError(
            f"{look.sum()} voxels of {LEVEL_MM:g} mm are left to compare away from the tumor: too few to "
            "bend a brain by; leave deformable out"
        )
    found = np.argwhere(look)
    box = box_slices(found.min(0), found.max(0) + 1)
    still, seen = still.cropped(box), Mask(np.ascontiguousarray(look[box]), still.grid.cropped(box))
    spans = np.array(still.grid.shape) * still.grid.spacing
    cells = [max(1, int(s // CONTROL_MM)) for s in spans[::-1]]
    spline = sitk.BSplineTransformInitializer(to_itk(still), cells, order=3)
    pose = sitk.AffineTransform(3)
    pose.SetMatrix(transform[:3, :3].ravel())
    pose.SetTranslation(transform[:3, 3])
    method = mutual_information(seen, samples=SAMPLES)
    method.SetMovingInitialTransform(pose)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-6,
        numberOfIterations=ROUNDS,
        maximumNumberOfCorrections=5,
        maximumNumberOfFunctionEvaluations=2 * ROUNDS,
    )
    method.Execute(to_itk(still), to_itk(mover))
    grid = _grid_over(still.grid)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    world = grid.to_world(index)
    vectors = np.array([spline.TransformPoint(p) for p in world.reshape(-1, 3).tolist()]).reshape(world.shape) - world
    vectors = _stiff_near(vectors, world, resample(tumor, grid).array, grid)
    jacobian = jacobian_range(vectors, grid)
    if jacobian[0] <= FOLD or jacobian[1] >= 1 / FOLD:
        raise InputError(
            f"the best bend changes volumes by factors from {jacobian[0]:.2f} to {jacobian[1]:.2f}, which "
            "no brain does: the images differ too much; leave deformable out"
        )
    return Deformation(grid, vectors.astype(np.float32), jacobian)


def jacobian_range(vectors: NDArray[np.float64], grid: Grid) -> tuple[float, float]:
    """Smallest and largest determinant of the gradient of p + vectors(p) on a grid."""
    by_index = np.stack([np.gradient(vectors, axis=k) for k in range(3)], axis=-1)  # (..., component, index axis)
    determinant = np.linalg.det(np.eye(3) + by_index @ np.linalg.inv(grid.affine[:3, :3]))
    return float(determinant.min()), float(determinant.max())


def _distance(tumor: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    if not tumor.any():
        return np.full(tumor.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~tumor, sampling=grid.spacing), np.float64)


def _grid_over(grid: Grid) -> Grid:
    """Build a coarse grid along the same axes that covers another grid."""
    spacing = np.array(grid.spacing)
    shape = np.ceil((np.array(grid.shape) - 1) * spacing / GRID_MM).astype(int) + 1
    affine = grid.affine.copy()
    affine[:3, :3] *= GRID_MM / spacing
    z, y, x = shape.tolist()
    return Grid((z, y, x), affine, grid.frame)


def _stiff_near(
    vectors: NDArray[np.float64], world: NDArray[np.float64], tumor: NDArray[np.bool_], grid: Grid
) -> NDArray[np.float64]:
    """Replace a field by its best rigid fit in the tumor and 10 mm around it, blended out over 15 mm more."""
    if not tumor.any():
        return vectors
    apart = _distance(tumor, grid)
    inside = apart <= FREE_MM
    points, moved = world[inside], (world + vectors)[inside]
    here, there = points.mean(0), moved.mean(0)
    # Kabsch 1976, doi:10.1107/S0567739476001873
    left, _, right = np.linalg.svd((points - here).T @ (moved - there))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    stiff = (world - here) @ (left @ sign @ right) + there - world
    share = np.clip((apart - FREE_MM) / 15, 0, 1)
    weight = (share * share * (3 - 2 * share))[..., None]
    blended: NDArray[np.float64] = weight * vectors + (1 - weight) * stiff
    return blended
