"""Rigid registration of one head image to another by mutual information."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.registration.doubts import doubts_of
from tumortwin.geometry.registration.starts import likely_starts
from tumortwin.geometry.sampling import covered, isotropic, to_itk
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, Mask, Volume

T = TypeVar("T", bound=sitk.Transform)

LEVELS_MM = (8.0, 4.0, 2.0)
ENOUGH_SAMPLES = 20_000
GUARD_MM = 3.0
MIRROR_BITS = 1.09
"""Below this normalized mutual information, the moving image is tried with left and right swapped, too."""


@dataclass(frozen=True, eq=False)
class Registration:
    """How one image lies in the world of another.

    Parameters
    ----------
    transform : (4, 4) array
        World point (LPS mm) of the fixed image to the world point of the moving image that shows the same tissue.
    similarity : float
        Normalized mutual information (H(a) + H(b)) / H(a, b) inside the mask, 1 (nothing in common) to 2 (Studholme
        et al. 1999, doi:10.1016/S0031-3203(98)00091-0).
    overlap : float
        Share of the mask that the moving image covers, 0..1.
    residual_mm : float
        Root mean square distance over the mask between two estimates, each from one half of the fixed image's voxels:
        a measure of the precision, not of a common bias.
    findings : tuple of Finding
        What is doubtful about it.
    """

    transform: NDArray[np.float64]
    similarity: float
    overlap: float
    residual_mm: float
    findings: tuple[Finding, ...] = ()


def matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    """Compute the 4x4 matrix of a linear ITK transform."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(float(i == j) for i in range(3)))) - origin for j in range(3)]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.array(columns).T, origin
    return matrix


def rigid_distance(a: NDArray[np.float64], b: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """Distances in mm between where two transforms take each voxel of a mask (every 7th, enough for statistics)."""
    points = mask.grid.to_world(np.argwhere(mask.array)[::7])
    moved = [points @ m[:3, :3].T + m[:3, 3] for m in (a, b)]
    return np.linalg.norm(moved[0] - moved[1], axis=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """ITK on one thread: the sums of several differ in the last digits from run to run."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@one_thread()
def register(
    fixed: Volume,
    moving: Volume,
    mask: Mask | None = None,
    *,
    flatten: Callable[[Volume, NDArray[np.float64]], Volume] | None = None,
    exclude: Mask | None = None,
    where: str = "",
) -> Registration:
    """Find the rigid motion between two images of the same head.

    Mattes mutual information (Mattes et al. 2003, doi:10.1109/TMI.2003.809072) is maximised on 8, 4 and 2 mm levels,
    from the best of several starts: the scanner's coordinates, and the most likely turns to 50 degrees and shifts to
    100 mm (:mod:`~tumortwin.geometry.registration.starts`). One thread and fixed seeds: the same images
    give the same result.

    Parameters
    ----------
    fixed, moving : Volume
        The images.
    mask : Mask, optional
        Where to compare, in the fixed image's frame: the brain without the tumor. Default: everywhere.
    flatten : callable, optional
        Given the moving image and the transform so far (good to a millimetre or two), returns it without its slow
        intensity field; called before the last level. Such fields pull mutual information astray by up to 2 mm.
    exclude : Mask, optional
        What not to compare of the moving image, in its frame: its tumor. It and 3 mm around it are left out from the
        4 mm level on.
    where : str
        What to call the moving image in findings.

    Returns
    -------
    Registration
        Its transform maps fixed to moving world.

    Raises
    ------
    InputError
        If an image is constant, or the mask leaves nothing to compare.
    """
    for image in (fixed, moving):
        if not np.isfinite(image.array).all() or np.ptp(image.array) == 0:
            raise InputError(f"{image.name or where}: an image that is constant or not finite cannot be registered")
    if mask is None:
        mask = Mask(np.ones(fixed.grid.shape, bool), fixed.grid)
    if not mask.array.any():
        raise InputError(f"{where}: the registration mask is empty")
    transform = _found_coarsely(fixed, moving, mask)
    if exclude is not None:
        mask = without_tumor(mask, exclude, matrix_of(transform))
        still, mover = isotropic(fixed, LEVELS_MM[-2]), isotropic(moving, LEVELS_MM[-2])
        look = _on_level(mask, still.grid)
        transform = descend(descent(look, step=1.0), still, mover, transform)
    if flatten is not None:
        moving = flatten(moving, matrix_of(transform))
    still, mover = isotropic(fixed, LEVELS_MM[-1]), isotropic(moving, LEVELS_MM[-1])
    look = _on_level(mask, still.grid)
    # a checkerboard parts the voxels in two: two estimates say how precise their mean is
    board = sum(np.ogrid[tuple(slice(n) for n in look.grid.shape)]) % 2
    halves = []
    for parity in (0, 1):
        method = descent(Mask(look.array & (board == parity), still.grid), step=1)
        halves.append(descend(method, still, mover, transform))
    residual = float(np.sqrt((rigid_distance(matrix_of(halves[0]), matrix_of(halves[1]), mask) ** 2).mean()))
    transform.SetParameters(np.mean([half.GetParameters() for half in halves], axis=0))
    matrix = matrix_of(transform)
    similarity, overlap = quality(fixed, moving, mask, matrix)
    findings = []
    if similarity < MIRROR_BITS and _fits_mirrored(fixed, moving, mask, similarity):
        findings.append(
            Finding(
                "mirrored left to right, the image fits the reference better than as it is",
                where,
                "used as it is, for its coordinates say which side is left: look at the overlay and "
                "where it was converted",
                Severity.ASSUMED,
            )
        )
    doubts = doubts_of(similarity, overlap, residual)
    if "overlap" in doubts:
        findings.append(
            Finding(
                f"only {overlap:.0%} of the reference brain lies in the image",
                where,
                "the rest counts as not seen",
                Severity.NOTE,
            )
        )
    if "similarity" in doubts or "residual_mm" in doubts:
        findings.append(
            Finding(
                f"registration is doubtful (normalized mutual information {similarity:.3f}, "
                f"residual {residual:.1f} mm)",
                where,
                "used all the same: look at the overlay",
                Severity.ASSUMED,
            )
        )
    return Registration(matrix, similarity, overlap, residual, tuple(findings))


def _found_coarsely(fixed: Volume, moving: Volume, mask: Mask) -> sitk.Euler3DTransform:
    """Find the rigid motion to a millimeter or two, on all levels but the last."""
    transform = sitk.Euler3DTransform()
    # turning about the middle of what is compared keeps rotation and shift apart
    transform.SetCenter(mask.grid.to_world(np.argwhere(mask.array).mean(0)))
    for level in LEVELS_MM[:-1]:
        still, mover = isotropic(fixed, level), isotropic(moving, level)
        method = descent(_on_level(mask, still.grid), step=level / 2)
        if level == LEVELS_MM[0]:
            transform = best_start(method, still, mover, transform, mask)
        else:
            transform = descend(method, still, mover, transform)
    return transform


def _fits_mirrored(fixed: Volume, moving: Volume, mask: Mask, similarity: float) -> bool:
    """Whether the moving image fits better with left and right swapped."""
    axis = int(np.argmax(np.abs(moving.affine[0, :3])))
    mirrored = moving.with_array(np.ascontiguousarray(np.flip(moving.array, axis)))
    return quality(fixed, mirrored, mask, matrix_of(_found_coarsely(fixed, mirrored, mask)))[0] > similarity


def quality(fixed: Volume, moving: Volume, mask: Mask, matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Compute normalized mutual information at 2 mm where both images see, and the share of the mask seen by both."""
    overlap = float(covered(moving.grid, mask.grid, matrix)[mask.array].mean())
    still, mover = isotropic(fixed, LEVELS_MM[-1]), isotropic(moving, LEVELS_MM[-1])
    look = resample(mask, still.grid).array & covered(mover.grid, still.grid, matrix)
    if not look.any():
        return 1.0, overlap
    return normalized_mutual_information(still.array[look], resample(mover, still.grid, matrix).array[look]), overlap


def without_tumor(mask: Mask, tumor: Mask, matrix: NDArray[np.float64]) -> Mask:
    """Remove the moving image's tumor and 3 mm around it from a fixed image's mask, unless little would be left."""
    there = resample(tumor, mask.grid, matrix).array
    if not there.any():
        return mask
    left = mask.array & (ndimage.distance_transform_edt(~there, sampling=mask.grid.spacing) > GUARD_MM)
    return mask if left.sum() < 0.3 * mask.array.sum() else mask.with_array(left)


def normalized_mutual_information(a: NDArray[np.float32], b: NDArray[np.float32], bins: int = 48) -> float:
    """(H(a) + H(b)) / H(a, b) of paired samples, 1 to 2."""
    limits = [np.percentile(v, (0.5, 99.5)) for v in (a, b)]
    if min(high - low for low, high in limits) <= 0:
        return 1.0
    joint, _, _ = np.histogram2d(np.clip(a, *limits[0]), np.clip(b, *limits[1]), bins)
    joint /= joint.sum()

    def entropy(p: NDArray[np.float64]) -> float:
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint.ravel())


def _on_level(mask: Mask, grid: Grid) -> Mask:
    return resample(mask, grid)


def mutual_information(mask: Mask, samples: int = ENOUGH_SAMPLES) -> sitk.ImageRegistrationMethod:
    """Mattes mutual information in a mask of the fixed image, sampled with a fixed seed."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(to_itk(mask))
    method.SetInterpolator(sitk.sitkLinear)
    share = samples / max(1, mask.array.sum())
    if share < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        # the share is of the image, of which ITK then keeps what lies in the mask
        method.SetMetricSamplingPercentage(float(share), 1)
    return method


def descent(mask: Mask, *, step: float, rounds: int = 60) -> sitk.ImageRegistrationMethod:
    """Set up a descent on mutual information in a mask, with a first step that moves the head by `step` mm."""
    method = mutual_information(mask)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerAsRegularStepGradientDescent(
        step, 0.01, rounds, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    return method


def descend(method: sitk.ImageRegistrationMethod, fixed: Volume, moving: Volume, start: T) -> T:
    """Where a descent from `start` ends."""
    moved = type(start)(start)
    method.SetInitialTransform(moved, inPlace=True)
    method.Execute(to_itk(fixed), to_itk(moving))
    return moved


def best_start(
    method: sitk.ImageRegistrationMethod,
    fixed: Volume,
    moving: Volume,
    identity: sitk.Euler3DTransform,
    mask: Mask | None = None,
) -> sitk.Euler3DTransform:
    """Descend from the scanner's coordinates and the most likely starts; return the best end.

    Parameters
    ----------
    method : ImageRegistrationMethod
        Metric and descent.
    fixed, moving : Volume
        On a coarse level.
    identity : Euler3DTransform
        Has the center of rotation.
    mask : Mask, optional
        Where starts are compared; by default everywhere.
    """
    look = Mask(np.ones(fixed.grid.shape, bool), fixed.grid) if mask is None else mask
    middle = look.grid.to_world(np.argwhere(look.array).mean(0))
    starts = [sitk.Euler3DTransform(identity)]
    for rotation, place in likely_starts(fixed, moving, look):
        start = sitk.Euler3DTransform(identity)
        start.SetMatrix(rotation.ravel())
        # T(x) = R (x - c) + c + t takes the mask's middle to its place
        center = np.array(identity.GetCenter())
        start.SetTranslation(place - center - rotation @ (middle - center))
        starts.append(start)
    still, mover = to_itk(fixed), to_itk(moving)
    ends = []
    for order, start in enumerate(starts):
        if np.isfinite(_value(method, still, mover, start)):
            end = descend(method, fixed, moving, start)
            # mutual information times points is evidence: a corner of the mask that fits well is little of it
            seen = covered(moving.grid, look.grid, matrix_of(end))[look.array].mean()
            ends.append((_value(method, still, mover, end) * seen, order, end))
    if not ends:
        return identity
    return min(ends, key=lambda entry: entry[:2])[2]


def _value(
    method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform
) -> float:
    method.SetInitialTransform(transform, inPlace=True)
    try:
        return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # ITK's answer when the images do not overlap
        return np.inf
