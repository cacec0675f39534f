"""The growth app: a tumor that grows through one slice of a brain, and follows the sliders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html import escape

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray

from tumortwin.board.cuts import Cut, Plane, cut_at
from tumortwin.board.live import DensityPicture, FrontPicture
from tumortwin.board.wording import name_of, number
from tumortwin.calibration.unknowns import ALPHA, CORE, WHOLE
from tumortwin.errors import InputError
from tumortwin.geometry import Domain
from tumortwin.growth import (
    DeadCells,
    GrowthParameters,
    Model,
    equivalent_radius,
    front_of,
    recent_speed,
    simulate,
)
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.volume import Volume
from tumortwin.planning import StandardCare, with_care

EDGES = {"whole": WHOLE.median, "core": CORE.median}
"""Density at the edges that scans show, outermost first."""

DIFFUSIVITIES, RATES = (0.01, 1.0), (0.005, 0.1)
"""Where the sliders end, mm^2/day and 1/day."""

EVERY = 5
"""Days between two pictures."""

RTOL = 1e-2
"""Of the solves: an error that the eye does not see, in half of the time."""

_NO, _SURGERY = "no treatment", "resection"
_RADIOTHERAPY, _BOTH = "radiotherapy, 30 × 2 Gy", "resection, then radiotherapy"
_LIVING, _SEEN = "living", "living + dead"


class GrowthApp:
    """Change diffusivity and proliferation, see the tumor. Research use only, not for clinical decisions.

    A resection takes out the core as it is on its day; radiotherapy aims at the core as it is on its first
    (:class:`~tumortwin.planning.StandardCare`). What is shown while a slider moves is a whole solve.

    Parameters
    ----------
    domain : Domain
        One slice of a brain: one voxel along one axis (:meth:`Domain.cropped`).
    anatomy : Volume
        On the domain's grid; drawn in grey.
    initial : (z, y, x) array
        Cell density at day 0.
    parameters : GrowthParameters
        Where the sliders begin, and what they do not set.
    care : StandardCare
        When treatment is given, where it is chosen; both days are needed.
    companion : DeadCells
        How fast killed cells clear.
    days : int
        How far to look, a multiple of 5.

    Attributes
    ----------
    ui : ipywidgets.Widget
        What to display.
    diffusivity, proliferation_rate, day, treatment, shown : ipywidgets.Widget
        The controls.
    model, run : Model, Simulation
        What is shown.

    Raises
    ------
    InputError
        If the domain is not one slice, the anatomy is on another grid, or a number is out of its range.
    """

    def __init__(
        self,
        domain: Domain,
        anatomy: Volume,
        initial: NDArray[np.floating],
        *,
        parameters: GrowthParameters | None = None,
        care: StandardCare | None = None,
        companion: DeadCells | None = None,
        days: int = 360,
    ) -> None:
        self._parameters = parameters or GrowthParameters(alpha=ALPHA.median)
        self._care = care or StandardCare(resection_day=60.0, radiotherapy_day=90.0)
        self._companion = companion or DeadCells(20.0)
        self._domain, self._initial = domain, initial
        cut = _checked(domain, anatomy, self._parameters, self._care, days)
        self._days = np.arange(0.0, days + 1, EVERY)
        highest = 10 * math.ceil(equivalent_radius(domain.grid, [domain.mask.astype(float)], 0.5)[0] / 10)
        self._density = DensityPicture(anatomy, cut, EDGES)
        self._front = FrontPicture(self._days, highest, EDGES)
        self._controls(days)
        self._solve()

    def _controls(self, days: int) -> None:
        wide = {"description_width": "6.5em"}
        low, high = (math.log10(d) for d in DIFFUSIVITIES)
        # the front end holds a slider's moves back while a solve runs, and then sends the last
        self.diffusivity = widgets.FloatLogSlider(
            value=self._parameters.diffusivity,
            min=low,
            max=high,
            step=0.05,
            readout_format=".2g",
            description="D (mm²/day)",
            tooltip="diffusivity in white matter",
            style=wide,
        )
        self.proliferation_rate = widgets.FloatSlider(
            value=self._parameters.proliferation_rate,
            min=RATES[0],
            max=RATES[1],
            step=0.005,
            readout_format=".3f",
            description="ρ (1/day)",
            tooltip="proliferation rate",
            style=wide,
        )
        self.day = widgets.IntSlider(value=days // 2, min=0, max=days, step=EVERY, description="day", style=wide)
        self._play = widgets.Play(min=0, max=days, step=EVERY, value=days // 2, interval=150)
        widgets.jslink((self._play, "value"), (self.day, "value"))
        self.treatment = widgets.RadioButtons(options=[_NO, _SURGERY, _RADIOTHERAPY, _BOTH])
        self.shown = widgets.ToggleButtons(options=[_LIVING, _SEEN], style={"button_width": "9.5em"})
        self._readout, self._findings = widgets.HTML(), widgets.HTML()
        pictures = [
            widgets.Image(format="png", layout=widgets.Layout(width="100%", object_fit="contain")) for _ in range(2)
        ]
        self._slice, self._curve = pictures
        named = {
            "diffusivity": self.diffusivity,
            "rate": self.proliferation_rate,
            "day": self.day,
            "play": self._play,
            "treatment": self.treatment,
            "shown": self.shown,
            "readout": self._readout,
            "slice": self._slice,
            "front": self._curve,
            "findings": self._findings,
        }
        for name, widget in named.items():
            widget.add_class(f"tumortwin-{name}")
        for slider in (self.diffusivity, self.proliferation_rate, self.day):
            slider.layout.width = "100%"
        sliders = widgets.VBox([self.diffusivity, self.proliferation_rate, self.day, self._play, self.shown])
        row = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"}
        self.ui = widgets.VBox(
            [
                widgets.Box(
                    [
                        _part([sliders], "0 1 340px"),
                        _part([self.treatment], "0 0 220px"),
                        _part([self._readout], "1 1 350px"),
                    ],
                    layout=widgets.Layout(**row),
                ),
                widgets.Box(
                    [_part([picture], "1 1 340px", max_width="550px") for picture in pictures],
                    layout=widgets.Layout(**row),
                ),
                # last, so that nothing jumps when one comes or goes
                self._findings,
            ]
        )
        for control in (self.diffusivity, self.proliferation_rate, self.treatment):
            control.observe(self._solve, "value")
        for control in (self.day, self.shown):
            control.observe(self._draw, "value")

    def _solve(self, _change: object = None) -> None:
        parameters = replace(
            self._parameters, diffusivity=self.diffusivity.value, proliferation_rate=self.proliferation_rate.value
        )
        surgery, radiotherapy = (self.treatment.value in (kind, _BOTH) for kind in (_SURGERY, _RADIOTHERAPY))
        care = replace(
            self._care,
            resection_day=self._care.resection_day if surgery else None,
            radiotherapy_day=self._care.radiotherapy_day if radiotherapy else None,
        )
        model = Model(self._domain, parameters, companion=self._companion if radiotherapy else None)
        self.model, self._left_out = with_care(model, self._initial, 0.0, care, rtol=RTOL)
        self.run = simulate(self.model, self._initial, 0.0, self._days[-1], save_at=self._days, rtol=RTOL)
        grid = self._domain.grid
        self._radii = {name: equivalent_radius(grid, self.run.fields, edge) for name, edge in EDGES.items()}
        self._seen = (
            {name: equivalent_radius(grid, self.run.visible, edge) for name, edge in EDGES.items()}
            if radiotherapy
            else {}
        )
        # without radiotherapy there are no dead cells to show
        self.shown.disabled = not radiotherapy
        self._draw()

    def _draw(self, _change: object = None) -> None:
        i, day = self.day.value // EVERY, self.day.value
        with_dead = self.shown.value == _SEEN and bool(self._seen)
        what, fields, radii = (
            (_SEEN, self.run.visible, self._seen) if with_dead else (_LIVING, self.run.fields, self._radii)
        )
        p, fractions, removals = self.model.parameters, self.model.irradiations, self.model.removals
        self._readout.value = numbers_html(
            f"day {day}, {what} cells",
            self.model,
            {name: r[i] for name, r in radii.items()},
            recent_speed(self._days, radii["whole"])[i],
            self.run.time_error,
        )
        self._findings.value = findings_html((*self._left_out, *self.run.findings))
        self._slice.value = self._density.show(fields[i], f"{what} cells, day {day}")
        self._curve.value = self._front.show(
            self._radii,
            self._seen,
            front_of(p.diffusivity, p.proliferation_rate).speed,
            day,
            (fractions[0].day, fractions[-1].day) if fractions else None,
            removals[0].day if removals else None,
        )


def numbers_html(title: str, model: Model, radii: Mapping[str, float], speed: float, error: float) -> str:
    """Format the numbers of a slice on one day as HTML: areas, and the front's speed beside the theoretical one."""
    p, grid = model.parameters, model.domain.grid
    white = front_of(p.diffusivity, p.proliferation_rate)
    widest = max(h for h, n in zip(grid.spacing, grid.shape, strict=True) if n > 1)
    too_fast = front_of(p.diffusivity, p.proliferation_rate, widest).speed / white.speed - 1
    rows = {
        f"{name_of(name)}, above {100 * EDGES[name]:.0f} %": f"<b>{math.pi * r**2 / 100:.1f} cm²</b>"
        for name, r in radii.items()
    }
    rows["front, last 30 days"] = f"<b>{_signed(speed)} mm/day</b>"
    rows["theory, 2 √(D ρ), white matter"] = f"{white.speed:.3f} mm/day"
    if p.grey_ratio > 0:
        rows["theory, grey matter"] = f"{front_of(p.grey_ratio * p.diffusivity, p.proliferation_rate).speed:.3f} mm/day"
    rows["grid, ρ h² / D"] = f"{number(model.resolution)}: {100 * too_fast:.1f} % too fast"
    if not math.isnan(error):
        rows["error of the time steps"] = f"{100 * error:.1g} %"
    table = "".join(
        f"<tr><td style='padding:0 1em 0 0'>{name}</td><td style='padding:0;white-space:nowrap'>{value}</td></tr>"
        for name, value in rows.items()
    )
    return f"<div style='line-height:1.35'><b>{title}</b><table>{table}</table></div>"


def findings_html(findings: Iterable[Finding]) -> str:
    """Format as HTML the findings that limit how far the results can be trusted."""
    notes = "".join(f"<div style='color:#9a5b00'>{escape(f.what)}; {escape(f.action)}</div>" for f in findings)
    return f"<div style='line-height:1.35'>{notes}<i>Research use only, not for clinical decisions.</i></div>"


def _signed(speed: float) -> str:
    return "n/a" if math.isnan(speed) else f"{speed:.3f}".replace("-", "−")


def _part(children: list[widgets.Widget], flex: str, **layout: str) -> widgets.Box:
    """Build a box for a row that wraps: on a narrow page the boxes of the row are placed below each other."""
    return widgets.VBox(children, layout=widgets.Layout(flex=flex, min_width="0", **layout))


def _checked(domain: Domain, anatomy: Volume, parameters: GrowthParameters, care: StandardCare, days: int) -> Cut:
    """Return the domain's only slice after checking that the app can show the domain, parameters and treatment."""
    shape = domain.grid.shape
    if sorted(shape)[0] != 1 or sorted(shape)[1] < 2:
        raise InputError(
            f"the growth app shows one slice, not a domain of {shape} voxels (z, y, x): crop it, e.g. "
            "domain.cropped((slice(k, k + 1), slice(None), slice(None)))"
        )
    if not anatomy.grid.matches(domain.grid):
        raise InputError(f"the anatomy is on {anatomy.grid}, the domain on {domain.grid}: crop both by the same box")
    for name, (low, high) in (("diffusivity", DIFFUSIVITIES), ("proliferation_rate", RATES)):
        if not low <= getattr(parameters, name) <= high:
            raise InputError(
                f"the app's slider of {name} goes from {low} to {high}, not to {getattr(parameters, name)}"
            )
    if care.resection_day is None or care.radiotherapy_day is None:
        raise InputError("the app's care needs a resection_day and a radiotherapy_day, for when they are chosen")
    if days % EVERY or days <= care.radiotherapy_day:
        raise InputError(
            f"days is a multiple of {EVERY} after the first day of radiotherapy ({care.radiotherapy_day:g}), not {days}"
        )
    return next(cut for cut in (cut_at(domain.grid, plane) for plane in Plane) if shape[cut.axes[0]] == 1)
