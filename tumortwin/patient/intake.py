"""The door for every kind of patient: a DICOM folder, a BIDS subject, or a patient file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.folder import read_folder, scan_folder
from tumortwin.imaging.labels import LabelScheme, scheme_named
from tumortwin.imaging.reading.diffusion import check_adc_unit
from tumortwin.imaging.reading.headers import CLINICAL_NAME
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import Study
from tumortwin.patient.bids import is_bids, read_bids
from tumortwin.patient.clinical import ClinicalFile, read_clinical
from tumortwin.patient.patient_file import MANUAL, read_patient_file
from tumortwin.progress import Progress, silent

PATIENT_NAME = "patient.json"
"""A folder that holds a file of this name is read by it."""
IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz")

Labels = LabelScheme | str | Mapping[int, str]


def scan_patient(
    path: str | os.PathLike[str],
    *,
    sequences: Mapping[str, MRSequence] | None = None,
    labels: Labels | None = None,
    progress: Progress = silent,
) -> Study:
    """Say what is there. Of DICOM only the headers are read; other images are read whole.

    No single file ends it: a finding says of one that cannot be used why not.

    Raises
    ------
    ReadError
        As :func:`~tumortwin.patient.reading.read_patient`.
    """
    if _is_dicom(Path(path)):
        return _or_other_images(Path(path), lambda: scan_folder(path, sequences=sequences, progress=progress))
    return take_in(path, sequences=sequences, labels=labels, scanning=True, progress=progress)[0]


def take_in(
    path: str | os.PathLike[str],
    *,
    sequences: Mapping[str, MRSequence] | None = None,
    adc_unit: float | None = None,
    labels: Labels | None = None,
    image_dir: str | os.PathLike[str] | None = None,
    scanning: bool = False,
    progress: Progress = silent,
) -> tuple[Study, ClinicalFile | None]:
    """Read what a path holds, whatever its kind; see :func:`~tumortwin.patient.reading.read_patient`.

    With `scanning` what would be an error because of one image is a finding.
    """
    check_adc_unit(adc_unit)
    for name, value, kinds, what in (
        ("path", path, str | os.PathLike, "the path of a folder or file"),
        ("image_dir", image_dir, str | os.PathLike | None, "the path of a folder"),
        ("sequences", sequences, Mapping | None, "a mapping from patterns to MRSequence"),
        ("labels", labels, str | Mapping | None, "the name of a scheme, or a table"),
    ):
        if not isinstance(value, kinds):
            raise InputError(f"{name} is {what}, not {value!r}")
    place = Path(path)
    named = scheme_named(labels) if isinstance(labels, str) and not isinstance(labels, LabelScheme) else labels
    file = place / PATIENT_NAME if place.is_dir() and (place / PATIENT_NAME).is_file() else place
    if file.is_file():
        if file.suffix.lower() != ".json":
            archive = file.name.lower().endswith(_ARCHIVES) and not file.name.lower().endswith(".nii.gz")
            packed = "an archive: unpack it, and" if archive else "a file:"
            raise ReadError(f"{file} is {packed} give the patient's folder, or a patient file (.json, see {MANUAL})")
        if sequences:
            raise InputError(f"{file} says itself what each image shows: correct it there, and leave out sequences")
        study, treated = read_patient_file(
            file,
            image_dir=None if image_dir is None else Path(image_dir),
            adc_unit=adc_unit,
            labels=named,
            scanning=scanning,
        )
        study, clinical = _with_clinical(study, place, scanning)
        if clinical is not None:
            treated = replace(clinical, treatments=(*clinical.treatments, *treated.treatments))
        return study, treated
    if is_bids(place):
        study = read_bids(place, sequences=sequences, adc_unit=adc_unit, labels=named, scanning=scanning)
    else:
        study = _or_other_images(
            place, lambda: read_folder(path, sequences=sequences, adc_unit=adc_unit, progress=progress)
        )
    return _with_clinical(study, place, scanning)


def _with_clinical(study: Study, place: Path, scanning: bool) -> tuple[Study, ClinicalFile | None]:
    """Read a folder's ``clinical.json``, and add its hash to the study's sources."""
    beside = place / CLINICAL_NAME
    if not beside.is_file():
        return study, None
    try:
        clinical = read_clinical(beside)
    except ReadError as error:
        if not scanning:
            raise
        unread = Finding(str(error), CLINICAL_NAME, "left out", Severity.LEFT_OUT)
        return replace(study, findings=(*study.findings, unread)), None
    digest = hashlib.sha256(beside.read_bytes()).hexdigest()
    return replace(study, sources={**study.sources, CLINICAL_NAME: digest}), clinical


def _is_dicom(place: Path) -> bool:
    return not place.is_file() and not (place / PATIENT_NAME).is_file() and not is_bids(place)


def _or_other_images(place: Path, read: Callable[[], Study]) -> Study:
    """Read DICOM; where there is none but other images are, say what they need."""
    try:
        return read()
    except ReadError as error:
        others = sorted(p for p in place.rglob("*") if p.name.lower().endswith(IMAGE_ENDINGS)) if place.is_dir() else []
        if not others or "no DICOM file" not in str(error):
            raise
        raise ReadError(
            f"{place} holds no DICOM but {len(others)} image(s) ({others[0].name}, ...): say what each of "
            f"them is in a {PATIENT_NAME} (see {MANUAL}), or name them as BIDS does"
        ) from error
