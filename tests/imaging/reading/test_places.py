"""Folders as people have them: links, pipes, closed doors, archives, junk."""

import os
import stat
import zipfile

import numpy as np
import pytest

from tumortwin.errors import ReadError
from tumortwin.imaging.deidentification import deidentify
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.reading.file_tree import files_below
from tumortwin.patient import read_patient
from tumortwin.phantom.hostile import geometry
from tumortwin.phantom.hostile.specimens import specimens

KEY = bytes(range(32))


@pytest.fixture
def series():
    """Twelve slices without a fault."""
    return next(geometry.no_fault(specimens(np.random.default_rng(0))["axial MR"]))


def test_links_to_folders_are_followed_once_and_never_back(series, tmp_path):
    series.write(tmp_path / "archive" / "series")
    (tmp_path / "archive" / "series" / "loop").symlink_to("..")
    patient = tmp_path / "others" / "patient"
    patient.mkdir(parents=True)
    for name, target in (
        ("scan", tmp_path / "archive"),
        ("scan again", tmp_path / "archive"),
        ("up", ".."),
        ("self", "self"),
        ("here", "."),
        ("dangling.dcm", "/nowhere"),
    ):
        (patient / name).symlink_to(target)
    (tmp_path / "others" / "of another.dcm").write_bytes(b"no business of ours")
    files, closed = files_below(patient)
    assert closed == []
    assert len(files) == 12 + 2  # the slices, and links that lead nowhere
    study = read_folder(patient)
    (image,) = study.images
    assert image.volume.array.shape[0] == 12
    assert not [f for f in study.findings if "duplicate" in f.what]
    assert deidentify(patient, tmp_path / "out", key=KEY).files == 12


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(series, tmp_path):
    series.write(tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe.dcm")
    assert len(read_folder(tmp_path / "in").images) == 1
    assert deidentify(tmp_path / "in", tmp_path / "out", key=KEY).files == 12


def test_a_closed_folder_is_said(series, tmp_path, monkeypatch):
    """A series that cannot be reached must not be missed in silence."""
    series.write(tmp_path / "in" / "open")
    closed = tmp_path / "in" / "closed"
    series.write(closed)
    closed.chmod(0)
    if os.access(closed, os.R_OK):  # root enters everywhere: the same refusal, from the call that would make it
        whole = os.scandir

        def scandir(path):
            if os.fspath(path) == str(closed):
                raise PermissionError(13, "Permission denied", str(closed))
            return whole(path)

        monkeypatch.setattr(os, "scandir", scandir)
    try:
        study = read_folder(tmp_path / "in")
        assert len(study.images) == 1
        assert [f.where for f in study.findings if "cannot be opened" in f.what] == ["closed"]
        report = deidentify(tmp_path / "in", tmp_path / "out", key=KEY)
        assert any("1 folders that cannot be opened" in f.what for f in report.findings)
        with pytest.raises(ReadError, match="cannot be opened"):
            read_folder(closed)
    finally:
        closed.chmod(stat.S_IRWXU)


def test_an_archive_is_to_be_unpacked(series, tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for name, content in series.files.items():
            archive.writestr(name, content)
    with pytest.raises(ReadError, match="unpack it"):
        read_patient(tmp_path / "scan.zip")


def test_two_scans_that_look_the_same_are_told_apart(series, tmp_path):
    """The finding says which of them is used."""
    import pydicom
    from pydicom.filebase import DicomBytesIO

    for time in ("080000", "160000"):
        (tmp_path / time).mkdir()
        for name, content in series.files.items():
            data = pydicom.dcmread(DicomBytesIO(content))
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                setattr(data, keyword, f"{str(data[keyword].value)[:50]}.{int(time)}")
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
                if keyword in data:
                    setattr(data, keyword, time)
            data.save_as(tmp_path / time / name)
    (finding,) = [f for f in read_patient(tmp_path).findings if "2 T1 images" in f.what]
    assert "of 16:00:00, not T1 axial (3 x 1.5 x 1.25 mm) of 08:00:00" in finding.action
