"""The visits of a synthetic patient: how each is scanned, and what an expert draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.phantom.acquisition import Pose, Protocol, Scanner, adc_map, bias_field, rician
from tumortwin.phantom.lesion import SyntheticLesion
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries, SyntheticVisit

_SERIES = (MRSequence.T1, MRSequence.T1GD, MRSequence.FLAIR, MRSequence.ADC)


@dataclass(frozen=True)
class VisitPlan:
    """One visit as it is to be scanned.

    Parameters
    ----------
    day : int
        Days after the first visit.
    label : str
        For people, and for UIDs.
    protocols : mapping of MRSequence to Protocol
        Slicing of each sequence; what is missing is 2 mm axial.
    encodings : mapping of MRSequence to Encoding
        Storage; what is missing is JPEG-LS.
    expert : bool
        Whether an expert's segmentation exists.
    keep_dwi : bool
        Whether b0 and b1000 are kept beside the ADC map.
    """

    day: int
    label: str
    protocols: Mapping[MRSequence, Protocol] = field(default_factory=dict)
    encodings: Mapping[MRSequence, Encoding] = field(default_factory=dict)
    expert: bool = False
    keep_dwi: bool = False


def _all(protocol: Protocol, adc: Protocol) -> dict[MRSequence, Protocol]:
    return {MRSequence.T1: protocol, MRSequence.T1GD: protocol, MRSequence.FLAIR: protocol, MRSequence.ADC: adc}


VISITS: tuple[VisitPlan, ...] = (
    VisitPlan(
        0,
        "diagnosis",
        {MRSequence.T1: Protocol(plane="sagittal"), MRSequence.ADC: Protocol((3, 2, 2))},
        {MRSequence.T1: Encoding.PLAIN},
        expert=True,
        keep_dwi=True,
    ),
    VisitPlan(21, "planning", {MRSequence.T1GD: Protocol((2, 1.5, 1.5)), MRSequence.ADC: Protocol((3, 2, 2))}),
    VisitPlan(
        95, "post-RT", {MRSequence.ADC: Protocol((3, 2, 2))}, dict.fromkeys(_SERIES, Encoding.ENHANCED), expert=True
    ),
    VisitPlan(150, "follow-up 1", _all(Protocol(tilt=(-18, 4, 6)), Protocol((3, 2, 2), tilt=(-18, 4, 6)))),
    VisitPlan(
        205,
        "follow-up 2",
        _all(Protocol((5, 0.9, 0.9)), Protocol((5, 1.8, 1.8))),
        {MRSequence.FLAIR: Encoding.RLE},
        expert=True,
    ),
    VisitPlan(260, "follow-up 3", {MRSequence.ADC: Protocol((3, 2, 2))}),
)
"""Six visits over about nine months: one oblique, one enhanced multi-frame, one of thick 2-D slices."""


def scan_visit(
    plan: VisitPlan,
    time: datetime,
    lesion: SyntheticLesion,
    scanner: Scanner,
    pose: Pose,
    frame: str,
    noise: float,
    rng: np.random.Generator,
) -> tuple[SyntheticVisit, dict[str, Mask]]:
    """Simulate the series of a visit and the true masks on its T1Gd's grid."""
    center = (pose.matrix @ [0.0, 10.0, 14.0, 1.0])[:3] + rng.uniform(-2, 2, 3)
    signals = scanner.signals(lesion)
    sigma = noise * scanner.white_signal("T1")
    diffusion_sigma = 0.6 * noise * scanner.white_signal("b0")
    series: list[SyntheticSeries] = []
    masks: dict[str, Mask] = {}
    for sequence in _SERIES:
        protocol = plan.protocols.get(sequence, Protocol())
        encoding = plan.encodings.get(sequence, Encoding.JPEG_LS)
        grid = protocol.grid(center, frame)
        if sequence is MRSequence.ADC:
            pair = [
                Volume(rician(scanner.image(b, signals, grid, pose), diffusion_sigma, rng), grid, "a.u.", b)
                for b in ("b0", "b1000")
            ]
            adc = adc_map(pair[0], pair[1], diffusion_sigma)
            series.append(SyntheticSeries(sequence, adc, "ep2d_diff_ADC", encoding))
            kept = pair if plan.keep_dwi else []
            series += [
                SyntheticSeries(MRSequence.DWI, v, f"ep2d_diff_{v.name}", encoding, float(v.name[1:])) for v in kept
            ]
            continue
        clean = scanner.image(str(sequence), signals, grid, pose) * bias_field(grid, rng)
        scale = 0.8 if sequence is MRSequence.FLAIR else 1.0
        volume = Volume(rician(clean, scale * sigma, rng), grid, "a.u.", str(sequence))
        names = {MRSequence.T1: "t1_tra_pre", MRSequence.T1GD: "t1_tra_post_Gd", MRSequence.FLAIR: "t2_flair_tra"}
        name = names[sequence].replace("tra", "sag") if protocol.plane == "sagittal" else names[sequence]
        series.append(SyntheticSeries(sequence, volume, name, encoding))
        if sequence is MRSequence.T1GD:
            masks = scanner.masks(lesion, grid, pose)
    expert = _drawn_by_hand(masks, rng) if plan.expert else {}
    return SyntheticVisit(time, plan.label, tuple(series), expert), masks


def _drawn_by_hand(masks: Mapping[str, Mask], rng: np.random.Generator) -> dict[str, Mask]:
    """Simulate masks drawn by an expert: the true regions with an unsteady edge, without small pieces."""
    grid = masks["enhancing"].grid
    wobble = ndimage.gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), 2.5 / np.array(grid.spacing))
    wobble /= wobble.std()

    def redrawn(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        soft = ndimage.gaussian_filter(region.astype(np.float32), 0.8 / np.array(grid.spacing))
        labels, count = ndimage.label((soft + 0.12 * wobble >= 0.5) & (soft > 0.1))
        sizes = np.bincount(labels.ravel(), minlength=count + 1) * grid.voxel_volume
        keep = sizes >= 40
        keep[0] = False
        return keep[labels]

    core = redrawn(masks["enhancing"].array | masks["necrosis"].array)
    necrosis = redrawn(masks["necrosis"].array) & core
    edema = redrawn(masks["whole"].array) & ~core
    arrays = {"enhancing": core & ~necrosis, "necrosis": necrosis, "edema": edema}
    return {name: Mask(array, grid, name=name) for name, array in arrays.items() if array.any()}
