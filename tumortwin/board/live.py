"""Pictures that follow a slider: what stands still is drawn once, and only what moves is drawn again."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import image
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from skimage.measure import find_contours

from tumortwin.board.charts import COURSE_COLORS, INK, QUANTITY_COLORS, QUIET, page_style, plain
from tumortwin.board.cuts import Cut, Plane, cut_at
from tumortwin.board.slices import OUTLINE_COLORS, show_slice
from tumortwin.board.viewing import brought
from tumortwin.board.wording import name_of
from tumortwin.imaging.volume import Grid, Mask, Volume

_SIZE, _WIDE, _DPI = (4.4, 4.4), 5.6, 125
_STYLE = {"font.size": 8.5, "axes.labelsize": 8.5, "axes.titlesize": 9.5, "legend.fontsize": 8.0}


class LivePicture:
    """A figure, some artists of which move.

    Parameters
    ----------
    figure : Figure
        Complete, with no canvas of its own.
    moving : sequence of Artist
        Drawn in this order on top of the rest, each time.
    """

    def __init__(self, figure: Figure, moving: Sequence[Artist]) -> None:
        self.figure, self._moving = figure, tuple(moving)
        self._canvas = FigureCanvasAgg(figure)
        shown = [artist.get_visible() for artist in self._moving]
        for artist in self._moving:
            artist.set_visible(False)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(figure.bbox)
        for artist, visible in zip(self._moving, shown, strict=True):
            artist.set_visible(visible)

    def png(self) -> bytes:
        """Render the picture in its present state as PNG."""
        self._canvas.restore_region(self._still)
        for artist in self._moving:
            artist.draw(self._canvas.get_renderer())
        buffer = io.BytesIO()
        # the hardest compression takes longer than all of the drawing
        image.imsave(
            buffer, np.asarray(self._canvas.buffer_rgba())[..., :3], format="png", pil_kwargs={"compress_level": 1}
        )
        return buffer.getvalue()


class DensityPicture(LivePicture):
    """Cell density over one slice of the anatomy, with the edges that scans show.

    Parameters
    ----------
    anatomy : Volume
        Drawn in grey.
    cut : Cut
        Of its grid.
    edges : mapping of str to float
        Density at the edge of "whole" and "core".
    faintest : float
        Densities from here on are drawn.
    """

    def __init__(self, anatomy: Volume, cut: Cut, edges: Mapping[str, float], faintest: float = 0.01) -> None:
        self._cut, self._edges, self._faintest = cut, dict(edges), faintest
        with mpl.rc_context(_style()):
            figure = Figure(figsize=_SIZE, dpi=_DPI)
            ax = figure.add_axes((0.01, 0.09, 0.85, 0.84))
            bar = figure.add_axes((0.87, 0.15, 0.022, 0.72))
            nothing = np.zeros(anatomy.grid.shape)
            # darker than usual: low densities are to stand out
            window = 0.0, 1.4 * max(float(np.percentile(cut.picture(anatomy.array), 99.5)), 1e-6)
            artists = show_slice(ax, anatomy, cut, window=window, density=nothing, threshold=faintest)
            assert artists.density is not None
            self._density = artists.density
            figure.colorbar(self._density, cax=bar, label="cells, share of capacity").outline.set_visible(False)
            bar.tick_params(length=2, color=QUIET, labelsize="small")
            self._lines, key = {}, {}
            for name, edge in self._edges.items():
                color = OUTLINE_COLORS[name]
                self._lines[name] = LineCollection([], colors=color, linewidths=1.3)
                ax.add_collection(self._lines[name], autolim=False)
                bar.axhline(edge, color=color, linewidth=2)
                key[f"{name_of(name)}, {100 * edge:.0f} %"] = Line2D([], [], color=color, linewidth=2)
            self._title = ax.set_title("")
            _key(figure, key)
            written = [*artists.letters.values(), *artists.scale_bar, *filter(None, [artists.position])]
            super().__init__(figure, [self._density, *self._lines.values(), *written, self._title])

    def show(self, density: NDArray[np.floating], title: str) -> bytes:
        """Draw a (z, y, x) density as PNG."""
        values = self._cut.picture(density)
        self._density.set_data(np.ma.masked_less(values, self._faintest))
        left, right, bottom, top = self._cut.extent
        scale = (right - left) / values.shape[1], (bottom - top) / values.shape[0]
        for name, edge in self._edges.items():
            contours = find_contours(np.asarray(values, float), edge)
            self._lines[name].set_segments([(contour[:, ::-1] + 0.5) * scale for contour in contours])
        self._title.set_text(title)
        return self.png()


class MaskPicture(LivePicture):
    """One slice of an image and the masks that are drawn on it, from edge to edge.

    A place in the picture is a place in the slice.

    Parameters
    ----------
    grid : Grid
        Of the masks; the image may be on another one in the same frame of reference.
    plane : Plane or str
        Which slices.
    colors : mapping of str to str
        Of the masks.
    """

    def __init__(self, grid: Grid, plane: Plane | str, colors: Mapping[str, str]) -> None:
        self.cut = cut_at(grid, plane)
        _, width, height, _ = self.cut.extent
        longest = max(width, height)
        with mpl.rc_context(_style()):
            figure = Figure(figsize=(max(_WIDE * width / longest, 1.0), max(_WIDE * height / longest, 1.0)), dpi=_DPI)
            ax = figure.add_axes((0, 0, 1, 1))
            artists = show_slice(ax, Volume(np.zeros(grid.shape, np.float32), grid), self.cut, window=(0, 1))
            ax.set_aspect("auto")
            self._anatomy = artists.anatomy
            self._fill = ax.imshow(np.zeros((2, 2, 4)), extent=self.cut.extent, interpolation="nearest", aspect="auto")
            self._colors = dict(colors)
            self._lines = {name: LineCollection([], colors=color, linewidths=1.2) for name, color in colors.items()}
            for line in self._lines.values():
                ax.add_collection(line, autolim=False)
            assert artists.position is not None
            self._position = artists.position
            super().__init__(
                figure,
                [
                    self._anatomy,
                    self._fill,
                    *self._lines.values(),
                    *artists.letters.values(),
                    *artists.scale_bar,
                    self._position,
                ],
            )

    def show(
        self, image: Volume, index: int, window: tuple[float, float], masks: Mapping[str, Mask], chosen: str
    ) -> bytes:
        """Draw a slice as PNG.

        Parameters
        ----------
        image : Volume
            Drawn in grey; resampled if it is on another grid.
        index : int
            Of the slice, along the grid's axis across the plane.
        window : (float, float)
            Values drawn black and white.
        masks : mapping of str to Mask
            Outlined, each in its color; on the grid.
        chosen : str
            The mask that is filled too.
        """
        self.cut = replace(self.cut, index=index)
        self._anatomy.set_data(self._picture(image))
        self._anatomy.set_clim(*window)
        left, right, bottom, top = self.cut.extent
        for name, line in self._lines.items():
            inside = self.cut.picture(masks[name].array) if name in masks else np.zeros((1, 1), bool)
            scale = (right - left) / inside.shape[1], (bottom - top) / inside.shape[0]
            outlines = find_contours(np.pad(inside, 1).astype(float), 0.5) if inside.any() else []
            line.set_segments([(outline[:, ::-1] - 0.5) * scale for outline in outlines])
            if name == chosen:
                self._fill.set_data(inside[..., None] * np.array([*to_rgb(self._colors[name]), 0.3]))
        self._position.set_text(self.cut.position_text)
        return self.png()

    def place(self, x: float, y: float) -> NDArray[np.float64]:
        """World point in LPS mm of a place in the picture: shares of its width and height from the top left."""
        _, down, right = self.cut.axes
        return self.cut.place(y * self.cut.grid.shape[down] - 0.5, x * self.cut.grid.shape[right] - 0.5)

    def _picture(self, image: Volume) -> NDArray[Any]:
        through = self.cut.axes[0]
        box = tuple(slice(self.cut.index, self.cut.index + 1) if k == through else slice(None) for k in range(3))
        if image.grid.matches(self.cut.grid):
            return self.cut.picture(image.array)
        slab = self.cut.grid.cropped((box[0], box[1], box[2]))
        return replace(self.cut, grid=slab, index=0).picture(brought(image, slab).array)


class FrontPicture(LivePicture):
    """How large the tumor is over time, beside a straight front at theory's speed.

    Parameters
    ----------
    days : (n,) array
        Of the radii to come.
    highest : float
        Upper end of the radii's axis, mm; it stands still, so that the eye can compare.
    edges : mapping of str to float
        As for :class:`DensityPicture`.
    """

    def __init__(self, days: NDArray[np.floating], highest: float, edges: Mapping[str, float]) -> None:
        self._days = days
        with mpl.rc_context(_style()):
            figure = Figure(figsize=_SIZE, dpi=_DPI)
            ax = figure.add_axes((0.12, 0.23, 0.85, 0.70))
            ax.set(xlim=(days[0], days[-1]), ylim=(0, highest), xlabel="day", ylabel="radius of the same area (mm)")
            plain(ax)
            self._course = ax.axvspan(days[0], days[0], color=COURSE_COLORS["radiotherapy"], alpha=0.15, linewidth=0)
            self._surgery = ax.axvline(days[0], color=COURSE_COLORS["surgery"], linewidth=1.2, linestyle="--")
            (self._theory,) = ax.plot([], [], color=QUIET, linewidth=1.2, linestyle=":")
            self._seen = {
                name: ax.plot([], [], color=QUANTITY_COLORS[name], linewidth=1.3, linestyle=(0, (4, 2)))[0]
                for name in edges
            }
            self._lines = {name: ax.plot([], [], color=QUANTITY_COLORS[name], linewidth=2)[0] for name in edges}
            self._today = ax.axvline(days[0], color=INK, linewidth=0.8)
            (dashed,) = ax.plot([], [], color=QUIET, linewidth=1.3, linestyle=(0, (4, 2)))
            _key(
                figure,
                {name_of(name): line for name, line in self._lines.items()}
                | {
                    "with dead cells": dashed,
                    "theory, 2 √(D ρ)": self._theory,
                    "radiotherapy": self._course,
                    "resection": self._surgery,
                },
            )
            super().__init__(
                figure,
                [self._course, self._surgery, self._theory, *self._seen.values(), *self._lines.values(), self._today],
            )

    def show(
        self,
        radii: Mapping[str, NDArray[np.floating]],
        seen: Mapping[str, NDArray[np.floating]],
        speed: float,
        today: float,
        radiotherapy: tuple[float, float] | None,
        resection: float | None,
    ) -> bytes:
        """Draw the radii over time as PNG.

        Parameters
        ----------
        radii, seen : mapping of str to (n,) array
            Of living cells, and of living and dead ones where there are any; mm.
        speed : float
            Theory's, mm/day; drawn from the first radius of "whole".
        today : float
            The day that is marked.
        radiotherapy : (float, float), optional
            First and last day.
        resection : float, optional
            Its day.
        """
        for name, line in self._lines.items():
            line.set_data(self._days, radii[name])
            self._seen[name].set_data((self._days, seen[name]) if name in seen else ([], []))
        ends = self._days[[0, -1]]
        self._theory.set_data(ends, next(iter(radii.values()))[0] + speed * (ends - ends[0]))
        self._today.set_xdata([today, today])
        self._course.set_visible(radiotherapy is not None)
        if radiotherapy is not None:
            self._course.set_x(radiotherapy[0])
            self._course.set_width(radiotherapy[1] - radiotherapy[0])
        self._surgery.set_visible(resection is not None)
        if resection is not None:
            self._surgery.set_xdata([resection, resection])
        return self.png()


def _style() -> dict[Any, Any]:
    return page_style() | _STYLE


def _key(figure: Figure, artists: Mapping[str, Artist]) -> None:
    """Draw the legend along the bottom of the figure, in rows of three."""
    figure.legend(
        list(artists.values()),
        list(artists),
        loc="lower center",
        ncols=min(len(artists), 3),
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1.2,
        handlelength=1.8,
    )
