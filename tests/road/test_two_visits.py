"""The whole road of a patient with two visits, as a user takes it: resumed, interrupted, with other options."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tumortwin.cli import main
from tumortwin.twin import Twin

pytestmark = pytest.mark.timeout(300)

CONFIG = """
[build]
spacing = 3.0
organ = "breast"

[run]
forecast_days = 60
seed = 3
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("config") / "mine.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def finished(breast, config, tumortwin, tmp_path_factory):
    """The output folder of a finished run, and what the run said."""
    out = tmp_path_factory.mktemp("road") / "out"
    return out, tumortwin("run", breast, "--out", out, "--config", config)


def last_day(out: Path) -> float:
    with (out / "forecast.csv").open(newline="") as file:
        return max(float(row["day"]) for row in csv.DictReader(file))


def test_without_a_held_out_scan_the_forecast_goes_beyond_the_last(finished):
    out, said = finished
    assert said.returncode == 0, said.stderr
    assert "left out: a scored forecast: no visit is held out; the forecast ends 60 days after the last" in said.stdout
    assert last_day(out) == pytest.approx(31 + 60)
    assert all((out / name).stat().st_size > 1000 for name in ("board.pdf", "board.html", "quality.pdf", "twin.json"))


def test_radiotherapy_before_the_first_scan_leaves_out_the_plan_and_nothing_else(finished):
    _, said = finished
    assert "left out: plan options: " in said.stdout
    assert "calibrate on a scan before radiotherapy to compare schedules" in said.stdout


def test_the_patient_is_named_nowhere(finished, unusual):
    out, said = finished
    pages = [path for path in out.rglob("*") if path.suffix in (".json", ".html", ".csv")]
    assert len(pages) >= 4
    texts = [said.stdout, said.stderr, *(path.read_text() for path in pages), *map(str, out.rglob("*"))]
    for part in (unusual, "4711", "Ünal"):
        assert not [text for text in texts if part in text]


def test_the_options_are_in_the_record(finished):
    out, _ = finished
    for record in (json.loads((out / name).read_text()) for name in ("twin.json", "stages/run.json")):
        assert record["options"]["build"]["spacing"] == 3.0
        assert record["options"]["build"]["organ"] == "breast"
        assert record["options"]["seed"] == 3
        assert record["options"]["plan"]["constraints"] == "QUANTEC 2010"
        assert "threads" not in record["options"]  # results do not depend on it


def take_the_road(*arguments: object) -> int:
    return main(["run", *map(str, arguments)])


def test_a_rerun_takes_every_stage_from_what_is_there(finished, breast, config, capsys):
    out, _ = finished
    stages = {path: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    (out / "board.pdf").unlink()
    assert take_the_road(breast, "--out", out, "--config", config, "--threads", 1) == 0
    assert capsys.readouterr().out.count("taken from") == 3
    assert {path: path.stat().st_mtime_ns for path in (out / "stages").iterdir()} == stages
    assert (out / "board.pdf").exists()


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["--seed", 4], "seed was 3, is now 4"),
        (["--spacing", 2.5], "build.spacing was 3.0, is now 2.5"),
        (["--visits", 2], "visits was null, is now 2"),
    ],
)
def test_a_rerun_with_other_options_says_which(finished, breast, config, capsys, more, differs):
    out, _ = finished
    before = (out / "stages" / "run.json").read_bytes()
    assert take_the_road(breast, "--out", out, "--config", config, *more) == 2
    message = capsys.readouterr().err
    assert differs in message
    assert "--force" in message
    assert (out / "stages" / "run.json").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_and_again(breast, config, tumortwin, tmp_path):
    """Interrupted in the calibration, and resumed; on all visits, which leaves none to hold out."""
    out = tmp_path / "out"
    arguments = ["run", breast, "--out", out, "--config", config, "--visits", 2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tumortwin", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background of a shell ignores the signal, and its children would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 120
    while not (out / "stages" / "twin.npz").exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert message.count("\n") == 1
    assert "interrupted" in message
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["run.json", "twin.npz"]
    said = tumortwin(*arguments)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("taken from") == 1
    assert last_day(out) == pytest.approx(31 + 60)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--organ", "brest"], "no mask is called 'brest'"),
        (["--visits", 5], "this patient has 2 visits"),
        (["--strict"], "strict=True"),
    ],
)
def test_a_mistake_leaves_nothing_and_names_nobody(breast, config, capfd, tmp_path, unusual, more, reason):
    out = tmp_path / "out"
    assert take_the_road(breast, "--out", out, "--config", config, *more) == 2
    said = capfd.readouterr()
    assert reason in said.err
    assert not out.exists()
    for part in (unusual, "4711", "Ünal", "2024-01"):
        assert part not in said.out + said.err


def test_build_takes_the_same_options_and_names_nobody(breast, config, capfd, tmp_path, unusual):
    arguments = ["build", str(breast), "--out", str(tmp_path / "out"), "--config", str(config), "--spacing", "4"]
    assert main(arguments) == 0
    said = capfd.readouterr()
    for part in (unusual, "4711", "Ünal", "2024-01"):
        assert part not in said.out + said.err
    assert Twin.load(tmp_path / "out" / "twin.npz").domain.grid.spacing == (4.0, 4.0, 4.0)
    assert main([*arguments, "--force", "--identity", "source"]) == 0
