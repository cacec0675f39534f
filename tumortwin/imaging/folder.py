"""A folder of DICOM files, as a PACS exports it, to a Study: every series loaded, repaired or refused by name."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.frame_links import FrameLink
from tumortwin.imaging.objects import segmentations, structures
from tumortwin.imaging.objects.doses import DosePart, read_dose, total_doses
from tumortwin.imaging.objects.filling import fill
from tumortwin.imaging.objects.radiotherapy import (
    Delivered,
    Plan,
    deliveries,
    read_plan,
    read_record,
)
from tumortwin.imaging.objects.spatial_registration import read_registration
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.reading.diffusion import check_adc_unit, compute_adc, load_adc
from tumortwin.imaging.reading.headers import warnings_as_findings
from tumortwin.imaging.reading.instance import Instance, read_whole
from tumortwin.imaging.reading.inventory import (
    DOSE,
    PLAN,
    RECORD,
    REGISTRATION,
    SEGMENTATION,
    STRUCTURES,
    Line,
    Reading,
    take_inventory,
)
from tumortwin.imaging.reading.pixels import load
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, AcquiredMask, AcquiredPoint, SeriesInfo, Study
from tumortwin.imaging.volume import Grid, TotalDose
from tumortwin.progress import Progress, silent


def scan_folder(
    path: str | os.PathLike[str], *, sequences: Mapping[str, MRSequence] | None = None, progress: Progress = silent
) -> Study:
    """Say what is in a folder without reading pixels (but for planes that lie at one position).

    Parameters
    ----------
    path : path-like
        The folder; all below it is looked at.
    sequences : mapping of str to MRSequence, optional
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
    reading = Reading()
    with warnings_as_findings(reading.findings, str(path)):
        patient = take_inventory(Path(path), reading, sequences, progress)
        for line in reading.lines:
            for instance in line.instances if line.what == SEGMENTATION else ():

                def see(sources: dict[str, str], instance: Instance = instance) -> None:
                    segmentations.refuse_repeated_frames(instance)

                reading.attempt(line, instance, see)
    return Study(str(path), (patient,), _table(reading), findings=tuple(reading.findings))


def read_folder(
    path: str | os.PathLike[str],
    *,
    sequences: Mapping[str, MRSequence] | None = None,
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
    sequences : mapping of str to MRSequence, optional
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
    reading = Reading()
    with warnings_as_findings(reading.findings, str(path)):
        patient = take_inventory(Path(path), reading, sequences, progress)
        wanted = [line for line in reading.lines if line.stack is not None and line.info.used]
        for done, line in enumerate(wanted):
            progress(done, len(wanted), "reading images")
            _read_image(line, reading, adc_unit)
        progress(len(wanted), len(wanted), "reading images")
        _add_computed_adc(reading)
        links = _read_registrations(reading)
        segments, rois, points = _read_masks(reading, links)
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
        tuple(points),
        tuple(links),
        all(i.text("PatientIdentityRemoved") == "YES" for line in reading.lines for i in line.instances),
        next(
            (birth.date() for line in reading.lines for i in line.instances if (birth := i.time("PatientBirth"))), None
        ),
    )
    if strict:
        study.refuse_findings()
    return study


def _table(reading: Reading) -> tuple[SeriesInfo, ...]:
    return tuple(
        sorted((line.info for line in reading.lines), key=lambda s: (s.date or datetime.max, s.modality, s.uid))
    )


def _read_image(line: Line, reading: Reading, adc_unit: float | None) -> None:
    info, stack = line.info, line.stack
    assert stack is not None
    assert info.date is not None
    assert info.sequence is not None
    date, sequence = info.date, info.sequence

    def read(sources: dict[str, str]) -> None:
        if sequence is MRSequence.ADC:
            volume, findings = load_adc(stack, sources, adc_unit)
        else:
            volume, findings = load(stack, sources, unit="HU" if sequence is MRSequence.CT else "a.u.")
        reading.findings.extend(findings)
        b_value = stack.first.b_value if sequence is MRSequence.DWI else None
        reading.images.append(AcquiredImage(volume, sequence, date, info.uid, info.study_uid, b_value))

    reading.attempt(line, stack.first.instance, read)


def _add_computed_adc(reading: Reading) -> None:
    studies: dict[str, list[AcquiredImage]] = defaultdict(list)
    for image in reading.images:
        studies[image.study_uid].append(image)
    for images in studies.values():
        computed = None if any(i.sequence is MRSequence.ADC for i in images) else compute_adc(images)
        if isinstance(computed, Finding):
            reading.findings.append(computed)
        elif computed is not None:
            reading.images.append(computed[0])
            reading.findings.append(computed[1])


def _read_masks(
    reading: Reading, links: list[FrameLink]
) -> tuple[list[AcquiredMask], list[AcquiredMask], list[AcquiredPoint]]:
    """Segmentations, structure sets and their points, on the grids of the images they were drawn on (loaded or not)."""
    grids: dict[str, list[Grid]] = defaultdict(list)
    home: dict[int, SeriesInfo] = {}
    for line in sorted(reading.lines, key=lambda line: not line.info.used):
        if line.stack is not None and line.stack.grid is not None:
            grids[line.info.uid].append(line.stack.grid)
            home[id(line.stack.grid)] = line.info
    segments: list[AcquiredMask] = []
    rois: list[AcquiredMask] = []
    points: list[AcquiredPoint] = []

    def read_segments(line: Line, instance: Instance, data: Dataset) -> None:
        referenced = segmentations.referenced_series(data)
        own = [g for uid in referenced for g in grids[uid]]
        found, findings = segmentations.read_segmentation(instance, data, own)
        reading.findings.extend(findings)
        date = home[id(own[0])].date if own else instance.time("Content", "Series", "Study")
        uid = home[id(own[0])].uid if own else next(iter(referenced), None)
        segments.extend(AcquiredMask(s.mask, date, line.info.uid, uid, s.kind, s.algorithm) for s in found)

    def read_structures(line: Line, instance: Instance, data: Dataset) -> None:
        referenced = structures.referenced_series(data)
        candidates = [g for uid in referenced for g in grids[uid]]
        candidates += [g for uid, members in grids.items() if uid not in referenced for g in members]
        drawn, findings = structures.read_rois(instance, data)
        reading.findings.extend(findings)
        elsewhere = set()
        for roi in drawn:
            points.extend(AcquiredPoint(roi.name, (x, y, z), roi.frame, line.info.uid) for x, y, z in roi.points)
            if len(roi.points):
                said = ", ".join("(" + ", ".join(f"{v:.1f}" for v in p) + ")" for p in roi.points[:3])
                what = f"ROI {roi.name!r}: {len(roi.points)} point(s) at {said} mm"
                reading.findings.append(Finding(what, instance.name, "points have no volume: kept as points"))
            if not roi.contours:
                continue
            roi, way = structures.brought_to(roi, [g.frame for g in candidates], links)
            if way:
                reading.findings.append(
                    Finding(f"ROI {roi.name!r}: no image of its frame of reference", instance.name, f"{way}")
                )
            try:
                mask, findings = fill(roi.name, roi.frame, roi.contours, candidates, instance.uid)
            except ReadError as error:
                reading.findings.append(Finding(str(error), instance.name, "left out", Severity.LEFT_OUT))
                continue
            reading.findings.extend(replace(f, where=instance.name) for f in findings)
            image = next(home[id(g)] for g in candidates if g is mask.grid)
            if image.uid not in referenced:
                elsewhere.add(image.description or image.uid)
            rois.append(AcquiredMask(mask, image.date, line.info.uid, image.uid, roi.kind, roi.algorithm))
        if elsewhere:
            reading.findings.append(
                Finding(
                    "the image it was drawn on is not in the folder or cannot be used",
                    instance.name,
                    f"filled on {', '.join(sorted(elsewhere))} of the same frame of reference",
                    Severity.ASSUMED,
                )
            )

    for what, read in ((SEGMENTATION, read_segments), (STRUCTURES, read_structures)):
        _each(reading, what, read)
    return segments, rois, points


def _read_radiotherapy(reading: Reading) -> tuple[list[TotalDose], list[PlanRecord], list[DeliveryRecord]]:
    plans: list[Plan] = []
    parts: list[tuple[str, DosePart]] = []
    records: list[Delivered] = []
    refused: set[str] = set()

    def read_a_plan(line: Line, instance: Instance, data: Dataset) -> None:
        try:
            plan, findings = read_plan(instance, data)
        except ReadError:
            refused.add(instance.uid)
            raise
        plans.append(plan)
        reading.findings.extend(findings)

    def read_a_dose(line: Line, instance: Instance, data: Dataset) -> None:
        part, findings = read_dose(instance, data)
        if refused.intersection(part.plans):
            raise ReadError(f"{instance.name}: the dose of a plan that is not used")
        parts.append((instance.name, part))
        reading.findings.extend(findings)

    def read_a_record(line: Line, instance: Instance, data: Dataset) -> None:
        record = read_record(instance, data)
        if record is not None:
            records.append(record)

    _each(reading, PLAN, read_a_plan)
    _each(reading, DOSE, read_a_dose)
    _each(reading, RECORD, read_a_record)
    doses, findings = total_doses(parts, plans)
    given, more = deliveries(records)
    reading.findings.extend(findings + more)
    return doses, [p.record for p in plans], given


def _read_registrations(reading: Reading) -> list[FrameLink]:
    links: list[FrameLink] = []

    def read(line: Line, instance: Instance, data: Dataset) -> None:
        found, findings = read_registration(instance, data)
        links.extend(found)
        reading.findings.extend(findings)

    _each(reading, REGISTRATION, read)
    return links


def _each(reading: Reading, what: str, read: Callable[[Line, Instance, Dataset], None]) -> None:
    """Read every file of one kind of object."""
    for line in reading.lines:
        for instance in line.instances if line.what == what else ():

            def one(sources: dict[str, str], line: Line = line, instance: Instance = instance) -> None:
                read(line, instance, read_whole(instance, sources))

            reading.attempt(line, instance, one)
