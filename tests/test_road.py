"""The whole road on the shipped patient, against its truth, which only this test reads."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
import plastimatch
import pydicom
import pytest
import SimpleITK
from pydicom.sr.codedict import codes

import tumortwin as tt
from tumortwin.board import DicomExport
from tumortwin.errors import InputError, OutputExistsError
from tumortwin.imaging.deidentification import deidentify
from tumortwin.road import RoadResult, RunOptions, StageError, run
from tumortwin.road.stages import calibration_visits

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def road(finished_run, sample, tmp_path_factory) -> tuple[RoadResult, dict]:
    """The finished run in a folder that these tests may change."""
    out = shutil.copytree(finished_run.folder, tmp_path_factory.mktemp("road") / "demo")
    files = tuple(out / path.relative_to(finished_run.folder) for path in finished_run.result.files)
    result = replace(finished_run.result, files=files)
    return result, {"out": out, "sample": sample}


def test_every_promised_file_is_there_and_not_empty(road):
    result, made = road
    names = {p.name for p in result.files}
    assert {"board.pdf", "board.html", "quality.pdf", "twin.json", "forecast.csv"} <= names
    assert sum(p.suffix == ".png" for p in result.files) >= 6
    assert all(p.stat().st_size > 500 for p in result.files)
    assert not result.left_out
    assert not [p for p in made["out"].rglob("*") if p.name.startswith(".")]


def test_the_record_has_units_intervals_sources_hashes_and_versions(road):
    _, made = road
    record = json.loads((made["out"] / "twin.json").read_text())
    for estimate in record["parameters"]:
        assert estimate["unit"]
        assert estimate["source"]
        if estimate["known_from"] != "fixed":
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert len(record["inputs"]["files"]) > 500
    assert all(len(digest) == 64 for digest in record["inputs"]["files"].values())
    assert "tumortwin" in record["versions"]


def test_the_forecast_table_is_ordered_within_its_band(road):
    _, made = road
    with (made["out"] / "forecast.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["quantity"] for row in rows} >= {"whole", "core"}
    for row in rows:
        assert 0 <= float(row["p05_ml"]) <= float(row["median_ml"]) <= float(row["p95_ml"])


def test_a_rerun_goes_on_from_what_is_there(road, sample):
    _, made = road
    out = made["out"]
    (out / "board.pdf").unlink()
    before = (out / "stages" / "calibration.npz").stat().st_mtime_ns
    lines: list[str] = []
    run(sample, out, announce=lines.append)
    assert (out / "board.pdf").exists()
    assert (out / "stages" / "calibration.npz").stat().st_mtime_ns == before
    assert any("taken from" in line for line in lines)


def test_other_options_do_not_replace_results_unasked(road, sample):
    _, made = road
    with pytest.raises(OutputExistsError, match=r"seed was 0, is now 99.*--force"):
        run(sample, made["out"], RunOptions(seed=99))


@pytest.fixture
def one_visit(finished_run, sample, tmp_path, monkeypatch) -> Callable[..., Path]:
    """``one_visit(*more, **changes)``: a folder with the planning visit and more, whose twin need not be built."""

    def folder(*more: str, **changes: Any) -> Path:
        twin = tt.Twin.load(finished_run.stage("twin"))
        alone = replace(twin, observations=(replace(twin.observations[1], visit=0),), **changes)
        monkeypatch.setattr("tumortwin.road.stages.build_twin", lambda patient, **options: alone)
        for name in ("1-planning", *more):
            shutil.copytree(sample / name, tmp_path / "one" / name)
        return tmp_path / "one"

    return folder


def test_one_visit_without_radiotherapy_gives_what_can_be_built(one_visit, tmp_path):
    without = {"irradiations": (), "administrations": (), "structures": {}, "dose": None}
    result = run(one_visit(**without), tmp_path / "out")
    assert any("at least two visits" in line for line in result.left_out)
    assert {"board.pdf", "board.html", "quality.pdf", "twin.json"} <= {p.name for p in result.files}


def test_one_visit_with_radiotherapy_shows_the_given_dose(one_visit, tmp_path):
    run(one_visit("rt"), tmp_path / "out")
    data = json.loads((tmp_path / "out" / "twin.json").read_text(encoding="utf-8"))
    assert data["schedules"] == []
    limits = {row["organ"]: row["limit"] for row in data["given_dose"]}
    assert (limits["brain"], limits["brainstem"]) == (72.0, 54.0)
    assert data["limit_set"] == "QUANTEC 2010"
    assert not any("dose" in line for line in data["left_out"])


def test_a_stage_that_fails_names_itself(tmp_path):
    with pytest.raises(StageError, match="read the patient"):
        run(tmp_path / "nowhere", tmp_path / "out")


HELD_OUT = [(6, None, 4), (3, None, 2), (2, None, 2), (1, None, 1), (6, 5, 5)]


@pytest.mark.parametrize(("available", "asked", "used"), HELD_OUT)
def test_which_visits_are_held_out(available, asked, used):
    assert (
        calibration_visits(SimpleNamespace(observations=[SimpleNamespace(visit=i) for i in range(available)]), asked)
        == used
    )


def test_the_first_visits_are_counted_whether_or_not_they_show_a_tumor():
    twin = SimpleNamespace(observations=[SimpleNamespace(visit=visit) for visit in (0, 2, 3, 5)])
    assert [calibration_visits(twin, first) for first in (2, 3, 4, 6)] == [1, 2, 3, 4]


KEY = b"sixteen bytes and more of a secret"


def dicom(made: dict, name: str) -> list[Path]:
    """Files of the DICOM folder by the beginning of their name, by name (and so by date)."""
    return sorted((made["out"] / "dicom").glob(f"{name}*.dcm"))


def segments(path: Path, like: highdicom.Volume) -> dict[str, np.ndarray]:
    """What highdicom reads of a Segmentation, on a geometry."""
    seg = highdicom.seg.segread(path)
    array = seg.get_volume().match_geometry(like).array > 0
    return {s.SegmentLabel: array[..., n] for n, s in enumerate(seg.SegmentSequence)}


@pytest.fixture(scope="module")
def planned_on(road, sample) -> highdicom.Volume:
    """The reference scan's T1Gd as highdicom sees it."""
    frame = tt.Twin.load(road[1]["out"] / "stages" / "twin.npz").domain.grid.frame
    files = [pydicom.dcmread(path) for path in sorted((sample / "1-planning").glob("*gd/*.dcm"))]
    assert files[0].FrameOfReferenceUID == frame
    return highdicom.get_volume_from_series(files)


def test_validators_find_no_error_in_the_dicom_results(road, sample, dicom_errors, entity_errors):
    _, made = road
    files = dicom(made, "")
    assert len(files) >= 2 * 6 + 2 * 2 + 1 + 2 + 1 + 6
    assert {path.name: errors for path in files if (errors := dicom_errors(path))} == {}
    assert entity_errors([*files, *sorted(sample.rglob("*.dcm"))]) == []
    for path in files:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert header.PatientID == "TT-0001"
        assert "research use only" in header.SeriesDescription


def test_the_predicted_density_is_the_forecasts(road):
    _, made = road
    forecast = tt.Forecast.load(made["out"] / "stages" / "forecast.npz")
    files = dicom(made, "forecast-density")
    assert len(files) == len(forecast.fields)
    for path, field in zip(files, forecast.fields, strict=True):
        grid = highdicom.Volume(
            np.zeros(forecast.grid.shape), forecast.grid.affine, "PATIENT", frame_of_reference_uid=forecast.grid.frame
        )
        read = highdicom.pm.ParametricMap.from_dataset(pydicom.dcmread(path)).get_volume().match_geometry(grid)
        np.testing.assert_array_equal(read.array, field.density)
        np.testing.assert_allclose(read.affine, forecast.grid.affine, atol=1e-6)


def test_predicted_contours_are_where_tumor_is_likely(road, planned_on, tmp_path):
    """As Segmentation through highdicom, as Structure Set through plastimatch."""
    _, made = road
    forecast = tt.Forecast.load(made["out"] / "stages" / "forecast.npz")
    drawn = segments(dicom(made, "forecast-contours")[-1], planned_on)
    voxel = float(np.prod(planned_on.spacing)) / 1000
    for quantity, name in (("whole", "whole tumor"), ("core", "tumor core")):
        probability = forecast.fields[-1].probability[quantity]  # of some samples: many voxels are at one half
        least, most = (
            np.sum(inside) * forecast.grid.voxel_volume / 1000 for inside in (probability > 0.5, probability >= 0.5)
        )
        assert 0.97 * least <= (drawn[name].sum() * voxel if name in drawn else 0) <= 1.03 * most
    assert "whole tumor" in drawn
    program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    (tmp_path / "images").mkdir()
    for path in (made["sample"] / "1-planning").glob("*gd/*.dcm"):  # plastimatch does not read JPEG-LS
        image = pydicom.dcmread(path)
        image.decompress(generate_instance_uid=False)
        image.save_as(tmp_path / "images" / path.name)
    subprocess.run(
        [
            program,
            "convert",
            "--input",
            dicom(made, "structures")[0],
            "--referenced-ct",
            tmp_path / "images",
            "--output-prefix",
            tmp_path / "out",
            "--prefix-format",
            "nrrd",
        ],
        check=True,
        capture_output=True,
    )
    for name, array in drawn.items():
        (path,) = (tmp_path / "out").glob(f"forecast*{name.replace(' ', '?')}*.nrrd")
        read = SimpleITK.ReadImage(str(path))
        got = SimpleITK.GetArrayFromImage(read) > 0
        got = got if np.allclose(read.GetOrigin(), planned_on.affine[:3, 3], atol=0.01) else got[::-1]
        assert 2 * np.sum(got & array) / (got.sum() + array.sum()) >= 0.999


def test_found_schedules_can_be_planned_with(road, planned_on, tmp_path):
    _, made = road
    structures = pydicom.dcmread(dicom(made, "structures")[0])
    rois = {roi.ROINumber: roi.ROIName for roi in structures.StructureSetROISequence}
    patient = tt.read_patient(made["sample"])
    inside = patient.structures["PTV"].array
    program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    plans = dicom(made, "plan-")
    assert plans
    for path, at in zip(plans, dicom(made, "dose-"), strict=True):
        plan, dose = pydicom.dcmread(path), pydicom.dcmread(at)
        assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID
        assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
        goal = plan.DoseReferenceSequence[0]
        assert rois[goal.ReferencedROINumber] == "PTV"
        subprocess.run(
            [program, "convert", "--input-dose-img", at, "--output-dose-img", tmp_path / "dose.nrrd"],
            check=True,
            capture_output=True,
        )
        image = SimpleITK.ReadImage(str(tmp_path / "dose.nrrd"))
        points = patient.structures["PTV"].grid.to_world(np.argwhere(inside)).tolist()
        values = [image.EvaluateAtContinuousIndex(image.TransformPhysicalPointToContinuousIndex(p)) for p in points]
        # the prescription point is the median dose of the target, shares of voxels counted
        assert np.median(values) == pytest.approx(float(goal.TargetPrescriptionDose), rel=0.01)


def test_measurement_reports_agree_with_their_segments(road):
    _, made = road
    files = list(zip(dicom(made, "measurements"), dicom(made, "tumor"), strict=True))
    assert len(files) == 6
    for report, drawn in files:
        seg = highdicom.seg.segread(drawn)
        content = highdicom.sr.srread(report).content
        for group in content.get_volumetric_roi_measurement_groups():
            segment = group.referenced_segment
            assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
            read = seg.get_volume(segment_numbers=segment.referenced_segment_numbers, combine_segments=True)
            (volume,) = group.get_measurements(codes.SCT.Volume)
            counted = np.sum(read.array > 0) * np.prod(read.spacing) / 1000
            assert volume.value == pytest.approx(counted, abs=0.002)
        for group in content.get_image_measurement_groups():
            (long,), (across,) = (group.get_measurements(c) for c in (codes.SCT.LongAxis, codes.SCT.PerpendicularAxis))
            assert long.value >= across.value > 0


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext: apt install poppler-utils")
def test_the_page_is_in_the_study(road):
    _, made = road
    document = pydicom.dcmread(dicom(made, "board")[0]).EncapsulatedDocument
    text = subprocess.run(["pdftotext", "-", "-"], input=document, capture_output=True, check=True).stdout.decode()
    assert "TT-0001" in text
    assert "Research use only" in text


@pytest.fixture(scope="module")
def exported(road, tmp_path_factory) -> tuple[DicomExport, DicomExport]:
    """Twice what a user exports without saying whose it is."""
    _, made = road
    stages = made["out"] / "stages"
    patient = tt.read_patient(made["sample"])
    forecast, front = tt.Forecast.load(stages / "forecast.npz"), tt.PlanFront.load(stages / "plan.npz")
    report = tt.BoardReport.from_plan(front, forecast=forecast, patient=patient)
    results = {"forecast": forecast, "front": front, "report": report}
    twin = tt.Twin.load(stages / "twin.npz")
    one, two = (
        tt.export_dicom(patient, twin, made["sample"], tmp_path_factory.mktemp("export"), key=KEY, **results)
        for _ in range(2)
    )
    return one, two


def test_without_asking_results_are_of_nobody(road, exported, dicom_errors):
    _, made = road
    source = [pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(made["sample"].rglob("*.dcm"))]
    known = {str(h[k].value) for h in source for k in ("StudyInstanceUID", "FrameOfReferenceUID") if k in h}
    known |= {h.StudyDate for h in source} | {"TT-0001", "Phantom"}
    known |= {f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in known if len(d) == 8}
    export, _ = exported
    assert not export.left_out
    assert len({pydicom.dcmread(path).PatientID for path in export.files}) == 1
    for path in export.files:
        assert dicom_errors(path) == []
        content = path.name.encode() + path.read_bytes()
        if path.stem == "board":
            document = pydicom.dcmread(path).EncapsulatedDocument
            content += subprocess.run(["pdftotext", "-", "-"], input=document, capture_output=True, check=True).stdout
        assert [text for text in known if text.encode() in content] == [], path.name


def test_references_lead_to_the_images_that_are_deidentified_with_the_same_key(road, exported, entity_errors, tmp_path):
    _, made = road
    deidentify(made["sample"], tmp_path / "images", key=KEY)
    assert entity_errors([*exported[0].files, *sorted((tmp_path / "images").rglob("*.dcm"))]) == []


def test_equal_results_give_equal_bytes(exported):
    one, two = ({path.name: path.read_bytes() for path in export.files} for export in exported)
    assert one == two


def test_what_cannot_be_exported_is_said(road, tmp_path):
    _, made = road
    patient = tt.read_patient(made["sample"])
    twin = tt.Twin.load(made["out"] / "stages" / "twin.npz")
    with pytest.raises(InputError, match="identity is one of 'source', 'removed', not 'hidden'"):
        tt.export_dicom(patient, twin, made["sample"], tmp_path, identity="hidden")
    one_visit = made["sample"] / "1-planning"
    export = tt.export_dicom(patient, twin, one_visit, tmp_path / "out", identity="source")
    assert len(export.left_out) == 5
    assert "holds no series" in export.left_out[0]
    assert [path.name.split("-")[0] for path in export.files] == ["tumor", "measurements"]
    with pytest.raises(OutputExistsError):
        tt.export_dicom(patient, twin, one_visit, tmp_path / "out", identity="source")
