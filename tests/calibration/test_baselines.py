import numpy as np
import pytest

from tumortwin.calibration.baselines import dice, exponential_ml, volume_error_percent


def test_dice_of_shares():
    a, b = np.array([1.0, 1.0, 0.5, 0.0]), np.array([1.0, 0.0, 1.0, 1.0])
    assert dice(a, b) == pytest.approx(2 * 1.5 / (2.5 + 3.0))
    assert dice(a, a) == 1
    assert dice(np.zeros(4), np.zeros(4)) == 1
    assert dice(a, np.zeros(4)) == 0


def test_exponential_goes_on_at_the_last_rate():
    assert exponential_ml([0, 10, 20], [1.0, 5.0, 10.0], 30) == pytest.approx(20)
    assert exponential_ml([0, 10], [8.0, 4.0], 30) == pytest.approx(1)
    assert exponential_ml([0], [8.0], 30) == 8
    assert exponential_ml([0, 10], [0.0, 4.0], 30) == 4


def test_volume_error():
    assert volume_error_percent(12, 10) == pytest.approx(20)
    assert np.isnan(volume_error_percent(12, 0))
