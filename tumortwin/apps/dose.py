"""The dose app: two sliders, dose per fraction and number of fractions, and the volume curve that follows."""

from __future__ import annotations

from math import isinf

import ipywidgets as widgets

from tumortwin.board.scenarios import scenario_png
from tumortwin.board.wording import name_of
from tumortwin.calibration import Calibration
from tumortwin.planning.given_dose import GivenDose
from tumortwin.planning.scenario import Scenario, ScenarioMaker
from tumortwin.therapy.schedule import Prescription


class DoseApp:
    """Change the dose, see the volume. Research use only, not for clinical decisions.

    Parameters
    ----------
    fit : Calibration
        The calibrated twin; it needs a given radiotherapy course, whose dose is scaled.
    horizon_days : float
        How far to look, from the first fraction.
    given : GivenDose, optional
        The given dose with the limits of organs at risk, as a `PlanFront` carries it; without it, the twin's with
        QUANTEC's limits.

    Attributes
    ----------
    ui : ipywidgets.Widget
        What to display.
    dose, fractions : sliders
        Gy per fraction, and how many.
    scenario : Scenario
        What is shown.
    """

    def __init__(self, fit: Calibration, horizon_days: float = 270.0, given: GivenDose | None = None) -> None:
        self._maker = ScenarioMaker(fit, given, horizon_days)
        self._given = self._maker.simulate(self._maker.delivered)
        delivered = self._maker.delivered
        wide = {"description_width": "9em"}
        self.dose = widgets.FloatSlider(
            value=round(delivered.doses[0], 1),
            min=0.0,
            max=6.0,
            step=0.1,
            description="Gy per fraction",
            readout_format=".1f",
            continuous_update=False,
            style=wide,
        )
        self.fractions = widgets.IntSlider(
            value=len(delivered.doses),
            min=1,
            max=40,
            description="fractions",
            continuous_update=False,
            style=wide,
        )
        self._summary = widgets.HTML()
        self._picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%", object_fit="contain"))
        for widget, name in (
            (self.dose, "dose"),
            (self.fractions, "fractions"),
            (self._summary, "summary"),
            (self._picture, "curve"),
        ):
            widget.add_class(f"tumortwin-{name}")
        controls = widgets.VBox([self.dose, self.fractions, self._summary], layout=widgets.Layout(flex="0 0 340px"))
        # the picture takes what is left of a narrow page, and shrinks rather than being cut off
        picture = widgets.Box([self._picture], layout=widgets.Layout(flex="1 1 0%", min_width="0"))
        self.ui = widgets.HBox([controls, picture])
        self.dose.observe(self._redraw, "value")
        self.fractions.observe(self._redraw, "value")
        self._redraw()

    def _redraw(self, _change: object = None) -> None:
        n, dose = self.fractions.value, self.dose.value
        asked = Prescription(f"{n} x {dose:.1f} Gy", dose, n) if dose > 0 else Prescription("no radiotherapy", 0.0, 0)
        self.scenario = self._maker.prescribed(asked)
        self._summary.value = summary_html(self.scenario)
        self._picture.value = scenario_png(self.scenario, self._given)


def summary_html(scenario: Scenario) -> str:
    """Format a scenario's results as HTML: dose to the tumor, limits of organs, volumes at the end."""
    when = "beyond the horizon" if isinf(scenario.progression) else f"day {scenario.progression:.0f} of treatment"
    broken = [str(check) for organ in scenario.organs for check in organ.checks if not check.met]
    volumes = ", ".join(f"{name_of(q)} <b>{v[-1]:.1f} mL</b>" for q, v in scenario.volumes_ml.items())
    limits = "all limits kept" if not broken else "limits broken:<br>" + "<br>".join(broken)
    return (
        f"<b>{scenario.schedule.total:.1f} Gy</b> in {len(scenario.schedule.doses)} fractions, "
        f"tumor EQD2 {scenario.tumor_eqd2:.1f} Gy<br>"
        f"at the end: {volumes}<br>"
        f"progression: {when}<br>{limits}<br><i>Most probable parameters. Research use only.</i>"
    )
