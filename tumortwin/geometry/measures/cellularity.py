"""Cell density from the apparent diffusion coefficient (ADC), and how noisy it is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from tumortwin.errors import InputError

ADC_WATER = 3.0e-3
"""ADC of free water at 37 C, mm^2/s (Mills 1973, doi:10.1021/j100624a025)."""
ADC_MIN_RANGE = (0.3e-3, 1.0e-3)
"""Where a tumor's smallest ADC can be, mm^2/s: slower than this is water in no tissue; faster lies brain."""
SMALLEST_PERCENTILE = 2.0
LEAST_ADC = 1e-5
"""mm^2/s, a hundredth of what tissue has: less is what interpolation leaves beside a map's empty voxels."""


def smallest_adc(samples: Iterable[NDArray[np.float32]]) -> float:
    """ADC where the cells are packed most densely: the 2nd percentile over the enhancing tumor of all visits.

    The smallest value itself (Atuegwu et al. 2012, doi:10.1088/0031-9155/57/1/225) is a sample of the noise; a low
    percentile over all visits is steadier and gives every visit the same scale. It makes the densest part of this
    tumor u = 1, which says nothing about cells per mm^3 in another patient.

    Parameters
    ----------
    samples : iterable of arrays
        ADC in mm^2/s of the enhancing voxels, one array a visit.

    Returns
    -------
    float
        In mm^2/s, within `ADC_MIN_RANGE`.

    Raises
    ------
    InputError
        If there is no finite value.
    """
    values = np.concatenate([np.empty(0, np.float32), *(np.ravel(s) for s in samples)])
    values = values[np.isfinite(values) & (values > LEAST_ADC)]
    if values.size == 0:
        raise InputError("no ADC value in any enhancing tumor: cell density cannot be scaled")
    return float(np.clip(np.percentile(values, SMALLEST_PERCENTILE), *ADC_MIN_RANGE))


def density_from_adc(
    adc: NDArray[np.float32], inside: NDArray[np.bool_], adc_min: float, *, adc_water: float = ADC_WATER
) -> NDArray[np.float32]:
    """Cell density u = (ADC_w - ADC) / (ADC_w - ADC_min).

    The formula takes all that hinders water for tumor cells. Healthy white and grey matter hinder it as much (ADC
    0.7 to 0.9e-3 mm^2/s, so u would be 0.9 to 1), and edema much less; in the infiltrated edema the ADC is a mixture
    of the three and does not tell the share of tumor. So `inside` should be the enhancing tumor, where other tissue is
    largely replaced; there u counts dead cells that are not cleared yet, too, and reads low where edema mixes in.

    Parameters
    ----------
    adc : (z, y, x) array
        In mm^2/s.
    inside : (z, y, x) bool array
        Where to trust it.
    adc_min : float
        ADC at u = 1, mm^2/s.
    adc_water : float
        ADC at u = 0, mm^2/s.

    Returns
    -------
    (z, y, x) float32 array
        NaN outside, where ADC exceeds free water (fluid, not negative tumor) and where there is no signal.
        Noise makes u exceed 1: it is not clamped.

    Raises
    ------
    InputError
        If the constants are not in mm^2/s.

    References
    ----------
    Anderson et al. 2000, doi:10.1016/S0730-725X(00)00147-8; Hormuth et al. 2021, doi:10.1038/s41598-021-87887-4 (ADC in
    the enhancing region only).
    """
    if not 1e-4 < adc_min < adc_water < 1e-2:
        raise InputError(
            f"ADC constants are in mm^2/s with min < water, not {adc_min} and {adc_water}: "
            "divide 1e-6 mm^2/s units by 1e6"
        )
    with np.errstate(invalid="ignore"):
        usable = inside & (adc > LEAST_ADC) & (adc <= adc_water)
    return np.where(usable, (adc_water - adc) / (adc_water - adc_min), np.nan).astype(np.float32)


def noise_of(
    image: NDArray[np.float32], mask: NDArray[np.bool_], spacing: float, trend_mm: float = 7.5
) -> tuple[float, float]:
    """Noise of an image over tissue that should be even: standard deviation and correlation length.

    The image less its Gaussian mean within the mask (SD `trend_mm`) is noise and fine anatomy. Its robust standard
    deviation is the first number; the second is the s of exp(-r^2 / (2 s^2)) fitted to its autocorrelation at up to
    four voxels along the axes, the zero offset that subtracting a mean brings fitted along.

    Parameters
    ----------
    image : (z, y, x) array
        Any unit.
    mask : (z, y, x) bool array
        Even tissue, for example deep white matter; a few hundred voxels at least.
    spacing : float
        Voxel edge in mm (cubic).
    trend_mm : float
        What is slower than this counts as anatomy.

    Returns
    -------
    sigma : float
        In the image's unit.
    length_mm : float
        At least 0.3 voxels.

    Raises
    ------
    InputError
        If the mask has fewer than 100 voxels.
    """
    if mask.sum() < 100:
        raise InputError(f"noise is estimated from at least 100 voxels, not {mask.sum()}")
    sigma_voxels = trend_mm / spacing
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sigma_voxels)
    mean = ndimage.gaussian_filter(np.where(mask, image, 0).astype(np.float64), sigma_voxels)
    residual = np.where(mask, image - mean / np.maximum(weight, 1e-9), 0)
    spread = 1.4826 * float(np.median(np.abs(residual[mask])))
    # outliers (vessels, what the mask should not hold) would dominate the products
    good = mask & (np.abs(residual) < 3.5 * max(spread, 1e-30))
    residual = np.where(good, residual, 0)
    variance = float((residual[good] ** 2).mean())
    if variance == 0:
        return 0.0, 0.3 * spacing
    lags, values = [], []
    for axis in range(3):
        r, g = np.moveaxis(residual, axis, 0), np.moveaxis(good, axis, 0)
        for lag in (1, 2, 3, 4):
            pairs = int((g[lag:] & g[:-lag]).sum())
            if pairs >= 50:
                lags.append(lag * spacing)
                values.append(float((r[lag:] * r[:-lag]).sum()) / pairs / variance)
    if not lags:
        return spread, 0.3 * spacing

    def misfit(p: NDArray[np.float64]) -> NDArray[np.float64]:
        s, offset = p
        return (1 - offset) * np.exp(-np.square(lags) / (2 * s**2)) + offset - np.array(values)

    fit = optimize.least_squares(misfit, [spacing, 0.0], bounds=([0.3 * spacing, -0.5], [5 * trend_mm, 0.5]))
    return spread, float(fit.x[0])
