"""Random damage to files from elsewhere: an answer or a message, never a crash."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tumortwin.errors import TumorTwinError
from tumortwin.imaging.nifti import read_image
from tumortwin.patient import read_patient

SEED = 20240131


def image(path: Path) -> Path:
    rng = np.random.default_rng(0)
    affine = np.diag([-1.5, 1.5, 3.0, 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(rng.normal(900, 50, (5, 4, 3)).astype(np.float32), affine), path)
    return path


def mutated(raw: bytes, rng: np.random.Generator, within: int) -> bytes:
    changed = bytearray(raw)
    for at in rng.integers(0, min(within, len(raw)), rng.integers(1, 4)):
        changed[at] = rng.integers(256)
    return bytes(changed[: rng.integers(len(raw) - 40, len(raw) + 1)] if rng.random() < 0.1 else changed)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_nifti(tmp_path: Path, ending: str) -> None:
    raw = image(tmp_path / f"a.{ending}").read_bytes()
    rng = np.random.default_rng(SEED)
    path, read = tmp_path / f"b.{ending}", 0
    for _ in range(1500):
        path.write_bytes(mutated(raw, rng, 352))
        findings: list = []
        try:
            volume = read_image(path, unit="1", findings=findings)
        except TumorTwinError:
            continue
        read += 1
        assert np.isfinite(volume.affine).all()
        assert volume.array.size == 60 or volume.array.nbytes <= 8 * len(raw) + 10_000
    assert ending == "nii.gz" or read > 300


def test_patient_files_and_tables(tmp_path: Path) -> None:
    image(tmp_path / "json/t1.nii")
    content = json.dumps(
        {
            "patient": "P",
            "visits": [{"time": "2024-01-01T10:00", "images": {"T1": "t1.nii"}}],
            "radiotherapy": [{"time": "2024-01-02", "dose": 2.0, "units": "Gy"}],
            "plan": {"prescribed": 60, "fractions": 30},
        }
    ).encode()
    image(tmp_path / "bids/sub-1/anat/sub-1_ses-a_T1w.nii.gz")
    table = tmp_path / "bids/sub-1/sub-1_sessions.tsv"
    dates = b"session_id\tacq_time\nses-a\t2024-01-01T10:00:00\n"
    rng = np.random.default_rng(SEED)
    read = {"json": 0, "bids": 0}
    for _ in range(400):
        (tmp_path / "json/patient.json").write_bytes(mutated(content, rng, len(content)))
        table.write_bytes(mutated(dates, rng, len(dates)))
        for kind in read:
            try:
                read_patient(tmp_path / kind)
            except TumorTwinError:
                continue
            read[kind] += 1
    assert read["json"] >= 10
    assert read["bids"] >= 1
