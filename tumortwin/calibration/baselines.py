"""What a forecast has to beat: no change, and exponential growth of the last two scans' volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def dice(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Overlap of two regions given as shares of voxels: 2 sum min(a, b) / (sum a + sum b); 1 if both are empty."""
    total = float(a.sum(dtype=float) + b.sum(dtype=float))
    return 2 * float(np.minimum(a, b).sum(dtype=float)) / total if total > 0 else 1.0


def volume_error_percent(forecast: float, observed: float) -> float:
    """100 (forecast - observed) / observed; NaN if nothing was observed."""
    return 100 * (forecast - observed) / observed if observed > 0 else float("nan")


def exponential_ml(days: Sequence[float], volumes: Sequence[float], day: float) -> float:
    """Volume at `day` if it goes on growing or shrinking at the rate between the last two scans.

    Parameters
    ----------
    days, volumes : sequences of float
        Scans so far, in days and mL, by day.
    day : float
        When the volume is wanted.

    Returns
    -------
    float
        In mL. The last volume if there are no two scans with a tumor to take a rate from.
    """
    if len(days) < 2 or min(volumes[-2:]) <= 0:
        return float(volumes[-1])
    rate = np.log(volumes[-1] / volumes[-2]) / (days[-1] - days[-2])
    return float(volumes[-1] * np.exp(rate * (day - days[-1])))
