"""The editor: draw a tumor on a patient's scans, or mend what was drawn, and save it as a DICOM Segmentation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any, TypeVar

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from tumortwin.apps.viewer import value_range
from tumortwin.board.cuts import Plane, best_slice
from tumortwin.board.image_series import series_source
from tumortwin.board.live import MaskPicture
from tumortwin.board.sheets import Sheet, sheets_of
from tumortwin.board.slices import OUTLINE_COLORS
from tumortwin.errors import InputError, OutputExistsError, TumorTwinError
from tumortwin.geometry import measure
from tumortwin.geometry.editing import strokes
from tumortwin.geometry.editing.hints import Hinted, deep_box, segment_from_box, segment_from_click
from tumortwin.geometry.editing.history import Edited
from tumortwin.geometry.editing.refinement import Refinement, refine
from tumortwin.geometry.editing.strokes import Stroke
from tumortwin.geometry.segmentation.regions import united
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.imaging.writing.segmentation import SEGMENT_TYPES, write_segmentation
from tumortwin.imaging.writing.source import DicomSource
from tumortwin.patient import Patient, Visit
from tumortwin.progress import CancelToken, Progress

REGIONS: Mapping[str, str] = {
    "enhancing": "enhancing",
    "necrosis": "necrosis",
    "edema": "edema",
    "whole": "whole tumor",
    "cavity": "resection cavity",
}
"""What can be drawn: a region's short name, and the segment's in a file."""
COLORS = {"edema": "#7fd37f", "cavity": "#e377c2"}
TYPES: Mapping[str, Code] = {
    **SEGMENT_TYPES,
    REGIONS["cavity"]: Code("resection-cavity", "99TUMORTWIN", "Resection cavity"),
}
SMALLEST_ML = 0.1
TOOLS = ("paint", "erase", "click", "box", "grow", "remove")
_TOLD = {
    "paint": "draw on the picture",
    "erase": "rub out on the picture",
    "click": "click into the region: it is outlined from this image",
    "box": "draw a box around the region in one slice: it is as deep as wide",
    "grow": "click: what is connected and looks alike is added",
    "remove": "click on a piece to remove it",
}
T = TypeVar("T")


class EditorApp:
    """Draw a tumor, or mend what was drawn. Research use only, not for clinical decisions.

    Everything is drawn on the voxels of one series of each visit (the one that masks were drawn on, else T1Gd or what
    stands for it), whichever image and plane is shown; a Segmentation refers to that series.

    Parameters
    ----------
    patient : Patient, Visit, Volume or mapping of str to Volume
        What to draw on; several volumes must share a frame of reference.
    masks : mapping of str to Mask, optional
        What to begin with, by name ("enhancing", "whole tumor"); the visits' own masks by default.
    source : path-like or DicomSource, optional
        The DICOM folder that the images were read from; without it nothing can be saved.
    file : path-like, optional
        Where to save; another name may be typed in the app.
    region : str
        What is drawn at first, one of :data:`REGIONS`.

    Attributes
    ----------
    ui : ipywidgets.Widget
        What to display.
    canvas : SliceCanvas
        The picture; :meth:`SliceCanvas.fire` does what a hand would.
    visit, image, plane, slice, window, region, tool, brush, ball, tolerance, method, file, overwrite : widgets
        The controls.
    interpolate, refine, fill, clean, undo, redo, cancel, save : ipywidgets.Button
        What they say.

    Raises
    ------
    InputError
        If there is no image, or anywidget is not installed.
    """

    interpolate: widgets.Button
    fill: widgets.Button
    clean: widgets.Button
    undo: widgets.Button
    redo: widgets.Button
    refine: widgets.Button
    cancel: widgets.Button
    save: widgets.Button

    def __init__(
        self,
        patient: Patient | Visit | Volume | Mapping[str, Volume],
        masks: Mapping[str, Mask] | None = None,
        *,
        source: str | os.PathLike[str] | DicomSource | None = None,
        file: str | os.PathLike[str] | None = None,
        region: str = "enhancing",
    ) -> None:
        try:
            from tumortwin.apps.canvas import SliceCanvas
        except ImportError as error:
            raise InputError(
                "the editor draws with anywidget, which is not installed: pip install 'tumortwin[lab]'"
            ) from error
        if region not in REGIONS:
            raise InputError(f"a region is one of {', '.join(REGIONS)}, not {region!r}")
        self._sheets = sheets_of(patient, masks)
        self._source, self._named = source, file
        self._edits: dict[tuple[int, str], Edited] = {}
        self._used: dict[int, list[str]] = {}
        self._thread: threading.Thread | None = None
        self._task: CancelToken | None = None
        self._stroke: object = None
        self._quiet = False
        # a thread that found something and a hand that turns the slices may draw at the same time
        self._lock = threading.RLock()
        self.canvas = SliceCanvas(self._act)
        self._controls(region)
        self._choose_visit()

    @property
    def sheet(self) -> Sheet:
        """What is drawn on."""
        return self._sheets[self.visit.value]

    @property
    def mask(self) -> Mask:
        """The region that is drawn, as it is now."""
        return self._edited(self.region.value).mask

    @property
    def masks(self) -> dict[str, Mask]:
        """All regions of the visit that hold something, by their segments' names."""
        now = {name: self._edited(short).mask for short, name in REGIONS.items()}
        return {name: mask.with_array(mask.array, name=name) for name, mask in now.items() if mask.array.any()}

    def wait(self, seconds: float = 60.0) -> None:
        """Until what is being computed is done."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _edited(self, region: str) -> Edited:
        key = self.visit.value, region
        if key not in self._edits:
            self._edits[key] = Edited(self.sheet.start(region))
        return self._edits[key]

    def _controls(self, region: str) -> None:
        wide = {"description_width": "5.6em"}
        self.visit = widgets.Dropdown(
            description="visit", style=wide, options=[(sheet.title, i) for i, sheet in enumerate(self._sheets)]
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
        self.region = widgets.Dropdown(
            description="region", style=wide, value=region, options=[(name, short) for short, name in REGIONS.items()]
        )
        self.tool = widgets.ToggleButtons(
            options=TOOLS, tooltips=[_TOLD[tool] for tool in TOOLS], style={"button_width": "6.4em"}
        )
        self.brush = widgets.FloatSlider(
            value=8.0,
            min=0.5,
            max=40.0,
            step=0.5,
            description="brush, mm",
            style=wide,
            readout_format=".1f",
            tooltip="diameter",
        )
        self.ball = widgets.Checkbox(value=False, description="a ball: through slices too", indent=False)
        self.tolerance = widgets.FloatSlider(
            value=1.0,
            min=0.1,
            max=5.0,
            step=0.1,
            description="grow, SD",
            style=wide,
            readout_format=".1f",
            tooltip="how unlike the place a voxel may be",
        )
        self.method = widgets.Dropdown(options=list(Refinement), layout=widgets.Layout(width="11em"))
        self.file = widgets.Text(description="file", style=wide)
        self.overwrite = widgets.Checkbox(value=False, description="replace a file that is there", indent=False)
        self._numbers, self._message, self._about = widgets.HTML(), widgets.HTML(), widgets.HTML()
        named: dict[str, widgets.DOMWidget] = {
            "visit": self.visit,
            "image": self.image,
            "plane": self.plane,
            "position": self.slice,
            "window": self.window,
            "region": self.region,
            "tool": self.tool,
            "brush": self.brush,
            "ball": self.ball,
            "tolerance": self.tolerance,
            "method": self.method,
            "file": self.file,
            "overwrite": self.overwrite,
            "numbers": self._numbers,
            "message": self._message,
            "about": self._about,
            "view": self.canvas,
        }
        buttons = {
            "interpolate": ("between slices", "fill the slices between those that are drawn", self._interpolate),
            "fill": (
                "fill holes",
                "what the region encloses",
                lambda: self._change(strokes.fill_holes(self.mask), "fill holes"),
            ),
            "clean": (
                "drop specks",
                f"pieces below {SMALLEST_ML:g} mL",
                lambda: self._change(strokes.without_small_pieces(self.mask, SMALLEST_ML), "drop specks"),
            ),
            "undo": ("undo", "key z", lambda: self._set(self._edited(self.region.value).undo())),
            "redo": ("redo", "key shift z", lambda: self._set(self._edited(self.region.value).redo())),
            "refine": ("refine", "move the outline to the image's edge", self._refine),
            "cancel": ("cancel", "what is being computed", self._cancel),
            "save": ("save as SEG", "a DICOM Segmentation of this visit's regions", self._save),
        }
        for name, (text, tip, act) in buttons.items():
            named[name] = widgets.Button(description=text, tooltip=tip, layout=widgets.Layout(width="9.2em"))
            named[name].on_click(partial(self._press, act))
            setattr(self, name, named[name])
        for name, widget in named.items():
            widget.add_class(f"tumortwin-{name}")
        for widget in (
            self.visit,
            self.image,
            self.slice,
            self.window,
            self.region,
            self.brush,
            self.tolerance,
            self.file,
        ):
            widget.layout.width = "calc(100% - 8px)"
        line = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center")

        def row(*names: str) -> widgets.Box:
            return widgets.Box([named[name] for name in names], layout=line)

        left = widgets.VBox(
            [
                self.visit,
                self.image,
                self.plane,
                self.slice,
                self.window,
                self.region,
                self.tool,
                self.brush,
                self.ball,
                self.tolerance,
                row("undo", "redo", "interpolate", "fill", "clean", "cancel"),
                row("refine", "method"),
                self.file,
                self.overwrite,
                row("save"),
            ],
            layout=widgets.Layout(flex="0 1 350px", min_width="0", padding="0 10px 0 0"),
        )
        right = widgets.VBox(
            [self._numbers, self.canvas, self._about, self._message],
            layout=widgets.Layout(flex="1 1 360px", min_width="0", max_width="560px"),
        )
        notice = widgets.HTML("<i>Research use only, not for clinical decisions.</i>")
        wrap = widgets.Layout(display="flex", flex_flow="row wrap", align_items="flex-start")
        self.ui = widgets.VBox([widgets.Box([left, right], layout=wrap), notice])
        self.visit.observe(self._choose_visit, "value")
        self.image.observe(self._choose_image, "value")
        self.plane.observe(self._choose_plane, "value")
        for control in (self.slice, self.window, self.region):
            control.observe(lambda _: self._draw(), "value")
        for control in (self.tool, self.brush, self.region):
            control.observe(self._hold, "value")
        self.cancel.disabled = True

    def _choose_visit(self, _change: object = None) -> None:
        self._quiet = True
        kept = self.image.value
        self.image.options = list(self.sheet.images)
        self.image.value = kept if kept in self.sheet.images else self.sheet.own
        self.file.value = str(self._named or f"drawn-visit-{self.visit.value + 1}.dcm")
        self._quiet = False
        self._choose_image(drawn=False)
        self._choose_plane()
        self._tell("; ".join(f"{f.what}: {f.action}" for f in self.sheet.findings), trouble=False)

    def _choose_image(self, _change: object = None, *, drawn: bool = True) -> None:
        if self._quiet:
            return
        low, high, window = value_range(self.sheet.images[self.image.value])
        self._quiet = True
        # the upper end first: a range may not be empty on the way
        self.window.max = max(high, self.window.min + 1e-12)
        self.window.min = low
        self.window.max, self.window.step = high, (high - low) / 200
        self.window.value = window
        self._quiet = False
        if drawn:
            self._draw()

    def _choose_plane(self, _change: object = None) -> None:
        """Another plane through the middle of what is drawn."""
        if self._quiet:
            return
        with self._lock:
            colors = {short: (OUTLINE_COLORS | COLORS)[short] for short in REGIONS}
            self._picture = MaskPicture(self.sheet.grid, self.plane.value, colors)
            through = self._picture.cut.axes[0]
            held = (
                self.mask.array if self.mask.array.any() else next((mask.array for mask in self.masks.values()), None)
            )
            index = (
                self._picture.cut if held is None else best_slice(self.sheet.grid, held, plane=self.plane.value)
            ).index
        self._quiet = True
        self.slice.max = self.sheet.grid.shape[through] - 1
        self.slice.value = index
        self.slice.disabled = self.slice.max == 0
        self._quiet = False
        self._hold()
        self._draw()

    def _hold(self, _change: object = None) -> None:
        """Set the canvas's tool, brush radius and color from the controls, and show what the tool does."""
        self.canvas.tool = self.tool.value
        self.canvas.brush = 0.5 * self.brush.value / self._picture.cut.extent[1]
        self.canvas.color = (OUTLINE_COLORS | COLORS)[self.region.value]
        self._about.value = escape(_TOLD[self.tool.value])

    def _draw(self, *, measured: bool = True) -> None:
        if self._quiet:
            return
        with self._lock:
            now = {short: self._edited(short).mask for short in REGIONS}
            self.canvas.frame = self._picture.show(
                self.sheet.images[self.image.value], self.slice.value, self.window.value, now, self.region.value
            )
            edited = self._edited(self.region.value)
            self.undo.disabled, self.redo.disabled = not edited.done, not edited.undone
            if measured:
                self._numbers.value = numbers_html(now, self.region.value)
            else:
                self._numbers.value = f"<b>{REGIONS[self.region.value]}: {edited.mask.volume_ml:.2f} mL</b>"

    def _tell(self, text: str, trouble: bool = True) -> None:
        color = "#b00020" if trouble else "#9a5b00"
        self._message.value = f"<span style='color:{color}'>{escape(text)}</span>" if text else ""

    def _press(self, act: Callable[[], None], _button: object = None) -> None:
        """Do what a button says; what cannot be done is said in the app."""
        self._tell("")
        try:
            act()
        except (TumorTwinError, OSError) as error:
            self._tell(str(error))

    def _act(self, event: Mapping[str, Any]) -> None:
        """Do what a hand did on the picture."""
        acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "stroke": self._draw_stroke,
            "click": self._click,
            "box": self._box,
            "wheel": self._wheel,
            "key": self._key,
        }
        if event.get("kind") in acts:
            self._press(partial(acts[event["kind"]], event))

    def _place(self, at: Any) -> NDArray[np.float64]:
        return self._picture.place(float(at[0]), float(at[1]))

    def _draw_stroke(self, event: Mapping[str, Any]) -> None:
        flat = None if self.ball.value else self._picture.cut.axes[0]
        stroke = Stroke(np.array([self._place(at) for at in event["points"]]), 0.5 * self.brush.value, flat)
        change = strokes.erase if self.tool.value == "erase" else strokes.paint
        begun, before = self._stroke == event["id"], self._edited(self.region.value)
        self._change(change(self.mask, stroke), self.tool.value, join=begun, measured=bool(event["done"]))
        # a part that changed nothing has no step for the next to join
        started = begun or self._edited(self.region.value) is not before
        self._stroke = event["id"] if started and not event["done"] else None

    def _click(self, event: Mapping[str, Any]) -> None:
        point, image = self._place(event["at"]), self.sheet.images[self.image.value]
        if self.tool.value == "remove":
            self._change(strokes.without_piece(self.mask, point), "remove piece")
        elif self.tool.value == "grow":
            flat = None if self.ball.value else self._picture.cut.axes[0]
            grown = strokes.grow_region(image, point, self.tolerance.value, axis=flat)
            self._change(united(self.mask, grown), "grow")
        else:
            self._work("click hint", lambda progress: segment_from_click(image, point, progress=progress), self._take)

    def _box(self, event: Mapping[str, Any]) -> None:
        corners = deep_box(
            self.sheet.grid, self._place(event["start"]), self._place(event["end"]), self._picture.cut.axes[0]
        )
        image = self.sheet.images[self.image.value]
        self._work("box hint", lambda progress: segment_from_box(image, *corners, progress=progress), self._take)

    def _take(self, found: Hinted) -> None:
        self._change(united(self.mask, found.mask), "hint")
        said = [f"{found.low_ml:.1f} to {found.high_ml:.1f} mL"] + [f"{f.what}: {f.action}" for f in found.findings]
        self._tell("; ".join(said), trouble=False)

    def _wheel(self, event: Mapping[str, Any]) -> None:
        self.slice.value = min(max(self.slice.value + int(event["steps"]), 0), self.slice.max)

    def _key(self, event: Mapping[str, Any]) -> None:
        if event["key"] in ("z", "Z"):
            edited = self._edited(self.region.value)
            self._set(edited.undo() if event["key"] == "z" else edited.redo())
        elif event["key"] in ("ArrowUp", "ArrowDown"):
            self._wheel({"steps": 1 if event["key"] == "ArrowUp" else -1})
        else:
            self.brush.value += 1.0 if event["key"] == "]" else -1.0

    def _interpolate(self) -> None:
        self._change(strokes.interpolate(self.mask, self._picture.cut.axes[0]), "between slices")

    def _refine(self) -> None:
        image, mask, method = self.sheet.images[self.image.value], self.mask, self.method.value
        self._work(
            f"refine by {method}",
            lambda progress: refine(mask, image, method, progress=progress),
            lambda refined: self._change(refined, "refine"),
        )

    def _change(self, mask: Mask, what: str, *, join: bool = False, measured: bool = True) -> None:
        if self._working:
            raise InputError("wait until it is computed, or cancel it")
        edited = self._edited(self.region.value).changed(mask, what, join=join)
        self._used.setdefault(self.visit.value, []).append(what)
        self._set(edited, measured=measured)

    def _set(self, edited: Edited, *, measured: bool = True) -> None:
        if self._working:
            raise InputError("wait until it is computed, or cancel it")
        self._edits[self.visit.value, self.region.value] = edited
        self._draw(measured=measured)

    @property
    def _working(self) -> bool:
        return self._task is not None

    def _work(self, what: str, compute: Callable[[Progress], T], then: Callable[[T], None]) -> None:
        """Compute in a thread, and do with the result what is to be done, unless it was cancelled."""
        if self._working:
            raise InputError("wait until it is computed, or cancel it")
        self._task = token = CancelToken()
        self.cancel.disabled = False
        self._tell(f"{what} ...", trouble=False)

        def run() -> None:
            said = ""
            try:
                result = compute(token)
                token(1, 1, what)
                self._task = None
                self._tell("")
                then(result)
            except (TumorTwinError, OSError) as error:
                said = str(error)
            except BaseException as error:
                said = f"{what} failed: {error!r}"
                raise
            finally:
                if self._task is token:
                    self._task = None
                self.cancel.disabled = True
                if said:
                    self._tell(said)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._tell("cancelled as soon as its step is done", trouble=False)

    def _save(self) -> None:
        """Write the visit's regions; a file that is there already stays, unless the box is ticked."""
        if self._source is None:
            raise InputError(
                "a Segmentation refers to the DICOM files it was drawn on: make the app with "
                "source=FOLDER, or take app.masks"
            )
        sheet, source, path, replaced = self.sheet, self._source, self.file.value, self.overwrite.value
        masks = self.masks
        steps = ", ".join(dict.fromkeys(self._used.get(self.visit.value, ["nothing changed"])))

        def write(_: Progress) -> str:
            drawn_on = source if isinstance(source, DicomSource) else series_source(sheet.images[sheet.own], source)
            try:
                written = write_segmentation(
                    masks,
                    drawn_on,
                    path,
                    description="Drawn tumor",
                    types=TYPES,
                    derivation=f"Drawn or edited by hand ({steps})",
                    overwrite=replaced,
                )
            except OutputExistsError as error:
                raise OutputExistsError(
                    f"{path} is there already: choose another name, or tick the box above the button"
                ) from error
            return f"written: {written}, with {', '.join(masks)}"

        self._work("save", write, lambda said: self._tell(said, trouble=False))


def numbers_html(masks: Mapping[str, Mask], chosen: str) -> str:
    """How large the chosen region is, and the others' volumes."""
    size = measure(strokes.tight(masks[chosen]))
    others = ", ".join(
        f"{REGIONS[short]} {mask.volume_ml:.1f}"
        for short, mask in masks.items()
        if short != chosen and mask.array.any()
    )
    diameters = (
        f", {size.longest_mm:.0f} × {size.perpendicular_mm:.0f} mm (axial)"
        if size.longest_mm
        else ", too small for a diameter"
        if size.volume_ml
        else ""
    )
    return (
        f"<div style='line-height:1.4'><b>{REGIONS[chosen]}: {size.volume_ml:.2f} mL</b>{diameters}"
        + (f"<br>{others} mL" if others else "")
        + "</div>"
    )
