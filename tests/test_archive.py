"""Saved values come back as they were, and damaged or foreign files are refused with a message."""

import zipfile
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pytest

from tumortwin import archive, vault
from tumortwin.errors import InputError, OutputExistsError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation


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


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(InputError, match=r"Irradiation\.dose is a set"):
        archive.save(Irradiation(0.0, {1}), tmp_path / "x.npz")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Foreign:
    number: int


def test_classes_of_other_packages_are_neither_saved_nor_loaded(tmp_path):
    with pytest.raises(InputError, match="not a value of tumortwin"):
        archive.save(Foreign(1), tmp_path / "x.npz")
    tree = b'{"format": 1, "value": {"dataclass": "subprocess:Popen", "fields": {"args": "true"}}}'
    np.savez(tmp_path / "evil.npz", tree=np.frombuffer(tree, np.uint8))
    with pytest.raises(ReadError, match="subprocess:Popen"):
        archive.load(tmp_path / "evil.npz", Finding)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "twin.npz"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"twin\.npz"):
        archive.load(path, Finding)


def test_another_kind_of_value_and_a_newer_format_are_refused(tmp_path):
    path = archive.save(Finding("a", "b", "c"), tmp_path / "f.npz")
    with pytest.raises(ReadError, match="holds a Finding, not a Volume"):
        archive.load(path, Volume)
    np.savez(tmp_path / "new.npz", tree=np.frombuffer(b'{"format": 99, "value": 1}', np.uint8))
    with pytest.raises(ReadError, match="newer tumortwin"):
        archive.load(tmp_path / "new.npz", Finding)
    with pytest.raises(ReadError, match=r"gone\.npz"):
        archive.load(tmp_path / "gone.npz", Finding)


def test_an_existing_file_is_kept_unless_asked(tmp_path):
    path = archive.save(Finding("a", "b", "c"), tmp_path / "f.npz")
    with pytest.raises(OutputExistsError, match="--force"):
        archive.save(Finding("x", "y", "z"), path)
    assert archive.load(path, Finding).what == "a"
    archive.save(Finding("x", "y", "z"), path, overwrite=True)
    assert archive.load(path, Finding).what == "x"


def test_it_is_a_plain_zip_of_numpy_arrays(tmp_path):
    path = archive.save(Finding("a", "b", "c"), tmp_path / "f.npz")
    assert zipfile.ZipFile(path).namelist() == ["tree.npy"]


def test_dates_keep_their_time(tmp_path):
    from tumortwin.imaging.plan import DeliveryRecord

    record = DeliveryRecord("1.2", None, datetime(2024, 2, 29, 23, 59, 30, 125000), 3)
    assert archive.load(archive.save(record, tmp_path / "r.npz"), DeliveryRecord) == record


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
