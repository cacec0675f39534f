import numpy as np
import pytest

from tumortwin.calibration.ensemble import normal_draws

COVARIANCE = np.array([[0.09, 0.05, 0.0], [0.05, 0.04, 0.01], [0.0, 0.01, 0.25]])


def test_draws_have_the_mean_and_the_covariance():
    mean = np.array([-2.0, 0.5, 3.0])
    draws = normal_draws(mean, COVARIANCE, 40_000, np.random.default_rng(1))
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.01)
    assert np.cov(draws.T) == pytest.approx(COVARIANCE, abs=0.005)


def test_the_last_bits_of_a_covariance_do_not_reach_the_draws():
    """Equal fits on two machines have covariances that differ by rounding; eigenvectors would change their signs."""
    mean = np.zeros(3)
    draws = normal_draws(mean, COVARIANCE, 50, np.random.default_rng(1))
    for seed in range(20):
        noise = 1e-13 * np.random.default_rng(seed).standard_normal((3, 3))
        again = normal_draws(mean, COVARIANCE + noise + noise.T, 50, np.random.default_rng(1))
        np.testing.assert_array_equal(again, draws)
