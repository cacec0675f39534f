"""Patient files: JSON that lists NIfTI and NRRD images, with all that is seen to be wrong in them."""

import json
import re
from datetime import datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tumortwin.cli import main
from tumortwin.errors import InputError, ReadError, StrictError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import FractionDose
from tumortwin.patient import Patient, read_patient, scan_patient
from tumortwin.therapy import DoseUnit, DrugDose, Fraction

SHAPE = (14, 12, 8)
"""(x, y, z), as NIfTI counts."""
RAS = np.diag([-1.5, 1.5, 3.0, 1.0])
RAS[:3, 3] = (30, -20, 10)


def save(path: Path, array: np.ndarray, affine: np.ndarray = RAS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def box(*corner: int, size: int = 3) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[tuple(slice(c, c + size) for c in corner)] = 1
    return array


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two visits in the format: the ADC in 1e-6 mm^2/s, the tumor on the patient's left."""
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    for key in ("post", "pre", "flair"):
        save(images / f"{key}.nii.gz", rng.normal(500, 50, SHAPE).astype(np.float32))
    save(images / "brain.nii.gz", np.ones(SHAPE, np.uint8))
    for k in (0, 1):
        save(images / f"adc{k}.nii.gz", rng.normal(900, 60, SHAPE).astype(np.float32))
        save(images / f"enh{k}.nii.gz", box(2, 3 + k, 2))
        save(images / f"non{k}.nii.gz", box(5, 3 + k, 2))
    content = {
        "patient": "P-7",
        "brainmask": "{$image_dir}/brain.nii.gz",
        "T1_post": "{$image_dir}/post.nii.gz",
        "T1_pre": "{$image_dir}/pre.nii.gz",
        "T2_flair": "{$image_dir}/flair.nii.gz",
        "visits": [
            {
                "time": f"2024-0{1 + k}-10T09:30:00",
                "adc": f"{{$image_dir}}/adc{k}.nii.gz",
                "roi_enhance": f"{{$image_dir}}/enh{k}.nii.gz",
                "roi_nonenhance": f"{{$image_dir}}/non{k}.nii.gz",
            }
            for k in (1, 0)
        ],
        "radiotherapy": [{"time": f"2024-01-{d}T11:00:00", "dose": 2.0, "units": "Gy"} for d in (15, 16)],
        "chemotherapy": [{"time": "2024-01-15T08:00:00", "dose": 140, "units": "mg"}],
        "image_dir": "images",
    }
    write(tmp_path, content)
    return tmp_path


def write(folder: Path, content: dict) -> Path:
    path = folder / "patient.json"
    path.write_text(json.dumps(content))
    return path


def change(folder: Path, **changes: object) -> Path:
    content = json.loads((folder / "patient.json").read_text())
    for key, value in changes.items():
        content[key] = value
        if value is None:
            del content[key]
    return write(folder, content)


def change_visit(folder: Path, index: int, **changes: object) -> None:
    visits = json.loads((folder / "patient.json").read_text())["visits"]
    visits[index].update(changes)
    visits[index] = {k: v for k, v in visits[index].items() if v is not None}
    change(folder, visits=visits)


def severities(patient: Patient, word: str) -> list[Severity]:
    return [f.severity for f in patient.findings if word in f.what]


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_patient_file_is_a_patient_like_any_other(folder: Path, given: str) -> None:
    patient = read_patient(folder if given == "folder" else folder / "patient.json")
    assert patient.id == "P-7"
    first, second = patient.visits
    assert (first.date, second.date) == (datetime(2024, 1, 10, 9, 30), datetime(2024, 2, 10, 9, 30))
    assert set(first.images) == {MRSequence.T1GD, MRSequence.T1, MRSequence.FLAIR, MRSequence.ADC}
    assert set(second.images) == {MRSequence.ADC}
    adc = first.images[MRSequence.ADC]
    assert adc.unit == "mm^2/s"
    oracle = nibabel.load(folder / "images/adc0.nii.gz")
    np.testing.assert_allclose(adc.array, 1e-6 * oracle.get_fdata().T, rtol=1e-6)
    ras = oracle.affine @ (3, 4, 5, 1)
    np.testing.assert_allclose(adc.grid.to_world((5, 4, 3)), ras[:3] * (-1, -1, 1), atol=1e-5)
    assert set(first.masks) == {"enhancing", "edema", "brain"}
    assert set(second.masks) == {"enhancing", "edema"}
    np.testing.assert_array_equal(second.masks["enhancing"].array, box(2, 4, 2).T == 1)
    assert len({v.frame for visit in patient.visits for v in (*visit.images.values(), *visit.masks.values())}) == 1
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    assert [(f.time.day, f.dose) for f in fractions] == [(15, 2.0), (16, 2.0)]
    (drug,) = [t for t in patient.treatments if isinstance(t, DrugDose)]
    assert (drug.amount, drug.unit) == (140.0, DoseUnit.MG)
    assert "drug not named" in drug.drug
    assert [f.what for f in patient.findings if f.severity is not Severity.NOTE] == [
        "T1_post, T1_pre, T2_flair, brainmask: no date: taken for the first visit, 2024-01-10"
    ]
    assert len(patient.sources) == 11
    assert patient.sources["images/adc0.nii.gz"] != patient.sources["images/adc1.nii.gz"]


def test_left_stays_left(folder: Path) -> None:
    enhancing = read_patient(folder).visits[0].masks["enhancing"]
    where = enhancing.grid.to_world(np.argwhere(enhancing.array)).mean(0)
    oracle = nibabel.load(folder / "images/enh0.nii.gz")
    ras = nibabel.affines.apply_affine(oracle.affine, np.argwhere(oracle.get_fdata() > 0)).mean(0)
    assert ras[0] > 20  # right of the middle in RAS
    assert where[0] == pytest.approx(-ras[0])


def test_info_and_strict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder / "patient.json")]) == 0
    shown = capsys.readouterr().out
    assert "Patient P-7" in shown
    assert "images/adc1.nii.gz" in shown
    assert "14 x 12 x 8, 1.5 x 1.5 x 3 mm" in shown
    with pytest.raises(StrictError, match="no date"):
        read_patient(folder, strict=True)
    assert str(scan_patient(folder)).startswith("Patient P-7")


def test_an_affine_of_ones_beside_other_pixdims(folder: Path) -> None:
    path = folder / "images/adc0.nii.gz"
    raw = bytearray(nibabel.Nifti1Image(nibabel.load(path).get_fdata(dtype=np.float32), np.eye(4)).to_bytes())
    raw[76 + 4 : 76 + 16] = np.array([1.5, 1.5, 3], "<f4").tobytes()
    raw[123] = 0
    path.with_name("adc0.nii").write_bytes(raw)
    change_visit(folder, 1, adc="{$image_dir}/adc0.nii")
    patient = read_patient(folder)
    assert patient.visits[0].images[MRSequence.ADC].grid.spacing == pytest.approx((3, 1.5, 1.5))
    (finding,) = [f for f in patient.findings if "by pixdim" in f.what]
    assert "1 x 1 x 1 mm by its affine (sform), of 1.5 x 1.5 x 3 mm by pixdim" in finding.what
    assert "pixdim is believed" in finding.action
    assert finding.severity is Severity.ASSUMED


def test_roles_that_point_at_one_image(folder: Path) -> None:
    change(folder, T1_pre="{$image_dir}/post.nii.gz", T2_flair="{$image_dir}/post.nii.gz")
    change_visit(folder, 0, adc="{$image_dir}/adc0.nii.gz", roi_nonenhance="{$image_dir}/enh1.nii.gz")
    patient = read_patient(folder)
    assert set(patient.visits[0].images) == {MRSequence.T1GD, MRSequence.ADC}
    said = {f.what for f in patient.findings if f.severity is Severity.LEFT_OUT}
    assert "T1_pre is the same image as T1_post" in said
    assert "T2_flair is the same image as T1_post" in said
    assert any("is the same image as visits[1].adc: no new observation" in w for w in said)
    assert any("roi_nonenhance is the same mask as visits[0].roi_enhance" in w for w in said)


def test_copies_under_another_name_are_the_same_image(folder: Path) -> None:
    (folder / "images/pre.nii.gz").write_bytes((folder / "images/post.nii.gz").read_bytes())
    assert severities(read_patient(folder), "T1_pre is the same image as T1_post") == [Severity.LEFT_OUT]


def test_an_empty_region(folder: Path) -> None:
    for k in (0, 1):
        save(folder / f"images/non{k}.nii.gz", np.zeros(SHAPE, np.uint8))
    patient = read_patient(folder)
    assert [set(v.masks) - {"brain"} for v in patient.visits] == [{"enhancing"}] * 2
    assert severities(patient, "roi_nonenhance is empty") == [Severity.NOTE] * 2


def test_adc_left_over_from_another_visit(folder: Path) -> None:
    first, second = (nibabel.load(folder / f"images/adc{k}.nii.gz").get_fdata() for k in (0, 1))
    inside = (box(2, 4, 2) | box(5, 4, 2)) > 0
    save(folder / "images/adc1.nii.gz", np.where(inside, second, first).astype(np.float32))
    patient = read_patient(folder)
    got = patient.visits[1].images[MRSequence.ADC].array
    np.testing.assert_allclose(got, 1e-6 * np.where(inside, second, 0).T, rtol=1e-6)
    assert severities(patient, "ADC values outside the drawn regions") == [Severity.REPAIRED]
    assert not (read_patient(folder).visits[0].images[MRSequence.ADC].array == 0).any()


def test_unknown_keys_are_said(folder: Path) -> None:
    change(folder, Scanner="X")
    change_visit(folder, 0, comment="?")
    patient = read_patient(folder)
    assert severities(patient, "unknown field 'Scanner'") == [Severity.LEFT_OUT]
    assert severities(patient, "unknown field 'comment'") == [Severity.LEFT_OUT]


def test_two_treatments_at_one_time(folder: Path) -> None:
    day = {"time": "2024-01-15", "dose": 1.5, "units": "Gy"}
    change(
        folder,
        radiotherapy=[day, dict(day), {**day, "time": "2024-01-16"}],
        chemotherapy=[{"time": "2024-01-15", "dose": 140, "units": "mg", "drug": "Temozolomide"}],
    )
    patient = read_patient(folder)
    fractions = [t.time for t in patient.treatments if isinstance(t, Fraction)]
    assert fractions == [datetime(2024, 1, 15), datetime(2024, 1, 15, 6), datetime(2024, 1, 16)]
    assert severities(patient, "at the time of another") == [Severity.ASSUMED]
    assert [t.drug for t in patient.treatments if isinstance(t, DrugDose)] == ["temozolomide"]


def test_times_with_offsets(folder: Path) -> None:
    change(folder, radiotherapy=None, chemotherapy=None)
    change_visit(folder, 0, time="2024-02-10T09:30:00+02:00")
    change_visit(folder, 1, time="2024-01-10T08:30:00Z")
    assert [v.date.hour for v in read_patient(folder).visits] == [10, 9]
    change_visit(folder, 1, time="2024-01-10T08:30:00")
    with pytest.raises(ReadError, match="give all times with an offset from UTC, or none"):
        read_patient(folder)


def test_no_single_image_ends_info(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = sorted((folder / "images").iterdir())
    for path in images:
        content = path.read_bytes()
        four = np.stack([box(2, 3, 2)] * 3, -1)
        for spoiled in (b"no image", nibabel.Nifti1Image(four, RAS).to_bytes(), None):
            path.unlink() if spoiled is None else path.write_bytes(spoiled)
            assert main(["info", str(folder)]) == 0, path
            shown = capsys.readouterr().out
            assert f"[left out] images/{path.name}: " in shown
            assert all(other.name in shown for other in images)
            with pytest.raises(ReadError, match=path.name):
                read_patient(folder)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patient": None}, "patient is missing"),
        ({"visits": []}, "visits is missing: list at least one"),
        ({"visits": [{"time": "tomorrow"}]}, r"visits\[0\].time is \"tomorrow\""),
        ({"T1_post": "{$image_dir}/none.nii.gz"}, "there is no file .*none.nii.gz; correct the path"),
        ({"T1_post": 3}, "T1_post is 3: give a text"),
        ({"radiotherapy": [{"time": "2024-01-15", "dose": 200, "units": "cGy"}]}, r"radiotherapy\[0\].dose is 200"),
        ({"radiotherapy": [{"time": "2024-01-15", "dose": 2, "units": "cGy"}]}, 'units is "cGy": give one of Gy'),
        ({"chemotherapy": [{"time": "2024-01-15", "dose": 2, "units": "g"}]}, "give one of mg, mg/m2, mg/kg"),
        ({"visits": [{"time": "2024-01-15", "images": {"T3": "{$image_dir}/pre.nii.gz"}}]}, "give one of T1, T1Gd"),
        ({"visits": [{"time": "2024-01-15", "roi_enhance": "{$image_dir}/pre.nii.gz"}]}, "no whole numbers"),
    ],
)
def test_impossible_fields_name_file_field_and_value(folder: Path, changes: dict, message: str) -> None:
    change(folder, **changes)
    with pytest.raises(ReadError, match=message):
        read_patient(folder)


@pytest.mark.parametrize("middle", [0.9, 0.02, 12.0, 35.0, 30_000.0, 2e7])
def test_a_map_without_a_possible_unit_costs_its_visit_the_density_and_the_remedy_works(
    folder: Path, middle: float
) -> None:
    values = np.random.default_rng(3).normal(middle, 0.05 * middle, SHAPE).astype(np.float32)
    save(folder / "images/adc0.nii.gz", values)
    patient = read_patient(folder)
    assert patient.visits[1].images[MRSequence.ADC].unit == "mm^2/s"
    kept = patient.visits[0].images[MRSequence.ADC]
    assert kept.unit == "1"
    assert {"enhancing", "edema"} <= set(patient.visits[0].masks)
    (finding,) = [f for f in patient.findings if f.severity is Severity.LEFT_OUT]
    assert finding.where == "images/adc0.nii.gz"
    assert f"median ADC {np.median(values) * 1e-6:.3g} mm^2/s" in finding.what
    assert "5e-05 to 0.006 mm^2/s" in finding.what
    assert "no cell density at this visit" in finding.action
    remedy = float(re.search(r"give adc_unit=(\S+)", finding.what)[1])
    for again in (read_patient(folder, adc_unit=remedy), read_patient(change(folder, adc_unit=remedy))):
        believed = again.visits[0].images[MRSequence.ADC]
        assert believed.unit == "mm^2/s"
        np.testing.assert_allclose(believed.array, remedy * values.T, rtol=1e-5)


def test_a_given_unit_is_obeyed_where_a_map_is_slow_and_not_where_it_is_faster_than_water(folder: Path) -> None:
    patient = read_patient(folder, adc_unit=1e-8)
    assert patient.visits[0].images[MRSequence.ADC].unit == "mm^2/s"
    assert severities(patient, "by your adc_unit") == [Severity.ASSUMED] * 2
    change(folder, adc_unit=1e-3)
    patient = read_patient(folder)
    assert {v.images[MRSequence.ADC].unit for v in patient.visits} == {"1"}
    assert severities(patient, "adc_unit in patient.json makes the median ADC 0.") == [Severity.LEFT_OUT] * 2


def test_a_map_that_is_mostly_dark_background_is_one(folder: Path) -> None:
    values = np.random.default_rng(3).uniform(1, 9, SHAPE).astype(np.float32)
    values[2:8, 3:9, 2:6] = 900
    save(folder / "images/adc0.nii.gz", values)
    patient = read_patient(folder)
    assert {v.images[MRSequence.ADC].unit for v in patient.visits} == {"mm^2/s"}
    assert not [f for f in patient.findings if f.severity is Severity.LEFT_OUT]


def test_a_relative_file_with_a_relative_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """{$image_dir} stands for the folder: what begins with it is not looked for within it again."""
    monkeypatch.chdir(tmp_path.parent)
    relative = Path(tmp_path.name) / "patient.json"
    assert len(read_patient(relative).visits) == 2
    change(folder, image_dir=None)
    assert len(read_patient(relative, image_dir=Path(tmp_path.name) / "images").visits) == 2


def nrrd(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.5, 1.5, 3))
    sitk.WriteImage(image, str(path))


def test_images_masks_labels_and_dose_in_nrrd_and_nifti(folder: Path) -> None:
    """Our own fields: any image, named masks, a label file, structures and a dose map."""
    rng = np.random.default_rng(1)
    for name in ("t1", "t2"):
        nrrd(folder / f"images/{name}.nrrd", rng.normal(300, 20, SHAPE[::-1]).astype(np.float32))
    save(folder / "images/adc.nii", rng.normal(0.9, 0.05, SHAPE).astype(np.float32))
    save(folder / "images/seg.nii.gz", box(2, 2, 2) + 2 * box(6, 6, 2) + 4 * box(9, 9, 2))
    save(folder / "images/ptv.nii.gz", box(1, 1, 1, size=5))
    save(folder / "images/dose.nii.gz", np.full(SHAPE, 60, np.float32))
    content = {
        "patient": "P-8",
        "image_dir": "images",
        "adc_unit": 1e-3,
        "visits": [
            {
                "time": "2024-01-10",
                "images": {"T1Gd": "t1.nrrd", "T2": "t2.nrrd", "ADC": "adc.nii"},
                "masks": {"GTV": "ptv.nii.gz"},
                "labels": {"file": "seg.nii.gz", "scheme": "brats 2021"},
            }
        ],
        "structures": {"PTV": "ptv.nii.gz"},
        "dose": {"file": "dose.nii.gz", "units": "Gy", "of": "course"},
        "plan": {"prescribed": 60, "fractions": 30},
        "radiotherapy": [{"time": f"2024-02-{d:02}T11:00", "dose": g, "units": "Gy"} for d, g in ((5, 2.0), (6, 1.0))],
    }
    write(folder, content)
    patient = read_patient(folder)
    (visit,) = patient.visits
    assert set(visit.images) == {MRSequence.T1GD, MRSequence.T2, MRSequence.ADC}
    assert np.median(visit.images[MRSequence.ADC].array) == pytest.approx(0.9e-3, rel=0.02)
    assert {n: int(m.array.sum()) for n, m in visit.masks.items()} == {
        "GTV": 125,
        "necrosis": 27,
        "edema": 27,
        "enhancing": 27,
    }
    assert set(patient.structures) == {"PTV"}
    assert patient.dose is not None
    assert patient.dose.array.max() == 60
    doses = [t.dose for t in patient.treatments if isinstance(t, Fraction)]
    assert [float(d.array.max()) for d in doses if isinstance(d, FractionDose)] == [2.0, 1.0]
    content["dose"] = {"file": "dose.nii.gz", "units": "Gy", "of": "fraction"}
    content["plan"] = {"prescribed": 1800, "fractions": 30}
    write(folder, content)
    with pytest.raises(ReadError, match=r"plan\.prescribed is 1800"):
        read_patient(folder)
    content["plan"] = {"fractions": 30, "start": "2024-02-05T09:00"}
    content["radiotherapy"] = []
    write(folder, content)
    again = read_patient(folder)
    assert again.dose is not None
    assert again.dose.array.max() == 1800
    assert len(again.treatments) == 30
    assert severities(again, "no records of delivery") == [Severity.ASSUMED]


def test_a_four_without_a_named_scheme_is_an_error(folder: Path) -> None:
    save(folder / "images/seg.nii.gz", box(2, 2, 2) + 4 * box(9, 9, 2))
    change_visit(folder, 0, labels={"file": "{$image_dir}/seg.nii.gz"})
    with pytest.raises(ReadError, match="name one of BraTS 2021, BraTS 2023, BraTS 2024"):
        read_patient(folder)
    assert "enhancing" in read_patient(folder, labels="BraTS 2021").visits[1].masks
    assert "resection cavity" in read_patient(folder, labels="BraTS 2024").visits[1].masks
    with pytest.raises(ReadError, match="holds the value 4, which the scheme 'BraTS 2023' does not know"):
        read_patient(folder, labels="BraTS 2023")
    change_visit(folder, 0, labels={"file": "{$image_dir}/seg.nii.gz", "scheme": "BraTS"})
    with pytest.raises(ReadError, match='scheme is "BraTS"'):
        read_patient(folder)
    change_visit(folder, 0, labels={"file": "{$image_dir}/seg.nii.gz", "table": {"1": "core", "4": "rim"}})
    assert {"core", "rim"} <= set(read_patient(folder).visits[1].masks)


def test_clinical_json_lies_beside_a_patient_file(folder: Path) -> None:
    clinical = {
        "schema": "tumortwin-clinical-1",
        "patient_id": "P-7",
        "weight_kg": 70,
        "surgery": [{"time": "2024-01-11", "kind": "biopsy"}],
    }
    (folder / "clinical.json").write_text(json.dumps(clinical))
    patient = read_patient(folder)
    assert patient.clinical.weight_kg == 70
    assert len(patient.treatments) == 4
    (folder / "clinical.json").write_text(json.dumps({**clinical, "patient_id": "P-9"}))
    with pytest.raises(ReadError, match="patient_id is not that of the images") as refused:
        read_patient(folder)
    said = [str(refused.value), *map(str, patient.findings), *(str(v.frame) for v in patient.visits[0].images.values())]
    assert not any("P-7" in text or "P-9" in text for text in said)


def test_visits_of_unlike_frames(folder: Path) -> None:
    assert [v.aligned for v in read_patient(folder).visits] == [True, True]
    change(folder, aligned=False, structures={"PTV": "{$image_dir}/enh0.nii.gz"})
    change_visit(folder, 0, planning=True)
    patient = read_patient(folder)
    assert [v.aligned for v in patient.visits] == [None, None]
    frames = [v.images[MRSequence.ADC].frame for v in patient.visits]
    assert frames[0] != frames[1]
    assert patient.structures["PTV"].frame == frames[1]


def test_a_patient_file_has_the_word_about_its_images(folder: Path) -> None:
    with pytest.raises(InputError, match="says itself what each image shows"):
        read_patient(folder, sequences={"*": MRSequence.T1})
    assert np.median(read_patient(folder, adc_unit=2e-6).visits[0].images[MRSequence.ADC].array) > 1.7e-3


def test_images_nobody_described(tmp_path: Path) -> None:
    save(tmp_path / "t1.nii.gz", np.ones(SHAPE, np.float32))
    with pytest.raises(ReadError, match=r"no DICOM but 1 image.*patient\.json"):
        read_patient(tmp_path)
    with pytest.raises(ReadError, match="is a file: give the patient's folder, or a patient file"):
        read_patient(tmp_path / "t1.nii.gz")
    with pytest.raises(ReadError, match="does not exist"):
        read_patient(tmp_path / "nothing")
