"""RT Plan and treatment records: what was planned and what was given."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.reading.attributes import number, text, value
from tumortwin.imaging.reading.instance import Instance

NOT_FOR_TREATMENT = ("VERIFICATION", "MACHINE_QA", "SERVICE")
"""Plan intents that no patient is treated by."""


class FractionGroup(NamedTuple):
    """A part of a plan that is delivered so many times."""

    number: int
    fractions: int
    beams: tuple[int, ...]


class Plan(NamedTuple):
    """A plan, and what is needed to add up its doses."""

    record: PlanRecord
    groups: tuple[FractionGroup, ...]


def read_plan(instance: Instance, data: Dataset) -> tuple[Plan, list[Finding]]:
    """Read an RT Plan: prescription, fraction groups and beams.

    Raises
    ------
    ReadError
        If it is a plan that nobody is treated by: rejected, or for quality assurance.
    """
    intent, approval = text((data,), "PlanIntent"), text((data,), "ApprovalStatus")
    if intent in NOT_FOR_TREATMENT or approval == "REJECTED":
        raise ReadError(
            f"{instance.name}: the plan is {'rejected' if approval == 'REJECTED' else intent}: "
            "no treatment is read from it"
        )
    findings: list[Finding] = []

    def say(what: str, action: str, severity: Severity = Severity.ASSUMED) -> None:
        findings.append(Finding(what, instance.name, action, severity))

    items = list(value((data,), "FractionGroupSequence") or ())
    groups = tuple(_group(item) for item in items)
    fractions = sum(g.fractions for g in groups) or None
    targets = _prescriptions(data, items)
    prescribed = max(targets, default=None)
    if len(set(targets)) > 1:
        say(
            f"{len(targets)} target prescriptions, {min(targets):g} to {max(targets):g} Gy",
            "the highest is taken as the prescription",
        )
    if prescribed is None:
        doses = [
            (number((beam,), "BeamDose"), g.fractions)
            for item, g in zip(items, groups, strict=True)
            for beam in value((item,), "ReferencedBeamSequence") or ()
        ]
        total = sum(dose * n for dose, n in doses if dose is not None)
        if total > 0 and all(dose is not None for dose, _ in doses):
            prescribed = total
            say("the plan states no prescribed target dose", f"taken from its beams' doses: {total:g} Gy")
        else:
            say("the plan states no prescribed target dose", "left open", Severity.NOTE)
    if fractions is None:
        say("the plan states no number of fractions", "left open", Severity.NOTE)
    if len(groups) > 1:
        counts = [g.fractions for g in groups]
        say(f"{len(groups)} fraction groups with {counts} fractions", "their fractions are added")
    record = PlanRecord(
        instance.uid,
        text((data,), "RTPlanLabel") or text((data,), "SeriesDescription"),
        prescribed,
        fractions,
        instance.time("RTPlan", "Series", "Study"),
    )
    return Plan(record, groups), findings


def _group(item: Dataset) -> FractionGroup:
    beams = tuple(
        int(n)
        for beam in value((item,), "ReferencedBeamSequence") or ()
        if (n := number((beam,), "ReferencedBeamNumber")) is not None
    )
    stated = int(number((item,), "NumberOfBeams") or 0)
    return FractionGroup(
        int(number((item,), "FractionGroupNumber") or 0),
        int(number((item,), "NumberOfFractionsPlanned") or 0),
        beams or tuple(range(1, stated + 1)),
    )


def _prescriptions(data: Dataset, groups: list[Dataset]) -> list[float]:
    """Prescribed doses of the targets: of the plan, else of its fraction groups."""
    references = list(value((data,), "DoseReferenceSequence") or ())
    found = [
        d
        for r in references
        if text((r,), "DoseReferenceType") in ("TARGET", "")
        and (d := number((r,), "TargetPrescriptionDose")) is not None
    ]
    organs = {
        number((r,), "DoseReferenceNumber") for r in references if text((r,), "DoseReferenceType") not in ("TARGET", "")
    }
    return found or [
        d
        for g in groups
        for r in value((g,), "ReferencedDoseReferenceSequence") or ()
        if number((r,), "ReferencedDoseReferenceNumber") not in organs
        and (d := number((r,), "TargetPrescriptionDose")) is not None
    ]


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
