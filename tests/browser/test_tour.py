"""The tour notebook's app in a real Chromium: its slider redraws the volume curve."""

import pytest


@pytest.mark.timeout(900)
def test_a_move_of_the_slider_redraws_the_curve(page, run_notebook, finished_run):
    fit = str(finished_run.stage("calibration"))
    run_notebook("00_tour.ipynb", "DoseApp(", given=f"import tumortwin as tt\n\nfit = tt.Calibration.load({fit!r})")
    curve = page.locator(".tumortwin-curve")
    curve.wait_for(timeout=60_000)
    curve.scroll_into_view_if_needed()
    summary = page.locator(".tumortwin-summary")
    before = summary.inner_text()
    assert "60.0 Gy in 30 fractions" in before
    shown = curve.get_attribute("src")

    page.locator(".tumortwin-dose .noUi-handle").click()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    summary.get_by_text("75.0 Gy").wait_for(timeout=60_000)
    page.wait_for_function("([old]) => document.querySelector('.tumortwin-curve').src !== old", arg=[shown])

    # more dose, less tumor: the number that a reader looks at moved the right way
    assert volume(summary.inner_text()) < volume(before)


def volume(summary: str) -> float:
    """mL of the whole tumor at the end, from the summary's text."""
    return float(summary.split("whole tumor (FLAIR)", 1)[1].split("mL", 1)[0])
