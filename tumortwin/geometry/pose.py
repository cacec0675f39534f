"""Where the head lies in a visit's images: between visits, and from one sequence of a visit to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.brain.bias import flatten
from tumortwin.geometry.displacement import Deformation
from tumortwin.geometry.head import Head
from tumortwin.geometry.registration.deformation import deform
from tumortwin.geometry.registration.rigid import Registration, quality, register, without_tumor
from tumortwin.geometry.registration.small_motion import small_motion
from tumortwin.geometry.sampling import isotropic
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import NORMALIZED, POSE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Mask, Volume

AnyVolume = TypeVar("AnyVolume", bound=Volume)

DIFFUSION = {MRSequence.ADC, MRSequence.DWI}
CLEAR_MM = 0.5
CLEAR_TIMES = 2.0
"""A motion between series is undone if it is farther than this, and than this many residuals of its estimate."""
DOUBTFUL_MM = 3.0
"""A pose that leaves the edges farther apart than this is doubtful."""
LARGE_MM, LARGE_DEGREES = 10.0, 5.0
"""A motion within a visit beyond these is doubtful."""
GAIN_PER_MM = 0.05
"""Undoing a true motion beyond :data:`DOUBTFUL_MM` raises the edges' similarity by more than this share for each
millimeter (in the sample by 0.06 and more, docs/geometry/registration.md); one that gains less is not believed."""


def pose_of(
    head: Head, images: Mapping[MRSequence, Volume], where: str = "", *, tumor: Mask | None = None
) -> Registration:
    """How another visit's head lies: register it to the reference on the best image both have.

    The brain and 4 mm around it are compared, without the reference's tumor and, as far as it is known, the visit's:
    by mutual information, and at the end by edges. A
    visit of diffusion maps alone (which may cover the tumor only) on the very voxels of the reference's is taken to be
    aligned, as the files claim.

    Parameters
    ----------
    head : Head
        The reference visit.
    images : mapping of MRSequence to Volume
        The other visit's.
    where : str
        The visit, for findings.
    tumor : Mask, optional
        What was drawn at that visit of tumor or cavity, in its frame of reference.

    Raises
    ------
    InputError
        If the visit has no image.
    """
    still, mover = compared_images(head.images, images, where)
    reference = [v.grid for v in head.images.values()]
    if not images.keys() & set(NORMALIZED) and any(images[mover].grid.matches(g) for g in reference):
        finding = Finding(
            f"{mover} alone, on the voxels and in the frame of reference of the reference visit",
            where,
            "taken as aligned with it, as the files claim: not registered",
            Severity.ASSUMED,
        )
        return Registration(np.eye(4), np.nan, 1.0, 0.0, (finding,))
    tissue = head.tissue

    def even(image: Volume, transform: NDArray[np.float64]) -> Volume:
        return flatten(image, tissue.grid, tissue.white, tissue.grey, head.near_tumor, transform)

    fixed, moving, mask = head.images[still], images[mover], _compared(head)
    found = register(fixed, moving, mask, flatten=even if mover in NORMALIZED else None, exclude=tumor, where=where)
    if tumor is not None:
        mask = without_tumor(mask, tumor, found.transform)
    return _by_edges(found, fixed, moving, mask, where) if mover in NORMALIZED else found


def _by_edges(found: Registration, fixed: Volume, moving: Volume, mask: Mask, where: str) -> Registration:
    """Refine a registration by a fraction of a millimeter from the edges, which a coil's shading does not move."""
    last = small_motion(fixed, placed(moving, found.transform, fixed.frame), mask)
    if not np.isfinite(last.residual_mm) or last.similarity <= last.before:
        return found
    if last.moved_mm > DOUBTFUL_MM:
        return replace(
            found,
            findings=(
                *found.findings,
                Finding(
                    f"registration is doubtful: by its edges the head would lie {last.moved_mm:.1f} mm elsewhere",
                    where,
                    "used as mutual information has it: look at the overlay",
                    Severity.ASSUMED,
                ),
            ),
        )
    transform = found.transform @ last.transform
    similarity, overlap = quality(fixed, moving, mask, transform)
    return Registration(transform, similarity, overlap, last.residual_mm, found.findings)


def given_pose(
    head: Head, images: Mapping[MRSequence, Volume], matrix: NDArray[np.float64], source: str, where: str = ""
) -> Registration:
    """Assess a given pose with the same measures of quality as one found by registration.

    Parameters
    ----------
    head : Head
        The reference visit.
    images : mapping of MRSequence to Volume
        The other visit's.
    matrix : (4, 4) array
        A rigid motion, world of the reference to world of the visit.
    source : str
        Who gave it, for people: a file, an argument.
    where : str
        The visit, for findings.

    Returns
    -------
    Registration
        Its residual is how far the edges of the two images lie apart with the given matrix.

    Raises
    ------
    InputError
        If the visit has no image.
    """
    still, mover = compared_images(head.images, images, where)
    fixed, moving, mask = head.images[still], images[mover], _compared(head)
    similarity, overlap = quality(fixed, moving, mask, matrix)
    off = small_motion(fixed, placed(moving, matrix, fixed.frame), mask)
    doubtful = off.moved_mm > max(DOUBTFUL_MM, CLEAR_TIMES * off.residual_mm) or not np.isfinite(off.residual_mm)
    said = (
        f"{still} and {mover} lie {off.moved_mm:.1f} mm apart with it"
        if np.isfinite(off.residual_mm)
        else "too little of the brain is in both images to check it"
    )
    return Registration(
        matrix,
        similarity,
        overlap,
        off.moved_mm,
        (
            Finding(
                f"the pose is given by {source}; {said} (normalized mutual information {similarity:.3f}, overlap "
                f"{overlap:.0%})",
                where,
                "used instead of a registration"
                + (", but doubtful: look at the overlay, and at the transform's direction" if doubtful else ""),
                Severity.ASSUMED if doubtful else Severity.NOTE,
            ),
        ),
    )


def bend(
    head: Head, images: Mapping[MRSequence, Volume], tumor: Mask, transform: NDArray[np.float64], where: str = ""
) -> Deformation:
    """How the brain deformed since the reference visit, away from both visits' tumors.

    Parameters
    ----------
    head : Head
        The reference visit.
    images : mapping of MRSequence to Volume
        The other visit's.
    tumor : Mask
        The whole tumor at the other visit, in its frame of reference.
    transform : (4, 4) array
        Its pose.
    where : str
        The visit, for errors.

    Raises
    ------
    InputError
        As :func:`~tumortwin.geometry.registration.deformation.deform`.
    """
    still, mover = compared_images(head.images, images, where)
    tissue = head.tissue
    image = images[mover]
    if mover in NORMALIZED:
        image = flatten(image, tissue.grid, tissue.white, tissue.grey, head.near_tumor, transform)
    there = resample(tumor, tissue.grid, transform).array
    around = ndimage.distance_transform_edt(~tissue.brain, sampling=tissue.grid.spacing) <= 4
    return deform(
        head.images[still], image, Mask(around, tissue.grid), Mask(head.near_tumor | there, tissue.grid), transform
    )


def compared_images(
    reference: Mapping[MRSequence, Volume], images: Mapping[MRSequence, Volume], where: str
) -> tuple[MRSequence, MRSequence]:
    """Choose the reference's image and the visit's to compare: the same sequence if there is one.

    Raises
    ------
    InputError
        If one of them has no image that could be registered.
    """
    both = {k: v for k, v in images.items() if k in reference}
    still = first_of(POSE_ORDER, both) or first_of(POSE_ORDER, reference)
    mover = still if still in images else first_of(POSE_ORDER, images)
    if still is None or mover is None:
        raise InputError(f"{where}: no image that could be registered")
    return still, mover


def _compared(head: Head) -> Mask:
    tissue = head.tissue
    around = ndimage.distance_transform_edt(~tissue.brain, sampling=tissue.grid.spacing) <= 4
    return Mask(around & ~head.near_tumor, tissue.grid)


@dataclass(frozen=True, eq=False)
class Aligned:
    """A visit's images where they show one head in one place.

    Parameters
    ----------
    images : mapping of MRSequence to Volume
        The same voxels; the grids of those that had moved lie where the head was in the pose image.
    motions : mapping of MRSequence to (4, 4) array
        World of the pose image to the world that the file gives each image; the identity for those that had not moved.
    findings : tuple of Finding
        What had moved.
    """

    images: Mapping[MRSequence, Volume]
    motions: Mapping[MRSequence, NDArray[np.float64]]
    findings: tuple[Finding, ...] = ()

    def moved(self, mask: Mask, before: Mapping[MRSequence, Volume]) -> Mask:
        """Move a mask along with the original image that has its grid; return it unchanged if there is none."""
        own = [s for s in POSE_ORDER if s in before and before[s].grid.matches(mask.grid)]
        return mask if not own else placed(mask, self.motions[own[0]], self.images[own[0]].frame)


def placed(volume: AnyVolume, motion: NDArray[np.float64], frame: str | None) -> AnyVolume:
    """Place a volume where the head was before a motion, by its grid alone: nothing is interpolated.

    Parameters
    ----------
    volume : Volume
        After the motion.
    motion : (4, 4) array
        A rigid motion: world of `frame` to world of the volume.
    frame : str or None
        The frame of reference that the volume then has.
    """
    if np.array_equal(motion, np.eye(4)) and frame == volume.frame:
        return volume
    return replace(volume, grid=replace(volume.grid, affine=np.linalg.inv(motion) @ volume.affine, frame=frame))


def one_frame(images: Mapping[MRSequence, Volume], where: str, *, aligned: bool | None = None) -> Aligned:
    """Bring a visit's images to where its pose image shows the head.

    Within one frame of reference the scanner's coordinates are nearly right, but people move by a millimeter or three
    between series. That motion is estimated
    (:func:`~tumortwin.geometry.registration.small_motion.small_motion`), and undone where it is clear:
    farther than half a millimeter and than twice the estimate's residual, and the images agree better with it.
    All else stays where the file has it, and so do images that were brought to one space before: a motion that seems
    clear is then said, but not undone. Maps and weighted images on the same voxels move together. An image of another
    frame of reference is registered from several starts.

    Parameters
    ----------
    images : mapping of MRSequence to Volume
        The visit's.
    where : str
        The visit, for findings.
    aligned : bool, optional
        Whether the images of a frame of reference were brought to one space. By default those on the voxels of the pose
        image were. Diffusion maps on its voxels were in any case, for no scanner acquires them there.
    """
    key = first_of(POSE_ORDER, images)
    motions = {sequence: np.eye(4) for sequence in images}
    findings: list[Finding] = []
    if key is None:
        return Aligned(dict(images), motions)
    still, head = images[key], None
    done: dict[MRSequence, NDArray[np.float64]] = {}
    for sequence in (s for s in POSE_ORDER[1:] if s in images and s is not key):
        image = images[sequence]
        twin = next((s for s in done if {s, sequence} == DIFFUSION and images[s].grid.matches(image.grid)), None)
        if twin is not None:
            motions[sequence] = done[twin]
        elif image.frame != still.frame:
            found = register(still, image, where=f"{where}, {sequence}")
            motions[sequence] = found.transform
            findings += [
                Finding(
                    f"{sequence} has another frame of reference than {key}",
                    where,
                    "registered to it",
                    Severity.REPAIRED,
                ),
                *found.findings,
            ]
        elif np.ptp(image.array) > 0 and np.ptp(still.array) > 0:
            head = upper_head(still) if head is None else head
            together = image.grid.matches(still.grid)
            fixed = aligned or (together and (aligned is None or sequence in DIFFUSION))
            motions[sequence], found_too = _within(still, image, head, f"{sequence} lies", key, where, fixed=fixed)
            findings += found_too
        done[sequence] = motions[sequence]
    moved = {s: placed(v, motions[s], still.frame) if s in POSE_ORDER else v for s, v in images.items()}
    return Aligned(moved, motions, tuple(findings))


def _within(
    still: Volume, image: Volume, head: Mask, what: str, key: MRSequence, where: str, *, fixed: bool
) -> tuple[NDArray[np.float64], list[Finding]]:
    """Measure the motion between two series of a visit (the identity unless it is clear), with a finding about it."""
    found = small_motion(still, image, head, enough_mm=CLEAR_MM)
    clear = found.moved_mm > max(CLEAR_MM, CLEAR_TIMES * found.residual_mm) and found.similarity > found.before
    true = found.moved_mm <= DOUBTFUL_MM or found.similarity > (1 + GAIN_PER_MM * found.moved_mm) * found.before
    if not clear or (fixed and not true):
        return np.eye(4), []
    size = f"{what} {found.moved_mm:.1f} mm and {found.degrees:.1f} degrees off {key} (+- {found.residual_mm:.1f} mm)"
    if fixed or not true:
        but = "the files have both in one space" if true else "there the edges of both hardly agree better"
        return np.eye(4), [
            Finding(f"by its edges {size}, but {but}", where, "not moved: look at the overlay", Severity.ASSUMED)
        ]
    if found.moved_mm > LARGE_MM or found.degrees > LARGE_DEGREES:
        return found.transform, [
            Finding(
                f"{size}: much for a head that moves between series, the motion is doubtful",
                where,
                "moved back all the same: look at the overlay",
                Severity.ASSUMED,
            )
        ]
    return found.transform, [Finding(f"{size}: the head moved between series", where, "moved back", Severity.REPAIRED)]


def upper_head(volume: Volume) -> Mask:
    """Mask the bright voxels of a head image within 170 mm of its top, on a grid of about 4 mm: no neck, little jaw."""
    thin = isotropic(volume, 4.0)
    smooth = ndimage.gaussian_filter(thin.array, 0.5)
    bright = smooth > 0.25 * np.percentile(smooth, 90)
    index = np.argwhere(bright)
    height = thin.grid.to_world(index)[:, 2]
    bright[tuple(index[height < np.percentile(height, 99.5) - 170].T)] = False
    return Mask(bright, thin.grid)
