"""A folder of DICOM files, as a PACS exports it, to a Study: every series loaded, repaired or refused by name."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging import segmentations, structures
from tumortwin.imaging.diffusion import check_adc_unit, compute_adc, load_adc
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.headers import Instance, planes, read_headers, read_whole
from tumortwin.imaging.pixels import load, same_pixels
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.radiotherapy import (
    Delivered,
    DosePart,
    Plan,
    deliveries,
    read_dose,
    read_plan,
    read_record,
    total_doses,
)
from tumortwin.imaging.recognition import Recognition, recognize
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.stacks import Stack, frame_of, make_stacks
from tumortwin.imaging.study import AcquiredImage, AcquiredMask, SeriesInfo, Study
from tumortwin.imaging.volume import Grid, TotalDose
from tumortwin.progress import Progress, silent

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_IMAGES = {_STORAGE + n for n in ("2", "2.1", "2.2", "4", "4.1", "4.4")}
"""CT and MR: classic, enhanced, legacy converted enhanced."""
_SEGMENTATION, _STRUCTURES, _DOSE, _PLAN, _RECORD = (
    "segmentation",
    "structure set",
    "dose",
    "plan",
    "treatment record",
)
_OBJECTS = {
    _STORAGE + n: what
    for n, what in (
        ("66.4", _SEGMENTATION),
        ("66.7", _SEGMENTATION),
        ("481.3", _STRUCTURES),
        ("481.2", _DOSE),
        ("481.5", _PLAN),
        ("481.4", _RECORD),
    )
}
_MISSED = {
    _STORAGE + n: what
    for n, what in (
        ("481.8", "an ion plan"),
        ("481.9", "an ion treatment record"),
        ("481.6", "a brachytherapy treatment record"),
        ("481.7", "a treatment summary record"),
    )
}
"""Radiotherapy that this reader cannot read: a treatment is not to be lost silently."""


@dataclass(eq=False)
class _Line:
    """A line of the table while reading goes on: what it stands for, and what becomes of it."""

    info: SeriesInfo
    instances: list[Instance]
    what: str = ""
    stack: Stack | None = None

    def refuse(self, why: str) -> None:
        self.info = replace(self.info, used=False, why=why)


@dataclass(eq=False)
class _Reading:
    """What has been read so far."""

    lines: list[_Line]
    findings: list[Finding]
    sources: dict[str, str] = field(default_factory=dict)
    images: list[AcquiredImage] = field(default_factory=list)

    def attempt(self, line: _Line, instance: Instance, read: Callable[[dict[str, str]], None]) -> None:
        """Run one reading step; if it refuses, the line and a finding say why, and its files do not count as used."""
        sources: dict[str, str] = {}
        try:
            read(sources)
        except ReadError as error:
            why = str(error).removeprefix(f"{instance.name}: ")
            line.refuse(why)
            self.findings.append(Finding(why, instance.name, "left out", Severity.LEFT_OUT))
        else:
            self.sources.update(sources)


def scan_folder(
    path: str | os.PathLike[str], *, sequences: Mapping[str, Sequence] | None = None, progress: Progress = silent
) -> Study:
    """Say what is in a folder without reading pixels (but for planes that lie at one position).

    Parameters
    ----------
    path : path-like
        The folder; all below it is looked at.
    sequences : mapping of str to Sequence, optional
        What a series shows, by Series Instance UID or by a pattern for its description: overrules recognition.
    progress : Progress
        Called with each file.

    Returns
    -------
    Study
        ``series`` and ``findings`` only; ``print(study)`` shows them.

    Raises
    ------
    ReadError
        If there is no such folder, it holds no DICOM file, or it holds more than one patient.
    """
    patient, reading = _scan(Path(path), sequences, progress)
    return Study(str(path), (patient,), _table(reading), findings=tuple(reading.findings))


def read_folder(
    path: str | os.PathLike[str],
    *,
    sequences: Mapping[str, Sequence] | None = None,
    adc_unit: float | None = None,
    progress: Progress = silent,
    strict: bool = False,
) -> Study:
    """Read the images, segmentations and radiotherapy objects of one patient.

    Files are sorted by what their headers say, never by name. Each series ends as loaded, repaired (a finding says what
    was done) or refused (a finding names the file and the remedy).

    Parameters
    ----------
    path : path-like
        The folder; all below it is looked at.
    sequences : mapping of str to Sequence, optional
        What a series shows, by Series Instance UID or by a pattern for its description: overrules recognition.
    adc_unit : float, optional
        mm^2/s per stored unit of the ADC maps, e.g. 1e-6: overrules what the files say.
    progress : Progress
        Called with each file and each series.
    strict : bool
        Raise if anything was repaired, assumed or left out.

    Returns
    -------
    Study
        Images on their own grids in LPS, masks on the grid of the image they were drawn on, doses on their own.

    Raises
    ------
    ReadError
        If there is no such folder, it holds no DICOM file, or it holds more than one patient.
    StrictError
        If `strict` and there are findings above a note.
    """
    check_adc_unit(adc_unit)
    patient, reading = _scan(Path(path), sequences, progress)
    wanted = [line for line in reading.lines if line.stack is not None and line.info.used]
    for done, line in enumerate(wanted):
        progress(done, len(wanted), "reading images")
        _read_image(line, reading, adc_unit)
    progress(len(wanted), len(wanted), "reading images")
    _add_computed_adc(reading)
    segments, rois = _read_masks(reading)
    doses, plans, given = _read_radiotherapy(reading)
    study = Study(
        str(path),
        (patient,),
        _table(reading),
        tuple(sorted(reading.images, key=lambda i: i.date)),
        tuple(segments),
        tuple(rois),
        tuple(doses),
        tuple(plans),
        tuple(given),
        tuple(reading.findings),
        dict(sorted(reading.sources.items())),
    )
    if strict:
        study.refuse_findings()
    return study


def _table(reading: _Reading) -> tuple[SeriesInfo, ...]:
    return tuple(
        sorted((line.info for line in reading.lines), key=lambda s: (s.date or datetime.max, s.modality, s.uid))
    )


def _scan(folder: Path, sequences: Mapping[str, Sequence] | None, progress: Progress) -> tuple[str, _Reading]:
    instances, findings = read_headers(folder, progress)
    patient = _one_patient(instances, folder)
    reading = _Reading([], findings)
    images: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    objects: dict[tuple[str, str, str], list[Instance]] = defaultdict(list)
    known: set[tuple[str, str]] = set()
    for instance in instances:
        series = instance.text("SeriesInstanceUID")
        what = _OBJECTS.get(instance.sop_class, "")
        if not series:
            findings.append(
                Finding("no Series Instance UID", instance.name, "export this file again", Severity.LEFT_OUT)
            )
        elif instance.sop_class in _IMAGES:
            images[series, instance.text("FrameOfReferenceUID")].append(instance)
        elif what and (instance.uid, instance.sop_class) in known:
            findings.append(Finding(f"a second copy of a {what}", instance.name, "dropped", Severity.REPAIRED))
        else:
            known.add((instance.uid, instance.sop_class))
            objects[series, instance.sop_class, what].append(instance)
    for members in images.values():
        flat = [plane for instance in members for plane in planes(instance)]
        for stack in make_stacks(flat, same_pixels):
            reading.lines.append(_image_line(stack, recognize(stack, sequences), findings))
    for (_, _, what), members in objects.items():
        reading.lines.append(_object_line(what, members, findings))
    return patient, reading


def _one_patient(instances: list[Instance], folder: Path) -> str:
    """The patient's ID; two patients are never mixed."""
    patients: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        patients[instance.text("PatientID")].append(instance)
    if len(patients) > 1:
        lines = "".join(
            f"\n  {patient or '(no ID)'}: {len(files)} files, e.g. {files[0].name}"
            for patient, files in sorted(patients.items())
        )
        raise ReadError(f"{folder} holds {len(patients)} patients: give the folder of one of them{lines}")
    return next(iter(patients))


def _image_line(stack: Stack, shown: Recognition, findings: list[Finding]) -> _Line:
    first = stack.first.instance
    files = list({id(p.instance): p.instance for p in stack.planes}.values())
    date = min(
        (d for i in files if (d := i.time("Acquisition", "Series", "Study", "Content")) is not None), default=None
    )
    info = SeriesInfo(
        first.text("SeriesInstanceUID"),
        first.text("StudyInstanceUID"),
        first.text("SeriesDescription"),
        first.text("Modality"),
        shown.sequence,
        date,
        frame_of(stack.first),
        len(files),
        stack.part,
        stack.size,
        stack.plane,
        first.transfer_syntax,
        True,
        shown.why,
    )
    line = _Line(info, files, stack=stack)
    say = "say what it is with sequences={description: Sequence}"
    if shown.sequence is Sequence.OTHER:
        line.refuse(f"not used: {shown.why}")
        if not shown.sure:
            findings.append(Finding(shown.why, stack.where, say, Severity.LEFT_OUT))
        return line
    if stack.refused:
        line.refuse(stack.refused)
        findings.append(Finding(stack.refused, stack.where, "left out", Severity.LEFT_OUT))
    elif date is None:
        line.refuse("no acquisition, series or study date: restore the date")
        findings.append(
            Finding(
                "no acquisition, series or study date", stack.where, "left out: restore the date", Severity.LEFT_OUT
            )
        )
    else:
        findings.extend(replace(f, where=stack.where) for f in stack.findings)
        if not shown.sure:
            findings.append(
                Finding(
                    f"probably {shown.sequence}: {shown.why}",
                    stack.where,
                    f"taken as {shown.sequence}; else {say}",
                    Severity.ASSUMED,
                )
            )
        if date.time() == datetime.min.time():
            findings.append(Finding("no time of day", stack.where, "taken as midnight", Severity.ASSUMED))
        if not first.text("FrameOfReferenceUID"):
            findings.append(
                Finding("no frame of reference", stack.where, "taken as a frame of its own", Severity.ASSUMED)
            )
    return line


def _object_line(what: str, members: list[Instance], findings: list[Finding]) -> _Line:
    first = members[0]
    description = next(
        (t for k in ("SeriesDescription", "StructureSetLabel", "RTPlanLabel", "ContentLabel") if (t := first.text(k))),
        "",
    )
    dates = [
        d
        for i in members
        if (d := i.time("Treatment", "StructureSet", "RTPlan", "Content", "Series", "Study")) is not None
    ]
    info = SeriesInfo(
        first.text("SeriesInstanceUID"),
        first.text("StudyInstanceUID"),
        description,
        first.text("Modality"),
        None,
        min(dates, default=None),
        first.text("FrameOfReferenceUID") or None,
        len(members),
        transfer_syntax=first.transfer_syntax,
        used=bool(what),
        why=what,
    )
    line = _Line(info, members, what)
    if not what:
        name = getattr(first.data.get("SOPClassUID"), "name", "").replace(" Storage", "")
        line.refuse(f"not used: {name or 'an unknown kind of object'}")
    if first.sop_class in _MISSED:
        findings.append(
            Finding(
                f"{_MISSED[first.sop_class]}, which cannot be read",
                first.name,
                "left out: give the treatment another way",
                Severity.LEFT_OUT,
            )
        )
    return line


def _read_image(line: _Line, reading: _Reading, adc_unit: float | None) -> None:
    info, stack = line.info, line.stack
    assert stack is not None
    assert info.date is not None
    assert info.sequence is not None
    date, sequence = info.date, info.sequence

    def read(sources: dict[str, str]) -> None:
        if sequence is Sequence.ADC:
            volume, findings = load_adc(stack, sources, adc_unit)
        else:
            volume, findings = load(stack, sources, unit="HU" if sequence is Sequence.CT else "a.u.")
        reading.findings.extend(findings)
        b_value = stack.first.b_value if sequence is Sequence.DWI else None
        reading.images.append(AcquiredImage(volume, sequence, date, info.uid, info.study_uid, b_value))

    reading.attempt(line, stack.first.instance, read)


def _add_computed_adc(reading: _Reading) -> None:
    studies: dict[str, list[AcquiredImage]] = defaultdict(list)
    for image in reading.images:
        studies[image.study_uid].append(image)
    for images in studies.values():
        computed = None if any(i.sequence is Sequence.ADC for i in images) else compute_adc(images)
        if isinstance(computed, Finding):
            reading.findings.append(computed)
        elif computed is not None:
            reading.images.append(computed[0])
            reading.findings.append(computed[1])


def _read_masks(reading: _Reading) -> tuple[list[AcquiredMask], list[AcquiredMask]]:
    """Segmentations and structure sets, on the grids of the images they were drawn on (loaded or not)."""
    grids: dict[str, list[Grid]] = defaultdict(list)
    home: dict[int, SeriesInfo] = {}
    for line in sorted(reading.lines, key=lambda line: not line.info.used):
        if line.stack is not None and line.stack.grid is not None:
            grids[line.info.uid].append(line.stack.grid)
            home[id(line.stack.grid)] = line.info
    segments: list[AcquiredMask] = []
    rois: list[AcquiredMask] = []

    def read_segments(line: _Line, instance: Instance, data: Dataset) -> None:
        referenced = segmentations.referenced_series(data)
        own = [g for uid in referenced for g in grids[uid]]
        masks, findings = segmentations.read_segmentation(instance, data, own)
        reading.findings.extend(findings)
        date = home[id(own[0])].date if own else instance.time("Content", "Series", "Study")
        uid = home[id(own[0])].uid if own else next(iter(referenced), None)
        segments.extend(AcquiredMask(mask, date, line.info.uid, uid, kind) for mask, kind in masks)

    def read_structures(line: _Line, instance: Instance, data: Dataset) -> None:
        referenced = structures.referenced_series(data)
        candidates = [g for uid in referenced for g in grids[uid]]
        candidates += [g for uid, members in grids.items() if uid not in referenced for g in members]
        drawn, findings = structures.read_rois(instance, data)
        reading.findings.extend(findings)
        elsewhere = set()
        for roi in drawn:
            try:
                mask, findings = structures.fill(roi, candidates, instance.uid)
            except ReadError as error:
                reading.findings.append(Finding(str(error), instance.name, "left out", Severity.LEFT_OUT))
                continue
            reading.findings.extend(replace(f, where=instance.name) for f in findings)
            image = next(home[id(g)] for g in candidates if g is mask.grid)
            if image.uid not in referenced:
                elsewhere.add(image.description or image.uid)
            rois.append(AcquiredMask(mask, image.date, line.info.uid, image.uid, roi.kind))
        if elsewhere:
            reading.findings.append(
                Finding(
                    "the image it was drawn on is not in the folder or cannot be used",
                    instance.name,
                    f"filled on {', '.join(sorted(elsewhere))} of the same frame of reference",
                    Severity.ASSUMED,
                )
            )

    for what, read in ((_SEGMENTATION, read_segments), (_STRUCTURES, read_structures)):
        _each(reading, what, read)
    return segments, rois


def _read_radiotherapy(reading: _Reading) -> tuple[list[TotalDose], list[PlanRecord], list[DeliveryRecord]]:
    plans: list[Plan] = []
    parts: list[tuple[str, DosePart]] = []
    records: list[Delivered] = []

    def read_a_plan(line: _Line, instance: Instance, data: Dataset) -> None:
        plan, findings = read_plan(instance, data)
        plans.append(plan)
        reading.findings.extend(findings)

    def read_a_dose(line: _Line, instance: Instance, data: Dataset) -> None:
        parts.append((instance.name, read_dose(instance, data)))

    def read_a_record(line: _Line, instance: Instance, data: Dataset) -> None:
        record = read_record(instance, data)
        if record is not None:
            records.append(record)

    _each(reading, _PLAN, read_a_plan)
    _each(reading, _DOSE, read_a_dose)
    _each(reading, _RECORD, read_a_record)
    doses, findings = total_doses(parts, plans)
    given, more = deliveries(records)
    reading.findings.extend(findings + more)
    return doses, [p.record for p in plans], given


def _each(reading: _Reading, what: str, read: Callable[[_Line, Instance, Dataset], None]) -> None:
    """Read every file of one kind of object."""
    for line in reading.lines:
        for instance in line.instances if line.what == what else ():

            def one(sources: dict[str, str], line: _Line = line, instance: Instance = instance) -> None:
                read(line, instance, read_whole(instance, sources))

            reading.attempt(line, instance, one)


__all__ = ["read_folder", "scan_folder"]
