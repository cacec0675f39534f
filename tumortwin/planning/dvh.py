"""Dose-volume histograms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumortwin.errors import InputError

RESOLUTION_GY = 0.01
"""Voxels whose doses differ by less are kept as one point, at their mean dose."""


@dataclass(frozen=True, eq=False)
class DoseVolumeHistogram:
    """How much of a structure gets at least how much dose.

    Parameters
    ----------
    structure : str
        Its name.
    dose : (n,) array
        Doses that occur, descending, in Gy.
    volume_ml : (n,) array
        Cumulative: volume in mL that gets at least that dose.
    """

    structure: str
    dose: NDArray[np.float64]
    volume_ml: NDArray[np.float64]

    @property
    def total_ml(self) -> float:
        """Volume of the structure in mL."""
        return float(self.volume_ml[-1])

    @property
    def parts_ml(self) -> NDArray[np.float64]:
        """Volume at each dose in mL (the differential histogram)."""
        return np.diff(self.volume_ml, prepend=0.0)

    @property
    def maximum(self) -> float:
        """Dmax: highest dose of any voxel that the structure touches, in Gy. :meth:`dose_to_ml` is less of a hazard."""
        return float(self.dose[0])

    @property
    def mean(self) -> float:
        """Dmean in Gy."""
        return float((self.dose * self.parts_ml).sum() / self.total_ml)

    def dose_to_percent(self, percent: float) -> float:
        """D_x%: highest dose that at least x % of the volume gets, in Gy (D50 is the median, D98 near the minimum)."""
        if not 0 < percent <= 100:
            raise InputError(f"a share of a volume is above 0 and at most 100 %, not {percent}")
        return self.dose_to_ml(self.total_ml * percent / 100)

    def dose_to_ml(self, volume: float) -> float:
        """D_cc: highest dose that at least this volume in mL gets, in Gy; of a smaller structure its least dose."""
        # cumulated volumes carry rounding: a volume that is met within 1e-9 is met
        k = int(np.searchsorted(self.volume_ml, volume - 1e-9 * self.total_ml))
        return float(self.dose[min(k, len(self.dose) - 1)])

    def volume_at(self, dose: float) -> float:
        """V_Gy: volume in mL that gets at least this dose in Gy."""
        # doses carry the rounding of float32: one that is met within 1e-4 Gy is met
        k = int(np.searchsorted(-self.dose, -dose + 1e-4, side="right"))
        return float(self.volume_ml[k - 1]) if k else 0.0

    def curve(self, doses: ArrayLike) -> NDArray[np.float64]:
        """Volume in % that gets at least each of `doses` (Gy): what is drawn."""
        return np.array([100 * self.volume_at(d) / self.total_ml for d in np.ravel(doses)])

    def of(self, effect: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> DoseVolumeHistogram:
        """Compute the histogram of a quantity that rises with the dose: a scaled dose, a BED, an EQD2."""
        return replace(self, dose=effect(self.dose))


def dose_volume_histogram(
    dose: NDArray[np.floating], structure: NDArray[np.floating] | NDArray[np.bool_], voxel_volume: float, name: str = ""
) -> DoseVolumeHistogram:
    """Compute the dose-volume histogram of one structure.

    Parameters
    ----------
    dose : (z, y, x) array
        Gy.
    structure : (z, y, x) array
        Share of each voxel inside the structure, 0..1, or a boolean mask.
    voxel_volume : float
        mm^3.
    name : str
        Of the structure.

    Raises
    ------
    InputError
        If the shapes differ, a dose inside is negative or not finite, or the structure has no volume.

    Notes
    -----
    A voxel counts with the share of it that is inside, at the dose of its centre: no interpolation within a voxel.
    """
    dose, share = np.asarray(dose), np.asarray(structure, float)
    if dose.shape != share.shape:
        raise InputError(f"{name or 'structure'}: its shape {share.shape} is not the dose's {dose.shape}")
    inside = share > 0
    if not inside.any():
        raise InputError(f"{name or 'structure'} has no volume on the dose's grid")
    values, parts = dose[inside].astype(float), share[inside] * voxel_volume / 1000
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError(f"{name or 'structure'}: doses are finite and >= 0 Gy, not {values.min()}")
    _, group = np.unique(np.round(values / RESOLUTION_GY), return_inverse=True)
    volume = np.bincount(group, parts)
    mean = np.bincount(group, parts * values) / volume
    return DoseVolumeHistogram(name, mean[::-1], np.cumsum(volume[::-1]))
