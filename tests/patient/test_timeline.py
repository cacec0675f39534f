"""From a Study and a clinical.json to a Patient."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tumortwin import archive
from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, AcquiredMask, Study
from tumortwin.imaging.volume import FractionDose, Grid, Mask, TotalDose, Volume
from tumortwin.patient import Clinical, Patient, patient_of, read_clinical
from tumortwin.therapy import Biopsy, DoseUnit, DrugDose, Fraction, Resection

DAY0 = datetime(2024, 1, 1, 10)
MONDAY = datetime(2024, 2, 5, 11)


def image(
    sequence: MRSequence, days: float, frame: str, uid: str, spacing: float = 1.0, study: str = ""
) -> AcquiredImage:
    grid = Grid.regular((2, 3, 4), spacing, frame=frame)
    return AcquiredImage(
        Volume(np.ones((2, 3, 4), np.float32), grid, name=uid),
        sequence,
        DAY0 + timedelta(days=days),
        uid,
        study or f"study {frame}",
    )


def mask(name: str, frame: str, series: str | None = None, days: float | None = None) -> AcquiredMask:
    drawn = Mask(np.ones((2, 3, 4), bool), Grid.regular((2, 3, 4), 1.0, frame=frame), name=name)
    return AcquiredMask(drawn, None if days is None else DAY0 + timedelta(days=days), "seg", series)


def dose(frame: str = "f1", plan: str = "plan") -> TotalDose:
    array = np.linspace(0, 60, 24, dtype=np.float32).reshape(2, 3, 4)
    return TotalDose(array, Grid.regular((2, 3, 4), 1.0, frame=frame), source=("dose", plan))


PLAN = PlanRecord("plan", "GBM", 60.0, 30, MONDAY)


def deliveries(n: int, plan: str | None = "plan") -> tuple[DeliveryRecord, ...]:
    return tuple(DeliveryRecord(f"r{k}", plan, MONDAY + timedelta(days=k), k + 1) for k in range(n))


@pytest.fixture
def study() -> Study:
    images = (
        image(MRSequence.T1GD, 0, "f0", "a"),
        image(MRSequence.FLAIR, 0.01, "f0", "b"),
        image(MRSequence.ADC, 0.02, "f0", "c"),
        image(MRSequence.T1GD, 21, "f1", "d"),
        image(MRSequence.FLAIR, 21.01, "f1", "e"),
    )
    return Study("folder", ("TT-1",), (), images, sources={"x.dcm": "00"})


def test_visits_by_date_with_their_sequences(study: Study) -> None:
    patient = patient_of(replace(study, images=study.images[::-1]))
    assert [v.date for v in patient.visits] == [DAY0, DAY0 + timedelta(days=21)]
    assert set(patient.visits[0].images) == {MRSequence.T1GD, MRSequence.FLAIR, MRSequence.ADC}
    assert patient.visits[1].images[MRSequence.T1GD] is study.images[3].volume
    assert patient.findings == ()
    assert patient.treatments == ()


def test_one_frame_over_months_is_several_visits(study: Study) -> None:
    # preprocessed collections give one frame of reference to all scans of a patient
    images = tuple(
        replace(i, volume=replace(i.volume, grid=Grid.regular((2, 3, 4), 1.0, frame="same"))) for i in study.images
    )
    assert len(patient_of(replace(study, images=images)).visits) == 2


def test_a_session_over_midnight_is_one_visit_and_two_studies_of_a_day_are_two() -> None:
    late = [image(MRSequence.T1, 0.58, "f", "a"), image(MRSequence.T1GD, 0.59, "f", "b")]  # 23:55 and 00:10
    assert len(patient_of(Study("x", ("p",), (), tuple(late))).visits) == 1
    two = [image(MRSequence.T1, 0, "f", "a"), image(MRSequence.T1, 0.3, "g", "b")]
    assert len(patient_of(Study("x", ("p",), (), tuple(two))).visits) == 2


def test_finest_of_two_is_used_and_said(study: Study) -> None:
    thick = image(MRSequence.FLAIR, 0.015, "f0", "thick", spacing=5.0)
    patient = patient_of(replace(study, images=(*study.images, thick)))
    assert patient.visits[0].images[MRSequence.FLAIR].name == "b"
    (finding,) = patient.findings
    assert "2 FLAIR images" in finding.what
    assert "thick" in finding.action


@pytest.mark.parametrize(
    ("drawn", "used", "said"),
    [
        (("", ""), 1, "the latest is used"),
        (("MANUAL", "MANUAL"), 1, "the latest is used"),
        (("MANUAL", "AUTOMATIC"), 0, "used: manual; left out: automatic"),
        (("", "AUTOMATIC"), 0, "used: not stated how; left out: automatic"),
        (("SEMIAUTOMATIC", "", "AUTOMATIC"), 0, "used: semiautomatic; left out: not stated how, automatic"),
        (("MANUAL", "AUTOMATIC", "MANUAL"), 2, "used: manual; left out: manual, automatic"),
    ],
)
def test_of_masks_with_one_name_what_was_drawn_by_hand_is_used(
    study: Study, drawn: tuple[str, ...], used: int, said: str
) -> None:
    masks = tuple(replace(mask("tumor", "f0", "a", days=k), algorithm=algorithm) for k, algorithm in enumerate(drawn))
    patient = patient_of(replace(study, segmentations=masks))
    assert patient.visits[0].masks["tumor"] is masks[used].mask
    assert [(f.what, f.action) for f in patient.findings] == [(f"{len(drawn)} masks are called 'tumor'", said)]


def test_two_b_values_are_no_rivals(study: Study) -> None:
    b0, b1000 = (replace(image(MRSequence.DWI, 0.03, "f0", u), b_value=b) for u, b in (("g", 0.0), ("g", 1000.0)))
    patient = patient_of(replace(study, images=(*study.images, b0, b1000)))
    assert patient.visits[0].images[MRSequence.DWI] is b1000.volume
    assert patient.findings == ()


def test_repositioned_images_of_a_visit_are_left_out(study: Study) -> None:
    moved = image(MRSequence.T2, 0.03, "moved", "m", study="study f0")
    patient = patient_of(replace(study, images=(*study.images, moved)))
    assert MRSequence.T2 not in patient.visits[0].images
    assert [f.severity for f in patient.findings] == [Severity.LEFT_OUT]


def test_masks_go_to_their_visit(study: Study) -> None:
    masks = (
        mask("enhancing", "f1", "d"),
        mask("edema", "f0"),
        mask("lost", "f9", "zzz"),
        mask("enhancing", "f1", "d", days=30),
    )
    patient = patient_of(replace(study, segmentations=masks))
    assert set(patient.visits[0].masks) == {"edema"}
    assert patient.visits[1].masks == {"enhancing": masks[3].mask}
    assert sorted(f.severity for f in patient.findings) == [Severity.ASSUMED, Severity.LEFT_OUT]


def test_planning_structures_apart_from_contours_of_other_scans(study: Study) -> None:
    drawn = (mask("GTV", "f1"), mask("Brainstem", "f1"), mask("tumor", "f0", "a"))
    patient = patient_of(replace(study, structures=drawn, doses=(dose(),)))
    assert set(patient.structures) == {"GTV", "Brainstem"}
    assert set(patient.visits[0].masks) == {"tumor"}


def test_fractions_as_delivered(study: Study) -> None:
    given = list(deliveries(30))
    given[4] = replace(given[4], complete=False, delivered_share=0.25)
    patient = patient_of(replace(study, plans=(PLAN,), doses=(dose(),), deliveries=tuple(given)))
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    assert len(fractions) == 30
    assert fractions[0].time == MONDAY
    assert fractions[0].source == "r0"
    assert isinstance(fractions[0].dose, FractionDose)
    assert fractions[0].dose.array.max() == pytest.approx(2.0)
    assert fractions[0].dose is fractions[29].dose
    assert fractions[4].dose.array == pytest.approx(0.25 * fractions[0].dose.array)
    (finding,) = patient.findings
    assert "29.25 of 30" in finding.what


def test_records_of_two_beams_are_one_fraction(study: Study) -> None:
    given = [d for k, d in enumerate(deliveries(30)) for d in (d, replace(d, uid=f"beam 2 of {k}"))]
    patient = patient_of(replace(study, plans=(PLAN,), doses=(dose(),), deliveries=tuple(given)))
    assert len(patient.treatments) == 30
    assert patient.treatments[0].dose.array.max() == pytest.approx(2.0)
    assert [f.severity for f in patient.findings] == [Severity.ASSUMED]


def test_two_fractions_on_one_day_are_two(study: Study) -> None:
    twice = [d for d in deliveries(2) for d in (d, replace(d, uid="pm", time=d.time + timedelta(hours=6), fraction=9))]
    patient = patient_of(replace(study, plans=(replace(PLAN, fractions=4),), deliveries=tuple(twice)))
    assert len(patient.treatments) == 4
    assert patient.treatments[0].dose == 15.0


def test_without_records_a_weekday_calendar_is_assumed(study: Study) -> None:
    patient = patient_of(replace(study, plans=(PLAN,), doses=(dose(),)))
    assert len(patient.treatments) == 30
    assert (patient.treatments[-1].time - patient.treatments[0].time).days == 39
    assert all(t.source.startswith("assumed") for t in patient.treatments)
    (finding,) = patient.findings
    assert finding.severity is Severity.ASSUMED
    assert "2024-02-05" in finding.action


def test_a_plan_without_date_or_dose_gives_no_fractions(study: Study) -> None:
    undated = patient_of(replace(study, plans=(replace(PLAN, date=None),), doses=(dose(),)))
    unknown = patient_of(replace(study, plans=(PlanRecord("plan", "", None, None, MONDAY),)))
    for patient in (undated, unknown):
        assert patient.treatments == ()
        assert [f.severity for f in patient.findings] == [Severity.LEFT_OUT]


def test_the_delivered_plan_is_the_plan(study: Study) -> None:
    other = replace(PLAN, uid="draft", date=MONDAY + timedelta(days=9))
    patient = patient_of(
        replace(study, plans=(other, PLAN), doses=(dose(plan="draft"), dose()), deliveries=deliveries(30))
    )
    assert patient.plan is PLAN
    assert patient.dose is not None
    assert "plan" in patient.dose.source


CLINICAL = {
    "schema": "tumortwin-clinical-1",
    "patient_id": "TT-1",
    "diagnosis": "glioblastoma",
    "weight_kg": 78,
    "height_m": 1.76,
    "age_years": 57,
    "mgmt_methylated": True,
    "idh_mutant": False,
    "steroids": [{"from": "2024-01-02", "dexamethasone_mg_per_day": 8}],
    "surgery": [{"time": "2024-01-08T09:00", "kind": "biopsy"}, {"time": "2024-06-01", "kind": "resection"}],
    "drugs": [
        {"drug": "Temozolomide", "amount": 75, "unit": "mg/m2", "times": ["2024-02-05T08:00", "2024-02-06T08:00"]}
    ],
}


def written(folder: Path, content: object) -> Path:
    path = folder / "clinical.json"
    path.write_text(json.dumps(content))
    return path


def test_clinical_is_merged(study: Study, tmp_path: Path) -> None:
    patient = patient_of(study, read_clinical(written(tmp_path, CLINICAL)))
    assert patient.clinical.weight_kg == 78
    assert patient.clinical.mgmt_methylated is True
    assert patient.clinical.steroids == ((datetime(2024, 1, 2), 8.0),)
    kinds = [type(t) for t in patient.treatments]
    assert kinds == [Biopsy, DrugDose, DrugDose, Resection]
    first = patient.treatments[1]
    assert isinstance(first, DrugDose)
    assert (first.drug, first.amount, first.unit) == ("temozolomide", 75.0, DoseUnit.MG_PER_M2)
    assert patient.findings == ()


def test_an_empty_clinical_file_is_fine(tmp_path: Path) -> None:
    file = read_clinical(written(tmp_path, {"schema": "tumortwin-clinical-1"}))
    assert file.clinical == Clinical()
    assert file.treatments == ()


def test_another_patients_clinical_file_is_refused(study: Study, tmp_path: Path) -> None:
    file = read_clinical(written(tmp_path, {**CLINICAL, "patient_id": "TT-2"}))
    with pytest.raises(ReadError, match="patient_id is not that of the images"):
        patient_of(study, file)


def test_unknown_fields_are_found(tmp_path: Path) -> None:
    drugs = [{**CLINICAL["drugs"][0], "route": "oral"}]  # type: ignore[index, dict-item]
    file = read_clinical(written(tmp_path, {**CLINICAL, "wieght_kg": 70, "drugs": drugs}))
    assert sorted(f.what for f in file.findings) == ["unknown field 'route'", "unknown field 'wieght_kg'"]
    assert all(f.severity is Severity.LEFT_OUT for f in file.findings)


def test_a_drug_without_kinetics_is_said(tmp_path: Path) -> None:
    drugs = [{"drug": "bevacizumab", "amount": 10, "unit": "mg/kg", "times": []}]
    file = read_clinical(written(tmp_path, {**CLINICAL, "drugs": drugs}))
    assert "bevacizumab" in file.findings[0].what


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"schema": "other"}, "schema", "other"),
        ({"weight_kg": "78"}, "weight_kg", '"78"'),
        ({"weight_kg": float("nan")}, "weight_kg", "NaN"),
        ({"height_m": 176}, "height_m", "176"),
        ({"mgmt_methylated": "yes"}, "mgmt_methylated", "yes"),
        ({"diagnosis": 3}, "diagnosis", "3"),
        ({"drugs": {}}, "drugs", "{}"),
        ({"drugs": ["temozolomide"]}, r"drugs\[0\]", "temozolomide"),
        ({"drugs": [{"drug": "x", "amount": -1, "unit": "mg", "times": []}]}, r"drugs\[0\].amount", "-1"),
        ({"drugs": [{"drug": "x", "amount": 1, "unit": "g", "times": []}]}, r"drugs\[0\].unit", "g"),
        ({"drugs": [{"drug": "x", "amount": 1, "unit": "mg", "times": ["5 Feb"]}]}, r"drugs\[0\].times\[0\]", "5 Feb"),
        ({"drugs": [{"amount": 1, "unit": "mg", "times": []}]}, r"drugs\[0\].drug", "missing"),
        ({"surgery": [{"time": "2024-01-01T00:00+01:00", "kind": "biopsy"}]}, r"surgery\[0\].time", "01:00"),
        ({"surgery": [{"time": "2024-01-01", "kind": "craniotomy"}]}, r"surgery\[0\].kind", "biopsy, resection"),
        ({"steroids": [{"from": "2024-01-01"}]}, r"steroids\[0\].dexamethasone_mg_per_day", "missing"),
    ],
)
def test_impossible_fields_name_file_field_and_value(tmp_path: Path, change: dict, field: str, value: str) -> None:
    with pytest.raises(ReadError, match=f"clinical.json: {field} ") as error:
        read_clinical(written(tmp_path, {**CLINICAL, **change}))
    assert value in str(error.value)
    assert ": give" in str(error.value) or "write" in str(error.value) or "see docs" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b'"text"', b"[" * 100000])
def test_what_is_not_a_clinical_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clinical.json"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"clinical\.json"):
        read_clinical(path)


@pytest.fixture
def treated(study: Study, tmp_path: Path) -> Patient:
    return patient_of(
        replace(study, plans=(PLAN,), doses=(dose(),), deliveries=deliveries(30)),
        read_clinical(written(tmp_path, CLINICAL)),
    )


def test_repr_tells_the_story_in_order(treated: Patient) -> None:
    lines = repr(treated).splitlines()
    assert lines[0].startswith("Patient TT-1: 2 visit(s), 34 treatment(s)")
    assert [line.split("  ")[2].split(":")[0] for line in lines[1:]] == [
        "visit 0",
        "surgery",
        "visit 1",
        "temozolomide",
        "radiotherapy",
        "surgery",
    ]
    assert "30 fractions (planned: 60 Gy in 30)" in repr(treated)


def test_html_timeline_is_well_formed_and_complete(treated: Patient) -> None:
    html = treated._repr_html_()
    root = ET.fromstring(html)
    svg = "{http://www.w3.org/2000/svg}"
    assert sum(r.find(f"{svg}title") is None for r in root.iter(f"{svg}rect")) == 32  # fractions and drug doses
    assert len(list(root.iter(f"{svg}circle"))) == 2
    assert len(list(root.iter(f"{svg}polygon"))) == 2
    assert "Research use only" in html


def test_html_escapes_what_files_say(study: Study) -> None:
    patient = patient_of(replace(study, patients=("<script>alert(1)</script>",)))
    assert "<script>" not in patient._repr_html_()
    assert "no visits" in Patient("x", ())._repr_html_()


def test_patient_can_be_saved(treated: Patient, tmp_path: Path) -> None:
    again = archive.load(archive.save(treated, tmp_path / "p.npz"), Patient)
    assert repr(again) == repr(treated)
    assert again.sources == treated.sources
