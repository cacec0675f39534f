"""Where the head lies in a visit's images: between visits, and from one sequence of a visit to the next."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.bias import flatten
from tumortwin.geometry.head import NORMALIZED, POSE_ORDER, Head, first_of
from tumortwin.geometry.registration import Registration, register
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Mask, Volume


def pose_of(head: Head, images: Mapping[Sequence, Volume], where: str = "") -> Registration:
    """How another visit's head lies: register it to the reference on the best image both have.

    The brain and 4 mm around it are compared, without the reference's tumor. A visit of diffusion maps alone (which may
    cover the tumor only) on the very voxels of the reference's is taken to be aligned, as the files claim.

    Raises
    ------
    InputError
        If the visit has no image.
    """
    both = {k: v for k, v in images.items() if k in head.images}
    still = first_of(POSE_ORDER, both) or first_of(POSE_ORDER, head.images)
    mover = still if still in images else first_of(POSE_ORDER, images)
    if still is None or mover is None:
        raise InputError(f"{where}: no image that could be registered")
    reference = [v.grid for v in head.images.values()]
    if not images.keys() & set(NORMALIZED) and any(images[mover].grid.matches(g) for g in reference):
        finding = Finding(f"{mover} alone, on the voxels and in the frame of reference of the reference visit", where,
                          "taken as aligned with it, as the files claim: not registered", Severity.ASSUMED)
        return Registration(np.eye(4), np.nan, 1.0, 0.0, (finding,))
    tissue = head.tissue
    around = ndimage.distance_transform_edt(~tissue.brain, sampling=tissue.grid.spacing) <= 4
    mask = Mask(around & ~head.near_tumor, tissue.grid)

    def even(image: Volume, transform: NDArray[np.float64]) -> Volume:
        return flatten(image, tissue.grid, tissue.white, tissue.grey, head.near_tumor, transform)

    return register(head.images[still], images[mover], mask, flatten=even if mover in NORMALIZED else None, where=where)


def one_frame(images: Mapping[Sequence, Volume],
              where: str) -> tuple[dict[Sequence, NDArray[np.float64]], list[Finding]]:
    """World of the visit's pose image to world of each image: identity within a frame of reference, else registered."""
    key = first_of(POSE_ORDER, images)
    if key is None:
        return {}, []
    transforms: dict[Sequence, NDArray[np.float64]] = {}
    findings = []
    for sequence, image in images.items():
        transforms[sequence] = np.eye(4)
        if image.frame != images[key].frame:
            found = register(images[key], image, where=f"{where}, {sequence}")
            transforms[sequence] = found.transform
            findings += [Finding(f"{sequence} has another frame of reference than {key}", where, "registered to it",
                                 Severity.REPAIRED), *found.findings]
    return transforms, findings
