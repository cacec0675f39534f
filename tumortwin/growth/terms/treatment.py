"""What treatment does to the density: drugs as a kill rate in time, radiotherapy as a survival at one instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumortwin.errors import InputError
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.therapy import linear_quadratic
from tumortwin.therapy.drugs import DRUGS
from tumortwin.twin import Administration

DECAY_RATES: Mapping[str, float] = {name: drug.decay_rate for name, drug in DRUGS.items()}
"""Elimination rate of each drug with a known half-life (:data:`tumortwin.therapy.DRUGS`), 1/day."""

# a concentration's time scales after a dose, in 1/decay: between these a ten-point rule meets round-off
_LAYERS = np.array([0.0, 1.0, 3.0, 7.0, 15.0, 31.0])


def survival(parameters: GrowthParameters, dose: ArrayLike) -> NDArray[np.float64]:
    """Share of cells that survive one fraction, by the radiosensitivity of these parameters.

    Parameters
    ----------
    parameters : GrowthParameters
        alpha (1/Gy) and alpha/beta (Gy).
    dose : float or array
        Dose of the fraction, Gy.

    See Also
    --------
    tumortwin.therapy.survival : the linear-quadratic equation.
    """
    return np.asarray(linear_quadratic.survival(dose, parameters.alpha, parameters.beta))


class DrugKill:
    """Kill rate k(t) of all drug doses together, by log-kill (Bliss independence: log-kills add).

    A dose brings its amount into the body at once; it leaves at the drug's decay rate. The kill rate is proportional
    to what is there, scaled so that a dose's whole log-kill is sensitivity * amount. So the log-kill up to time t is
    sensitivity * (given - still there): exact, without quadrature.

    Parameters
    ----------
    administrations : iterable of Administration
        Doses, in any order.
    sensitivity : mapping of str to float
        Log-kill per unit of the amount, by drug. A drug without an entry does nothing.
    decay_rates : mapping of str to float
        Elimination rates, 1/day, by drug.

    Raises
    ------
    InputError
        If a drug with an effect has no decay rate, or one drug's doses have unlike units.
    """

    def __init__(
        self,
        administrations: Iterable[Administration],
        sensitivity: Mapping[str, float],
        decay_rates: Mapping[str, float],
    ) -> None:
        doses: dict[str, list[Administration]] = {}
        for dose in administrations:
            if sensitivity.get(dose.drug, 0.0) > 0 and dose.amount > 0:
                doses.setdefault(dose.drug, []).append(dose)
        self._courses: list[tuple[float, float, NDArray, NDArray, NDArray]] = []
        for drug, given in doses.items():
            units = {d.unit for d in given}
            if len(units) > 1:
                raise InputError(f"doses of {drug} are in {' and '.join(sorted(units))}: convert them to one unit")
            decay = decay_rates.get(drug, 0.0)
            if not (np.isfinite(decay) and decay > 0):
                raise InputError(f"{drug} has a sensitivity but no decay rate > 0 per day (decay_rates): {decay}")
            given.sort(key=lambda d: d.day)
            times = np.array([d.day for d in given])
            amounts = np.array([d.amount for d in given], float)
            present = amounts.copy()
            for i in range(1, len(given)):
                present[i] += present[i - 1] * np.exp(-decay * (times[i] - times[i - 1]))
            self._courses.append((sensitivity[drug], decay, times, present, np.cumsum(amounts)))

    def until(self, time: ArrayLike) -> NDArray[np.float64]:
        """Log-kill from the beginning up to `time` (days); of any shape."""
        t = np.asarray(time, np.float64)
        total = np.zeros(t.shape)
        for sensitivity, _, given, remaining in self._at(t):
            total += sensitivity * (given - remaining)
        return total

    def rate(self, time: ArrayLike) -> NDArray[np.float64]:
        """Compute the kill rate at `time` (days), 1/day; of any shape."""
        t = np.asarray(time, np.float64)
        total = np.zeros(t.shape)
        for sensitivity, decay, _, remaining in self._at(t):
            total += sensitivity * decay * remaining
        return total

    def _at(self, t: NDArray[np.float64]) -> Iterator[tuple[float, float, NDArray[np.float64], NDArray[np.float64]]]:
        """Each drug's sensitivity and decay rate, what was given until `t` and what of it is still there."""
        for sensitivity, decay, times, present, given in self._courses:
            last = np.searchsorted(times, t, side="right") - 1
            i = np.maximum(last, 0)
            # the exponent of a time before the first dose is thrown away: keep it from overflowing
            remaining = present[i] * np.exp(-decay * np.maximum(t - times[i], 0))
            yield sensitivity, decay, np.where(last >= 0, given[i], 0.0), np.where(last >= 0, remaining, 0.0)

    def between(self, t0: float, t1: float) -> float:
        """Log-kill from `t0` to `t1`."""
        if not self._courses:
            return 0.0
        start, stop = self.until(np.array([t0, t1]))
        return float(stop - start)

    def smooth_pieces(self, t0: float, t1: float) -> NDArray[np.float64] | None:
        """Edges in [t0, t1] between which k(t) is smooth enough for a Gauss rule; None if nothing is killed there."""
        if self.between(t0, t1) == 0:
            return None
        edges = [np.array([t0, t1])]
        for _, decay, times, _, _ in self._courses:
            layers = _LAYERS / decay
            recent = times[(times > t0 - layers[-1]) & (times < t1)]
            edges.append((recent[:, None] + layers).ravel())
        joined = np.concatenate(edges)
        return np.unique(joined[(joined >= t0) & (joined <= t1)])
