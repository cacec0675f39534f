"""A folder of DICOM files to one that says when things happened to each other, but not to whom or when."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

from tumortwin.errors import InputError, OutputExistsError, ReadError
from tumortwin.imaging.deidentification.cleaning import Cleaner, Person
from tumortwin.imaging.deidentification.clinical import clean_clinical, patient_of
from tumortwin.imaging.deidentification.crosswalk import write_crosswalk
from tumortwin.imaging.deidentification.pixels import burned_in, clean_pixels, shows_face
from tumortwin.imaging.deidentification.report import DeidentificationReport
from tumortwin.imaging.deidentification.survey import Found, Owner, left_out, quiet, read_dataset, survey
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.identity import profile
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.imaging.reading.attributes import DAMAGED
from tumortwin.imaging.reading.headers import CLINICAL_NAME
from tumortwin.imaging.writing.header import MANUFACTURER, hashed_uid, item
from tumortwin.outputs import new_file
from tumortwin.progress import Progress, silent
from tumortwin.provenance import Log, hashes_of, sha256_of

KEY_BYTES = 32
REPORT_NAME = "deidentification.json"

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# images, segmentations, radiotherapy, registrations and reports: classes whose attributes all can be cleaned
_CLASS_NUMBERS = """
2 2.1 2.2 4 4.1 4.4 128 130 128.1 20 7 7.1 7.2 7.3 7.4 30 66.1 66.3 66.4 66.7 67
481.1 481.2 481.3 481.4 481.5 481.6 481.7 481.8 481.9 88.11 88.22 88.33 88.34 88.67
""".split()  # noqa: SIM905 - as a list it takes a line a number
_CLASSES = {_STORAGE + number for number in _CLASS_NUMBERS}


def deidentify(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    key: bytes,
    keep_characteristics: bool = False,
    keep_burned_in: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
    log: Log | None = None,
    crosswalk: str | os.PathLike[str] | None = None,
    passphrase: str | None = None,
) -> DeidentificationReport:
    """De-identify a folder of DICOM files, and the ``clinical.json`` in it, for longitudinal work.

    The basic profile of DICOM PS3.15 annex E with the options Clean Descriptors and Retain Longitudinal Temporal
    Information with Modified Dates: every date of a patient is moved by the same whole number of weeks, so that
    intervals, times of day and days of the week stay. UIDs change consistently, so that references between images,
    segmentations and radiotherapy objects still resolve. The same key gives the same bytes.

    Pixels are not looked at: see docs/deidentification.md for burned-in text and faces.

    Parameters
    ----------
    folder : path-like
        Any number of patients. Nothing in it is changed.
    out : path-like
        A new folder: one folder a patient in it, and the report.
    key : bytes
        Secret, at least 32 bytes: :func:`tumortwin.vault.read_key`.
    keep_characteristics : bool
        Keep age (at most 90 years), sex, weight, size and smoking status (code 113108).
    keep_burned_in : bool
        Write images that may show burned-in text, and report them, instead of leaving them out.
    overwrite : bool
        Replace an earlier result in `out`.
    progress : Progress
        Told how far it is.
    log : Log, optional
        Where a line is written with the hashes of what went in and came out.
    crosswalk : path-like, optional
        A file for who became whom (see :mod:`tumortwin.imaging.deidentification.crosswalk`). It identifies everybody.
    passphrase : str, optional
        Encrypts the crosswalk: :func:`tumortwin.vault.decrypt` reads it.

    Returns
    -------
    DeidentificationReport
        Every kind of action; it is also written to `out`.

    Raises
    ------
    ReadError
        If there is no such folder or no DICOM file in it.
    OutputExistsError
        If `out` holds something and `overwrite` is false, or is no earlier result.
    InputError
        If the key is too short, or `out` and `folder` lie in each other.
    """
    source, target = Path(folder), Path(out)
    if not isinstance(key, bytes) or len(key) < KEY_BYTES:
        raise InputError(f"the key must be at least {KEY_BYTES} bytes: make one with `tumortwin new-key FILE`")
    _check_places(source, target, overwrite)
    if crosswalk is not None and Path(crosswalk).exists() and not overwrite:
        raise OutputExistsError(f"{crosswalk} is there already: choose another name, or ask to overwrite it (--force)")
    if crosswalk is not None and target.resolve() in Path(crosswalk).resolve().parents:
        raise InputError(f"the crosswalk {crosswalk} would lie among the de-identified files: keep it elsewhere")
    with quiet():
        found = survey(source, progress)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".deidentify-", dir=target.parent))
    try:
        with quiet():
            report, origins = _write(found, work, target, key, keep_characteristics, keep_burned_in, progress)
        if target.exists():
            shutil.rmtree(target)
        work.chmod(0o755)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if crosswalk is not None:
        files = {path.relative_to(source).as_posix(): name.as_posix() for name, path in origins.items()}
        write_crosswalk(crosswalk, {p: Pseudonym(key, p) for p in found.people}, files, passphrase, overwrite=overwrite)
    if log is not None:
        log.write(
            "deidentify",
            inputs=[sha256_of(path) for _, path, _ in found.files],
            outputs=hashes_of((p for p in target.rglob("*") if p.is_file()), target),
            codes=[code for code, _ in report.codes],
            key_id=report.key_id,
            files=report.files,
        )
    return report


def _check_places(source: Path, target: Path, overwrite: bool) -> None:
    if not source.is_dir():
        raise ReadError(f"{source} is not a folder: give the folder that holds the DICOM files")
    inner, outer = target.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(f"{target} and {source} lie in each other: de-identified files belong elsewhere")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if not overwrite:
            raise OutputExistsError(f"{target} is there already: choose another name, or ask to overwrite it (--force)")
        if not (target / REPORT_NAME).is_file():
            raise OutputExistsError(
                f"{target} is not the result of an earlier de-identification (it has no {REPORT_NAME}): "
                "choose another name"
            )


def _write(
    found: Found,
    work: Path,
    target: Path,
    key: bytes,
    characteristics: bool,
    keep_burned_in: bool,
    progress: Progress,
) -> tuple[DeidentificationReport, dict[Path, Path]]:
    """Write all files below `work`; return the report, and for each new name the file it came from."""
    actions: Counter[tuple[str, str, str]] = Counter()
    cleaners = {
        patient: Cleaner(
            Person(Pseudonym(key, patient), frozenset(p.names), frozenset(p.numbers)), characteristics, actions
        )
        for patient, p in found.people.items()
    }
    findings = list(found.findings)
    faces: dict[str, set[str]] = defaultdict(set)
    unlooked = 0
    written: dict[Path, Path] = {}
    for done, (number, path, patient) in enumerate(found.files):
        progress(done, len(found.files), "de-identifying")
        cleaner = cleaners[patient]
        try:
            data = read_dataset(path, pixels=True)
            assert data is not None  # the first look found it to be DICOM
        except DAMAGED as error:
            findings.append(left_out(number, f"it cannot be parsed ({type(error).__name__})"))
            continue
        if "SOPClassUID" not in data:  # pydicom gives up on a file that is cut, and says nothing
            findings.append(left_out(number, "it cannot be parsed to its end"))
            continue
        if str(data.SOPClassUID) not in _CLASSES:
            findings.append(
                left_out(
                    number,
                    "a kind of object that is not cleaned, such as a document, a presentation state or a private class",
                )
            )
            continue
        if why := burned_in(data):
            if not keep_burned_in:
                findings.append(left_out(number, why, "keep_burned_in=True (--keep-burned-in) writes it"))
                continue
            findings.append(Finding(why, f"file {number}", "written as it is, because you asked for it", Severity.NOTE))
        unlooked += "Rows" in data and not data.get("BurnedInAnnotation")
        if shows_face(data):
            faces[cleaner.pseudonym.name].add(str(data.get("SeriesInstanceUID")))
        name = _file(data, cleaner)
        try:
            content = _deidentified(data, cleaner, _codes(found.people[patient], characteristics))
        except DAMAGED as error:
            findings.append(left_out(number, f"it cannot be cleaned or encoded ({type(error).__name__})"))
            continue
        if name in written and (work / name).read_bytes() != content:
            # some exporters give all slices one UID: the reader tells them apart by where they are
            name = name.with_name(f"{name.stem}-{sha256(content).hexdigest()[:8]}.dcm")
            if name not in written:
                findings.append(
                    Finding("another instance with the same UID", f"file {number}", "written too", Severity.NOTE)
                )
        if name in written:
            findings.append(Finding("a second copy of an instance", f"file {number}", "dropped", Severity.REPAIRED))
            continue
        written[name] = path
        with new_file(work / name) as temporary:
            temporary.write_bytes(content)
    progress(len(found.files), len(found.files), "de-identifying")
    for patient, series in sorted(faces.items()):
        findings.append(
            Finding(
                f"{len(series)} series of a head that was not defaced",
                f"patient {patient}",
                "a face can be rendered from it: deface it before it is shared",
                Severity.NOTE,
            )
        )
    if unlooked:
        findings.append(
            Finding(
                f"{unlooked} images do not say whether text is burned in",
                "folder",
                "pixels were not looked at",
                Severity.NOTE,
            )
        )
    _write_clinical(found, cleaners, work, characteristics, findings)
    if not written:
        raise ReadError("no file could be de-identified:\n" + "\n".join(f"  {f}" for f in findings))
    ids = {cleaners[patient].pseudonym.name for patient in found.people}
    codes = sorted({code for patient in found.people.values() for code in _codes(patient, characteristics)})
    report = DeidentificationReport(
        target,
        {id: target / id for id in sorted(ids) if (work / id).is_dir()},
        len(written),
        tuple(codes),
        actions,
        tuple(findings),
        Pseudonym(key, "").label("key", "", 16),
    )
    report.save(work / REPORT_NAME)
    return report, written


def _codes(person: Owner, characteristics: bool) -> list[tuple[str, str]]:
    """List the codes of the de-identification methods, which are the same for all files of a patient."""
    codes = [profile.BASIC, profile.CLEAN_DESCRIPTORS, profile.MODIFIED_DATES]
    codes += [profile.CHARACTERISTICS] if characteristics else []
    return codes + ([profile.SAFE_PRIVATE] if person.safe_private else [])


def _file(data: Dataset, cleaner: Cleaner) -> Path:
    """Where a file goes: by hashes of its UIDs, so that neither names nor dates show."""
    short = cleaner.pseudonym.label
    study, series = str(data.get("StudyInstanceUID") or ""), str(data.get("SeriesInstanceUID") or "")
    return Path(
        cleaner.pseudonym.name,
        short("study", study),
        short("series", series),
        f"{short('instance', str(data.get('SOPInstanceUID') or ''), 16)}.dcm",
    )


def _deidentified(data: Dataset, cleaner: Cleaner, codes: list[tuple[str, str]]) -> bytes:
    """De-identify a data set and return it as the bytes of a DICOM file."""
    syntax = data.file_meta.TransferSyntaxUID
    done_before = _earlier_codes(data)
    face = shows_face(data)
    with quiet():
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        for what in clean_pixels(data):
            cleaner.actions["(7fe0,0010)", "PixelData", what] += 1
        cleaner.clean(data)
        data.PatientIdentityRemoved = "YES"
        data.DeidentificationMethod = [f"DICOM {profile.EDITION} annex E", "tumortwin"]
        data.DeidentificationMethodCodeSequence = [
            item(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning=meaning)
            for code, meaning in sorted({*done_before, *codes})
        ]
        data.LongitudinalTemporalInformationModified = "MODIFIED"
        if face and "Rows" in data:
            data.RecognizableVisualFeatures = "YES"
        meta = data.file_meta
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
        meta.ImplementationClassUID = hashed_uid(MANUFACTURER)
        meta.ImplementationVersionName = MANUFACTURER.upper()
        data.preamble = b"\0" * 128
        pydicom.dcmwrite(buffer := BytesIO(), data, enforce_file_format=True)
    return buffer.getvalue()


def _earlier_codes(data: Dataset) -> list[tuple[str, str]]:
    """List the codes that an earlier de-identification stated about the pixels; its other codes are not taken over."""
    pixels = dict((profile.CLEANED_PIXELS, profile.DEFACED))
    given = {str(code.get("CodeValue")) for code in data.get("DeidentificationMethodCodeSequence") or ()}
    return [(code, meaning) for code, meaning in pixels.items() if code in given]


def _write_clinical(
    found: Found, cleaners: dict[str, Cleaner], work: Path, characteristics: bool, findings: list[Finding]
) -> None:
    for number, path in found.clinical:
        stated = patient_of(path)
        beneath = {
            patient
            for patient, person in found.people.items()
            if any(path.parent == f or path.parent in f.parents for f in person.folders)
        }
        owner = stated if stated in cleaners else next(iter(beneath)) if not stated and len(beneath) == 1 else None
        target = None if owner is None else work / cleaners[owner].pseudonym.name / CLINICAL_NAME
        if owner is None or target is None or target.exists():
            findings.append(left_out(number, "a clinical.json that is no one patient's, or a second one"))
            continue
        cleaned = clean_clinical(path, cleaners[owner], characteristics)
        if cleaned is None:
            findings.append(left_out(number, "a clinical.json that cannot be read"))
            continue
        text, dropped = cleaned
        if dropped:
            findings.append(
                Finding(
                    f"{len(dropped)} fields of clinical.json were left out ({', '.join(dropped)})",
                    f"file {number}",
                    "keep_characteristics=True keeps age, weight and height",
                    Severity.LEFT_OUT,
                )
            )
        with new_file(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
