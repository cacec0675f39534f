"""A picture that can be drawn on: what the hand did comes back as events. It needs anywidget (the extra `lab`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import anywidget
import traitlets

Event = Mapping[str, Any]
"""What was done: `kind` is "stroke" (`id`, `points`, `done`), "box" (`start`, `end`), "click" (`at`), "wheel" (`steps`)
or "key" (`key`). Places are shares of the picture's width from the left and of its height from the top."""


class SliceCanvas(anywidget.AnyWidget):
    """Shows a PNG and reports strokes, clicks, boxes, the wheel and keys.

    Parameters
    ----------
    on_event : callable
        Given each :data:`Event`; the next part of a stroke comes after it returned.
    """

    _esm = resources.files("tumortwin.apps").joinpath("canvas.js").read_text(encoding="utf-8")

    frame = traitlets.Bytes(b"").tag(sync=True)
    """The picture, PNG."""
    tool = traitlets.Unicode("paint").tag(sync=True)
    """"paint" and "erase" draw strokes, "box" boxes; with any other tool a click is a click."""
    brush = traitlets.Float(0.01).tag(sync=True)
    """Radius of the brush as a share of the picture's width."""
    color = traitlets.Unicode("#ffffff").tag(sync=True)
    """Of the brush."""

    def __init__(self, on_event: Callable[[Event], None], **traits: Any) -> None:
        super().__init__(**traits)
        self._on_event = on_event
        self.on_msg(lambda _, event, __: self.fire(event))

    def fire(self, event: Event) -> None:
        """Handle an event as if the hand had done it."""
        try:
            self._on_event(event)
        finally:
            # else the browser waits forever
            self.send({"kind": "seen"})
