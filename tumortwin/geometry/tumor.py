"""Where the tumor is: drawn masks where there are any, else classical segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.geometry.regions import Region, united, without
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Grid, Mask

SEED_SIGMA = 5.0
EDGE_SIGMA = 2.0
"""Signals beyond these many standard deviations of normal tissue seed a lesion and may belong to it."""
PLATEAU_PERCENTILE = 80.0
"""Of a lesion's contrast: its full signal, beyond its blurred edge and within its brightest spots."""
SMALLEST_ML = 0.1
REACH_MM = 4.0
"""How far outside the FLAIR lesion enhancement is looked for."""
CLOSE_MM = 4.0


@dataclass(frozen=True, eq=False)
class Normalized:
    """One visit's images on one grid, in units of white matter's signal, and the normal tissue below them.

    Parameters
    ----------
    grid : Grid
        The visit's, cropped to the brain.
    images : mapping of Sequence to (z, y, x) array
        T1, T1Gd, T2, FLAIR, as far as there are.
    brain, white, grey : (z, y, x) float32 arrays
        Shares, from the reference visit.
    """

    grid: Grid
    images: Mapping[Sequence, NDArray[np.float32]]
    brain: NDArray[np.float32]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TumorMasks:
    """A visit's tumor.

    Parameters
    ----------
    whole, enhancing, necrosis : Mask
        In the visit's frame; each on the grid it was drawn or segmented on. `whole` holds the other two.
    source : str
        Who drew them: "drawn: ...", "segmented" or both.
    levels : mapping of Sequence to float
        The lesion's plateau above normal tissue on FLAIR (or T2) and in T1Gd minus T1, in units of white matter.
    findings : tuple of Finding
        What could not be told.
    """

    whole: Mask
    enhancing: Mask
    necrosis: Mask
    source: str
    levels: Mapping[Sequence, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def find_tumor(view: Normalized, drawn: Mapping[Region, Mask], where: str = "",
               levels: Mapping[Sequence, float] | None = None) -> TumorMasks:
    """Take the tumor's masks from drawings as far as they go, and segment the rest.

    Whole tumor: brighter on FLAIR (else T2) than the normal tissue of the place, connected to a bright seed, down to
    half the lesion's contrast. Enhancing: the same for T1Gd minus T1, in the whole tumor or within 4 mm of it.
    Necrosis: what enhancement encloses. These are classical means; on real scans expect a Dice of about 0.8 for the
    whole tumor, less after surgery.

    Parameters
    ----------
    view : Normalized
        The visit.
    drawn : mapping of Region to Mask
        See :func:`~tumortwin.geometry.regions.drawn_regions`.
    where : str
        The visit, for findings.
    levels : mapping of Sequence to float, optional
        The lesion's full contrast at another visit of the same patient, so that a label means the same at every visit;
        without it, a fading lesion would be outlined at half of its own faint contrast.

    Returns
    -------
    TumorMasks
        With empty masks where nothing could be found, and a finding that says why.
    """
    findings: list[Finding] = []
    levels = levels or {}
    tissue = view.white + view.grey > 0.5
    # the outermost voxels mix with skull, dura and CSF
    deep = ndimage.binary_erosion(view.brain > 0.5, iterations=max(1, round(2 / min(view.grid.spacing))))
    fluid = next((s for s in (Sequence.FLAIR, Sequence.T2) if s in view.images), None)
    contrast = None if fluid is None else _Contrast.of(_excess(view.images[fluid], view, tissue), tissue, view.grid)
    bright = None
    if not {Region.WHOLE, Region.EDEMA} & drawn.keys():
        if fluid is None or contrast is None:
            findings.append(Finding("no FLAIR and no T2 image, and no whole tumor drawn", where,
                                    "the tumor without its edema stands for the whole", Severity.ASSUMED))
        else:
            if fluid is Sequence.T2:
                findings.append(Finding("no FLAIR image", where, "whole tumor segmented on T2, where CSF is bright too",
                                        Severity.ASSUMED))
            # CSF is dark on FLAIR, so what is bright there is none, whatever the tissue map says
            allowed = view.brain > 0.5 if fluid is Sequence.FLAIR else tissue
            bright = ndimage.binary_fill_holes(contrast.lesion(tissue & deep, allowed, levels.get(fluid))) & allowed
    enhancing, necrosis, gain = _core(view, drawn, bright, deep, levels.get(Sequence.T1GD), findings, where)
    core = united(enhancing, necrosis)
    if Region.WHOLE in drawn:
        whole = united(drawn[Region.WHOLE], core)
    elif Region.EDEMA in drawn:
        whole = united(core, drawn[Region.EDEMA])
    else:
        whole = core if bright is None else united(Mask(bright, view.grid), core)
    if not whole.array.any():
        findings.append(Finding("no tumor was found", where, "the visit counts as showing none: check the images, or "
                                "give a segmentation", Severity.ASSUMED))
    found = {}
    for sequence, seen, region in ((fluid, contrast, whole), (Sequence.T1GD, gain, enhancing)):
        if sequence is not None and seen is not None and region.array.any():
            found[sequence] = seen.plateau(resample(region, view.grid).array)
    names = [str(r) for r in drawn]
    source = "segmented" if not names else "drawn: " + ", ".join(names)
    if names and not drawn.keys() & {Region.WHOLE, Region.EDEMA}:
        source += "; segmented: the rest"
    whole, enhancing, necrosis = (m.with_array(m.array, name=str(r)) for m, r in (
        (whole, Region.WHOLE), (enhancing, Region.ENHANCING), (necrosis, Region.NECROSIS)))
    return TumorMasks(whole, enhancing, necrosis, source, found, tuple(findings))


def _core(view: Normalized, drawn: Mapping[Region, Mask], bright: NDArray[np.bool_] | None, deep: NDArray[np.bool_],
          level: float | None, findings: list[Finding], where: str) -> tuple[Mask, Mask, _Contrast | None]:
    """Enhancing tumor, necrosis, and the contrast they were or would be told from."""
    tissue = view.white + view.grey > 0.5
    gain = None
    if Sequence.T1GD in view.images:
        raised = view.images[Sequence.T1GD]
        plain = view.images.get(Sequence.T1)
        raised = _excess(raised, view, tissue) if plain is None else raised - plain
        gain = _Contrast.of(raised, tissue if bright is None else tissue & ~bright, view.grid)
    if Region.EDEMA in drawn and not {Region.ENHANCING, Region.CORE} & drawn.keys():
        # who draws the edema around a tumor draws its enhancing part too, if there is one
        nothing = drawn[Region.EDEMA].with_array(np.zeros_like(drawn[Region.EDEMA].array))
        return nothing, drawn.get(Region.NECROSIS, nothing), gain
    if Region.ENHANCING in drawn:
        enhancing = drawn[Region.ENHANCING]
        if Region.NECROSIS in drawn:
            return enhancing, drawn[Region.NECROSIS], gain
        if Region.CORE in drawn:
            return enhancing, without(drawn[Region.CORE], enhancing), gain
        enclosed = Region.EDEMA not in drawn and _enclosed(enhancing.array, enhancing.grid)
        return enhancing, enhancing.with_array(np.zeros_like(enhancing.array) | enclosed), gain
    if gain is None:
        nothing = Mask(np.zeros(view.grid.shape, bool), view.grid)
        findings.append(Finding("no T1 image with contrast agent", where,
                                "enhancing tumor and necrosis are unknown" if Region.CORE not in drawn else
                                "all of the GTV is taken for enhancing", Severity.LEFT_OUT))
        return drawn.get(Region.CORE, nothing), drawn.get(Region.NECROSIS, nothing), None
    if Sequence.T1 not in view.images:
        findings.append(Finding("no T1 image without contrast agent", where,
                                "what is bright on T1Gd counts as enhancing", Severity.ASSUMED))
    if Region.CORE in drawn:
        core = resample(drawn[Region.CORE], view.grid).array
        enhancing = Mask(gain.lesion(core & tissue, core, level, pieces=True), view.grid)
        return enhancing, without(drawn[Region.CORE], enhancing), gain
    search = deep
    if bright is not None:
        if not bright.any():
            search = np.zeros_like(deep)
        else:
            search = ndimage.distance_transform_edt(~bright, sampling=view.grid.spacing) <= REACH_MM
            search &= view.brain > 0.5
    enhancing = Mask(gain.lesion(search, search, level), view.grid)
    return enhancing, enhancing.with_array(_enclosed(enhancing.array, view.grid) & (view.brain > 0.5)), gain


def _excess(image: NDArray[np.float32], view: Normalized, tissue: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Signal above what the normal tissue of the place would give."""
    pure = view.grey > 0.9
    grey = float(np.median(image[pure])) if pure.any() else 1.0
    share = view.grey / np.maximum(view.white + view.grey, 1e-6)
    return image - np.where(tissue, 1 + (grey - 1) * share, max(1.0, grey)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Contrast:
    """Signal above normal tissue, whose median is 0 and whose standard deviation is sigma."""

    values: NDArray[np.float32]
    sigma: float
    grid: Grid

    @classmethod
    def of(cls, excess: NDArray[np.float32], normal: NDArray[np.bool_], grid: Grid) -> _Contrast:
        # half a voxel: less noise, hardly less edge
        smooth = ndimage.gaussian_filter(excess, [0.5 * min(grid.spacing) / s for s in grid.spacing])
        middle = float(np.median(smooth[normal])) if normal.any() else 0.0
        spread = 1.4826 * float(np.median(np.abs(smooth[normal] - middle))) if normal.any() else 1.0
        return cls(smooth - np.float32(middle), max(spread, 1e-3), grid)

    def plateau(self, region: NDArray[np.bool_]) -> float:
        """The full contrast of a region."""
        return float(np.percentile(self.values[region], PLATEAU_PERCENTILE)) if region.any() else 0.0

    def lesion(self, seeds: NDArray[np.bool_], allowed: NDArray[np.bool_], level: float | None, *,
               pieces: bool = False) -> NDArray[np.bool_]:
        """What stands out: connected to a bright seed, down to half of the lesion's contrast.

        Parameters
        ----------
        seeds, allowed : (z, y, x) bool arrays
            Where a lesion may start, and where it may reach.
        level : float or None
            The lesion's full contrast, if it is known from another visit; else that of the seeds.
        pieces : bool
            Keep all pieces, not only the largest and those at least a fifth of it.
        """
        start = ndimage.binary_opening((self.values > SEED_SIGMA * self.sigma) & seeds)
        kept = _largest(start, self.values, self.grid, pieces)
        if not kept.any():
            return kept
        above = self.values > max(EDGE_SIGMA * self.sigma, 0.5 * (level or self.plateau(kept)))
        grown = ndimage.binary_propagation(kept & above, mask=above & allowed)
        return _largest(grown, self.values, self.grid, pieces)


def _largest(region: NDArray[np.bool_], weight: NDArray[np.float32], grid: Grid, pieces: bool) -> NDArray[np.bool_]:
    labels, count = ndimage.label(region)
    if count == 0:
        return region
    voxels = ndimage.sum_labels(region, labels, np.arange(1, count + 1))
    mass = ndimage.sum_labels(weight, labels, np.arange(1, count + 1))
    keep = voxels * grid.voxel_volume / 1000 >= SMALLEST_ML
    if not pieces:
        keep &= mass >= 0.2 * mass.max()
    return np.concatenate([[False], keep])[labels]


def _enclosed(enhancing: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """What a rim surrounds, in space or in the slices of any axis, gaps up to about 4 mm bridged."""
    if not enhancing.any():
        return np.zeros(grid.shape, bool)
    reach = [int(CLOSE_MM / s) for s in grid.spacing]
    axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    ball = sum((a * s) ** 2 for a, s in zip(axes, grid.spacing, strict=True)) <= CLOSE_MM**2
    pad = [(r + 1, r + 1) for r in reach]
    closed = ndimage.binary_closing(np.pad(enhancing, pad), ball)
    filled = ndimage.binary_fill_holes(closed)
    votes = np.zeros(filled.shape, np.uint8)
    for axis in range(3):
        planes = np.moveaxis(closed, axis, 0)
        votes += np.moveaxis(np.stack([ndimage.binary_fill_holes(plane) for plane in planes]), 0, axis)
    filled |= votes >= 2
    inner = filled[tuple(slice(a, -b) for a, b in pad)]
    return ndimage.binary_opening(inner & ~enhancing)
