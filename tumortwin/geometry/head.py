"""From a visit's images to its pose, its brain and its tumor: the steps of geometry/ in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.brain.atlas import AtlasOnHead, register_atlas
from tumortwin.geometry.brain.bias import flatten
from tumortwin.geometry.brain.check import check_brain
from tumortwin.geometry.brain.tissue import Tissue, classify
from tumortwin.geometry.measures.cellularity import LEAST_ADC
from tumortwin.geometry.sampling import average, box_slices
from tumortwin.geometry.segmentation.plausibility import check_drawn
from tumortwin.geometry.segmentation.regions import Region, united
from tumortwin.geometry.segmentation.tumor import Normalized, TumorMasks, find_tumor
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import NORMALIZED, POSE_ORDER, TISSUE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.progress import step

GUARD_MM = 3.0
"""The tumor and this much around it are kept out of what is fitted to normal tissue."""


@dataclass(frozen=True, eq=False)
class Head:
    """The reference visit: what the others are compared with.

    Parameters
    ----------
    images : mapping of MRSequence to Volume
        The visit's images; T1, T1Gd, FLAIR and T2 without their slow field, in units of white matter's signal.
    tissue : Tissue
        White and grey matter and CSF.
    tumor : TumorMasks
        Its tumor.
    near_tumor : (z, y, x) bool array
        The tumor and 3 mm around it, on the tissue's grid.
    findings : tuple of Finding
        What was assumed.
    prior : AtlasOnHead or None
        The atlas on the visit: what tissue it expects where a resection left a cavity.
    """

    images: Mapping[MRSequence, Volume]
    tissue: Tissue
    tumor: TumorMasks
    near_tumor: NDArray[np.bool_]
    findings: tuple[Finding, ...]
    prior: AtlasOnHead | None = None


def read_head(
    images: Mapping[MRSequence, Volume],
    drawn: Mapping[Region, Mask],
    where: str = "",
    *,
    after_resection: bool = False,
    brain: Mask | None = None,
) -> Head:
    """Find brain, tissue and tumor in the reference visit.

    Parameters
    ----------
    images : mapping of MRSequence to Volume
        In one frame of reference.
    drawn : mapping of Region to Mask
        Drawn parts of the tumor, in the same frame.
    where : str
        The visit, for findings.
    after_resection : bool
        Whether tumor was taken out before this visit.
    brain : Mask, optional
        The brain, drawn or found by other means, in the same frame: used instead of looking for it.

    Raises
    ------
    InputError
        If the brain's mask is empty where the image is, or there is no T1, T1Gd, FLAIR or T2 image, or no brain in it.
    """
    key = first_of(TISSUE_ORDER, images)
    if key is None:
        held = ", ".join(images) or "no images"
        raise InputError(
            f"{where}: brain and tissue need a T1, T1Gd, FLAIR or T2 image, the visit has {held}: "
            "choose another reference visit"
        )
    findings = []
    if key is not MRSequence.T1:
        findings.append(
            Finding(
                f"no T1 image without contrast agent at the reference visit: tissue is told from {key}",
                where,
                "white and grey matter are less certain",
                Severity.ASSUMED,
            )
        )
    image = images[key]
    known = united(*drawn.values()) if drawn else None
    if brain is not None and not brain.array.any():
        raise InputError(f"{where}: the mask {brain.name or 'brain'!r} is empty: draw it again, or leave it out")
    prior = register_atlas(image, known, brain)
    given = None
    if brain is not None:
        given = average(brain, prior.grid) > 0.5
        if not given.any():
            raise InputError(
                f"{where}: the mask {brain.name or 'brain'!r} is empty where {key} is: draw it again, or leave it out"
            )
        findings.append(
            Finding(
                f"the brain is that of the mask {brain.name or 'brain'!r} ({brain.volume_ml:.0f} mL)",
                where,
                "used instead of looking for it: leave the mask out to have it found",
                Severity.NOTE,
            )
        )
    near = np.zeros(prior.grid.shape, bool) if known is None else _guard(known, prior.grid)
    # twice: a lesion that is not drawn disturbs the tissue it is told from
    for _ in range(1 if drawn.keys() & {Region.WHOLE, Region.EDEMA} else 2):
        step("tissue")
        tissue = classify(image, prior, near, given)
        step("tumor")
        tumor = find_tumor(normalized(images, tissue, near, prior=prior), drawn, where, after_resection=after_resection)
        # a cavity is kept out, too: there the tissue is that of the visits before the resection
        near = _guard(tumor.whole if tumor.cavity is None else united(tumor.whole, tumor.cavity), prior.grid)
    step("tissue")
    tissue = classify(image, prior, near, given)
    findings += check_drawn(normalized(images, tissue, near), drawn, where) if drawn else []
    findings += check_brain(image, tissue, prior, near, where, t1=key in (MRSequence.T1, MRSequence.T1GD))
    even = {
        s: flatten(v, tissue.grid, tissue.white, tissue.grey, near) if s in NORMALIZED else v for s, v in images.items()
    }
    return Head(even, tissue, tumor, near, (*findings, *tumor.findings), prior)


def normalized(
    images: Mapping[MRSequence, Volume],
    tissue: Tissue,
    exclude: NDArray[np.bool_],
    transform: NDArray[np.float64] | None = None,
    prior: AtlasOnHead | None = None,
    where: str = "",
) -> Normalized:
    """Bring a visit's images onto one grid and into units of white matter's signal.

    Parameters
    ----------
    images : mapping of MRSequence to Volume
        The visit's, in one frame of reference.
    tissue : Tissue
        Of the reference visit.
    exclude : (z, y, x) bool array
        Tumor, on the tissue's grid.
    transform : (4, 4) array, optional
        World of the reference to world of the visit.
    prior : AtlasOnHead, optional
        The atlas on the reference visit.
    where : str
        The visit, for findings.
    """
    matrix = np.eye(4) if transform is None else transform
    key = first_of(POSE_ORDER, images)
    if key is None:
        raise InputError("a visit without images cannot be looked at")
    grid = _around_brain(images[key].grid, tissue, matrix)
    ready = {}
    findings = []
    for sequence in NORMALIZED:
        if sequence in images:
            image = resample(images[sequence], grid)
            try:
                ready[sequence] = flatten(image, tissue.grid, tissue.white, tissue.grey, exclude, matrix).array
            except InputError as error:
                findings.append(Finding(f"{sequence}: {error}", where, "the image is left out", Severity.LEFT_OUT))
    if findings and not ready:
        raise InputError("; ".join(f.what for f in findings))
    if MRSequence.ADC in images and images[MRSequence.ADC].unit == "mm^2/s":
        adc = resample(images[MRSequence.ADC], grid).array
        ready[MRSequence.ADC] = np.where(adc > LEAST_ADC, adc, np.float32(np.nan))
    back = np.asarray(np.linalg.inv(matrix), np.float64)
    brain, white, grey = (
        resample(Volume(a.astype(np.float32), tissue.grid), grid, back).array
        for a in (tissue.brain, tissue.white, tissue.grey)
    )
    usual = None
    if prior is not None:
        usual = resample(Volume(prior.white + prior.grey, prior.grid), grid, back).array
    return Normalized(grid, ready, brain, white, grey, usual, tuple(findings))


def _around_brain(grid: Grid, tissue: Tissue, transform: NDArray[np.float64]) -> Grid:
    """Crop a visit's grid to the part that shows the brain."""
    inside = np.argwhere(tissue.brain)
    low, high = inside.min(0), inside.max(0)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    index = grid.to_index(tissue.grid.to_world(corners) @ transform[:3, :3].T + transform[:3, 3])
    start = np.clip(np.floor(index.min(0)) - 2, 0, None).astype(int)
    stop = np.minimum(np.ceil(index.max(0)) + 3, grid.shape).astype(int)
    if (stop <= start).any():
        raise InputError("the image does not show the brain")
    return grid.cropped(box_slices(start, stop))


def _guard(tumor: Mask, grid: Grid) -> NDArray[np.bool_]:
    """Mark the tumor and 3 mm around it on another grid of its frame."""
    inside = average(tumor, grid) > 0.1
    if not inside.any():
        return inside
    return ndimage.distance_transform_edt(~inside, sampling=grid.spacing) <= GUARD_MM
