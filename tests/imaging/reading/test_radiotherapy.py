"""RTDOSE, RTPLAN and treatment records."""

from datetime import datetime

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RTBeamsTreatmentRecordStorage, RTDoseStorage, RTPlanStorage, generate_uid

from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.volume import Grid, TotalDose

PLAN = "1.2.840.1"


def new(sop_class, modality, **values):
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = sop_class, generate_uid(), modality
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = "P1", "1.2.9", generate_uid()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def item(**values):
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def dose(array, grid, offsets, position, **changes):
    bits = changes.pop("bits", 16)
    data = new(
        RTDoseStorage,
        "RTDOSE",
        FrameOfReferenceUID=grid.frame,
        DoseUnits="GY",
        DoseType="PHYSICAL",
        DoseSummationType="PLAN",
        DoseGridScaling="0.001",
        Rows=grid.shape[1],
        Columns=grid.shape[2],
        NumberOfFrames=grid.shape[0],
        GridFrameOffsetVector=list(offsets),
        ImagePositionPatient=list(position),
        ImageOrientationPatient=[
            float(v) for v in (*grid.affine[:3, 2] / grid.spacing[2], *grid.affine[:3, 1] / grid.spacing[1])
        ],
        PixelSpacing=list(grid.spacing[1:]),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
        ReferencedRTPlanSequence=[item(ReferencedSOPClassUID=RTPlanStorage, ReferencedSOPInstanceUID=PLAN)],
    )
    data.PixelData = array.astype(f"<u{bits // 8}").tobytes()
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    return data


@pytest.fixture
def grid():
    return Grid.regular((4, 5, 6), (3, 2.5, 2), (-10, -20, 30), "1.2.3")


@pytest.fixture
def counts(grid):
    return np.random.default_rng(0).integers(0, 60000, grid.shape)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("convention", ["relative", "absolute", "falling", "prone"])
def test_a_dose_lies_where_its_offsets_say(tmp_path, save_dicom, grid, counts, bits, convention):
    origin = grid.affine[:3, 3]
    offsets, position, stored = 3.0 * np.arange(4), origin, counts
    if convention == "absolute":
        offsets = origin[2] + offsets
    if convention == "falling":
        offsets, position, stored = -offsets, grid.to_world((3, 0, 0)), counts[::-1]
    if convention == "prone":  # rows and columns turned by 180 degrees: the normal still points to the head
        affine = np.array(grid.affine)
        affine[:3, 1:3] *= -1
        grid = Grid(grid.shape, affine, grid.frame)
    save_dicom(dose(stored, grid, offsets, position, bits=bits), tmp_path / "dose.dcm")
    study = read_folder(tmp_path, strict=True)
    (total,) = study.doses
    assert isinstance(total, TotalDose)
    assert total.grid.matches(grid, 1e-4)
    np.testing.assert_allclose(total.array, counts * 0.001, atol=1e-5)
    assert PLAN in total.source
    assert total.unit == "Gy"


def test_an_oblique_dose(tmp_path, save_dicom, counts):
    c, s = np.cos(0.3), np.sin(0.3)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [-s, c, 0], [c, s, 0]]) * (3, 2.5, 2)
    affine[:3, 3] = (5, 6, 7)
    oblique = Grid((4, 5, 6), affine, "1.2.3")
    save_dicom(dose(counts, oblique, 3.0 * np.arange(4), (5, 6, 7)), tmp_path / "dose.dcm")
    assert read_folder(tmp_path).doses[0].grid.matches(oblique, 1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DoseUnits": "RELATIVE"}, "dose units RELATIVE"),
        ({"DoseType": "EFFECTIVE"}, "dose type EFFECTIVE"),
        ({"DoseGridScaling": "0"}, "DoseGridScaling 0"),
        ({"GridFrameOffsetVector": [0, 3, 7, 9]}, "unevenly"),
        ({"GridFrameOffsetVector": [5, 8, 11, 14]}, "neither 0 nor"),
        ({"GridFrameOffsetVector": [0, 3]}, "without as many frame offsets"),
        ({"PixelData": b"\0" * 20}, "cannot be decoded"),
        ({"DoseSummationType": "BEAM"}, "not the dose of a plan"),
        ({"DoseSummationType": "FRACTION_SESSION"}, "not the dose of a plan"),
    ],
)
def test_what_is_no_total_dose_is_left_out(tmp_path, save_dicom, grid, counts, change, message):
    save_dicom(dose(counts, grid, 3.0 * np.arange(4), grid.affine[:3, 3], **change), tmp_path / "dose.dcm")
    study = read_folder(tmp_path)
    assert study.doses == ()
    assert any(message in f.what + f.action for f in study.findings if f.severity is Severity.LEFT_OUT)


def plan(**changes):
    data = new(
        RTPlanStorage,
        "RTPLAN",
        RTPlanLabel="GBM 60/30",
        RTPlanDate="20240205",
        RTPlanTime="0900",
        DoseReferenceSequence=[
            item(DoseReferenceType="TARGET", TargetPrescriptionDose="60"),
            item(DoseReferenceType="ORGAN_AT_RISK", TargetPrescriptionDose="99"),
        ],
        FractionGroupSequence=[item(FractionGroupNumber=1, NumberOfFractionsPlanned=30, NumberOfBeams=2)],
    )
    data.SOPInstanceUID = PLAN
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    return data


def test_a_plan(tmp_path, save_dicom):
    save_dicom(plan(), tmp_path / "plan.dcm")
    (record,) = read_folder(tmp_path, strict=True).plans
    assert (record.uid, record.label, record.prescribed, record.fractions) == (PLAN, "GBM 60/30", 60, 30)
    assert record.date == datetime(2024, 2, 5, 9)


def test_a_plan_that_says_little(tmp_path, save_dicom):
    save_dicom(plan(DoseReferenceSequence=[], FractionGroupSequence=[]), tmp_path / "plan.dcm")
    study = read_folder(tmp_path)
    assert (study.plans[0].prescribed, study.plans[0].fractions) == (None, None)
    assert len(study.findings) == 2


def test_beam_doses_are_added_when_all_are_there(tmp_path, save_dicom, grid, counts):
    save_dicom(plan(), tmp_path / "plan.dcm")
    place = (3.0 * np.arange(4), grid.affine[:3, 3])
    save_dicom(dose(counts, grid, *place, DoseSummationType="BEAM"), tmp_path / "1.dcm")
    assert read_folder(tmp_path).doses == ()
    save_dicom(dose(counts // 2, grid, *place, DoseSummationType="BEAM"), tmp_path / "2.dcm")
    study = read_folder(tmp_path)
    np.testing.assert_allclose(study.doses[0].array, (counts + counts // 2) * 0.001, atol=1e-4)
    assert "added up" in study.findings[-1].action


def record(day, fraction, beams, **changes):
    """beams: {number: (specified, delivered)}."""
    data = new(
        RTBeamsTreatmentRecordStorage,
        "RTRECORD",
        TreatmentDate=f"202402{day:02d}",
        TreatmentTime="1030",
        ReferencedRTPlanSequence=[item(ReferencedSOPInstanceUID=PLAN)],
        SeriesInstanceUID="1.2.88",
        TreatmentSessionBeamSequence=[
            item(
                ReferencedBeamNumber=n,
                CurrentFractionNumber=fraction,
                TreatmentDeliveryType="TREATMENT",
                TreatmentTerminationStatus="NORMAL" if given == planned else "MACHINE",
                SpecifiedPrimaryMeterset=planned,
                DeliveredPrimaryMeterset=given,
            )
            for n, (planned, given) in beams.items()
        ],
    )
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    return data


def test_fractions_as_delivered(tmp_path, save_dicom):
    setup = record(5, 1, {1: (5, 5)})
    setup.TreatmentSessionBeamSequence[0].TreatmentDeliveryType = "SETUP"
    whole = record(5, 1, {1: (100, 100), 2: (50, 50)})
    records = [
        whole,
        setup,
        record(6, 2, {1: (100, 100)}),
        record(6, 2, {2: (50, 50)}),  # a record a beam
        record(7, 3, {1: (100, 60)}),
        record(7, 3, {1: (100, 40)}),  # resumed the same day
        record(8, 4, {1: (100, 30)}),
        whole,
    ]
    for n, data in enumerate(records):
        save_dicom(data, tmp_path / f"{n}.dcm")
    study = read_folder(tmp_path)
    assert [(d.time.day, d.fraction, d.complete, round(d.delivered_share, 6)) for d in study.deliveries] == [
        (5, 1, True, 1),
        (6, 2, True, 1),
        (7, 3, True, 1),
        (8, 4, False, 0.3),
    ]
    assert {d.plan_uid for d in study.deliveries} == {PLAN}
    said = [f.what for f in study.findings]
    assert "30.0% of the meterset was delivered" in said
    assert "a second copy of a treatment record" in said


def test_a_treatment_that_cannot_be_read_is_not_lost_silently(tmp_path, save_dicom):
    save_dicom(record(5, 1, {1: (1, 1)}, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.9"), tmp_path / "ion.dcm")
    (finding,) = read_folder(tmp_path).findings
    assert finding.severity is Severity.LEFT_OUT
    assert "an ion treatment record" in finding.what


def test_a_record_without_a_date(tmp_path, save_dicom):
    save_dicom(record(5, 1, {1: (1, 1)}, TreatmentDate=""), tmp_path / "record.dcm")
    study = read_folder(tmp_path)
    assert study.deliveries == ()
    assert "no treatment date" in study.findings[0].what
