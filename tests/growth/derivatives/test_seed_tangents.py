"""Derivatives of a seed by its numbers: against differences, and through a solve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import SEED_NUMBERS, ellipsoid_seed, ellipsoid_seed_tangents, simulate, simulate_with_tangents
from tumortwin.imaging.volume import Grid


def arguments(numbers: np.ndarray) -> dict:
    return {
        "center": numbers[:3],
        "radius": numbers[3],
        "shape": numbers[4:9],
        "width": numbers[9],
        "peak": numbers[10],
    }


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(SEED_NUMBERS))
def test_tangents_are_differences_on_any_grid(seed, name) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 9, 3))
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.uniform(-50, 50, 3)
    domain = Domain.uniform(Grid(shape, affine), rng.random(shape) < 0.8)
    middle = domain.grid.center + rng.uniform(0.1, 1.0, 3)  # no voxel's own center, where there is a kink
    numbers = np.array([*middle, rng.uniform(1, 8), *rng.uniform(-0.5, 0.5, 5), rng.uniform(0.5, 3), rng.random()])
    step = 1e-5 * np.eye(11)[SEED_NUMBERS.index(name)]
    got = ellipsoid_seed_tangents(domain, **arguments(numbers), by=[name])
    up, down = (ellipsoid_seed(domain, **arguments(numbers + s)) for s in (step, -step))
    assert list(got) == [name]
    np.testing.assert_allclose(got[name], (up - down) / 2e-5, rtol=0, atol=1e-8)


def test_at_its_own_center_a_seed_does_not_move() -> None:
    domain = Domain.uniform(Grid.regular((5, 5, 5)))
    got = ellipsoid_seed_tangents(domain, (2, 2, 2), 3.0)
    assert tuple(got) == SEED_NUMBERS
    assert all(np.isfinite(field).all() for field in got.values())
    assert got["center_x"][2, 2, 2] == 0
    assert got["center_x"][2, 2, 3] > 0 > got["center_x"][2, 2, 1]
    np.testing.assert_allclose(got["center_x"], got["center_z"].transpose(2, 1, 0))


def test_a_scan_s_derivatives_by_the_seed_are_differences_of_solves(treated_model) -> None:
    model, _ = treated_model
    middle = model.domain.grid.center + np.array([1.3, -0.8, 0.4])
    numbers = np.array([*middle, 7.0, 0.2, -0.1, 0.1, -0.1, 0.05, 2.0, 0.8])
    plan = simulate(model, ellipsoid_seed(model.domain, **arguments(numbers)), 0, 20, eps=0, dtype=np.float64).plan
    got = simulate_with_tangents(
        model,
        ellipsoid_seed(model.domain, **arguments(numbers)),
        0,
        20,
        plan=plan,
        dtype=np.float64,
        initial_tangents=ellipsoid_seed_tangents(model.domain, **arguments(numbers)),
    )
    for i, name in enumerate(SEED_NUMBERS):
        step = 1e-4 * np.eye(11)[i]
        up, down = (
            simulate(
                model, ellipsoid_seed(model.domain, **arguments(numbers + s)), 0, 20, eps=0, plan=plan, dtype=np.float64
            ).fields[-1]
            for s in (step, -step)
        )
        difference = (up - down) / 2e-4
        assert np.linalg.norm(got.tangents[name][-1] - difference) < 1e-6 * np.linalg.norm(difference), name


@pytest.mark.parametrize(("values", "said"), [
    ({"by": ("centre",)}, "'centre'.*center_x"), ({"radius": 0.0}, "radius 0"), ({"center": (1, 2)}, "not 2 and 5"),
])  # fmt: skip
def test_bad_numbers_are_named(values, said) -> None:
    domain = Domain.uniform(Grid.regular((3, 3, 3)))
    with pytest.raises(InputError, match=said):
        ellipsoid_seed_tangents(domain, **{"center": (0, 0, 0), "radius": 2.0, **values})
