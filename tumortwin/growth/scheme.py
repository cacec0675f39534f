"""The numbers of the time scheme: stage counts and coefficients of RKL2, and the steps of a whole solve.

RKL2 is the second-order Runge-Kutta-Legendre super-time-stepping scheme of Meyer, Balsara & Aslam 2014
(doi:10.1016/j.jcp.2013.08.021). One step of s stages is stable while tau * lambda_max / 2 <= (s^2 + s - 2) / 4. By
Gershgorin's theorem lambda_max / 2 is at most the largest sum of face coefficients of a voxel, called `rate` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# a frozen plan serves diffusivities up to 1 / SAFETY times those it was made for
SAFETY = 0.9


class Stage(NamedTuple):
    """Y_j = Y_0 + a (Y_{j-1} - Y_0) + b (Y_{j-2} - Y_0) + d (Y_1 - Y_0) + e tau L Y_{j-1}.

    The term with L Y_0 of the paper is written with Y_1 - Y_0, which is a multiple of it: one array less.
    """

    a: float
    b: float
    d: float
    e: float


def stage_limit(stages: int) -> float:
    """Largest tau * rate of a stable step."""
    return (stages * stages + stages - 2) / 4


def stages_for(tau: float, rate: float) -> int:
    """Compute the number of stages for a step `tau` (days) at `rate` (1/day).

    Two where tau * rate < 1: RKL2 is Heun's method then, which is strong-stability preserving, so it makes no new
    extremum. Else odd: an even count damps the fastest mode less.
    """
    if tau * rate <= SAFETY:
        return 2
    stages = 3
    while tau * rate > SAFETY * stage_limit(stages):
        stages += 2
    return stages


@cache
def rkl2_stages(stages: int) -> tuple[Stage, ...]:
    """Coefficients of the stages 1 ... s."""
    j = np.arange(stages + 1, dtype=float)
    b = np.full(stages + 1, 1 / 3)
    b[2:] = (j[2:] ** 2 + j[2:] - 2) / (2 * j[2:] * (j[2:] + 1))
    w = 4 / (stages**2 + stages - 2)
    first = b[1] * w
    out = [Stage(0.0, 0.0, 0.0, first)]
    for i in range(2, stages + 1):
        mu = (2 * i - 1) / i * b[i] / b[i - 1]
        nu = -(i - 1) / i * b[i] / b[i - 2]
        gamma = -(1 - b[i - 1]) * mu * w
        out.append(Stage(mu, nu, gamma / first, mu * w))
    return tuple(Stage(*map(float, stage)) for stage in out)


@cache
def legendre_stages(stages: int) -> tuple[NDArray[np.float64], float]:
    """RKL2 in three arrays, for an operator that is linear and does not change within the step.

    Its stability polynomial is a + b P_s(1 + w tau L) with a + b = 1, P_s being Legendre's. So the stages are the
    plain Legendre recurrence, Y_j = Y_{j-1} + (j-1)/j (Y_{j-1} - Y_{j-2}) + (2j-1)/j w tau L Y_{j-1}, and the result is
    Y_0 + b (Y_s - Y_0): the same function of tau L as :func:`rkl2_stages`, but no stage needs Y_0 or L Y_0.

    Returns
    -------
    (s, 2) array
        (j-1)/j and (2j-1)/j w of each stage.
    float
        b.
    """
    j = np.arange(1, stages + 1)
    w = 4 / (stages**2 + stages - 2)
    return np.stack([(j - 1) / j, (2 * j - 1) / j * w], axis=1), (stages**2 + stages - 2) / (2 * stages * (stages + 1))


Box = tuple[int, int, int, int, int, int]
"""Half-open ranges of the swept voxels on the solver's own grid: z0, z1, y0, y1, x0, x1."""


@dataclass(frozen=True)
class Step:
    """One step of a frozen plan.

    Parameters
    ----------
    share : float
        Its length over the length of its segment.
    stages : int
        RKL2 stages.
    box : tuple of 6 int
        The swept box.
    """

    share: float
    stages: int
    box: Box


@dataclass(frozen=True)
class StepPlan:
    """The steps of a solve, to be used again.

    With the same plan, the solution is a smooth function of the parameters, of the initial state and of the times of
    events: step counts, stage counts and boxes do not jump. So differences between solves are derivatives.

    Parameters
    ----------
    segments : tuple of tuple of Step
        Steps between consecutive stops (events and saves).
    time_error : float
        Estimated relative L2 error in time of the solve that made the plan; NaN if it was not estimated.
    """

    segments: tuple[tuple[Step, ...], ...]
    time_error: float

    @property
    def steps(self) -> int:
        """Number of steps."""
        return sum(map(len, self.segments))


def efficient_step(tau: float, rate: float) -> float:
    """`tau`, or the longest step of fewer stages where that sweeps less often per day."""
    stages = stages_for(tau, rate)
    if stages == 2:
        return tau
    fewer = max(2, stages - 2)
    shorter = SAFETY * stage_limit(fewer) / rate
    return shorter if fewer / shorter < stages / tau else tau
