"""The study with planted identifiers, and what becomes of it under one key."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tumortwin.imaging.deidentification import DeidentificationReport, deidentify

KEY = bytes(range(32))
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def planting() -> ModuleType:
    """benchmarks/planted.py: the same study that `make validate` counts on."""
    spec = importlib.util.spec_from_file_location("planted", ROOT / "benchmarks" / "planted.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["planted"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def planted(planting, tmp_path_factory):
    return planting.plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def clean(planted, tmp_path_factory) -> DeidentificationReport:
    return deidentify(planted.folder, tmp_path_factory.mktemp("clean") / "out", key=KEY)


@pytest.fixture(scope="session")
def part_of_sample(sample, tmp_path_factory) -> Path:
    """Of the shipped patient the radiotherapy objects, the visit they refer to, and the one of enhanced files."""
    folder = tmp_path_factory.mktemp("part")
    for name in ("rt", "1-planning", "2-post-rt"):
        shutil.copytree(sample / name, folder / name)
    shutil.copy(sample / "clinical.json", folder)
    return folder
