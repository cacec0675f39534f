"""Whatever is saved has a name in the table, and nothing else can be brought in by a file."""

import importlib
import json
import sys
import typing
from dataclasses import fields, is_dataclass
from enum import Enum

import numpy as np
import pytest

from tumortwin import archive
from tumortwin.archive import names, renames
from tumortwin.errors import ReadError
from tumortwin.geometry.domain import Domain
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.frame_links import FrameLink
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.therapy.events import Biopsy
from tumortwin.twin import Irradiation


def reachable(kinds) -> set[type]:
    """Dataclasses and enums that values of some classes can hold, by their annotations, subclasses included."""
    found, left = set(), list(kinds)
    while left:
        hint = left.pop()
        left += typing.get_args(hint)
        if not isinstance(hint, type) or hint in found or not (is_dataclass(hint) or issubclass(hint, Enum)):
            continue
        found.add(hint)
        left += hint.__subclasses__()
        if is_dataclass(hint):
            hints = typing.get_type_hints(hint)
            left += [hints[f.name] for f in fields(hint) if f.init]
    return found


def test_every_class_that_is_saved_has_a_row(kinds):
    found = reachable(kinds.values())
    assert len(found) > 50
    without = {f"{kind.__module__}:{kind.__qualname__}" for kind in found if names.name_of(kind) is None}
    assert not without, "add a row for each to tumortwin/archive/names.py"


def test_every_row_is_of_a_class_that_is_there():
    for name, place in names.NAMES.items():
        kind = names.class_of(name)
        assert is_dataclass(kind) or issubclass(kind, Enum), name
        assert names.name_of(kind) == name, f"two names for {place}"


def finding(**changes):
    parts = {
        "what": "a",
        "where": "b",
        "action": "c",
        "severity": {"enum": "severity", "is": "note"},
    }
    return {"dataclass": "finding", "fields": {**parts, **changes}}


def without(name):
    tree = finding()
    del tree["fields"][name]
    return tree


FOREIGN = [
    "tumortwin.__main__:main",
    "tumortwin.cli:main",
    "tumortwin.archive:save",
    "tumortwin.calibration.forecast:Score",
    "tumortwin.imaging.findings:finding",
    "os:system",
    "subprocess:Popen",
    "subprocess",
    "",
]


@pytest.mark.parametrize("version", [1, renames.FORMAT])
@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("key", ["dataclass", "enum"])
def test_no_name_outside_the_table_is_imported(write_tree, monkeypatch, name, key, version):
    node = {"dataclass": name, "fields": {"args": "true"}} if key == "dataclass" else {"enum": name, "is": "true"}
    monkeypatch.delitem(sys.modules, "tumortwin.__main__", raising=False)
    asked = []
    monkeypatch.setattr(importlib, "import_module", lambda module: asked.append(module))
    for tree in (node, {"tuple": [node]}, {"mapping": [[node, node]]}):
        with pytest.raises(ReadError, match=r"tree\.npz does not describe a valid Finding"):
            archive.load(write_tree(tree, version), Finding)
    assert not asked
    monkeypatch.undo()
    with pytest.raises(ReadError, match=rf"Finding.severity is a '{name}', which is nothing that tumortwin saves"):
        archive.load(write_tree(finding(severity={"enum": name, "is": "note"})), Finding)
    assert "tumortwin.__main__" not in sys.modules


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (finding(what=5), "Finding.what is int, not str"),
        (finding(what=None), "Finding.what is empty, not str"),
        (finding(what={"tuple": []}), "Finding.what is tuple, not str"),
        (finding(what={"datetime": "2024-01-01"}), "Finding.what is datetime, not str"),
        (finding(what=finding()), "Finding.what is dataclass, not str"),
        (finding(what={}), "Finding.what is empty, not str"),
        (finding(severity="note"), "Finding.severity is str, not enum"),
        (finding(severity={"enum": "severity", "is": "mild"}), "Finding.severity is 'mild', which is none of note, "),
        (finding(severity={"enum": "severity", "is": ["note"]}), "which is none of note, "),
        (finding(severity={"enum": "dose_unit", "is": "mg"}), "Finding.severity is a dose_unit, not a Severity"),
        (finding(severity={"enum": "finding", "is": "note"}), "Finding.severity is a finding, not a Severity"),
        (finding(severity={"enum": "severity"}), "Finding.severity is a malformed enum"),
        (without("where"), "Finding lacks its field 'where'"),
        (finding(colour="red"), "Finding has a field 'colour', which a Finding does not have"),
        ({"dataclass": "finding", "fields": ["a", "b", "c"]}, "Finding is a malformed dataclass"),
        ({"dataclass": "finding"}, "Finding is a malformed dataclass"),
        ({"dataclass": "severity", "fields": {}}, "holds a Severity, not a Finding"),
        ({"dataclass": ["finding"], "fields": {}}, "Finding is a malformed dataclass"),
        (["finding"], "Finding is list, not dataclass"),
        (5, "Finding is int, not dataclass"),
        (None, "Finding is empty, not dataclass"),
    ],
)
def test_a_tree_that_fits_no_class_is_refused(write_tree, tree, said):
    with pytest.raises(ReadError, match=r"tree\.npz") as caught:
        archive.load(write_tree(tree), Finding)
    assert said in str(caught.value)


def grid(**changes):
    parts = {"shape": {"tuple": [1, 1, 1]}, "affine": {"array": "a0"}, "frame": None}
    return {"dataclass": "grid", "fields": {**parts, **changes}}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (grid(shape={"tuple": [1, 1]}), "Grid.shape has 2 entries, not 3"),
        (grid(shape={"tuple": [1, 1.5, 1]}), "Grid.shape[1] is float, not int"),
        (grid(shape={"tuple": [1, True, 1]}), "Grid.shape[1] is bool, not int"),
        (grid(shape={"tuple": 3}), "Grid.shape is a malformed tuple"),
        (grid(shape={"tuple": [1, 1, -1]}), "a grid cannot be made of what is stored: a grid has three positive sizes"),
        (grid(affine={"array": "a9"}), "Grid.affine is the array a9, which the file does not hold"),
        (grid(affine={"array": ["a0"]}), "Grid.affine is a malformed array"),
        (grid(affine={"tuple": []}), "Grid.affine is tuple, not array"),
        (grid(frame=7), "Grid.frame is int, not "),
    ],
)
def test_a_malformed_grid_is_refused(write_tree, tree, said):
    with pytest.raises(ReadError, match=r"tree\.npz") as caught:
        archive.load(write_tree(tree, a0=np.eye(4)), Grid)
    assert said in str(caught.value)


def test_an_array_of_another_sort_is_refused(write_tree):
    tree = {"dataclass": "mask", "fields": {"array": {"array": "a0"}, "grid": grid()}}
    with pytest.raises(ReadError, match="a mask cannot be made of what is stored: a mask is boolean, not float64"):
        archive.load(write_tree(tree, a0=np.eye(4)), Mask)
    link = {"source": "1", "target": "2", "matrix": {"array": "a0"}, "name": "x"}
    for matrix in (np.full((4, 4), "1"), np.eye(4, dtype=complex)):
        with pytest.raises(ReadError, match=r"a0\.npy holds .* not numbers"):
            archive.load(write_tree({"dataclass": "frame_link", "fields": link}, a0=matrix), FrameLink)
    parts = {"grid": grid(), **{name: {"array": "a0"} for name in ("mask", "white", "grey", "csf")}}
    with pytest.raises(ReadError, match=r"Domain\.mask is an array of float64, not of bool"):
        archive.load(write_tree({"dataclass": "domain", "fields": parts}, a0=np.eye(4)), Domain)


def test_a_malformed_date_and_deep_nesting_are_refused(write_tree):
    for text in ("yesterday", 5):
        with pytest.raises(ReadError, match=r"Biopsy\.time is "):
            archive.load(write_tree({"dataclass": "biopsy", "fields": {"time": {"datetime": text}}}), Biopsy)
    node = "a"
    for _ in range(400):
        node = {"tuple": [node]}
    with pytest.raises(ReadError, match="is tuple, not str"):
        archive.load(write_tree(finding(what=node)), Finding)


def test_numbers_that_are_not_finite_come_back_and_other_words_do_not(write_tree):
    tree = {"dataclass": "irradiation", "fields": {"day": {"float": "inf"}, "dose": 2}}
    assert archive.load(write_tree(tree), Irradiation).day == np.inf
    tree["fields"]["day"] = {"float": "1e3"}
    with pytest.raises(ReadError, match=r"Irradiation\.day is float, not float"):
        archive.load(write_tree(tree), Irradiation)


def test_renames_apply_to_older_files_only_and_step_by_step(monkeypatch):
    steps = (
        renames.Renames(
            classes={"pkg:Old": "field"},
            fields={"field.prob": "probability", "field.gone": None},
            values={"role": {"fit": "fitted"}},
            words={"field.probability": {"enhancing": "core"}, "field.names": {"enhancing": "core"}},
        ),
        renames.Renames(fields={"field.probability": "share"}),
    )
    monkeypatch.setattr(renames, "RENAMES", steps)
    mapping = [["enhancing", {"array": "a0"}], ["whole", {"array": "a1"}]]
    fields_ = {
        "prob": {"mapping": mapping},
        "gone": 1,
        "names": {"tuple": ["enhancing", "whole", "enhancing tumor"]},
        "note": "enhancing",
        "role": {"enum": "role", "is": "fit"},
    }
    old = {"dataclass": "pkg:Old", "fields": fields_}
    new = {
        "dataclass": "field",
        "fields": {
            "share": {"mapping": [["core", {"array": "a0"}], ["whole", {"array": "a1"}]]},
            "names": {"tuple": ["core", "whole", "enhancing tumor"]},
            "note": "enhancing",
            "role": {"enum": "role", "is": "fitted"},
        },
    }
    before = json.dumps(old)
    assert renames.upgraded(old, 1) == new
    assert json.dumps(old) == before
    second = {"dataclass": "field", "fields": {"probability": {"mapping": mapping}}}
    assert renames.upgraded(second, 2) == {"dataclass": "field", "fields": {"share": {"mapping": mapping}}}
    assert renames.upgraded(new, 3) is new


def test_the_renames_lead_to_what_is_there():
    last = renames.RENAMES[-1]
    assert len(renames.RENAMES) + 1 == renames.FORMAT
    assert set(renames.FORMAT_1_CLASSES.values()) <= set(names.NAMES)
    for old, new in last.fields.items():
        assert new is None or new in {f.name for f in fields(names.class_of(old.partition(".")[0]))}, old
    for where in last.words:
        name, _, field_name = where.partition(".")
        assert field_name in {f.name for f in fields(names.class_of(name))}, where
    for name, changes in last.values.items():
        assert set(changes.values()) <= {member.value for member in names.class_of(name)}, name
