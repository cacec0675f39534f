"""Averages over voxels: volumes are kept, places are right, frames are respected."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError
from tumortwin.geometry import average, covered
from tumortwin.geometry.sampling import isotropic, to_itk
from tumortwin.imaging.volume import Grid, Mask, Volume


def ball(grid, center, radius):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    return Mask(np.linalg.norm(grid.to_world(index) - center, axis=-1) <= radius, grid)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.3])
def test_a_mask_keeps_volume_and_place_on_a_turned_grid(spacing):
    fine = Grid.regular((40, 44, 48), (1.2, 1.0, 0.9), (5, -20, 3), "f")
    mask = ball(fine, fine.center, 12)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (20, -10, 30), True).as_matrix()
    n = int(60 / spacing)
    start = turn[:3, :3].T @ fine.center - spacing * (n - 1) / 2
    coarse = Grid.regular((n, n, n), spacing, start, "other")
    share = average(mask, coarse, turn)
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-6
    assert share.sum() * spacing**3 / 1000 == pytest.approx(mask.volume_ml, rel=0.005)
    found = coarse.to_world(np.argwhere(share > 0.5)).mean(0)
    np.testing.assert_allclose(turn[:3, :3] @ found, fine.center, atol=0.1 * spacing)


def test_a_mask_and_the_same_numbers_as_an_image_give_the_same():
    grid = Grid.regular((20, 20, 20), 1.0, 0.0, "f")
    target = Grid.regular((9, 9, 9), 2.3, -1.0, "f")
    mask = ball(grid, (4, 9, 11), 4)
    image = Volume(mask.array.astype(np.float32), grid)
    np.testing.assert_allclose(average(mask, target), average(image, target), atol=1e-6)


def test_exact_halving_is_the_mean_of_blocks():
    rng = np.random.default_rng(0)
    values = rng.random((8, 6, 4)).astype(np.float32)
    fine = Grid.regular(values.shape, 1.0, 0.0, "f")
    coarse = Grid.regular((4, 3, 2), 2.0, 0.5, "f")
    blocks = values.reshape(4, 2, 3, 2, 2, 2).mean((1, 3, 5))
    np.testing.assert_allclose(average(Volume(values, fine), coarse), blocks, rtol=1e-5)


def test_other_frames_need_a_transform():
    here, there = Grid.regular((4, 4, 4), frame="a"), Grid.regular((4, 4, 4), frame="b")
    with pytest.raises(InputError, match="register"):
        average(Volume(np.ones((4, 4, 4)), here), there)


def test_covered_is_the_field_of_view():
    grid = Grid.regular((10, 10, 10), 1.0, 0.0, "f")
    half = Grid.regular((5, 10, 10), 1.0, 0.0, "f")
    assert covered(half, grid).sum() == 500
    assert covered(half, grid)[:5].all()


def test_itk_sees_the_same_world_point():
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (15, 25, -5), True).as_matrix()[:, ::-1] * (3.0, 1.0, 0.5)
    affine[:3, 3] = (7, -3, 20)
    grid = Grid((5, 6, 7), affine)
    image = to_itk(Volume(np.zeros(grid.shape), grid))
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((4, 3, 2)), grid.to_world((2, 3, 4)))


def test_a_thinned_image_stays_in_place():
    grid = Grid.regular((64, 60, 56), 1.0, (3, 4, 5), "f")
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    ramp = Volume(grid.to_world(index)[..., 0].astype(np.float32), grid)
    thin = isotropic(ramp, 4.0)
    middle = (thin.grid.shape[0] // 2, thin.grid.shape[1] // 2, thin.grid.shape[2] // 2)
    assert thin.grid.spacing == (4, 4, 4)
    assert thin.array[middle] == pytest.approx(thin.grid.to_world(middle)[0], abs=0.01)
