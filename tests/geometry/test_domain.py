"""The domain: what it refuses, and a part of it."""

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.geometry import Domain
from tumortwin.imaging.volume import Grid

BOX = (slice(2, 3), slice(1, None), slice(0, 4))


@pytest.fixture
def domain() -> Domain:
    rng = np.random.default_rng(1)
    grid = Grid.regular((4, 5, 6), (3.0, 1.0, 2.0), (10.0, 20.0, 30.0))
    mask = rng.random(grid.shape) < 0.8
    white = mask * rng.random(grid.shape)
    return Domain(grid, mask, white, mask * 0.5 * (1 - white), mask * 0.3 * (1 - white))


def test_a_part_is_at_the_same_place(domain):
    part = domain.cropped(BOX)
    assert part.grid.shape == (1, 4, 4)
    np.testing.assert_array_equal(part.grid.to_world([0, 0, 0]), domain.grid.to_world([2, 1, 0]))
    for name in ("mask", "white", "grey", "csf"):
        np.testing.assert_array_equal(getattr(part, name), getattr(domain, name)[BOX])


def test_a_part_without_tissue_is_refused():
    grid = Grid.regular((3, 4, 4))
    mask = np.zeros(grid.shape, bool)
    mask[0] = True
    with pytest.raises(InputError, match="nothing can grow anywhere"):
        Domain.uniform(grid, mask).cropped((slice(1, 2), slice(None), slice(None)))
