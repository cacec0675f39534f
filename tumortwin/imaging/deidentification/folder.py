"""A folder of DICOM files to one that says when things happened to each other, but not to whom or when."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tumortwin.errors import InputError, OutputExistsError, ReadError
from tumortwin.imaging.deidentification import profile
from tumortwin.imaging.deidentification.cleaning import Cleaner, Person
from tumortwin.imaging.deidentification.clinical import clean_clinical, patient_of
from tumortwin.imaging.deidentification.pixels import burned_in, clean_pixels, shows_face
from tumortwin.imaging.deidentification.report import DeidentificationReport
from tumortwin.imaging.dicom_header import MANUFACTURER, hashed_uid, item
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.headers import CLINICAL_NAME, DAMAGED, DICOMDIR
from tumortwin.imaging.pseudonym import Pseudonym
from tumortwin.outputs import new_file
from tumortwin.progress import Progress, silent

KEY_BYTES = 32
REPORT_NAME = "deidentification.json"

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# images, segmentations, radiotherapy, registrations and reports: classes whose attributes all can be cleaned
_CLASSES = {
    _STORAGE + n
    for n in (
        "2",
        "2.1",
        "2.2",
        "4",
        "4.1",
        "4.4",
        "128",
        "130",
        "128.1",
        "20",
        "7",
        "7.1",
        "7.2",
        "7.3",
        "7.4",
        "30",
        "66.1",
        "66.3",
        "66.4",
        "66.7",
        "67",
        "481.1",
        "481.2",
        "481.3",
        "481.4",
        "481.5",
        "481.6",
        "481.7",
        "481.8",
        "481.9",
        "88.11",
        "88.22",
        "88.33",
        "88.34",
        "88.67",
    )
}


@dataclass(eq=False)
class _Found:
    """What the first look at all files found."""

    people: dict[str, _Person] = field(default_factory=dict)
    files: list[tuple[int, Path, str]] = field(default_factory=list)  # number, path, patient ID
    clinical: list[tuple[int, Path]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    other: int = 0


@dataclass(eq=False)
class _Person:
    names: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    safe_private: bool = False
    folders: set[Path] = field(default_factory=set)


def deidentify(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    key: bytes,
    keep_characteristics: bool = False,
    keep_burned_in: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
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
    found = _look(source, progress)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".deidentify-", dir=target.parent))
    try:
        report = _write(found, work, target, key, keep_characteristics, keep_burned_in, progress)
        if target.exists():
            shutil.rmtree(target)
        work.chmod(0o755)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
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


def _look(source: Path, progress: Progress) -> _Found:
    """Every file once, without pixels: whose it is, and which names and numbers its patient goes by."""
    found = _Found()
    files = sorted(Path(root) / name for root, _, names in os.walk(source) for name in names)
    nameless: list[tuple[int, Path, str]] = []
    of_study: dict[str, str] = {}
    for number, path in enumerate(files, 1):
        progress(number - 1, len(files), "looking for identifiers")
        if path.name == CLINICAL_NAME:
            found.clinical.append((number, path))
            continue
        try:
            header = _read(path, pixels=False)
            if header is None:
                found.other += 1
                continue
            patient, study = str(header.get("PatientID") or "").strip(), str(header.get("StudyInstanceUID") or "")
            if not patient:
                nameless.append((number, path, study))
                continue
            person = found.people.setdefault(patient, _Person())
            _collect(header, person)
        except DAMAGED as error:
            # the message of a parser may quote what it read
            found.findings.append(_left_out(number, f"it cannot be parsed ({type(error).__name__})"))
            continue
        of_study[study] = patient
        person.folders.add(path.parent)
        found.files.append((number, path, patient))
    for number, path, study in nameless:
        if study in of_study:
            found.files.append((number, path, of_study[study]))
        else:
            found.findings.append(_left_out(number, "it has no Patient ID, and no file of its study has one"))
    progress(len(files), len(files), "looking for identifiers")
    found.files.sort()
    if not found.files:
        raise ReadError(
            f"{source} holds no DICOM file that can be de-identified ({len(files)} files looked at): give the "
            "folder that holds the DICOM files"
        )
    if found.other:
        found.findings.append(
            Finding(f"{found.other} files that are not DICOM, or a DICOMDIR", "folder", "not copied", Severity.LEFT_OUT)
        )
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log of pydicom: they quote the values they complain of."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _read(path: Path, *, pixels: bool) -> Dataset | None:
    """A data set; None if the file is not DICOM or is a DICOMDIR."""
    content = BytesIO(path.read_bytes())
    start = content.read(132)
    preamble = start[128:] == b"DICM"
    if not preamble and start[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return None
    content.seek(0)
    with _quiet():
        data = pydicom.dcmread(content, force=not preamble, stop_before_pixels=not pixels)
    if str(data.file_meta.get("MediaStorageSOPClassUID", "")) == DICOMDIR or "SOPClassUID" not in data:
        return None
    return data


def _elements(data: Dataset) -> Iterator[pydicom.DataElement]:
    for tag in list(data.keys()):
        try:
            element = data[tag]
        except DAMAGED:
            continue  # it will be removed, and cannot be known before
        yield element
        if element.VR == "SQ":
            for part in element.value or ():
                yield from _elements(part)


def _collect(header: Dataset, person: _Person) -> None:
    with _quiet():
        for element in _elements(header):
            if element.tag.is_private:
                creator = profile.SAFE_PRIVATE_ELEMENTS.get((element.tag.group, str(element.value)))
                person.safe_private |= creator is not None and element.tag.element < 0x100
            elif element.VR == "PN":
                person.names |= {word.lower() for word in re.findall(r"[^\W\d_]{3,}", str(element.value))}
            elif (
                element.VR in ("LO", "SH")
                and profile.basic_action(element.tag)
                and not profile.is_descriptor(element.tag)
            ):
                person.numbers |= {text for text in str(element.value).split("\\") if len(text.strip()) >= 5}


def _write(
    found: _Found,
    work: Path,
    target: Path,
    key: bytes,
    characteristics: bool,
    keep_burned_in: bool,
    progress: Progress,
) -> DeidentificationReport:
    actions: Counter[tuple[str, str, str]] = Counter()
    cleaners = {
        patient: Cleaner(
            Person(Pseudonym(key, patient), frozenset(p.names), frozenset(p.numbers)), characteristics, actions
        )
        for patient, p in found.people.items()
    }
    findings = list(found.findings)
    faces: dict[str, set[str]] = defaultdict(set)
    unlooked, written = 0, set()
    for done, (number, path, patient) in enumerate(found.files):
        progress(done, len(found.files), "de-identifying")
        cleaner = cleaners[patient]
        try:
            data = _read(path, pixels=True)
            assert data is not None  # the first look found it to be DICOM
        except DAMAGED as error:
            findings.append(_left_out(number, f"it cannot be parsed ({type(error).__name__})"))
            continue
        if str(data.SOPClassUID) not in _CLASSES:
            findings.append(
                _left_out(
                    number,
                    "a kind of object that is not cleaned, such as a document, a presentation state or a private class",
                )
            )
            continue
        if why := burned_in(data):
            if not keep_burned_in:
                findings.append(_left_out(number, why, "keep_burned_in=True (--keep-burned-in) writes it"))
                continue
            findings.append(Finding(why, f"file {number}", "written as it is, because you asked for it", Severity.NOTE))
        unlooked += "Rows" in data and not data.get("BurnedInAnnotation")
        if shows_face(data):
            faces[cleaner.pseudonym.name].add(str(data.get("SeriesInstanceUID")))
        name = _file(data, cleaner)
        if name in written:
            findings.append(Finding("a second copy of an instance", f"file {number}", "dropped", Severity.REPAIRED))
            continue
        try:
            content = _deidentified(data, cleaner, _codes(found.people[patient], characteristics))
        except DAMAGED as error:
            findings.append(_left_out(number, f"it cannot be cleaned or encoded ({type(error).__name__})"))
            continue
        written.add(name)
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
    return report


def _codes(person: _Person, characteristics: bool) -> list[tuple[str, str]]:
    """The same for all files of a patient: they are attributes of the patient."""
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
    """The bytes of a de-identified file."""
    implicit, little = data.original_encoding
    syntax = data.file_meta.get("TransferSyntaxUID") or (
        ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    )
    done_before = _earlier_codes(data)
    face = shows_face(data)
    with _quiet():
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
    """What an earlier de-identification says was done to the pixels; its other codes are ours to say."""
    pixels = dict((profile.CLEANED_PIXELS, profile.DEFACED))
    given = {str(code.get("CodeValue")) for code in data.get("DeidentificationMethodCodeSequence") or ()}
    return [(code, meaning) for code, meaning in pixels.items() if code in given]


def _write_clinical(
    found: _Found, cleaners: dict[str, Cleaner], work: Path, characteristics: bool, findings: list[Finding]
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
            findings.append(_left_out(number, "a clinical.json that is no one patient's, or a second one"))
            continue
        cleaned = clean_clinical(path, cleaners[owner], characteristics)
        if cleaned is None:
            findings.append(_left_out(number, "a clinical.json that cannot be read"))
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


def _left_out(number: int, why: str, remedy: str = "") -> Finding:
    action = f"left out: {remedy}" if remedy else "left out"
    return Finding(why, f"file {number}", action, Severity.LEFT_OUT)
