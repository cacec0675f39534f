import dataclasses
import json
import subprocess
from pathlib import Path

import dcm2niix
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK

from tumortwin import archive
from tumortwin.errors import Cancelled, InputError, OutputExistsError
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.phantom.dicom import write_patient, write_truth
from tumortwin.phantom.mr import ADC_STEP
from tumortwin.phantom.synthetic import Encoding


def series_folders(written: Path) -> list[Path]:
    """Folders of MR series, in the order of the patient's visits and series."""
    return sorted(p for p in written.glob("[01]-*/[0-9]*"))


def all_series(patient):
    return [(visit, series) for visit in patient.visits for series in visit.series]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_validator_finds_no_error(written, dicom_errors):
    files = sorted(written.rglob("*.dcm"))
    # slices of a series differ in position only: the first and the last stand for all
    chosen = [p for p in files if p.stem.startswith(("SEG", "RT"))]
    chosen += [p for folder in series_folders(written) for p in {min(folder.iterdir()), max(folder.iterdir())}]
    assert len(chosen) >= 2 + 3 + 2 + 6 * 2 + 4
    assert {str(p): errors for p in chosen if (errors := dicom_errors(p))} == {}


def test_entities_are_the_same_in_all_files(written, entity_errors):
    assert entity_errors(sorted(written.rglob("*.dcm"))) == []


def test_signals_come_back_bit_by_bit_and_in_place(small_patient, written):
    for (_, series), folder in zip(all_series(small_patient), series_folders(written), strict=True):
        datasets = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda d: d.InstanceNumber)
        pixels = np.concatenate([np.atleast_3d(d.pixel_array.T).T for d in datasets])
        scale = 1 / ADC_STEP if series.sequence is MRSequence.ADC else None
        array = series.volume.array
        if scale is None:
            scale = 1023 / max(
                float(s.volume.array.max())
                for v, s in all_series(small_patient)
                if s.sequence is series.sequence and s.volume.frame == series.volume.frame
            )
        np.testing.assert_array_equal(pixels, np.rint(array * scale))
        if series.encoding is not Encoding.ENHANCED:
            for z, dataset in enumerate(datasets):
                np.testing.assert_allclose(dataset.ImagePositionPatient, series.volume.grid.to_world([z, 0, 0]))


def test_dcm2niix_agrees_on_geometry(small_patient, written, tmp_path):
    """All encodings; NIfTI's axes are RAS and its rows run the other way."""
    for (_, series), folder in zip(all_series(small_patient), series_folders(written), strict=True):
        out = tmp_path / folder.parent.name / folder.name
        out.mkdir(parents=True)
        subprocess.run([dcm2niix.bin, "-b", "n", "-f", "image", "-o", out, folder], check=True, capture_output=True)
        (path,) = out.glob("*.nii")
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, float)
        assert values.size == series.volume.array.size
        # compare values at the same world points, whatever the order of the axes
        index = np.argwhere(np.ones(series.volume.grid.shape, bool))
        ras = series.volume.grid.to_world(index) * (-1, -1, 1)
        back = nibabel.affines.apply_affine(np.linalg.inv(image.affine), ras)
        assert np.abs(back - np.rint(back)).max() < 0.01
        got = values[tuple(np.rint(back).astype(int).T)]
        expected = series.volume.array[tuple(index.T)]
        assert np.corrcoef(got, expected)[0, 1] > 0.9999


def test_simpleitk_reads_single_frames(small_patient, written):
    series, folder = all_series(small_patient)[0][1], series_folders(written)[0]
    image = SimpleITK.ReadImage([str(p) for p in sorted(folder.iterdir())])
    grid = series.volume.grid
    for index in [(0, 0, 0), (5, 7, 9), (11, 39, 35)]:
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index[::-1]), grid.to_world(index), atol=1e-6)


def test_headers_say_what_was_scanned_and_when(small_patient, written):
    for (visit, series), folder in zip(all_series(small_patient), series_folders(written), strict=True):
        first = pydicom.dcmread(min(folder.iterdir()))
        enhanced = series.encoding is Encoding.ENHANCED
        shared = first.SharedFunctionalGroupsSequence[0] if enhanced else first
        assert first.SeriesDescription == series.description
        assert first.StudyDate == visit.date.strftime("%Y%m%d")
        assert first.FrameOfReferenceUID == series.volume.frame
        assert first.PatientID == "TT-0009"
        assert str(first.PatientName) == "Phantom^TT-0009"
        assert (first.PatientAge, first.PatientWeight) == ("057Y", 78.0)
        assert "research use only" in first.StudyDescription
        assert (
            "ContrastBolusAgentSequence" if enhanced else "ContrastBolusAgent"
        ) in first or series.sequence is not MRSequence.T1GD
        assert (first.ImageType[0], "ADC" in first.ImageType) == (
            ("DERIVED", True) if series.sequence is MRSequence.ADC else ("ORIGINAL", False)
        )
        if series.sequence is MRSequence.ADC:
            meaning = shared.RealWorldValueMappingSequence[0]
            assert meaning.MeasurementUnitsCodeSequence[0].CodeValue == "mm2/s"
            assert meaning.RealWorldValueSlope == ADC_STEP
        if series.b_value is not None:
            assert first.DiffusionBValue == series.b_value
    syntaxes = {pydicom.dcmread(min(f.iterdir())).file_meta.TransferSyntaxUID.name for f in series_folders(written)}
    assert syntaxes == {"JPEG-LS Lossless Image Compression", "Explicit VR Little Endian", "RLE Lossless"}


def test_one_study_per_visit_and_one_record_per_fraction(small_patient, written):
    files = [pydicom.dcmread(p, stop_before_pixels=True) for p in written.rglob("*.dcm")]
    assert len({d.StudyInstanceUID for d in files}) == 2
    assert len({d.SOPInstanceUID for d in files}) == len(files)
    records = sorted((d for d in files if d.Modality == "RTRECORD"), key=lambda d: d.InstanceNumber)
    assert [(d.TreatmentDate, d.TreatmentTime) for d in records] == [("20240130", "140500"), ("20240131", "140500")]
    plan = next(d for d in files if d.Modality == "RTPLAN")
    assert {d.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID for d in records} == {plan.SOPInstanceUID}
    beam = records[1].TreatmentSessionBeamSequence[0]
    assert (beam.CurrentFractionNumber, beam.TreatmentTerminationStatus) == (2, "NORMAL")
    assert beam.DeliveredPrimaryMeterset == beam.SpecifiedPrimaryMeterset


def test_clinical_json_holds_what_dicom_does_not(written):
    clinical = json.loads((written / "clinical.json").read_text())
    assert clinical["schema"] == "tumortwin-clinical-1"
    assert clinical["patient_id"] == "TT-0009"
    assert clinical["surgery"] == [{"time": "2024-01-05T09:30:00", "kind": "biopsy"}]
    (drug,) = clinical["drugs"]
    assert (drug["drug"], drug["amount"], drug["unit"]) == ("temozolomide", 75.0, "mg/m2")
    assert drug["times"][0] == "2024-01-30T14:05:00"
    assert len(drug["times"]) == 3
    assert "McConnell" in (written.parent / "ANATOMY-NOTICE.txt").read_text()


def test_equal_patients_give_equal_bytes(small_patient, make_small, written, tmp_path):
    again = write_patient(make_small(3), tmp_path)
    assert contents(again) == contents(written)
    truths = [write_truth(patient, tmp_path / str(n)) for n, patient in enumerate([small_patient, make_small(3)])]
    assert contents(truths[0]) == contents(truths[1])


def test_another_patient_shares_no_identifier(make_small, written, tmp_path):
    def uids(folder: Path) -> set[str]:
        headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in folder.rglob("*.dcm")]
        return {str(uid) for d in headers for uid in (d.SOPInstanceUID, d.SeriesInstanceUID, d.StudyInstanceUID)}

    assert not uids(written) & uids(write_patient(make_small(4), tmp_path))


def test_truth_comes_back(small_patient, tmp_path):
    folder = write_truth(small_patient, tmp_path)
    assert folder == tmp_path / "truth" / "TT-0009"
    numbers = json.loads((folder / "truth.json").read_text())
    assert numbers["diffusivity"] == {"value": 0.12, "unit": "mm^2/day"}
    assert numbers["transforms"]["planning"] == np.eye(4).tolist()
    density = archive.load(folder / "density-day-0.npz", Volume)
    expected = small_patient.truth_arrays["density day 0"]
    np.testing.assert_allclose(density.array, expected.array, atol=5e-4)
    assert density.grid == expected.grid
    np.testing.assert_array_equal(
        archive.load(folder / "tumor.npz", Mask).array, small_patient.truth_arrays["tumor"].array
    )


def test_nothing_is_replaced_unasked_or_left_half_written(small_patient, tmp_path):
    def stop(done: int, total: int, what: str) -> None:
        if done == 2:
            raise Cancelled(what)

    with pytest.raises(Cancelled):
        write_patient(small_patient, tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []
    folder = write_patient(small_patient, tmp_path)
    with pytest.raises(OutputExistsError, match="--force"):
        write_patient(small_patient, tmp_path)
    (folder / "stale.dcm").write_bytes(b"")
    write_patient(small_patient, tmp_path, overwrite=True)
    assert not (folder / "stale.dcm").exists()
    (folder / "thesis.docx").write_text("mine")
    with pytest.raises(OutputExistsError, match="no phantom wrote"):
        write_patient(small_patient, tmp_path, overwrite=True)
    assert (folder / "thesis.docx").exists()


def test_a_patient_without_radiotherapy_is_written_and_an_unplanned_course_is_not(small_patient, tmp_path):
    scans = dataclasses.replace(small_patient, structures={}, dose=None, treatments=())
    assert not (write_patient(scans, tmp_path) / "rt").exists()
    with pytest.raises(InputError, match="structures"):
        write_patient(dataclasses.replace(small_patient, structures={}), tmp_path / "other")


def test_impossible_images_are_refused(small_patient, tmp_path):
    visit = small_patient.visits[0]
    adc = visit.series[3]
    for factor, message in [(-1, "finite and >= 0"), (10, "does not fit")]:
        series = dataclasses.replace(adc, volume=adc.volume.with_array(adc.volume.array * factor))
        patient = dataclasses.replace(small_patient, visits=(dataclasses.replace(visit, series=(series,), expert={}),))
        with pytest.raises(InputError, match=message):
            write_patient(patient, tmp_path)
