"""Where the tumor is: drawn masks where there are any, else classical segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.geometry.segmentation.certainty import drawn_interval, drawn_log_odds, segmented_interval
from tumortwin.geometry.segmentation.evidence import probability
from tumortwin.geometry.segmentation.outline import (
    FULL_GAIN,
    Outline,
    cavity_of,
    enclosed,
    filled,
    fluid_within,
    outline,
    smoothed,
)
from tumortwin.geometry.segmentation.regions import Region, united, without
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume

REACH_MM = 4.0
"""How far outside the FLAIR lesion enhancement is looked for."""
JOINT = (MRSequence.T1, MRSequence.ADC)
"""What is weighed together with FLAIR or T2. ADC last: where it does not reach, the others judge."""


@dataclass(frozen=True, eq=False)
class Normalized:
    """One visit's images on one grid, in units of white matter's signal, and the normal tissue below them.

    Parameters
    ----------
    grid : Grid
        The visit's, cropped to the brain.
    images : mapping of MRSequence to (z, y, x) array
        T1, T1Gd, T2, FLAIR, as far as there are; and ADC in mm^2/s, NaN where it does not reach.
    brain, white, grey : (z, y, x) float32 arrays
        Shares, from the reference visit.
    usual : (z, y, x) float32 array or None
        Share of tissue that the atlas expects: where the tissue map may know a cavity as CSF, this does not.
    findings : tuple of Finding
        Images that could not be used.
    """

    grid: Grid
    images: Mapping[MRSequence, NDArray[np.float32]]
    brain: NDArray[np.float32]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    usual: NDArray[np.float32] | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class TumorMasks:
    """A visit's tumor.

    Parameters
    ----------
    whole, enhancing, necrosis : Mask
        In the visit's frame; each on the grid it was drawn or segmented on. `whole` holds the other two.
    source : str
        Who drew them: "drawn: ...", "segmented" or both.
    levels : mapping of MRSequence to float
        Signal of the full lesion on the images that the whole tumor was told from (in units of white matter; ADC in
        mm^2/s), and under T1GD that of T1Gd minus T1 in the enhancing tumor.
    findings : tuple of Finding
        What could not be told.
    cavity : Mask or None
        Of a resection: no part of the tumor. None if none was looked for.
    probability : Volume or None
        That a voxel belongs to the whole tumor, 0..1, on the visit's grid cropped to the brain.
    intervals_ml : mapping of Region to (float, float)
        90 % interval of the volume in mL (see :mod:`~tumortwin.geometry.segmentation.certainty`).
    segmented : bool
        Whether the whole tumor was told from the images, not drawn.
    """

    whole: Mask
    enhancing: Mask
    necrosis: Mask
    source: str
    levels: Mapping[MRSequence, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    cavity: Mask | None = None
    probability: Volume | None = None
    intervals_ml: Mapping[Region, tuple[float, float]] = field(default_factory=dict)
    segmented: bool = False


def find_tumor(
    view: Normalized,
    drawn: Mapping[Region, Mask],
    where: str = "",
    levels: Mapping[MRSequence, float] | None = None,
    *,
    after_resection: bool = False,
    former: NDArray[np.bool_] | None = None,
) -> TumorMasks:
    """Take the tumor's masks from drawings as far as they go, and segment the rest.

    Whole tumor: starts where FLAIR (else T2) is far above normal tissue, and holds the voxels around that are more than
    half lesion by FLAIR, T1 and ADC together. Enhancing: the same for T1Gd minus T1, in the whole tumor or within 4 mm
    of it. Necrosis: what enhancement encloses, and what in the lesion is as dark on T1 and as fluid by ADC as to differ
    from edema. Cavity, after a resection only: fluid beside the tumor where the brain should be. These are classical
    means; on real scans expect a Dice of about 0.8 for the whole tumor, less after surgery.

    Parameters
    ----------
    view : Normalized
        The visit.
    drawn : mapping of Region to Mask
        See :func:`~tumortwin.geometry.segmentation.regions.drawn_regions`.
    where : str
        The visit, for findings.
    levels : mapping of MRSequence to float, optional
        The lesion's full signal at another visit of the same patient, so that a label means the same at every visit;
        without it, a fading lesion would be outlined at half of its own faint contrast.
    after_resection : bool
        Whether tumor was taken out before this visit.
    former : (z, y, x) bool array, optional
        Where the tumor was before the resection, on the visit's grid.

    Returns
    -------
    TumorMasks
        With empty masks where nothing could be found, and a finding that says why.
    """
    return _Search(view, drawn, where, levels or {}, after_resection, former).result()


class _Search:
    """One visit's search, step by step; every step reads what those before it found."""

    def __init__(
        self,
        view: Normalized,
        drawn: Mapping[Region, Mask],
        where: str,
        levels: Mapping[MRSequence, float],
        after_resection: bool,
        former: NDArray[np.bool_] | None,
    ) -> None:
        self.view, self.drawn, self.where, self.levels = view, drawn, where, levels
        self.findings = list(view.findings)
        self.images = _usable(view, where, self.findings)
        self.brain = view.brain > 0.5
        self.tissue = view.white + view.grey > 0.5
        # the outermost voxels mix with skull, dura and CSF
        self.deep = ndimage.binary_erosion(self.brain, iterations=max(1, round(2 / min(view.grid.spacing))))
        self.fluid = next((s for s in (MRSequence.FLAIR, MRSequence.T2) if s in self.images), None)
        self.whole_drawn = bool({Region.WHOLE, Region.EDEMA} & drawn.keys())
        self.bright = None if self.whole_drawn else self._bright(None)
        self.cavity = self._cavity(former) if after_resection or Region.CAVITY in drawn else None
        if self.cavity is not None and self.cavity.array.any() and not self.whole_drawn:
            self.bright = self._bright(resample(self.cavity, view.grid).array)
        self.gain: Outline | None = None

    def _bright(self, cavity: NDArray[np.bool_] | None) -> Outline | None:
        """Segment the lesion on FLAIR (else T2), T1 and ADC together; return None if there is neither FLAIR nor T2."""
        if self.fluid is None:
            if cavity is None:
                self._say(
                    "no FLAIR and no T2 image, and no whole tumor drawn",
                    "the tumor without its edema stands for the whole",
                )
            return None
        if self.fluid is MRSequence.T2 and cavity is None:
            self._say("no FLAIR image", "whole tumor segmented on T2, where CSF is bright too")
        # CSF is dark on FLAIR, so what is bright there is none, whatever the tissue map says
        allowed = self.brain if self.fluid is MRSequence.FLAIR else self.tissue
        if cavity is not None:
            allowed = allowed & ~cavity
        images = {s: self.images[s] for s in (self.fluid, *JOINT) if s in self.images}
        view = self.view
        found = outline(
            images,
            self.fluid,
            view.white,
            view.grey,
            self.brain,
            view.grid,
            self.tissue & self.deep,
            allowed,
            self.levels,
            exclude=cavity,
        )
        solid = filled(found.mask) & allowed
        return Outline(solid, np.where(solid & ~found.mask, 3, found.log_odds).astype(np.float32), found.level)

    def _cavity(self, former: NDArray[np.bool_] | None) -> Mask:
        if Region.CAVITY in self.drawn:
            return self.drawn[Region.CAVITY]
        view = self.view
        asked = (MRSequence.T1, MRSequence.FLAIR, MRSequence.T2, MRSequence.ADC)
        images = {s: i for s, i in self.images.items() if s in asked}
        beside = np.zeros(view.grid.shape, bool) if former is None else former
        if self.bright is not None:
            beside = beside | self.bright.mask
        for region in self.drawn.values():
            beside = beside | resample(region, view.grid).array
        if not images:
            self._say("no T1, FLAIR, T2 or ADC image", "the resection's cavity is not known", Severity.LEFT_OUT)
            return Mask(np.zeros(view.grid.shape, bool), view.grid)
        found = cavity_of(images, view.white, view.grey, view.usual, self.brain, beside, view.grid)
        if not found.any():
            self._say("no resection cavity was found", "none is taken out of the tumor")
        return Mask(found, view.grid)

    def _core(self) -> tuple[Mask, Mask]:
        """Enhancing tumor and necrosis."""
        drawn, view = self.drawn, self.view
        if Region.EDEMA in drawn and not {Region.ENHANCING, Region.CORE} & drawn.keys():
            # who draws the edema around a tumor draws its enhancing part too, if there is one
            nothing = drawn[Region.EDEMA].with_array(np.zeros_like(drawn[Region.EDEMA].array))
            return nothing, drawn.get(Region.NECROSIS, nothing)
        if Region.ENHANCING in drawn:
            enhancing = drawn[Region.ENHANCING]
            if Region.NECROSIS in drawn:
                return enhancing, drawn[Region.NECROSIS]
            if Region.CORE in drawn:
                return enhancing, without(drawn[Region.CORE], enhancing)
            inside = Region.EDEMA not in drawn and enclosed(enhancing.array, enhancing.grid)
            return enhancing, self._outside_cavity(enhancing.with_array(np.zeros_like(enhancing.array) | inside))
        if MRSequence.T1GD not in self.images:
            nothing = Mask(np.zeros(view.grid.shape, bool), view.grid)
            self._say(
                "no T1 image with contrast agent",
                "enhancing tumor and necrosis are unknown"
                if Region.CORE not in drawn
                else "all of the GTV is taken for enhancing",
                Severity.LEFT_OUT,
            )
            return drawn.get(Region.CORE, nothing), drawn.get(Region.NECROSIS, nothing)
        if MRSequence.T1 not in self.images:
            self._say("no T1 image without contrast agent", "what is bright on T1Gd counts as enhancing")
        if Region.CORE in drawn:
            core = resample(drawn[Region.CORE], view.grid).array
            enhancing = Mask(self._gain(core & self.tissue, core, pieces=True).mask, view.grid)
            # a GTV drawn after a resection often holds the cavity
            return enhancing, self._outside_cavity(without(drawn[Region.CORE], enhancing))
        search = self.deep
        lesion = None
        if self.bright is not None:
            lesion = self.bright.mask
        elif self.whole_drawn:
            lesion = resample(united(*(drawn[r] for r in (Region.WHOLE, Region.EDEMA) if r in drawn)), view.grid).array
        if lesion is not None:
            search = np.zeros_like(self.deep)
            if lesion.any():
                search = ndimage.distance_transform_edt(~lesion, sampling=view.grid.spacing) <= REACH_MM
                search &= self.brain
        self.gain = self._gain(search, search)
        enhancing = Mask(self.gain.mask, view.grid)
        return enhancing, self._outside_cavity(Mask(self._necrosis(self.gain.mask, lesion), view.grid))

    def _gain(self, seeds: NDArray[np.bool_], allowed: NDArray[np.bool_], *, pieces: bool = False) -> Outline:
        """Where contrast agent raised T1."""
        view = self.view
        raised = self.images[MRSequence.T1GD]
        if MRSequence.T1 in self.images:
            raised = raised - self.images[MRSequence.T1]
        lesion = np.zeros(view.grid.shape, bool) if self.bright is None else self.bright.mask
        if self.cavity is not None:
            cavity = resample(self.cavity, view.grid).array
            allowed, lesion = allowed & ~cavity, lesion | cavity
        known = MRSequence.T1 in self.images and MRSequence.T1GD in self.levels
        level: dict[MRSequence, float] | None = {MRSequence.T1GD: self.levels[MRSequence.T1GD]} if known else None
        image: dict[MRSequence, NDArray[np.float32]] = {MRSequence.T1GD: raised}
        return outline(
            image,
            MRSequence.T1GD,
            view.white,
            view.grey,
            self.brain,
            view.grid,
            seeds,
            allowed,
            level,
            exclude=lesion,
            percentile=FULL_GAIN,
            pieces=pieces,
        )

    def _necrosis(self, enhancing: NDArray[np.bool_], lesion: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        view = self.view
        inside = enclosed(enhancing, view.grid) & self.brain
        if lesion is None:
            return inside
        solid = filled(lesion | enhancing | inside) & self.brain
        if self.cavity is not None:
            solid &= ~resample(self.cavity, view.grid).array
        return inside | fluid_within(self.images, view.white, view.grey, self.brain, solid, enhancing, view.grid)

    def _outside_cavity(self, mask: Mask) -> Mask:
        return mask if self.cavity is None else without(mask, self.cavity)

    def result(self) -> TumorMasks:
        view, drawn = self.view, self.drawn
        enhancing, necrosis = self._core()
        core = united(enhancing, necrosis)
        if Region.WHOLE in drawn:
            whole = united(drawn[Region.WHOLE], core)
        elif Region.EDEMA in drawn:
            whole = united(core, drawn[Region.EDEMA])
        else:
            whole = core if self.bright is None else united(Mask(self.bright.mask, view.grid), core)
        if not self.whole_drawn:
            whole = self._outside_cavity(whole)
        if not whole.array.any():
            self._say(
                "no tumor was found", "the visit counts as showing none: check the images, or give a segmentation"
            )
        levels = {} if self.bright is None else dict(self.bright.level)
        if self.gain is not None:
            levels |= self.gain.level
        names = [str(r) for r in drawn]
        source = "segmented" if not names else "drawn: " + ", ".join(names)
        if names and not self.whole_drawn:
            source += "; segmented: the rest"
        parts = {Region.WHOLE: whole, Region.ENHANCING: enhancing, Region.NECROSIS: necrosis}
        if self.cavity is not None:
            parts[Region.CAVITY] = self.cavity
        parts = {r: m.with_array(m.array, name=str(r)) for r, m in parts.items()}
        belief = self._belief(whole)
        intervals = {r: drawn_interval(m) for r, m in parts.items()}
        if self.bright is not None:
            intervals[Region.WHOLE] = segmented_interval(belief, parts[Region.WHOLE])
        if self.gain is not None:
            intervals[Region.ENHANCING] = segmented_interval(self.gain.log_odds, parts[Region.ENHANCING])
        return TumorMasks(
            parts[Region.WHOLE],
            parts[Region.ENHANCING],
            parts[Region.NECROSIS],
            source,
            levels,
            tuple(self.findings),
            parts.get(Region.CAVITY),
            Volume(probability(belief), view.grid, "1", "probability of tumor"),
            intervals,
            self.bright is not None,
        )

    def _belief(self, whole: Mask) -> NDArray[np.float32]:
        """Log odds of the whole tumor on the visit's grid."""
        there = resample(whole, self.view.grid).array
        if self.bright is None:
            return drawn_log_odds(there, self.view.grid)
        belief = self.bright.log_odds
        if self.gain is not None:
            # the core belongs to it, however FLAIR shows it
            belief = np.maximum(belief, np.where(self.deep, self.gain.log_odds, -6))
        belief = np.where(there & (belief <= 0), 3, belief)
        if self.cavity is not None:
            belief = np.where(resample(self.cavity, self.view.grid).array, -6, belief)
        return belief.astype(np.float32)

    def _say(self, what: str, action: str, severity: Severity = Severity.ASSUMED) -> None:
        self.findings.append(Finding(what, self.where, action, severity))


def _usable(view: Normalized, where: str, findings: list[Finding]) -> dict[MRSequence, NDArray[np.float32]]:
    """Smooth the images and leave out, with a finding, those that show nothing in the brain."""
    brain = view.brain > 0.5
    usable = {}
    for sequence, image in view.images.items():
        values = image[brain & np.isfinite(image)]
        if values.size < 0.2 * brain.sum() or np.percentile(values, 90) - np.percentile(values, 10) <= 0:
            findings.append(
                Finding(f"the {sequence} image shows nothing in the brain", where, "left out", Severity.LEFT_OUT)
            )
        else:
            usable[sequence] = smoothed(image, view.grid)
    return usable
