"""What is drawn over a slice, and where."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from tumortwin.board.cuts import cut_at
from tumortwin.board.slices import show_difference, show_slice
from tumortwin.imaging.volume import Grid, Volume


def ax():
    return Figure(figsize=(3, 3)).add_axes((0, 0, 1, 1))


def test_letters_are_drawn_at_their_edges() -> None:
    volume = Volume(np.random.default_rng(0).random((4, 20, 30)), Grid.regular((4, 20, 30), (3, 1, 1)))
    axes = ax()
    artists = show_slice(axes, volume, cut_at(volume.grid, "axial"))
    assert {edge: text.get_text() for edge, text in artists.letters.items()} == {
        "left": "R",
        "right": "L",
        "top": "A",
        "bottom": "P",
    }
    axes.figure.canvas.draw()
    middle = {
        edge: text.get_window_extent().transformed(axes.transAxes.inverted()).get_points().mean(axis=0)
        for edge, text in artists.letters.items()
    }
    assert middle["left"][0] < 0.2 < 0.8 < middle["right"][0]
    assert middle["bottom"][1] < 0.2 < 0.8 < middle["top"][1]


def test_anisotropic_voxels_keep_their_shape_and_the_scale_bar_is_true() -> None:
    volume = Volume(np.zeros((10, 20, 60)), Grid.regular((10, 20, 60), (5, 1, 1)))
    axes = ax()
    artists = show_slice(axes, volume, cut_at(volume.grid, "coronal"))
    left, right, bottom, top = artists.anatomy.get_extent()
    assert (right - left, bottom - top) == (60, 50)
    line, label = artists.scale_bar
    assert float(np.ptp(line.get_xdata())) == 10
    assert label.get_text() == "10 mm"
    assert axes.get_aspect() == 1


def test_density_is_hidden_below_the_threshold_and_masks_are_outlined() -> None:
    grid = Grid.regular((3, 16, 16))
    density = np.zeros(grid.shape)
    density[1, 4:12, 4:12] = 0.6
    density[1, 2, 2] = 0.05
    dose = np.broadcast_to(np.linspace(0, 60, 16), grid.shape)
    artists = show_slice(
        ax(),
        Volume(np.ones(grid.shape), grid),
        density=density,
        outlines={"whole": density > 0.5},
        dashed={"whole": density > 0.5},
        dose=dose,
        isodoses=(20, 40, 90),
    )
    assert artists.density is not None
    shown = artists.density.get_array()
    assert shown.mask[2, 2]
    assert not shown.mask[8, 8]
    assert artists.density.get_clim() == (0, 1)
    assert set(artists.outlines) == {"whole", "whole (dashed)"}
    (line,) = artists.outlines["whole"].get_paths()
    assert line.get_extents().bounds == pytest.approx((4, 4, 8, 8), abs=0.01)
    assert list(artists.isodoses.levels) == [20, 40]
    assert {t.get_text() for t in artists.isodoses.labelTexts} <= {"20 Gy", "40 Gy"}


def test_differences_are_centred_at_zero() -> None:
    grid = Grid.regular((3, 8, 8))
    _, image = show_difference(ax(), Volume(np.ones(grid.shape), grid), np.full(grid.shape, -0.2), limit=0.5)
    assert image.get_clim() == (-0.5, 0.5)
    assert image.norm(0.0) == 0.5
