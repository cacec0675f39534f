"""A landscape A4 sheet addressed in inches: what every page of the board is set with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from tumortwin.board import charts
from tumortwin.board.wording import RESEARCH_USE, Table

WIDTH, HEIGHT = 11.69, 8.27  # A4 landscape, inches
LEFT, RIGHT = 0.42, 11.27
SMALL, TEXT, TITLE = 6.0, 6.6, 7.8  # points
PITCH = 0.142  # inches from one table row to the next


@lru_cache(maxsize=4096)
def _width(text: str, size: float) -> float:
    ruler = RendererAgg(1, 1, 72 * 32)  # fine, so that hinting to whole pixels does not matter
    pixels, _, _ = ruler.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return pixels / ruler.dpi


class Page:
    """A figure addressed in inches from its top left corner."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes whose top left corner is at (x, y); all in inches."""
        return self.figure.add_axes((x / WIDTH, 1 - (y + height) / HEIGHT, width / WIDTH, height / HEIGHT))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = TEXT,
        *,
        color: str = charts.INK,
        align: str = "left",
        bold: bool = False,
    ) -> None:
        """Write a line of text on the baseline y, aligned at x; inches, and points for its size."""
        self.figure.text(
            x / WIDTH,
            1 - y / HEIGHT,
            text,
            fontsize=size,
            color=color,
            ha=align,
            va="baseline",
            fontweight="bold" if bold else "normal",
        )

    def rule(self, x0: float, x1: float, y: float, *, color: str = charts.QUIET, width: float = 0.5) -> None:
        """Draw a horizontal line from x0 to x1; inches, and points for its width."""
        self.figure.add_artist(Line2D([x0 / WIDTH, x1 / WIDTH], [1 - y / HEIGHT] * 2, color=color, linewidth=width))

    def title(self, x0: float, x1: float, y: float, text: str, aside: str = "") -> None:
        """Draw a section's title over a thin rule."""
        self.text(x0, y, text, TITLE, bold=True)
        if aside:
            self.text(x1, y, aside, SMALL, color=charts.QUIET, align="right")
        self.rule(x0, x1, y + 0.05)

    def width(self, text: str, size: float) -> float:
        """Measure the width of a text in inches."""
        return _width(text, size)

    def wrap(self, text: str, width: float, size: float = SMALL) -> list[str]:
        """Wrap the text into lines no wider than `width` inches; a word that is wider is broken."""
        lines: list[str] = []
        parts = [part for word in text.split() for part in self._parts(word, width, size)]
        for word in parts:
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines

    def _parts(self, word: str, width: float, size: float) -> list[str]:
        """Split a word into pieces no wider than `width` inches; return it whole where it fits."""
        if self.width(word, size) <= width:
            return [word]
        fit, over = 1, len(word)  # the first fits, or nothing does; the second does not
        while over - fit > 1:
            middle = (fit + over) // 2
            fit, over = (middle, over) if self.width(word[:middle], size) <= width else (fit, middle)
        return [word[:fit], *self._parts(word[fit:], width, size)]

    def fit(self, text: str, width: float, size: float = SMALL) -> str:
        """Shorten the text at a word and end it with an ellipsis where it is wider than `width` inches."""
        words = text.split()
        kept = len(words)
        while kept > 1 and self.width(" ".join(words[:kept]) + " …", size) > width:
            kept -= 1
        return text if self.width(text, size) <= width else " ".join(words[:kept]).rstrip(",;:") + " …"

    def cells(
        self, texts: Sequence[str], xs: Sequence[float], y: float, size: float = TEXT, color: str = charts.INK
    ) -> None:
        """Draw a row of a table: each text starts at its x, or ends there where x is negative."""
        for text, x in zip(texts, xs, strict=True):
            self.text(abs(x), y, text, size, color=color, align="right" if x < 0 else "left")

    def table(self, table: Table, columns: Sequence[int], xs: Sequence[float], y: float, pitch: float = PITCH) -> None:
        """Draw some columns of a table, from the header's baseline down."""
        self.cells([table.columns[c] for c in columns], xs, y, SMALL, charts.QUIET)
        for row, texts in enumerate(table.rows):
            self.cells([texts[c] for c in columns], xs, y + (row + 1) * pitch)

    def badge(self) -> None:
        """Draw the research-use notice in the top right corner."""
        width = self.width(RESEARCH_USE, 9) * 1.12 + 0.3
        box = Rectangle(
            ((RIGHT - width) / WIDTH, 1 - 0.53 / HEIGHT),
            width / WIDTH,
            0.26 / HEIGHT,
            edgecolor=charts.BROKEN,
            facecolor="#fdecee",
            linewidth=0.9,
        )
        self.figure.add_artist(box)
        self.text(RIGHT - width / 2, 0.445, RESEARCH_USE, 9, color=charts.BROKEN, align="center", bold=True)
