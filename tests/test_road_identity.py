"""The road on somebody: nothing that is written says who it is, unless asked."""

import json
import subprocess
import traceback

import numpy as np
import pydicom
import pytest

from tumortwin.cli import main
from tumortwin.errors import InputError, TumorTwinError
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.provenance import Log, hashes_of, verify
from tumortwin.road import RunOptions, run
from tumortwin.twin import BuildOptions, build_twin

pytestmark = pytest.mark.timeout(900)

SECRETS = ("Weatherby", "MRN-40718833", "Ottoline", "2023-05-", "202305")


@pytest.fixture(scope="module")
def somebody(sample, tmp_path_factory):
    """One visit of the sample as a hospital would have it: with a name, in folders of that name."""
    folder = tmp_path_factory.mktemp("hospital") / "Weatherby MRN-40718833"
    for path in sorted((sample / "2-post-rt").rglob("*.dcm")):
        data = pydicom.dcmread(path)
        data.PatientName, data.PatientID = "Weatherby^Ottoline", "MRN-40718833"
        data.SeriesDescription = f"{data.SeriesDescription} Weatherby"[:64]
        (folder / "Ottoline").mkdir(parents=True, exist_ok=True)
        data.save_as(folder / "Ottoline" / f"{path.parent.name}-{path.name}")
    return folder


@pytest.fixture(scope="module")
def built():
    """Twins that were built here, by the files they were built from."""
    return {}


@pytest.fixture(autouse=True)
def the_same_files_are_built_once(built, monkeypatch):
    """A run with another identity or a passphrase, or over former results, builds the twin that the first one built."""

    def build(patient, *args, **options):
        asked = {name: value for name, value in options.items() if name != "progress"}
        key = repr((sorted(patient.sources.items()), args, asked))
        if key not in built:
            built[key] = build_twin(patient, *args, **options)
        return built[key]

    monkeypatch.setattr("tumortwin.road.stages.build_twin", build)


def said_in(folder):
    """Names and contents of all files, saved arrays' trees decoded, compressed streams of pages inflated."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        text = path.relative_to(folder).as_posix() + path.read_bytes().decode("latin-1")
        if path.suffix == ".npz" and path.read_bytes()[:2] == b"PK":
            with np.load(path) as saved:
                text += saved["tree"].tobytes().decode()
        if path.suffix == ".pdf":
            text += subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
        yield path, text


def leaks(folder, *left_out):
    return {
        (path.name, secret)
        for path, text in said_in(folder)
        if path.parent.name not in left_out
        for secret in SECRETS
        if secret in text
    }


def test_results_say_nothing_of_whom_unless_asked(somebody, tmp_path, recwarn):
    log, lines = Log(tmp_path / "log.jsonl", purpose="a study"), []
    result = run(somebody, tmp_path / "out", RunOptions(dicom=True), log=log, announce=lines.append)
    assert {p.suffix for p in result.files} >= {".pdf", ".html", ".json", ".png", ".dcm"}
    assert any(p.name.startswith("board") and p.suffix == ".dcm" for p in result.files)
    assert leaks(tmp_path / "out", "stages") == set()
    lines += [*result.left_out, *(str(warning.message) for warning in recwarn)]
    assert not [line for line in lines if any(secret in line for secret in SECRETS)]
    # a stage is a saved twin: as read, unless it was read de-identified
    assert ("twin.npz", "MRN-40718833") in leaks(tmp_path / "out")
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["read_patient", "run"]
    assert entries[1]["outputs"] == hashes_of(result.files, tmp_path / "out")
    assert not [secret for secret in SECRETS if secret in (tmp_path / "log.jsonl").read_text()]
    assert verify(tmp_path / "log.jsonl").whole

    run(somebody, tmp_path / "out", RunOptions(identity="source"), overwrite=True)
    known = leaks(tmp_path / "out", "stages")
    assert {("board.html", "MRN-40718833"), ("board.pdf", "MRN-40718833"), ("twin.json", "Ottoline")} <= known


def test_with_a_key_or_a_passphrase_the_stages_say_nothing_either(somebody, tmp_path):
    key = bytes(range(32))
    lines = []
    run(somebody, tmp_path / "keyed", RunOptions(deidentify=True, dicom=True), key=key, announce=lines.append)
    assert any("head that was not defaced" in line for line in lines)
    assert list((tmp_path / "keyed" / "dicom").glob("board*"))
    assert leaks(tmp_path / "keyed") == set()
    assert Pseudonym(key, "MRN-40718833").name in (tmp_path / "keyed" / "board.html").read_text()
    run(somebody, tmp_path / "locked", passphrase="correct horse")
    assert leaks(tmp_path / "locked") == set()
    lines.clear()
    run(somebody, tmp_path / "locked", passphrase="correct horse", announce=lines.append)
    assert any("taken from" in line for line in lines)


def test_deidentify_needs_a_key(somebody, tmp_path):
    with pytest.raises(InputError, match="needs a key"):
        run(somebody, tmp_path / "out", RunOptions(deidentify=True))


def test_a_failing_run_says_nothing_of_whom_unless_asked(somebody, tmp_path):
    build, said = BuildOptions(organ="liver"), {}
    for identity in ("removed", "source"):
        with pytest.raises(TumorTwinError) as caught:
            run(somebody, tmp_path / "out", RunOptions(build=build, identity=identity))
        # what a traceback or a logger shows of an error includes its causes
        said[identity] = "".join(traceback.format_exception(caught.value)).replace(str(somebody), "")
    assert not [secret for secret in SECRETS if secret in said["removed"]]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_read_says_nothing_of_whom(somebody, tmp_path):
    """Nobody knows yet whose it is: the files are asked."""
    folder = tmp_path / "in"
    folder.mkdir()
    data = pydicom.dcmread(sorted(somebody.rglob("*.dcm"))[0])
    data.save_as(folder / "Ottoline.dcm")
    data.PatientID, data.PatientName = "MRN-99", "Featherstone"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "2.25.123456"
    data.save_as(folder / "Weatherby.dcm")
    with pytest.raises(TumorTwinError) as caught:
        run(folder, tmp_path / "out")
    said = "".join(traceback.format_exception(caught.value)).replace(str(folder), "FOLDER")
    assert "[removed]: 1 files, e.g. [file 1]" in said
    assert not [secret for secret in (*SECRETS, "MRN-99", "Featherstone") if secret in said]
    with pytest.raises(TumorTwinError, match="MRN-99: 1 files"):
        run(folder, tmp_path / "out", RunOptions(identity="source"))


def test_info_says_nothing_of_whom_if_asked(somebody, capfd):
    assert main(["info", str(somebody), "--identity", "removed"]) == 0
    said = capfd.readouterr()
    assert "T1Gd" in said.out
    assert not [secret for secret in SECRETS if secret in (said.out + said.err).replace(str(somebody), "")]
    assert main(["info", str(somebody)]) == 0
    assert "MRN-40718833" in capfd.readouterr().out
