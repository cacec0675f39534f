"""Cell density from ADC, and the noise that is found in an image."""

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import average, density_from_adc, noise_of, smallest_adc
from tumortwin.imaging.volume import Grid, Volume


def test_the_formula_and_where_it_does_not_hold():
    adc = np.array([0.8e-3, 1.9e-3, 3.0e-3, 3.2e-3, 0.0, 0.8e-3, 0.7e-3], np.float32).reshape(1, 1, -1)
    inside = np.array([1, 1, 1, 1, 1, 0, 1], bool).reshape(1, 1, -1)
    u = density_from_adc(adc, inside, 0.8e-3).ravel()
    np.testing.assert_allclose(u[:3], [1, 0.5, 0], atol=1e-6)
    assert np.isnan(u[3:6]).all()  # fluid, no signal, outside: never |u|
    assert u[6] > 1  # not clamped


def test_what_interpolation_leaves_beside_empty_voxels_is_no_signal():
    """A coordinate that rounding puts 1e-14 of a voxel off takes as much of its neighbor."""
    traces = np.array([1e-17, 1e-9, 0.8e-3], np.float32).reshape(1, 1, -1)
    density = density_from_adc(traces, np.ones(traces.shape, bool), 0.8e-3)
    assert np.isnan(density).ravel().tolist() == [True, True, False]
    assert smallest_adc([traces.ravel()]) == pytest.approx(0.8e-3)


def test_other_units_are_refused():
    with pytest.raises(InputError, match="mm\\^2/s"):
        density_from_adc(np.full((2, 2, 2), 800.0), np.ones((2, 2, 2), bool), 800.0)


def test_the_smallest_adc_is_one_scale_for_all_visits():
    rng = np.random.default_rng(3)
    visits = [rng.normal(1.2e-3, 0.1e-3, 3000), rng.normal(0.9e-3, 0.05e-3, 1000)]
    assert smallest_adc(visits) == pytest.approx(0.83e-3, abs=0.03e-3)
    assert smallest_adc([np.array([5e-3, 6e-3])]) <= 1e-3
    with pytest.raises(InputError, match="no ADC"):
        smallest_adc([np.array([np.nan])])


@pytest.mark.parametrize("blur_mm", [0.0, 1.5, 2.5])
def test_noise_is_found_through_anatomy_and_outliers(blur_mm):
    rng = np.random.default_rng(1)
    shape, spacing = (40, 48, 44), 2.0
    noise = (
        ndimage.gaussian_filter(rng.standard_normal(shape), blur_mm / spacing)
        if blur_mm
        else (rng.standard_normal(shape))
    )
    noise *= 0.03 / noise.std()
    z, y, x = np.meshgrid(*[np.linspace(0, 3, n) for n in shape], indexing="ij")
    image = (0.7 + 0.1 * np.sin(z) + 0.05 * y * x + noise).astype(np.float32)
    mask = (z - 1.5) ** 2 + (y - 1.5) ** 2 + (x - 1.5) ** 2 < 1.3**2
    image[rng.random(shape) < 0.005] += 1
    sigma, length = noise_of(image, mask, spacing)
    assert sigma == pytest.approx(0.03, rel=0.12)
    if blur_mm:
        # white noise blurred by b is correlated as exp(-r^2 / (4 b^2)): s = sqrt(2) b
        assert length == pytest.approx(np.sqrt(2) * blur_mm, rel=0.15)
    else:
        assert length < 0.6 * spacing


def test_noise_after_an_anisotropic_image_is_resampled():
    """White noise of 5 x 1.25 x 1.25 mm voxels on a 2 mm grid: what is found is what is there."""
    rng = np.random.default_rng(5)
    source = Grid.regular((26, 100, 100), (5, 1.25, 1.25), (-62, -62, -62))
    grid = Grid.regular((44, 44, 44), 2.0, (-43, -43, -43))
    noise = average(Volume(rng.normal(0, 1, source.shape).astype(np.float32), source), grid)
    away = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)), axis=-1)
    sigma, length = noise_of(noise + np.float32(5), away < 36, 2.0)
    assert sigma == pytest.approx(noise.std(), rel=0.1)
    # along z neighbors share slices, across they do not: one length must lie between the two
    lags = [(noise * np.roll(noise, 1, axis)).mean() / noise.var() for axis in range(3)]
    lengths = [2.0 / np.sqrt(-2 * np.log(lag)) for lag in lags]
    assert lengths[0] > 1.5 * max(lengths[1:])
    assert min(lengths[1:]) < length < lengths[0]


def test_too_little_tissue():
    with pytest.raises(InputError, match="100 voxels"):
        noise_of(np.zeros((5, 5, 5)), np.zeros((5, 5, 5), bool), 1.0)
