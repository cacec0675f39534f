"""A patient that takes seconds: a breast with a growing ball in it, in a patient file that lists NIfTI images."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

SHAPE = (44, 40, 24)
"""(x, y, z), as NIfTI counts."""
RAS = np.diag([-2.0, 2.0, 3.0, 1.0])
RAS[:3, 3] = (40, -30, 10)

UNUSUAL = "Zq-4711/Ünal (β)"
"""A patient ID that no other text holds, with signs that regular expressions and file names mind."""


def ball(center: tuple[float, float, float], radius: float) -> np.ndarray:
    place = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1) * (2.0, 2.0, 3.0)
    return np.linalg.norm(place - center, axis=-1) <= radius


def write_breast(folder: Path, radii: tuple[float, ...]) -> Path:
    """A patient file, with one visit a month for each radius (mm) of the tumor."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)

    def save(name: str, array: np.ndarray) -> str:
        nibabel.save(nibabel.Nifti1Image(array, RAS), folder / name)
        return str(folder / name)

    organ = ball((44, 40, 36), 32)
    visits = []
    for k, radius in enumerate(radii):
        tumor = ball((50, 44, 36), radius)
        adc = (np.where(tumor, 900.0, 1700.0) + rng.normal(0, 30, SHAPE)) * organ
        visits.append(
            {
                "time": f"2024-0{1 + k}-10T09:30:00",
                "adc": save(f"adc{k}.nii.gz", adc.astype(np.float32)),
                "roi_enhance": save(f"roi{k}.nii.gz", tumor.astype(np.uint8)),
            }
        )
    content = {
        "patient": UNUSUAL,
        "breastmask": save("breast.nii.gz", organ.astype(np.uint8)),
        "visits": visits,
        # before the first scan: there is nothing to compare schedules from
        "radiotherapy": [{"time": "2023-12-11T11:00:00", "dose": 2.0, "units": "Gy"}],
    }
    file = folder / "patient.json"
    file.write_text(json.dumps(content))
    return file


@pytest.fixture(scope="session")
def unusual() -> str:
    """The patient's ID."""
    return UNUSUAL


@pytest.fixture(scope="session")
def breast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two visits."""
    return write_breast(tmp_path_factory.mktemp("breast"), (9.0, 12.0))


@pytest.fixture(scope="session")
def tumortwin() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in a process of its own."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tumortwin", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return call
