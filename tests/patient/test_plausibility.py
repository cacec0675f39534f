"""What a record says and cannot be is an error; what hardly can be is a finding with file, field, value and remedy."""

import json
import shutil
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.plan import PlanRecord
from tumortwin.imaging.study import Study
from tumortwin.imaging.volume import FractionDose, Grid
from tumortwin.patient import Clinical, Visit, patient_of, read_patient
from tumortwin.patient.plausibility import check_record
from tumortwin.therapy import Biopsy, DoseUnit, DrugDose, Fraction, Resection, Schedule, weekday_times

FIRST, LAST, TODAY = datetime(2024, 1, 10), datetime(2024, 9, 10), date(2025, 3, 1)
VISITS = (Visit(FIRST, {}), Visit(LAST, {}))
START = datetime(2024, 2, 5, 11)


def check(*treatments, clinical=Clinical(), **more) -> list[Finding]:  # noqa: B008
    return check_record(VISITS, treatments, clinical, **{"today": TODAY, **more})


def temozolomide(amount: float = 75, time: datetime = START) -> DrugDose:
    return DrugDose(time, "temozolomide", amount, DoseUnit.MG_PER_M2, "clinical.json, drugs[0]")


def course(dose: float, number: int) -> list[Fraction]:
    return [Fraction(t, dose, "patient.json, radiotherapy") for t in weekday_times(START, number)]


def test_an_ordinary_record_passes() -> None:
    clinical = Clinical(78.0, 1.76, 57, steroids=((FIRST, 8.0), (LAST, 0.0)))
    treatments = [
        Biopsy(FIRST - timedelta(days=20)),
        Resection(FIRST + timedelta(days=10)),
        *course(2.0, 30),
        *(temozolomide(time=START + timedelta(days=k)) for k in range(40)),
    ]
    assert check(*treatments, clinical=clinical, born=date(1966, 5, 1)) == []
    assert check_record((), treatments, clinical) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([temozolomide(7500)], ("drugs[0].amount", "7500 mg/m2 of temozolomide", "50 to 200 mg/m2", "number and unit")),
        ([Resection(datetime(1923, 1, 5), source="clinical.json, surgery[1]")],
         ("surgery[1]", "1923-01-05, 101 years before the first scan", "within 10 years", "correct the date")),
        ([temozolomide(time=datetime(2044, 1, 1))], None),
        ([temozolomide(time=datetime(2025, 6, 1))], ("drugs[0]", "2025-06-01 is still to come", "planned")),
        (course(60.0, 1), ("radiotherapy", "fraction of 60 Gy", "1.2 to 8 Gy", "cGy")),
        (course(0.02, 30), ("radiotherapy", "fraction of 0.02 Gy", "1.2 to 8 Gy", "Gy, not cGy")),
        (course(1.2, 90), ("radiotherapy", "90 fractions", "up to 75", "twice")),
        (course(4.0, 30), ("radiotherapy", "120 Gy in all", "20 to 81 Gy", "unit")),
    ],
)  # fmt: skip
def test_what_hardly_can_be_is_said(given: list, words: tuple[str, ...] | None) -> None:
    if words is None:
        with pytest.raises(ReadError, match="has not been yet"):
            check(*given)
        return
    findings = [f for f in check(*given) if all(w in str(f) for w in words[:2])]
    assert len(findings) == 1
    assert findings[0].severity is Severity.ASSUMED
    for word in words:
        assert word in str(findings[0])


@pytest.mark.parametrize(
    ("clinical", "field", "usual"),
    [
        (Clinical(78.0, 0.6, 57), "weight_kg and height_m", "10 to 70 kg/m2"),
        (Clinical(6.9, None, 57), "weight_kg", "adults have 30 to 250 kg"),
        (Clinical(None, 0.9, None), "height_m", "adults have 1.2 to 2.2 m"),
        (Clinical(age_years=104), "age_years", "0 to 100 years"),
        (Clinical(steroids=((FIRST, 160.0),)), "steroids", "2 to 16 mg"),
    ],
)
def test_sizes(clinical: Clinical, field: str, usual: str) -> None:
    assert any(f.where == f"clinical.json, {field}" and usual in f.action for f in check(clinical=clinical))
    assert all(f.severity is Severity.ASSUMED for f in check(clinical=clinical))


def test_a_child_may_be_small() -> None:
    assert check(clinical=Clinical(14.0, 0.95, 3)) == []


@pytest.mark.parametrize("what", [Resection, Biopsy])
def test_what_is_done_lies_before_today(what: type) -> None:
    with pytest.raises(ReadError, match=r"clinical.json, surgery\[0\]: .* on 2025-03-02 has not been yet: correct"):
        check(what(datetime(2025, 3, 2), source="clinical.json, surgery[0]"))


@pytest.mark.parametrize(
    ("born", "clinical", "whence"),
    [
        (date(1966, 5, 1), Clinical(), "PatientBirthDate"),
        (None, Clinical(age_years=57), "age_years in clinical.json"),
    ],
)
def test_nothing_happens_before_birth(born: date | None, clinical: Clinical, whence: str) -> None:
    surgery = Resection(datetime(1923, 1, 5), source="clinical.json, surgery[0]")
    with pytest.raises(ReadError, match=rf"surgery\[0\]: a resection on 1923-01-05 is before .* born \({whence}"):
        check(surgery, clinical=clinical, born=born)


def test_nobody_is_older_than_the_oldest() -> None:
    with pytest.raises(ReadError, match="nobody is older than 130 years"):
        check(Resection(datetime(1823, 1, 5)))


def test_dummy_birth_dates_and_shifted_clocks_are_said() -> None:
    (dummy,) = check(course(2.0, 1)[0], born=date(2024, 6, 1))
    assert "dummy" in dummy.action
    later = [replace(v, date=v.date + timedelta(days=36_500)) for v in VISITS]
    treatments = [Resection(FIRST + timedelta(days=36_505))]
    (shifted,) = check_record(later, treatments, Clinical(), today=TODAY)
    assert "shifted" in shifted.action


def test_a_map_counts_by_its_highest_dose() -> None:
    array = np.zeros((2, 2, 2), np.float32)
    array[1, 1, 1] = 30
    fraction = FractionDose(array, Grid.regular((2, 2, 2)))
    assert any("fraction of 30 Gy" in f.what for f in check(Fraction(START, fraction, "1.2.3")))


def test_a_plan_in_cgy_dates_no_fraction() -> None:
    plan = PlanRecord("p1", "60 Gy / 30", 6000.0, 30, START)
    patient = patient_of(Study("folder", ("P",), (), plans=(plan,)))
    (finding,) = [f for f in patient.findings if f.severity is Severity.LEFT_OUT]
    assert "200 Gy a fraction" in finding.what
    assert "cGy" in finding.action
    assert patient.treatments == ()


def test_the_whole_road_of_a_clinical_file(sample: Path, tmp_path: Path) -> None:
    """The stumbles themselves: 7500 mg/m2 and a surgery in 1923 beside real images."""
    folder = tmp_path / "patient"
    folder.mkdir()
    shutil.copytree(sample / "2-post-rt", folder / "2-post-rt")
    clinical = json.loads((sample / "clinical.json").read_text())
    clinical["drugs"] = [
        {"drug": "temozolomide", "amount": 7500, "unit": "mg/m2", "times": ["2023-02-06", "2023-02-07"]}
    ]
    clinical["surgery"] = []
    (folder / "clinical.json").write_text(json.dumps(clinical))
    found = [f for f in read_patient(folder).findings if "7500" in f.what]
    assert [f.where for f in found] == ["clinical.json, drugs[0].amount"] * 2
    clinical["surgery"] = [{"time": "1923-05-01", "kind": "resection"}]
    (folder / "clinical.json").write_text(json.dumps(clinical))
    with pytest.raises(ReadError, match=r"clinical.json, surgery\[0\]: a resection on 1923-05-01 is before"):
        read_patient(folder)
    del clinical["age_years"]
    (folder / "clinical.json").write_text(json.dumps(clinical))
    assert any("100 years before the first scan" in f.what for f in read_patient(folder).findings)
    path = next((folder / "2-post-rt").rglob("*.dcm"))
    data = pydicom.dcmread(path)
    data.PatientBirthDate = "19550101"
    data.save_as(path)
    with pytest.raises(ReadError, match="PatientBirthDate in the images"):
        read_patient(folder)


def test_schedules_of_the_clinic_pass() -> None:
    from tumortwin.therapy import CLINICAL_SCHEDULES

    for prescription in CLINICAL_SCHEDULES:
        schedule: Schedule = prescription.schedule(START)
        given = [Fraction(t, d) for t, d in zip(schedule.times, schedule.doses, strict=True)]
        assert check(*given) == [], prescription.name
