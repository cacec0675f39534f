"""Where results may go, and when what is there is another run's."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tumortwin.errors import InputError, OutputExistsError
from tumortwin.road import RunOptions, run, stages
from tumortwin.road.results import LEAST_FREE_MB, Results, check_out
from tumortwin.twin import BuildOptions

SOURCES = {"a.dcm": "0" * 64}


def of(folder, options=RunOptions(), sources=SOURCES, overwrite=False) -> Results:  # noqa: B008
    return Results(folder, options, sources, overwrite, None)


@pytest.fixture
def left(tmp_path):
    """An output folder that a run with default options left its note in."""
    note = tmp_path / "out" / "stages" / "run.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps(of(tmp_path / "nowhere")._run))
    return tmp_path / "out"


def test_a_note_alone_or_empty_folders_are_nothing_to_lose(left, tmp_path):
    of(left, RunOptions(seed=5))
    (tmp_path / "empty" / "stages").mkdir(parents=True)
    (tmp_path / "empty" / ".DS_Store").touch()
    of(tmp_path / "empty")


def test_what_another_run_saved_is(left):
    (left / "stages" / "twin.npz").touch()
    of(left)
    with pytest.raises(OutputExistsError, match=r"forecast_days was 90\.0, is now 30\.0; seed was 0, is now 5"):
        of(left, RunOptions(seed=5, forecast_days=30))
    with pytest.raises(OutputExistsError, match=r"build\.spacing was 2\.0, is now 3\.0\. Name another --out"):
        of(left, RunOptions(build=BuildOptions(spacing=3)))
    with pytest.raises(OutputExistsError, match="the patient's files differ"):
        of(left, sources={"a.dcm": "1" * 64})
    of(left, RunOptions(seed=5), overwrite=True)
    of(left, RunOptions(threads=7, identity="source", dicom=True))  # the numbers are the same


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '"key"'])
def test_a_note_that_is_damaged_is_not_ours(left, damage):
    (left / "stages" / "run.json").write_text(damage)
    of(left)
    (left / "stages" / "twin.npz").touch()
    with pytest.raises(OutputExistsError, match=r"holds other files \(twin\.npz\)"):
        of(left)


def test_names_that_the_patients_files_have_are_not_in_the_note(tmp_path):
    said = of(tmp_path, RunOptions(sequences={"*Weatherby*": "T1"}, build=BuildOptions(organ="Weatherby breast")))._run
    assert "Weatherby" not in json.dumps(said)
    assert said["key"] != of(tmp_path, RunOptions(build=BuildOptions(organ="breast")))._run["key"]


def test_places_that_results_cannot_go_to(tmp_path, monkeypatch):
    patient, file = tmp_path / "patient", tmp_path / "file"
    patient.mkdir()
    file.touch()
    before = sorted(tmp_path.rglob("*"))
    for out, said in (
        (file, "is a file"),
        (file / "below", "file is a file"),
        (patient, "lie in each other"),
        (patient / "results", "lie in each other"),
        (tmp_path, "lie in each other"),
    ):
        with pytest.raises(InputError, match=said):
            check_out(out, patient)
    check_out(tmp_path / "new" / "deep", patient)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=3e6))
    with pytest.raises(InputError, match=f"3 MB are free there, a run needs {LEAST_FREE_MB} MB"):
        check_out(tmp_path / "new", patient)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_below_proc_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="/proc/nowhere cannot be written"):
        check_out(Path("/proc/nowhere"), tmp_path)


def test_nothing_is_read_before_what_was_given_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "read_patient", lambda *a, **k: pytest.fail("read the patient"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        run(tmp_path, tmp_path / "file")
    with pytest.raises(InputError, match="needs a key"):
        run(tmp_path, tmp_path / "out", RunOptions(deidentify=True))
    with pytest.raises(InputError, match=r"run takes RunOptions\(\.\.\.\) as options, not a BuildOptions"):
        run(tmp_path, tmp_path / "out", BuildOptions())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="run takes the patient's folder or file, not None"):
        run(None, tmp_path / "out")  # type: ignore[arg-type]
