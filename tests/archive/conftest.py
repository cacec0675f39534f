"""The files of format 1, and a way to write any tree as a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumortwin.archive import container
from tumortwin.archive.renames import FORMAT
from tumortwin.board import BoardReport, QualityReport
from tumortwin.calibration import Calibration, Forecast
from tumortwin.imaging.volume import Dose
from tumortwin.patient import Patient
from tumortwin.planning import PlanFront
from tumortwin.twin import Twin


@pytest.fixture(scope="session")
def format_1() -> Path:
    """The folder of files that v0.1.0 wrote."""
    return Path(__file__).parents[1] / "data" / "format1"


@pytest.fixture(scope="session")
def kinds() -> dict[str, type]:
    """Everything that is saved somewhere, by the name of its file in `format_1`."""
    return {
        "patient": Patient,
        "twin": Twin,
        "calibration": Calibration,
        "forecast": Forecast,
        "plan": PlanFront,
        "board": BoardReport,
        "quality": QualityReport,
        "dose": Dose,
    }


@pytest.fixture
def write_tree(tmp_path) -> Callable[..., Path]:
    """Writes a tree, of today's format if no other is given, with a checksum that fits."""

    def write(value: Any, version: Any = FORMAT, **arrays: np.ndarray) -> Path:
        tree = json.dumps({"format": version, "value": value}).encode()
        path = tmp_path / "tree.npz"
        with path.open("w+b") as file:
            container.write(file, {**arrays, "tree": np.frombuffer(tree, np.uint8)})
        return path

    return write
