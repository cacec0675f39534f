"""Intervals of volumes against shapes of known surface."""

import numpy as np
import pytest

from tumortwin.geometry.segmentation.certainty import drawn_interval, drawn_log_odds, segmented_interval, surface_mm2
from tumortwin.imaging.volume import Grid, Mask


def sphere(radius, spacing):
    grid = Grid.regular(tuple(int(2 * radius / s) + 8 for s in spacing), spacing, 0.0)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    return Mask(np.linalg.norm(grid.to_world(index) - grid.center, axis=-1) < radius, grid)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 2, 2), (3, 1, 1)])
def test_surface_of_a_sphere(spacing):
    # counted faces have no error that shrinks with the voxel: 2/3 is right in the mean over a sphere's orientations
    assert surface_mm2(sphere(20, spacing)) == pytest.approx(4 * np.pi * 400, rel=0.03)


def test_a_drawn_edge_moves_by_half_a_voxel():
    mask = sphere(20, (2, 2, 2))
    low, high = drawn_interval(mask)
    # shells of a sphere of radius 19 to 21 mm, but for the curvature, which is a second-order term
    assert low == pytest.approx(4 / 3 * np.pi * 19**3 / 1000, rel=0.03)
    assert high == pytest.approx(4 / 3 * np.pi * 21**3 / 1000, rel=0.03)
    empty = mask.with_array(np.zeros_like(mask.array))
    assert drawn_interval(empty) == (0.0, 0.0)


def test_log_odds_of_a_drawn_mask_change_sign_at_its_edge():
    mask = sphere(10, (2, 2, 2))
    odds = drawn_log_odds(mask.array, mask.grid)
    np.testing.assert_array_equal(odds > 0, mask.array)
    assert odds.max() == 6
    assert odds.min() == -6
    assert (drawn_log_odds(np.zeros((2, 2, 2), bool), Grid.regular((2, 2, 2))) == -6).all()


def test_a_segmented_interval_counts_sure_and_possible_voxels():
    grid = Grid.regular((1, 1, 4), 10.0)
    odds = np.array([[[9, 1, -1, -9]]], np.float32)
    assert segmented_interval(odds, Mask(odds > 0, grid)) == pytest.approx((1.0, 3.0))
