"""A subject of a BIDS data set: sessions with their dates, images by their suffixes, masks from derivatives."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tumortwin.errors import LabelError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.labels import LabelScheme
from tumortwin.imaging.reading.diffusion import AdcUnit, parse_unit, your_unit
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import Study
from tumortwin.patient.image_files import ImageFiles, Session
from tumortwin.patient.json_object import YEARS

OWN_SPACES = ("", "orig", "native", "individual", "scanner", "T1w", "T2w", "FLAIR")
"""Values of the entity `space` that leave an image where the session's scanner put it."""


@dataclass(frozen=True)
class _Name:
    """A BIDS file name in its parts."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def of(cls, path: Path) -> _Name:
        stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
        *pairs, suffix = stem.split("_")
        return cls(path, dict(p.split("-", 1) for p in pairs if "-" in p), suffix)

    @property
    def sequence(self) -> MRSequence | None:
        """What an image shows."""
        if self.suffix == "T1w":
            return MRSequence.T1GD if "ce" in self.entities else MRSequence.T1
        described = self.entities.get("desc", "") + self.entities.get("param", "")
        if self.suffix.lower() in ("adc", "adcmap") or (self.suffix == "dwimap" and "adc" in described.lower()):
            return MRSequence.ADC
        return {"T2w": MRSequence.T2, "FLAIR": MRSequence.FLAIR, "ct": MRSequence.CT}.get(self.suffix)


def is_bids(folder: Path) -> bool:
    """Whether a folder is a BIDS data set, or a subject of one."""
    if not folder.is_dir():
        return False
    if (folder / "dataset_description.json").is_file() or any(_images(s) for s in folder.glob("sub-*")):
        return True
    return folder.name.startswith("sub-") and any(_images(folder))


def read_bids(
    path: Path,
    *,
    sequences: Mapping[str, MRSequence] | None = None,
    adc_unit: float | None = None,
    labels: LabelScheme | Mapping[int, str] | None = None,
    scanning: bool = False,
) -> Study:
    """Read one subject.

    Parameters
    ----------
    path : Path
        The subject's folder (``sub-XX``), or a data set with one subject. Derivatives are looked for beside it.
    sequences : mapping of str to MRSequence, optional
        What an image shows, by a pattern (``*``, ``?``) for its file name: overrules its suffix.
    adc_unit : float, optional
        mm^2/s per value of the ADC maps: overrules the sidecars.
    labels : LabelScheme or mapping of int to str, optional
        What the values of ``_dseg`` files without a table mean.
    scanning : bool
        Only say what is there: what would be an error because of one file is a finding.

    Raises
    ------
    ReadError
        If there are several subjects, no session has a date, or a table cannot be read.
    LabelError
        If a file of several labels has no table and no scheme is named.
    """
    subject, root = _subject(path)
    files = ImageFiles(root, None if scanning else LabelError)
    dates = _table(subject / f"{subject.name}_sessions.tsv", "session_id", files)
    homes = [
        subject,
        *sorted(root.glob(f"derivatives/{subject.name}")),
        *sorted(root.glob(f"derivatives/*/{subject.name}")),
    ]
    by_session: dict[str, list[_Name]] = {}
    for home in homes:
        for image in _images(home):
            name = _Name.of(image)
            by_session.setdefault(name.entities.get("ses", ""), []).append(name)
    dated = 0
    for label, names in sorted(by_session.items()):
        date, why = _date(subject, label, dates, files)
        called = f"{subject.name} {f'ses-{label}' if label else 'only session'}"
        session = Session(called, f"BIDS {called}", date)
        if date is None:
            files.findings.append(
                Finding(
                    f"{session.name}: {why}",
                    subject.name,
                    f"left out: write the date into {subject.name}_sessions.tsv (acq_time)",
                    Severity.LEFT_OUT,
                )
            )
            for name in names:
                files.leave_out(name.path, session, "no date", say=False)
            continue
        dated += 1
        _read_session(files, names, session, root, sequences or {}, adc_unit, labels)
    if not dated and not scanning:
        raise ReadError(
            f"{subject}: no session has a date: write it into {subject.name}_sessions.tsv (columns "
            "session_id and acq_time, as 2024-02-05T08:00:00)"
        )
    return files.study(subject.name.removeprefix("sub-"))


def _subject(path: Path) -> tuple[Path, Path]:
    """Find the subject's folder and the data set's."""
    if path.name.startswith("sub-"):
        return path, path.parent
    subjects = sorted(s for s in path.glob("sub-*") if s.is_dir())
    if len(subjects) != 1:
        found = ", ".join(s.name for s in subjects[:8]) or "none"
        raise ReadError(f"{path} holds {len(subjects)} subjects ({found}): give the folder of one of them")
    return subjects[0], path


def _images(folder: Path) -> list[Path]:
    return (
        sorted(
            p for p in folder.rglob("*") if p.name.lower().endswith((".nii", ".nii.gz")) and p.name.startswith("sub-")
        )
        if folder.is_dir()
        else []
    )


def _rows(path: Path, files: ImageFiles) -> Iterator[dict[str, str]]:
    """Read the rows of a table; none if it is not there, or cannot be read where nothing is fatal."""
    if path.is_file():
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file, delimiter="\t")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            why = f"cannot be read as a table ({error}): write it as tab-separated text"
            if files.fatal is not None:
                raise ReadError(f"{path} {why}") from error
            files.findings.append(Finding(why, files.name(path), "left out", Severity.LEFT_OUT))


def _table(path: Path, key: str, files: ImageFiles) -> dict[str, dict[str, str]]:
    return {row[key]: row for row in _rows(path, files) if row.get(key)}


def _date(
    subject: Path, label: str, sessions: Mapping[str, Mapping[str, str]], files: ImageFiles
) -> tuple[datetime | None, str]:
    """When a session was scanned: of the sessions' table, else the first scan of the scans' table."""
    session = f"ses-{label}" if label else ""
    given = [(sessions.get(session) or sessions.get(label) or {}).get("acq_time", "")]
    folder = subject / session if session else subject
    scans = "_".join(p for p in (subject.name, session, "scans.tsv") if p)
    given += sorted(row.get("acq_time") or "" for row in _rows(folder / scans, files))
    wrong = ""
    for text in given:
        if text in (None, "", "n/a"):  # None: the row ends before the column
            continue
        try:
            # BIDS times are local; an offset would be the scanner's own
            time = datetime.fromisoformat(text).replace(tzinfo=None)
        except ValueError:
            time = datetime.min
        if YEARS[0] <= time.year <= YEARS[1]:
            return time, ""
        wrong = f"acq_time {text!r} is no date from {YEARS[0]} to {YEARS[1]}"
    return None, wrong or "no acq_time in the sessions' or scans' table"


def _read_session(
    files: ImageFiles,
    names: Iterable[_Name],
    session: Session,
    root: Path,
    sequences: Mapping[str, MRSequence],
    adc_unit: float | None,
    labels: LabelScheme | Mapping[int, str] | None,
) -> None:
    masks = []
    for name in names:
        space = name.entities.get("space", "")
        said = next((s for pattern, s in sequences.items() if fnmatch(name.path.name.lower(), pattern.lower())), None)
        sequence = said or name.sequence
        if space not in OWN_SPACES:
            files.leave_out(name.path, session, f"in the space {space}, not the session's own")
        elif name.suffix in ("mask", "dseg"):
            masks.append(name)
        elif sequence is None or sequence is MRSequence.OTHER:
            # raw diffusion, perfusion and the like are not needed, which the table shows
            files.leave_out(name.path, session, f"not used: {name.suffix}", say=False)
        else:
            unit = None
            try:
                if sequence is MRSequence.ADC:
                    unit = your_unit(adc_unit) or _stated_unit(name.path)
            except ReadError as error:
                files.leave_out(name.path, session, str(error))
                continue
            files.add_image(name.path, sequence, session, "your sequences" if said else "file name", unit)
    of = next((i.series_uid for i in files.images if i.study_uid == session.name), None)
    for name in masks:
        if name.suffix == "mask":
            called = name.entities.get("label") or name.entities.get("desc") or "mask"
            files.add_mask(name.path, called, session, of, "mask")
            continue
        try:
            table = _labels_beside(name.path, root, files) or labels
            if table is None:
                raise LabelError(
                    f"{name.path} has no table of its labels ({_stem(name.path)}.tsv or {root / 'dseg.tsv'}, "
                    f"columns index and name): write one, or name the scheme (labels=, one of "
                    f"{', '.join(LabelScheme)})"
                )
        except ReadError as error:
            if files.fatal is not None:
                raise
            files.leave_out(name.path, session, str(error))
            continue
        files.add_labels(name.path, table, session, of, "labels")


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", str(path))


def _labels_beside(path: Path, root: Path, files: ImageFiles) -> dict[int, str] | None:
    """Read the table of a label file: its own, else the nearest ``dseg.tsv`` above."""
    above = [folder / "dseg.tsv" for folder in path.parents if folder == root or root in folder.parents]
    for table in (Path(_stem(path) + ".tsv"), *above):
        found: dict[int, str] = {}
        for row in _rows(table, files):
            try:
                found[int(row["index"])] = row["name"].strip()
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ReadError(f"{table}: the row {dict(row)} has no whole number `index` and `name`") from error
        if found:
            return {value: name for value, name in found.items() if value != 0}
    return None


def _stated_unit(path: Path) -> AdcUnit | None:
    """Read the unit of an ADC map from its JSON sidecar."""
    sidecar = Path(_stem(path) + ".json")
    if not sidecar.is_file():
        return None
    try:
        content: Any = json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ReadError(f"{sidecar} cannot be read as JSON ({error}): mend or remove it") from error
    given = content.get("Units") if isinstance(content, dict) else None
    factor = parse_unit(given) if isinstance(given, str) else None
    return AdcUnit(factor, f"Units in {sidecar.name} ({given})") if factor is not None else None
