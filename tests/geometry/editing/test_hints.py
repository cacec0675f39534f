"""Regions from a click or a box: known shapes in noise on any grid, and what cannot be done is said."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.errors import Cancelled, InputError
from tumortwin.geometry.editing.hints import deep_box, segment_from_box, segment_from_click
from tumortwin.geometry.editing.refinement import Refinement, refine
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.progress import CancelToken


def tilted(shape, spacing, degrees) -> Grid:
    a = np.deg2rad(degrees)
    lean = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    affine = np.eye(4)
    affine[:3, :3] = lean @ np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]]) * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, "1.2")


GRIDS = {
    "2 mm": tilted((50, 60, 56), (2.0, 2.0, 2.0), 0),
    "thick slices, oblique": tilted((24, 90, 80), (5, 1.2, 1.2), 20),
    "1 mm, oblique": tilted((96, 110, 100), (1.0, 1.0, 1.0), 30),
}
each_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def world(grid: Grid) -> np.ndarray:
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))


def ellipsoid(grid: Grid, center, radii=(14.0, 18.0, 12.0)) -> np.ndarray:
    return (((world(grid) - center) / radii) ** 2).sum(-1) <= 1


def scan(grid: Grid, *parts, noise=6.0, seed=0) -> Volume:
    """A background of 50 with regions of other signals, blurred by 1 mm, with noise and a slow field."""
    signal = np.full(grid.shape, 50.0)
    for where, value in parts:
        signal[where] = value
    signal = ndimage.gaussian_filter(signal, [1.0 / h for h in grid.spacing])
    signal *= 1 + 0.001 * world(grid)[..., 0]
    return Volume(
        (signal + np.random.default_rng(seed).normal(0, noise, grid.shape)).astype(np.float32), grid, "a.u.", "image"
    )


def corners(grid: Grid, center, half) -> np.ndarray:
    """Of a box along the grid's axes."""
    return grid.to_world(grid.to_index(center) + np.array([[-half] * 3, [half] * 3]) / grid.spacing)


def dice(a, b) -> float:
    a, b = (getattr(m, "array", m) for m in (a, b))
    return 2 * (a & b).sum() / (a.sum() + b.sum())


CENTER = np.array([6.0, -4.0, 3.0])


def moved(x: float, y: float, z: float) -> np.ndarray:
    return CENTER + np.array([x, y, z])


@each_grid
@pytest.mark.parametrize("value", [90.0, 20.0], ids=["bright", "dark"])
def test_a_click_finds_what_it_is_in(grid, value):
    lesion = ellipsoid(grid, CENTER)
    found = segment_from_click(scan(grid, (lesion, value)), moved(5, -4, 2))
    assert dice(found.mask, lesion) > 0.95
    true = lesion.sum() * grid.voxel_volume / 1000
    assert found.mask.volume_ml == pytest.approx(true, rel=0.06)
    assert found.low_ml < found.mask.volume_ml < found.high_ml
    assert found.findings == ()
    np.testing.assert_array_equal(found.mask.array, found.probability.array > 0.5)
    again = segment_from_click(scan(grid, (lesion, value)), moved(5, -4, 2))
    np.testing.assert_array_equal(again.probability.array, found.probability.array)


@each_grid
def test_a_click_in_one_of_two_lesions_takes_that_one(grid):
    one, two = ellipsoid(grid, CENTER, (8, 8, 8)), ellipsoid(grid, moved(24, 0, 0), (8, 8, 8))
    found = segment_from_click(scan(grid, (one, 100), (two, 100)), CENTER)
    assert dice(found.mask, one) > 0.88
    assert not (found.mask.array & two).any()


def test_a_second_image_tells_apart_what_one_does_not():
    grid, other = GRIDS["2 mm"], GRIDS["1 mm, oblique"]
    shown = ellipsoid(grid, CENTER)
    beside = ellipsoid(grid, moved(22, 0, 0))  # touches it and is as bright on the first image
    first = scan(grid, (shown | beside, 80))
    second = scan(other, (ellipsoid(other, CENTER), 100), seed=1)
    alone = segment_from_click(first, CENTER)
    both = segment_from_click([first, second], CENTER)
    assert dice(both.mask, shown) > 0.93 > dice(alone.mask, shown)
    assert both.mask.grid == grid


@each_grid
def test_a_box_around_a_rim_and_its_core(grid):
    whole, core = ellipsoid(grid, CENTER, (16, 18, 15)), ellipsoid(grid, CENTER, (9, 10, 8))
    image = scan(grid, (whole, 95), (core, 15))
    found = segment_from_box(image, *corners(grid, CENTER, 23))
    assert dice(found.mask, whole) > 0.94
    assert found.mask.volume_ml == pytest.approx(whole.sum() * grid.voxel_volume / 1000, rel=0.1)


@each_grid
def test_a_rectangle_is_a_box_as_deep_as_it_is_wide(grid):
    axis = 0
    lesion = ellipsoid(grid, grid.center, (13, 14, 13))
    corner, opposite = grid.to_world(grid.to_index(grid.center) + np.array([[0, -18, -18], [0, 18, 18]]) / grid.spacing)
    low, high = deep_box(grid, corner, opposite, axis)
    sides = np.abs(grid.to_index(high) - grid.to_index(low)) * grid.spacing
    np.testing.assert_allclose(sides, 36, rtol=1e-6)
    found = segment_from_box(scan(grid, (lesion, 90)), low, high)
    assert dice(found.mask, lesion) > 0.94


@each_grid
@pytest.mark.parametrize("method", list(Refinement))
def test_a_rough_outline_moves_to_the_edge(grid, method):
    lesion = ellipsoid(grid, CENTER)
    image = scan(grid, (lesion, 90))
    for rough in (
        ellipsoid(grid, CENTER, (11.5, 15.5, 9.5)),
        ellipsoid(grid, CENTER, (16.5, 20.5, 14.5)),
        ellipsoid(grid, moved(2.0, 1.0, 0.0)),
    ):
        before = dice(rough, lesion)
        refined = refine(Mask(rough, grid), image, method)
        # between slices 5 mm apart, an outline 2.5 mm off is half a slice off
        assert dice(refined, lesion) > max(0.94 if max(grid.spacing) < 3 else 0.85, before)
        assert refined.grid == grid


def test_a_mask_on_another_grid_is_refined_there():
    grid, other = GRIDS["2 mm"], GRIDS["1 mm, oblique"]
    image = scan(other, (ellipsoid(other, CENTER), 90))
    rough = Mask(ellipsoid(grid, CENTER, (12, 16, 10)), grid)
    for method in Refinement:
        refined = refine(rough, image, method)
        assert dice(refined, ellipsoid(grid, CENTER)) > 0.94
        assert refined.grid == grid


def test_faint_and_endless_regions_are_said():
    grid = GRIDS["2 mm"]
    faint = segment_from_click(scan(grid, (ellipsoid(grid, CENTER), 55), noise=10.0), CENTER)
    assert any("stands out by" in f.what for f in faint.findings)
    slab = np.broadcast_to(np.abs(world(grid)[..., 2]) < 10, grid.shape)
    endless = segment_from_click(scan(grid, (slab, 90)), (0, 0, 0), reach_mm=25)
    assert any("reaches the end" in f.what for f in endless.findings)
    assert (np.linalg.norm(world(grid), axis=-1)[endless.mask.array] <= 25.0).all()
    lesion = ellipsoid(grid, CENTER)
    tight = segment_from_box(scan(grid, (lesion, 90)), *corners(grid, CENTER, 9))
    assert any("fills the box" in f.what for f in tight.findings)


def test_what_cannot_be_done_is_refused():
    grid = GRIDS["2 mm"]
    image = scan(grid, (ellipsoid(grid, CENTER), 90))
    flat = Volume(np.full(grid.shape, 7.0), grid, name="flat")
    elsewhere = Volume(image.array, Grid(grid.shape, grid.affine, "9.9"), name="other")
    with pytest.raises(InputError, match="outside the image"):
        segment_from_click(image, (500, 0, 0))
    with pytest.raises(InputError, match="flat is constant"):
        segment_from_click(flat, CENTER)
    with pytest.raises(InputError, match="another frame of reference"):
        segment_from_click([image, elsewhere], CENTER)
    with pytest.raises(InputError, match="no image"):
        segment_from_click([], CENTER)
    with pytest.raises(InputError, match="reaches at least"):
        segment_from_click(image, CENTER, reach_mm=1)
    with pytest.raises(InputError, match="has no volume"):
        segment_from_box(image, CENTER, moved(20, 20, 0))
    with pytest.raises(InputError, match="flat is constant"):
        segment_from_box(flat, *corners(grid, CENTER, 20))
    with pytest.raises(InputError, match="outside the image"):
        segment_from_box(image, CENTER + 400, CENTER + 420)
    with pytest.raises(InputError, match="refinement is one of"):
        refine(Mask(ellipsoid(grid, CENTER), grid), image, "snake")
    with pytest.raises(InputError, match="the mask is empty"):
        refine(Mask(np.zeros(grid.shape, bool), grid), image)
    with pytest.raises(InputError, match="flat is constant"):
        refine(Mask(ellipsoid(grid, CENTER), grid), flat)
    hole = image.array.copy()
    hole[ellipsoid(grid, CENTER, (6, 6, 6))] = np.nan
    with pytest.raises(InputError, match="no value"):
        segment_from_click(Volume(hole, grid), CENTER)


@pytest.mark.parametrize("voxels", [1, 2])
def test_a_mask_of_a_voxel_or_two_can_be_refined(voxels):
    grid = GRIDS["2 mm"]
    mask = np.zeros(grid.shape, bool)
    at = np.round(grid.to_index(CENTER)).astype(int)
    mask[at[0], at[1], at[2] : at[2] + voxels] = True
    image = scan(grid, (ellipsoid(grid, CENTER), 90))
    for method in Refinement:
        refined = refine(Mask(mask, grid), image, method)
        assert (ndimage.distance_transform_edt(~mask, sampling=grid.spacing)[refined.array] <= 6.0).all()


def test_it_is_cancelled_between_its_steps():
    grid = GRIDS["2 mm"]
    token = CancelToken()
    token.cancel()
    image = scan(grid, (ellipsoid(grid, CENTER), 90))
    with pytest.raises(Cancelled):
        segment_from_click(image, CENTER, progress=token)
    with pytest.raises(Cancelled):
        refine(Mask(ellipsoid(grid, CENTER), grid), image, progress=token)


def test_time_and_memory_do_not_grow_with_the_image():
    grid = Grid.regular((160, 220, 220), 0.8, (-84, -92, -61))
    lesion = ellipsoid(grid, CENTER, (24, 20, 22))
    image = Volume((50 + 40 * lesion + np.random.default_rng(0).normal(0, 5, grid.shape)).astype(np.float32), grid)
    begin = time.perf_counter()
    found = segment_from_click(image, CENTER)
    took = time.perf_counter() - begin
    tracemalloc.start()
    refine(found.mask, image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dice(found.mask, lesion) > 0.95
    # 2 s and 250 MB on a quiet machine
    assert took < 20
    assert peak < 500e6
