"""What DICOM does not carry: ``clinical.json``, read and checked field by field (its format is in docs/clinical.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.patient.timeline import Clinical
from tumortwin.therapy.drugs import DRUGS
from tumortwin.therapy.events import Biopsy, DoseUnit, DrugDose, Resection, Treatment

SCHEMA = "tumortwin-clinical-1"

MAX_BYTES = 10_000_000


@dataclass(frozen=True, eq=False)
class ClinicalFile:
    """What a ``clinical.json`` says.

    Parameters
    ----------
    clinical : Clinical
        Weight, height, markers, steroids.
    treatments : tuple of Treatment
        Drug doses and surgery, by time.
    patient_id : str or None
        Whose it is.
    findings : tuple of Finding
        Fields that are not known.
    """

    clinical: Clinical
    treatments: tuple[Treatment, ...] = ()
    patient_id: str | None = None
    findings: tuple[Finding, ...] = ()


def read_clinical(path: Path) -> ClinicalFile:
    """Read and check a ``clinical.json``.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ReadError
        If it is not JSON of this schema, or a field has an impossible value: the message names file, field and value.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReadError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB: this is not a clinical.json")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ReadError(f"{path} cannot be read as JSON: {error}; see docs/clinical.md for its format") from error
    findings: list[Finding] = []
    top = _Object(content, path.name, path, findings)
    if (schema := top.text("schema")) != SCHEMA:
        top.refuse("schema", schema, f"write {SCHEMA!r}; another version needs another tumortwin")
    clinical = Clinical(
        weight_kg=top.number("weight_kg", 2, 400), height_m=top.number("height_m", 0.3, 2.5),
        age_years=top.number("age_years", 0, 130), mgmt_methylated=top.flag("mgmt_methylated"),
        idh_mutant=top.flag("idh_mutant"), diagnosis=top.text("diagnosis"),
        steroids=tuple(sorted((entry.time("from"), entry.required_number("dexamethasone_mg_per_day", 0, 200))
                              for entry in top.objects("steroids"))),
    )
    patient_id = top.text("patient_id")
    treatments: list[Treatment] = []
    for entry in top.objects("surgery"):
        time, kind = entry.time("time"), entry.one_of("kind", ("biopsy", "resection"))
        treatments.append(Biopsy(time, path.name) if kind == "biopsy" else Resection(time, source=path.name))
    for entry in top.objects("drugs"):
        drug = (entry.text("drug") or entry.refuse("drug", None, "give the drug's name")).strip().lower()
        amount = entry.required_number("amount", 0, 1e5)
        unit = DoseUnit(entry.one_of("unit", [u.value for u in DoseUnit]))
        treatments += [DrugDose(time, drug, amount, unit, path.name) for time in entry.times("times")]
        if drug not in DRUGS:
            findings.append(Finding(f"the half-life of {drug} is not known here", f"{path.name}, {entry.where}",
                                    "it is shown on the timeline but its effect cannot be simulated"))
    for one in (top, *top.children):
        one.report_unknown()
    treatments.sort(key=lambda t: t.time)
    return ClinicalFile(clinical, tuple(treatments), patient_id, tuple(findings))


class _Object:
    """One JSON object of the file: fields are asked for by name and checked; what nobody asked for is reported."""

    def __init__(self, content: Any, where: str, path: Path, findings: list[Finding]) -> None:
        self.where, self._path, self._findings = where, path, findings
        self._asked: set[str] = set()
        self.children: list[_Object] = []
        if not isinstance(content, dict):
            raise ReadError(f"{path}: {where} is {_short(content)}, not a JSON object: see docs/clinical.md")
        self._content: dict[str, Any] = content

    def refuse(self, name: str, value: Any, remedy: str) -> NoReturn:
        field = name if self.where == self._path.name else f"{self.where}.{name}"
        what = "is missing" if value is None else f"is {_short(value)}"
        raise ReadError(f"{self._path}: {field} {what}: {remedy}")

    def report_unknown(self) -> None:
        for name in self._content.keys() - self._asked:
            self._findings.append(Finding(f"unknown field {name!r}", f"{self._path.name}, {self.where}",
                                          "it was not used; see docs/clinical.md for the known fields",
                                          Severity.LEFT_OUT))

    def _get(self, name: str) -> Any:
        self._asked.add(name)
        return self._content.get(name)

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self._get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.refuse(name, value, f"give a number from {low:g} to {high:g}, or leave it out (check its unit)")
        return float(value)

    def required_number(self, name: str, low: float, high: float) -> float:
        value = self.number(name, low, high)
        return self.refuse(name, None, f"give a number from {low:g} to {high:g}") if value is None else value

    def text(self, name: str) -> str | None:
        value = self._get(name)
        if not isinstance(value, str | None):
            self.refuse(name, value, "give a text in quotes")
        return value

    def flag(self, name: str) -> bool | None:
        value = self._get(name)
        if not isinstance(value, bool | None):
            self.refuse(name, value, "give true or false, or leave it out if it is not known")
        return value

    def one_of(self, name: str, choices: tuple[str, ...] | list[str]) -> str:
        value = self.text(name)
        if value is None or value not in choices:
            self.refuse(name, value, f"give one of {', '.join(choices)}")
        return value

    def time(self, name: str) -> datetime:
        return self._time(name, self._get(name))

    def times(self, name: str) -> list[datetime]:
        value = self._get(name)
        if not isinstance(value, list):
            self.refuse(name, value, 'give a list of times, as ["2024-02-05T08:00:00"]')
        return [self._time(f"{name}[{i}]", one) for i, one in enumerate(value)]

    def _time(self, name: str, value: Any) -> datetime:
        remedy = "give an ISO 8601 date or local time without offset, as 2024-02-05T08:00:00"
        if not isinstance(value, str):
            self.refuse(name, value, remedy)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.refuse(name, value, remedy)
        if time.tzinfo is not None:
            self.refuse(name, value, remedy)
        return time

    def objects(self, name: str) -> list[_Object]:
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(name, value, "give a list of objects")
        made = [_Object(one, f"{name}[{i}]", self._path, self._findings) for i, one in enumerate(value)]
        self.children += made
        return made


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
