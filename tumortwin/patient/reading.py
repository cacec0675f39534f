"""From a folder to a Patient: images into visits, masks to their visit, plans and deliveries into fractions."""

from __future__ import annotations

import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import NoneType

from tumortwin.arguments import require, require_path
from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.findings import Finding, Severity, refuse_findings
from tumortwin.imaging.reading.headers import CLINICAL_NAME
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, AcquiredMask, Study
from tumortwin.imaging.volume import Mask, TotalDose, Volume
from tumortwin.patient.clinical import ClinicalFile
from tumortwin.patient.frames import moved, ways_to_visits
from tumortwin.patient.intake import Labels, take_in
from tumortwin.patient.plausibility import check_record
from tumortwin.patient.radiotherapy import radiotherapy_of
from tumortwin.patient.timeline import Clinical, Patient, Visit
from tumortwin.progress import Progress, automatic, bar_in_notebooks
from tumortwin.provenance import Log

SESSION = timedelta(hours=24)
"""Images of one study or frame this close together are one visit."""


@bar_in_notebooks
def read_patient(
    path: str | os.PathLike[str],
    *,
    strict: bool = False,
    progress: Progress = automatic,
    sequences: Mapping[str, MRSequence] | None = None,
    adc_unit: float | None = None,
    labels: Labels | None = None,
    image_dir: str | os.PathLike[str] | None = None,
    deidentify: bool = False,
    key: bytes | None = None,
    keep_characteristics: bool = False,
    log: Log | None = None,
) -> Patient:
    """Read one patient: DICOM, BIDS, or a patient file that lists NIfTI or NRRD images.

    Parameters
    ----------
    path : path-like
        A folder of DICOM files, a BIDS subject (``sub-XX``, or a data set with one subject), each with an optional
        ``clinical.json`` in it; or a patient file, or a folder with a ``patient.json`` (docs/formats.md).
    strict : bool
        Make anything that was repaired, assumed or left out an error.
    progress : Progress
        Told how far the reading is. By default a bar in notebooks, nothing elsewhere.
    sequences : mapping of str to MRSequence, optional
        What a series shows, by Series Instance UID or by a pattern for its description, where its header does not tell
        or is wrong.
    adc_unit : float, optional
        mm^2/s per stored unit of the ADC maps, e.g. 1e-6, where the files do not tell or are wrong.
    labels : LabelScheme, str or mapping of int to str, optional
        What the numbers of label files mean where no table beside them says it: the name of a scheme ("BraTS 2023") or
        a table. A file of several labels without either is an error.
    image_dir : path-like, optional
        What ``{$image_dir}`` stands for in a patient file; by default the file's folder.
    deidentify : bool
        De-identify DICOM on the way (:func:`tumortwin.imaging.deidentification.deidentify`): what comes back says
        neither who it is nor when it was, intervals are exact, and it is the same as reading a de-identified copy. The
        copy lives in a temporary folder while this reads.
    key : bytes, optional
        For `deidentify`: :func:`tumortwin.vault.read_key`.
    keep_characteristics : bool
        For `deidentify`: keep age, weight and height.
    log : Log, optional
        Where a line is written with the hashes of what was read.

    Returns
    -------
    Patient
        Visits by date, treatments by time.

    Raises
    ------
    InputError
        With `deidentify` and no key.
    ReadError
        If the path or a file that is needed cannot be used; the message names file, value and remedy.
    StrictError
        With ``strict=True``, for findings.
    """
    require_path(path, "read_patient takes the path of a folder or file")
    require(sequences, (Mapping, NoneType), "sequences takes a table of patterns and what they show")
    require(adc_unit, (int, float, NoneType), "adc_unit takes a number of mm^2/s per stored unit, e.g. 1e-6")
    require(labels, (str, Mapping, NoneType), "labels takes the name of a scheme, or a table of label and name")

    def read(place: str | os.PathLike[str]) -> Patient:
        study, clinical = take_in(
            place, sequences=sequences, adc_unit=adc_unit, labels=labels, image_dir=image_dir, progress=progress
        )
        return patient_of(study, clinical)

    patient = _read_deidentified(path, key, keep_characteristics, progress, read) if deidentify else read(path)
    if strict:
        refuse_findings(patient.findings)
    if log is not None:
        log.write(
            "read_patient",
            inputs=patient.sources.values(),
            identity_removed=patient.identity_removed,
            deidentified_now=deidentify,
            visits=len(patient.visits),
            findings=len(patient.findings),
        )
    return patient


def _read_deidentified(
    folder: str | os.PathLike[str],
    key: bytes | None,
    keep_characteristics: bool,
    progress: Progress,
    read: Callable[[Path], Patient],
) -> Patient:
    """Read a de-identified copy that is gone afterwards."""
    if key is None:
        raise InputError(
            "deidentify=True needs a key: key=tumortwin.vault.read_key(FILE), which `tumortwin new-key FILE` makes"
        )
    from tumortwin.imaging.deidentification import deidentify as write_deidentified  # with all writers of DICOM

    with tempfile.TemporaryDirectory(prefix="tumortwin-") as place:
        report = write_deidentified(
            folder, Path(place) / "out", key=key, keep_characteristics=keep_characteristics, progress=progress
        )
        if len(report.patients) > 1:
            raise ReadError(f"{folder} holds {len(report.patients)} patients: give the folder of one of them")
        (copy,) = report.patients.values()
        patient = read(copy)
    return replace(patient, findings=(*report.findings, *patient.findings), identity_removed=True)


def patient_of(study: Study, clinical: ClinicalFile | None = None) -> Patient:
    """Arrange what a folder holds on the patient's timeline.

    Parameters
    ----------
    study : Study
        What was read.
    clinical : ClinicalFile, optional
        What DICOM does not carry.

    Raises
    ------
    ReadError
        If ``clinical.json`` is another patient's, or says what cannot be.
    """
    clinical = clinical or ClinicalFile(Clinical())
    identity = study.patients[0]
    if clinical.patient_id is not None and clinical.patient_id != identity:
        raise ReadError(
            f"{study.folder}/{CLINICAL_NAME}: patient_id is not that of the images: correct it, or leave it out if the "
            "file is this patient's all the same"
        )
    findings = [*study.findings, *clinical.findings]
    visits, used = [], []
    for group in _sessions(study.images):
        kept = _one_frame(group, findings)
        visits.append(Visit(group[0].date, _one_of_each(kept, findings), aligned=kept[0].aligned))
        used.append(kept)
    drawn, structures = _split_structures(study.structures, study.doses)
    drawn = [*study.segmentations, *drawn]
    frames = [*(m.mask.frame for m in (*structures, *drawn)), *(d.frame for d in study.doses)]
    ways = ways_to_visits(frames, visits, study.links, _planning_date(study), findings)
    structures = [replace(s, mask=moved(s.mask, ways)) for s in structures]
    # what was drawn on a CT belongs to the visit that it is brought to
    drawn = [replace(m, mask=moved(m.mask, ways), referenced_series=None) if m.mask.frame in ways else m for m in drawn]
    visits = _with_masks(visits, used, drawn, findings)
    plan, dose, fractions = radiotherapy_of(study, [moved(d, ways) for d in study.doses], findings)
    treatments = sorted([*fractions, *clinical.treatments], key=lambda t: t.time)
    findings += check_record(visits, treatments, clinical.clinical, born=study.born)
    return Patient(
        id=identity,
        visits=tuple(visits),
        treatments=tuple(treatments),
        structures=_named(structures, "structures", findings),
        dose=dose,
        plan=plan,
        clinical=clinical.clinical,
        findings=tuple(findings),
        sources=study.sources,
        identity_removed=study.identity_removed or clinical.identity_removed,
        links=study.links,
    )


def _sessions(images: Iterable[AcquiredImage]) -> list[list[AcquiredImage]]:
    """Images that share a study or a frame of reference within 24 hours, by date."""
    groups: list[list[AcquiredImage]] = []
    for image in sorted(images, key=lambda i: i.date):
        for group in reversed(groups):
            frames = {i.volume.frame for i in group} - {None}
            together = image.volume.frame in frames or image.study_uid in {i.study_uid for i in group}
            if together and image.date - group[0].date < SESSION:
                group.append(image)
                break
        else:
            groups.append([image])
    return groups


def _one_frame(group: list[AcquiredImage], findings: list[Finding]) -> list[AcquiredImage]:
    """Keep the images of the frame of reference with most sequences: a patient who was repositioned has no one pose."""
    frames: dict[str | None, list[AcquiredImage]] = {}
    for image in group:
        frames.setdefault(image.volume.frame, []).append(image)
    best = max(
        frames.values(), key=lambda images: (len({i.sequence for i in images} - {MRSequence.OTHER}), len(images))
    )
    for images in frames.values():
        if images is not best:
            names = ", ".join(i.volume.name or i.sequence for i in images)
            findings.append(
                Finding(
                    f"{names}: another frame of reference than the rest of the visit (the patient was repositioned)",
                    _when(group[0].date),
                    "left out: only one pose a visit is used",
                    Severity.LEFT_OUT,
                )
            )
    return best


def _one_of_each(images: list[AcquiredImage], findings: list[Finding]) -> dict[MRSequence, Volume]:
    """At most one volume of a sequence: the highest b-value, the finest, the largest, the latest, in this order."""
    chosen: dict[MRSequence, Volume] = {}
    for sequence in MRSequence:
        found = [i for i in images if i.sequence is sequence and sequence is not MRSequence.OTHER]
        if not found:
            continue
        # the largest voxel edge decides: thick slices blur a tumor's outline most
        best = min(
            found,
            key=lambda i: (
                -(i.b_value or 0),
                round(max(i.volume.grid.spacing), 2),
                round(i.volume.grid.voxel_volume, 2),
                -i.volume.array.size,
                datetime.max - i.date,
            ),
        )
        chosen[sequence] = best.volume
        alike = [best, *(i for i in found if i is not best and i.b_value == best.b_value)]
        if len(alike) > 1:
            names = [f"{i.volume.name or i.series_uid} ({_spacing(i.volume)})" for i in alike]
            if names[0] in names[1:]:
                names = [f"{name} of {i.date:%H:%M:%S}" for name, i in zip(names, alike, strict=True)]
            findings.append(
                Finding(
                    f"{len(alike)} {sequence} images", _when(best.date), f"used {names[0]}, not {', '.join(names[1:])}"
                )
            )
    return chosen


def _with_masks(
    visits: list[Visit], used: list[list[AcquiredImage]], masks: Iterable[AcquiredMask], findings: list[Finding]
) -> list[Visit]:
    """Attach each mask to the visit of the series it was drawn on, else of its frame (nearest in time)."""
    found: list[list[AcquiredMask]] = [[] for _ in visits]
    for mask in masks:
        of_series = [k for k, images in enumerate(used) if mask.referenced_series in {i.series_uid for i in images}]
        of_frame = [k for k, images in enumerate(used) if images[0].volume.frame == mask.mask.frame is not None]
        candidates = of_series or of_frame
        if not candidates:
            findings.append(
                Finding(
                    "drawn on an image that is not in any visit",
                    f"mask {mask.mask.name!r}",
                    "left out",
                    Severity.LEFT_OUT,
                )
            )
        elif mask.date is None:
            found[candidates[0]].append(mask)
        else:
            date = mask.date
            found[min(candidates, key=lambda k: abs(visits[k].date - date))].append(mask)
    return [
        replace(visit, masks=_named(group, _when(visit.date), findings))
        for visit, group in zip(visits, found, strict=True)
    ]


_BY_HAND = ("AUTOMATIC", "", "SEMIAUTOMATIC", "MANUAL")
"""How a mask was drawn, from what a program did alone to what a person did; files that do not say it lie between."""


def _named(masks: Iterable[AcquiredMask], where: str, findings: list[Finding]) -> dict[str, Mask]:
    """Masks by name; of those with one name the one drawn most by hand, and of these the latest."""
    named: dict[str, list[AcquiredMask]] = defaultdict(list)
    for mask in sorted(masks, key=lambda m: m.date or datetime.min):
        named[mask.mask.name or mask.kind or "unnamed"].append(mask)
    for name, alike in named.items():
        alike.sort(key=lambda m: _BY_HAND.index(m.algorithm) if m.algorithm in _BY_HAND else 1)
        if len(alike) > 1:
            used, *left = [m.algorithm.lower() or "not stated how" for m in reversed(alike)]
            unlike = set(left) != {used}
            done = f"used: {used}; left out: {', '.join(left)}" if unlike else "the latest is used"
            findings.append(Finding(f"{len(alike)} masks are called {name!r}", where, done, Severity.ASSUMED))
    return {name: alike[-1].mask for name, alike in named.items()}


def _split_structures(
    structures: Iterable[AcquiredMask],
    doses: Iterable[TotalDose],
) -> tuple[list[AcquiredMask], list[AcquiredMask]]:
    """Contours of follow-up scans (which are masks of a visit) apart from the planning structures.

    Planning structures share a dose's frame of reference; without one, the frame with most contours.
    """
    structures = list(structures)
    frames = Counter(s.mask.frame for s in structures)
    planning = {d.frame for d in doses} & frames.keys() or {max(frames, key=lambda f: frames[f], default=None)}
    return (
        [s for s in structures if s.mask.frame not in planning],
        [s for s in structures if s.mask.frame in planning],
    )


def _planning_date(study: Study) -> datetime | None:
    """When treatment was planned: the latest plan's date, else when the first structure's image was acquired."""
    plans = [p.date for p in study.plans if p.date is not None]
    return max(plans) if plans else min((s.date for s in study.structures if s.date is not None), default=None)


def _when(date: datetime) -> str:
    return f"visit of {date:%Y-%m-%d}"


def _spacing(volume: Volume) -> str:
    return " x ".join(f"{s:.3g}" for s in volume.grid.spacing) + " mm"
