"""The visits of a patient whose tumor grows in the brain: an atlas tells the tissue, the images the tumor."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.geometry import (
    Deformation,
    Head,
    TumorMasks,
    average,
    brain_domain,
    check_drawn,
    find_tumor,
    given_pose,
    hold_over_visits,
    normalized,
    pose_of,
    read_head,
)
from tumortwin.geometry.pose import bend, compared_images
from tumortwin.geometry.segmentation.regions import united
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import POSE_ORDER, first_of
from tumortwin.patient import Patient, Visit
from tumortwin.progress import part, step
from tumortwin.therapy.events import Resection
from tumortwin.threads import pool_of
from tumortwin.twin.survey import (
    Look,
    Survey,
    after_resection,
    by_whom,
    drawn_brain,
    drawn_on,
    drawn_on_reference,
    in_one_place,
    others_of,
    quality_of,
    where_of,
)

LEAST_OVERLAP = 0.05
"""A visit that shows less of the reference's brain than this has no place."""
LEAST_SIMILARITY = 1.01
"""A head and noise share 1.008 (normalized mutual information) where 20,000 voxels are compared, and less on more; on
fewer, chance hides it."""
Poses = Mapping[int, tuple[NDArray[np.float64], str]]

REFERENCE_STEPS, VISIT_STEPS, CLOSING_STEPS = 9, 4, 2
"""At most so many steps are reported of the reference visit, of each other visit, and of all together."""


def head_steps(others: int, *, deformable: bool) -> int:
    """How many steps :func:`survey_head` reports, with so many visits beside the reference."""
    return REFERENCE_STEPS + others * (VISIT_STEPS + deformable) + CLOSING_STEPS


def survey_head(
    patient: Patient,
    reference: int,
    spacing: float,
    poses: Poses,
    *,
    deformable: bool,
    threads: int,
    findings: list[Finding],
) -> Survey:
    """Look at every visit.

    Parameters
    ----------
    patient : Patient
        With usable images only.
    reference : int
        The visit that gives brain and tissue.
    spacing : float
        Of the twin's grid, mm.
    poses : mapping of int to (4, 4) array and str
        Poses that need not be found, and who says so.
    deformable : bool
        Bend the visits to the reference.
    threads : int
        Visits looked at at the same time.
    findings : list of Finding
        Appended to.
    """

    def look_at(index: int) -> tuple[Look | None, list[Finding]]:
        with part(f"visit {index + 1} of {count}", VISIT_STEPS + deformable):
            return _other_look(patient, index, head, poses.get(index), deformable)

    count = len(patient.visits)
    with pool_of(threads) as pool:
        with part(f"visit {reference + 1} of {count}", REFERENCE_STEPS):
            head, seen = _first_look(patient, reference, findings)
        looks = [seen]
        for result in [pool.submit(copy_context().run, look_at, i) for i in others_of(patient, reference)]:
            look, found = result.result()
            looks += [] if look is None else [look]
            findings += found
    with part("", CLOSING_STEPS):
        looks.sort(key=lambda look: look.index)
        step("all visits together")
        looks = _held_over_visits(looks, head, patient, findings)
        step("domain")
        domain, found = brain_domain(head.tissue, spacing, head.tumor.whole, where_of(patient.visits[reference]))
        findings += found
    return Survey(head.images, head.tissue.mask, head.near_tumor, domain, tuple(looks))


def _first_look(patient: Patient, reference: int, findings: list[Finding]) -> tuple[Head, Look]:
    visit, frames = in_one_place(patient.visits[reference], findings)
    where = where_of(visit)
    drawn, source = drawn_on_reference(patient, visit, findings)
    key = first_of(POSE_ORDER, visit.images)
    images = {s: v for s, v in visit.images.items() if key is not None and v.frame == visit.images[key].frame}
    head = read_head(
        images, drawn, where, after_resection=after_resection(patient, visit), brain=drawn_brain(patient, visit)
    )
    findings += head.findings
    return head, Look(reference, visit, where, np.eye(4), frames, by_whom(head.tumor, source))


def _other_look(
    patient: Patient, index: int, head: Head, given: tuple[NDArray[np.float64], str] | None, deformable: bool
) -> tuple[Look | None, list[Finding]]:
    findings: list[Finding] = []
    where = where_of(patient.visits[index])
    try:
        visit, frames = in_one_place(patient.visits[index], findings)
        drawn = drawn_on(visit, findings)
        still, mover = compared_images(head.images, visit.images, where)
        step("registration")
        if given is None:
            pose = pose_of(head, visit.images, where, tumor=united(*drawn.values()) if drawn else None)
        else:
            pose = given_pose(head, visit.images, *given, where)
        if pose.overlap < LEAST_OVERLAP or pose.similarity < LEAST_SIMILARITY:
            raise InputError(
                f"{mover} does not show the reference visit's brain (overlap {pose.overlap:.0%}, "
                f"normalized mutual information {pose.similarity:.3f}): give its pose with transforms=, "
                "or leave it out"
            )
        tumor = _tumor_of(visit, head, pose.transform, drawn, after_resection(patient, visit), findings)
    except InputError as error:
        findings.append(Finding(str(error), where, "the visit is left out", Severity.LEFT_OUT))
        return None, findings
    findings += [*pose.findings, *tumor.findings]
    frames = {frame: motion @ pose.transform for frame, motion in frames.items()}
    bent = _bent(head, visit, tumor, pose.transform, findings) if deformable else None
    return Look(index, visit, where, pose.transform, frames, tumor, quality_of(pose, still, mover), bent), findings


def _tumor_of(
    visit: Visit, head: Head, transform: NDArray[np.float64], drawn: Mapping, resected: bool, findings: list[Finding]
) -> TumorMasks:
    where = where_of(visit)
    near = head.near_tumor
    # twice: a tumor that grew since the reference visit disturbs the normal signal it is compared with
    for _ in range(2):
        step("tumor")
        view = normalized(visit.images, head.tissue, near, transform, head.prior, where)
        former = None
        if resected:
            known = head.tumor.whole if head.tumor.cavity is None else united(head.tumor.whole, head.tumor.cavity)
            former = resample(known, view.grid, np.asarray(np.linalg.inv(transform), np.float64)).array
        tumor = find_tumor(view, drawn, where, head.tumor.levels, after_resection=resected, former=former)
        grown = near | (average(tumor.whole, head.tissue.grid, transform) > 0.1)
        if grown.sum() < 1.3 * near.sum():
            break
        near = grown
    findings += check_drawn(view, drawn, where)
    return tumor


def _bent(
    head: Head, visit: Visit, tumor: TumorMasks, transform: NDArray[np.float64], findings: list[Finding]
) -> Deformation | None:
    where = where_of(visit)
    step("deformation")
    try:
        bent = bend(head, visit.images, tumor.whole, transform, where)
    except InputError as error:
        findings.append(
            Finding(f"no deformation could be used: {error}", where, "the rigid pose alone is used", Severity.LEFT_OUT)
        )
        return None
    low, high = bent.jacobian
    findings.append(
        Finding(
            f"bent to the reference visit by up to {np.linalg.norm(bent.vectors, axis=-1).max():.1f} mm, volumes "
            f"away from the tumor change by factors of {low:.2f} to {high:.2f}",
            where,
            "asked for by deformable=True: growth that pushes brain aside may be absorbed",
            Severity.ASSUMED,
        )
    )
    return bent


def _held_over_visits(looks: list[Look], head: Head, patient: Patient, findings: list[Finding]) -> list[Look]:
    """Segmented whole tumors, each in the light of the other visits."""
    start = looks[0].visit.date
    days = [(look.visit.date - start) / timedelta(days=1) for look in looks]
    cuts = [(t.time - start) / timedelta(days=1) for t in patient.treatments if isinstance(t, Resection)]
    tumors, changed = hold_over_visits(
        [look.tumor for look in looks], [look.transform for look in looks], days, head.tissue.grid, cuts
    )
    for look, tumor, count in zip(looks, tumors, changed, strict=True):
        if count:
            findings.append(
                Finding(
                    f"{count} voxels ({count * tumor.whole.grid.voxel_volume / 1000:.1f} mL) of the whole tumor's edge "
                    "were labeled in the light of the other visits",
                    look.where,
                    "a label changes over visits only on evidence",
                )
            )
    return [replace(look, tumor=tumor) for look, tumor in zip(looks, tumors, strict=True)]
