"""Values of any wrong type in patient files, clinical files and tables: an answer, or a message with file and field."""

import copy
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tumortwin.errors import ReadError
from tumortwin.patient import Patient, read_patient

AFFINE = np.diag([-1.5, 1.5, 3.0, 1.0])
SHAPE = (5, 4, 3)

PATIENT: dict[str, Any] = {
    "patient": "P",
    "image_dir": ".",
    "aligned": True,
    "adc_unit": 1e-6,
    "T1_post": "t1.nii",
    "brainmask": "mask.nii",
    "visits": [
        {"time": "2024-01-01T10:00", "adc": "adc.nii", "roi_enhance": "mask.nii", "planning": True},
        {
            "time": "2024-02-01T10:00",
            "images": {"T1": "t1.nii", "FLAIR": "flair.nii"},
            "masks": {"GTV": "mask.nii"},
            "labels": {"file": "mask.nii", "table": {"1": "core"}},
        },
        {
            "time": "2024-03-01T10:00",
            "labels": {"file": "mask.nii", "scheme": "BraTS 2021"},
            "images": {"T2": "t2.nii"},
        },
    ],
    "structures": {"PTV": "mask.nii"},
    "dose": {"file": "t1.nii", "units": "Gy", "of": "course"},
    "plan": {"prescribed": 60, "fractions": 30, "start": "2024-01-10"},
    "radiotherapy": [{"time": "2024-01-11", "dose": 2.0, "units": "Gy"}],
    "chemotherapy": [{"time": "2024-01-11", "dose": 140, "units": "mg", "drug": "temozolomide"}],
}
CLINICAL: dict[str, Any] = {
    "schema": "tumortwin-clinical-1",
    "patient_id": "P",
    "diagnosis": "glioblastoma",
    "weight_kg": 78.0,
    "height_m": 1.76,
    "age_years": 57,
    "mgmt_methylated": True,
    "idh_mutant": False,
    "identity_removed": True,
    "steroids": [{"from": "2024-01-02", "dexamethasone_mg_per_day": 8}],
    "surgery": [{"time": "2024-01-08T09:00", "kind": "biopsy"}],
    "drugs": [{"drug": "temozolomide", "amount": 75, "unit": "mg/m2", "times": ["2024-02-05T08:00"]}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("patient")
    rng = np.random.default_rng(0)
    for name in ("t1", "t2", "flair", "adc"):
        array = rng.normal(60 if name == "t1" else 900, 5, SHAPE).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), place / f"{name}.nii")
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 1:3, 1:2] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), place / "mask.nii")
    return place


def places(value: Any, way: tuple = ()) -> list[tuple]:
    """The way to every value below the top."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in below for place in [(*way, key), *places(inner, (*way, key))]]


TEXTS = st.sampled_from(
    ["", " ", "x", "..", "/", "mask.nii", "a\0b", "\ud800", "n" * 300, "0001-01-01", "9999-12-31T23:59:59",
     "2024-01-01T00:00+14:00", "0001-01-01T00:00:00+23:59", "2024-02-30", "1823-05-01", "NaN", "Gy", "-1", "1e400"]
)  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 2.5, 1e-300, 1e300, 10**400, float("nan"), float("inf"), -float("inf"), 200, 7500])
WRONG = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
REMOVED = object()


def changed(content: dict[str, Any], way: tuple, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(content)
    at: Any = made
    for key in way[:-1]:
        at = at[key]
    if value is REMOVED:
        del at[way[-1]]
    else:
        at[way[-1]] = value
    return made


def check(folder: Path, patient: dict[str, Any], clinical: dict[str, Any], file: str, way: tuple) -> None:
    (folder / "patient.json").write_text(json.dumps(patient))
    (folder / "clinical.json").write_text(json.dumps(clinical))
    try:
        answer = read_patient(folder)
    except ReadError as error:
        message = str(error)
        # an ID of the patient file may be found wrong where clinical.json is compared with it
        assert file in message or ".nii" in message or "clinical.json: patient_id" in message, message
        assert any(str(key) in message for key in way if not isinstance(key, int)), (message, way)
    else:
        assert isinstance(answer, Patient)


many = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_files_themselves_are_read(folder: Path) -> None:
    (folder / "patient.json").write_text(json.dumps(PATIENT))
    (folder / "clinical.json").write_text(json.dumps(CLINICAL))
    assert len(read_patient(folder).visits) == 3


@many
@given(st.sampled_from(places(PATIENT)), WRONG | st.just(REMOVED))
@example(("visits", 0, "time"), "0001-01-01T00:00:00")
@example(("plan", "start"), "9999-12-30")
def test_patient_json(folder: Path, way: tuple, value: Any) -> None:
    check(folder, changed(PATIENT, way, value), CLINICAL, "patient.json", way)


@many
@given(st.sampled_from(places(CLINICAL)), WRONG | st.just(REMOVED))
def test_clinical_json(folder: Path, way: tuple, value: Any) -> None:
    check(folder, PATIENT, changed(CLINICAL, way, value), "clinical.json", way)


@pytest.mark.parametrize(
    "top", ["[]", "null", "3", '"text"', "{", "", "\ud800".encode("utf-8", "surrogatepass"), "[" * 9999]
)
@pytest.mark.parametrize("name", ["patient.json", "clinical.json"])
def test_files_that_hold_something_else(folder: Path, name: str, top: str | bytes) -> None:
    (folder / "patient.json").write_text(json.dumps(PATIENT))
    (folder / "clinical.json").write_text(json.dumps(CLINICAL))
    (folder / name).write_bytes(top if isinstance(top, bytes) else top.encode())
    with pytest.raises(ReadError, match=name):
        read_patient(folder)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12) | TEXTS.filter(
    lambda text: "\ud800" not in text and "\0" not in text
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(cells, max_size=4), max_size=3), WRONG)
@example([["ses-a"]], None)
@example([["ses-a", "2024-01-01", "more", "and more"]], None)
@example([["ses-a", "0001-01-01"]], None)
def test_bids_tables_and_sidecars(tmp_path: Path, rows: list[list[str]], sidecar: Any) -> None:
    stem = tmp_path / "sub-1/ses-a/dwi/sub-1_ses-a_desc-ADC_dwimap"
    stem.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).normal(900, 5, SHAPE).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), f"{stem}.nii")
    stem.with_suffix(".json").write_text(json.dumps(sidecar if isinstance(sidecar, dict) else {"Units": sidecar}))
    lines = [["session_id", "acq_time"], *rows]
    text = "".join("\t".join(row) + "\n" for row in lines)
    (tmp_path / "sub-1/sub-1_sessions.tsv").write_text(text, encoding="utf-8")
    try:
        answer = read_patient(tmp_path)
    except ReadError as error:
        answer = error
    assert isinstance(answer, Patient) or "sub-1" in str(answer)
