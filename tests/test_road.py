"""The whole road on the shipped patient, against its truth, which only this test reads."""

import csv
import json
import shutil

import pytest

from tumortwin.errors import InputError, OutputExistsError
from tumortwin.road import RoadResult, StageError, calibration_visits, run

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def road(sample, tmp_path_factory) -> tuple[RoadResult, dict]:
    out = tmp_path_factory.mktemp("road") / "demo"
    lines: list[str] = []
    result = run(sample, out, threads=2, announce=lines.append)
    return result, {"out": out, "lines": lines}


def test_every_promised_file_is_there_and_not_empty(road):
    result, made = road
    names = {p.name for p in result.files}
    assert {"board.pdf", "board.html", "twin.json", "forecast.csv"} <= names
    assert sum(p.suffix == ".png" for p in result.files) >= 6
    assert all(p.stat().st_size > 500 for p in result.files)
    assert not result.left_out
    assert not [p for p in made["out"].rglob("*") if p.name.startswith(".")]


def test_the_record_has_units_intervals_sources_hashes_and_versions(road):
    _, made = road
    record = json.loads((made["out"] / "twin.json").read_text())
    for estimate in record["parameters"]:
        assert estimate["unit"]
        assert estimate["source"]
        if estimate["known_from"] != "fixed":
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert len(record["inputs"]["files"]) > 500
    assert all(len(digest) == 64 for digest in record["inputs"]["files"].values())
    assert "tumortwin" in record["versions"]


def test_the_forecast_table_is_ordered_within_its_band(road):
    _, made = road
    with (made["out"] / "forecast.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["quantity"] for row in rows} >= {"whole", "enhancing"}
    for row in rows:
        assert 0 <= float(row["p05_ml"]) <= float(row["median_ml"]) <= float(row["p95_ml"])


def test_a_rerun_goes_on_from_what_is_there(road, sample):
    _, made = road
    out = made["out"]
    (out / "board.pdf").unlink()
    before = (out / "stages" / "calibration.npz").stat().st_mtime_ns
    lines: list[str] = []
    run(sample, out, announce=lines.append)
    assert (out / "board.pdf").exists()
    assert (out / "stages" / "calibration.npz").stat().st_mtime_ns == before
    assert any("taken from" in line for line in lines)


def test_other_options_do_not_replace_results_unasked(road, sample):
    _, made = road
    with pytest.raises(OutputExistsError, match="--force"):
        run(sample, made["out"], seed=99)


def test_one_visit_without_radiotherapy_gives_what_can_be_built(sample, tmp_path):
    first = sorted(p for p in sample.iterdir() if p.is_dir() and p.name != "rt")[0]
    shutil.copytree(first, tmp_path / "one" / first.name)
    result = run(tmp_path / "one", tmp_path / "out")
    assert any("at least two visits" in line for line in result.left_out)
    assert {"board.pdf", "board.html", "twin.json"} <= {p.name for p in result.files}


def test_a_stage_that_fails_names_itself(tmp_path):
    with pytest.raises(StageError, match="read the patient"):
        run(tmp_path / "nowhere", tmp_path / "out")


HELD_OUT = [(6, None, 4), (3, None, 2), (2, None, 2), (1, None, 1), (6, 5, 5)]


@pytest.mark.parametrize(("available", "asked", "used"), HELD_OUT)
def test_which_visits_are_held_out(available, asked, used):
    assert calibration_visits(available, asked) == used


@pytest.mark.parametrize("asked", [1, 7])
def test_asking_for_visits_that_are_not_there(asked):
    with pytest.raises(InputError, match="6 visits"):
        calibration_visits(6, asked)
