"""Whether a drawn mask agrees with the image it was drawn on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.geometry.segmentation.outline import smoothed
from tumortwin.geometry.segmentation.regions import Region
from tumortwin.geometry.segmentation.tumor import Normalized
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask

OUTSIDE = 0.2
"""Share of a mask outside the brain from which it is a finding: outlines reach a little into the skull."""
LARGEST_ML = 400.0
"""No tumor in a brain of 1.2 L is larger than this."""
OVERLAP = 0.1
"""Share of the smaller of two masks that exclude each other in which they may overlap: edges do."""
FAINT, CLEAR = 1.0, 3.0
"""Standard deviations of normal tissue: what is no contrast, and what is one."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


def check_drawn(view: Normalized, drawn: Mapping[Region, Mask], where: str = "") -> list[Finding]:
    """Compare drawn masks with the images below them; a disagreement is a finding, and nothing is changed.

    Looked for: masks outside the brain; enhancing tumor that T1Gd (less T1) does not show brighter than its
    surroundings; whole tumor that FLAIR (else T2) does not; a mask whose mirror image about the midline shows what it
    should show itself (flipped left and right); volumes that no tumor has; parts that exclude each other and overlap.

    Parameters
    ----------
    view : Normalized
        The visit.
    drawn : mapping of Region to Mask
        In the visit's frame.
    where : str
        The visit, for findings.

    Returns
    -------
    list of Finding
        Notes; empty if nothing disagrees.
    """
    findings: list[Finding] = []

    def say(what: str) -> None:
        findings.append(Finding(what, where, "taken as drawn: look at the overlay", Severity.NOTE))

    if not drawn:
        return findings
    masks = {r: resample(m, view.grid).array for r, m in drawn.items()}
    brain = ndimage.binary_dilation(view.brain > 0.5, iterations=max(1, round(2 / min(view.grid.spacing))))
    for region, mask in drawn.items():
        inside = float((masks[region] & brain).sum()) * view.grid.voxel_volume / 1000
        outside = 1 - inside / mask.volume_ml if mask.volume_ml else 0.0
        if outside > OUTSIDE:
            say(f"{outside:.0%} of the {region} mask lies outside the brain")
        if mask.volume_ml > LARGEST_ML:
            say(f"the {region} mask has {mask.volume_ml:.0f} mL")
    for one, other in (
        (Region.ENHANCING, Region.NECROSIS),
        (Region.CAVITY, Region.WHOLE),
        (Region.CAVITY, Region.ENHANCING),
    ):
        if one in masks and other in masks:
            smaller = min(masks[one].sum(), masks[other].sum())
            shared = float((masks[one] & masks[other]).sum()) / max(smaller, 1)
            if shared > OVERLAP:
                say(f"the {one} and {other} masks overlap in {shared:.0%} of the smaller")
    tumor = {r: m for r, m in masks.items() if r is not Region.CAVITY}
    everything = np.logical_or.reduce(list(masks.values()))
    contrast = _contrasts(view, everything)
    for region, name in ((Region.ENHANCING, "T1Gd"), (Region.WHOLE, "FLAIR"), (Region.EDEMA, "FLAIR")):
        if region not in tumor or name not in contrast or tumor[region].sum() < 20:
            continue
        image, own = contrast[name]
        seen = float(np.median(image[tumor[region]]))
        if seen >= FAINT:
            continue
        mirrored = _mirrored(tumor[region], view)
        there = float(np.median(image[mirrored])) if mirrored.sum() >= 20 else 0.0
        if there > CLEAR:
            say(
                f"{own} is not brighter in the {region} mask than around it ({seen:.1f} standard deviations), but is "
                f"in its mirror image ({there:.1f}): flipped left and right?"
            )
        else:
            say(
                f"{own} is not brighter in the {region} mask than in the tissue around it ({seen:.1f} standard "
                "deviations)"
            )
    return findings


def _contrasts(view: Normalized, lesion: Bools) -> dict[str, tuple[Floats, str]]:
    """Images as standard deviations above the tissue around the lesion, each with what it is called."""
    images: dict[str, tuple[Floats, str]] = {}
    if MRSequence.T1GD in view.images:
        raised = view.images[MRSequence.T1GD]
        if MRSequence.T1 in view.images:
            images["T1Gd"] = (raised - view.images[MRSequence.T1], "T1Gd minus T1")
        else:
            images["T1Gd"] = (raised, "T1Gd")
    for sequence in (MRSequence.FLAIR, MRSequence.T2):
        if sequence in view.images and "FLAIR" not in images:
            images["FLAIR"] = (view.images[sequence], str(sequence))
    tissue = (view.white + view.grey > 0.9) & (view.brain > 0.5)
    distance = ndimage.distance_transform_edt(~lesion, sampling=view.grid.spacing)
    around = tissue & (distance > 4) & (distance <= 20)
    far = tissue & (distance > 20)
    around = around if around.sum() >= 100 else far
    out = {}
    for name, (image, own) in images.items():
        values = smoothed(image, view.grid)
        normal = values[far if far.sum() >= 100 else around]
        if not normal.size or not around.any():
            continue
        spread = 1.4826 * float(np.median(np.abs(normal - np.median(normal))))
        if spread > 0:
            out[name] = (((values - np.median(values[around])) / np.float32(spread)).astype(np.float32), own)
    return out


def _mirrored(mask: Bools, view: Normalized) -> Bools:
    """Mirror a mask at the brain's midplane, in the patient's x about the brain's center."""
    grid = view.grid
    center = grid.to_world(np.argwhere(view.brain > 0.5).mean(0))
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = 2 * center[0]
    return resample(Mask(mask, grid), grid, flip).array
