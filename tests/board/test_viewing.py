"""Slices with masks and doses from other grids: they lie where the patient has them."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from tumortwin.board.cuts import cut_at
from tumortwin.board.viewing import isodoses_of, view_slice
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume

GRID = Grid.regular((20, 40, 50), (3.0, 1.0, 1.0), frame="1.2")
FINE = Grid.regular((60, 50, 60), 1.0, (-3.0, -4.0, -1.0), frame="1.2")


def ball(grid: Grid, center=(20.0, 15.0, 30.0), radius=8.0) -> np.ndarray:
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.linalg.norm(world - np.array(center), axis=-1) < radius


def drawn(**overlays):
    ax = Figure().add_subplot()
    image = Volume(np.random.default_rng(0).random(GRID.shape), GRID)
    return view_slice(ax, image, cut_at(GRID, "axial", 30.0), **overlays)


@pytest.mark.parametrize("grid", [GRID, FINE])
def test_a_mask_is_outlined_where_it_is(grid):
    overlays = drawn(masks={"ball": Mask(ball(grid), grid)})
    assert overlays.shown == ("ball",)
    line = np.concatenate([path.vertices for path in overlays.artists.outlines["ball"].get_paths()])
    # the picture's mm are from its left upper corner, half a voxel outside of the first voxel's center
    x, y = line[:, 0] - 0.5, line[:, 1] - 0.5
    assert np.hypot(x - 20, y - 15) == pytest.approx(8.0, abs=0.8)


def test_only_the_slice_is_resampled_and_to_the_same_values():
    mask = Mask(ball(FINE), FINE)
    whole = resample(mask, GRID).array[10]
    overlays = drawn(masks={"ball": mask})
    line = np.concatenate([path.vertices for path in overlays.artists.outlines["ball"].get_paths()])
    rows, columns = np.nonzero(whole)
    assert line.min(axis=0) - 0.5 == pytest.approx((columns.min() - 0.5, rows.min() - 0.5), abs=0.01)
    assert line.max(axis=0) - 0.5 == pytest.approx((columns.max() + 0.5, rows.max() + 0.5), abs=0.01)


def test_what_is_in_another_frame_is_named_and_not_drawn():
    away = Grid.regular(GRID.shape, (3.0, 1.0, 1.0), frame="1.3")
    overlays = drawn(
        masks={"ball": Mask(ball(away), away), "here": Mask(ball(GRID), GRID)},
        dose=TotalDose(60.0 * ball(away), away, name="plan"),
        isodoses=(30.0,),
    )
    assert overlays.shown == ("here",)
    assert overlays.elsewhere == ("ball", "plan")
    assert overlays.artists.isodoses is None


def test_a_mask_beside_the_image_draws_nothing():
    beside = Grid.regular((5, 5, 5), 1.0, (500.0, 500.0, 500.0), frame="1.2")
    assert drawn(masks={"far": Mask(np.ones(beside.shape, bool), beside)}).shown == ()


def test_isodoses_are_whole_gray_of_what_is_prescribed():
    dose = TotalDose(64.2 * ball(GRID), GRID)
    assert isodoses_of(dose, 60.0) == (18, 30, 48, 57, 64)
    assert isodoses_of(dose) == (18, 30, 48, 57, 64)
    assert isodoses_of(TotalDose(np.zeros(GRID.shape), GRID)) == ()
