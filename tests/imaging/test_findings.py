"""Findings are one line for each fact, the gravest first, and nothing of them is lost."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.imaging import findings as module
from tumortwin.imaging.findings import WORST_FIRST, Finding, Severity, finding_lines, grouped


def at(*places: str, what: str = "no time of day", action: str = "taken as midnight", severity=Severity.ASSUMED):
    return [Finding(what, place, action, severity) for place in places]


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0


def test_one_fact_at_many_places_is_one_line():
    found = at(*(f"1-planning/rt/{k:02}.dcm" for k in range(24)))
    assert finding_lines(found) == [
        "[assumed] 1-planning/rt/00.dcm, 01.dcm and 22 more: no time of day; taken as midnight"
    ]
    assert finding_lines(found[:3]) == [
        "[assumed] 1-planning/rt/00.dcm, 01.dcm, 02.dcm: no time of day; taken as midnight"
    ]
    assert str(grouped(found[:1])[0]) == str(found[0])


def test_visits_are_named_once():
    (line,) = finding_lines(at("visit of 2024-01-02", "visit of 2024-02-02", "visit of 2024-01-02"))
    assert line.startswith("[assumed] visit of 2024-01-02, 2024-02-02: ")


def test_numbers_that_differ_become_ranges():
    found = [
        *at("visit 1", what="242 voxels (1.1 mL) of the edge", severity=Severity.REPAIRED),
        *at("visit 2", what="42 voxels (0.3 mL) of the edge", severity=Severity.REPAIRED),
        *at("visit 3", what="86 voxels (0.7 mL) of the edge", severity=Severity.REPAIRED),
    ]
    assert [f.what for f in grouped(found)] == ["42–242 voxels (0.3–1.1 mL) of the edge"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ROI 'PTV 60' is empty", "ROI 'PTV 54' is empty"),
        ('mask "lesion 1"', 'mask "lesion 2"'),
        ("the frame 1.2.840.1", "the frame 1.2.840.2"),
        ("scanned on 2024-01-02", "scanned on 2024-01-03"),
        ("T1 image", "T2 image"),
        ("images/7.nii", "images/8.nii"),
    ],
)
def test_names_dates_and_uids_are_no_numbers(one, other):
    found = [*at("a", what=one), *at("b", what=other)]
    assert {f.what for f in grouped(found)} == {one, other}


def test_the_gravest_come_first_and_notes_are_counted():
    found = [
        *at("a", severity=Severity.NOTE),
        *at("b", what="one more", severity=Severity.NOTE),
        *at("c", severity=Severity.REPAIRED),
        *at("d"),
        *at("e", severity=Severity.LEFT_OUT),
    ]
    lines = finding_lines(found)
    assert [line.split("]")[0] for line in lines[:-1]] == ["[left out", "[assumed", "[repaired"]
    assert lines[-1].startswith("2 note(s) not listed")
    assert finding_lines([]) == []


words = st.text("#ab 1.2-'\"/(%)", max_size=12)
some = st.lists(st.builds(Finding, words, words, words, st.sampled_from(Severity)), max_size=12)


@given(some)
def test_every_finding_belongs_to_one_fact(found):
    facts = grouped(found)
    assert len(facts) <= len(found)
    assert {f.severity for f in facts} == {f.severity for f in found}
    ranks = [WORST_FIRST.index(f.severity) for f in facts]
    assert ranks == sorted(ranks)
    assert grouped(found[:1]) == tuple(found[:1])
