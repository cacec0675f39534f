"""Grid, Volume, Mask and Dose; resampling; findings."""

import numpy as np
import pytest

from tumortwin.errors import InputError, StrictError
from tumortwin.imaging.findings import Finding, Severity, refuse_findings
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Dose, Grid, Mask, TotalDose, Volume


@pytest.fixture
def grid():
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0.6, 0.8], [0, 0.8, -0.6], [1, 0, 0]]) * (3, 1.5, 1.25)
    affine[:3, 3] = (-20, 10, 5)
    return Grid((4, 5, 6), affine, "1.2.3")


def test_indices_and_world_points(grid):
    index = np.random.default_rng(0).uniform(-2, 7, (10, 3))
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-12)
    assert grid.spacing == pytest.approx((3, 1.5, 1.25))
    assert grid.voxel_volume == pytest.approx(3 * 1.5 * 1.25)
    np.testing.assert_allclose(grid.center, grid.to_world((1.5, 2, 2.5)))
    np.testing.assert_allclose(Grid.regular((2, 2, 2), (3, 2, 1), (7, 8, 9)).to_world((1, 1, 1)), (8, 10, 12))


def test_a_crop_stays_where_it_was(grid):
    volume = Volume(np.arange(120.0).reshape(4, 5, 6), grid)
    part = volume.cropped((slice(1, 3), slice(None), slice(2, None)))
    np.testing.assert_allclose(part.grid.to_world((0, 0, 0)), grid.to_world((1, 0, 2)))
    assert part.array[1, 4, 3] == volume.array[2, 4, 5]
    with pytest.raises(InputError, match="without a step"):
        grid.cropped((slice(0, 4, 2), slice(None), slice(None)))


def test_which_grids_match(grid):
    moved = np.array(grid.affine)
    moved[0, 3] += 0.0005
    assert grid.matches(Grid(grid.shape, moved, grid.frame))
    assert not grid.matches(Grid(grid.shape, moved, "1.2.4"))
    moved[0, 3] += 0.01
    assert not grid.matches(Grid(grid.shape, moved, grid.frame))
    assert grid == Grid(grid.shape, grid.affine, grid.frame)
    assert len({grid, Grid(grid.shape, grid.affine, grid.frame)}) == 1


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((0, 1, 1), np.eye(4)),
        ((1, 1, 1), np.zeros((4, 4))),
        ((1, 1, 1), np.diag([1, 1, 0, 1])),
        ((1, 1, 1), np.full((4, 4), np.nan)),
    ],
)
def test_impossible_grids(shape, affine):
    with pytest.raises(InputError):
        Grid(shape, affine)


def test_types_say_what_the_numbers_mean(grid):
    with pytest.raises(InputError, match="a mask is boolean"):
        Mask(np.zeros(grid.shape), grid)
    with pytest.raises(InputError, match="a dose is in Gy"):
        Dose(np.zeros(grid.shape), grid, "cGy")
    with pytest.raises(InputError, match="not the grid's"):
        Volume(np.zeros((1, 2, 3)), grid)
    assert Mask(np.ones(grid.shape, bool), grid).volume_ml == pytest.approx(120 * 5.625 / 1000)
    total = TotalDose(np.full(grid.shape, 60, np.float32), grid)
    assert (total.per_fraction(30).array == 2).all()
    with pytest.raises(InputError, match="at least one fraction"):
        total.per_fraction(0)


def test_resampling_a_linear_image_is_exact_inside(grid):
    index = np.moveaxis(np.mgrid[:4, :5, :6], 0, -1)
    volume = Volume(grid.to_world(index) @ (1, 2, 3), grid, "a.u.")
    inner = Grid(
        (3, 4, 5),
        grid.affine @ np.array([[0.9, 0, 0, 0.3], [0, 0.9, 0, 0.3], [0, 0, 0.9, 0.3], [0, 0, 0, 1]]),
        grid.frame,
    )
    moved = resample(volume, inner)
    expected = inner.to_world(np.moveaxis(np.mgrid[:3, :4, :5], 0, -1)) @ (1, 2, 3)
    np.testing.assert_allclose(moved.array, expected, atol=1e-4)
    assert moved.unit == "a.u."


def test_resampling_needs_a_common_frame_or_a_transform(grid):
    volume = Volume(np.random.default_rng(0).random(grid.shape, np.float32), grid)
    shift = np.eye(4)
    shift[:3, 3] = (4, -2, 1)
    elsewhere = Grid(grid.shape, np.linalg.inv(shift) @ grid.affine, "1.2.99")
    with pytest.raises(InputError, match="different frames of reference"):
        resample(volume, elsewhere)
    # world of the target to world of the source
    np.testing.assert_allclose(resample(volume, elsewhere, shift).array, volume.array, atol=1e-5)


def test_strict_allows_notes_only():
    notes = [Finding("a", "b", "c")]
    refuse_findings(notes)
    with pytest.raises(StrictError, match=r"1 finding\(s\) with strict=True:\n  \[assumed\] e: d; f"):
        refuse_findings([*notes, Finding("d", "e", "f", Severity.ASSUMED)])
