"""Options in a TOML file: the template, and every mistake by its name."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from tumortwin.cli import main
from tumortwin.errors import InputError, ReadError
from tumortwin.road import RunOptions, config_template, read_config
from tumortwin.road.config import changed

EXAMPLE = re.compile(r"^# (\w+ = .*?)  # (default|example)$", re.MULTILINE)


def test_the_template_as_it_is_gives_the_defaults(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    assert main(["new-config", str(file)]) == 0
    assert "--config" in capsys.readouterr().out
    assert read_config(file) == RunOptions()
    assert main(["new-config", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_every_option_is_in_the_template_with_its_default(tmp_path):
    (tmp_path / "visit1.tfm").touch()
    file = tmp_path / "all.toml"
    file.write_text(EXAMPLE.sub(r"\1", config_template()))
    named = {(section, key) for section, keys in tomllib.loads(file.read_text()).items() for key in keys}
    options = RunOptions()
    groups = {"build": options.build, "calibrate": options.calibrate, "plan": options.plan}
    own = {f.name for f in dataclasses.fields(options)} - set(groups)
    assert named == {("run", name) for name in own} | {
        (section, f.name) for section, group in groups.items() for f in dataclasses.fields(group)
    }
    # an example goes with nothing else where options exclude each other: each alone, defaults all together
    for line, kind in EXAMPLE.findall(config_template()):
        key = line.split(" = ")[0]
        section = next(section for section, name in named if name == key)
        file.write_text(f"[{section}]\n{line}\n")
        assert (read_config(file) == options) is (kind == "default"), line


def test_descriptions_and_units_are_in_the_template():
    template = config_template()
    assert "# Voxel edge of the twin's cubic grid, mm.\n# A number from 0.5 to 10 mm.\n# spacing = 2.0" in template
    assert not re.search(r"^#\n|:func:|:class:", template, re.MULTILINE)
    assert "\n\n# A " not in template  # no option without a description
    assert max(map(len, template.splitlines())) <= 120


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[build]\nspacings = 2", "[build] there is no option 'spacings': did you mean spacing?"),
        ("[biuld]\nspacing = 2", "there is no section [biuld]: did you mean build?"),
        ("[network]", "there is no section [network]: there are build, calibrate, plan, run"),
        ("spacing = 2", "there is no section [spacing]"),
        ("build = 2", "build is a section"),
        ("[build]\nspacing = 40", "[build] spacing is a number from 0.5 to 10 mm, not 40"),
        ("[build]\nspacing = nan", "[build] spacing is a number from 0.5 to 10 mm, not nan"),
        ("[build]\nspacing = '2'", "[build] spacing is a number from 0.5 to 10 mm, not the text '2'"),
        ("[build]\nreference = 1.5", "[build] reference is a whole number, not 1.5"),
        ("[build]\ndeformable = 1", "[build] deformable is true or false, not 1"),
        ("[build]\ncellularity = 'fat'", "[build] cellularity is one of adc, outlines, both, not the text 'fat'"),
        ("[build]\ntransforms = {1 = 'pose.tfm'}", "[build] transforms: visit 1: there is no file"),
        ("[build]\ntransforms = {first = 'pose.tfm'}", "'first' is no index of a visit"),
        ("[build]\norgan = 'breast'\ndeformable = true", "[build] deformable=True bends heads"),
        ("[calibrate]\nmax_solves = 0", "[calibrate] max_solves is a whole number from 1 to 1000000, not 0"),
        ("[plan]\nconstraints = 'Emami'", "[plan] constraints is one of QUANTEC 2010, Burman 1991"),
        ("[plan]\nsamples = true", "[plan] samples is a whole number from 3 to 10000, not True"),
        ("[run]\nvisits = 1", "[run] visits is a whole number of at least 2, not 1"),
        ("[run]\nidentity = 'hidden'", "[run] identity is one of source, removed, not the text 'hidden'"),
        ("[run]\nsequences = {'*MPRAGE*' = 'T9'}", "[run] sequences: '*MPRAGE*' shows one of T1, T1Gd"),
        ("[run]\nsequences = 'T1'", "[run] sequences is a table of patterns"),
        ("[run]\nkey = 'secret'", "[run] there is no option 'key'"),
        ("[run]\npassphrase = 'secret'", "[run] there is no option 'passphrase'"),
        ("[run]\nbuild = {spacing = 2}", "[run] there is no option 'build'"),
        ("[run]\nseed = 2024-01-01", "[run] seed is a whole number of at least 0, not a date"),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(tmp_path, text, said):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"[build\nspacing = 2", b"\xff\xfe", b"[run]\nseed = 1\nseed = 2"])
def test_what_is_no_toml(tmp_path, content):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(ReadError, match=r"mine\.toml is not TOML"):
        read_config(file)


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "o"), "--config", str(tmp_path / "no.toml")]) == 2
    assert "no.toml cannot be read" in capsys.readouterr().err


def test_paths_count_from_the_files_folder(tmp_path):
    (tmp_path / "pose.tfm").touch()
    file = tmp_path / "mine.toml"
    file.write_text("[build]\ntransforms = {2 = 'pose.tfm'}")
    assert read_config(file).build.transforms == {2: str(tmp_path / "pose.tfm")}


def test_flags_overrule_the_file_and_tables_are_joined():
    options = RunOptions(seed=3, dicom=True, sequences={"a*": "T1", "b*": "T2"})
    new = changed(options, {"run.dicom": False, "build.spacing": 3.0, "run.sequences": {"b*": "FLAIR", "c*": "ADC"}})
    assert (new.seed, new.dicom, new.build.spacing) == (3, False, 3.0)
    assert new.sequences == {"a*": "T1", "b*": "FLAIR", "c*": "ADC"}
    assert changed(options, {}) == options


def test_the_example_of_the_documentation(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "options.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "to_planning.tfm").touch()
    (tmp_path / "mine.toml").write_text(example)
    options = read_config(tmp_path / "mine.toml")
    assert (options.build.spacing, options.plan.limits.name, options.forecast_days) == (1.5, "Burman 1991", 120.0)
    assert options.sequences == {"*MPRAGE*": "T1Gd"}
