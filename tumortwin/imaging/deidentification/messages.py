"""Messages that do not say who the patient is: the one place that they pass on their way out of a run.

Errors and findings quote what they are about: a patient's ID, the date of a visit, the name of a file. Where results
are to name nobody, neither may what is said meanwhile. So every line goes through a :class:`MessageFilter`, which knows
what the patient's files call the patient, and takes that out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom

from tumortwin.errors import TumorTwinError
from tumortwin.imaging.deidentification.survey import quiet
from tumortwin.imaging.reading.attributes import DAMAGED
from tumortwin.imaging.reading.dicom_file import unpacked
from tumortwin.imaging.reading.file_tree import files_below

REMOVED = "[removed]"
REMEDY = 'what says who the patient is was taken out of this message: identity="source" (--identity source) shows it'

_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d-\d\d?-\d\d?(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
    r"|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{6}(?:\.\d+)?)?"
    r"|\d\d?[./]\d\d?[./](?:19|20)\d\d)(?!\d)"
)
MOST_DAYS = 3650
_TAGS = ["PatientID", "OtherPatientIDs", "PatientName", "OtherPatientNames", "PatientBirthName"]
_KEYS = ("patient", "patient_id")


class MessageFilter:
    """Takes out of messages what says who a patient is: ID, name, dates, and names of files.

    Parameters
    ----------
    source : path-like
        The patient's folder or file, as the user typed it.
    typed : iterable of path-like
        Other paths that the user typed. Typed paths stay in messages.

    Notes
    -----
    What the patient goes by is read from the files when the first message comes, whether or not they can be used.
    """

    def __init__(self, source: str | os.PathLike[str], typed: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.active = True
        self._source = Path(source)
        self._ids: set[str] = set()
        self._start: datetime | None = None
        paths = {text for path in (source, *typed) for text in (os.fspath(path), str(Path(path)))}
        ways = "|".join(re.escape(text) for text in sorted(paths, key=len, reverse=True) if os.sep in text.strip("."))
        self._typed = re.compile(f"({ways})" if ways else "(?!)()")

    def knows(self, patient_id: str, start: datetime | None, *, identity_removed: bool) -> None:
        """Learn of a patient that was read.

        Parameters
        ----------
        patient_id : str
            An ID that is taken out too.
        start : datetime or None
            Dates are written as days from it.
        identity_removed : bool
            The files say nothing of whom they are: there is nothing to take out.
        """
        self._ids |= {patient_id} - {""}
        self._start = start
        self.active &= not identity_removed

    def clean(self, text: str) -> str:
        """Remove what identifies the patient from a message."""
        if not self.active:
            return text
        parts = self._typed.split(text)
        return "".join(part if i % 2 else self._cleaned(part) for i, part in enumerate(parts))

    @contextmanager
    def on_errors(self) -> Iterator[None]:
        """Clean the messages of errors that leave the block; their causes stay inside."""
        try:
            yield
        except TumorTwinError as error:
            if not self.active:
                raise
            text = str(error)
            cleaned = self.clean(text)
            raise type(error)(cleaned if cleaned == text else f"{cleaned}\n({REMEDY})") from None
        except OSError as error:
            if error.filename is None or not self.active:
                raise
            raise type(error)(error.errno, error.strerror, self.clean(os.fspath(error.filename))) from None

    def _cleaned(self, text: str) -> str:
        ids, words, files = self._found
        for name, number in files:
            if name in text:
                text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", f"[file {number}]", text)
        ids = ids | self._ids
        ids |= {run for one in ids for run in re.findall(r"\d{5,}", one)}
        for patient in sorted(ids, key=len, reverse=True):
            # a short ID is also a number or a word of ours
            before = "(?<![^\\W_])" if len(patient) > 2 else "(?:(?<=patient )|(?<=['\"]))"
            text = re.sub(rf"{before}{re.escape(patient)}(?![^\W_])", REMOVED, text)
        for word in words:
            text = re.sub(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", REMOVED, text, flags=re.IGNORECASE)
        return _DATE.sub(self._day, text)

    def _day(self, date: re.Match[str]) -> str:
        """Replace a date by its day from the start, or by "[date]" where that is unknown or reveals a person's age."""
        try:
            days = (datetime.fromisoformat(date.group()[:10]).date() - self._start.date()).days if self._start else None
        except ValueError:
            days = None
        return "[date]" if days is None or abs(days) > MOST_DAYS else f"[day {days}]"

    @cached_property
    def _found(self) -> tuple[set[str], set[str], list[tuple[str, int]]]:
        """IDs, words of names, and names of files with their number by sorted path, of all files below the source."""
        below = files_below(self._source)[0] if self._source.is_dir() else [self._source]
        ids, words, files = set[str](), set[str](), list[tuple[str, int]]()
        for number, path in enumerate(below, 1):
            relative = path.relative_to(self._source) if path != self._source else Path(path.name)
            if path.suffix != ".json":
                files += [(name, number) for name in {relative.as_posix(), path.name} if re.search(r"[\d./]", name)]
            ids |= {part for part in path.parts if part.startswith("sub-")}
            found_ids, found_words = _of_json(path) if path.suffix == ".json" else _of_dicom(path)
            ids |= found_ids
            words |= found_words
        return ids, words, sorted(files, key=lambda pair: -len(pair[0]))


def _of_dicom(path: Path) -> tuple[set[str], set[str]]:
    """Patient IDs and words of the patient's names in a DICOM file; nothing of other files."""
    try:
        with quiet(), path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            content = BytesIO(unpacked(file.read())) if packed else file
            header = pydicom.dcmread(content, force=True, stop_before_pixels=True, specific_tags=_TAGS)
            said = {tag: str(header[tag].value) for tag in _TAGS if tag in header}
    except DAMAGED:
        return set(), set()  # what cannot be read cannot be quoted either
    ids = {text.strip() for tag in _TAGS[:2] for text in re.split(r"[\\,'\[\]]", said.get(tag, "")) if text.strip()}
    return ids, {word for tag in _TAGS[2:] for word in re.findall(r"[^\W\d_]{3,}", said.get(tag, ""))}


def _of_json(path: Path) -> tuple[set[str], set[str]]:
    """Patient IDs in a patient file or ``clinical.json``."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return set(), set()
    given = [content.get(key) for key in _KEYS] if isinstance(content, dict) else []
    return {text.strip() for text in given if isinstance(text, str) and text.strip()}, set()
