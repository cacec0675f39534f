"""Finding the maximum of the posterior: a few starts, then Levenberg-Marquardt on bounded parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from lmfit import Minimizer, Parameters

from tumortwin.calibration.problem import Problem, Vector, cost
from tumortwin.calibration.unknowns import rounded
from tumortwin.progress import Progress


@dataclass
class Budget:
    """Counts solutions of the growth equation, tells the caller and stops the fit at its limit."""

    limit: int
    progress: Progress
    solves: int = 0

    def tick(self) -> None:
        """Count one solution and report it."""
        self.solves += 1
        self.progress(min(self.solves, self.limit), self.limit, "calibrate")

    @property
    def spent(self) -> bool:
        """Whether the limit is reached."""
        return self.solves >= self.limit


def best_start(problem: Problem, start: Vector, weight: float) -> Vector:
    """Find the best of a few starts: rates and radiosensitivity change the cost most, and range over decades."""
    at = {u.name: k for k, u in enumerate(problem.varied)}
    best, lowest = start, cost(problem.residuals(start), start, problem, weight)
    for name, steps in (
        ("proliferation_rate", (-1.0, 1.0)),
        ("alpha", (-1.5, -0.75, 0.75)),
        ("diffusivity", (-1.0, 1.0)),
        ("proliferation_rate", (-0.5, 0.5)),
    ):
        if name not in at:
            continue
        center = best
        for step in steps:
            trial = center.copy()
            trial[at[name]] += step
            value = cost(problem.residuals(trial), trial, problem, weight)
            if value < lowest:
                best, lowest = trial, value
    return best


def descend(problem: Problem, start: Vector, weight: float, budget: Budget, tolerance: float) -> tuple[Vector, bool]:
    """Levenberg-Marquardt from `start`; priors weighted by `weight`. The best point, and whether it converged."""
    root = np.sqrt(weight * problem.prior_precision)
    parameters = Parameters()
    for unknown, value in zip(problem.varied, start, strict=True):
        low, high = unknown.bounds
        parameters.add(unknown.name, value=float(np.clip(value, low, high)), min=low, max=high)

    def theta_of(p: Parameters) -> Vector:
        return rounded(np.array([p[u.name].value for u in problem.varied]))

    def residual(p: Parameters) -> Vector:
        theta = theta_of(p)
        return np.concatenate([*problem.residuals(theta), root * (theta - problem.prior_mean)])

    def derivative(p: Parameters) -> Vector:
        return np.concatenate([*problem.jacobian(theta_of(p)), np.diag(root)])

    lowest, best = np.inf, start

    def watch(p: Parameters, iteration: int, residuals: Vector) -> bool:
        nonlocal lowest, best
        value = float(np.square(residuals).sum())
        if value < lowest:
            lowest, best = value, theta_of(p)
        return budget.spent

    result = Minimizer(residual, parameters, iter_cb=watch, scale_covar=False, calc_covar=False).minimize(
        method="leastsq", Dfun=derivative, col_deriv=0, ftol=tolerance, xtol=tolerance, max_nfev=10 * len(start)
    )
    return best, bool(result.success) and not result.aborted
