import re
import subprocess
import zlib
from dataclasses import replace
from datetime import timedelta

import pytest
from matplotlib.text import Text

from tumortwin.board.identity import NOBODY, for_export, shift_of
from tumortwin.board.overlays import overlay_figure
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding, Severity

SECRETS = ("Weatherby", "MRN-40718833", "Ottoline", "Zukavondek")


@pytest.fixture(scope="module")
def named(report):
    """A report of somebody, with a name wherever a file could have brought one in."""
    organ = replace(report.dvh_limits[0], organ="GTV Weatherby")
    return replace(
        report,
        patient_id="MRN-40718833",
        clinical=("glioblastoma of Weatherby", "67 years"),
        identity_removed=False,
        courses=tuple(replace(c, label=f"{c.label} Ottoline") for c in report.courses),
        panels=tuple(
            replace(p, anatomy=p.anatomy.with_array(p.anatomy.array, name="t1_mprage Zukavondek"))
            for p in report.panels
        ),
        dvh_limits=(organ, *report.dvh_limits[1:]),
        dvh=(replace(report.dvh[0], structure="GTV Weatherby"), *report.dvh[1:]),
        findings=(Finding("slice of Weatherby missing", "Zukavondek/IM1.dcm", "refused", Severity.LEFT_OUT),),
        left_out=("no limit for GTV Weatherby in Zukavondek/IM1.dcm on 2024-01-08",),
        sources={"Zukavondek/IM1.dcm": "00ff" * 16, "Ottoline/IM2.dcm": "11aa" * 16},
    )


def text_of(path):
    """All that a file says: decoded streams, laid-out text, metadata."""
    content = path.read_bytes()
    found = content.decode("latin-1")
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.S):
        try:
            found += zlib.decompress(stream).decode("latin-1")
        except zlib.error:
            continue  # not compressed: read above
    if path.suffix == ".pdf":
        found += subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
        found += subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True).stdout
    return found


def dates(report):
    return {f"{scan.date:%Y-%m-%d}" for scan in report.scans}


@pytest.mark.parametrize("suffix", [".pdf", ".html"])
def test_pages_say_nothing_of_whom_unless_asked(named, tmp_path, suffix):
    said = text_of(named.save(tmp_path / f"page{suffix}"))
    assert [secret for secret in (*SECRETS, *dates(named)) if secret in said] == []
    assert NOBODY in said
    known = text_of(named.save(tmp_path / f"known{suffix}", identity="source"))
    assert "MRN-40718833" in known
    assert "Weatherby" in known
    assert any(date in known for date in dates(named))


def test_pictures_say_nothing_of_whom(named):
    removed = for_export(named)
    drawn = [text.get_text() for panel in removed.panels for text in overlay_figure(removed, panel).findobj(Text)]
    assert any(NOBODY in text for text in drawn)
    assert [text for text in drawn if any(secret in text for secret in (*SECRETS, *dates(named)))] == []
    named_ones = [text.get_text() for text in overlay_figure(named, named.panels[0]).findobj(Text)]
    assert any("MRN-40718833" in text for text in named_ones)


def test_intervals_weekdays_and_times_stay(named):
    removed = for_export(named)
    moved = {one.date - other.date for one, other in zip(removed.scans, named.scans, strict=True)}
    assert moved == {shift_of(named.reference_time)}
    (shift,) = moved
    assert shift % timedelta(weeks=1) == timedelta(0)
    assert (removed.reference_time.year, removed.reference_time.month) == (2000, 1)
    assert [s.day for s in removed.scans] == [s.day for s in named.scans]
    assert [s.volumes_ml for s in removed.scans] == [s.volumes_ml for s in named.scans]


def test_names_of_structures_stay_apart_and_the_same_everywhere(named):
    removed = for_export(named)
    assert removed.dvh[0].structure == removed.dvh_limits[0].organ == "GTV"
    assert len({c.structure for c in removed.dvh}) == len({c.structure for c in named.dvh})
    assert removed.left_out == (f"no limit for GTV in file 2 on {removed.reference_time:%Y-%m-%d}",)
    assert removed.sources == {"file 1": "11aa" * 16, "file 2": "00ff" * 16}
    assert removed.clinical == ("glioblastoma of", "67 years")
    assert for_export(replace(named, clinical=("93 years",))).clinical == ("90 years",)
    assert [f.what for f in removed.findings] == ["1 finding(s)"]
    assert removed.findings[0].severity is Severity.LEFT_OUT


def test_who_was_de_identified_before_is_left_as_is(named, report):
    nobody = replace(named, identity_removed=True)
    assert for_export(nobody) is nobody
    assert for_export(named, "source") is named
    with pytest.raises(InputError, match="identity is one of"):
        for_export(named, "perhaps")
    once = for_export(named)
    assert for_export(once) is once
    assert for_export(report) is report
