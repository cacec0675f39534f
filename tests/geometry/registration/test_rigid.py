"""Rigid registration of a head-like image against known motions, with shading, noise and other voxels."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError
from tumortwin.geometry import average, register
from tumortwin.geometry.brain.atlas import atlas
from tumortwin.geometry.registration.rigid import (
    _fits_mirrored,
    _found_coarsely,
    matrix_of,
    normalized_mutual_information,
    quality,
)
from tumortwin.imaging.volume import Grid, Mask, Volume


def scan(motion, spacing, rng, tilt=0.0):
    """The atlas as a scanner would see it after a motion, the head in the middle of its field of view."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", tilt, True).as_matrix()
    # the slices are tilted about where the head is
    turn[:3, 3] = motion[:3, 3] - turn[:3, :3] @ motion[:3, 3]
    shape = [int(n / s) for n, s in zip((190, 220, 190), spacing, strict=True)]
    grid = Grid.regular(tuple(shape), spacing, motion[:3, 3] + (-95, -100, -85), "scan")
    grid = Grid(grid.shape, turn @ grid.affine, "scan")
    clean = average(atlas()["t1"], grid, np.linalg.inv(motion))
    noise = 5 * rng.standard_normal((2, *grid.shape))
    return Volume(np.hypot(clean + noise[0], noise[1]).astype(np.float32), grid, "a.u.")


def motion_of(degrees, mm):
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", degrees, True).as_matrix()
    motion[:3, 3] = mm
    return motion


@pytest.fixture(scope="module")
def fixed():
    return scan(np.eye(4), (2, 2, 2), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("degrees", "mm", "spacing", "tilt"),
    [
        ((4, -3, 5), (6, -5, 4), (2, 2, 2), 0),
        ((-15, 12, 20), (25, -18, 30), (2, 2, 2), 0),
        ((3, 2, -4), (-5, 3, 6), (5, 1.5, 1.5), -18),
        # 45 degrees about oblique axes, 100 mm
        ((30, -20, 28), (60, -50, 62), (2, 2, 2), 0),
        ((-12, 40, 18), (-58, 57, 58), (4, 2, 2), 0),
    ],
)
def test_known_motion(fixed, degrees, mm, spacing, tilt):
    true = motion_of(degrees, mm)
    moving = scan(true, spacing, np.random.default_rng(1), tilt)
    mask = Mask(average(atlas()["t1"], fixed.grid, np.eye(4)) > 20, fixed.grid)
    found = register(fixed, moving, mask)
    points = fixed.grid.to_world(np.argwhere(mask.array)[::50])
    error = np.linalg.norm(points @ (found.transform - true)[:3, :3].T + (found.transform - true)[:3, 3], axis=1)
    assert error.mean() < 0.3
    assert found.residual_mm < 0.5
    assert found.overlap > 0.85
    np.testing.assert_allclose(found.transform[:3, :3] @ found.transform[:3, :3].T, np.eye(3), atol=1e-9)


def test_the_same_images_give_the_same_bits(fixed):
    moving = scan(motion_of((2, 1, -3), (3, 2, 1)), (4, 4, 4), np.random.default_rng(3))
    first, again = register(fixed, moving), register(fixed, moving)
    np.testing.assert_array_equal(again.transform, first.transform)


def test_a_slab_of_thick_slices_is_found(fixed):
    """Sixty of 190 mm, slices of 6 mm, turned by 35 degrees."""
    true = motion_of((25, -10, 22), (50, -40, 45))
    whole = scan(true, (6, 1.5, 1.5), np.random.default_rng(5), 20)
    middle = int(whole.grid.to_index(true[:3, :3] @ (0, -20, 10) + true[:3, 3])[0])
    slab = whole.cropped((slice(middle - 5, middle + 5), slice(None), slice(None)))
    mask = Mask(average(atlas()["t1"], fixed.grid, np.eye(4)) > 20, fixed.grid)
    found = register(fixed, slab, mask)
    points = fixed.grid.to_world(np.argwhere(mask.array)[::50])
    off = found.transform - true
    assert np.linalg.norm(points @ off[:3, :3].T + off[:3, 3], axis=1).mean() < 1.0
    assert any("lies in the image" in f.what for f in found.findings)


def test_a_tumor_that_grew_does_not_pull(fixed):
    """What is new in the moving image is left out with `exclude`."""
    true = motion_of((3, -2, 4), (5, 3, -6))
    moving = scan(true, (2, 2, 2), np.random.default_rng(6))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in moving.grid.shape], indexing="ij"), -1)
    center = true[:3, :3] @ (30, -25, 25) + true[:3, 3]
    tumor = Mask(np.linalg.norm(moving.grid.to_world(index) - center, axis=-1) < 22, moving.grid)
    moving.array[tumor.array] = 200
    mask = Mask(average(atlas()["t1"], fixed.grid, np.eye(4)) > 20, fixed.grid)
    found = register(fixed, moving, mask, exclude=tumor)
    points = fixed.grid.to_world(np.argwhere(mask.array)[::50])
    off = found.transform - true
    assert np.linalg.norm(points @ off[:3, :3].T + off[:3, 3], axis=1).mean() < 0.3


def test_a_mirrored_head_fits_better_when_mirrored_back(fixed):
    """The atlas is not symmetric; neither is a head."""
    moving = scan(motion_of((2, -3, 1), (4, 2, -3)), (3, 3, 3), np.random.default_rng(7))
    mirrored = moving.with_array(np.ascontiguousarray(moving.array[:, :, ::-1]))
    mask = Mask(average(atlas()["t1"], fixed.grid, np.eye(4)) > 20, fixed.grid)
    for image, swapped in ((moving, False), (mirrored, True)):
        alone = quality(fixed, image, mask, matrix_of(_found_coarsely(fixed, image, mask)))[0]
        assert _fits_mirrored(fixed, image, mask, alone) is swapped


def test_unlike_images_are_doubtful(fixed):
    noise = fixed.with_array(np.random.default_rng(2).random(fixed.array.shape).astype(np.float32))
    found = register(fixed, noise, where="visit 2")
    assert found.similarity < 1.02
    assert any("doubtful" in f.what and f.where == "visit 2" for f in found.findings)


def test_a_constant_image_is_refused(fixed):
    with pytest.raises(InputError, match="constant"):
        register(fixed, fixed.with_array(np.zeros_like(fixed.array)))


def test_mutual_information_of_itself_and_of_nothing():
    values = np.random.default_rng(0).random(20_000).astype(np.float32)
    assert normalized_mutual_information(values, values) == pytest.approx(2)
    assert normalized_mutual_information(values, np.random.default_rng(1).random(20_000).astype(np.float32)) < 1.05
