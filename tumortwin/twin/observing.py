"""What the visits say about the tumor, on the twin's grid."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import (
    Cellularity,
    Domain,
    covered,
    density_from_adc,
    density_from_both,
    density_from_outlines,
    noise_of,
    smallest_adc,
)
from tumortwin.geometry.measures.cellularity import ADC_MIN_RANGE, ADC_WATER
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import POSE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Grid
from tumortwin.patient import Patient
from tumortwin.twin.model import Observation
from tumortwin.twin.survey import Look

USUAL_SIGMA = 0.05
"""Noise of one voxel's density where it cannot be estimated: a voxel's ADC repeats to 5 to 10 per cent."""
REGIONS = ("whole", "enhancing", "necrosis")


def observe(
    looks: Several[Look], domain: Domain, patient: Patient, cellularity: Cellularity, findings: list[Finding]
) -> tuple[Observation, ...]:
    """Bring masks and cell density of each look to the grid."""
    grid = domain.grid
    shares = [{name: look.average(getattr(look.tumor, name), grid) for name in REGIONS} for look in looks]
    adcs = [_adc(look, grid, findings) if cellularity is not Cellularity.OUTLINES else None for look in looks]
    inside = [share["enhancing"] > 0.5 for share in shares]
    adc_min = None
    if cellularity is not Cellularity.OUTLINES:
        adc_min = _smallest(looks, adcs, inside, findings)
    out = []
    for look, share, adc, where in zip(looks, shares, adcs, inside, strict=True):
        density = np.full(grid.shape, np.nan, np.float32)
        sigma, length = USUAL_SIGMA, grid.spacing[0]
        if adc is not None and adc_min is not None:
            density = density_from_adc(adc, where, adc_min)
            sigma, length = _noise(adc, domain, share["whole"], adc_min, look.where, findings)
        if cellularity is not Cellularity.ADC:
            density, sigma = _with_outlines(density, sigma, share, domain, look.where, findings)
        volumes = {name: getattr(look.tumor, name).volume_ml for name in REGIONS}
        out.append(
            Observation(
                day=(look.visit.date - patient.visits[0].date).total_seconds() / 86400,
                date=look.visit.date,
                visit=look.index,
                density=density,
                sigma=sigma,
                correlation_mm=length,
                seen=_seen(look, grid),
                volumes_ml=volumes,
                source=look.tumor.source,
                transform=look.transform,
                displacement=look.displacement,
                registration=look.registration,
                cavity=None if look.tumor.cavity is None else look.average(look.tumor.cavity, grid),
                intervals_ml={str(r): interval for r, interval in look.tumor.intervals_ml.items()},
                **share,
            )
        )
    return tuple(out)


def _seen(look: Look, grid: Grid) -> NDArray[np.bool_]:
    """Compute the mask that the images of the tumor cover: T1Gd and FLAIR, else the first there is."""
    images = look.visit.images
    sequences = [s for s in (MRSequence.T1GD, MRSequence.FLAIR) if s in images] or [
        s for s in [first_of(POSE_ORDER, images)] if s is not None
    ]
    seen = np.ones(grid.shape, bool)
    for sequence in sequences:
        seen &= covered(images[sequence].grid, grid, look.transform, look.displacement)
    return seen


def _adc(look: Look, grid: Grid, findings: list[Finding]) -> NDArray[np.float32] | None:
    """Average a visit's ADC on the twin's grid in mm^2/s; NaN outside its field of view."""
    image = look.visit.images.get(MRSequence.ADC)
    if image is None:
        findings.append(Finding("no ADC map", look.where, "no cell density at this visit", Severity.LEFT_OUT))
        return None
    if image.unit != "mm^2/s":
        findings.append(
            Finding(
                f"the ADC map {image.name!r} has no unit that makes its values an ADC ({image.unit!r})",
                look.where,
                "no cell density at this visit: give adc_unit=, or the map in mm^2/s",
                Severity.LEFT_OUT,
            )
        )
        return None
    adc = look.average(image, grid)
    adc[~covered(image.grid, grid, look.transform, look.displacement)] = np.nan
    return adc


def _smallest(
    looks: Several[Look],
    adcs: Several[NDArray[np.float32] | None],
    inside: Several[NDArray[np.bool_]],
    findings: list[Finding],
) -> float | None:
    """ADC at u = 1, the same for all visits: one map that is wrong does not set it."""
    where = "ADC maps"
    known, doubtful = [], []
    for look, adc, tumor in zip(looks, adcs, inside, strict=True):
        sample = np.empty(0, np.float32) if adc is None else adc[tumor]
        sample = sample[np.isfinite(sample) & (sample > 0)]
        if not sample.size:
            continue
        middle = float(np.median(sample))
        if ADC_MIN_RANGE[0] <= middle <= ADC_WATER:
            known.append(sample)
            continue
        doubtful.append(sample)
        findings.append(
            Finding(
                f"the ADC map {look.visit.images[MRSequence.ADC].name!r} has a median of {middle:.3g} mm^2/s in the "
                f"enhancing tumor, tumors have {ADC_MIN_RANGE[0]:g} to {ADC_WATER:g} mm^2/s",
                look.where,
                "its density is not to be relied on: look at the map, give its unit with adc_unit=, or leave it out",
                Severity.ASSUMED,
            )
        )
    known = known or doubtful
    if not known:
        findings.append(
            Finding(
                "no visit has both an ADC map and enhancing tumor",
                where,
                "no cell density: the tumor's outlines alone inform the model",
                Severity.LEFT_OUT,
            )
        )
        return None
    adc_min = smallest_adc(known)
    findings.append(
        Finding(
            f"cell density from ADC in the enhancing tumor, 1 at {adc_min * 1e3:.2f}e-3 mm^2/s and 0 at "
            f"{ADC_WATER * 1e3:.1f}e-3 mm^2/s",
            where,
            "relative to this tumor's densest part; edema and cells that are dead but not cleared count along",
        )
    )
    return adc_min


def _noise(
    adc: NDArray[np.float32],
    domain: Domain,
    whole: NDArray[np.float32],
    adc_min: float,
    where: str,
    findings: list[Finding],
) -> tuple[float, float]:
    """Noise of one voxel's density, from white matter (or the organ) away from the tumor."""
    spacing = domain.grid.spacing[0]
    pure = ndimage.binary_erosion(domain.white > 0.9) & (ndimage.maximum_filter(whole, 5) < 0.01) & (adc > 0)
    if pure.sum() < 100:
        findings.append(
            Finding(
                "too little even tissue to tell the noise of the ADC",
                where,
                f"a density noise of {USUAL_SIGMA} is assumed",
                Severity.ASSUMED,
            )
        )
        return USUAL_SIGMA, spacing
    sigma, length = noise_of(adc, pure, spacing)
    return sigma / (ADC_WATER - adc_min), length


def _with_outlines(
    density: NDArray[np.float32],
    sigma: float,
    share: dict[str, NDArray[np.float32]],
    domain: Domain,
    where: str,
    findings: list[Finding],
) -> tuple[NDArray[np.float32], float]:
    """Density from the outlines, where the ADC tells from both; and its mean standard deviation in the tumor."""
    try:
        front = density_from_outlines(share["enhancing"], share["whole"], domain.grid, necrosis=share["necrosis"])
    except InputError as error:
        findings.append(Finding(str(error), where, "no cell density from outlines at this visit", Severity.LEFT_OUT))
        return density, sigma
    if np.isfinite(density).any():
        front = density_from_both(density, sigma, front)
    inside = domain.mask & (share["whole"] > 0.5)
    spread = float(front.sigma[inside].mean()) if inside.any() else sigma
    return np.where(domain.mask, front.density, np.float32(np.nan)), spread
