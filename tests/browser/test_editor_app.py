"""The geometry notebook in a real Chromium: a stroke of the mouse changes the volume, and what is saved is SEG."""

import re

import numpy as np
import pydicom
import pytest

GIVEN = """
import tumortwin as tt

FOLDER = "../sample_dicom/TT-0001"
patient = tt.read_patient(FOLDER)
"""


@pytest.fixture
def app(page, run_notebook):
    run_notebook("03_geometry.ipynb", "EditorApp(", given=GIVEN)
    page.locator(".tumortwin-frame[data-shown]").wait_for(timeout=60_000)
    page.locator(".tumortwin-numbers").scroll_into_view_if_needed()
    return page


TUMOR = (0.69, 0.31)
"""Where it is in the slice that is shown first, in shares of the picture."""
NUMBERS = "document.querySelector('.tumortwin-numbers').innerText"


def volume(page) -> float:
    return float(re.search(r": (\d+\.\d+) mL", page.locator(".tumortwin-numbers").inner_text())[1])


def changes(page, act, what=NUMBERS) -> None:
    before = page.evaluate(f"() => {what}")
    act()
    page.wait_for_function(f"before => {what} !== before", arg=before, timeout=60_000)


def spot(page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the picture, in shares of its width and height, is on the page."""
    box = page.locator(".tumortwin-frame").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def stroke(page, *places) -> None:
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=12)
    page.mouse.up()


def settled(page) -> float:
    """The volume when it has its diameters: nothing is on its way."""
    page.wait_for_function(f"() => /diameter|axial|: 0.00 mL/.test({NUMBERS})", timeout=60_000)
    return volume(page)


def press(page, name: str) -> None:
    page.locator(f"button.tumortwin-{name}").click()


def choose(page, tool: str) -> None:
    page.locator(".tumortwin-tool").get_by_text(tool, exact=True).click()
    page.locator(f".tumortwin-canvas[data-tool={tool}]").wait_for()


def all_fits(page) -> bool:
    """Whether every control is shown between the output's edges, and none is squeezed."""
    output = page.locator(".jp-OutputArea-output:has(.tumortwin-frame)").bounding_box()
    wide = (
        "visit",
        "image",
        "plane",
        "position",
        "window",
        "region",
        "tool",
        "brush",
        "tolerance",
        "file",
        "view",
        "frame",
        "numbers",
    )
    small = ("undo", "redo", "interpolate", "fill", "clean", "cancel", "refine", "save", "method", "ball", "overwrite")
    boxes = {name: page.locator(f".tumortwin-{name}").first.bounding_box() for name in wide + small}
    return all(
        box["width"] > (150 if name in wide else 60)
        and box["x"] > output["x"] - 4
        and box["x"] + box["width"] < output["x"] + output["width"] + 4
        for name, box in boxes.items()
    )


@pytest.mark.timeout(900)
def test_a_tumor_is_drawn_with_the_mouse(app, tmp_path, dicom_errors):
    page = app
    first = settled(page)

    # a stroke beside the tumor: more
    line = [(0.25, 0.3), (0.3, 0.3), (0.35, 0.32)]
    changes(page, lambda: stroke(page, *line))
    drawn = settled(page)
    assert drawn > first + 0.2

    # taken back by the keyboard, which the notebook may not take for its own, and done again
    cells = page.locator(".jp-Cell").count()
    changes(page, lambda: page.keyboard.press("z"))
    assert settled(page) == first
    assert page.locator(".jp-Cell").count() == cells
    changes(page, lambda: press(page, "redo"))
    assert settled(page) == drawn

    # rubbed out
    choose(page, "erase")
    changes(page, lambda: stroke(page, *line))
    left = settled(page)
    # up to a few voxels at the line's edge: the page has scrolled by a fraction of a pixel
    assert left == pytest.approx(first, abs=0.15)

    # many small moves: all of the line is drawn, as one step
    choose(page, "paint")
    changes(page, lambda: stroke(page, (0.2, 0.2), (0.8, 0.2), (0.8, 0.25), (0.2, 0.25)))
    long = settled(page)
    changes(page, lambda: press(page, "undo"))
    assert settled(page) == left
    assert long > first + 2

    # the wheel turns the slices, and the picture follows
    where = "document.querySelector('.tumortwin-position .widget-readout').innerText"
    page.mouse.move(*spot(page, 0.5, 0.5))
    changes(page, lambda: page.mouse.wheel(0, 100), where)
    changes(page, lambda: page.mouse.wheel(0, -100), where)

    # nothing of the tumor, then a click into it: it comes back
    enhancing = settled(page)
    choose(page, "remove")
    changes(page, lambda: page.mouse.click(*spot(page, *TUMOR)))
    assert settled(page) < 0.3 * enhancing
    choose(page, "click")
    changes(page, lambda: page.mouse.click(*spot(page, *TUMOR)))
    assert 0.6 * enhancing < settled(page) < 1.5 * enhancing
    assert "mL" in page.locator(".tumortwin-message").inner_text()

    # a box around it, with another region; what was drawn last is filled
    page.locator(".tumortwin-region select").select_option(label="whole tumor")
    page.wait_for_function(f"() => {NUMBERS}.includes('whole tumor: 0.00 mL')")
    choose(page, "box")
    x, y = TUMOR
    changes(page, lambda: stroke(page, (x - 0.14, y - 0.12), (x, y), (x + 0.14, y + 0.12)))
    assert settled(page) > 3

    # saved, and read by others
    path = tmp_path / "drawn.dcm"
    page.locator(".tumortwin-file input").fill(str(path))
    page.locator(".tumortwin-file input").press("Tab")
    press(page, "save")
    page.locator(".tumortwin-message").get_by_text("written").wait_for(timeout=60_000)
    assert dicom_errors(path) == []
    written = pydicom.dcmread(path)
    segments = [str(s.SegmentLabel) for s in written.SegmentSequence]
    assert segments == ["enhancing", "necrosis", "edema", "whole tumor"]
    import highdicom

    saved = highdicom.seg.segread(path).get_volume(segment_numbers=[4], combine_segments=False)
    ml = float(saved.array.sum()) * float(np.prod(saved.spacing)) / 1000
    assert ml == pytest.approx(volume(page), abs=0.006)
    press(page, "save")
    page.locator(".tumortwin-message").get_by_text("is there already").wait_for(timeout=60_000)

    assert all_fits(page)
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_function(f"() => document.querySelector('.tumortwin-frame').clientWidth < {0.75 * width}")
        assert all_fits(page)

    errors = page.evaluate(
        '() => document.querySelectorAll(\'[data-mime-type="application/vnd.jupyter.stderr"], '
        '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]\').length'
    )
    assert errors == 0
