"""The growth notebook in a real Chromium: its sliders redraw the tumor, soon and without an error."""

import statistics

import pytest

LIMIT_MS = 2000
"""Ten times what is promised: a machine that tests other things too is slow, but an app that solves twice is slower."""


@pytest.fixture
def app(page, run_notebook):
    run_notebook("02_growth.ipynb", "WHOLE, CORE =", "load_atlas()", "GrowthApp(")
    page.locator(".tumortwin-slice").wait_for(timeout=60_000)
    page.locator(".tumortwin-diffusivity").scroll_into_view_if_needed()
    page.evaluate(WATCH)
    return page


# when a key or a pointer acts, and when a new picture is on the screen
WATCH = """() => {
    window.acted = [];
    window.shown = [];
    for (const kind of ["keydown", "pointerdown", "pointermove"])
        document.addEventListener(kind, () => window.acted.push(performance.now()), true);
    const picture = document.querySelector("img.tumortwin-slice");
    new MutationObserver(() => picture.decode().then(() => requestAnimationFrame(
        () => window.shown.push(performance.now())))).observe(picture, {attributes: true, attributeFilter: ["src"]});
}"""


SLICE = "document.querySelector('img.tumortwin-slice')"
TEXT = "document.querySelector('.tumortwin-readout').innerText"


def readout(page) -> dict[str, str]:
    rows = page.locator(".tumortwin-readout tr").all()
    return {row.locator("td").nth(0).inner_text(): row.locator("td").nth(1).inner_text() for row in rows}


def picture(page, name: str) -> str:
    return page.locator(f"img.tumortwin-{name}").get_attribute("src")


def press(page, slider: str, key: str) -> float:
    """Press a key on a slider's handle; ms until the next picture is on the screen."""
    page.locator(f".tumortwin-{slider} .noUi-handle").focus()
    page.evaluate("() => { window.acted = []; window.shown = []; }")
    page.keyboard.press(key)
    page.wait_for_function("() => window.shown.length", timeout=60_000)
    return page.evaluate("() => window.shown[0] - window.acted[0]")


def area(page, name: str) -> float:
    return float(next(value for label, value in readout(page).items() if label.startswith(name)).split()[0])


def all_fits(page) -> bool:
    """Whether every part is shown between the output's edges, and none is squeezed."""
    output = page.locator(".jp-OutputArea-output:has(.tumortwin-slice)").bounding_box()
    parts = ("diffusivity", "rate", "day", "treatment", "shown", "readout", "slice", "front", "findings")
    boxes = [page.locator(f".tumortwin-{name}").bounding_box() for name in parts]
    return all(
        box["width"] > 150
        and box["x"] > output["x"] - 4
        and box["x"] + box["width"] < output["x"] + output["width"] + 4
        for box in boxes
    )


@pytest.mark.timeout(900)
def test_sliders_move_the_tumor(app):
    page = app
    page.get_by_text("day 180, living cells").first.wait_for()
    before = area(page, "whole tumor"), picture(page, "slice"), picture(page, "front")
    first = readout(page)["theory, 2 √(D ρ), white matter"]

    # more diffusion: a larger tumor, another picture, another speed
    for _ in range(4):
        press(page, "diffusivity", "ArrowRight")
    page.wait_for_function(f"() => !{TEXT}.includes('{first}')")
    assert area(page, "whole tumor") > before[0]
    assert picture(page, "slice") != before[1]
    assert picture(page, "front") != before[2]

    # an earlier day: a smaller one
    large = area(page, "whole tumor")
    press(page, "day", "ArrowLeft")
    page.get_by_text("day 175, living cells").first.wait_for()
    untreated = area(page, "whole tumor")
    assert untreated < large

    # radiotherapy, by mouse: cells die, what is seen can be chosen
    assert page.locator(".tumortwin-shown button").last.is_disabled()
    page.get_by_text("radiotherapy, 30 × 2 Gy", exact=True).click()
    page.wait_for_function("() => !document.querySelector('.tumortwin-shown button:last-child').disabled")
    page.wait_for_function(f"() => !{TEXT}.includes('{untreated:.1f} cm²')")
    living = area(page, "whole tumor")
    assert living < untreated
    page.locator(".tumortwin-shown button").last.click()
    page.get_by_text("day 175, living + dead cells").first.wait_for()
    assert area(page, "whole tumor") >= living

    # the film runs by itself, and stays where it ends; a picture on its way may be skipped by a busy machine
    page.evaluate("() => { window.shown = []; }")
    page.locator(".tumortwin-play button").first.click()
    page.get_by_text("day 360, living + dead cells").first.wait_for(timeout=120_000)
    assert page.evaluate("() => window.shown.length") > 2

    assert all_fits(page)
    page.set_viewport_size({"width": 800, "height": 1000})
    page.wait_for_function(f"() => {SLICE}.width < 400")
    assert all_fits(page)

    # nothing went wrong, aloud or in silence
    errors = page.evaluate(
        '() => document.querySelectorAll(\'[data-mime-type="application/vnd.jupyter.stderr"], '
        '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]\').length'
    )
    assert errors == 0


@pytest.mark.timeout(900)
def test_a_redraw_is_soon_and_the_last_move_wins(app):
    page = app
    solves = [press(page, "diffusivity", key) for key in ["ArrowRight", "ArrowLeft"] * 4]
    days = [press(page, "day", key) for key in ["ArrowRight", "ArrowLeft"] * 4]
    print(
        f"from key to picture, ms: solve {statistics.median(solves):.0f} ({min(solves):.0f} to {max(solves):.0f}), "
        f"day {statistics.median(days):.0f} ({min(days):.0f} to {max(days):.0f})"
    )
    assert statistics.median(solves) < LIMIT_MS
    assert statistics.median(days) < 1.2 * statistics.median(solves)

    # dragged to the right end in many small moves: pictures are skipped, the last one is not
    handle = page.locator(".tumortwin-diffusivity .noUi-handle").bounding_box()
    track = page.locator(".tumortwin-diffusivity .noUi-base").bounding_box()
    y = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    page.mouse.down()
    page.evaluate("() => { window.acted = []; window.shown = []; }")
    page.mouse.move(track["x"] + track["width"] + 20, y, steps=60)
    page.mouse.up()
    page.locator(".tumortwin-diffusivity .widget-readout").get_by_text("1.0").wait_for()
    page.wait_for_function(f"() => {TEXT}.includes('0.346 mm/day')", timeout=60_000)  # theory's at its end
    drawn = page.evaluate("() => window.shown.length")
    assert 1 <= drawn <= 60
