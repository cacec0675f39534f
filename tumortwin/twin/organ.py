"""A patient whose tumor grows in an organ other than the brain, or in a brain that somebody else outlined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import Region, Registration, TumorMasks, drawn_tumor, register
from tumortwin.geometry.pose import POSE_ORDER, align_sequences, first_of
from tumortwin.geometry.regions import united
from tumortwin.geometry.sampling import average
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit

ORGANS = ("breast", "prostate", "liver", "kidney", "pancreas", "lung", "cervix", "brain")
"""Names of masks in which a tumor can grow, looked for where no organ was named and no head can be read."""
AROUND_MM = 4.0
"""How far beyond the organ images are compared: its outline counts."""
GUARD_MM = 5.0
"""The tumor and this much around it are left out of the comparison."""


@dataclass(frozen=True, eq=False)
class Organ:
    """The reference visit of a patient without an atlas.

    Parameters
    ----------
    mask : Mask
        The organ, in the frame of the reference visit's images.
    images : mapping of Sequence to Volume
        The reference visit's.
    near_tumor : Mask or None
        The tumor drawn there and 5 mm around it, on the organ's grid.
    """

    mask: Mask
    images: dict[Sequence, Volume]
    near_tumor: NDArray[np.bool_]


def organ_of(patient: Patient, organ: str | Mask, reference: int | None) -> tuple[int, Mask]:
    """The visit on which an organ was outlined, and the outline.

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
    if isinstance(organ, Mask):
        found = {None: organ}
        name = organ.name or "the organ"
    else:
        name = organ
        found = {i: mask for i, visit in enumerate(patient.visits) for key, mask in visit.masks.items()
                 if key.strip().lower() == organ.strip().lower()}
        found |= {None: mask for key, mask in patient.structures.items()
                  if key.strip().lower() == organ.strip().lower() and not found}
    if not found:
        known = sorted({key for visit in patient.visits for key in visit.masks} | set(patient.structures))
        raise InputError(f"patient {patient.id}: no mask is called {organ!r}: give one of "
                         f"{', '.join(known) or 'its masks (there are none)'}, or a Mask")
    for home, mask in found.items():
        frames = [home] if home is not None else [i for i, visit in enumerate(patient.visits)
                                                  if mask.frame in {v.frame for v in visit.images.values()}]
        for visit in frames:
            if reference in (None, visit):
                if not mask.array.any():
                    raise InputError(f"the mask of {name} is empty: give one that shows where the tumor can grow")
                return visit, mask
    raise InputError(f"{name} is not outlined on " + (f"visit {reference}" if reference is not None else "the images of "
                     "any visit: its frame of reference is that of none") + ": outline it there, or name another visit")


def named_organ(patient: Patient) -> str | None:
    """The first of :data:`ORGANS` that a visit has a mask of; "brain" last, since heads have a road of their own."""
    names = {key.strip().lower() for visit in patient.visits for key in visit.masks}
    return next((name for name in ORGANS if name in names), None)


def read_organ(visit: Visit, mask: Mask, tumor: TumorMasks) -> Organ:
    """Gather what the other visits are compared with.

    Raises
    ------
    InputError
        If the visit has no image in the mask's frame of reference.
    """
    images = {s: v for s, v in visit.images.items() if v.frame == mask.frame}
    if not images:
        raise InputError(f"visit of {visit.date:%Y-%m-%d}: no image lies in the frame of reference of {mask.name!r}")
    near = average(tumor.whole, mask.grid) > 0.1
    if near.any():
        near = ndimage.distance_transform_edt(~near, sampling=mask.grid.spacing) <= GUARD_MM
    return Organ(mask, images, near)


def pose_of_organ(organ: Organ, visit: Visit, where: str) -> tuple[Sequence, Registration]:
    """How another visit lies: its image that both have is registered to the reference's, inside the organ.

    On the very voxels and in the frame of reference of the reference's images it is taken as aligned, as the files
    claim: such patients were registered before they were given to us.

    Raises
    ------
    InputError
        If the visit has no image, or none that can be compared.
    """
    both = {s: v for s, v in visit.images.items() if s in organ.images}
    mover = first_of(POSE_ORDER, both) or first_of(POSE_ORDER, visit.images)
    still = mover if mover in organ.images else first_of(POSE_ORDER, organ.images)
    if mover is None or still is None:
        raise InputError(f"{where}: no image that could be registered")
    image = visit.images[mover]
    if any(image.grid.matches(other.grid) for other in organ.images.values()):
        finding = Finding(f"{mover} on the voxels and in the frame of reference of the reference visit", where,
                          "taken as aligned with it, as the files claim: not registered", Severity.ASSUMED)
        return mover, Registration(np.eye(4), np.nan, 1.0, 0.0, (finding,))
    outside = ~organ.mask.array
    look = ndimage.distance_transform_edt(outside, sampling=organ.mask.grid.spacing) <= AROUND_MM
    found = register(organ.images[still], image, Mask(look & ~organ.near_tumor, organ.mask.grid), where=where)
    soft = Finding("the organ was registered as a rigid body", where, "soft organs deform: look at the overlay",
                   Severity.ASSUMED)
    return mover, replace(found, findings=(*found.findings, soft))
