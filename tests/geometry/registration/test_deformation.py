"""A bend far from a tumor is found back; the tumor keeps its volume; rigid sampling is a special case."""

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import Deformation, average, covered, deform
from tumortwin.geometry.brain.atlas import atlas
from tumortwin.geometry.registration.deformation import jacobian_range
from tumortwin.imaging.volume import Grid, Mask, Volume

POSE = np.eye(4)
POSE[:3, 3] = (4.0, -3.0, 2.0)


def positions(grid):
    return grid.to_world(np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1))


def ball(grid, center, radius):
    return Mask(np.linalg.norm(positions(grid) - center, axis=-1) <= radius, grid)


@pytest.fixture(scope="module")
def fixed():
    """The atlas at 2 mm with a bright ball in its left frontal white matter."""
    grid = Grid.regular((80, 96, 80), 2.0, (-80, -75, -75), "f")
    image = Volume(average(atlas()["t1"], grid, np.eye(4)), grid, "a.u.")
    noise = np.random.default_rng(0).normal(0, 2, grid.shape)
    return image.with_array((image.array + noise).astype(np.float32))


TUMOR = np.array([28.0, -30.0, 30.0])
BENT = np.array([-35.0, 45.0, 25.0])


def bump(world):
    """8 mm to the patient's left in the right parietal lobe, gone 60 mm from there: 4 cm and more from the tumor."""
    size = np.exp(-((world - BENT) ** 2).sum(-1) / (2 * 20.0**2))
    return size[..., None] * np.array([7.0, -3.0, 2.5])


@pytest.fixture(scope="module")
def moving(fixed):
    """What the visit shows: the tissue at p is seen at POSE (p + bump(p)), and the tumor has grown from 12 to 15 mm."""
    grid = Grid.regular(fixed.grid.shape, 2.0, (-76, -78, -73), "m")
    place = positions(grid) - POSE[:3, 3]
    p = place.copy()
    for _ in range(30):  # the inverse of p + bump(p)
        p = place - bump(p)
    index = np.moveaxis(fixed.grid.to_index(p), -1, 0)
    array = ndimage.map_coordinates(fixed.array, index, order=1)
    array[np.linalg.norm(place - TUMOR, axis=-1) <= 15] = 160
    noise = np.random.default_rng(1).normal(0, 2, grid.shape)
    return Volume((array + noise).astype(np.float32), grid, "a.u.")


@pytest.fixture(scope="module")
def found(fixed, moving):
    array = fixed.array.copy()
    array[ball(fixed.grid, TUMOR, 12).array] = 160
    brain = Mask(ndimage.binary_closing(average(atlas()["t1"], fixed.grid, np.eye(4)) > 20, iterations=2), fixed.grid)
    return deform(fixed.with_array(array), moving, brain, ball(fixed.grid, TUMOR, 15), POSE), brain


def test_a_bend_far_from_the_tumor_is_found(fixed, found):
    bent, brain = found
    near = brain.array & (np.linalg.norm(positions(fixed.grid) - BENT, axis=-1) < 40)
    points = fixed.grid.to_world(np.argwhere(near)[::11])
    true = bump(points)
    before = np.linalg.norm(true, axis=1).mean()
    after = np.linalg.norm(bent.at(points) - true, axis=1).mean()
    assert before > 2
    assert after < 0.5 * before
    assert 0.3 < bent.jacobian[0] < 1 < bent.jacobian[1] < 2


def test_the_tumor_that_grew_keeps_its_volume_and_shape(fixed, moving, found):
    bent, _ = found
    tumor = Mask(np.linalg.norm(positions(moving.grid) - POSE[:3, 3] - TUMOR, axis=-1) <= 15, moving.grid)
    rigid = average(tumor, fixed.grid, POSE)
    warped = average(tumor, fixed.grid, POSE, displacement=bent)
    assert warped.sum() == pytest.approx(rigid.sum(), rel=0.03)
    # and hardly moves: under 1 mm
    shift = [fixed.grid.to_world(ndimage.center_of_mass(a)) for a in (rigid, warped)]
    assert np.linalg.norm(shift[1] - shift[0]) < 1


def field(grid, vector):
    return Deformation(grid, np.broadcast_to(np.float32(vector), (*grid.shape, 3)), (1.0, 1.0))


def test_a_constant_displacement_is_a_shift():
    grid = Grid.regular((20, 22, 24), (2.0, 1.5, 1.5), (3, 4, 5), "f")
    image = Volume(np.random.default_rng(0).random(grid.shape, np.float32), grid)
    target = Grid.regular((8, 9, 10), 3.0, (8, 9, 10), "f")
    shift = np.eye(4)
    shift[:3, 3] = (1.7, -0.6, 2.2)
    coarse = field(Grid.regular((3, 3, 3), 20.0, 0.0, "f"), shift[:3, 3])
    np.testing.assert_allclose(average(image, target, displacement=coarse), average(image, target, shift), atol=1e-5)
    np.testing.assert_array_equal(covered(grid, target, None, coarse), covered(grid, target, shift))
    mask = Mask(image.array > 0.7, grid)
    np.testing.assert_allclose(average(mask, target, displacement=coarse), average(mask, target, shift), atol=1e-5)


def test_the_jacobian_of_a_known_stretch():
    grid = Grid.regular((6, 7, 8), (2.0, 3.0, 4.0), 1.0, "f")
    stretch = np.array([[0.1, 0.02, 0.0], [0.0, -0.05, 0.0], [0.03, 0.0, 0.2]])
    vectors = positions(grid) @ stretch.T
    assert jacobian_range(vectors, grid) == pytest.approx((np.linalg.det(np.eye(3) + stretch),) * 2)


def test_too_little_to_compare_is_refused(fixed, moving):
    small = ball(fixed.grid, TUMOR, 14)
    with pytest.raises(InputError, match="too few"):
        deform(fixed, moving, small, ball(fixed.grid, TUMOR, 8), POSE)
