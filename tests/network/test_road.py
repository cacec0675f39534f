"""From an archive to a patient and back to the archive, as a user would go."""

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import tumortwin as tt
from tumortwin.cli import main
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.network import find_series, pull_patient, push
from tumortwin.network.syntaxes import decodable


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_drawn_mask_goes_back_to_where_the_images_came_from(orthanc_with_patient: Any, way: str, tmp_path: Path):
    peer = getattr(orthanc_with_patient, way)()
    folder = tt.pull_patient(peer, "TT-NET", tmp_path / "in").folder
    patient = tt.read_patient(folder)
    image = patient.visits[1].images[MRSequence.T1GD]
    drawn = np.zeros(image.grid.shape, bool)
    drawn[2:6, 5:17, 4:15] = True
    drawn[3, 9:12, 8:10] = False
    sources = sorted(folder.glob(f"*/{image.source[0]}/*.dcm"))
    mask = Mask(drawn, image.grid, name="edema")
    result = write_segmentation({"edema": mask}, sources, tmp_path / "out" / "edema.dcm")
    pushed = tt.push(tmp_path / "out", peer)
    assert pushed.files == (result,)
    # another pull brings the result, and only it
    again = tt.pull_patient(peer, "TT-NET", folder)
    assert len(again.received) == 1
    assert len(again.kept) == 83
    masks = tt.read_patient(folder).visits[1].masks
    np.testing.assert_array_equal(masks["edema"].array, drawn)


@pytest.mark.parametrize("way", ["web", "get", "move"])
def test_memory_does_not_grow_with_what_is_pulled(orthanc: Any, way: str, image_series: Any, tmp_path: Path):
    """48 MB in three files: by DICOMweb a buffer, by DIMSE one file at a time."""
    size = 16 << 20
    data = pydicom.dcmread(image_series(tmp_path / "source")[0])
    data.Rows = data.Columns = 2048
    data.NumberOfFrames = 2
    data.PixelData = np.random.default_rng(0).bytes(size)
    for k in range(3):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"
        (tmp_path / "large").mkdir(exist_ok=True)
        data.save_as(tmp_path / "large" / f"{k}.dcm")
    sent = orthanc.web() if way == "web" else orthanc.dimse()
    tracemalloc.start()
    try:
        push(tmp_path / "large", sent)
        pushing = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        peer = sent if way != "move" else orthanc.dimse(move_port=orthanc.move_port)
        pulled = pull_patient(peer, "TT-0001", tmp_path / "in")
        pulling = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    large = sorted((tmp_path / "large").iterdir())
    assert [pydicom.dcmread(p) for p in pulled.received] == [pydicom.dcmread(p) for p in large]
    # measured: 0.03 and 0.07 of one file by DICOMweb, 0.5 and 1.1 by DIMSE
    assert pushing < (0.3 if way == "web" else 1.5) * size
    assert pulling < (0.3 if way == "web" else 2.5) * size


def test_the_command_line(orthanc_with_patient: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    peer = str(orthanc_with_patient.dimse())
    assert main(["echo", peer]) == 0
    assert capsys.readouterr().out == f"{peer} answers\n"
    assert main(["pull", peer, "TT-NET", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 12
    assert any("t1_mprage_tra_KM" in line for line in listed)
    out = tmp_path / "in"
    assert main(["pull", peer, "TT-NET", "--out", str(out), "--modality", "SEG", "--modality", "RTPLAN"]) == 0
    assert "3 files received" in capsys.readouterr().out
    series = find_series(orthanc_with_patient.web(), "TT-NET")[0]
    more = ["--study", series.study_uid, "--series", series.series_uid]
    assert main(["pull", peer, "TT-NET", "--out", str(out), *more]) == 0
    web = f"http://tester@localhost:{orthanc_with_patient.http_port}/dicom-web"
    monkeypatch.setenv("TUMORTWIN_PASSWORD", "s3cret-pass")
    assert main(["push", str(out), web]) == 0
    shown = capsys.readouterr()
    assert "11 files sent, and listed by the peer" in shown.out
    assert "s3cret" not in shown.out + shown.err
    assert main(["pull", peer, "NOBODY", "--out", str(tmp_path / "x")]) == 2
    assert "has no patient 'NOBODY'" in capsys.readouterr().err
    assert main(["echo", "pacs"]) == 2
    assert "write https://host/dicom-web or dimse://" in capsys.readouterr().err


def test_without_the_extra_the_error_names_it(tmp_path: Path):
    """A new interpreter in which neither library can be imported."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['pynetdicom', 'dicomweb_client', 'dicomweb_client.api']))\n"
        "import tumortwin.cli\n"
        "for peer in 'dimse://h:104/PACS', 'https://h/dicom-web': print(tumortwin.cli.main(['echo', peer]))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["2", "2"]
    assert run.stderr.count("pip install 'tumortwin[network]'") == 2


@pytest.mark.parametrize("name", [
    "MR_small", "MR_small_implicit", "MR_small_bigendian", "image_dfl", "MR_small_RLE", "MR_small_jpeg_ls_lossless",
    "MR_small_jp2klossless", "JPEG2000", "SC_rgb_jpeg_gdcm",
])  # fmt: skip
def test_what_is_asked_for_can_be_decoded(name: str):
    """The decoder is used on a real file, not only asked whether it is there."""
    data = pydicom.dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / f"{name}.dcm")
    if data.file_meta.TransferSyntaxUID in decodable():
        assert data.pixel_array.size
    else:
        assert data.file_meta.TransferSyntaxUID.is_compressed
        with pytest.raises(RuntimeError):
            _ = data.pixel_array
