"""A patient through a real Orthanc server and back, by DICOMweb, C-GET and C-MOVE."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, MRImageStorage, RLELossless

import tumortwin as tt
from tumortwin.errors import InputError
from tumortwin.network import Peer, Pulled, echo, find_series, pull_patient, push
from tumortwin.network.syntaxes import decodable
from tumortwin.phantom.synthetic import Encoding

ID = "TT-NET"


@pytest.fixture(params=["DICOMweb", "C-GET", "C-MOVE"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def peer(way: str, server: Any) -> Peer:
    return {
        "DICOMweb": server.web(), "C-GET": server.dimse(), "C-MOVE": server.dimse(move_port=server.move_port)
    }[way]  # fmt: skip


def by_uid(folder: Path) -> dict[str, pydicom.Dataset]:
    return {d.SOPInstanceUID: d for d in map(pydicom.dcmread, sorted(folder.rglob("*.dcm")))}


def assert_same(a: Any, b: Any, where: str = "patient") -> None:
    """Every value in two patients, but for where their files lay."""
    assert type(a) is type(b), where
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            if field.name != "sources":
                assert_same(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    elif isinstance(a, Mapping):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key}]")
    elif isinstance(a, tuple):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(a, b, where)
    else:
        assert a == b, where


def test_the_pulled_patient_is_the_patient(peer: Peer, orthanc_with_patient: Any, patient_folder: Path, tmp_path: Path):
    echo(peer)
    told = []
    pulled = pull_patient(peer, ID, tmp_path / "in", progress=lambda *report: told.append(report))
    there, here = by_uid(patient_folder), by_uid(tmp_path / "in")
    assert len(pulled.received) == len(there) == 83
    assert (pulled.kept, pulled.findings) == ((), ())
    assert here.keys() == there.keys()
    for uid, data in here.items():
        assert data == there[uid]
        assert data.get("PixelData") == there[uid].get("PixelData")
        # as stored: nothing was decompressed on the way
        assert data.file_meta.TransferSyntaxUID == there[uid].file_meta.TransferSyntaxUID
    syntaxes = {d.file_meta.TransferSyntaxUID for d in here.values()}
    assert {RLELossless, JPEGLSLossless, ExplicitVRLittleEndian} <= syntaxes
    assert_same(tt.read_patient(tmp_path / "in"), tt.read_patient(patient_folder))
    assert told[-1] == (83, 83, "pulling")
    assert not [p for p in (tmp_path / "in").rglob("*") if p.name.startswith(".")]


def test_the_pushed_patient_is_the_patient(peer: Peer, orthanc: Any, patient_folder: Path):
    told = []
    pushed = push(patient_folder, peer, progress=lambda *report: told.append(report))
    there = by_uid(patient_folder)
    assert len(pushed.files) == 83
    assert told[-1] == (83, 83, "pushing")
    # looked at through Orthanc's own interface
    held = orthanc.rest("instances").json()
    assert len(held) == 83
    for one in held:
        data = pydicom.dcmread(pydicom.filebase.DicomBytesIO(orthanc.rest(f"instances/{one}/file").content))
        assert data == there[data.SOPInstanceUID]
        assert data.file_meta.TransferSyntaxUID == there[data.SOPInstanceUID].file_meta.TransferSyntaxUID
    # that these files carry an identity is said
    assert "83 files do not say" in str(pushed)
    assert push(patient_folder, peer).files == pushed.files  # again: no harm


def test_a_second_pull_fetches_only_what_is_missing(peer: Peer, orthanc_with_patient: Any, tmp_path: Path):
    first = pull_patient(peer, ID, tmp_path)
    times = {p: p.stat().st_mtime_ns for p in first.received}
    gone = first.received[::9]
    for path in gone:
        path.unlink()
    # as a killed process would leave it
    rest = gone[0].with_name(f".{gone[0].stem}-x.dcm")
    rest.write_bytes(b"half")
    second = pull_patient(peer, ID, tmp_path)
    assert set(second.received) == set(gone)
    assert set(second.kept) == set(first.received) - set(gone)
    assert all(p.stat().st_mtime_ns == times[p] for p in second.kept)
    assert not rest.exists()
    third = pull_patient(peer, ID, tmp_path)
    assert (third.received, len(third.kept)) == ((), 83)


def modalities(pulled: Pulled) -> set[str]:
    return {pydicom.dcmread(p, stop_before_pixels=True).Modality for p in pulled.received}


def test_what_to_pull_can_be_chosen(peer: Peer, orthanc_with_patient: Any, tmp_path: Path):
    offered = find_series(peer, ID)
    assert [s.study_date for s in offered] == sorted(s.study_date for s in offered)
    assert {s.modality for s in offered} == {"MR", "SEG", "RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT"}
    assert sum(s.count or 0 for s in offered) == 83
    assert modalities(pull_patient(peer, ID, tmp_path / "a", modalities={"SEG", "RTPLAN"})) == {"SEG", "RTPLAN"}
    last = offered[-1].study_uid
    pulled = pull_patient(peer, ID, tmp_path / "b", studies=[last], modalities=["MR"])
    assert len(pulled.received) == 24
    assert {p.parents[1].name for p in pulled.received} == {last}
    one = pull_patient(peer, ID, tmp_path / "c", series=[offered[0].series_uid])
    assert len(one.received) == offered[0].count == 8
    with pytest.raises(InputError, match=r"no modality PT.*it has MR"):
        pull_patient(peer, ID, tmp_path / "d", modalities=["PT"])
    with pytest.raises(InputError, match="no series is of all"):
        pull_patient(peer, ID, tmp_path / "d", series=[offered[0].series_uid], studies=[last])
    with pytest.raises(InputError, match=r"\['MR'\]"):
        pull_patient(peer, ID, tmp_path / "d", modalities="MR")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("way", ["C-GET", "DICOMweb"], indirect=True)
def test_an_enhanced_image_travels_whole(peer: Peer, orthanc: Any, image_series: Any, tmp_path: Path):
    """One file of many frames, as modern scanners send it."""
    source = image_series(tmp_path / "source", Encoding.ENHANCED)
    push(source, peer)
    pulled = pull_patient(peer, "TT-0001", tmp_path / "in")
    assert [pydicom.dcmread(p) for p in pulled.received] == [pydicom.dcmread(p) for p in source]


def test_what_cannot_be_decoded_here_comes_decompressed(
    peer: Peer, way: str, orthanc: Any, image_series: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a machine without a decoder for JPEG-LS."""
    source = image_series(tmp_path / "source", Encoding.JPEG_LS)
    push(source, peer)
    without = tuple(s for s in decodable() if s != JPEGLSLossless)
    for module in ("web", "dimse", "reception"):
        monkeypatch.setattr(f"tumortwin.network.{module}.decodable", lambda: without)
    pulled = pull_patient(peer, "TT-0001", tmp_path / "in")
    there = by_uid(tmp_path / "source")
    for data in by_uid(tmp_path / "in").values():
        assert data.file_meta.TransferSyntaxUID in without
        np.testing.assert_array_equal(data.pixel_array, there[data.SOPInstanceUID].pixel_array)
        assert data.SOPClassUID == MRImageStorage
    assert len(pulled.findings) == (len(source) if way == "DICOMweb" else 0)
    assert all("decompressed by the peer" in f.what for f in pulled.findings)
