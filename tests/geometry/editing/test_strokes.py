"""Editing masks: strokes are what a ruler says, every step can be undone, and slices are filled by shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.editing import history
from tumortwin.geometry.editing.history import Edited
from tumortwin.geometry.editing.strokes import (
    Stroke,
    erase,
    fill_holes,
    grow_region,
    interpolate,
    paint,
    without_piece,
    without_small_pieces,
)
from tumortwin.imaging.volume import Grid, Mask, Volume


def tilted(shape=(20, 24, 28), spacing=(3.0, 1.5, 1.0), degrees=25.0) -> Grid:
    a = np.deg2rad(degrees)
    lean = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    affine = np.eye(4)
    affine[:3, :3] = lean @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * spacing
    affine[:3, 3] = (-12.0, 30.0, 5.0)
    return Grid(shape, affine, "1.2")


def world(grid: Grid) -> np.ndarray:
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))


def ball(grid: Grid, radius: float, center=None) -> Mask:
    center = grid.center if center is None else center
    return Mask(np.linalg.norm(world(grid) - center, axis=-1) <= radius, grid)


def dice(a: Mask, b: Mask) -> float:
    return 2 * (a.array & b.array).sum() / (a.array.sum() + b.array.sum())


GRIDS = {"plain": Grid.regular((20, 24, 28), 1.0, frame="1.2"), "oblique, anisotropic": tilted()}
each_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


@each_grid
def test_a_dab_is_a_ball_in_mm(grid):
    dab = Stroke(grid.center, 6.3).voxels(grid)
    np.testing.assert_array_equal(dab, ball(grid, 6.3).array)


@each_grid
def test_a_flat_brush_stays_in_its_slice(grid):
    for axis in range(3):
        middle = np.round((np.array(grid.shape) - 1) / 2)
        center = grid.to_world(middle)
        disc = Stroke(center, 5.2, axis).voxels(grid)
        wanted = ball(grid, 5.2, center).array
        there = np.moveaxis(np.indices(grid.shape)[axis] == middle[axis], 0, 0)
        np.testing.assert_array_equal(disc, wanted & there)


@each_grid
def test_a_line_is_as_wide_as_the_brush_all_along(grid):
    a, b = grid.to_world([4, 6, 5]), grid.to_world([15, 17, 22])
    line = Stroke([a, b], 4.0).voxels(grid)
    along = b - a
    t = np.clip((world(grid) - a) @ along / (along @ along), 0, 1)
    distance = np.linalg.norm(world(grid) - (a + t[..., None] * along), axis=-1)
    # besides what the ruler says, only what the line itself passes through
    np.testing.assert_array_equal(line, distance <= 4.0)


def test_the_finest_brush_leaves_a_line_without_gaps():
    grid = tilted()
    ends = grid.to_world([[2, 3, 4], [17, 20, 23]])
    line = Stroke(ends, 0.01).voxels(grid)
    assert line[2, 3, 4]
    assert line[17, 20, 23]
    assert ndimage.label(line, np.ones((3, 3, 3)))[1] == 1
    assert line.sum() >= 20


def test_strokes_may_leave_the_image():
    grid = Grid.regular((5, 5, 5))
    assert not Stroke([[50, 50, 50], [60, 50, 50]], 3).voxels(grid).any()
    assert Stroke([[-5, 2, 2], [9, 2, 2]], 0.4).voxels(grid)[2, 2].all()


numbers = st.floats(-10, 40, allow_nan=False)
any_stroke = st.builds(
    lambda points, radius, axis: Stroke(np.array(points), radius, axis),
    st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5),
    st.floats(0.3, 9.0),
    st.sampled_from([None, 0, 1, 2]),
)
masks = st.integers(0, 2**32 - 1).map(
    lambda seed: Mask(np.random.default_rng(seed).random((9, 11, 13)) < 0.4, Grid.regular((9, 11, 13), (3, 2, 2)))
)
steps = st.lists(st.tuples(st.sampled_from([paint, erase]), any_stroke, st.booleans()), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(masks, steps)
def test_undo_goes_all_the_way_back_and_redo_all_the_way_forth(mask, steps):
    states = [Edited(mask)]
    for act, stroke, join in steps:
        before = states[-1]
        states.append(before.changed(act(before.mask, stroke), act.__name__, join=join))
        np.testing.assert_array_equal(states[-1].mask.array, act(before.mask, stroke).array)
    now = states[-1]
    while now.done:
        now = now.undo()
    np.testing.assert_array_equal(now.mask.array, mask.array)
    while now.undone:
        now = now.redo()
    np.testing.assert_array_equal(now.mask.array, states[-1].mask.array)


@settings(max_examples=60, deadline=None)
@given(masks, any_stroke)
def test_erasing_a_stroke_leaves_the_rest_alone(mask, stroke):
    under = stroke.voxels(mask.grid)
    drawn = paint(mask, stroke)
    assert drawn.array[under].all()
    gone = erase(drawn, stroke)
    assert not gone.array[under].any()
    np.testing.assert_array_equal(gone.array[~under], mask.array[~under])


def test_a_stroke_in_parts_is_undone_at_once_and_a_new_step_ends_redoing():
    grid = Grid.regular((5, 20, 20))
    start = Edited(Mask(np.zeros(grid.shape, bool), grid))
    now = start.changed(paint(start.mask, Stroke([5, 5, 2], 2)), "paint")
    one = now
    now = now.changed(paint(now.mask, Stroke([15, 5, 2], 2)), "paint", join=True)
    assert len(now.done) == 1
    assert not now.undo().mask.array.any()
    back = now.undo()
    other = back.changed(one.mask, "other")
    assert other.undone == ()
    assert other.changed(other.mask, "nothing") is other
    assert start.undo() is start.redo() is start


def test_the_history_is_bounded(monkeypatch):
    grid = Grid.regular((4, 64, 64))
    rng = np.random.default_rng(1)
    now = Edited(Mask(np.zeros(grid.shape, bool), grid))
    monkeypatch.setattr(history, "HISTORY_BYTES", 5 * 2048)
    for k in range(12):
        now = now.changed(Mask(rng.random(grid.shape) < 0.5, grid), f"{k}")
    assert [edit.what for edit in now.done] == ["7", "8", "9", "10", "11"]
    # a small change remembers its box only
    small = now.changed(paint(now.mask, Stroke([30, 30, 1], 1.5)), "dab")
    assert small.done[-1].flipped.nbytes <= 6


def test_a_mask_on_another_grid_is_no_edit():
    now = Edited(ball(Grid.regular((9, 9, 9)), 3))
    with pytest.raises(InputError, match="resample it first"):
        now.changed(ball(Grid.regular((9, 9, 9), 2.0), 3), "x")


@pytest.mark.parametrize(
    ("points", "radius", "axis"),
    [([], 1, None), ([[0, 0]], 1, None), ([[0, 0, np.nan]], 1, None), ([[0, 0, 0]], 0, None), ([[0, 0, 0]], 1, 3)],
)
def test_no_such_stroke(points, radius, axis):
    with pytest.raises(InputError):
        Stroke(points, radius, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("every", [4, 6])
def test_a_sphere_from_some_of_its_slices(axis, every):
    grid = Grid.regular((50, 54, 58), (1.0, 1.2, 0.9))
    whole = ball(grid, 21.0)
    slices = np.flatnonzero(whole.array.any(tuple(k for k in range(3) if k != axis)))
    keep = np.zeros(grid.shape[axis], bool)
    keep[slices[::every]] = keep[slices[-1]] = True
    some = whole.array & np.expand_dims(keep, tuple(k for k in range(3) if k != axis))
    filled = interpolate(Mask(some, grid), axis)
    assert dice(filled, whole) > (0.97 if every == 4 else 0.95)
    assert filled.volume_ml == pytest.approx(whole.volume_ml, rel=0.05)
    np.testing.assert_array_equal(np.compress(keep, filled.array, axis), np.compress(keep, whole.array, axis))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_equal_slices_are_filled_with_the_same_shape(seed, axis):
    flat = np.random.default_rng(seed).random((12, 15)) < 0.3
    flat[4, 4] = True
    array = np.zeros((8, 12, 15), bool)
    array[1] = array[6] = flat
    mask = Mask(np.moveaxis(array, 0, axis), Grid.regular(np.moveaxis(array, 0, axis).shape, (1.0, 2.0, 3.0)))
    filled = np.moveaxis(interpolate(mask, axis).array, axis, 0)
    assert (filled[1:7] == flat).all()
    assert not filled[[0, 7]].any()


def test_an_oblique_tube_stays_one():
    grid = Grid.regular((21, 60, 60))
    y, x = np.ogrid[:60, :60]
    array = np.array([(y - 15 - 1.5 * k) ** 2 + (x - 15 - 1.5 * k) ** 2 <= 36 for k in range(21)])
    ends = array.copy()
    ends[1:-1] = False
    filled = interpolate(Mask(ends, grid), 0)
    assert dice(filled, Mask(array, grid)) > 0.97


def test_named_slices_replace_what_lies_between():
    grid = Grid.regular((11, 30, 30))
    whole = ball(grid, 12.0)
    spoiled = whole.array.copy()
    spoiled[4:7] = False
    spoiled[4:7, 0, 0] = True
    mended = interpolate(Mask(spoiled, grid), 0, drawn=(3, 7))
    assert dice(mended, whole) > 0.97
    assert not mended.array[5, 0, 0]


def test_one_slice_is_no_shape():
    grid = Grid.regular((5, 8, 8))
    with pytest.raises(InputError, match="two or more slices"):
        interpolate(Mask(np.zeros(grid.shape, bool), grid), 0)
    with pytest.raises(InputError, match="two or more slices"):
        interpolate(ball(grid, 2), 0, drawn=(0, 2))


def noisy(grid: Grid, inside: np.ndarray, seed=0) -> Volume:
    return Volume((100 * inside + np.random.default_rng(seed).normal(0, 10, grid.shape)).astype(np.float32), grid)


@each_grid
def test_a_region_grows_to_its_edge(grid):
    lesion = ball(grid, 7.0)
    # two kinds of tissue: the SD within reach spans them
    grown = grow_region(noisy(grid, lesion.array), grid.center, 3.0, reach_mm=15)
    assert dice(grown, lesion) > 0.97
    flat = grow_region(noisy(grid, lesion.array), grid.center, 3.0, reach_mm=15, axis=0)
    assert np.flatnonzero(flat.array.any((1, 2))).tolist() == [round(grid.to_index(grid.center)[0])]


def test_growth_ends_at_its_reach_and_says_what_it_cannot_do():
    grid = Grid.regular((20, 20, 20), 2.0)
    image = noisy(grid, np.zeros(grid.shape))
    grown = grow_region(image, grid.center, 50.0, reach_mm=9)
    np.testing.assert_array_equal(grown.array, ball(grid, 9).array)
    with pytest.raises(InputError, match="outside the image"):
        grow_region(image, grid.center + 100)
    with pytest.raises(InputError, match="constant"):
        grow_region(Volume(np.ones(grid.shape), grid), grid.center)
    with pytest.raises(InputError, match="above 0"):
        grow_region(image, grid.center, 0)
    with pytest.raises(InputError, match="no value"):
        grow_region(Volume(np.full(grid.shape, np.nan), grid), grid.center)


def test_pieces_and_holes():
    grid = Grid.regular((20, 30, 40))
    large, small = ball(grid, 7.0), ball(grid, 2.0, (35, 25, 10))
    both = Mask(large.array | small.array, grid)
    np.testing.assert_array_equal(without_small_pieces(both, 0.1).array, large.array)
    np.testing.assert_array_equal(without_piece(both, (35, 25, 10)).array, large.array)
    with pytest.raises(InputError, match="no piece"):
        without_piece(both, (0, 0, 0))
    hollow = Mask(large.array & ~ball(grid, 4.0).array, grid)
    np.testing.assert_array_equal(fill_holes(hollow).array, large.array)
    tube = hollow.array.copy()
    tube[12:] = False  # open at one end: closed in each slice across z
    assert (fill_holes(Mask(tube, grid), 0).array != tube).any()
    np.testing.assert_array_equal(fill_holes(Mask(tube, grid), 0).array[:12], large.array[:12])
    nothing = Mask(np.zeros(grid.shape, bool), grid)
    assert not without_small_pieces(nothing).array.any()
