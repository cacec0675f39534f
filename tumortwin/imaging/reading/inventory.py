"""The inventory of a folder: which files make which series, what each shows, and whether it can be used. No pixels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.headers import read_headers
from tumortwin.imaging.reading.instance import Instance
from tumortwin.imaging.reading.mosaic import unfold
from tumortwin.imaging.reading.pixels import pixel_hash
from tumortwin.imaging.reading.plane import Plane, planes
from tumortwin.imaging.reading.recognition import Recognition, recognize
from tumortwin.imaging.reading.sorting import make_stacks
from tumortwin.imaging.reading.stacks import Stack, frame_of
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, SeriesInfo
from tumortwin.progress import Progress

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_IMAGES = {_STORAGE + n for n in ("2", "2.1", "2.2", "4", "4.1", "4.4")}
"""CT and MR: classic, enhanced, legacy converted enhanced."""
SEGMENTATION, STRUCTURES, DOSE, PLAN, RECORD, REGISTRATION = (
    "segmentation",
    "structure set",
    "dose",
    "plan",
    "treatment record",
    "registration",
)
_OBJECTS = {
    _STORAGE + n: what
    for n, what in (
        ("66.4", SEGMENTATION),
        ("66.7", SEGMENTATION),
        ("481.3", STRUCTURES),
        ("481.2", DOSE),
        ("481.5", PLAN),
        ("481.4", RECORD),
        ("66.1", REGISTRATION),
    )
}
_MISSED = {
    _STORAGE + n: what
    for n, what in (
        ("481.8", "an ion plan"),
        ("481.9", "an ion treatment record"),
        ("481.6", "a brachytherapy treatment record"),
        ("481.7", "a treatment summary record"),
        ("66.3", "a deformable registration"),
    )
}
"""What this reader cannot read and what is not to be lost silently: a treatment, a registration."""


@dataclass(eq=False)
class Line:
    """A line of the table while reading goes on: what it stands for, and what becomes of it."""

    info: SeriesInfo
    instances: list[Instance]
    what: str = ""
    stack: Stack | None = None

    def refuse(self, why: str) -> None:
        """Note that it is not used, and why."""
        self.info = replace(self.info, used=False, why=why)


@dataclass(eq=False)
class Reading:
    """What has been read so far."""

    lines: list[Line] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    images: list[AcquiredImage] = field(default_factory=list)

    def attempt(self, line: Line, instance: Instance, read: Callable[[dict[str, str]], None]) -> None:
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


def take_inventory(
    folder: Path, reading: Reading, sequences: Mapping[str, MRSequence] | None, progress: Progress
) -> str:
    """Fill `reading` with a line for each series or part of one; return the ID of the one patient.

    Raises
    ------
    ReadError
        If there is no such folder, it holds no DICOM file, or it holds more than one patient.
    """
    instances, found = read_headers(folder, progress)
    patient = _one_patient(instances, folder)
    findings = reading.findings
    findings += found
    images: dict[tuple[str, ...], list[Instance]] = defaultdict(list)
    objects: dict[tuple[str, str, str], list[Instance]] = defaultdict(list)
    known: set[tuple[str, str]] = set()
    for instance in instances:
        series = instance.text("SeriesInstanceUID")
        what = _OBJECTS.get(instance.sop_class, "")
        if instance.sop_class in _IMAGES:
            images[series, *(instance.text(k) for k in _APART)].append(instance)
        elif what and (instance.uid, instance.sop_class) in known:
            findings.append(Finding(f"a second copy of a {what}", instance.name, "dropped", Severity.REPAIRED))
        else:
            known.add((instance.uid, instance.sop_class))
            objects[series, instance.sop_class, what].append(instance)
    for members in images.values():
        for stack in _stacks(members):
            reading.lines.append(_image_line(stack, recognize(stack, sequences), findings))
    findings += _unsaid_contrast(reading.lines)
    for (_, _, what), members in objects.items():
        reading.lines.append(_object_line(what, members, findings))
    return patient


def _unsaid_contrast(lines: list[Line]) -> list[Finding]:
    """Studies with several T1 series of which none says that contrast agent was given: one of them may be a T1Gd."""
    plain: dict[str, list[SeriesInfo]] = defaultdict(list)
    for line in lines:
        if line.info.used and line.info.sequence in (MRSequence.T1, MRSequence.T1GD):
            plain[line.info.study_uid].append(line.info)
    return [
        Finding(
            f"{len(shown)} series are T1 and none says that contrast agent was given",
            ", ".join(repr(s.description or s.uid) for s in shown[:4]),
            "all taken as T1; else say which is T1Gd with sequences={description: MRSequence}",
            Severity.ASSUMED,
        )
        for shown in plain.values()
        if len(shown) > 1 and all(s.sequence is MRSequence.T1 for s in shown)
    ]


_APART = ("FrameOfReferenceUID", "StudyInstanceUID", "Modality")
"""What files with one Series Instance UID must share to make one volume; careless anonymizers give one UID to all."""


def _stacks(members: list[Instance]) -> list[Stack]:
    """Build the volumes of one series; files that do not say where their slices are make refused ones."""
    flat: list[Plane] = []
    nowhere: dict[str, list[Plane]] = defaultdict(list)
    for instance in members:
        whole = Plane(instance, 0, (instance.data,))
        try:
            flat += unfold(whole) if "MOSAIC" in whole.image_type else planes(instance)
        except ReadError as error:
            nowhere[str(error).replace(instance.name, "")].append(whole)
    refused = [Stack(tuple(p), refused=f"{p[0].instance.name}{why}") for why, p in nowhere.items()]
    return (make_stacks(flat, pixel_hash) if flat else []) + refused


def _one_patient(instances: list[Instance], folder: Path) -> str:
    """Return the patient's ID, or raise an error if the files are of several patients."""
    patients: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        patients[_whose(instance)].append(instance)
    if len(patients) > 1:
        lines = "".join(
            f"\n  {patient or '(no ID)'}: {len(files)} files, e.g. {files[0].name}"
            for patient, files in sorted(patients.items())
        )
        raise ReadError(f"{folder} holds {len(patients)} patients: give the folder of one of them{lines}")
    return instances[0].text("PatientID")


def _whose(instance: Instance) -> str:
    """Identify the patient by the ID, or by name and birth date where there is none."""
    if said := instance.text("PatientID"):
        return said
    named = (" ".join(re.split(r"[\s^=]+", instance.text("PatientName"))).strip(), instance.text("PatientBirthDate"))
    return " ".join(filter(None, named))


def _image_line(stack: Stack, shown: Recognition, findings: list[Finding]) -> Line:
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
    line = Line(info, files, stack=stack)
    say = "say what it is with sequences={description: MRSequence}"
    if shown.sequence is MRSequence.OTHER:
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
        if first.text("BurnedInAnnotation") == "YES":
            findings.append(Finding("text is burned into the pixels", stack.where, "kept: it counts as signal"))
        if first.text("LossyImageCompression") == "01":
            findings.append(Finding("lossy compression", stack.where, "read: values are near those acquired"))
        if date.time() == datetime.min.time():
            findings.append(Finding("no time of day", stack.where, "taken as midnight", Severity.ASSUMED))
        if not first.text("FrameOfReferenceUID"):
            findings.append(
                Finding("no frame of reference", stack.where, "taken as a frame of its own", Severity.ASSUMED)
            )
    return line


def _object_line(what: str, members: list[Instance], findings: list[Finding]) -> Line:
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
    line = Line(info, members, what)
    if not what:
        name = getattr(first.data.get("SOPClassUID"), "name", "").replace(" Storage", "")
        line.refuse(f"not used: {name or 'an unknown kind of object'}")
    if first.sop_class in _MISSED:
        findings.append(
            Finding(
                f"{_MISSED[first.sop_class]}, which cannot be read",
                first.name,
                "left out: give what it says another way",
                Severity.LEFT_OUT,
            )
        )
    return line
