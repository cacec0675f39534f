"""A cheap stand-in for the 3-D model: the tumor as a ball with the same volume at every density.

It scores hundreds of schedules in the time of one 3-D solution. It knows nothing of the tumor's shape and takes one
mean dose at each radius, so that what it finds is scored again in 3-D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from tumortwin.growth.terms.treatment import DrugKill
from tumortwin.therapy.schedule import Schedule

SHELL_MM = 1.0
"""Thickness of a shell."""

FINE = 4
"""Points a shell in which the visible volume is counted."""


@dataclass(frozen=True, eq=False)
class Ball:
    """A tumor and its surroundings by equivalent radius.

    Parameters
    ----------
    density : (n,) array
        Density of living cells in each shell.
    dose : (n,) array
        Mean dose over that of the prescription point.
    mobility : (n,) array
        Mean diffusivity over that of white matter.
    """

    density: NDArray[np.float64]
    dose: NDArray[np.float64]
    mobility: NDArray[np.float64]


def ball_of(
    density: NDArray[np.floating],
    dose: NDArray[np.floating],
    mobility: NDArray[np.floating],
    mask: NDArray[np.bool_],
    voxel_volume: float,
) -> Ball:
    """Roll a 3-D field up into a ball: voxels by falling density fill shells from the inside out.

    Parameters
    ----------
    density, dose, mobility : (z, y, x) arrays
        Of the tumor; over the prescription's; over white matter's.
    mask : (z, y, x) bool array
        The domain.
    voxel_volume : float
        mm^3.
    """
    inside = [np.asarray(a, float)[mask] for a in (density, dose, mobility)]
    # where there is no tumor any more the dose says what is nearer to it
    order = np.lexsort((-inside[1], -inside[0]))
    radius = (3 * voxel_volume * (np.arange(order.size) + 0.5) / (4 * np.pi)) ** (1 / 3)
    shell = (radius / SHELL_MM).astype(int)
    filled = np.bincount(shell)
    # inner shells can be smaller than a voxel: they take their neighbours' values
    known = np.flatnonzero(filled)
    return Ball(
        *(
            np.interp(np.arange(filled.size), known, (np.bincount(shell, a[order])[known] / filled[known]))
            for a in inside
        )
    )


def radial_volumes(
    ball: Ball,
    values: Mapping[str, float],
    alpha_beta: float,
    doses: NDArray[np.floating],
    drugs: DrugKill,
    start: float,
) -> NDArray[np.float64]:
    """Volume of the core under many schedules in the cheap model.

    Parameters
    ----------
    ball : Ball
        The tumor at `start`.
    values : mapping of str to float
        One sample of the calibration's unknowns.
    alpha_beta : float
        Of the tumor, Gy.
    doses : (schedules, days) array
        Dose at the prescription point on each day from `start`, at most one fraction a day, Gy.
    drugs : DrugKill
        Kill of the drugs, on the twin's clock.
    start : float
        Day of the first column.

    Returns
    -------
    (schedules, days + 1) array
        mL at the beginning of each day, and at the end of the last.
    """
    n = ball.density.size
    edges = SHELL_MM * np.arange(n + 1)
    volume = 4 / 3 * np.pi * np.diff(edges**3)
    face = 2 / (1 / np.maximum(ball.mobility[1:], 1e-6) + 1 / np.maximum(ball.mobility[:-1], 1e-6))
    flow = values["diffusivity"] * face * 4 * np.pi * edges[1:-1] ** 2 / SHELL_MM
    exchange = np.zeros((n, n))
    inner = np.arange(n - 1)
    exchange[inner, inner + 1] = exchange[inner + 1, inner] = flow
    exchange -= np.diag(exchange.sum(axis=1))
    spread = expm(exchange / volume[:, None]).T
    gain, clearance = np.exp(values["proliferation_rate"] / 2), 0.5 ** (1 / values["clearance"])
    threshold = values["threshold_core"]
    fine = (np.arange(n * FINE) + 0.5) / FINE - 0.5
    fine_ml = 4 / 3 * np.pi * np.diff((SHELL_MM * np.arange(n * FINE + 1) / FINE) ** 3) / 1000
    lower = np.clip(fine.astype(int), 0, n - 2)
    weight = np.clip(fine - lower, 0, 1)

    def visible_ml() -> NDArray[np.float64]:
        seen = living + killed
        above = (1 - weight) * seen[:, lower] + weight * seen[:, lower + 1] > threshold
        # row by row: a product by BLAS adds the last rows in another order, and equal volumes would not be equal
        return np.where(above, fine_ml, 0.0).sum(axis=1)

    living = np.repeat(ball.density[None], len(doses), axis=0)
    killed = np.zeros_like(living)
    found = [visible_ml()]
    for day, dose in enumerate(doses.T):
        local = dose[:, None] * ball.dose
        survival = np.exp(-values["alpha"] * local * (1 + local / alpha_beta))
        killed += living * (1 - survival)
        # growth (logistic, exact) and drug over half a day, diffusion over a day, growth and drug over the other half
        half = gain * np.exp(-drugs.between(start + day, start + day + 1) / 2)
        living = living * survival
        living = living * half / (1 + living * (gain - 1)) @ spread
        living = living * half / (1 + living * (gain - 1))
        killed *= clearance
        found.append(visible_ml())
    return np.stack(found, axis=1)


def calendar(schedules: Sequence[Schedule], first: date, days: int) -> NDArray[np.float64]:
    """Dose on each calendar day from `first`, (schedules, days), Gy; what is later is left out."""
    table = np.zeros((len(schedules), days))
    for row, schedule in zip(table, schedules, strict=True):
        for time, dose in zip(schedule.times, schedule.doses, strict=True):
            if 0 <= (at := (time.date() - first).days) < days:
                row[at] += dose
    return table
