"""One patient of the geometry study, as docs/geometry/validation.md has it."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = 201
PAGE = ROOT / "docs" / "geometry" / "validation.md"


def numbers(line: str) -> list[float]:
    """Brain, whole, enhancing and registration of a patient's line."""
    return [float(v) for cell in line.split("|")[3:] for v in re.findall(r"\d+\.\d+", cell)]


@pytest.mark.parametrize("coarse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_patient_of_the_study_comes_out_as_committed(monkeypatch, coarse):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    study = importlib.import_module("geometry")
    lines = re.findall(rf"^\| {SEED} \|.*$", PAGE.read_text(), re.M)
    (committed,) = (line for line in lines if ("coarse" in line) is coarse)
    case = study.study(SEED, coarse=coarse)
    again = study.by_patient([case]).splitlines()[-1]
    assert again.split("|")[2] == committed.split("|")[2]
    # other processors and libraries move voxels at the edge
    assert numbers(again) == pytest.approx(numbers(committed), abs=0.02)
    assert case.side
    assert len(numbers(again)) > (4 if coarse else 8)
