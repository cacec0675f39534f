"""Apparent diffusion coefficients: their unit, and their computation from images with two b-values."""

from __future__ import annotations

import re
from dataclasses import replace
from numbers import Real
from typing import NamedTuple

import numpy as np

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.attributes import text
from tumortwin.imaging.reading.pixels import load
from tumortwin.imaging.reading.plane import Plane
from tumortwin.imaging.reading.stacks import Stack
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage
from tumortwin.imaging.volume import Volume

MM2_PER_S = "mm^2/s"


class AdcUnit(NamedTuple):
    """A unit that somebody stated.

    Parameters
    ----------
    factor : float
        mm^2/s per value.
    source : str
        Who says so.
    given : bool
        By the user: it is obeyed unless no tissue can be meant.
    """

    factor: float
    source: str
    given: bool = False


def parse_unit(given: str) -> float | None:
    """Parse a written diffusion unit into its factor to mm^2/s, 1e-6 for "um2/s" or "10^-6 mm^2/s", else None."""
    squeezed = re.sub(
        r"[\s^*._·x×()\[\]{}]", "", given.lower().replace("²", "2").replace("\N{GREEK SMALL LETTER MU}", "u")
    )
    squeezed = squeezed.replace("\N{MICRO SIGN}", "u").replace("sec", "s").replace("mm2s-1", "mm2/s")
    found = re.search(
        r"(?:(?:10|1e)(?P<before>[+-]?\d+))?(?P<unit>mm2|um2)/s(?:(?:10|1e)(?P<after>[+-]?\d+))?", squeezed
    )
    if not found:
        return None
    exponent = int(found["before"] or found["after"] or 0)
    return (1e-6 if found["unit"] == "um2" else 1.0) * 10.0**exponent


def stated_unit(plane: Plane) -> tuple[float, bool, str] | None:
    """Find the ADC unit that a file states.

    Returns
    -------
    tuple or None
        Factor to mm^2/s, whether it holds for real-world (else for rescaled) values, and where that is stated.
    """
    for code in plane.value("MeasurementUnitsCodeSequence") or ():
        factor = parse_unit(text((code,), "CodeValue")) or parse_unit(text((code,), "CodeMeaning"))
        if factor is not None and plane.number("RealWorldValueSlope") is not None:
            return factor, True, f"RealWorldValueMapping ({text((code,), 'CodeValue')})"
    for keyword in ("RescaleType", "SeriesDescription"):
        factor = parse_unit(text(plane.sets, keyword))
        if factor is not None:
            return factor, False, f"{keyword} ({text(plane.sets, keyword)})"
    return None


# The median of living tissue lies between 0.05e-3 and 6e-3 mm^2/s, so that the three usual scales cannot be confused.
_SCALES = ((1e-6, "10^-6 mm^2/s"), (1e-3, "10^-3 mm^2/s"), (1.0, "mm^2/s"))
_PLAUSIBLE = (5e-5, 6e-3)
_LEAST_TISSUE = 3e-4
"""Where the fastest 5 % are no slower, and within the range, most of a map may be background of any low value."""


def load_adc(stack: Stack, sources: dict[str, str], adc_unit: float | None = None) -> tuple[Volume, list[Finding]]:
    """Read an ADC map in mm^2/s.

    Parameters
    ----------
    stack : Stack
        The map.
    sources : dict
        Receives the SHA-256 of each file that is read.
    adc_unit : float, optional
        The user's word: mm^2/s per rescaled value, e.g. 1e-6.

    Raises
    ------
    ReadError
        If it cannot be decoded, or if no unit makes its values an ADC.
    """
    stated = stated_unit(stack.first) if adc_unit is None else None
    unit = AdcUnit(stated[0], stated[2]) if stated else your_unit(adc_unit)
    volume, findings = load(stack, sources, unit="1", real_world=stated is not None and stated[1])
    adc, said = in_mm2_per_s(volume, unit, stack.where)
    return adc, [*findings, *said]


def your_unit(adc_unit: float | None) -> AdcUnit | None:
    """Build the unit from the factor that the caller gives, if any."""
    return None if adc_unit is None else AdcUnit(adc_unit, "your adc_unit", given=True)


def in_mm2_per_s(volume: Volume, stated: AdcUnit | None, where: str) -> tuple[Volume, list[Finding]]:
    """Convert an ADC map to mm^2/s.

    Parameters
    ----------
    volume : Volume
        In its own unit.
    stated : AdcUnit, optional
        Without it the unit that fits living tissue is taken, with a finding. One that the user gave is obeyed, even if
        it makes the map slower than tissue.
    where : str
        The map, for findings.

    Raises
    ------
    ReadError
        If no unit, or not the stated one, makes its values an ADC: the message says which adc_unit would be taken.
    """
    findings = []
    positive = volume.array[volume.array > 0]
    if not positive.size:
        raise ReadError(f"{where}: an ADC map without positive values: export it again, or leave it out")
    low, middle, high = np.percentile(positive, (5, 50, 95)).tolist()
    seen = f"5 to 95 % of its positive values are {low:.4g} to {high:.4g}"
    tissue = f"the median of living tissue is {_PLAUSIBLE[0]:g} to {_PLAUSIBLE[1]:g} mm^2/s"

    def fits(factor: float) -> bool:
        background = middle * factor < _PLAUSIBLE[0] and _LEAST_TISSUE <= high * factor <= _PLAUSIBLE[1]
        return background or _PLAUSIBLE[0] <= middle * factor <= _PLAUSIBLE[1]

    fitting = [s for s in _SCALES if fits(s[0])]
    if stated is None and fitting:
        factor, name = fitting[0]
        findings.append(Finding(f"no ADC unit is stated; {seen}", where, f"taken as {name}", Severity.ASSUMED))
    elif stated is not None and fits(stated.factor):
        factor = stated.factor
    elif stated is not None and stated.given and middle * stated.factor < _PLAUSIBLE[0]:
        factor = stated.factor
        slow = f"the median ADC is {middle * factor:.3g} mm^2/s by {stated.source} ({seen}), but {tissue}"
        findings.append(Finding(slow, where, "used as you say: look at the map", Severity.ASSUMED))
    else:
        said = stated.source if stated is not None else "no ADC unit is stated; 10^-6 mm^2/s"
        factor = stated.factor if stated is not None else _SCALES[0][0]
        if fitting:
            taken = fitting[0][0]
        else:  # what is too slow is taken if the user insists, what is too fast never is
            taken = factor if middle * factor < _PLAUSIBLE[0] else 10.0 ** round(-3 - np.log10(middle))
        raise ReadError(
            f"{where}: {said} makes the median ADC {middle * factor:.3g} mm^2/s ({seen}), but {tissue}: give "
            f"adc_unit={taken:g} (mm^2/s per stored value; --adc-unit) if that is its unit, else correct the map or "
            "leave it out"
        )
    return volume.with_array((volume.array * np.float32(factor)), unit=MM2_PER_S), findings


def compute_adc(images: list[AcquiredImage]) -> tuple[AcquiredImage, Finding] | Finding | None:
    """ADC = -ln(S_high / S_low) / (b_high - b_low), the mean over gradient directions.

    Reference: Stejskal and Tanner 1965, doi:10.1063/1.1695690.

    Parameters
    ----------
    images : list of AcquiredImage
        The diffusion-weighted images of one study.

    Returns
    -------
    tuple, Finding or None
        The map, 0 where a signal is not positive, and a note; a finding if they do not fit together; None if there
        are not two b-values at least 400 s/mm^2 apart.
    """
    weighted = [i for i in images if i.sequence is MRSequence.DWI and i.b_value is not None]
    if not weighted:
        return None
    b_low = min(i.b_value for i in weighted if i.b_value is not None)
    # perfusion shortens ADCs from below b 400, kurtosis those from far above 1000
    b_high = min(
        (i.b_value for i in weighted if i.b_value is not None and i.b_value - b_low >= 400),
        key=lambda b: abs(b - 1000),
        default=None,
    )
    if b_high is None:
        return None
    lows, highs = ([i for i in weighted if i.b_value == b] for b in (b_low, b_high))
    low = lows[0]
    where = f"study of {low.date:%Y-%m-%d}"
    if any(not i.volume.grid.matches(low.volume.grid, 0.01) for i in lows + highs):
        return Finding(
            f"the images with b {b_low:g} and b {b_high:g} lie on unlike grids",
            where,
            "no ADC computed from them: give the ADC map",
            Severity.LEFT_OUT,
        )
    baseline = np.mean([i.volume.array for i in lows], axis=0)
    positive = baseline > 0
    for image in highs:
        positive &= image.volume.array > 0
    logs = np.mean([np.log(np.where(positive, i.volume.array, 1)) for i in highs], axis=0)
    adc = np.where(positive, np.log(np.where(positive, baseline, 1)) - logs, 0) / (b_high - b_low)
    volume = replace(
        low.volume,
        array=adc.astype(np.float32),
        unit=MM2_PER_S,
        name=f"ADC from b {b_low:g} and b {b_high:g}",
        source=tuple(dict.fromkeys(s for i in lows + highs for s in i.volume.source)),
    )
    note = Finding(
        f"no ADC map; images with b {b_low:g} and b {b_high:g} ({len(highs)} direction(s))",
        where,
        "ADC computed from them",
    )
    return replace(low, volume=volume, sequence=MRSequence.ADC, b_value=None, series_uid=highs[0].series_uid), note


def check_adc_unit(adc_unit: float | None) -> None:
    """Raise InputError unless the unit is a positive number or None."""
    if adc_unit is not None and not (isinstance(adc_unit, Real) and np.isfinite(adc_unit) and adc_unit > 0):
        raise InputError(f"adc_unit is a positive number of mm^2/s per stored unit (e.g. 1e-6), not {adc_unit!r}")
