"""Draws from the posterior that agree with the scans."""

from __future__ import annotations

import numpy as np

from tumortwin.calibration.problem import Problem, Vector, cost
from tumortwin.calibration.uncertainty import Matrix, cholesky

ENSEMBLE = 32
"""Draws that are kept for forecasts."""


def normal_draws(mean: Vector, covariance: Matrix, size: int, rng: np.random.Generator) -> Vector:
    """Draw from a normal distribution, (size, n): the mean plus the covariance's factor times standard normal numbers.

    Eigenvectors would make a factor too, but their signs follow from the last bits of the covariance: equal fits would
    give other draws on another processor.
    """
    return mean + (rng.standard_normal((size, 1, len(mean))) * cholesky(covariance)).sum(axis=2)


def rejection_sampling(
    problem: Problem, theta: Vector, covariance: Matrix, curvature: Matrix, weight: float, rng: np.random.Generator
) -> tuple[Vector, float]:
    """Draws from the normal posterior that agree with the scans, and the share of all draws that did.

    The posterior is normal only near its maximum: further out a draw may cure the patient where the scans show
    a tumor.
    A draw is kept if its misfit is within what 99 % of a normal posterior's draws have. After two tries for each
    wanted, those missing are drawn closer and closer to the maximum.
    """
    lowest = cost(problem.residuals(theta), theta, problem, weight)
    offsets = normal_draws(np.zeros_like(theta), covariance, 2 * ENSEMBLE, rng)
    expected = 0.5 * np.einsum("ij,jk,ik->i", offsets, curvature, offsets)
    limit = lowest + float(np.quantile(expected, 0.99))
    low, high = np.array([u.bounds for u in problem.varied]).T

    kept: list[Vector] = []
    drawn, shrink = 0, 1.0
    while len(kept) < ENSEMBLE:
        half = offsets[drawn % len(offsets) :][:ENSEMBLE]
        draws = np.clip(theta + shrink * half, low, high)
        drawn += len(draws)
        kept += [d for d, c in zip(draws, problem.costs(draws, weight), strict=True) if c <= limit]
        if drawn % len(offsets) == 0:
            shrink /= 2
    return np.array(kept[:ENSEMBLE]), len(kept) / drawn
