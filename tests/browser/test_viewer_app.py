"""The imaging notebook in a real Chromium: the viewer's controls change what is shown, without an error."""

import pytest

GIVEN = """
import tumortwin as tt

patient = tt.read_patient("../sample_dicom/TT-0001")
"""


@pytest.fixture
def app(page, run_notebook):
    run_notebook("01_imaging.ipynb", "ViewerApp(", given=GIVEN)
    page.locator(".tumortwin-view").wait_for(timeout=60_000)
    page.locator(".tumortwin-visit").scroll_into_view_if_needed()
    return page


def source(page) -> str:
    return page.locator("img.tumortwin-view").get_attribute("src")


def changes(page, act) -> None:
    """Whether the picture is another after an action."""
    before = source(page)
    act()
    page.wait_for_function(
        "before => document.querySelector('img.tumortwin-view').src !== before", arg=before, timeout=60_000
    )


def all_fits(page) -> bool:
    output = page.locator(".jp-OutputArea-output:has(.tumortwin-view)").bounding_box()
    parts = ("visit", "image", "position", "window", "masks", "about", "view")
    boxes = [page.locator(f".tumortwin-{name}").bounding_box() for name in parts]
    return all(
        box["width"] > 150
        and box["x"] > output["x"] - 4
        and box["x"] + box["width"] < output["x"] + output["width"] + 4
        for box in boxes
    )


@pytest.mark.timeout(900)
def test_a_patients_scans_can_be_looked_through(app):
    page = app
    # from the diagnosis to the planning visit, to its contrast-enhanced scan
    changes(page, lambda: page.locator(".tumortwin-visit select").select_option(index=1))
    assert "2023-01-30" in page.locator(".tumortwin-visit select option:checked").inner_text()
    changes(page, lambda: page.locator(".tumortwin-image select").select_option(index=1))
    assert "another frame" not in page.locator(".tumortwin-about").inner_text()

    # the dose, and a structure
    changes(page, lambda: page.locator(".tumortwin-dose input").check())
    changes(page, lambda: page.locator(".tumortwin-masks select").select_option(label="PTV"))

    # another plane, slice by slice with the keyboard
    changes(page, lambda: page.get_by_text("coronal", exact=True).click())
    page.wait_for_function("() => document.querySelector('.tumortwin-about').innerText.includes('coronal')")
    page.locator(".tumortwin-position .noUi-handle").focus()
    where = page.locator(".tumortwin-about").inner_text()
    changes(page, lambda: page.keyboard.press("ArrowRight"))
    page.wait_for_function("before => document.querySelector('.tumortwin-about').innerText !== before", arg=where)

    # darker
    page.locator(".tumortwin-window .noUi-handle").last.focus()
    changes(page, lambda: page.keyboard.press("ArrowLeft"))

    assert all_fits(page)
    page.set_viewport_size({"width": 800, "height": 1000})
    page.wait_for_function("() => document.querySelector('img.tumortwin-view').width < 520")
    assert all_fits(page)

    errors = page.evaluate(
        '() => document.querySelectorAll(\'[data-mime-type="application/vnd.jupyter.stderr"], '
        '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]\').length'
    )
    assert errors == 0
