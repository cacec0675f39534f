"""A patient whose tumor grows in an organ other than the brain, or in a brain that somebody else outlined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import Registration, average, covered, drawn_tumor, organ_domain, register
from tumortwin.geometry.pose import compared_images
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.organ_names import names_brain
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.progress import part, step
from tumortwin.twin.head_survey import LEAST_OVERLAP, Poses
from tumortwin.twin.survey import (
    Frames,
    Look,
    Survey,
    by_whom,
    drawn_on,
    drawn_on_reference,
    others_of,
    quality_of,
    where_of,
)

ORGANS = ("breast", "prostate", "liver", "kidney", "pancreas", "lung", "cervix", "brain")
"""Names of masks in which a tumor can grow, looked for where no organ was named and no head can be read."""
AROUND_MM = 4.0
"""How far beyond the organ images are compared: its outline counts."""
GUARD_MM = 5.0
"""The tumor and this much around it are left out of the comparison."""
VISIT_STEPS, CLOSING_STEPS = 1, 1
"""Steps that are reported of each visit but the reference, and of all together."""


def organ_steps(others: int) -> int:
    """How many steps :func:`survey_organ` reports, with so many visits beside the reference."""
    return others * VISIT_STEPS + CLOSING_STEPS


def organ_of(patient: Patient, organ: str | Mask, reference: int | None) -> tuple[int, Mask]:
    """Find the visit on which an organ was outlined, and the outline.

    Parameters
    ----------
    patient : Patient
        Whose visits' masks and structures are looked through by name.
    organ : str or Mask
        Its name, whatever the case, or the outline itself, in the frame of reference of a visit's images.
    reference : int or None
        The visit it has to be on.

    Raises
    ------
    InputError
        If there is none, it is empty, or it lies in no visit's frame of reference.
    """
    name, outlines = (
        (organ.name or "the organ", [organ]) if isinstance(organ, Mask) else (organ, _called(organ, patient))
    )
    if not outlines:
        known = sorted({key for visit in patient.visits for key in visit.masks} | set(patient.structures))
        raise InputError(
            f"no mask is called {organ!r}: give one of {', '.join(known) or 'its masks (there are none)'}, or a Mask"
        )
    for mask in outlines:
        if not mask.array.any():
            raise InputError(f"the mask of {name} is empty: give one that shows where the tumor can grow")
        for index, visit in enumerate(patient.visits):
            if reference in (None, index) and mask.frame in {v.frame for v in visit.images.values()}:
                return index, mask
    on = "the images of any visit" if reference is None else f"visit {reference}"
    raise InputError(
        f"{name} is not outlined on {on}: its frame of reference is another; outline it there, or name another visit"
    )


def _called(name: str, patient: Patient) -> list[Mask]:
    """Masks of a name, those of visits first; the brain by any of its names."""
    held = [*(item for visit in patient.visits for item in visit.masks.items()), *patient.structures.items()]
    return [mask for key, mask in held if _organ(key) == _organ(name)]


def _organ(name: str) -> str:
    return "brain" if names_brain(name) else name.strip().lower()


def named_organ(patient: Patient) -> str | None:
    """Find the first of :data:`ORGANS` that a visit has a mask of; "brain" last, since heads are handled elsewhere."""
    names = {_organ(key) for visit in patient.visits for key in visit.masks}
    return next((name for name in ORGANS if name in names), None)


def survey_organ(
    patient: Patient,
    home: int,
    mask: Mask,
    spacing: float,
    poses: Poses,
    *,
    findings: list[Finding],
) -> Survey:
    """Look at every visit; the tumor is what was drawn.

    Parameters
    ----------
    patient : Patient
        With usable images only.
    home : int
        The visit that the others are laid on.
    mask : Mask
        The organ there; see :func:`organ_of`.
    spacing : float
        Of the twin's grid, mm.
    poses : mapping of int to (4, 4) array and str
        Poses that need not be found, and who says so.
    findings : list of Finding
        Appended to.

    Raises
    ------
    InputError
        If the reference visit has no image in the organ's frame of reference.
    """
    count = len(patient.visits)
    visit, frames = _as_filed(patient.visits[home])
    images = {s: v for s, v in visit.images.items() if v.frame == mask.frame}
    if not images:
        raise InputError(f"{where_of(visit)}: no image lies in the frame of reference of {mask.name or 'the organ'!r}")
    drawn, source = drawn_on_reference(patient, visit, findings)
    tumor = by_whom(drawn_tumor(drawn, mask, where_of(visit)), source)
    findings += tumor.findings
    near = average(tumor.whole, mask.grid) > 0.1
    if near.any():
        near = ndimage.distance_transform_edt(~near, sampling=mask.grid.spacing) <= GUARD_MM
    looks = [Look(home, visit, where_of(visit), np.eye(4), frames, tumor)]
    for index in others_of(patient, home):
        with part(f"visit {index + 1} of {count}", VISIT_STEPS):
            step("registration")
            look = _other_look(patient.visits[index], index, mask, images, near, poses.get(index), findings)
            looks += [] if look is None else [look]
    with part("", CLOSING_STEPS):
        step("domain")
        domain, found = organ_domain(mask, spacing, where=mask.name or "organ")
    findings += found
    return Survey(images, mask, near, domain, tuple(sorted(looks, key=lambda look: look.index)))


def _as_filed(visit: Visit) -> tuple[Visit, Frames]:
    """Take a visit's series to lie as their coordinates say: soft organs have no edges to align by."""
    return visit, {image.frame: np.eye(4) for image in visit.images.values()}


def _other_look(
    visit: Visit,
    index: int,
    mask: Mask,
    images: Mapping[MRSequence, Volume],
    near: NDArray[np.bool_],
    given: tuple[NDArray[np.float64], str] | None,
    findings: list[Finding],
) -> Look | None:
    where = where_of(visit)
    try:
        drawn = drawn_on(visit, findings)
        if given is None:
            still, mover, pose = _pose(visit, mask, images, near, where)
        else:
            matrix, who = given
            still, mover = compared_images(images, visit.images, where)
            pose = Registration(
                matrix,
                np.nan,
                float(covered(visit.images[mover].grid, mask.grid, matrix)[mask.array].mean()),
                np.nan,
                (Finding(f"the pose is given by {who}", where, "used instead of a registration"),),
            )
        tumor = drawn_tumor(drawn, next(iter(drawn.values()), None) or _empty(visit.images[mover]), where)
    except InputError as error:
        findings.append(Finding(str(error), where, "the visit is left out", Severity.LEFT_OUT))
        return None
    findings += [*pose.findings, *tumor.findings]
    visit, frames = _as_filed(visit)
    return Look(
        index,
        visit,
        where,
        pose.transform,
        {f: m @ pose.transform for f, m in frames.items()},
        tumor,
        quality_of(pose, still, mover),
    )


def _empty(image: Volume) -> Mask:
    return Mask(np.zeros(image.grid.shape, bool), image.grid)


def _pose(
    visit: Visit, mask: Mask, images: Mapping[MRSequence, Volume], near: NDArray[np.bool_], where: str
) -> tuple[MRSequence, MRSequence, Registration]:
    """How another visit lies: registered to the reference inside the organ.

    On the very voxels and in the frame of reference of the reference's images it is taken as aligned, as the files
    claim: such patients were registered before they were given to us.
    """
    still, mover = compared_images(images, visit.images, where)
    image = visit.images[mover]
    if any(image.grid.matches(other.grid) for other in (*images.values(), mask)):
        finding = Finding(
            f"{mover} on the voxels and in the frame of reference of the reference visit",
            where,
            "taken as aligned with it, as the files claim: not registered",
            Severity.ASSUMED,
        )
        return still, mover, Registration(np.eye(4), np.nan, 1.0, 0.0, (finding,))
    look = ndimage.distance_transform_edt(~mask.array, sampling=mask.grid.spacing) <= AROUND_MM
    found = register(images[still], image, Mask(look & ~near, mask.grid), where=where)
    if found.overlap < LEAST_OVERLAP:
        raise InputError(
            f"{mover} does not show the organ of the reference visit (overlap {found.overlap:.0%}): give "
            "its pose with transforms=, or leave it out"
        )
    soft = Finding(
        "the organ was registered as a rigid body", where, "soft organs deform: look at the overlay", Severity.ASSUMED
    )
    return still, mover, replace(found, findings=(*found.findings, soft))
