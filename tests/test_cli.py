"""The command line: what it prints, its exit codes, and that no input a user might give makes a traceback."""

import shutil
import subprocess
import sys

import pytest

from tumortwin import __version__
from tumortwin.cli import main
from tumortwin.cli.parser import make_parser
from tumortwin.road.config import flag_help


def tumortwin(*arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tumortwin", *map(str, arguments)], capture_output=True, text=True)


def test_version():
    run = tumortwin("--version")
    assert (run.returncode, run.stdout) == (0, f"tumortwin {__version__}\n")


def test_help_says_research_use():
    assert "Research use only" in tumortwin("--help").stdout


def an_image(sample):
    """A single-frame MR file of the sample."""
    return sorted((sample / "0-diagnosis").rglob("*.dcm"))[0]


def refused(capsys, *arguments) -> str:
    """The one message on stderr of a command that must end with exit code 2."""
    assert main([str(a) for a in arguments]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message.split("tumortwin: ", 1)[1]


@pytest.mark.parametrize("command", ["info", "run"])
def test_a_wrong_path_is_named(capsys, tmp_path, command):
    extra = ["--out", tmp_path / "out"] if command == "run" else []
    assert "nowhere" in refused(capsys, command, tmp_path / "nowhere", *extra)
    assert not (tmp_path / "out" / "board.pdf").exists()


def test_an_empty_path_is_not_the_folder_one_is_in(capsys):
    with pytest.raises(SystemExit):
        main(["info", ""])
    assert "the path is empty" in capsys.readouterr().err


def test_info_on_an_empty_folder(capsys, tmp_path):
    assert str(tmp_path) in refused(capsys, "info", tmp_path)


def test_info_on_a_folder_of_text_files(capsys, tmp_path):
    for name in ("notes.txt", "more.txt"):
        (tmp_path / name).write_text("no image")
    assert "DICOM" in refused(capsys, "info", tmp_path)


def test_info_on_a_file_that_is_not_a_folder(capsys, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    assert "notes.txt" in refused(capsys, "info", path)


def test_info_on_a_folder_with_a_single_image_file(capsys, sample, tmp_path):
    shutil.copy(an_image(sample), tmp_path)
    assert main(["info", str(tmp_path)]) == 0
    assert "one slice only" in capsys.readouterr().out


def test_info_on_the_sample_shows_every_visit_and_sequence(capsys, sample):
    assert main(["info", str(sample)]) == 0
    shown = capsys.readouterr().out
    for word in ("T1Gd", "FLAIR", "ADC", "TT-0001"):
        assert word in shown


def test_two_patients_in_one_folder_are_refused_by_name(capsys, sample, tmp_path):
    import pydicom

    shutil.copy(an_image(sample), tmp_path / "one.dcm")
    other = pydicom.dcmread(tmp_path / "one.dcm")
    other.PatientID = "SOMEBODY-ELSE"
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "2.25.123456"
    other.save_as(tmp_path / "two.dcm")
    message = refused(capsys, "info", tmp_path)
    assert "TT-0001" in message
    assert "SOMEBODY-ELSE" in message


def test_results_are_not_written_over_a_folder_of_other_things(capsys, sample, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    assert "--force" in refused(capsys, "run", sample, "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_named(capsys, sample):
    assert "/proc/nowhere" in refused(capsys, "run", sample, "--out", "/proc/nowhere")


def test_more_visits_than_there_are_is_said_before_the_work(capsys, sample, tmp_path):
    assert "6 visits" in refused(capsys, "run", sample, "--out", tmp_path / "out", "--visits", 9)
    assert not (tmp_path / "out").exists()


def test_a_misspelled_option_is_exit_code_2():
    run = tumortwin("run", "x", "--outt", "y")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tumortwin", "new-config", tmp_path / "a.toml"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (141, b"")


def test_a_misspelled_option_is_told_what_it_is_near_to(capsys):
    with pytest.raises(SystemExit):
        main(["run", "x", "--out", "y", "--dicomm"])
    assert "unrecognized arguments: --dicomm; did you mean --dicom" in capsys.readouterr().err


def test_dicom_is_a_flag_and_says_whose_as_identity_does(capsys):
    """`--dicom source` would leave it open what the pages say: there is one option for all results."""
    said = vars(make_parser().parse_args(["run", "x", "--out", "y", "--dicom", "--identity", "source"]))
    assert (said["run.dicom"], said["run.identity"]) == (True, "source")
    assert vars(make_parser().parse_args(["run", "x", "--out", "y"]))["run.dicom"] is None
    with pytest.raises(SystemExit):
        make_parser().parse_args(["run", "x", "--out", "y", "--dicom", "source"])
    assert "unrecognized arguments: source" in capsys.readouterr().err


def test_help_says_what_an_option_is_for_and_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--spacing MM voxel edge of the twin's cubic grid, mm (default: 2.0)" in said
    assert "--strict, --no-strict stop at the first finding" in said


def test_every_flag_that_sets_an_option_names_one_that_there_is():
    run, build = (make_parser().parse_args([name, "x", "--out", "y"]) for name in ("run", "build"))
    for dest in {name for name in (*vars(run), *vars(build)) if "." in name}:
        assert flag_help(dest)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--spacing", "40"], "spacing is a number from 0.5 to 10 mm, not 40"),
        (["--spacing", "nan"], "spacing is a number from 0.5 to 10 mm, not nan"),
        (["--visits", "1"], "visits is a whole number of at least 2, not 1"),
        (["--threads", "0"], "threads is a whole number from 1"),
        (["--adc-unit", "-1"], "adc_unit is a number from 1e-12"),
        (["--transform", "1=pose.tfm"], "there is no file pose.tfm"),
        (["--organ", "breast", "--deformable"], "leave out organ or deformable"),
        (["--keep-characteristics"], "goes with deidentify"),
        (["--deidentify"], "needs a key"),
        (["--labels", "mine"], "labels is one of BraTS 2021"),
    ],
)
def test_what_cannot_be_is_said_before_the_patient_is_read(capsys, monkeypatch, tmp_path, more, said):
    monkeypatch.setattr("tumortwin.road.stages.read_patient", lambda *a, **k: pytest.fail("read the patient"))
    assert said in refused(capsys, "run", tmp_path, "--out", tmp_path.parent / "out", *more)


def test_a_phantoms_place_is_looked_at_before_it_is_made(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tumortwin.phantom.make_patient", lambda *a, **k: pytest.fail("made the patient"))
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(capsys, "phantom", "--out", tmp_path / "file" / "below")
    for id in ("../up", "a/b", "", " ", "x" * 65):
        assert "names a folder" in refused(capsys, "phantom", "--out", tmp_path, "--id", id)
    (tmp_path / "truth" / "TT-0001").mkdir(parents=True)
    assert "is there already" in refused(capsys, "phantom", "--out", tmp_path)
    (tmp_path / "truth" / "TT-0001" / "thesis.tex").touch()
    assert "that no phantom wrote" in refused(capsys, "phantom", "--out", tmp_path, "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "truth"]


def test_deidentify_and_its_key(sample, tmp_path, capsys):
    source = tmp_path / "Smith^John"
    source.mkdir()
    shutil.copy(an_image(sample), source / "Smith.dcm")
    key = tmp_path / "a.key"
    assert main(["new-key", str(key)]) == 0
    arguments = ["deidentify", source, "--out", tmp_path / "out", "--key-file", key]
    arguments += ["--report", tmp_path / "report.json"]
    assert main([str(a) for a in arguments]) == 0
    said = capsys.readouterr().out
    assert "1 files of 1 patient(s)" in said
    assert "113105 Clean Descriptors Option" in said
    assert "Smith" not in said
    assert key.read_text().split()[1] not in said
    assert (tmp_path / "report.json").read_bytes() == (tmp_path / "out" / "deidentification.json").read_bytes()
    assert "is there already" in refused(capsys, *arguments)
    assert main([str(a) for a in [*arguments, "--force"]]) == 0
    assert "never replaced" in refused(capsys, "new-key", key)
    no_key = source / "Smith.dcm"
    assert "is not a key file" in refused(capsys, "deidentify", source, "--out", tmp_path / "b", "--key-file", no_key)


def test_encrypted_keys(tmp_path, sample, capsys):
    key, right, wrong = tmp_path / "a.key", tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse battery\n")
    wrong.write_text("another horse\n")
    assert main(["new-key", str(key), "--passphrase-file", str(right)]) == 0
    command = ["deidentify", sample / "rt", "--out", tmp_path / "out", "--key-file", key]
    assert "give its passphrase" in refused(capsys, *command)
    assert "the passphrase is wrong" in refused(capsys, *command, "--passphrase-file", wrong)
    assert main([str(a) for a in [*command, "--passphrase-file", right]]) == 0


def test_info_takes_the_users_word_for_a_sequence(sample, capsys):
    assert main(["info", str(sample / "0-diagnosis"), "--sequence", "T1_SAG*=flair"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "t1_sag_pre" in line]
    assert " FLAIR " in line
    assert "you said so ('T1_SAG*')" in line


def test_a_sequence_nobody_knows_is_refused(sample, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["info", str(sample), "--sequence", "t1*=flare"])
    assert "PATTERN=SHOWS, where SHOWS is one of T1, T1Gd" in capsys.readouterr().err


def test_verify_log_says_which_line_is_broken(sample, tmp_path, capsys):
    source, log = tmp_path / "in", tmp_path / "log.jsonl"
    source.mkdir()
    shutil.copy(an_image(sample), source)
    assert main(["new-key", str(tmp_path / "a.key")]) == 0
    for out in "abc":
        assert (
            main(
                [
                    str(a)
                    for a in [
                        "deidentify",
                        source,
                        "--out",
                        tmp_path / out,
                        "--key-file",
                        tmp_path / "a.key",
                        "--log",
                        log,
                        "--purpose",
                        "a study",
                        "--consent",
                        "broad",
                    ]
                ]
            )
            == 0
        )
    assert main(["verify-log", str(log)]) == 0
    head = capsys.readouterr().out.split()[-1]
    content = log.read_text()
    assert content.count('"purpose":"a study"') == 3
    log.write_text(content.replace("a study", "another", 2))
    assert "broken at line 1: its content was changed" in refused(capsys, "verify-log", log)
    lines = content.splitlines(keepends=True)
    log.write_text(lines[0] + lines[2])
    assert "broken at line 2: it does not follow" in refused(capsys, "verify-log", log)
    log.write_text("".join(lines[:2]))
    assert main(["verify-log", str(log)]) == 0
    cut = refused(capsys, "verify-log", log, "--head", head)
    assert "broken at line 3: the line with the given hash is missing" in cut
