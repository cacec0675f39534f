"""BIDS subjects, hand-made with nibabel."""

import json
from datetime import datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tumortwin.cli import main
from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.patient import read_patient

SHAPE = (12, 10, 6)
AFFINE = np.diag([1.5, 1.5, 4.0, 1.0])
AFFINE[:3, 3] = (-40, -30, 5)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def table(path: Path, *rows: tuple[object, ...]) -> None:
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def labels() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 3:5, 2:4], array[6:8, 3:5, 2:4], array[9, 9, 5] = 1, 2, 4
    return array


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "study"
    rng = np.random.default_rng(0)
    for session in ("pre", "post"):
        stem = f"sub-01_ses-{session}"
        raw = root / f"sub-01/ses-{session}"
        for name in ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR"):
            save(raw / f"anat/{stem}_{name}.nii.gz", rng.normal(400, 30, SHAPE).astype(np.float32))
        save(raw / f"dwi/{stem}_dwi.nii.gz", rng.normal(400, 30, (*SHAPE, 3)).astype(np.float32))
        derived = root / f"derivatives/ours/sub-01/ses-{session}"
        save(derived / f"dwi/{stem}_desc-ADC_dwimap.nii.gz", rng.normal(1.1, 0.1, SHAPE).astype(np.float32))
        (derived / f"dwi/{stem}_desc-ADC_dwimap.json").write_text(json.dumps({"Units": "10^-3 mm^2/s"}))
        save(derived / f"anat/{stem}_label-enhancing_mask.nii.gz", (labels() == 1).astype(np.uint8))
        save(derived / f"anat/{stem}_desc-brain_mask.nii.gz", np.ones(SHAPE, np.uint8))
        save(derived / f"anat/{stem}_space-MNI152NLin2009cAsym_T1w.nii.gz", np.ones(SHAPE, np.float32))
    (root / "dataset_description.json").write_text('{"Name": "ours", "BIDSVersion": "1.9.0"}')
    table(
        root / "sub-01/sub-01_sessions.tsv",
        ("session_id", "acq_time"),
        ("ses-pre", "2024-01-05T10:00:00"),
        ("ses-post", "2024-03-05T11:30:00.5"),
    )
    return root


@pytest.mark.parametrize("where", [".", "sub-01"])
def test_sessions_are_visits(dataset: Path, where: str) -> None:
    patient = read_patient(dataset / where)
    assert patient.id == "01"
    assert [v.date for v in patient.visits] == [datetime(2024, 1, 5, 10), datetime(2024, 3, 5, 11, 30, 0, 500000)]
    for visit, session in zip(patient.visits, ("pre", "post"), strict=True):
        assert set(visit.images) == {MRSequence.T1, MRSequence.T1GD, MRSequence.T2, MRSequence.FLAIR, MRSequence.ADC}
        assert set(visit.masks) == {"enhancing", "brain"}
        assert visit.images[MRSequence.T1GD].name.endswith(f"ses-{session}_ce-gadolinium_T1w.nii.gz")
        assert visit.aligned is None
        adc = visit.images[MRSequence.ADC]
        assert adc.unit == "mm^2/s"
        assert np.median(adc.array) == pytest.approx(1.1e-3, rel=0.05)
        oracle = nibabel.load(dataset / adc.name)
        np.testing.assert_allclose(adc.array, 1e-3 * oracle.get_fdata().T, rtol=1e-6)
        np.testing.assert_allclose(adc.grid.to_world((3, 2, 1)), (oracle.affine @ (1, 2, 3, 1))[:3] * (-1, -1, 1))
    assert patient.visits[0].images[MRSequence.T1].frame != patient.visits[1].images[MRSequence.T1].frame
    assert [f.severity for f in patient.findings if f.severity is not Severity.NOTE] == [Severity.LEFT_OUT] * 2
    assert all(
        "in the space MNI152NLin2009cAsym" in f.what for f in patient.findings if f.severity is Severity.LEFT_OUT
    )
    assert len(patient.sources) == 14


def test_info_shows_every_file(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(dataset)]) == 0
    shown = capsys.readouterr().out
    for word in ("Patient 01", "sub-01_ses-pre_dwi.nii.gz", "not used: dwi", "2024-03-05 11:30", "T1Gd"):
        assert word in shown


def test_a_segmentation_that_a_converter_made_4d_is_left_out(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """dcm2niix makes one file of a DICOM segmentation, its segments along the fourth axis."""
    folder = dataset / "derivatives/ours/sub-01/ses-pre/anat"
    for name in ("dseg", "label-core_mask"):
        save(
            folder / f"sub-01_ses-pre_{name}.nii.gz", np.stack([labels() == k for k in (1, 2, 4)], -1).astype(np.uint8)
        )
    table(dataset / "dseg.tsv", ("index", "name"), (1, "core"))
    assert main(["info", str(dataset)]) == 0
    shown = capsys.readouterr().out
    patient = read_patient(dataset)
    assert set(patient.visits[0].masks) == {"enhancing", "brain"}
    assert len(patient.visits) == 2
    for name in ("dseg", "label-core_mask"):
        said = [
            f"[left out] derivatives/ours/sub-01/ses-pre/anat/sub-01_ses-pre_{name}.nii.gz",
            "12 x 10 x 6 x 3 voxels",
        ]
        assert [line for line in shown.splitlines() if all(word in line for word in said)]
        assert [f for f in map(str, patient.findings) if all(word in f for word in said)]


def test_no_single_file_ends_info(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(dataset / "derivatives/ours/sub-01/ses-pre/anat/sub-01_ses-pre_dseg.nii.gz", labels())
    table(dataset / "dseg.tsv", ("index", "name"), (1, "core"), (2, "rim"), (4, "far"))
    for session in ("pre", "post"):
        table(dataset / f"sub-01/ses-{session}/sub-01_ses-{session}_scans.tsv", ("filename", "acq_time"))
    (dataset / "clinical.json").write_text("{}")
    files = sorted(p for p in dataset.rglob("*") if p.is_file() and p.name != "dataset_description.json")
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        path.write_bytes(b"\xff\x00 no image, no table\n" * 40)
        assert main(["info", str(dataset)]) == 0, path
        assert path.name in capsys.readouterr().out
        path.write_bytes(content)


def test_label_files_need_a_table_or_a_scheme(dataset: Path) -> None:
    file = dataset / "derivatives/ours/sub-01/ses-pre/anat/sub-01_ses-pre_dseg.nii.gz"
    save(file, labels())
    with pytest.raises(ReadError, match=r"has no table of its labels.*BraTS 2021"):
        read_patient(dataset)
    assert set(read_patient(dataset, labels="BraTS 2021").visits[0].masks) == {
        "necrosis",
        "edema",
        "enhancing",
        "brain",
    }
    with pytest.raises(ReadError, match="holds the value 4"):
        read_patient(dataset, labels="BraTS 2023")
    assert main(["info", str(dataset), "--labels", "BraTS 2024"]) == 0
    table(dataset / "dseg.tsv", ("index", "name"), (0, "background"), (1, "core"), (2, "rim"), (4, "far"))
    assert {"core", "rim", "far"} <= set(read_patient(dataset).visits[0].masks)
    table(file.with_name("sub-01_ses-pre_dseg.tsv"), ("index", "name"), (1, "a"), (2, "b"), (4, "a"))
    masks = read_patient(dataset).visits[0].masks
    np.testing.assert_array_equal(masks["a"].array, np.isin(labels(), (1, 4)).T)
    table(file.with_name("sub-01_ses-pre_dseg.tsv"), ("index", "name"), ("one", "a"))
    with pytest.raises(ReadError, match="no whole number `index`"):
        read_patient(dataset)


def test_sessions_without_a_date(dataset: Path) -> None:
    table(
        dataset / "sub-01/sub-01_sessions.tsv",
        ("session_id", "acq_time"),
        ("ses-pre", "2024-01-05"),
        ("ses-post", "n/a"),
    )
    patient = read_patient(dataset)
    assert len(patient.visits) == 1
    assert any("ses-post: no acq_time" in f.what and f.severity is Severity.LEFT_OUT for f in patient.findings)
    table(
        dataset / "sub-01/ses-post/sub-01_ses-post_scans.tsv",
        ("filename", "acq_time"),
        ("anat/sub-01_ses-post_T1w.nii.gz", "2024-03-05T12:00:00"),
        ("dwi/x.nii.gz", "2024-03-05T11:45:00"),
    )
    assert read_patient(dataset).visits[1].date == datetime(2024, 3, 5, 11, 45)
    for path in dataset.rglob("*.tsv"):
        path.unlink()
    with pytest.raises(ReadError, match=r"no session has a date.*sub-01_sessions\.tsv"):
        read_patient(dataset)


def test_one_session_without_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "sub-A/anat/sub-A_T1w.nii.gz", np.ones(SHAPE, np.float32))
    table(tmp_path / "sub-A/sub-A_scans.tsv", ("filename", "acq_time"), ("anat/sub-A_T1w.nii.gz", "2024-01-01"))
    assert read_patient(tmp_path).visits[0].images.keys() == {MRSequence.T1}


def test_an_adc_map_without_a_stated_unit(dataset: Path) -> None:
    for sidecar in dataset.rglob("*dwimap.json"):
        sidecar.unlink()
    patient = read_patient(dataset)
    assert np.median(patient.visits[0].images[MRSequence.ADC].array) == pytest.approx(1.1e-3, rel=0.05)
    assert [f.severity for f in patient.findings if "no ADC unit" in f.what] == [Severity.ASSUMED] * 2
    kept = read_patient(dataset, adc_unit=1.0)
    assert kept.visits[0].images[MRSequence.ADC].unit == "1"
    assert any("makes the median ADC" in f.what and "give adc_unit=0.001" in f.what for f in kept.findings)


def test_several_subjects_are_never_mixed(dataset: Path) -> None:
    save(dataset / "sub-02/anat/sub-02_T1w.nii.gz", np.ones(SHAPE, np.float32))
    with pytest.raises(ReadError, match=r"2 subjects \(sub-01, sub-02\): give the folder of one"):
        read_patient(dataset)
    assert read_patient(dataset / "sub-01").id == "01"


def test_a_damaged_file_and_the_users_word(dataset: Path) -> None:
    (dataset / "sub-01/ses-pre/anat/sub-01_ses-pre_T2w.nii.gz").write_bytes(b"\x1f\x8bnothing")
    patient = read_patient(dataset, sequences={"*ses-POST_T2w*": MRSequence.FLAIR})
    assert MRSequence.T2 not in patient.visits[0].images
    assert MRSequence.T2 not in patient.visits[1].images
    assert any("T2w" in f.where and f.severity is Severity.LEFT_OUT for f in patient.findings)
