"""One visit as geometry sees it: what is usable, what was drawn, where it lies, what tumor it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.geometry import (
    Deformation,
    Domain,
    Region,
    Registration,
    TumorMasks,
    average,
    drawn_regions,
    one_frame,
)
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.organ_names import names_brain
from tumortwin.imaging.sequence import POSE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.progress import step
from tumortwin.therapy.events import Resection
from tumortwin.twin.model import RegistrationQuality

MOST_NOT_FINITE = 0.5
"""Share of an image's voxels without a value from which it cannot be used; masked backgrounds are less."""
Frames = Mapping[str | None, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Look:
    """A visit that has its place.

    Parameters
    ----------
    index : int
        In ``patient.visits``.
    visit : Visit
        With images and masks where the pose image shows the head.
    where : str
        The visit, for findings.
    transform : (4, 4) array
        World of the twin to world of the visit.
    frames : mapping of str to (4, 4) array
        World of the twin to each frame of reference of the visit's files.
    tumor : TumorMasks
        In the visit's frame.
    registration : RegistrationQuality or None
        None for the reference visit.
    displacement : Deformation or None
        Applied to points of the twin before the transform.
    """

    index: int
    visit: Visit
    where: str
    transform: NDArray[np.float64]
    frames: Frames
    tumor: TumorMasks
    registration: RegistrationQuality | None = None
    displacement: Deformation | None = None

    def average(self, volume: Volume, grid: Grid) -> NDArray[np.float32]:
        """Something of the visit on the twin's grid; resampled once."""
        return average(volume, grid, self.transform, displacement=self.displacement)


@dataclass(frozen=True, eq=False)
class Survey:
    """What the looks at all visits gave.

    Parameters
    ----------
    images : mapping of MRSequence to Volume
        The reference visit's.
    body : Mask
        Brain or organ, in the reference visit's frame.
    near_tumor : (z, y, x) bool array
        The reference visit's tumor and a little around it, on the grid of `body`.
    domain : Domain
        Where the tumor can grow.
    looks : tuple of Look
        By time.
    """

    images: Mapping[MRSequence, Volume]
    body: Mask
    near_tumor: NDArray[np.bool_]
    domain: Domain
    looks: tuple[Look, ...]


def others_of(patient: Patient, reference: int) -> list[int]:
    """List the indices of the visits other than the reference that show the tumor.

    A CT alone is no look at the tumor: it only says where the plan lies.
    """
    return [i for i, v in enumerate(patient.visits) if i != reference and set(v.images) - {MRSequence.CT}]


def where_of(visit: Visit) -> str:
    """Format the name of a visit for findings."""
    return f"visit of {visit.date:%Y-%m-%d}" + (f" ({visit.label})" if visit.label else "")


def usable(visit: Visit, findings: list[Finding]) -> Visit:
    """Remove images that show nothing from a visit, and set values that are not finite to 0."""
    images = {}
    for sequence, image in visit.images.items():
        finite = np.isfinite(image.array)
        lost = image.array.size - int(finite.sum())
        values = image.array if lost == 0 else np.where(finite, image.array, 0).astype(image.array.dtype)
        what = f"{sequence} ({image.name})" if image.name and image.name != sequence else str(sequence)
        if lost > MOST_NOT_FINITE * image.array.size or np.ptp(values) == 0:
            findings.append(
                Finding(
                    f"{what}: no signal, all values are {values.flat[0]:g} or not finite",
                    where_of(visit),
                    "the image is left out: export it again",
                    Severity.LEFT_OUT,
                )
            )
            continue
        if lost:
            findings.append(
                Finding(
                    f"{what}: {lost} voxels are not finite", where_of(visit), "set to 0, no signal", Severity.REPAIRED
                )
            )
        images[sequence] = image if lost == 0 else image.with_array(values)
    return replace(visit, images=images)


def in_one_place(visit: Visit, findings: list[Finding]) -> tuple[Visit, dict[str | None, NDArray[np.float64]]]:
    """Align the series of a visit; return it, and the motion from its pose to each frame of its files."""
    step("its series")
    aligned = one_frame(visit.images, where_of(visit), aligned=visit.aligned)
    findings += aligned.findings
    masks = {name: aligned.moved(mask, visit.images) for name, mask in visit.masks.items()}
    key = first_of(POSE_ORDER, visit.images)
    frames = {v.frame: aligned.motions[s] for s, v in visit.images.items() if s in POSE_ORDER}
    if key is not None:
        # within its own frame single series may have moved, the frame itself has not
        frames[visit.images[key].frame] = np.eye(4)
    return replace(visit, images=aligned.images, masks=masks), frames


def drawn_on(visit: Visit, findings: list[Finding]) -> dict[Region, Mask]:
    """Collect the regions drawn on a visit, in the frame of its pose image."""
    where = where_of(visit)
    drawn, found = drawn_regions(visit.masks, where)
    findings += found
    key = first_of(POSE_ORDER, visit.images)
    frame = visit.images[key].frame if key is not None else None
    for region in [r for r, m in drawn.items() if m.frame != frame]:
        findings.append(
            Finding(
                f"the mask {drawn[region].name or region!r} lies in another frame of reference than {key}",
                where,
                "left out",
                Severity.LEFT_OUT,
            )
        )
        del drawn[region]
    return drawn


def drawn_on_reference(patient: Patient, visit: Visit, findings: list[Finding]) -> tuple[dict[Region, Mask], str]:
    """Collect the regions drawn on the reference visit, else the plan's contours drawn on it; and who drew them."""
    drawn = drawn_on(visit, findings)
    key = first_of(POSE_ORDER, visit.images)
    if drawn.keys() - {Region.CAVITY} or key is None:
        return drawn, ""
    planned = {n: m for n, m in patient.structures.items() if m.frame == visit.images[key].frame}
    return {**drawn_regions(planned, where_of(visit))[0], **drawn}, "RTSTRUCT "


def drawn_brain(patient: Patient, visit: Visit) -> Mask | None:
    """Find a whole brain's mask where a visit's pose image is: the visit's own, else one of the plan's structures."""
    key = first_of(POSE_ORDER, visit.images)
    for held in (visit.masks, patient.structures):
        for name, mask in held.items():
            if key is not None and names_brain(name) and mask.frame == visit.images[key].frame:
                return replace(mask, name=name)
    return None


def by_whom(tumor: TumorMasks, source: str) -> TumorMasks:
    """Add who drew the masks to their source."""
    return replace(tumor, source=tumor.source.replace("drawn: ", f"drawn: {source}"))


def after_resection(patient: Patient, visit: Visit) -> bool:
    """Whether tumor was taken out before a visit."""
    return any(isinstance(t, Resection) and t.time < visit.date for t in patient.treatments)


def quality_of(pose: Registration, still: MRSequence, mover: MRSequence) -> RegistrationQuality:
    """Extract the quality of a registration that the twin keeps."""
    return RegistrationQuality(str(still), str(mover), pose.similarity, pose.overlap, pose.residual_mm)
