"""``clinical.json`` (docs/clinical.md) without identifiers: known fields only, dates shifted, texts cleaned."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from tumortwin.imaging.deidentification.cleaning import Cleaner
from tumortwin.imaging.identity.words import clean_text

# field to kind; a list holds objects of the given fields
_FIELDS: dict[str, Any] = {
    "schema": ("tumortwin-clinical-1",),
    "patient_id": "id",
    "weight_kg": "characteristic",
    "height_m": "characteristic",
    "age_years": "age",
    "mgmt_methylated": "flag",
    "idh_mutant": "flag",
    "identity_removed": "flag",
    "diagnosis": "text",
    "steroids": [{"from": "time", "dexamethasone_mg_per_day": "number"}],
    "surgery": [{"time": "time", "kind": ("biopsy", "resection")}],
    "drugs": [{"drug": "text", "amount": "number", "unit": ("mg", "mg/m2", "mg/kg"), "times": "times"}],
}


def patient_of(path: Path) -> str | None:
    """Whose a clinical.json says it is; None if it does not say or cannot be read."""
    content = _content(path)
    stated = content.get("patient_id") if content else None
    return stated.strip() if isinstance(stated, str) else None


def clean_clinical(path: Path, cleaner: Cleaner, characteristics: bool) -> tuple[str, list[str]] | None:
    """Clean a clinical file: return its text and the known fields that were dropped, or None if it cannot be read."""
    content = _content(path)
    if content is None:
        return None
    dropped: set[str] = set()
    cleaned = _object(content, _FIELDS, cleaner, characteristics, dropped)
    return json.dumps(cleaned, indent=1) + "\n", sorted(dropped)


def _content(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _object(
    content: dict[str, Any], fields: dict[str, Any], cleaner: Cleaner, characteristics: bool, dropped: set[str]
) -> dict[str, Any]:
    out = {}
    unknown = content.keys() - fields.keys()
    if unknown:
        dropped.add(f"{len(unknown)} unknown")  # their names may tell something too
    for name, kind in fields.items():
        if content.get(name) is None:
            continue
        if isinstance(kind, list):
            given = content[name] if isinstance(content[name], list) else []
            out[name] = [
                _object(one, kind[0], cleaner, characteristics, dropped) for one in given if isinstance(one, dict)
            ]
            continue
        value = _value(content[name], kind, cleaner, characteristics)
        if value is None:
            dropped.add(name)
        else:
            out[name] = value
    return out


def _value(given: Any, kind: str | tuple[str, ...], cleaner: Cleaner, characteristics: bool) -> Any:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if isinstance(kind, tuple):
        return given if given in kind else None
    if kind == "id":
        return cleaner.pseudonym.name
    if kind == "flag":
        return given if isinstance(given, bool) else None
    if kind == "number":
        return given if number else None
    if kind == "characteristic":
        return given if number and characteristics else None
    if kind == "age":
        return min(given, 90) if number and characteristics else None
    if kind == "text":
        return clean_text(given, cleaner.person.names) or None if isinstance(given, str) else None
    if kind == "time":
        return _shifted(given, cleaner)
    times = [_shifted(one, cleaner) for one in given] if isinstance(given, list) else []
    return [time for time in times if time is not None]


def _shifted(given: Any, cleaner: Cleaner) -> str | None:
    try:
        time = datetime.fromisoformat(given) + cleaner.shift
    except (TypeError, ValueError, OverflowError):
        return None
    return time.replace(tzinfo=None).isoformat()
