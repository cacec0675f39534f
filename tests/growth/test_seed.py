"""Ellipsoidal seeds."""

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import ellipsoid_seed
from tumortwin.imaging.volume import Grid


def moments(domain: Domain, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = domain.grid.to_world(np.moveaxis(np.indices(density.shape), 0, -1)).reshape(-1, 3)
    weight = density.ravel() / density.sum()
    center = weight @ points
    return center, (points - center).T @ ((points - center) * weight[:, None])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
def test_axes_center_and_volume_are_what_was_asked_for(spacing) -> None:
    shape = tuple(int(72 / h) for h in spacing)
    domain = Domain.uniform(Grid.regular(shape, spacing, origin=(-40, 7, 11)))
    stretch = np.array([0.4, -0.1, -0.3])
    center = domain.grid.center + np.array([1.3, -2.2, 0.7])
    density = ellipsoid_seed(domain, center, 12.0, shape=(*stretch[:2], 0, 0, 0), width=0.5)
    got, covariance = moments(domain, density)
    np.testing.assert_allclose(got, center, atol=0.01)
    np.testing.assert_allclose(np.sqrt(5 * np.diag(covariance)), 12 * np.exp(stretch), rtol=0.03)
    assert density.sum() * domain.grid.voxel_volume == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)


def test_a_rotation_is_in_the_shape_numbers_not_in_the_grid() -> None:
    grid = Grid.regular((50, 50, 50), 1.0)
    turned = Grid(grid.shape, grid.affine @ np.eye(4)[[1, 0, 2, 3]])  # z and y indices exchanged
    shape = (0.2, 0.1, 0.25, -0.1, 0.15)
    plain, other = (
        moments(Domain.uniform(g), ellipsoid_seed(Domain.uniform(g), g.center, 9.0, shape=shape))[1]
        for g in (grid, turned)
    )
    np.testing.assert_allclose(plain, other, atol=1e-9)
    matrix = np.array([[0.2, 0.25, -0.1], [0.25, 0.1, 0.15], [-0.1, 0.15, -0.3]])
    np.testing.assert_allclose(
        np.linalg.eigh(plain)[1].T @ matrix @ np.linalg.eigh(plain)[1], np.diag(np.linalg.eigvalsh(matrix)), atol=0.01
    )


def test_it_is_half_its_peak_at_the_radius_and_nothing_outside_the_domain() -> None:
    grid = Grid.regular((21, 21, 21), 1.0)
    mask = np.ones(grid.shape, bool)
    mask[:8] = False
    density = ellipsoid_seed(Domain.uniform(grid, mask), (10, 10, 10), 5.0, peak=0.8)
    assert density[10, 10, 15] == pytest.approx(0.4)
    assert not density[:8].any()


@pytest.mark.parametrize(("values", "said"), [
    ({"radius": -1.0}, "radius -1"), ({"width": 0.0}, "width 0"), ({"peak": 1.5}, "peak 1.5"),
    ({"center": (0, 0)}, "not 2 and 5"), ({"shape": (np.nan, 0, 0, 0, 0)}, "nan"),
])  # fmt: skip
def test_bad_numbers_are_named(values, said) -> None:
    domain = Domain.uniform(Grid.regular((3, 3, 3)))
    arguments = {"center": (0, 0, 0), "radius": 2.0, **values}
    with pytest.raises(InputError, match=said):
        ellipsoid_seed(domain, **arguments)
