"""From a Patient to a Twin: every visit in one pose, every image on one grid, every event on one clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import (
    Cellularity,
    Domain,
    Head,
    Region,
    TumorMasks,
    average,
    covered,
    density_from_adc,
    density_from_both,
    density_from_outlines,
    drawn_regions,
    find_tumor,
    noise_of,
    normalized,
    pose_of,
    read_head,
    smallest_adc,
)
from tumortwin.geometry.cellularity import ADC_WATER
from tumortwin.geometry.head import POSE_ORDER, TISSUE_ORDER, first_of, one_frame
from tumortwin.imaging.findings import Finding, Severity, refuse_findings
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.progress import Progress, silent
from tumortwin.threads import pool_of
from tumortwin.twin.model import Observation, Twin
from tumortwin.twin.planning_ct import place_planning_ct
from tumortwin.twin.therapy import place_therapy

PADDING = 2
"""Voxels around the brain on the twin's grid."""
USUAL_SIGMA = 0.05
"""Noise of one voxel's density where it cannot be estimated: a voxel's ADC repeats to 5 to 10 per cent."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """One visit as geometry sees it."""

    index: int
    visit: Visit
    where: str
    transform: NDArray[np.float64]
    within: dict[Sequence, NDArray[np.float64]]
    tumor: TumorMasks


def build_twin(patient: Patient, *, spacing: float = 2.0, reference: int | None = None,
               cellularity: Cellularity | str = Cellularity.ADC, threads: int = 1, progress: Progress = silent,
               strict: bool = False) -> Twin:
    """Put a patient on one grid and one clock.

    The reference visit gives brain, tissue and the grid's axes; the others are registered to it. Every mask and image
    is resampled once.

    Parameters
    ----------
    patient : Patient
        At least one visit with a T1, T1Gd, FLAIR or T2 image.
    spacing : float
        Voxel edge of the twin's cubic grid, mm.
    reference : int, optional
        Index of the visit that gives grid and tissue. Default: the visit in whose frame structures and dose lie, else
        the first with T1Gd, else the first that can.
    cellularity : Cellularity
        What the cell density is taken from: the ADC inside the enhancing tumor only (the default, see
        :func:`~tumortwin.geometry.cellularity.density_from_adc`), the outlines, or both (see
        :func:`~tumortwin.geometry.outlines.density_from_outlines`). A calibration compares outlines by themselves:
        with a density made from them it would count them twice, so calibrate with the default; the others are for
        showing, and for starting a simulation from a density field.
    threads : int
        Visits that are looked at at the same time; the result does not depend on it.
    progress : Progress
        Told how many visits are done; cancels by raising.
    strict : bool
        Make anything that was repaired, assumed or left out an error.

    Returns
    -------
    Twin
        Day 0 is the first visit. Visits that cannot be used are left out with a finding.

    Raises
    ------
    InputError
        If no visit can serve as reference, or an argument is out of range.
    StrictError
        With ``strict=True``, for findings.
    """
    chosen_cellularity = Cellularity(cellularity)
    if not 0.5 <= spacing <= 10:
        raise InputError(f"the grid's spacing is 0.5 to 10 mm, not {spacing}")
    chosen = _reference(patient, reference)
    findings = list(patient.findings)
    # a CT alone is no look at the tumor: it only says where the plan lies
    others = [i for i, v in enumerate(patient.visits) if i != chosen and set(v.images) != {Sequence.CT}]
    count = 1 + len(others)
    progress(0, count, "geometry")
    with pool_of(threads) as pool:
        head, seen = _first_look(patient, chosen, findings)
        progress(1, count, "geometry")
        looks = [seen]
        results = pool.map(lambda i: _other_look(patient.visits[i], i, head), others)
        for done, (look, found) in enumerate(results, 2):
            looks += [] if look is None else [look]
            findings += found
            progress(done, count, "geometry")
    looks.sort(key=lambda look: look.index)
    domain = _domain(head, spacing)
    _warn_outside(domain, looks, findings)
    observations = _observations(looks, domain, patient, findings, chosen_cellularity)
    transforms = {image.frame: look.transform for look in looks for image in look.visit.images.values()}
    # structures and dose share the reference's frame even where several visits carry its UID
    transforms[domain.grid.frame] = np.eye(4)
    transforms |= place_planning_ct(patient, head, transforms, findings)
    structures = {}
    for name, mask in patient.structures.items():
        if mask.frame in transforms:
            structures[name] = average(mask, domain.grid, transforms[mask.frame])
        else:
            findings.append(_unplaced(f"structure {name!r}"))
    dose = None
    if patient.dose is not None:
        if patient.dose.frame in transforms:
            dose = average(patient.dose, domain.grid, transforms[patient.dose.frame])
        else:
            findings.append(_unplaced("the planned dose"))
    twin = Twin(
        patient_id=patient.id, reference_time=patient.visits[0].date, domain=domain,
        anatomy=_anatomy(head, domain.grid), observations=observations, structures=structures, dose=dose,
        clinical=patient.clinical, sources=patient.sources,
        identity_removed=patient.identity_removed,
    )
    twin = place_therapy(twin, patient.treatments, transforms, findings)
    if strict:
        refuse_findings(findings)
    return replace(twin, findings=tuple(findings))


def _reference(patient: Patient, asked: int | None) -> int:
    visits = patient.visits
    if not visits:
        raise InputError(f"patient {patient.id} has no visit: nothing can be built")
    if asked is not None:
        if not -len(visits) <= asked < len(visits):
            raise InputError(f"there is no visit {asked}: the patient has {len(visits)}")
        return asked % len(visits)
    able = [i for i, v in enumerate(visits) if first_of(TISSUE_ORDER, v.images) is not None]
    if not able:
        held = sorted({str(s) for v in visits for s in v.images}) or ["no images"]
        raise InputError(f"patient {patient.id}: brain and tissue need a T1, T1Gd, FLAIR or T2 image, "
                         f"the visits have {', '.join(held)}")
    frames = {m.frame for m in patient.structures.values()} | ({patient.dose.frame} if patient.dose else set())
    planning = [i for i in able if {v.frame for v in visits[i].images.values()} & (frames - {None})]
    enhanced = [i for i in able if Sequence.T1GD in visits[i].images]
    return (planning or enhanced or able)[0]


def _where(visit: Visit) -> str:
    return f"visit of {visit.date:%Y-%m-%d}" + (f" ({visit.label})" if visit.label else "")


def _drawn(visit: Visit, where: str, findings: list[Finding]) -> dict[Region, Mask]:
    """What was drawn on a visit, in the frame of its pose image."""
    drawn, found = drawn_regions(visit.masks, where)
    findings += found
    key = first_of(POSE_ORDER, visit.images)
    frame = visit.images[key].frame if key is not None else None
    for region in [r for r, m in drawn.items() if m.frame != frame]:
        findings.append(Finding(f"the mask {drawn[region].name or region!r} lies in another frame of reference than "
                                f"{key}", where, "left out", Severity.LEFT_OUT))
        del drawn[region]
    return drawn


def _first_look(patient: Patient, chosen: int, findings: list[Finding]) -> tuple[Head, _Seen]:
    visit = patient.visits[chosen]
    where = _where(visit)
    drawn = _drawn(visit, where, findings)
    key = first_of(POSE_ORDER, visit.images)
    frame = visit.images[key].frame if key is not None else None
    source = ""
    if not drawn:
        # the contours of the plan were drawn on this visit
        planned = {n: m for n, m in patient.structures.items() if m.frame == frame}
        drawn, _ = drawn_regions(planned, where)
        source = "RTSTRUCT "
    within, found = one_frame(visit.images, where)
    findings += found
    images = {s: v for s, v in visit.images.items() if v.frame == frame}
    head = read_head(images, drawn, where)
    findings += head.findings
    tumor = replace(head.tumor, source=head.tumor.source.replace("drawn: ", f"drawn: {source}"))
    return head, _Seen(chosen, visit, where, np.eye(4), within, tumor)


def _other_look(visit: Visit, index: int, head: Head) -> tuple[_Seen | None, list[Finding]]:
    where = _where(visit)
    findings: list[Finding] = []
    try:
        within, found = one_frame(visit.images, where)
        pose = pose_of(head, visit.images, where)
        mover = first_of(POSE_ORDER, {s: v for s, v in visit.images.items() if s in head.images}) or first_of(
            POSE_ORDER, visit.images)
        # the pose is that of the image that was registered; the visit's is that of its first
        transform = np.linalg.inv(within[mover]) @ pose.transform if mover is not None else pose.transform
        drawn = _drawn(visit, where, findings)
        near = head.near_tumor
        # twice: a tumor that grew since the reference visit disturbs the normal signal it is compared with
        for _ in range(2):
            view = normalized(visit.images, head.tissue, near, transform, within)
            tumor = find_tumor(view, drawn, where, head.tumor.levels)
            grown = near | (average(tumor.whole, head.tissue.grid, transform) > 0.1)
            if grown.sum() < 1.3 * near.sum():
                break
            near = grown
    except InputError as error:
        findings.append(Finding(str(error), where, "the visit is left out", Severity.LEFT_OUT))
        return None, findings
    findings += [*found, *pose.findings, *tumor.findings]
    return _Seen(index, visit, where, transform, within, tumor), findings


def _domain(head: Head, spacing: float) -> Domain:
    """The brain's white and grey matter on a cubic, axis-aligned grid."""
    tissue = head.tissue
    world = tissue.grid.to_world(np.argwhere(tissue.brain))
    half = 0.5 * max(tissue.grid.spacing)
    low, high = world.min(0) - half, world.max(0) + half
    size = np.ceil((high - low) / spacing).astype(int) + 2 * PADDING
    middle = (low + high) / 2
    origin = middle - (size - 1) / 2 * spacing
    grid = Grid.regular((int(size[2]), int(size[1]), int(size[0])), spacing, origin, tissue.grid.frame)
    white, grey, csf = (average(Volume(a, tissue.grid), grid) for a in (tissue.white, tissue.grey, tissue.csf))
    solid = white + grey > 0.5
    labels, count = ndimage.label(solid)
    if count > 1:
        solid = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return Domain(grid, solid, white, grey, csf)


def _warn_outside(domain: Domain, looks: Iterable[_Seen], findings: list[Finding]) -> None:
    for look in looks:
        share = average(look.tumor.enhancing, domain.grid, look.transform)
        total = share.sum()
        if total and share[~domain.mask].sum() > 0.2 * total:
            findings.append(Finding(
                f"{share[~domain.mask].sum() / total:.0%} of the enhancing tumor lies outside the brain tissue of the "
                "reference visit", look.where, "what lies outside is not modeled: brain may have shifted, or the "
                "registration or the tissue be wrong; look at the overlay", Severity.NOTE))


def _observations(looks: list[_Seen], domain: Domain, patient: Patient,
                  findings: list[Finding], cellularity: Cellularity) -> tuple[Observation, ...]:
    grid = domain.grid
    shares = [{n: average(getattr(look.tumor, n), grid, look.transform) for n in ("whole", "enhancing", "necrosis")}
              for look in looks]
    adcs = [_adc(look, grid, findings) for look in looks]
    inside = [s["enhancing"] > 0.5 for s in shares]
    samples = [adc[where] for adc, where in zip(adcs, inside, strict=True) if adc is not None]
    known = [s for s in samples if s.size]
    adc_min = smallest_adc(known) if known else None
    if adc_min is None:
        findings.append(Finding(
            "no visit has both an ADC map and enhancing tumor", f"patient {patient.id}",
            "no cell density: the tumor's outlines alone inform the model", Severity.LEFT_OUT))
    else:
        findings.append(Finding(
            f"cell density from ADC in the enhancing tumor, 1 at {adc_min * 1e3:.2f}e-3 mm^2/s and 0 at "
            f"{ADC_WATER * 1e3:.1f}e-3 mm^2/s", f"patient {patient.id}",
            "relative to this tumor's densest part; edema and cells that are dead but not cleared count along"))
    out = []
    for look, share, adc, where in zip(looks, shares, adcs, inside, strict=True):
        density = np.full(grid.shape, np.nan, np.float32)
        sigma, length = USUAL_SIGMA, grid.spacing[0]
        if adc is not None and adc_min is not None:
            density = density_from_adc(adc, where, adc_min)
            sigma, length = _noise(adc, domain, share["whole"], adc_min, look.where, findings)
        if cellularity is not Cellularity.ADC:
            density, sigma = _outlined(share, domain, density, sigma, cellularity, look.where, findings)
        seen = np.ones(grid.shape, bool)
        for sequence in (Sequence.T1GD, Sequence.FLAIR):
            if sequence in look.visit.images:
                seen &= covered(look.visit.images[sequence].grid, grid, look.within[sequence] @ look.transform)
        volumes = {n: getattr(look.tumor, n).volume_ml for n in share}
        out.append(Observation(
            day=(look.visit.date - patient.visits[0].date).total_seconds() / 86400, date=look.visit.date,
            visit=look.index, density=density, sigma=sigma, correlation_mm=length, seen=seen, volumes_ml=volumes,
            source=look.tumor.source, transform=look.transform, **share))
    return tuple(out)


def _outlined(share: dict[str, NDArray[np.float32]], domain: Domain, density: NDArray[np.float32], sigma: float,
              cellularity: Cellularity, where: str, findings: list[Finding]) -> tuple[NDArray[np.float32], float]:
    """Density from a visit's outlines, alone or with that from its ADC; its mean standard deviation in the tumor."""
    try:
        front = density_from_outlines(share["enhancing"], share["whole"], domain.grid, necrosis=share["necrosis"])
    except InputError as error:
        findings.append(Finding(str(error), where, "no cell density from outlines at this visit", Severity.LEFT_OUT))
        return (density if cellularity is Cellularity.BOTH else np.full_like(density, np.nan)), sigma
    if cellularity is Cellularity.BOTH:
        front = density_from_both(density, sigma, front)
    inside = domain.mask & (share["whole"] > 0.5)
    spread = float(front.sigma[inside].mean()) if inside.any() else sigma
    return np.where(domain.mask, front.density, np.float32(np.nan)), spread


def _adc(look: _Seen, grid: Grid, findings: list[Finding]) -> NDArray[np.float32] | None:
    """A visit's ADC on the twin's grid in mm^2/s; NaN outside its field of view."""
    image = look.visit.images.get(Sequence.ADC)
    if image is None:
        findings.append(Finding("no ADC map", look.where, "no cell density at this visit", Severity.LEFT_OUT))
        return None
    if image.unit != "mm^2/s":
        findings.append(Finding(f"the ADC map's unit is {image.unit!r}", look.where, "no cell density at this visit: "
                                "give the map in mm^2/s", Severity.LEFT_OUT))
        return None
    transform = look.within[Sequence.ADC] @ look.transform
    adc = average(image, grid, transform)
    adc[~covered(image.grid, grid, transform)] = np.nan
    return adc


def _noise(adc: NDArray[np.float32], domain: Domain, whole: NDArray[np.float32], adc_min: float, where: str,
           findings: list[Finding]) -> tuple[float, float]:
    """Noise of one voxel's density, from white matter away from the tumor."""
    spacing = domain.grid.spacing[0]
    pure = ndimage.binary_erosion(domain.white > 0.9) & (ndimage.maximum_filter(whole, 5) < 0.01) & (adc > 0)
    if pure.sum() < 100:
        findings.append(Finding("too little white matter to tell the noise of the ADC", where,
                                f"a density noise of {USUAL_SIGMA} is assumed", Severity.ASSUMED))
        return USUAL_SIGMA, spacing
    sigma, length = noise_of(adc, pure, spacing)
    return sigma / (ADC_WATER - adc_min), length


def _anatomy(head: Head, grid: Grid) -> Volume:
    key = first_of(POSE_ORDER, head.images)
    assert key is not None  # read_head needs an image
    image = head.images[key]
    return Volume(average(image, grid), grid, image.unit, str(key), image.source)


def _unplaced(what: str) -> Finding:
    return Finding(f"{what} lies in a frame of reference that no visit has", "treatment planning",
                   "left out: give the images it was planned on", Severity.LEFT_OUT)
