"""Flattening with known tissue."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError
from tumortwin.geometry.brain.bias import flatten
from tumortwin.imaging.volume import Grid, Volume


@pytest.mark.parametrize("moved", [False, True])
def test_a_smooth_field_is_taken_out(moved):
    rng = np.random.default_rng(0)
    grid = Grid.regular((40, 44, 42), 3.0, (-60, -60, -60), "a")
    transform = np.eye(4)
    if moved:
        transform[:3, :3] = Rotation.from_euler("xyz", (10, 5, -8), True).as_matrix()
        transform[:3, 3] = (4, -6, 3)
    white = (rng.random(grid.shape) < 0.5).astype(np.float32)
    grey = 1 - white
    # the image has the same voxels, seen from the moved world
    image_grid = Grid(grid.shape, transform @ grid.affine, "b")
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij")
    field = np.exp(0.3 * z - 0.2 * x * y + 0.15 * y**2)
    noise = 1 + 0.02 * rng.standard_normal(grid.shape)
    lesion = np.s_[10:20, 10:20, 10:20]
    signal = 400 * (white + 0.7 * grey)
    signal[lesion] *= 2
    image = Volume((signal * field * noise).astype(np.float32), image_grid)
    flat = flatten(image, grid, white, grey, transform=transform).array
    normal = np.ones(grid.shape, bool)
    normal[lesion] = False
    assert np.median(flat[normal & (white == 1)]) == pytest.approx(1, abs=0.01)
    assert flat[normal & (white == 1)].std() < 0.025
    assert np.median(flat[lesion] / (white + 0.7 * grey)[lesion]) == pytest.approx(2, rel=0.03)


def test_an_image_of_nothing_is_refused():
    grid = Grid.regular((20, 20, 20), 2.0)
    white = np.indices(grid.shape).sum(0) % 2.0
    with pytest.raises(InputError, match="no brain"):
        flatten(Volume(np.zeros(grid.shape), grid), grid, white, 1 - white)
