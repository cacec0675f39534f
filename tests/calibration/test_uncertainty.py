from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.calibration.observation import Channel
from tumortwin.calibration.uncertainty import (
    correlation_lengths,
    covariance,
    covariance_upper_bound,
    repetition,
    voxels_per_sample,
)

SHAPE = (24, 26, 28)


def noise(rng, length):
    field = ndimage.gaussian_filter(rng.standard_normal(SHAPE), length / np.sqrt(2), mode="wrap")
    return field / field.std()


def channel(where=None):
    where = np.ones(SHAPE, bool) if where is None else where
    return Channel(0, "density", where, np.zeros(where.sum(), np.float32), 1.0)


@pytest.mark.parametrize("length", [1.0, 2.0])
def test_correlation_length_of_known_noise(length):
    rng = np.random.default_rng(3)
    fields = [noise(rng, length).ravel() for _ in range(6)]
    assert correlation_lengths([channel()] * 6, fields) == pytest.approx(length, rel=0.15)


def test_white_noise_counts_voxel_by_voxel():
    rng = np.random.default_rng(4)
    lengths = correlation_lengths([channel()], [rng.standard_normal(SHAPE).ravel()])
    assert voxels_per_sample(lengths) < 1.3


def test_contours_that_err_together_count_as_fewer():
    """The sum of their correlations over their number; voxels that one does not tell of count as 0, densities not."""
    rng = np.random.default_rng(8)
    part = rng.random(SHAPE) < 0.7
    contours = [replace(channel(where), kind="whole") for where in (None, part)]
    fields = noise(rng, 2.0), noise(rng, 2.0)
    residuals = [fields[0].ravel(), (fields[0] + 0.5 * fields[1])[part]]
    whole = np.zeros(SHAPE)
    whole[part] = residuals[1]
    correlation = (fields[0] * whole).sum() / np.sqrt((fields[0] ** 2).sum() * (whole**2).sum())
    assert repetition([*contours, channel()], [*residuals, fields[1].ravel()]) == pytest.approx(1 + correlation)
    assert repetition([channel()], [fields[1].ravel()]) == 1


def test_covers_where_plain_errors_do_not():
    """A straight-line fit under correlated noise: plain standard errors are several times too small, ours right."""
    rng = np.random.default_rng(5)
    length = 2.0
    slope = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 3.0)
    design = np.stack([np.ones(SHAPE), slope / slope.std()], -1).reshape(-1, 2)
    estimates = np.array([np.linalg.lstsq(design, noise(rng, length).ravel(), rcond=None)[0] for _ in range(60)])
    spread = estimates.std(0)
    plain = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    ours = np.sqrt(np.diag(covariance([channel()], [design], np.full(2, 1e-9), np.full(3, length))[0]))
    assert (spread > 3 * plain).all()
    assert (ours > 0.8 * spread).all()
    # on a constant the sandwich is exact but for the grid's border; a smooth slope may get the larger, tempered width
    assert ours[0] < 1.5 * spread[0]


def test_without_data_the_prior_remains():
    prior = np.array([4.0, 25.0])
    none = [np.zeros((np.prod(SHAPE), 2))]
    np.testing.assert_allclose(covariance([channel()], none, prior, np.full(3, 2.0))[0], np.diag(1 / prior), rtol=1e-9)


def test_larger_is_nowhere_below_either():
    rng = np.random.default_rng(6)
    a, b = (m @ m.T + 0.1 * np.eye(4) for m in rng.standard_normal((2, 4, 4)))
    c = covariance_upper_bound(a, b)
    for low in (a, b):
        assert np.linalg.eigvalsh(c - low).min() > -1e-9
    np.testing.assert_allclose(covariance_upper_bound(a, 0.5 * a), a, rtol=1e-9)
    np.testing.assert_allclose(covariance_upper_bound(a, 2 * a), 2 * a, rtol=1e-9)
