"""The viewer: a patient's scans slice by slice, with what was drawn on them, what was planned, and what was found."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from html import escape

import ipywidgets as widgets
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from tumortwin.board.charts import page_style
from tumortwin.board.cuts import Cut, Plane, cut_at
from tumortwin.board.slices import OUTLINE_COLORS
from tumortwin.board.viewing import Overlays, isodoses_of, view_slice
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity, grouped
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.patient import Patient, Visit

PALETTE = (
    "#e377c2",
    "#7fd37f",
    "#ff7f6e",
    "#b39ddb",
    "#3fd0c9",
    "#d4b483",
    "#c8c8c8",
    "#8fb8ff",
    "#d7ff5e",
    "#ff5ea8",
    "#a0785a",
)
"""Colors of lines without one of their own (:data:`OUTLINE_COLORS`), told apart on grey."""

_INCHES, _DPI = 5.4, 110
_TONES = {
    Severity.NOTE: "#555555",
    Severity.ASSUMED: "#9a5b00",
    Severity.REPAIRED: "#9a5b00",
    Severity.LEFT_OUT: "#b00020",
}


class ViewerApp:
    """Look at a patient's images before anything is computed from them. Research use only.

    Radiological convention: the patient's right is on the left. Lines are drawn where their frame of reference is the
    image's; the others are named.

    Parameters
    ----------
    patient : Patient
        From :func:`~tumortwin.read_patient`.

    Attributes
    ----------
    ui : ipywidgets.Widget
        What to display.
    visit, image, plane, slice, window, masks, dose : ipywidgets.Widget
        The controls.
    overlays : Overlays
        What was drawn last.

    Raises
    ------
    InputError
        If the patient has no image.
    """

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self._visits = [visit for visit in patient.visits if visit.images]
        if not self._visits:
            raise InputError(f"patient {patient.id!r} has no image to look at: see patient.findings")
        self._quiet = False
        self._place: tuple[str | None, NDArray[np.float64]] | None = None
        self._range = cache(lambda visit, name: value_range(self._visits[visit].images[name]))
        self._controls()
        self._choose_visit()

    @property
    def shown(self) -> Volume:
        """The image that is shown."""
        return self._seen.images[self.image.value]

    @property
    def _seen(self) -> Visit:
        return self._visits[self.visit.value]

    def _controls(self) -> None:
        wide = {"description_width": "4.5em"}
        self.visit = widgets.Dropdown(
            description="visit",
            style=wide,
            options=[
                (f"{i}: {visit.date:%Y-%m-%d}{' ' + visit.label if visit.label else ''}", i - 1)
                for i, visit in enumerate(self._visits, 1)
            ],
        )
        self.image = widgets.Dropdown(description="image", style=wide)
        self.plane = widgets.ToggleButtons(options=list(Plane), style={"button_width": "6em"})
        self.slice = widgets.IntSlider(min=0, max=0, description="slice", style=wide)
        self.window = widgets.FloatRangeSlider(
            min=0.0,
            max=1.0,
            step=0.01,
            description="window",
            style=wide,
            readout_format=".3g",
            tooltip="values drawn black and white",
        )
        self.masks = widgets.SelectMultiple(
            rows=6, description="lines", style=wide, tooltip="hold Ctrl to choose several"
        )
        self.dose = widgets.Checkbox(value=False, description="dose", indent=False)
        self._about, self._findings = widgets.HTML(), widgets.HTML()
        self._picture = widgets.Image(format="png", layout=widgets.Layout(width="100%", object_fit="contain"))
        named = {
            "visit": self.visit,
            "image": self.image,
            "plane": self.plane,
            "position": self.slice,
            "window": self.window,
            "masks": self.masks,
            "dose": self.dose,
            "about": self._about,
            "view": self._picture,
            "notes": self._findings,
        }
        for name, widget in named.items():
            widget.add_class(f"tumortwin-{name}")
        for widget in (self.visit, self.image, self.slice, self.window, self.masks):
            widget.layout.width = "100%"
        left = widgets.VBox(
            [self.visit, self.image, self.plane, self.slice, self.window, self.masks, self.dose, self._about],
            layout=widgets.Layout(flex="0 1 360px", min_width="0"),
        )
        right = widgets.VBox([self._picture], layout=widgets.Layout(flex="1 1 360px", min_width="0", max_width="620px"))
        row = widgets.Layout(display="flex", flex_flow="row wrap", align_items="flex-start")
        self.ui = widgets.VBox([widgets.Box([left, right], layout=row), self._findings])
        self._findings.value = findings_html(self._patient)
        self.visit.observe(self._choose_visit, "value")
        self.image.observe(self._choose_image, "value")
        self.plane.observe(self._choose_image, "value")
        for control in (self.slice, self.window, self.masks, self.dose):
            control.observe(self._draw, "value")

    def _choose_visit(self, _change: object = None) -> None:
        """Offer what this visit has, and stay with the kind of image and the lines that were chosen."""
        images, kept, chosen = list(self._seen.images), self.image.value, set(self.masks.value)
        self._drawn: Mapping[str, Mask] = {**self._seen.masks, **self._patient.structures}
        self._quiet = True
        self.image.options = [(f"{kind}: {self._seen.images[kind].name or 'unnamed'}", kind) for kind in images]
        self.image.value = kept if kept in images else images[0]
        self.masks.options = list(self._drawn)
        self.masks.value = [name for name in self._drawn if name in chosen] or list(self._seen.masks)
        self._quiet = False
        self._choose_image()

    def _choose_image(self, _change: object = None) -> None:
        """Show the same place of another image or in another plane, where it has it."""
        if self._quiet:
            return
        image = self.shown
        middle = cut_at(image.grid, self.plane.value)
        index = round(float(self._index(image)[middle.axes[0]]))
        last = image.grid.shape[middle.axes[0]] - 1
        low, high, window = self._range(self.visit.value, self.image.value)
        self._quiet = True
        self.slice.max = last
        self.slice.value = min(max(index, 0), last)
        self.slice.disabled = last == 0
        # the upper end first: a range may not be empty on the way
        self.window.max = max(high, self.window.min + 1e-12)
        self.window.min = low
        self.window.max, self.window.step = high, (high - low) / 200
        self.window.value = window
        self._quiet = False
        self._draw()

    def _draw(self, _change: object = None) -> None:
        if self._quiet:
            return
        image = self.shown
        cut = replace(cut_at(image.grid, self.plane.value), index=self.slice.value)
        index = self._index(image)
        index[cut.axes[0]] = cut.index
        self._place = image.frame, image.grid.to_world(index)
        self._picture.value, self.overlays = self._png(image, cut)
        self._about.value = about_html(image, cut, self.overlays)

    def _index(self, image: Volume) -> NDArray[np.float64]:
        """Where the place that was looked at last is in an image; the middle, if that is not known."""
        known = self._place is not None and self._place[0] == image.frame
        return image.grid.to_index(self._place[1] if known else image.grid.center)  # type: ignore[index]

    def _png(self, image: Volume, cut: Cut) -> tuple[bytes, Overlays]:
        dose = self._patient.dose if self.dose.value else None
        plan = self._patient.plan
        levels = () if dose is None else isodoses_of(dose, None if plan is None else plan.prescribed)
        others = (name for name in self._drawn if name not in OUTLINE_COLORS)
        colors = OUTLINE_COLORS | dict(zip(others, itertools.cycle(PALETTE), strict=False))
        chosen = {name: self._drawn[name] for name in self.masks.value}
        with mpl.rc_context(page_style()):
            figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI)
            canvas = FigureCanvasAgg(figure)
            ax = figure.add_axes((0.01, 0.01 + 0.07 * bool(chosen), 0.98, 0.98 - 0.07 * bool(chosen)))
            overlays = view_slice(
                ax, image, cut, window=self.window.value, masks=chosen, colors=colors, dose=dose, isodoses=levels
            )
            if overlays.shown:
                lines = [Line2D([], [], color=colors[name], linewidth=2) for name in overlays.shown]
                figure.legend(
                    lines, overlays.shown, loc="lower center", ncols=min(len(lines), 4), frameon=False, fontsize="small"
                )
            buffer = io.BytesIO()
            canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        return buffer.getvalue(), overlays


def about_html(image: Volume, cut: Cut, overlays: Overlays) -> str:
    """Where the slice is and what its numbers are, and what could not be laid over it."""
    size = " × ".join(str(n) for n in image.grid.shape)
    spacing = " × ".join(f"{h:.3g}" for h in image.grid.spacing)
    rows = [cut.position_text, f"{size} voxels of {spacing} mm (z, y, x)", f"unit: {image.unit}"]
    if overlays.elsewhere:
        rows.append(
            f"<span style='color:#9a5b00'>in another frame of reference: {escape(', '.join(overlays.elsewhere))}</span>"
        )
    return f"<div style='line-height:1.4'>{'<br>'.join(rows)}</div>"


def findings_html(patient: Patient) -> str:
    """Format the findings of reading the patient's files as an HTML table, the most severe first."""
    found = grouped(patient.findings)
    rows = "".join(
        f"<tr><td style='color:{_TONES[f.severity]};padding-right:1em;white-space:nowrap'>{f.severity}</td>"
        f"<td style='padding-right:1em'>{escape(f.where)}</td><td>{escape(f.what)}; {escape(f.action)}</td></tr>"
        for f in found
    )
    said = f"<table style='line-height:1.35'>{rows}</table>" if rows else "nothing was repaired, assumed or left out"
    return f"<b>{len(found)} findings</b> {said}<div><i>Research use only, not for clinical decisions.</i></div>"


def value_range(image: Volume) -> tuple[float, float, tuple[float, float]]:
    """Lowest and highest value, and the window between which most of the picture is."""
    finite = image.array[np.isfinite(image.array)]
    if not finite.size:
        return 0.0, 1.0, (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if high <= low:
        return low, low + 1.0, (low, low + 1.0)
    a, b = (float(v) for v in np.percentile(finite[:: max(1, finite.size // 1_000_000)], (1, 99.5)))
    return low, high, (a, b) if b > a else (low, high)
