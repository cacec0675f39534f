"""The front of a growing tumor: how fast theory says that it runs, and where it is in a solution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid


@dataclass(frozen=True)
class Front:
    """The straight front that logistic growth from a compact start tends to.

    Parameters
    ----------
    speed : float
        mm/day.
    decay : float
        Ahead of the front the density falls as exp(-decay x), 1/mm.
    """

    speed: float
    decay: float

    def mean_speed(self, start: float, stop: float) -> float:
        """Mean speed in mm/day between two days, 0 < start < stop, counted from a compact start.

        A front is late by (3 / (2 decay)) ln t, so for long it is slower than in the end.

        References
        ----------
        Bramson 1983, doi:10.1090/memo/0285; van Saarloos 2003, doi:10.1016/j.physrep.2003.08.001
        """
        if not (0 < start < stop < math.inf):
            raise InputError(f"a mean speed is between two days 0 < start < stop, not {start} and {stop}")
        return self.speed - 1.5 / self.decay * math.log(stop / start) / (stop - start)


def front_of(diffusivity: float, proliferation_rate: float, spacing: float = 0.0) -> Front:
    """Compute the front of du/dt = D u'' + rho u (1 - u), or of its finite-volume discretization.

    Where exp(-k x) ahead of the front moves at c(k), the front moves at the least c: (D k^2 + rho) / k in the
    continuum, ((2 D / h^2) (cosh(k h) - 1) + rho) / k along an axis of a grid.

    Parameters
    ----------
    diffusivity : float
        D, mm^2/day, > 0.
    proliferation_rate : float
        rho, 1/day, > 0.
    spacing : float
        Voxel edge h along the front's way, mm; 0 is the continuum.

    Raises
    ------
    InputError
        If a number is not finite or out of its range.

    References
    ----------
    Fisher 1937, doi:10.1111/j.1469-1809.1937.tb02153.x; van Saarloos 2003, doi:10.1016/j.physrep.2003.08.001
    """
    d, rho, h = float(diffusivity), float(proliferation_rate), float(spacing)
    if not (0 < d < math.inf and 0 < rho < math.inf and 0 <= h < math.inf):
        raise InputError(
            "a front needs a diffusivity > 0 mm^2/day, a proliferation rate > 0 /day and a spacing "
            f">= 0 mm, not {diffusivity}, {proliferation_rate} and {spacing}"
        )
    resolution = rho * h * h / d
    # what follows loses digits on fine grids, where the grid's excess is below rounding
    if resolution < 1e-6:
        return Front(2 * math.sqrt(d * rho), math.sqrt(rho / d))
    x = brentq(lambda x: x * math.sinh(x) - 2 * math.sinh(x / 2) ** 2 - resolution / 2, 0.0, math.sqrt(resolution))
    return Front(2 * d / h * math.sinh(x), x / h)


def equivalent_radius(grid: Grid, fields: Iterable[NDArray[np.floating]], threshold: float) -> NDArray[np.float64]:
    """Radius of the ball that is as large as the region above a threshold.

    On a grid of one slice it is a disk of the same area, on one row half the length.

    Parameters
    ----------
    grid : Grid
        Of the fields.
    fields : iterable of n (z, y, x) arrays
        Densities.
    threshold : float
        Density that is counted as inside.

    Returns
    -------
    (n,) array
        mm.
    """
    edges = [h for h, n in zip(grid.spacing, grid.shape, strict=True) if n > 1]
    size = np.array([np.count_nonzero(field > threshold) for field in fields]) * math.prod(edges)
    if len(edges) < 2:
        return size / 2
    return np.sqrt(size / math.pi) if len(edges) == 2 else np.cbrt(3 * size / (4 * math.pi))


def recent_speed(days: NDArray[np.floating], radii: NDArray[np.floating], window: float = 30.0) -> NDArray[np.float64]:
    """Mean speed of a front over the time before each day.

    Parameters
    ----------
    days, radii : (n,) arrays
        Ascending days, and where the front is, mm.
    window : float
        How many days back; near the first day as many as there are.

    Returns
    -------
    (n,) array
        mm/day; NaN on the first day.
    """
    before = np.maximum(np.asarray(days, float) - window, days[0])
    span = days - before
    return np.divide(radii - np.interp(before, days, radii), span, out=np.full(len(span), np.nan), where=span > 0)
