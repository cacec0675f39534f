import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.calibration.observation import BLUR_MM, Regions, channels, residuals, reweighted


def ball_front(width, shape=(24, 24, 24), spacing=2.0, radius=14.0):
    """A logistic front whose contour of one half is a sphere."""
    center = (np.array(shape) - 1) / 2 * spacing
    r = np.sqrt(((np.indices(shape).T * spacing - center) ** 2).sum(-1)).T
    return 1 / (1 + np.exp((r - radius) / width)), r


@pytest.mark.parametrize("width", [0.5, 1.5, 4.0])
def test_a_region_does_not_depend_on_how_steep_its_front_is(width):
    density, r = ball_front(width)
    regions = Regions(np.ones(density.shape, bool), (2.0, 2.0, 2.0))
    predicted = regions.blurred(regions.inside(regions.log_odds(density), 0.0))
    inside = np.clip(0.5 + (14.0 - r) / 2, 0, 1)
    expected = ndimage.gaussian_filter(inside, BLUR_MM / 2, truncate=3)
    assert np.abs(predicted - expected).max() < 0.03
    assert predicted.sum() * 8 == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.02)


def test_the_wall_is_no_slope():
    """Inside a tumor that fills its domain to the wall, the wall's voxels are inside its contour."""
    mask = np.zeros((10, 10, 10), bool)
    mask[2:8, 2:8, 2:8] = True
    regions = Regions(mask, (2.0, 2.0, 2.0))
    predicted = regions.blurred(regions.inside(regions.log_odds(np.where(mask, 0.9, 0.0)), -0.8))
    np.testing.assert_allclose(predicted, regions.blurred(mask.astype(float)), atol=1e-6)


def test_what_is_compared(twin):
    first = twin.observations[0]
    half = first.seen.copy()
    half[: half.shape[0] // 2] = False
    observation = dataclasses.replace(
        first,
        seen=half,
        enhancing=np.zeros_like(first.enhancing),
        necrosis=np.zeros_like(first.necrosis),
        volumes_ml={"whole": 3.0},
    )
    found = channels([observation], twin.domain.mask, twin.domain.grid.spacing)
    assert [c.kind for c in found] == ["whole", "density"]
    for c in found:
        assert not c.where[: half.shape[0] // 2].any()
        assert not (c.where & ~twin.domain.mask).any()
        assert np.isfinite(c.data).all()
    assert found[1].where.sum() == (np.isfinite(first.density) & half & twin.domain.mask).sum()


def test_a_scan_soon_after_radiotherapy_counts_less(twin):
    sigmas = [
        next(c.sigma for c in channels([twin.observations[2]], twin.domain.mask, (3.0,) * 3, days) if c.kind == "whole")
        for days in ((), (28.0, 67.0), (0.0,))
    ]
    assert sigmas[1] == pytest.approx(1.5 * sigmas[0])
    assert sigmas[2] == sigmas[0]


def test_reweighting_finds_the_standard_deviation(twin):
    rng = np.random.default_rng(1)
    found = channels(twin.observations[:2], twin.domain.mask, (3.0,) * 3)
    density = [c for c in found if c.kind == "density"]
    again = reweighted(density, [2.0 * rng.standard_normal(c.data.shape) for c in density])
    assert again[0].sigma == pytest.approx(2 * density[0].sigma, rel=0.1)


def test_necrosis_tells_only_before_treatment(twin):
    o = twin.observations[4]
    before, after = (
        next(c for c in channels([o], twin.domain.mask, (3.0,) * 3, days) if c.kind == "core") for days in ((), (28.0,))
    )
    assert (before.where & (o.necrosis > 0.5)).any()
    assert not (after.where & (o.necrosis > 0.5)).any()


def test_another_reader(twin):
    """A contour drawn 1.2 mm further out is no misfit once the reader is known."""
    field = ball_front(3.0, twin.domain.grid.shape, 3.0, 20.0)[0]
    regions = Regions(twin.domain.mask, (3.0,) * 3)
    drawn = regions.inside(regions.log_odds(field), -1.0, 1.2)
    o = dataclasses.replace(twin.observations[0], whole=drawn, source="segmented", density=np.full_like(drawn, np.nan))
    whole = [c for c in channels([o], twin.domain.mask, (3.0,) * 3) if c.kind == "whole"]
    values = {"threshold_whole": 1 / (1 + np.exp(1.0)), "reader_whole": 1.2}
    assert np.abs(residuals(whole, [field], values, regions)[0]).max() < 1e-5
    assert np.abs(residuals(whole, [field], {**values, "reader_whole": 0.0}, regions)[0]).max() > 0.3
