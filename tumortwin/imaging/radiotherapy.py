"""RT Dose, RT Plan and treatment records: what was planned and what was given."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.headers import Instance, Plane, number, text, value
from tumortwin.imaging.pixels import stored_planes
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.stacks import axes_of
from tumortwin.imaging.volume import Grid, TotalDose


class Plan(NamedTuple):
    """A plan, and what is needed to add up its parts."""

    record: PlanRecord
    groups: int
    beams: int


def read_plan(instance: Instance, data: Dataset) -> tuple[Plan, list[Finding]]:
    """An RT Plan: prescription and number of fractions."""
    groups = list(value((data,), "FractionGroupSequence") or ())
    counts = [number((g,), "NumberOfFractionsPlanned") for g in groups]
    fractions = int(sum(c for c in counts if c)) or None
    targets = [
        d
        for ref in value((data,), "DoseReferenceSequence") or ()
        if text((ref,), "DoseReferenceType") in ("TARGET", "")
        and (d := number((ref,), "TargetPrescriptionDose")) is not None
    ]
    findings = []
    if len(set(targets)) > 1:
        findings.append(
            Finding(
                f"{len(targets)} target prescriptions, {min(targets):g} to {max(targets):g} Gy",
                instance.name,
                "the highest is taken as the prescription",
                Severity.ASSUMED,
            )
        )
    if not targets:
        findings.append(Finding("the plan states no prescribed target dose", instance.name, "left open"))
    if fractions is None:
        findings.append(Finding("the plan states no number of fractions", instance.name, "left open"))
    if len(groups) > 1:
        findings.append(
            Finding(
                f"{len(groups)} fraction groups with {counts} fractions",
                instance.name,
                "their fractions are added",
                Severity.ASSUMED,
            )
        )
    beams = sum(int(number((g,), "NumberOfBeams") or 0) for g in groups)
    record = PlanRecord(
        instance.uid,
        text((data,), "RTPlanLabel") or text((data,), "SeriesDescription"),
        max(targets, default=None),
        fractions,
        instance.time("RTPlan", "Series", "Study"),
    )
    return Plan(record, len(groups), beams), findings


class DosePart(NamedTuple):
    """One RT Dose file."""

    dose: TotalDose
    summation: str
    plan_uid: str


def read_dose(instance: Instance, data: Dataset) -> DosePart:
    """One RT Dose file in Gy on its own grid.

    Raises
    ------
    ReadError
        If it is not a physical dose in Gy on a regular grid.
    """

    def refuse(why: str) -> ReadError:
        return ReadError(f"{instance.name}: {why}: export the physical plan dose in Gy")

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
    step = float(steps.mean())
    if step == 0 or np.abs(offsets - step * np.arange(frames)).max() > max(0.01, 0.01 * abs(step)):
        raise refuse(f"planes unevenly spaced, {steps.min():g} to {steps.max():g} mm")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step * normal, spacing[0] * column, spacing[1] * row
    affine[:3, 3] = position
    stored = stored_planes(instance, data, list(range(frames)))
    array = np.array([counts * scaling for counts in stored], np.float32)
    if step < 0:  # planes along the normal, as in every volume
        array, affine[:3, 3] = array[::-1], position + step * (frames - 1) * normal
        affine[:3, 0] *= -1
    plan_uid = next(
        (text((ref,), "ReferencedSOPInstanceUID") for ref in value((data,), "ReferencedRTPlanSequence") or ()), ""
    )
    frame = text((data,), "FrameOfReferenceUID") or f"of series {text((data,), 'SeriesInstanceUID')}"
    name = text((data,), "DoseComment") or text((data,), "SeriesDescription") or "planned dose"
    dose = TotalDose(array, Grid(array.shape, affine, frame), name=name, source=(instance.uid, plan_uid))
    return DosePart(dose, text((data,), "DoseSummationType"), plan_uid)


def total_doses(parts: list[tuple[str, DosePart]], plans: list[Plan]) -> tuple[list[TotalDose], list[Finding]]:
    """Doses of whole plans: as given, or added up from all fraction groups or all beams.

    Parameters
    ----------
    parts : list of (file name, DosePart)
        The RT Dose files.
    plans : list of Plan
        Say how many parts make a whole.
    """
    totals: list[TotalDose] = []
    findings: list[Finding] = []
    pieces: dict[tuple[str, str], list[tuple[str, DosePart]]] = defaultdict(list)
    whole = {part.plan_uid for _, part in parts if part.summation in ("PLAN", "MULTI_PLAN")}
    known = {p.record.uid: p for p in plans}
    for name, part in parts:
        if part.summation in ("PLAN", "MULTI_PLAN"):
            totals.append(part.dose)
        elif part.plan_uid in whole:
            findings.append(Finding(f"a {part.summation} dose beside the dose of its plan", name, "not needed"))
        else:
            pieces[part.plan_uid, part.summation].append((name, part))
    for (plan_uid, summation), members in pieces.items():
        plan = known.get(plan_uid)
        wanted = {"FRACTION": plan.groups, "BEAM": plan.beams}.get(summation) if plan else None
        grids = [p.dose.grid for _, p in members]
        names = ", ".join(name for name, _ in members[:3])
        if wanted == len(members) and all(g.matches(grids[0]) for g in grids):
            array = np.asarray(np.sum([p.dose.array for _, p in members], axis=0, dtype=np.float32))
            first = members[0][1].dose
            totals.append(replace(first, array=array))
            findings.append(
                Finding(
                    f"{wanted} {summation} dose(s) and no dose of the whole plan",
                    names,
                    "added up: they are all that the plan has",
                    Severity.REPAIRED,
                )
            )
        else:
            findings.append(
                Finding(
                    f"{len(members)} dose(s) of type {summation or 'not stated'}" + (f" of {wanted}" if wanted else ""),
                    names,
                    "not the dose of a plan: export the dose with summation type PLAN",
                    Severity.LEFT_OUT,
                )
            )
    return totals, findings


class Delivered(NamedTuple):
    """One treatment record."""

    uid: str
    plan_uid: str | None
    time: datetime
    fraction: int | None
    normal: bool
    specified: dict[str, float]
    delivered: dict[str, float]


def read_record(instance: Instance, data: Dataset) -> Delivered | None:
    """One RT Beams Treatment Record; None if it holds set-up or imaging beams only.

    Raises
    ------
    ReadError
        If it has no treatment date.
    """
    time = instance.time("Treatment")
    if time is None:
        raise ReadError(f"{instance.name}: no treatment date: export this record again")
    beams = [
        b
        for b in value((data,), "TreatmentSessionBeamSequence") or ()
        if text((b,), "TreatmentDeliveryType") in ("TREATMENT", "CONTINUATION", "")
    ]
    if not beams:
        return None
    fractions = [number((b,), "CurrentFractionNumber") for b in beams]
    specified: dict[str, float] = {}
    delivered: dict[str, float] = defaultdict(float)
    for i, beam in enumerate(beams):
        key = text((beam,), "ReferencedBeamNumber") or f"unnumbered {i}"
        planned, given = (number((beam,), f"{w}PrimaryMeterset") for w in ("Specified", "Delivered"))
        if planned and given is not None:
            specified[key] = planned
            delivered[key] += given
    plan_uid = next(
        (text((r,), "ReferencedSOPInstanceUID") for r in value((data,), "ReferencedRTPlanSequence") or ()), None
    )
    normal = all(text((b,), "TreatmentTerminationStatus") in ("NORMAL", "") for b in beams)
    return Delivered(
        instance.uid, plan_uid, time, int(fractions[0]) if fractions[0] else None, normal, specified, dict(delivered)
    )


def deliveries(records: list[Delivered]) -> tuple[list[DeliveryRecord], list[Finding]]:
    """One delivery per fraction: records of one fraction (a record a beam, or a continuation) are joined.

    The share is delivered over specified meterset, summed over beams.
    """
    groups: dict[tuple[object, ...], list[Delivered]] = defaultdict(list)
    seen: set[str] = set()
    findings = []
    for record in sorted(records, key=lambda r: (r.time, r.uid)):
        if record.uid in seen:
            findings.append(
                Finding("a treatment record twice", f"{record.time:%Y-%m-%d}", "counted once", Severity.REPAIRED)
            )
            continue
        seen.add(record.uid)
        # a fraction that was resumed on another day is two events
        groups[
            (record.plan_uid, record.fraction, record.time.date()) if record.fraction is not None else (record.uid,)
        ].append(record)
    joined = []
    for members in groups.values():
        first = members[0]
        specified = {k: v for m in members for k, v in m.specified.items()}
        delivered = sum(v for m in members for v in m.delivered.values())
        share = delivered / sum(specified.values()) if specified else 1.0
        where = f"fraction {first.fraction} of {first.time:%Y-%m-%d}"
        if not specified:
            findings.append(
                Finding("no specified and delivered meterset", where, "taken as given in full", Severity.ASSUMED)
            )
        normal = all(m.normal for m in members) or abs(share - 1) < 0.01
        if len(members) > 1:
            findings.append(Finding(f"{len(members)} records of one fraction", where, "joined"))
        if not normal or abs(share - 1) >= 0.01:
            findings.append(Finding(f"{share:.1%} of the meterset was delivered", where, "counted with that share"))
        joined.append(DeliveryRecord(first.uid, first.plan_uid, first.time, first.fraction, normal, share))
    return sorted(joined, key=lambda d: d.time), findings
