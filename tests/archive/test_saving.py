"""Saved values come back as they were; what cannot be saved is refused with a message."""

import json
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID
from pydicom.valuerep import IS, DSfloat

from tumortwin import archive, vault
from tumortwin.archive import container
from tumortwin.errors import InputError, OutputExistsError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.plan import PlanRecord
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Visit
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal, Twin

FORMAT_1 = Path(__file__).parents[1] / "data" / "format1"
START = datetime(2024, 1, 1, 9)


def test_arrays_dates_enums_and_nested_values_come_back(tmp_path):
    grid = Grid.regular((2, 3, 4), (3.0, 1.0, 1.5), origin=(-10, 5, 2), frame="2.25.1")
    volume = Volume(np.arange(24, dtype=np.float32).reshape(2, 3, 4), grid, "mm^2/s", "ADC", ("2.25.7",))
    path = archive.save(volume, tmp_path / "volume.npz")
    back = archive.load(path, Volume)
    assert back.grid == grid
    assert (back.unit, back.name, back.source) == ("mm^2/s", "ADC", ("2.25.7",))
    np.testing.assert_array_equal(back.array, volume.array)
    dose = Administration(3.25, "temozolomide", 75.0, DoseUnit.MG_PER_M2)
    assert archive.load(archive.save(dose, tmp_path / "dose.npz"), Administration) == dose
    finding = Finding("a", "b", "c", Severity.ASSUMED)
    assert archive.load(archive.save(finding, tmp_path / "finding.npz"), Finding) == finding


def test_a_subclass_keeps_its_type(tmp_path):
    mask = Mask(np.ones((1, 1, 2), bool), Grid.regular((1, 1, 2)))
    assert isinstance(archive.load(archive.save(mask, tmp_path / "m.npz"), Volume), Mask)


def test_infinite_and_missing_numbers_survive_strict_json(tmp_path):
    for day in (float("inf"), float("-inf")):
        assert archive.load(archive.save(Irradiation(day, 2.0), tmp_path / f"{day}.npz"), Irradiation).day == day
    assert np.isnan(archive.load(archive.save(Irradiation(float("nan"), 2.0), tmp_path / "n.npz"), Irradiation).day)


def test_equal_values_give_equal_bytes(tmp_path):
    grid = Grid.regular((2, 2, 2))
    one, two = (archive.save(Volume(np.eye(2)[None].repeat(2, 0), grid), tmp_path / f"{i}.npz") for i in range(2))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.float32),
        np.array(1.5),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">f4")[::2],
        np.array([True, False]),
        np.array([np.nan, -np.inf, 0.1], np.float16),
    ],
)
def test_arrays_of_every_layout_come_back(tmp_path, array):
    back = archive.load(archive.save(Removal(0.0, array), tmp_path / "r.npz"), Removal).removed
    assert (back.shape, back.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(back, array)
    back[...] = 0  # and may be written to, as before


def test_numbers_and_strings_of_pydicom_are_saved_as_plain_ones(tmp_path):
    record = PlanRecord(UID("1.2"), "plan", DSfloat("60.5"), IS("30"))
    back = archive.load(archive.save(record, tmp_path / "r.npz"), PlanRecord)
    assert back == PlanRecord("1.2", "plan", 60.5, 30)
    assert (type(back.uid), type(back.prescribed), type(back.fractions)) == (str, float, int)


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Irradiation\.dose is a set"):
        archive.save(Irradiation(0.0, {1}), tmp_path / "x.npz")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Volume\.array is an array of object"):
        archive.save(Volume(np.full((1, 1, 1), None), Grid.regular((1, 1, 1))), tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Finding(5, "b", "c"), r"Finding\.what is int, not str"),
        (Finding("a", "b", "c", DoseUnit.MG), r"Finding\.severity is a dose_unit, not a Severity"),
        (Irradiation(True, 2.0), r"Irradiation\.day is bool, not float"),
        (Removal(0.0, np.zeros((2, 2), complex)), r"Removal\.removed is an array of complex128"),
        (Visit(START, {"T1": Mask(np.ones((1, 1, 1), bool), Grid.regular((1, 1, 1)))}), "a key of Visit.images is str"),
    ],
)
def test_what_could_not_be_read_again_is_not_saved(tmp_path, value, said):
    with pytest.raises(InputError, match=said):
        archive.save(value, tmp_path / "x.npz")


@dataclass(frozen=True)
class Foreign:
    number: int


def test_a_class_without_a_row_is_not_saved_and_the_error_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"Foreign, which has no row in tumortwin/archive/names\.py .* add a row"):
        archive.save(Foreign(1), tmp_path / "x.npz")


def test_what_is_larger_than_may_be_read_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match=r"x\.npz cannot be saved: it takes"):
        archive.save(Volume(np.zeros((10, 10, 10)), Grid.regular((10, 10, 10))), tmp_path / "x.npz")


def test_another_kind_of_value_is_refused_with_the_way_to_load_it(tmp_path):
    path = archive.save(Finding("a", "b", "c"), tmp_path / "f.npz")
    with pytest.raises(ReadError, match=r"f\.npz holds a Finding, not a Volume: use tumortwin\.archive\.load"):
        archive.load(path, Volume)
    with pytest.raises(ReadError, match=r"forecast\.npz holds a Forecast, not a Twin: use Forecast\.load"):
        Twin.load(FORMAT_1 / "forecast.npz")
    with pytest.raises(ReadError, match=r"gone\.npz cannot be read: No such file"):
        archive.load(tmp_path / "gone.npz", Finding)


def test_an_existing_file_is_kept_unless_asked(tmp_path):
    path = archive.save(Finding("a", "b", "c"), tmp_path / "f.npz")
    with pytest.raises(OutputExistsError, match="--force"):
        archive.save(Finding("x", "y", "z"), path)
    assert archive.load(path, Finding).what == "a"
    archive.save(Finding("x", "y", "z"), path, overwrite=True)
    assert archive.load(path, Finding).what == "x"


def test_it_is_a_plain_zip_of_numpy_arrays(tmp_path):
    path = archive.save(Volume(np.ones((1, 1, 2)), Grid.regular((1, 1, 2))), tmp_path / "v.npz")
    assert zipfile.ZipFile(path).testzip() is None
    with np.load(path) as file:
        np.testing.assert_array_equal(file["a0"], np.ones((1, 1, 2)))
        assert json.loads(file["tree"].tobytes())["value"]["dataclass"] == "volume"


def test_dates_keep_their_time(tmp_path):
    record = PlanRecord("1.2", "plan", None, 3, datetime(2024, 2, 29, 23, 59, 30, 125000))
    assert archive.load(archive.save(record, tmp_path / "r.npz"), PlanRecord) == record


def test_encrypted_values(tmp_path, monkeypatch):
    monkeypatch.setattr(vault, "LOG2_N", 10)
    finding = Finding("Weatherby", "b", "c")
    path = archive.save(finding, tmp_path / "f.npz", passphrase="correct horse")
    assert b"Weatherby" not in path.read_bytes()
    assert not path.read_bytes().startswith(b"PK")
    assert archive.load(path, Finding, passphrase="correct horse") == finding
    with pytest.raises(vault.VaultError, match="is encrypted: give its passphrase"):
        archive.load(path, Finding)
    with pytest.raises(vault.VaultError, match="the passphrase is wrong, or the file was changed"):
        archive.load(path, Finding, passphrase="another horse")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(vault.VaultError, match="or the file was changed"):
        archive.load(path, Finding, passphrase="correct horse")
    plain = archive.save(finding, tmp_path / "plain.npz")
    assert archive.load(plain, Finding, passphrase="not needed") == finding
