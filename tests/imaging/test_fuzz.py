"""Damaged files are read or refused in words, soon and in little memory; the watch over that sees what it should."""

import json
import sys
import time
from pathlib import Path

import pydicom
import pytest

from tumortwin.errors import ReadError
from tumortwin.imaging.folder import read_folder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fuzz

    return fuzz


@pytest.fixture(scope="session")
def seeds(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        from seeds import make_seeds
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_damaged_files_are_read_or_refused(fuzz):
    outcomes = list(fuzz.fuzz(seed=0, numbers=range(378)))
    assert [o for o in outcomes if o.failed] == []
    assert len(outcomes) == 378
    verdicts = {o.verdict for o in outcomes}
    assert verdicts == {"read", "read with findings", "refused"}


@pytest.mark.filterwarnings("ignore")  # pydicom's, on what it is given to spoil
def test_mutants_differ_from_their_seeds_and_are_the_same_every_time(fuzz, seeds):
    made = [fuzz.spoil(seeds, 0, n) for n in range(len(seeds) * 8)]
    assert {m.kind for m in made} == set(seeds)
    changed = [m.files != seeds[m.kind] for m in made]
    assert sum(changed) > 0.9 * len(made)
    assert all(fuzz.spoil(seeds, 0, n).files == m.files for n, m in enumerate(made))
    assert fuzz.spoil(seeds, 1, 0).files != made[0].files


HOSTILE = """
import json, os, sys, time
for n in map(int, sys.stdin.read().split(",")):
    print(json.dumps({"number": n, "kind": "k"}), flush=True)
    if n == 1: os.kill(os.getpid(), 11)
    if n == 2: time.sleep(30)
    if n == 3: os.kill(os.getpid(), 24)
    print(json.dumps({"number": n, "kind": "k", "verdict": "read"}), flush=True)
"""


def test_crashes_and_hangs_are_seen_and_the_rest_is_read_on(fuzz):
    outcomes = fuzz.watched([sys.executable, "-c", HOSTILE], [0, 1, 4, 2, 3, 5], patience=1.0)
    verdicts = {o.number: o.verdict for o in outcomes}
    assert verdicts == {0: "read", 1: "crash", 2: "hang", 3: "hang", 4: "read", 5: "read"}


FAULTY = """
import sys, time, warnings
sys.path.insert(0, {benchmarks!r})
import fuzz, json
def read_one(spoiled, folder):
    if not spoiled.what: return "read", ""
    n = read_one.n = read_one.n + 1
    if n == 1: raise_ = bytearray(300 * 2**20)
    if n == 2: [warnings.warn("again", UserWarning) for _ in range(100)]
    if n == 3:
        while True: pass
    return "read", ""
read_one.n = 0
fuzz.read_one = read_one
import tempfile
with tempfile.TemporaryDirectory() as t:
    seeds = fuzz.make_seeds(fuzz.Path(t))
fuzz.SECONDS = 1
numbers = [int(n) for n in sys.stdin.read().split(",")]
read_one.n = 5 - len(numbers)
for line in fuzz.work(seeds, 0, numbers):
    print(json.dumps(line), flush=True)
"""


def test_memory_endless_loops_and_storms_of_warnings_are_seen(fuzz):
    command = [sys.executable, "-c", FAULTY.format(benchmarks=str(BENCHMARKS))]
    verdicts = {o.number: o.verdict for o in fuzz.watched(command, [0, 1, 2, 3, 4])}
    assert verdicts == {0: "memory", 1: "warnings", 2: "hang", 3: "read", 4: "read"}


def test_an_enhanced_image_without_frames_is_refused_by_name(fuzz, seeds, tmp_path):
    folder = _new(tmp_path / "folder")
    ((name, content),) = seeds["MR, enhanced"].items()
    (folder / name).write_bytes(content)
    data = pydicom.dcmread(folder / name)
    data.PerFrameFunctionalGroupsSequence = []
    data.save_as(folder / name)
    study = read_folder(folder)
    assert not study.images
    assert any(name in str(f) and "frames" in str(f) for f in study.findings)


@pytest.mark.parametrize("keywords", [("Rows",), ("Columns",), ("Rows", "Columns")])
@pytest.mark.parametrize("kind", ["MR, plain", "MR, RLE", "MR, JPEG-LS", "MR, JPEG 2000", "MR, implicit"])
def test_sizes_that_the_file_cannot_hold_are_refused_without_taking_memory(fuzz, seeds, tmp_path, kind, keywords):
    folder = _new(tmp_path / "folder")
    for name, content in seeds[kind].items():
        (folder / name).write_bytes(content)
        data = pydicom.dcmread(folder / name)
        for keyword in keywords:
            data[keyword].value = 65535
        data.save_as(folder / name)
    before = fuzz.status("VmPeak")
    study = read_folder(folder)
    assert fuzz.status("VmPeak") - before < 2**29  # two threads' stacks and arenas; the pixels would be 70 GB
    assert not study.images
    assert any("the pixels" in str(f) for f in study.findings)


def test_a_stream_that_is_cut_off_is_refused_at_once(seeds, tmp_path):
    """CharLS looked for the end of 72 pixels for seconds."""
    ((name, content),) = seeds["MR, enhanced"].items()
    (tmp_path / name).write_bytes(content[:4373])
    begin = time.process_time()
    study = read_folder(tmp_path)
    assert time.process_time() - begin < 1
    assert not study.images
    assert any("cut off" in str(f) for f in study.findings)


def test_runs_that_are_too_long_are_said(seeds, tmp_path):
    """A decoder written in Rust panicked, which no `except Exception` catches."""
    for name, content in seeds["MR, RLE"].items():
        (tmp_path / name).write_bytes(content)
        data = pydicom.dcmread(tmp_path / name)
        data.Columns = 1
        data.save_as(tmp_path / name)
    study = read_folder(tmp_path)
    assert any("72 vs. 9 bytes expected" in str(f) for f in study.findings)


def test_what_is_no_sequence_and_no_number_says_nothing(seeds, tmp_path):
    """A sequence whose VR became US holds integers; a VR of no meaning cannot be converted."""
    name, content = next(iter(seeds["ADC, plain"].items()))
    for other, more in seeds["ADC, plain"].items():
        (tmp_path / other).write_bytes(more)
    at = content.index(b"\x40\x00\x96\x90SQ")
    (tmp_path / name).write_bytes(content[: at + 4] + b"US" + content[at + 6 :])
    at = content.index(b"\x28\x00\x10\x00US")
    (tmp_path / "other.dcm").write_bytes(content[: at + 4] + b"U\0" + content[at + 6 :])
    study = read_folder(tmp_path)
    assert study.findings


def test_a_length_beyond_the_file_takes_no_memory(fuzz, seeds, tmp_path):
    """A file on disk was once asked for the gigabytes that a damaged length said."""
    folder = _new(tmp_path / "folder")
    name, content = next(iter(seeds["MR, implicit"].items()))
    at = content.index(b"\x10\x00\x10\x00", 132)  # patient's name
    (folder / name).write_bytes(content[: at + 4] + (2**31 - 2).to_bytes(4, "little") + content[at + 8 :])
    before = fuzz.status("VmPeak")
    with pytest.raises(ReadError):
        read_folder(folder)
    assert fuzz.status("VmPeak") - before < 2**26


def _new(folder):
    folder.mkdir()
    return folder


def test_outcomes_survive_their_way_through_a_pipe(fuzz):
    outcome = fuzz.Outcome(3, "MR", "read with findings", "", 0.25, 7)
    assert fuzz.Outcome(**json.loads(json.dumps(vars(outcome)))) == outcome
