"""What was repaired, assumed or left out while reading a patient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from tumortwin.errors import StrictError


class Severity(StrEnum):
    """How much a finding matters to what is computed from the data."""

    NOTE = "note"
    """Worth knowing; nothing was changed."""
    ASSUMED = "assumed"
    """The data did not say; a stated assumption was made."""
    REPAIRED = "repaired"
    """The data were wrong in a way that has one right answer; that answer was used."""
    LEFT_OUT = "left out"
    """The data could not be used."""


WORST_FIRST = (Severity.LEFT_OUT, Severity.ASSUMED, Severity.REPAIRED, Severity.NOTE)
"""The order in which findings are read."""
MOST_PLACES = 3
"""Of a fact with more places, one fewer are named, and the rest counted."""
# a number that stands alone: no part of a name, a date, a UID or a unit; text in quotes is a name as a whole
_NUMBER = re.compile(
    r"(?P<name>(?<!\w)'[^']*'(?!\w)|\"[^\"]*\")|(?<![\w.^/-])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w/-]|\.\d)"
)


@dataclass(frozen=True)
class Finding:
    """One thing a reader of the result should know about the data.

    Parameters
    ----------
    what : str
        What is the matter, with its value.
    where : str
        File, series, visit or structure.
    action : str
        What was done about it, or what the user can do.
    severity : Severity
        How much it matters.
    """

    what: str
    where: str
    action: str
    severity: Severity = Severity.NOTE

    def __str__(self) -> str:
        return f"[{self.severity}] {self.where}: {self.what}; {self.action}"


def refuse_findings(findings: Iterable[Finding], *, allow: Iterable[Severity] = (Severity.NOTE,)) -> None:
    """Raise for findings that are not of an allowed severity: what ``strict=True`` means.

    Raises
    ------
    StrictError
        Naming every finding that is not allowed.
    """
    allowed = set(allow)
    refused = [f for f in findings if f.severity not in allowed]
    if refused:
        lines = "\n".join(f"  {f}" for f in refused)
        raise StrictError(f"{len(refused)} finding(s) with strict=True:\n{lines}")


def grouped(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each fact, the gravest first.

    Findings that differ only in their place, or in place and numbers, become one: its place names the first of theirs
    and counts the rest, and a number that differs becomes a range.

    Parameters
    ----------
    findings : iterable of Finding
        All that were made; they stay the full record.

    Examples
    --------
    >>> for finding in grouped(Finding(f"{k} voxels", f"study/{k}.dcm", "set to 0") for k in range(1, 6)):
    ...     print(finding)
    [note] study/1.dcm, 2.dcm and 3 more: 1–5 voxels; set to 0
    """
    facts: dict[tuple[str, str, Severity], list[Finding]] = {}
    for finding in findings:
        key = (_without_numbers(finding.what), _without_numbers(finding.action), finding.severity)
        facts.setdefault(key, []).append(finding)
    one = [
        Finding(_ranges([f.what for f in same]), _places([f.where for f in same]), _ranges([f.action for f in same]), s)
        for (*_, s), same in facts.items()
    ]
    return tuple(sorted(one, key=lambda f: WORST_FIRST.index(f.severity)))


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Format findings for a terminal: a line for each fact, the gravest first; notes are counted."""
    facts = grouped(findings)
    lines = [str(fact) for fact in facts if fact.severity is not Severity.NOTE]
    notes = len(facts) - len(lines)
    return lines + ([f"{notes} note(s) not listed: `findings` of the patient or the twin holds them"] if notes else [])


def _without_numbers(text: str) -> str:
    return _NUMBER.sub(lambda found: found["name"] or "\0", text)


def _ranges(texts: Sequence[str]) -> str:
    """Merge several texts that differ in numbers into the first, with the range of each number."""
    numbers = ([found[0] for found in _NUMBER.finditer(text) if not found["name"]] for text in texts)
    ends = ((min(column, key=float), max(column, key=float)) for column in zip(*numbers, strict=True))
    shown: Iterator[str] = iter([low if float(low) == float(high) else f"{low}–{high}" for low, high in ends])
    return _NUMBER.sub(lambda found: found["name"] or next(shown), texts[0])


def _places(places: Sequence[str]) -> str:
    """Several places; those after the first without the folder or the words that they begin with, too."""
    unlike = list(dict.fromkeys(places))
    named = unlike if len(unlike) <= MOST_PLACES else unlike[: MOST_PLACES - 1]
    words = [re.split(r"(?<=[ /])", place) for place in named]
    alike = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*words, strict=False)))
    text = ", ".join([named[0], *("".join(place[alike:]) for place in words[1:])])
    return text if len(named) == len(unlike) else f"{text} and {len(unlike) - len(named)} more"
