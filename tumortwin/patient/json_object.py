"""JSON files field by field: what is asked for is checked, and what nobody asked for is reported."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity

MAX_BYTES = 10_000_000
YEARS = (1800, 2200)
"""Of dates; those that BIDS shifts to hide identities lie before 1925."""


def read_json(path: Path, findings: list[Finding], manual: str) -> JsonObject:
    """Read a JSON file whose top is an object.

    Parameters
    ----------
    path : Path
        The file.
    findings : list of Finding
        Receives unknown fields.
    manual : str
        Where its format is explained, for messages.

    Raises
    ------
    ReadError
        If it cannot be read or is not a JSON object.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReadError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB: this is not such a file; see {manual}")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ReadError(f"{path} cannot be read as JSON: {error}; see {manual} for its format") from error
    return JsonObject(content, path.name, path, findings, manual)


class JsonObject:
    """One JSON object of the file: fields are asked for by name and checked; what nobody asked for is reported."""

    def __init__(self, content: Any, where: str, path: Path, findings: list[Finding], manual: str) -> None:
        self.where, self._path, self._findings, self._manual = where, path, findings, manual
        self._asked: set[str] = set()
        self.children: list[JsonObject] = []
        if not isinstance(content, dict):
            raise ReadError(f"{path}: {where} is {_short(content)}, not a JSON object: see {manual}")
        self._content: dict[str, Any] = content

    def refuse(self, name: str, value: Any, remedy: str) -> NoReturn:
        """Raise the ReadError for a field that is missing or has a value that cannot be."""
        what = "is missing" if value is None else f"is {_short(value)}"
        raise ReadError(f"{self._path}: {self._field(name)} {what}: {remedy}")

    def _field(self, name: str) -> str:
        return name if self.where == self._path.name else f"{self.where}.{name}"

    def report_unknown(self) -> None:
        """Add a finding for every field that was not read, here and in all objects below."""
        for child in self.children:
            child.report_unknown()
        for name in sorted(self._content.keys() - self._asked):
            self._findings.append(
                Finding(
                    f"unknown field {name!r}",
                    f"{self._path.name}, {self.where}",
                    f"it was not used; see {self._manual} for the known fields",
                    Severity.LEFT_OUT,
                )
            )

    def has(self, name: str) -> bool:
        """Whether a field is there (and not null)."""
        return self._content.get(name) is not None

    def _get(self, name: str) -> Any:
        self._asked.add(name)
        return self._content.get(name)

    def number(self, name: str, low: float, high: float) -> float | None:
        """Read a number within a range, or None where the field is missing."""
        value = self._get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.refuse(name, value, f"give a number from {low:g} to {high:g}, or leave it out (check its unit)")
        return float(value)

    def required_number(self, name: str, low: float, high: float) -> float:
        """Read a required number within a range."""
        value = self.number(name, low, high)
        return self.refuse(name, None, f"give a number from {low:g} to {high:g}") if value is None else value

    def text(self, name: str) -> str | None:
        """Read a text, or None where the field is missing."""
        value = self._get(name)
        if not isinstance(value, str | None):
            self.refuse(name, value, "give a text in quotes")
        return value

    def flag(self, name: str) -> bool | None:
        """Read true or false, or None where the field is missing."""
        value = self._get(name)
        if not isinstance(value, bool | None):
            self.refuse(name, value, "give true or false, or leave it out if it is not known")
        return value

    def one_of(self, name: str, choices: tuple[str, ...] | list[str]) -> str:
        """One text of a few."""
        value = self.text(name)
        if value is None or value not in choices:
            self.refuse(name, value, f"give one of {', '.join(choices)}")
        return value

    def time_of_any_zone(self, name: str) -> datetime:
        """Read a time that may state its offset from UTC."""
        return self._parsed(name, self.text(name) or "", "give an ISO 8601 date or time, as 2024-02-05T08:00:00")

    def time(self, name: str) -> datetime:
        """Read a date or local time."""
        return self._time(name, self._get(name))

    def times(self, name: str) -> list[datetime]:
        """Read a list of dates or local times."""
        value = self._get(name)
        if not isinstance(value, list):
            self.refuse(name, value, 'give a list of times, as ["2024-02-05T08:00:00"]')
        return [self._time(f"{name}[{i}]", one) for i, one in enumerate(value)]

    def _time(self, name: str, value: Any) -> datetime:
        remedy = "give an ISO 8601 date or local time without offset, as 2024-02-05T08:00:00"
        if not isinstance(value, str):
            self.refuse(name, value, remedy)
        time = self._parsed(name, value, remedy)
        if time.tzinfo is not None:
            self.refuse(name, value, remedy)
        return time

    def _parsed(self, name: str, value: str, remedy: str) -> datetime:
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.refuse(name, value or None, remedy)
        if not YEARS[0] <= time.year <= YEARS[1]:
            self.refuse(name, value, f"give a date from {YEARS[0]} to {YEARS[1]}")
        return time

    def texts(self, name: str) -> dict[str, str]:
        """Read an object that holds texts only."""
        value = self._get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            self.refuse(name, value, "give names and texts in braces")
        return dict(value)

    def object(self, name: str) -> JsonObject | None:
        """Read an object, or None where the field is missing."""
        value = self._get(name)
        if value is None:
            return None
        self.children.append(JsonObject(value, self._field(name), self._path, self._findings, self._manual))
        return self.children[-1]

    def objects(self, name: str) -> list[JsonObject]:
        """Read a list of objects, empty where the field is missing."""
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(name, value, "give a list of objects")
        made = [
            JsonObject(one, f"{self._field(name)}[{i}]", self._path, self._findings, self._manual)
            for i, one in enumerate(value)
        ]
        self.children += made
        return made


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
