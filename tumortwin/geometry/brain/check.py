"""Whether what was found as the brain can be one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumortwin.geometry.brain.atlas import AtlasOnHead
from tumortwin.geometry.brain.bias import flatten
from tumortwin.geometry.brain.compartments import Part
from tumortwin.geometry.brain.tissue import Tissue
from tumortwin.geometry.sampling import box_slices
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Volume

WHOLE = 0.97
"""Share of the atlas' brain in the image from which on the whole brain is shown."""
VOLUME_ML = (900.0, 1900.0)
"""Brains of adults with ventricles and sulci have 1100 to 1700 mL; atrophy and giants are let pass."""
STRETCH = (0.78, 1.2)
"""Factors of the atlas' lengths, between which heads of 1000 to 2400 mL lie."""
MOST_BRIGHT = 0.05
"""Share of the brain that fat or vessels may take: brighter than 1.5 times white matter on T1."""
BRIGHT = 1.5
MOST_CUT_CM2 = 25.0
"""Area in which the brain may meet the image's border: a brainstem cut off has some 10 cm^2."""
UNLIKE = 0.12
"""Difference of the hemispheres over their sum: 1 to 2 per cent in people, more with a large mass."""


def check_brain(
    image: Volume, tissue: Tissue, prior: AtlasOnHead, exclude: NDArray[np.bool_], where: str = "", *, t1: bool = True
) -> list[Finding]:
    """Compare what was found as the brain with what brains are like; nothing is changed.

    Looked for: a volume that no adult's brain has; an atlas stretched or squeezed as no head is; much that is brighter
    than brain (scalp and marrow); a wide cut at the image's border; hemispheres of unlike size.

    Parameters
    ----------
    image : Volume
        In which the brain was found.
    tissue : Tissue
        What was found.
    prior : AtlasOnHead
        The atlas on the image.
    exclude : (z, y, x) bool array
        Tumor, on `tissue.grid`.
    where : str
        The visit, for findings.
    t1 : bool
        Whether the image is one on which fat is brighter than brain and CSF is not.

    Returns
    -------
    list of Finding
        Empty for a brain like others.

    Raises
    ------
    InputError
        If there is almost no white or grey matter in it.
    """
    odd = []
    volume = tissue.brain.sum() * tissue.grid.voxel_volume / 1000
    whole = prior.shown >= WHOLE
    if volume > VOLUME_ML[1] or (whole and volume < VOLUME_ML[0]):
        odd.append(f"it has {volume:.0f} mL")
    if prior.stretch[0] > STRETCH[1] or prior.stretch[2] < STRETCH[0]:
        odd.append(f"the atlas was stretched by factors of {', '.join(f'{s:.2f}' for s in prior.stretch)}")
    if t1 and (bright := _bright(image, tissue, exclude)) > MOST_BRIGHT:
        odd.append(f"{bright:.0%} of it is much brighter than white matter, as fat is")
    if (cut := _cut_cm2(image, tissue)) > MOST_CUT_CM2:
        odd.append(f"it meets the image's border in {cut:.0f} cm^2")
    if whole and tissue.compartments is not None:
        parts = tissue.compartments.part[tissue.brain]
        left, right = (float((parts == side).sum()) for side in (Part.LEFT, Part.RIGHT))
        if abs(left - right) > UNLIKE * (left + right):
            odd.append(f"{left / (left + right):.0%} of its hemispheres is on the left")
    findings = []
    if odd:
        findings.append(
            Finding(
                f"the brain may be wrong: {'; '.join(odd)}",
                where,
                "used all the same: look at the quality page; if its edge is wrong, give the visit a "
                "mask called 'brain' (drawn, or of another program)",
                Severity.ASSUMED,
            )
        )
    if not whole:
        findings.append(
            Finding(
                f"only {prior.shown:.0%} of the brain, as the atlas lies on it, is in the image",
                where,
                "the rest counts as not seen",
                Severity.NOTE,
            )
        )
    return findings


def _bright(image: Volume, tissue: Tissue, exclude: NDArray[np.bool_]) -> float:
    """Share of the brain outside the tumor that is much brighter than white matter."""
    even = flatten(image, tissue.grid, tissue.white, tissue.grey, exclude)
    look = tissue.brain & ~exclude
    start = _start(image, tissue)
    shown = even.array[box_slices(start, start + tissue.grid.shape)]
    return float((shown[look] > BRIGHT).mean()) if look.any() else 0.0


def _cut_cm2(image: Volume, tissue: Tissue) -> float:
    """Area of the brain on the image's border."""
    start = _start(image, tissue)
    area = 0.0
    for axis in range(3):
        face = float(np.prod(np.delete(tissue.grid.spacing, axis))) / 100
        if start[axis] == 0:
            area += float(tissue.brain.take(0, axis).sum()) * face
        if start[axis] + tissue.grid.shape[axis] == image.grid.shape[axis]:
            area += float(tissue.brain.take(-1, axis).sum()) * face
    return area


def _start(image: Volume, tissue: Tissue) -> NDArray[np.int64]:
    """Where the tissue's grid begins in the image."""
    return np.rint(image.grid.to_index(tissue.grid.to_world([0, 0, 0]))).astype(int)
