"""A folder of real DICOM files, as a scanner and a planning system would leave it, read as a Patient."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tumortwin.errors import InputError, ReadError, StrictError
from tumortwin.imaging.deidentification import deidentify
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import FractionDose, Grid, Mask, TotalDose, Volume
from tumortwin.patient import read_patient
from tumortwin.phantom.dicom import write_patient
from tumortwin.phantom.synthetic import Encoding, SyntheticPatient, SyntheticSeries, SyntheticVisit
from tumortwin.provenance import Log, verify
from tumortwin.therapy import Biopsy, DoseUnit, DrugDose, Fraction, weekday_times

DAY0 = datetime(2024, 1, 8, 9, 30)
START = datetime(2024, 2, 5, 11, 15)


def synthetic() -> SyntheticPatient:
    grids = [Grid.regular((8, 24, 20), (4.0, 2.0, 2.0), (-19, -23, -14), f"1.2.826.0.1.{k}") for k in (1, 2)]
    rng = np.random.default_rng(0)
    z, y, x = np.indices((8, 24, 20))
    r = np.sqrt((4.0 * z - 14) ** 2 + (2.0 * y - 23) ** 2 + (2.0 * x - 19) ** 2)

    def series(sequence: MRSequence, grid: Grid, name: str) -> SyntheticSeries:
        unit, scale = ("mm^2/s", 1e-3) if sequence is MRSequence.ADC else ("a.u.", 900)
        array = (scale * (0.5 + rng.random(grid.shape))).astype(np.float32)
        return SyntheticSeries(sequence, Volume(array, grid, unit), name, Encoding.PLAIN)

    def visit(k: int, label: str, expert: dict[str, Mask]) -> SyntheticVisit:
        kinds = (
            (MRSequence.T1GD, "t1_mprage_tra_KM"),
            (MRSequence.FLAIR, "t2_flair_tra"),
            (MRSequence.ADC, "ep2d_diff_ADC"),
        )
        return SyntheticVisit(
            DAY0 + timedelta(days=21 * k), label, tuple(series(s, grids[k], name) for s, name in kinds), expert
        )

    dose = TotalDose((60 / (1 + np.exp((r - 14) / 2))).astype(np.float32), grids[1], name="plan")
    treatments = [Fraction(t, dose.per_fraction(30), "record") for t in weekday_times(START, 30)]
    drugs = [DrugDose(START + timedelta(days=k), "temozolomide", 75.0, DoseUnit.MG_PER_M2) for k in range(40)]
    expert = {"enhancing": Mask(r < 8, grids[0], name="enhancing")}
    structures = {"PTV": Mask(r < 12, grids[1], name="PTV"), "Brainstem": Mask(r > 24, grids[1], name="Brainstem")}
    return SyntheticPatient(
        "TT-READ",
        5,
        (visit(0, "diagnosis", expert), visit(1, "planning", {})),
        1,
        structures,
        dose,
        60.0,
        tuple(sorted([Biopsy(DAY0 + timedelta(days=7)), *treatments, *drugs], key=lambda t: t.time)),
        {"weight_kg": 78.0, "height_m": 1.76, "mgmt_methylated": False},
        {},
        {},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patient(synthetic(), tmp_path_factory.mktemp("patients"))


def test_the_whole_patient(folder: Path) -> None:
    patient, truth = read_patient(folder), synthetic()
    assert patient.id == "TT-READ"
    assert [v.date for v in patient.visits] == [v.date for v in truth.visits]
    for visit in patient.visits:
        assert set(visit.images) == {MRSequence.T1GD, MRSequence.FLAIR, MRSequence.ADC}
        assert visit.aligned is False
        assert visit.images[MRSequence.T1GD].grid.spacing == pytest.approx((4, 2, 2))
        assert visit.images[MRSequence.ADC].unit == "mm^2/s"
    assert set(patient.visits[0].masks) == {"enhancing"}
    assert patient.visits[1].masks == {}
    expert = truth.visits[0].expert["enhancing"]
    assert patient.visits[0].masks["enhancing"].volume_ml == pytest.approx(expert.volume_ml)
    assert set(patient.structures) == {"PTV", "Brainstem"}
    assert patient.structures["PTV"].volume_ml == pytest.approx(truth.structures["PTV"].volume_ml, rel=0.1)
    assert patient.plan is not None
    assert (patient.plan.prescribed, patient.plan.fractions) == (60.0, 30)
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    assert [f.time for f in fractions] == list(weekday_times(START, 30))
    assert isinstance(fractions[0].dose, FractionDose)
    assert truth.dose is not None
    assert fractions[0].dose.array.max() == pytest.approx(truth.dose.array.max() / 30, rel=1e-3)
    assert sum(isinstance(t, DrugDose) for t in patient.treatments) == 40
    assert isinstance(patient.treatments[0], Biopsy)
    assert patient.clinical.height_m == 1.76
    assert patient.clinical.mgmt_methylated is False
    assert [f for f in patient.findings if f.severity is not Severity.NOTE] == []
    assert len(patient.sources["clinical.json"]) == 64
    assert len(patient.sources) > 2 * 3 * 8


def test_strict_passes_a_sound_folder_and_refuses_an_unsound_one(folder: Path, tmp_path: Path) -> None:
    assert read_patient(folder, strict=True).id == "TT-READ"
    assert read_patient(folder, sequences={"t2_flair_tra": MRSequence.T2}).visits[0].images.keys() >= {MRSequence.T2}
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    content = json.loads((copy / "clinical.json").read_text())
    (copy / "clinical.json").write_text(json.dumps({**content, "hair": "grey"}))
    assert any("hair" in f.what for f in read_patient(copy).findings)
    with pytest.raises(StrictError, match="hair"):
        read_patient(copy, strict=True)
    (copy / "clinical.json").write_text(json.dumps({**content, "patient_id": "TT-OTHER"}))
    with pytest.raises(ReadError, match="patient_id is not that of the images") as refused:
        read_patient(copy)
    assert "TT-" not in str(refused.value).replace(str(copy), "")
    (copy / "clinical.json").unlink()
    assert read_patient(copy).clinical.height_m is None


@pytest.mark.parametrize("content", [{}, {"notes.txt": "not a scan"}])
def test_folders_without_a_patient(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ReadError, match=str(tmp_path)):
        read_patient(tmp_path)


KEY = bytes(range(32))


def test_deidentified_on_the_way(folder: Path, tmp_path: Path) -> None:
    """The same as reading a de-identified copy, and the same patient but for names and the calendar."""
    known, nobody = read_patient(folder), read_patient(folder, deidentify=True, key=KEY, keep_characteristics=True)
    report = deidentify(folder, tmp_path / "out", key=KEY, keep_characteristics=True)
    (copy,) = report.patients.values()
    copied = read_patient(copy)
    assert (nobody.id, nobody.sources) == (copied.id, copied.sources)
    assert nobody.id == copy.name != known.id
    assert nobody.identity_removed
    assert copied.identity_removed
    for one in (nobody, copied):
        shifts = {b.date - a.date for a, b in zip(known.visits, one.visits, strict=True)}
        shifts |= {b.time - a.time for a, b in zip(known.treatments, one.treatments, strict=True)}
        assert len(shifts) == 1
        assert shifts.pop() % timedelta(weeks=1) == timedelta(0)
        assert set(one.structures) == set(known.structures)
        assert one.clinical == known.clinical
        assert [type(t) for t in one.treatments] == [type(t) for t in known.treatments]
        assert one.plan is not None
        assert (one.plan.prescribed, one.plan.fractions) == (60.0, 30)
        for a, b in zip(known.visits, one.visits, strict=True):
            assert a.masks.keys() == b.masks.keys()
            for sequence, image in a.images.items():
                np.testing.assert_array_equal(image.array, b.images[sequence].array)
                np.testing.assert_array_equal(image.affine, b.images[sequence].affine)
    assert "TT-READ" not in repr(nobody) + repr(nobody.findings) + repr(nobody.sources)
    with pytest.raises(InputError, match="needs a key"):
        read_patient(folder, deidentify=True)
    (copy / "clinical.json").unlink()
    assert read_patient(copy).identity_removed, "the DICOM files say so themselves"


def test_reading_is_logged(folder: Path, tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", purpose="recovery study", consent="broad consent 2023")
    known = read_patient(folder, log=log)
    read_patient(folder, deidentify=True, key=KEY, log=log)
    assert verify(log.path).lines == 2
    text = (tmp_path / "log.jsonl").read_text()
    one, other = map(json.loads, text.splitlines())
    assert one["inputs"]["each"] == sorted(known.sources.values())
    assert (one["facts"]["deidentified_now"], other["facts"]["deidentified_now"]) == (False, True)
    assert (one["purpose"], one["consent"]) == ("recovery study", "broad consent 2023")
    assert "TT-READ" not in text
    assert str(folder) not in text


def test_who_says_that_nobody_is_named(folder: Path, tmp_path: Path) -> None:
    """A phantom's clinical.json says it; without it the files are taken to name somebody."""
    assert read_patient(folder).identity_removed
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "clinical.json").unlink()
    assert not read_patient(tmp_path / "copy").identity_removed
