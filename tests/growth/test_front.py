"""Fronts: theory against a search by SciPy, sizes against balls, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from tumortwin.errors import InputError
from tumortwin.growth import equivalent_radius, front_of, recent_speed
from tumortwin.imaging.volume import Grid

RATES = st.floats(1e-3, 2.0)


@given(d=RATES, rho=RATES, h=st.floats(0.1, 5.0))
def test_the_front_of_a_grid_is_the_slowest_wave(d, rho, h):
    front = front_of(d, rho, h)

    def speed(log_k: float) -> float:
        k = np.exp(log_k)
        return (2 * d / h**2 * (np.cosh(k * h) - 1) + rho) / k

    own = np.log(front.decay)
    found = minimize_scalar(speed, bounds=(own - 2, own + 2), method="bounded", options={"xatol": 1e-10})
    assert front.speed == pytest.approx(found.fun, rel=1e-9)
    assert front.decay == pytest.approx(np.exp(found.x), rel=1e-4)


@given(d=RATES, rho=RATES)
def test_a_fine_grid_is_the_continuum(d, rho):
    continuum = front_of(d, rho)
    assert continuum.speed == pytest.approx(2 * np.sqrt(d * rho))
    assert continuum.decay == pytest.approx(np.sqrt(rho / d))
    h = 0.1 * np.sqrt(d / rho)  # rho h^2 / D = 0.01: 0.04 % too fast
    fine = front_of(d, rho, h)
    assert fine.speed / continuum.speed - 1 == pytest.approx(4.17e-4, rel=0.01)
    # the formula changes where the excess is rounding
    almost = [front_of(d, rho, h * share * 1e-2).speed for share in (0.999, 1.001)]
    assert almost[0] == pytest.approx(almost[1], rel=1e-6)


def test_a_front_is_late_and_catches_up():
    front = front_of(0.1, 0.05)
    speeds = [front.mean_speed(t, 2 * t) for t in (50, 500, 5000)]
    assert speeds[0] < speeds[1] < speeds[2] < front.speed
    # X(t) = c t - 3 / (2 k) ln t
    late = [front.speed * t - 1.5 / front.decay * np.log(t) for t in (50, 100)]
    assert speeds[0] == pytest.approx((late[1] - late[0]) / 50)


@pytest.mark.parametrize(
    "numbers", [(0, 0.1, 1), (0.1, 0, 1), (0.1, -0.1, 1), (0.1, 0.1, -1), (np.nan, 0.1, 1), (0.1, np.inf, 1)]
)
def test_what_has_no_front_is_refused(numbers):
    with pytest.raises(InputError, match="a front needs a diffusivity > 0"):
        front_of(*numbers)


@pytest.mark.parametrize("days", [(0, 10), (10, 10), (20, 10), (10, np.inf)])
def test_days_without_a_mean_are_refused(days):
    with pytest.raises(InputError, match="0 < start < stop"):
        front_of(0.1, 0.1).mean_speed(*days)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((1, 1, 400), (5.0, 3.0, 0.1)), ((1, 120, 200), (5.0, 0.5, 0.3)), ((60, 40, 50), (0.8, 1.2, 1.0))],
    ids=["row", "slice", "volume"],
)
def test_the_radius_of_a_ball(shape, spacing):
    grid = Grid.regular(shape, spacing)
    points = grid.to_world(np.moveaxis(np.indices(shape), 0, -1)) - grid.center
    distance = np.linalg.norm(points, axis=-1)
    fields = [np.where(distance < r, 0.6, 0.1) for r in (12.0, 18.0)]
    np.testing.assert_allclose(equivalent_radius(grid, fields, 0.5), [12, 18], rtol=0.01)
    np.testing.assert_array_equal(equivalent_radius(grid, fields, 0.6), [0, 0])


def test_the_speed_over_the_last_days():
    days = np.arange(0.0, 101, 5)
    radii = 5 + 0.1 * days + np.where(days > 50, 0.2 * (days - 50), 0)
    speed = recent_speed(days, radii, 20.0)
    assert np.isnan(speed[0])
    np.testing.assert_allclose(speed[1:11], 0.1)
    np.testing.assert_allclose(speed[14:], 0.3)
    assert speed[12] == pytest.approx(0.2)
