import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import points_in_poly

from tumortwin.imaging.writing.contours import contours

FULL = np.ones((5, 7), bool)
RING = np.pad(np.pad(np.zeros((3, 3), bool), 2, constant_values=True), 1)


def pixels_inside(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Even-odd rule at each pixel center."""
    centers = np.argwhere(np.ones(shape))
    inside = np.zeros(len(centers), int)
    for polygon in polygons:
        inside += points_in_poly(centers, polygon)
    return (inside % 2 == 1).reshape(shape)


def test_an_empty_plane_has_no_contours():
    assert contours(np.zeros((4, 4), bool)) == []


def test_a_single_pixel_is_a_diamond():
    plane = np.zeros((5, 5), bool)
    plane[2, 3] = True
    (polygon,) = contours(plane)
    assert sorted(map(tuple, polygon)) == [(1.5, 3), (2, 2.5), (2, 3.5), (2.5, 3)]


def test_a_full_plane_is_closed_at_the_border():
    (polygon,) = contours(FULL)
    assert polygon.min() == -0.5
    assert len(polygon) == 8


def test_pixels_that_touch_by_a_corner_are_two_parts():
    assert len(contours(np.eye(2, dtype=bool))) == 2


def test_a_hole_is_joined_and_an_island_in_it_is_a_part_of_its_own():
    with_island = RING.copy()
    with_island[4, 4] = True
    assert len(contours(RING)) == 1
    assert len(contours(with_island)) == 2
    np.testing.assert_array_equal(pixels_inside(contours(with_island), RING.shape), with_island)


@pytest.mark.parametrize("seed", range(8))
def test_pixel_centers_inside_the_polygons_are_the_plane(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 37)), 1.5)
    plane = noise > 0
    polygons = contours(plane)
    assert len(polygons) == ndimage.label(plane)[1]
    assert all(len(polygon) >= 4 for polygon in polygons)
    np.testing.assert_array_equal(pixels_inside(polygons, plane.shape), plane)
