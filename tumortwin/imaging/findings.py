"""What was repaired, assumed or left out while reading a patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

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
