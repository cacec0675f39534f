"""The first look at a folder: whose files are there, and which names and numbers each patient goes by."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.deidentification.private import kept
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.identity import profile
from tumortwin.imaging.reading.attributes import DAMAGED
from tumortwin.imaging.reading.dicom_file import parse_dicom, unpacked
from tumortwin.imaging.reading.file_tree import files_below
from tumortwin.imaging.reading.headers import CLINICAL_NAME, DICOMDIR
from tumortwin.progress import Progress


@dataclass(eq=False)
class Found:
    """What the first look at all files found."""

    people: dict[str, Owner] = field(default_factory=dict)
    files: list[tuple[int, Path, str]] = field(default_factory=list)  # number, path, patient ID
    clinical: list[tuple[int, Path]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    other: int = 0


@dataclass(eq=False)
class Owner:
    """A patient: words of names and numbers in all files, and whether safe private elements are there."""

    names: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    safe_private: bool = False
    folders: set[Path] = field(default_factory=set)


def survey(source: Path, progress: Progress) -> Found:
    """Every file once, without pixels: whose it is, and which names and numbers its patient goes by."""
    found = Found()
    files, closed = files_below(source)
    if closed:
        found.findings.append(
            Finding(f"{len(closed)} folders that cannot be opened", "folder", "left out", Severity.LEFT_OUT)
        )
    nameless: list[tuple[int, Path, str]] = []
    of_study: dict[str, str] = {}
    for number, path in enumerate(files, 1):
        progress(number - 1, len(files), "looking for identifiers")
        if path.name == CLINICAL_NAME:
            found.clinical.append((number, path))
            continue
        if not path.is_file():  # a pipe would be waited for, a dangling link is nothing
            found.other += 1
            continue
        try:
            header = read_dataset(path, pixels=False)
            if header is None:
                found.other += 1
                continue
            if "SOPClassUID" not in header:
                found.findings.append(left_out(number, "it does not say what kind of object it is (no SOP Class UID)"))
                continue
            patient, study = str(header.get("PatientID") or "").strip(), str(header.get("StudyInstanceUID") or "")
            if not patient:
                nameless.append((number, path, study))
                continue
            person = found.people.setdefault(patient, Owner())
            _collect(header, person)
        except DAMAGED as error:
            # the message of a parser may quote what it read
            found.findings.append(left_out(number, f"it cannot be parsed ({type(error).__name__})"))
            continue
        of_study[study] = patient
        person.folders.add(path.parent)
        found.files.append((number, path, patient))
    for number, path, study in nameless:
        if study in of_study:
            found.files.append((number, path, of_study[study]))
        else:
            found.findings.append(left_out(number, "it has no Patient ID, and no file of its study has one"))
    progress(len(files), len(files), "looking for identifiers")
    found.files.sort()
    if not found.files:
        raise ReadError(
            f"{source} holds no DICOM file that can be de-identified ({len(files)} files looked at): give the "
            "folder that holds the DICOM files" + "".join(f"\n  {finding}" for finding in found.findings[:20])
        )
    if found.other:
        found.findings.append(
            Finding(f"{found.other} files that are not DICOM, or a DICOMDIR", "folder", "not copied", Severity.NOTE)
        )
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no log of pydicom: they quote the values they complain of."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def read_dataset(path: Path, *, pixels: bool) -> Dataset | None:
    """Read a data set; return None if the file is not DICOM or is a DICOMDIR."""
    content = unpacked(path.read_bytes())
    preamble = content[128:132] == b"DICM"
    if not preamble and content[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return None
    with quiet():
        data = (
            parse_dicom(content)
            if pixels
            else pydicom.dcmread(BytesIO(content), force=not preamble, stop_before_pixels=True)
        )
    return None if str(data.file_meta.get("MediaStorageSOPClassUID", "")) == DICOMDIR else data


def _elements(data: Dataset) -> Iterator[tuple[pydicom.DataElement, Dataset]]:
    """Every element that can be decoded, and the data set or item it is in."""
    for tag in list(data.keys()):
        try:
            element = data[tag]
        except DAMAGED:
            continue  # it will be removed, and cannot be known before
        yield element, data
        if element.VR == "SQ":
            for part in element.value or ():
                yield from _elements(part)


def _collect(header: Dataset, person: Owner) -> None:
    with quiet():
        for element, data in _elements(header):
            if element.tag.is_private:
                person.safe_private = person.safe_private or kept(element, data) is not None
            elif element.VR == "PN":
                person.names |= {word.lower() for word in re.findall(r"[^\W\d_]{3,}", str(element.value))}
            elif (
                element.VR in ("LO", "SH")
                and profile.basic_action(element.tag)
                and not profile.is_descriptor(element.tag)
            ):
                person.numbers |= {text for text in str(element.value).split("\\") if len(text.strip()) >= 5}


def left_out(number: int, why: str, remedy: str = "") -> Finding:
    """Build the finding that a file is not copied; its number names it, because its path may name the patient."""
    action = f"left out: {remedy}" if remedy else "left out"
    return Finding(why, f"file {number}", action, Severity.LEFT_OUT)
