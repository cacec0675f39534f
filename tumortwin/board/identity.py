"""A page that does not say whose it is, of a patient that was read with a name.

Intervals, days of the week and times of day stay; the calendar goes: day 0 is moved into the first week of 2000. What a
hospital wrote (diagnosis, names of structures and drugs) is cleaned as DICOM descriptions are; what was found in the
files (it quotes them) is counted. A patient that was de-identified on reading keeps all of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from tumortwin.board.content import BoardContent
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.imaging.identity.words import clean_text
from tumortwin.imaging.writing.source import Identity

Content = TypeVar("Content", bound=BoardContent)

NOBODY = "de-identified"
MONDAY = datetime(2000, 1, 3)
NOTE = "Dates are moved by whole weeks; intervals are exact."


def for_export(
    report: Content, identity: Identity | str = Identity.REMOVED, pseudonym: Pseudonym | None = None
) -> Content:
    """Remove the patient's identity from a report, unless it is to be kept.

    Parameters
    ----------
    report : BoardContent or BoardReport
        As composed.
    identity : Identity
        "removed", or "source" to keep patient ID, dates and names as given.
    pseudonym : Pseudonym, optional
        Gives an ID, and moves the dates, of a study that the page becomes part of.

    Raises
    ------
    InputError
        If `identity` is neither.
    """
    try:
        identity = Identity(identity)
    except ValueError:
        raise InputError(f"identity is one of {', '.join(map(repr, map(str, Identity)))}, not {identity!r}") from None
    if identity is Identity.SOURCE or (report.identity_removed and pseudonym is None):
        return report
    if pseudonym is None:
        return _removed(report, NOBODY, shift_of(report.reference_time))
    return _removed(report, pseudonym.name, pseudonym.shift)


def shift_of(start: datetime) -> timedelta:
    """Compute the shift of dates that moves day 0 into the first week of 2000, on the same day of the week."""
    return timedelta(days=(MONDAY.date() - start.date()).days + start.weekday())


def _removed(report: Content, name: str, shift: timedelta) -> Content:
    organs = {organ.organ for option in report.options for organ in option.organs}
    organs |= {organ.organ for organ in report.dvh_limits} | {curve.structure for curve in report.dvh}
    structures = _names(organs, "structure")
    treatments = _names({course.label for course in report.courses}, "treatment")
    files = {name: f"file {i}" for i, name in enumerate(sorted(report.sources), 1)}

    def ours(text: str) -> str:
        """Replace the names in a sentence written by tumortwin, and shift its dates."""
        for given, new in sorted(
            {**files, **structures, **treatments, report.patient_id: name}.items(), key=lambda pair: -len(pair[0])
        ):
            text = text.replace(given, new) if given else text
        return _dates(text, shift, str)

    return replace(
        report,
        patient_id=name,
        reference_time=report.reference_time + shift,
        clinical=tuple(filter(None, map(_clinical, report.clinical))),
        scans=tuple(replace(scan, date=scan.date + shift) for scan in report.scans),
        courses=tuple(
            replace(course, label=treatments[course.label], detail=ours(course.detail)) for course in report.courses
        ),
        panels=tuple(
            replace(
                panel,
                date=panel.date + shift,
                anatomy=panel.anatomy.with_array(
                    panel.anatomy.array, name=_dates(panel.anatomy.name, shift, clean_text), source=()
                ),
            )
            for panel in report.panels
        ),
        comparisons=tuple(replace(one, date=one.date + shift) for one in report.comparisons),
        scores=tuple(replace(score, date=score.date + shift) for score in report.scores),
        options=tuple(
            replace(option, organs=tuple(replace(o, organ=structures[o.organ]) for o in option.organs))
            for option in report.options
        ),
        dvh=tuple(replace(curve, structure=structures[curve.structure]) for curve in report.dvh),
        dvh_limits=tuple(replace(organ, organ=structures[organ.organ]) for organ in report.dvh_limits),
        parameters=tuple(replace(p, source=ours(p.source)) for p in report.parameters),
        limits=tuple(map(ours, report.limits)),
        findings=counted(report.findings),
        left_out=tuple(map(ours, report.left_out)),
        sources={files[name]: digest for name, digest in report.sources.items()},
        definitions=(*map(ours, report.definitions), NOTE),
        identity_removed=True,
    )


def _clinical(text: str) -> str:
    """Clean the text of a diagnosis or marker, and limit an age to 90 years."""
    age = re.fullmatch(r"(\d{1,3}) years", text)
    return f"{min(int(age[1]), 90)} years" if age else clean_text(text)


def counted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """How many findings of each severity there are, in place of what they say."""
    counts: Counter[Severity] = Counter(finding.severity for finding in findings)
    return tuple(
        Finding(
            f"{count} finding(s)",
            "the source files",
            "not quoted on a page without identity: read the patient with deidentify=True to see them",
            severity,
        )
        for severity, count in sorted(counts.items())
    )


def _names(given: Iterable[str], kind: str) -> dict[str, str]:
    """Clean names so that different names stay different."""
    cleaned = {name: clean_text(name) for name in sorted(given)}
    count = Counter(cleaned.values())
    return {
        name: new if new and count[new] == 1 else f"{new or kind} {i}"
        for i, (name, new) in enumerate(cleaned.items(), 1)
    }


def _dates(text: str, shift: timedelta, rest: Callable[[str], str]) -> str:
    """Shift the ISO dates of a text, and apply `rest` to all other parts."""

    def moved(part: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", part):
            return rest(part)
        try:
            return f"{datetime.fromisoformat(part) + shift:%Y-%m-%d}"
        except (ValueError, OverflowError):
            return ""

    parts = [moved(part) for part in re.split(r"(\d{4}-\d\d-\d\d)", text)]
    return ("" if rest is str else " ").join(part for part in parts if part)
