"""RT Dose: dose maps in Gy on their own grids, and the dose of a whole course from its parts."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.objects.radiotherapy import FractionGroup, Plan
from tumortwin.imaging.reading.attributes import number, text, value
from tumortwin.imaging.reading.instance import Instance
from tumortwin.imaging.reading.pixels import stored_planes
from tumortwin.imaging.reading.plane import Plane
from tumortwin.imaging.reading.stacks import axes_of
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, TotalDose

LIKELY = (0.8, 1.6)
"""The maximum of a dose map is this many times what it was prescribed for: cold targets to hot spots."""


class DosePart(NamedTuple):
    """One RT Dose file.

    Parameters
    ----------
    dose : TotalDose
        As it is in the file; for a session not yet the total.
    summation : str
        Dose summation type.
    plans : tuple of str
        UIDs of the plans it refers to.
    groups, beams : tuple of int
        Fraction groups and beams it refers to.
    """

    dose: TotalDose
    summation: str
    plans: tuple[str, ...]
    groups: tuple[int, ...] = ()
    beams: tuple[int, ...] = ()

    @property
    def plan_uid(self) -> str:
        """The (first) plan it refers to."""
        return self.plans[0] if self.plans else ""


def read_dose(instance: Instance, data: Dataset) -> tuple[DosePart, list[Finding]]:
    """One RT Dose file in Gy on its own grid.

    Raises
    ------
    ReadError
        If it is not a physical dose in Gy on parallel planes.
    """

    def refuse(why: str) -> ReadError:
        return ReadError(f"{instance.name}: {why}: export the physical plan dose in Gy")

    findings: list[Finding] = []
    units, kind = text((data,), "DoseUnits"), text((data,), "DoseType")
    if units != "GY":
        raise refuse(f"dose units {units or 'not stated'}")
    if kind != "PHYSICAL":
        raise refuse(f"dose type {kind or 'not stated'}")
    scaling = number((data,), "DoseGridScaling")
    if scaling is None or scaling <= 0:
        raise refuse(f"DoseGridScaling {scaling}")
    plane = Plane(instance, 0, (data,))
    row, column, normal = axes_of(plane)
    place, spacing = plane.numbers("ImagePositionPatient", 3), plane.numbers("PixelSpacing", 2)
    if place is None or spacing is None or min(spacing) <= 0:
        raise refuse("no valid position or pixel spacing")
    frames = int(plane.number("NumberOfFrames") or 1)
    given = plane.numbers("GridFrameOffsetVector", frames)
    if given is None or frames < 2:
        raise refuse(f"{frames} frame(s) without as many frame offsets")
    position, offsets = np.array(place), np.array(given)
    # two conventions: offsets from the first plane, or (axial only) patient z coordinates
    if abs(offsets[0]) > 1e-6:
        if abs(offsets[0] - position[2]) > 0.01 or abs(abs(normal[2]) - 1) > 1e-4:
            raise refuse(f"the frame offsets start at {offsets[0]:g}, neither 0 nor the first plane's z")
        offsets = (offsets - offsets[0]) * np.sign(normal[2])
    steps = np.diff(offsets)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise refuse(f"the frame offsets neither rise nor fall steadily ({steps.min():g} to {steps.max():g} mm)")
    # in float64, so that 32-bit values round once
    array = np.array(
        [np.asarray(counts, np.float64) * scaling for counts in stored_planes(instance, data, list(range(frames)))],
        np.float32,
    )
    if array.min() < 0:
        raise refuse(f"the dose is negative in places (down to {array.min():g} Gy): it is a difference or an error")
    if steps[0] < 0:  # planes along the normal, as in every volume
        array, position, offsets = array[::-1], position + offsets[-1] * normal, (offsets - offsets[-1])[::-1]
    even = np.linspace(0, offsets[-1], frames)
    if np.abs(offsets - even).max() > max(0.01, 0.01 * even[1]):
        array, even = _evened(array, offsets)
        findings.append(
            Finding(
                f"planes unevenly spaced, {np.abs(steps).min():g} to {np.abs(steps).max():g} mm",
                instance.name,
                f"interpolated linearly to one every {even[1]:.4g} mm",
                Severity.REPAIRED,
            )
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = even[1] * normal, spacing[0] * column, spacing[1] * row
    affine[:3, 3] = position
    frame = text((data,), "FrameOfReferenceUID") or f"of series {text((data,), 'SeriesInstanceUID')}"
    name = text((data,), "DoseComment") or text((data,), "SeriesDescription") or "planned dose"
    referenced = list(value((data,), "ReferencedRTPlanSequence") or ())
    plans = tuple(uid for ref in referenced if (uid := text((ref,), "ReferencedSOPInstanceUID")))
    groups = [g for ref in referenced for g in value((ref,), "ReferencedFractionGroupSequence") or ()]
    beams = [b for g in groups for b in value((g,), "ReferencedBeamSequence") or ()]
    dose = TotalDose(array, Grid(array.shape, affine, frame), name=name, source=(instance.uid, *plans))
    return DosePart(
        dose,
        text((data,), "DoseSummationType"),
        plans,
        _numbers(groups, "ReferencedFractionGroupNumber"),
        _numbers(beams, "ReferencedBeamNumber"),
    ), findings


def _numbers(items: list[Dataset], keyword: str) -> tuple[int, ...]:
    return tuple(int(n) for item in items if (n := number((item,), keyword)) is not None)


def _evened(array: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planes at even distances, at most the smallest given."""
    count = int(np.ceil(offsets[-1] / np.diff(offsets).min() - 1e-3)) + 1
    even = np.linspace(0, offsets[-1], count)
    at = np.interp(even, offsets, np.arange(len(offsets), dtype=float))
    low = np.clip(np.floor(at).astype(int), 0, len(array) - 2)
    share = (at - low).astype(np.float32)[:, None, None]
    return array[low] * (1 - share) + array[low + 1] * share, even


def total_doses(parts: list[tuple[str, DosePart]], plans: list[Plan]) -> tuple[list[TotalDose], list[Finding]]:
    """Doses of whole plans: as given, or added up from all fraction groups, beams or sessions.

    A session's dose is given as often as its fraction group has fractions.

    Parameters
    ----------
    parts : list of (file name, DosePart)
        The RT Dose files.
    plans : list of Plan
        Say what makes a whole.
    """
    totals: list[TotalDose] = []
    findings: list[Finding] = []
    pieces: dict[tuple[str, str], list[tuple[str, DosePart]]] = defaultdict(list)
    whole = {uid for _, part in parts if part.summation in ("PLAN", "MULTI_PLAN") for uid in part.plans}
    known = {p.record.uid: p for p in plans}
    for name, part in parts:
        if part.summation in ("PLAN", "MULTI_PLAN"):
            alone = known.get(part.plan_uid) if len(part.plans) == 1 else None
            totals.append(_of_all_fractions(part.dose, alone, name, findings))
        elif part.plan_uid in whole:
            findings.append(Finding(f"a {part.summation} dose beside the dose of its plan", name, "not needed"))
        else:
            pieces[part.plan_uid, part.summation].append((name, part))
    for (plan_uid, summation), members in pieces.items():
        plan = known.get(plan_uid)
        names = ", ".join(name for name, _ in members[:3])
        weights = _weights(summation, [part for _, part in members], plan.groups) if plan else None
        if weights is None or plan is None:
            findings.append(
                Finding(
                    f"{len(members)} dose(s) of type {summation or 'not stated'}",
                    names,
                    "not the dose of a plan: export the dose with summation type PLAN",
                    Severity.LEFT_OUT,
                )
            )
            continue
        totals.append(_sum([part.dose for _, part in members], weights, names, findings))
        times = f" times {', '.join(f'{w:g}' for w in dict.fromkeys(weights))} fractions" if set(weights) != {1} else ""
        findings.append(
            Finding(
                f"{len(members)} {summation} dose(s) and no dose of the whole plan",
                names,
                f"added up{times}: they are all that the plan has",
                Severity.REPAIRED,
            )
        )
        _say_if_unlikely(totals[-1], plan, names, findings)
    return totals, findings


def _weights(summation: str, parts: list[DosePart], groups: tuple[FractionGroup, ...]) -> list[int] | None:
    """How often each part is given, if together they are the whole plan, each piece once; else None."""
    base = summation.removesuffix("_SESSION")
    if base == "FRACTION":
        keys = [[(g, 0) for g in part.groups] for part in parts]
        wanted = [(g.number, 0) for g in groups]
    elif base == "BEAM":
        own = [part.groups or (groups[0].number if len(groups) == 1 else -1,) for part in parts]
        keys = [[(g, b) for g in mine for b in part.beams] for mine, part in zip(own, parts, strict=True)]
        wanted = [(g.number, b) for g in groups for b in g.beams]
    else:
        return None
    fractions = {g.number: g.fractions for g in groups}
    if not any(keys):  # older files do not say which piece they are
        known = len(parts) == len(wanted) and len(set(fractions.values())) == 1
        keys = [[w] for w in wanted] if known else keys
    covered = Counter(key for mine in keys for key in mine)
    if not wanted or set(covered) != set(wanted) or max(covered.values()) > 1:
        return None
    if not summation.endswith("_SESSION"):
        return [1] * len(parts)
    times = [{fractions[g] for g, _ in mine} for mine in keys]
    return [t.pop() for t in times] if all(len(t) == 1 and 0 not in t for t in times) else None


def _sum(doses: list[TotalDose], weights: list[int], names: str, findings: list[Finding]) -> TotalDose:
    """Compute the weighted sum of doses on the finest grid."""
    first = min(doses, key=lambda d: d.grid.voxel_volume)
    if any(not d.grid.matches(first.grid) for d in doses):
        findings.append(
            Finding(
                "the doses to be added lie on unlike grids", names, "interpolated onto the finest", Severity.REPAIRED
            )
        )
    array = np.zeros(first.grid.shape, np.float64)
    for dose, weight in zip(doses, weights, strict=True):
        array += weight * (dose if dose.grid.matches(first.grid) else resample(dose, first.grid)).array
    source = tuple(dict.fromkeys(s for d in doses for s in d.source))
    return replace(first, array=array.astype(np.float32), source=source)


def _of_all_fractions(dose: TotalDose, plan: Plan | None, name: str, findings: list[Finding]) -> TotalDose:
    """Plan doses that are of one fraction by their size, in truth the commonest mistake in exporting them."""
    record = plan.record if plan is not None else None
    if plan is None or record is None or not record.prescribed or not record.fractions:
        return dose
    top, one = float(dose.array.max()), record.prescribed / record.fractions
    if record.fractions > 2 and LIKELY[0] * one <= top <= LIKELY[1] * one:
        findings.append(
            Finding(
                f"the file says it is the dose of the plan, but its maximum of {top:.3g} Gy is that of one of "
                f"{record.fractions} fractions ({record.prescribed:g} Gy are prescribed)",
                name,
                f"taken {record.fractions} times",
                Severity.ASSUMED,
            )
        )
        return replace(dose, array=dose.array * np.float32(record.fractions))
    _say_if_unlikely(dose, plan, name, findings)
    return dose


def _say_if_unlikely(dose: TotalDose, plan: Plan, name: str, findings: list[Finding]) -> None:
    prescribed, top = plan.record.prescribed, float(dose.array.max())
    if prescribed and not LIKELY[0] * prescribed <= top <= LIKELY[1] * prescribed:
        findings.append(
            Finding(
                f"the highest dose is {top:.4g} Gy, {prescribed:g} Gy are prescribed",
                name,
                "used as given: check that both are of the same plan",
                Severity.ASSUMED,
            )
        )
