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


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("convention", ["relative", "absolute", "falling", "prone"])
def test_a_dose_lies_where_its_offsets_say(tmp_path, save_dicom, grid, counts, bits, convention):
    counts = counts % 2**bits
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
        ({"GridFrameOffsetVector": [0, 3, 2, 9]}, "neither rise nor fall"),
        ({"GridFrameOffsetVector": [0, 3, 3, 9]}, "neither rise nor fall"),
        ({"PixelRepresentation": 1}, "negative in places"),
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


GROUPS = [
    item(
        FractionGroupNumber=1,
        NumberOfFractionsPlanned=23,
        NumberOfBeams=2,
        ReferencedBeamSequence=[item(ReferencedBeamNumber=1), item(ReferencedBeamNumber=2)],
    ),
    item(
        FractionGroupNumber=2,
        NumberOfFractionsPlanned=7,
        NumberOfBeams=1,
        ReferencedBeamSequence=[item(ReferencedBeamNumber=3)],
    ),
]


def part(counts, grid, summation, group=None, beams=(), plan_uid=PLAN):
    beams = [item(ReferencedBeamNumber=b) for b in beams]
    groups = [] if group is None else [item(ReferencedFractionGroupNumber=group, ReferencedBeamSequence=beams)]
    plans = [item(ReferencedSOPInstanceUID=plan_uid, ReferencedFractionGroupSequence=groups)]
    return dose(
        counts,
        grid,
        3.0 * np.arange(len(counts)),
        grid.affine[:3, 3],
        DoseSummationType=summation,
        ReferencedRTPlanSequence=plans,
    )


@pytest.mark.parametrize(
    ("pieces", "weights"),
    [
        ([("FRACTION", 1, ()), ("FRACTION", 2, ())], (1, 1)),
        ([("FRACTION_SESSION", 2, ()), ("FRACTION_SESSION", 1, ())], (7, 23)),
        ([("BEAM", 1, (1, 2)), ("BEAM", 2, (3,))], (1, 1)),
        ([("BEAM_SESSION", 1, (1,)), ("BEAM_SESSION", 1, (2,)), ("BEAM_SESSION", 2, (3,))], (23, 23, 7)),
        ([("FRACTION", 1, ()), ("FRACTION", 1, ())], None),  # one group twice is not the plan
        ([("FRACTION", 1, ())], None),
        ([("BEAM", 1, (1,)), ("BEAM", 1, (1, 2)), ("BEAM", 2, (3,))], None),
        ([("BEAM", 1, (1,)), ("BEAM", 1, (2,))], None),
        ([("FRACTION_SESSION", None, ()), ("FRACTION_SESSION", None, ())], None),
    ],
)
def test_parts_that_make_the_whole_plan_are_added_and_others_are_not(
    tmp_path, save_dicom, grid, counts, pieces, weights
):
    save_dicom(plan(FractionGroupSequence=GROUPS, DoseReferenceSequence=[]), tmp_path / "plan.dcm")
    arrays = [counts // (k + 2) for k in range(len(pieces))]
    for k, ((summation, group, beams), array) in enumerate(zip(pieces, arrays, strict=True)):
        save_dicom(part(array, grid, summation, group, beams), tmp_path / f"{k}.dcm")
    study = read_folder(tmp_path)
    if weights is None:
        assert study.doses == ()
        assert any("not the dose of a plan" in f.action for f in study.findings)
    else:
        expected = sum(w * a for w, a in zip(weights, arrays, strict=True)) * 0.001
        np.testing.assert_allclose(study.doses[0].array, expected, rtol=1e-6)
        assert any("added up" in f.action for f in study.findings)


def test_parts_on_unlike_grids_are_brought_together(tmp_path, save_dicom, grid):
    save_dicom(plan(FractionGroupSequence=GROUPS, DoseReferenceSequence=[]), tmp_path / "plan.dcm")
    fine = Grid.regular((7, 9, 11), (1.5, 1.25, 1), (-10, -20, 30), grid.frame)
    z, y, x = np.indices(grid.shape)
    save_dicom(part(1000 * (1 + x + y + z), grid, "FRACTION", 1), tmp_path / "1.dcm")
    small = np.full(fine.shape, 5000)
    data = dose(small, fine, 1.5 * np.arange(7), fine.affine[:3, 3], DoseSummationType="FRACTION")
    data.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence = [item(ReferencedFractionGroupNumber=2)]
    save_dicom(data, tmp_path / "2.dcm")
    study = read_folder(tmp_path)
    assert study.doses[0].grid.matches(fine)
    z, y, x = np.indices(fine.shape) / 2
    np.testing.assert_allclose(study.doses[0].array, 6 + x + y + z, rtol=1e-5)
    assert any("unlike grids" in f.what for f in study.findings)


def test_uneven_planes_are_interpolated(tmp_path, save_dicom, grid):
    offsets = np.array([0, 3.0, 7.5, 9])
    linear = np.round(1000 * (10 + offsets))[:, None, None] * np.ones(grid.shape)
    save_dicom(dose(linear.astype(int), grid, offsets, grid.affine[:3, 3]), tmp_path / "dose.dcm")
    study = read_folder(tmp_path)
    (total,) = study.doses
    assert total.grid.shape == (7, 5, 6)
    np.testing.assert_allclose(
        total.array[:, 0, 0], 10 + total.grid.to_world([(k, 0, 0) for k in range(7)])[:, 2] - 30, atol=1e-3
    )
    assert [f.severity for f in study.findings] == [Severity.REPAIRED]


def test_a_dose_of_one_fraction_that_says_it_is_the_plans(tmp_path, save_dicom, grid):
    save_dicom(plan(), tmp_path / "plan.dcm")
    flat = np.full(grid.shape, 2100)
    save_dicom(part(flat, grid, "PLAN"), tmp_path / "dose.dcm")
    study = read_folder(tmp_path)
    np.testing.assert_allclose(study.doses[0].array, 63, rtol=1e-6)
    assert [(f.action, f.severity) for f in study.findings] == [("taken 30 times", Severity.ASSUMED)]
    save_dicom(part(flat * 10, grid, "PLAN"), tmp_path / "dose.dcm")
    study = read_folder(tmp_path)
    np.testing.assert_allclose(study.doses[0].array, 21, rtol=1e-6)
    assert "the highest dose is 21 Gy, 60 Gy are prescribed" in study.findings[0].what
    save_dicom(part(flat * 29, grid, "PLAN"), tmp_path / "dose.dcm")
    assert read_folder(tmp_path, strict=True).doses[0].array.max() == pytest.approx(60.9)


@pytest.mark.parametrize("change", [{"PlanIntent": "VERIFICATION"}, {"ApprovalStatus": "REJECTED"}])
def test_nobody_is_treated_by_a_rejected_or_verification_plan(tmp_path, save_dicom, grid, counts, change):
    save_dicom(plan(**change), tmp_path / "plan.dcm")
    save_dicom(part(counts, grid, "PLAN"), tmp_path / "dose.dcm")
    study = read_folder(tmp_path)
    assert study.plans == study.doses == ()
    assert [f.severity for f in study.findings] == [Severity.LEFT_OUT] * 2


@pytest.mark.parametrize(
    ("references", "group", "prescribed"),
    [
        (
            [],
            {"ReferencedDoseReferenceSequence": [item(ReferencedDoseReferenceNumber=1, TargetPrescriptionDose="54")]},
            54,
        ),
        (
            [item(DoseReferenceNumber=1, DoseReferenceType="ORGAN_AT_RISK")],
            {
                "ReferencedDoseReferenceSequence": [item(ReferencedDoseReferenceNumber=1, TargetPrescriptionDose="54")],
                "ReferencedBeamSequence": [
                    item(ReferencedBeamNumber=1, BeamDose="1.2"),
                    item(ReferencedBeamNumber=2, BeamDose="0.8"),
                ],
            },
            60,
        ),
        (
            [],
            {"ReferencedBeamSequence": [item(ReferencedBeamNumber=1, BeamDose="1.2"), item(ReferencedBeamNumber=2)]},
            None,
        ),
    ],
)
def test_where_a_prescription_may_stand(tmp_path, save_dicom, references, group, prescribed):
    groups = [item(FractionGroupNumber=1, NumberOfFractionsPlanned=30, NumberOfBeams=2, **group)]
    save_dicom(plan(DoseReferenceSequence=references, FractionGroupSequence=groups), tmp_path / "plan.dcm")
    assert read_folder(tmp_path).plans[0].prescribed == prescribed


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
