"""What is to come, with its band, and how it compares with what came."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortwin import archive
from tumortwin.calibration.baselines import dice, exponential_ml, volume_error_percent
from tumortwin.calibration.observation import QUANTITIES, contour_ml, contour_share
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.volume import Grid
from tumortwin.twin import Observation


@dataclass(frozen=True, eq=False)
class Band:
    """Median and central 90 % over the posterior's samples, one number a day."""

    median: NDArray[np.float64]
    p05: NDArray[np.float64]
    p95: NDArray[np.float64]

    @classmethod
    def of(cls, samples: NDArray[np.floating]) -> Band:
        """Of samples (n, days)."""
        p05, median, p95 = np.percentile(samples, (5, 50, 95), axis=0)
        return cls(median, p05, p95)


@dataclass(frozen=True, eq=False)
class ForecastField:
    """The forecast in space at one day, on the twin's grid.

    Parameters
    ----------
    day : float
        Days since the twin's reference time.
    density : (z, y, x) float32 array
        Median over the samples of the visible density (living cells, and killed ones not yet cleared).
    living : (z, y, x) float32 array
        Median over the samples of the density of living cells.
    probability : mapping of str to (z, y, x) float32 array
        For "whole" and "core": probability that a voxel is inside, over parameters and threshold.
    """

    day: float
    density: NDArray[np.float32]
    living: NDArray[np.float32]
    probability: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Score:
    """A forecast against a scan that it did not know, for one quantity.

    Parameters
    ----------
    quantity : str
        "whole" or "core" (enhancing tumor and necrosis).
    day : float
        Of the scan.
    observed_ml, forecast_ml, low_ml, high_ml : float
        Volumes: observed, forecast's median and central 90 %.
    dice : float
        Of the region that is more likely inside than not.
    volume_error_percent : float
        100 (forecast - observed) / observed.
    covered : bool
        Whether the observed volume is inside the band.
    last_scan_dice, last_scan_volume_error_percent : float
        The same if the last scan is carried forward.
    exponential_volume_error_percent : float
        The same if the volume goes on growing at the rate between the last two scans.
    """

    quantity: str
    day: float
    observed_ml: float
    forecast_ml: float
    low_ml: float
    high_ml: float
    dice: float
    volume_error_percent: float
    covered: bool
    last_scan_dice: float
    last_scan_volume_error_percent: float
    exponential_volume_error_percent: float

    @property
    def beats_last_scan(self) -> bool:
        """Whether it is closer than the last scan carried forward, in overlap or in volume."""
        return self.dice > self.last_scan_dice or abs(self.volume_error_percent) < abs(
            self.last_scan_volume_error_percent
        )


@dataclass(frozen=True, eq=False)
class Forecast:
    """A calibrated twin run forward.

    Parameters
    ----------
    patient_id : str
        Whose.
    reference_time : datetime
        Day 0.
    days : (n,) array
        Days of the curves, from the first scan used to the end of the forecast.
    volumes : mapping of str to Band
        Visible volumes in mL on `days`, for "whole" and "core" (enhancing tumor and necrosis). The bands hold what is
        not known of the parameters, the seed and the thresholds, not the error of drawing a contour.
    fields : tuple of ForecastField
        In space, at the days of the twin's scans after the last one used, and at the end.
    thresholds : mapping of str to float
        Density at each contour (the posterior's median).
    grid : Grid
        The twin's grid.
    history : tuple of Observation
        The scans that were used, by day.
    samples : int
        Draws from the posterior.
    findings : tuple of Finding
        What a reader should know.
    identity_removed : bool
        Nothing here says who it is.
    scores : tuple of Score
        Against each of the twin's scans after the last one used, for each quantity; none if the forecast is of another
        treatment than the one given.
    """

    patient_id: str
    reference_time: datetime
    days: NDArray[np.float64]
    volumes: Mapping[str, Band]
    fields: tuple[ForecastField, ...]
    thresholds: Mapping[str, float]
    grid: Grid
    history: tuple[Observation, ...]
    samples: int
    findings: tuple[Finding, ...] = ()
    identity_removed: bool = False
    scores: tuple[Score, ...] = ()

    @property
    def start(self) -> float:
        """Day of the last scan used: what is after it is forecast."""
        return self.history[-1].day

    def date(self, day: float) -> datetime:
        """Convert a day to its date and time."""
        return self.reference_time + timedelta(days=day)

    def field(self, day: float) -> ForecastField:
        """Find the forecast in space at a day.

        Raises
        ------
        InputError
            If that day was not asked for.
        """
        for f in self.fields:
            if abs(f.day - day) < 1e-6:
                return f
        have = ", ".join(f"{f.day:.1f}" for f in self.fields) or "none"
        raise InputError(f"the forecast has no field at day {day:.1f}, only at {have}: forecast with until= that day")

    def score(self, observation: Observation) -> dict[str, Score]:
        """Compare with a scan that was not used.

        Raises
        ------
        InputError
            If the scan was used, or the forecast has no field on its day.
        """
        if observation.day <= self.start:
            raise InputError(
                f"the scan of day {observation.day:.1f} is not after those used to calibrate (up to day "
                f"{self.start:.1f}): a forecast is scored on a later one"
            )
        field = self.field(observation.day)
        at = int(np.argmin(np.abs(self.days - observation.day)))
        last, seen = self.history[-1], observation.seen
        scores = {}
        for quantity in QUANTITIES:
            band, observed = self.volumes[quantity], contour_ml(observation, quantity)
            region = contour_share(observation, quantity) * seen
            past = [contour_ml(o, quantity) for o in self.history]
            scores[quantity] = Score(
                quantity,
                observation.day,
                observed,
                float(band.median[at]),
                float(band.p05[at]),
                float(band.p95[at]),
                dice((field.probability[quantity] > 0.5).astype(np.float32) * seen, region),
                volume_error_percent(float(band.median[at]), observed),
                bool(band.p05[at] <= observed <= band.p95[at]),
                dice(contour_share(last, quantity) * seen, region),
                volume_error_percent(past[-1], observed),
                volume_error_percent(exponential_ml([o.day for o in self.history], past, observation.day), observed),
            )
        return scores

    def scored(self, observations: Iterable[Observation]) -> Forecast:
        """Return the forecast scored on each scan after its start for which it has a field on that day."""
        held = [o for o in observations if o.day > self.start and any(abs(f.day - o.day) < 1e-6 for f in self.fields)]
        return replace(self, scores=tuple(score for o in held for score in self.score(o).values()))

    def rows(self) -> list[dict[str, str | float]]:
        """Tabulate the curves: day, date, and for each quantity the median, 5 % and 95 % in mL."""
        return [
            {
                "day": round(float(day), 4),
                "date": self.date(float(day)).isoformat(timespec="minutes"),
                "forecast": "yes" if day > self.start else "no",
                **{
                    f"{q}_{name}_ml": round(float(getattr(band, name)[i]), 4)
                    for q, band in self.volumes.items()
                    for name in ("median", "p05", "p95")
                },
            }
            for i, day in enumerate(self.days)
        ]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, passphrase: str | None = None) -> Path:
        """Write to one .npz file; a passphrase encrypts it (:mod:`tumortwin.vault`)."""
        return archive.save(self, path, overwrite=overwrite, passphrase=passphrase)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str | None = None) -> Forecast:
        """Read what :meth:`save` wrote."""
        return archive.load(path, cls, passphrase=passphrase)

    def __repr__(self) -> str:
        ends = ", ".join(
            f"{q} {b.median[-1]:.1f} ({b.p05[-1]:.1f} to {b.p95[-1]:.1f}) mL" for q, b in self.volumes.items()
        )
        span = f"day {self.start:.0f} to {self.days[-1]:.0f}"
        return f"Forecast({self.patient_id}, {span}: {ends}; {self.samples} samples)"
