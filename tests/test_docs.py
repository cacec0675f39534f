"""What the documents name is there: files in CONTRIBUTING and the architecture, names in the table of terms."""

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"])
def test_files_that_are_named_are_there(document):
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:tumortwin|tests|benchmarks|docs|notebooks|\.ci)/[\w./-]*)`", text))
    named |= {str(Path(document).parent / link) for link in re.findall(r"\]\((?!http)([\w./-]+)", text)}
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def value_of(name: str) -> Any:
    """What a dotted name below ``tumortwin`` stands for; of a dataclass' field, the field."""
    parts = name.split(".")
    depth = max(n for n in range(len(parts) + 1) if _is_module(".".join(["tumortwin", *parts[:n]])))
    value: Any = importlib.import_module(".".join(["tumortwin", *parts[:depth]]))
    for part in parts[depth:]:
        fields = {f.name: f for f in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else {}
        value = fields[part] if part in fields else getattr(value, part)
    return value


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_terms_are_in_the_code():
    table = (ROOT / "docs" / "terms.md").read_text().partition("## Renamed")[0]
    rows = [
        line.rsplit("|", 2)[1] for line in table.splitlines() if line.startswith("| ") and "in the code" not in line
    ]
    names = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(rows) > 60
    assert len(names) >= len(rows)
    for name in names:
        value_of(name)
