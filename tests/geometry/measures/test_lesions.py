"""Several lesions: which are measured, which are summed."""

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.geometry import measure_lesions
from tumortwin.geometry.measures.ellipsoid import Ellipsoid
from tumortwin.imaging.volume import Grid, Mask

GRID = Grid.regular((34, 120, 130), (1.5, 1, 1), (-65, -60, -25))


def balls(*places, grid=GRID):
    """A mask of balls: (radius, x, y, z)."""
    array = np.zeros(grid.shape, bool)
    for radius, *center in places:
        array |= Ellipsoid.turned(center, (radius,) * 3, np.eye(3)).on(grid) > 0
    return Mask(array, grid)


def test_the_largest_are_targets_and_small_ones_are_told_of():
    placed = [
        (8, -50, 0, 0),
        (6, 0, 40, 0),
        (5.6, 50, 0, 0),
        (7, 0, -40, 0),
        (9, 0, 0, 0),
        (6.5, -40, -40, 0),
        (3, 40, 40, 0),
        (4.5, 40, -40, 5),
    ]
    found = measure_lesions(balls(*placed))
    assert len(found.all) == 8
    radii = [9, 8, 7, 6.5, 6, 5.6, 4.5, 3]
    for lesion, radius in zip(found.all, radii, strict=True):
        assert lesion.size.longest_mm == pytest.approx(2 * radius, rel=0.03)
    assert [lesion.target for lesion in found.all] == [True] * 5 + [False] * 3
    assert [lesion.measurable for lesion in found.all] == [True] * 6 + [False] * 2
    assert found.sum_of_products_mm2 == pytest.approx(sum(4 * r**2 for r in radii[:5]), rel=0.01)
    assert found.sum_of_diameters_mm == pytest.approx(sum(2 * r for r in radii[:5]), rel=0.01)
    assert found.volume_ml == pytest.approx(sum(4 / 3 * np.pi * r**3 for r in radii) / 1000, rel=0.01)
    assert len(found.not_measurable) == 2
    # where it is, is kept: the largest lies at the origin
    first = found.all[0].mask
    np.testing.assert_allclose(first.grid.to_world(np.argwhere(first.array)).mean(0), 0, atol=0.3)
    assert len(measure_lesions(balls(*placed), targets=2).targets) == 2


def test_pieces_that_touch_are_one_and_nothing_is_none():
    assert len(measure_lesions(balls((8, -7, 0, 0), (8, 7, 0, 0))).all) == 1
    empty = measure_lesions(Mask(np.zeros(GRID.shape, bool), GRID))
    assert empty.all == ()
    assert empty.sum_of_products_mm2 == 0
    with pytest.raises(InputError, match="target"):
        measure_lesions(balls((8, 0, 0, 0)), targets=0)


def test_thick_slices_ask_for_larger_lesions():
    """Of 7 mm slices, 14 mm; and what one slice shows is not measurable at all."""
    grid = Grid.regular((9, 60, 60), (7, 1, 1), (-30, -30, -28))
    (small,), (large,) = (measure_lesions(balls((r, 0, 0, 0), grid=grid)).all for r in (6.3, 9))
    assert not small.measurable
    assert large.measurable
    array = np.zeros(GRID.shape, bool)
    array[10, 30:60, 30:60] = True
    (flat,) = measure_lesions(Mask(array, GRID)).all
    assert flat.size.longest_mm > 40
    assert not flat.measurable
