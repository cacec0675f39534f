"""How well the unknowns are known when neighboring voxels err together.

Residuals of images are correlated over millimetres. Counting every voxel as independent makes intervals several times
too small and priors that many times too weak. The effective number of voxels per independent
sample is measured on the residuals; the precisions of the priors are multiplied by it, and the covariance is an upper
bound of the tempered one and the sandwich.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.calibration.observation import Channel
from tumortwin.calibration.unknowns import rounded

Matrix = NDArray[np.floating]

LAGS = 8
"""Longest lag looked at, in voxels."""


def correlation_lengths(channels: Sequence[Channel], residuals: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Correlation length of the residuals along z, y and x in voxels.

    The s of a Gaussian correlation exp(-d^2 / (2 s^2)) with the same integral as the measured one:
    sqrt(2 pi) s = 1 + 2 sum_d acf(d), summed until the correlation has fallen below 0.05.
    """
    products = np.zeros((3, LAGS + 1))
    energies = np.zeros((3, LAGS + 1))
    for channel, residual in zip(channels, residuals, strict=True):
        field = np.zeros(channel.where.shape)
        field[channel.where] = residual
        for axis in range(3):
            f, w = np.moveaxis(field, axis, 0), np.moveaxis(channel.where, axis, 0)
            for lag in range(min(LAGS, len(f) - 1) + 1):
                a, b = f[: len(f) - lag], f[lag:]
                both = w[: len(f) - lag] & w[lag:]
                products[axis, lag] += (a * b)[both].sum()
                energies[axis, lag] += 0.5 * ((a**2)[both].sum() + (b**2)[both].sum())
    acf = products / np.maximum(energies, 1e-300)
    lengths = []
    for axis in range(3):
        below = np.nonzero(acf[axis] < 0.05)[0]
        upto = below[0] if len(below) else LAGS + 1
        lengths.append((1 + 2 * acf[axis, 1:upto].sum()) / np.sqrt(2 * np.pi))
    return np.array(lengths)


def voxels_per_sample(lengths: NDArray[np.float64]) -> float:
    """Voxels per independent sample: the volume integral of the correlation, in voxels; at least 1."""
    return float(max(1.0, np.prod(np.sqrt(2 * np.pi) * lengths)))


def repetition(channels: Sequence[Channel], residuals: Sequence[NDArray[np.float64]]) -> float:
    """How many contours say the same as one: the design effect sum(R) / n of n contours, R their correlations; >= 1.

    A tumor that is no ellipsoid is misfitted in the same places at every visit and by both contours: more visits do not
    average that out.
    """
    contours = [(c.where, r) for c, r in zip(channels, residuals, strict=True) if c.kind != "density"]
    if not contours:
        return 1.0
    # sum(R) is the square of the sum of the fields over their norms
    total = np.zeros(contours[0][0].shape)
    for where, residual in contours:
        total[where] += residual / max(np.sqrt(np.square(residual).sum()), 1e-300)
    return float(max(1.0, np.square(total).sum() / len(contours)))


def correlated(channel: Channel, columns: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """C J: columns (n, k) of one channel after multiplication with the residuals' correlation matrix."""
    out = np.empty_like(columns)
    field = np.zeros(channel.where.shape)
    kernels = []
    for length in lengths:
        reach = int(np.ceil(4 * length))
        kernels.append(np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(length, 1e-6)) ** 2))
    for k in range(columns.shape[1]):
        field[channel.where] = columns[:, k]
        smooth = field
        for axis, kernel in enumerate(kernels):
            smooth = ndimage.correlate1d(smooth, kernel, axis=axis, mode="constant")
        out[:, k] = smooth[channel.where]
    return out


def covariance(
    channels: Sequence[Channel],
    jacobians: Sequence[NDArray[np.float64]],
    prior: NDArray[np.float64],
    lengths: NDArray[np.float64],
    repeated: float = 1.0,
) -> tuple[Matrix, Matrix]:
    """Covariance of the unknowns about the maximum of the posterior, and the curvature there.

    Parameters
    ----------
    channels : sequence of Channel
        What was compared.
    jacobians : sequence of (n, k) arrays
        Derivative of each channel's residuals, which have unit variance.
    prior : (k,) array
        Precision (1 / variance) of each unknown's prior.
    lengths : (3,) array
        Correlation lengths of the residuals in voxels.
    repeated : float
        Contours that say the same as one; multiplies the effective voxels per sample, v, and M.

    Returns
    -------
    covariance : (k, k) array
        Per direction the larger of v H^-1 and H^-1 (M + v P) H^-1 with H = J'J + v P and M = J'CJ.
    curvature : (k, k) array
        H.

    References
    ----------
    Huber 1967; White 1982 (doi:10.2307/1912526) for the sandwich; Liang & Zeger 1986 (doi:10.1093/biomet/73.1.13) for
    correlated data.
    """
    factor = repeated * voxels_per_sample(lengths)
    normal = sum(j.T @ j for j in jacobians)
    middle = repeated * sum(j.T @ correlated(c, j, lengths) for c, j in zip(channels, jacobians, strict=True))
    curvature = normal + factor * np.diag(prior)
    inverse = np.linalg.inv(curvature)
    sandwich = inverse @ (middle + factor * np.diag(prior)) @ inverse
    return covariance_upper_bound(factor * inverse, (sandwich + sandwich.T) / 2), curvature


def cholesky(covariance: Matrix) -> Matrix:
    """Compute the lower factor L with a positive diagonal, L L' = covariance, rounded to be equal on every machine."""
    return rounded(np.linalg.cholesky(covariance).astype(np.float64))


def covariance_upper_bound(a: Matrix, b: Matrix) -> Matrix:
    """Compute the smallest covariance of this family that is nowhere below a or b.

    In coordinates where a is the unit matrix, the eigenvalues of b below 1 are raised to 1.
    """
    root = np.linalg.cholesky(a)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ b @ inverse.T)
    half = root @ vectors
    return (half * np.maximum(values, 1.0)) @ half.T
