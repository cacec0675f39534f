"""Verification cases and the table of them: docs/validation.md.

A case compares what the code gives with a closed form, a manufactured solution or a conservation law, by the fixture
`verify`. `pytest tests/physics --write-validation docs/validation.md` writes the table; a run without it fails where
the committed table lacks a case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "docs" / "validation.md"

HEAD = """# Validation

Written by `pytest tests/physics --write-validation docs/validation.md`; not edited by hand. Every row is a test that
fails when the difference between *expected* and *got* is more than the tolerance (relative where marked %).

| case | expected | got | tolerance | source |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    expected: float
    got: float
    tolerance: float
    relative: bool
    source: str

    @property
    def holds(self) -> bool:
        scale = abs(self.expected) if self.relative else 1.0
        return abs(self.got - self.expected) <= self.tolerance * scale  # false for NaN

    def row(self) -> str:
        tolerance = f"{100 * self.tolerance:.2g} %" if self.relative else f"{self.tolerance:.2g}"
        return f"| {self.name} | {self.expected:.6g} | {self.got:.6g} | {tolerance} | {self.source} |"


CASES = pytest.StashKey[dict[str, Case]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-validation", metavar="FILE", help="write the table of verification cases")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CASES] = {}


@pytest.fixture
def verify(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare and register: ``verify(name, expected=, got=, tolerance=, relative=False, source=)``."""

    def compare(
        name: str, *, expected: float, got: float, tolerance: float, source: str, relative: bool = False
    ) -> None:
        case = Case(name, float(expected), float(got), tolerance, relative, source)
        assert name not in request.config.stash[CASES], f"two cases are called {name!r}"
        request.config.stash[CASES][name] = case
        assert case.holds, case.row()
        if request.config.getoption("--write-validation") is None and TABLE.exists():
            known = {line.split(" | ")[0] for line in TABLE.read_text().splitlines()}
            assert f"| {name}" in known, f"{TABLE.name} lacks the case {name!r}: write it anew"

    return compare


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    path = session.config.getoption("--write-validation")
    if path and exitstatus == 0:
        cases = session.config.stash[CASES].values()
        page = Path(path)
        # the sections after ours are others'
        _, heading, others = page.read_text().partition("\n## ") if page.exists() else ("", "", "")
        page.write_text(HEAD + "".join(f"{case.row()}\n" for case in cases) + heading + others)
