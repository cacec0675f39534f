"""`tumortwin build` on a patient file of a breast: the twin, the pages to check it by, and what took the time."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tumortwin.cli import main
from tumortwin.twin import Twin

SHAPE = (44, 40, 24)
"""(x, y, z), as NIfTI counts."""
RAS = np.diag([-2.0, 2.0, 3.0, 1.0])
RAS[:3, 3] = (40, -30, 10)


def ball(center: tuple[float, float, float], radius: float) -> np.ndarray:
    place = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1) * (2.0, 2.0, 3.0)
    return np.linalg.norm(place - center, axis=-1) <= radius


@pytest.fixture(scope="module")
def patient(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("breast")
    rng = np.random.default_rng(0)

    def save(name: str, array: np.ndarray) -> str:
        nibabel.save(nibabel.Nifti1Image(array, RAS), folder / name)
        return str(folder / name)

    organ = ball((44, 40, 36), 32)
    visits = []
    for k, radius in enumerate((9.0, 12.0)):
        tumor = ball((50, 44, 36), radius)
        adc = (np.where(tumor, 900.0, 1700.0) + rng.normal(0, 30, SHAPE)) * organ
        visits.append(
            {
                "time": f"2024-0{1 + k}-10T09:30:00",
                "adc": save(f"adc{k}.nii.gz", adc.astype(np.float32)),
                "roi_enhance": save(f"roi{k}.nii.gz", tumor.astype(np.uint8)),
            }
        )
    file = folder / "patient.json"
    file.write_text(
        json.dumps({"patient": "B-1", "breastmask": save("breast.nii.gz", organ.astype(np.uint8)), "visits": visits})
    )
    return file


def test_the_twin_its_pages_and_its_profile(patient, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["build", str(patient), "--out", str(out), "--organ", "breast", "--spacing", "2.5", "--profile"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "Research use only" in said
    assert "built the twin: 2 visit(s)" in said
    assert [line for line in said.splitlines() if line.startswith("write the results  ")]
    assert "MiB" in said
    assert (out / "quality.pdf").read_bytes().startswith(b"%PDF")
    twin = Twin.load(out / "twin.npz")
    assert twin.domain.grid.spacing == (2.5, 2.5, 2.5)
    assert [o.volumes_ml["enhancing"] for o in twin.observations] == pytest.approx(
        [4 / 3 * np.pi * r**3 / 1000 for r in (9, 12)], rel=0.05
    )

    # what is there is not replaced unasked
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--organ", "liver"], "no mask is called 'liver'"),
        (["--organ", "breast", "--transform", "7=pose.tfm"], "there is no visit 7"),
        (["--organ", "breast", "--transform", "1=pose.tfm"], "pose.tfm"),
        (["--organ", "breast", "--deformable"], "rigid bodies"),
        (["--organ", "breast", "--spacing", "40"], "0.5 to 10 mm"),
    ],
)
def test_what_cannot_be_is_one_line(patient, tmp_path, capsys, more, said):
    (tmp_path / "pose.tfm").write_text("no transform")
    more = [text.replace("pose.tfm", str(tmp_path / "pose.tfm")) for text in more]
    assert main(["build", str(patient), "--out", str(tmp_path / "out"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_deidentification_is_not_passed_over(patient, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("[run]\ndeidentify = true\n")
    assert main(["build", str(patient), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "mine.toml")]) == 2
    assert "build does not de-identify" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["pose.tfm", "x=pose.tfm", "1="])
def test_a_transform_names_its_visit(patient, tmp_path, capsys, text):
    with pytest.raises(SystemExit):
        main(["build", str(patient), "--out", str(tmp_path), "--transform", text])
    assert "N=FILE" in capsys.readouterr().err
