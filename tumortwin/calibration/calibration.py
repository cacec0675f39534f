"""A calibrated twin: what its numbers are, how well they are known, and what follows from them."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortwin import archive
from tumortwin.arguments import require, require_date, require_rng
from tumortwin.calibration.course import Box, GrowthCourse, Trajectory, cropped, growth_parameters, slices_of
from tumortwin.calibration.ensemble import normal_draws
from tumortwin.calibration.forecast import Band, Forecast, ForecastField
from tumortwin.calibration.observation import QUANTITIES
from tumortwin.calibration.unknowns import CLEARANCE, Unknown
from tumortwin.errors import InputError
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.imaging.findings import Finding
from tumortwin.progress import Progress, automatic, bar_in_notebooks
from tumortwin.threads import one_blas_thread, pool_of
from tumortwin.twin import Administration, Irradiation, Twin

CURVE_DAYS = 5.0
"""Longest time between two points of a curve."""

MOVED = 0.8
"""An unknown was moved by the data if its width is below this part of its prior's."""


@dataclass(frozen=True)
class Estimate:
    """One number of the model after the fit.

    Parameters
    ----------
    name, symbol, unit : str
        Name in code, symbol in formulas, unit of the numbers.
    value, low, high : float
        Maximum of the posterior and central 90 %.
    prior : str
        The prior's median and central 90 %.
    source : str
        Where the prior is from.
    fitted : bool
        Whether the scans could tell about it at all; if not, it is the prior.
    moved : bool
        Whether they did: the interval is clearly narrower than the prior's.
    """

    name: str
    symbol: str
    value: float
    unit: str
    low: float
    high: float
    prior: str
    source: str
    fitted: bool
    moved: bool


@dataclass(frozen=True)
class Diagnostics:
    """How the fit went.

    Parameters
    ----------
    solves : int
        Solutions of the growth equation.
    converged : bool
        Whether the search ended by itself.
    reduced_chi2 : mapping of str to float
        Mean square residual of each kind of data, in units of `sigma`. As `sigma` was estimated from an earlier round,
        values near 1 say that the last round changed little, not that the model is right.
    sigma : mapping of str to float
        Standard deviation of a voxel as estimated from the misfit: shares of a voxel for "whole" and "core",
        density for "density". This is the measure of how well the model fits.
    correlation_mm : tuple of 3 float
        Correlation length of the residuals along z, y, x.
    voxels_per_sample : float
        Effective voxels per independent sample. Errors are correlated: between neighbors, and at one place over
        contours and visits.
    wall_density : float
        Highest density on the faces of the fit's box.
    accepted : float
        Share of the posterior's draws that agree with the scans; well below 1 where the posterior is not normal.
    """

    solves: int
    converged: bool
    reduced_chi2: Mapping[str, float]
    sigma: Mapping[str, float]
    correlation_mm: tuple[float, ...]
    voxels_per_sample: float
    wall_density: float
    accepted: float = 1.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """A twin with the posterior of its numbers, a normal distribution in transformed space.

    Parameters
    ----------
    twin : Twin
        The twin, with all its observations.
    visits : tuple of int
        Indices of the observations that were used.
    box : tuple of (start, stop)
        Part of the twin's grid that is simulated.
    start : float
        Day of the first scan used.
    center : (3,) array
        Index (z, y, x) in the box of the first scan's tumor centre, which the seed's place counts from.
    unknowns : tuple of Unknown
        All unknowns with their priors.
    fitted : tuple of str
        Names of those that the scans could tell about.
    mean : (n,) array
        Maximum of the posterior in transformed space.
    covariance : (n, n) array
        Its covariance; the prior's for what was not fitted.
    seed : int
        Of the samples drawn by default.
    diagnostics : Diagnostics
        How the fit went.
    findings : tuple of Finding
        What a reader should know.
    ensemble : (m, n) array or None
        Draws from the posterior, in transformed space, each of which agrees with the scans used. Without it samples are
        drawn from the normal distribution.
    """

    twin: Twin
    visits: tuple[int, ...]
    box: Box
    start: float
    center: NDArray[np.float64]
    unknowns: tuple[Unknown, ...]
    fitted: tuple[str, ...]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    seed: int
    diagnostics: Diagnostics
    findings: tuple[Finding, ...] = ()
    ensemble: NDArray[np.float64] | None = None

    @cached_property
    def course(self) -> GrowthCourse:
        """The growth problem on the box."""
        return GrowthCourse(cropped(self.twin, self.box), self.start, self.center)

    @property
    def values(self) -> dict[str, float]:
        """Every unknown at the maximum of the posterior, in its unit."""
        return self._values(self.mean)

    @property
    def parameters(self) -> GrowthParameters:
        """The growth equation's parameters at the maximum of the posterior."""
        return growth_parameters(self.values)

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """The table of numbers: value, 90 % interval, unit, prior and its source."""
        spreads = np.sqrt(np.diag(self.covariance))
        return tuple(
            Estimate(
                u.name,
                u.symbol,
                u.scale.back(m),
                u.unit,
                *u.interval(m, s),
                u.describe_prior(),
                u.source,
                u.name in self.fitted,
                bool(s < MOVED * u.spread),
            )
            for u, m, s in zip(self.unknowns, self.mean, spreads, strict=True)
        )

    def estimate(self, name: str) -> Estimate:
        """One row of the table.

        Raises
        ------
        InputError
            If there is no such unknown.
        """
        for e in self.estimates:
            if e.name == name:
                return e
        raise InputError(f"there is no unknown {name!r}; there are {', '.join(u.name for u in self.unknowns)}")

    def correlation(self, a: str, b: str) -> float:
        """Correlation of two unknowns in transformed space."""
        names = [u.name for u in self.unknowns]
        i, j = names.index(a), names.index(b)
        return float(self.covariance[i, j] / np.sqrt(self.covariance[i, i] * self.covariance[j, j]))

    def sample(self, n: int, rng: int | np.random.Generator | None = None) -> list[dict[str, float]]:
        """Draw unknowns from the posterior: members of the ensemble, each once before any is drawn again.

        Parameters
        ----------
        n : int
            How many.
        rng : int or numpy.random.Generator, optional
            The calibration's own seed if not given.

        Returns
        -------
        list of dict
            Every unknown in its unit.
        """
        generator = np.random.default_rng(self.seed if rng is None else rng)
        if self.ensemble is None:
            draws = normal_draws(self.mean, self.covariance, n, generator)
            low, high = np.array([u.bounds for u in self.unknowns]).T
            return [self._values(t) for t in np.clip(draws, low, high)]
        rounds = [generator.permutation(len(self.ensemble)) for _ in range(-(-n // len(self.ensemble)))]
        return [self._values(self.ensemble[i]) for i in np.concatenate(rounds)[:n]]

    def initial_state(self, values: Mapping[str, float] | None = None) -> NDArray[np.float32]:
        """Density at the first scan, (z, y, x) on the twin's grid, as the fit has it."""
        return self.embedded(self.trajectory([self.start], values=values).living[0])

    def trajectory(
        self,
        days: Iterable[float],
        *,
        values: Mapping[str, float] | None = None,
        irradiations: Iterable[Irradiation] | None = None,
        administrations: Iterable[Administration] | None = None,
    ) -> Trajectory:
        """Living and killed cells in the fit's box at some days.

        Parameters
        ----------
        days : iterable of float
            When, from the first scan on.
        values : mapping of str to float, optional
            The unknowns, from :meth:`sample`; the maximum of the posterior if not given.
        irradiations, administrations : iterables, optional
            Another treatment, with doses on the twin's grid, in place of the twin's own; ``()`` for none.

        Raises
        ------
        InputError
            If a day is before the first scan.
        """
        wanted = sorted({float(d) for d in days})
        if not wanted or wanted[0] < self.start or not np.isfinite(wanted).all():
            raise InputError(f"days are finite and not before the first scan used (day {self.start}), not {wanted[:1]}")
        if irradiations is not None:
            irradiations = cropped(replace(self.twin, irradiations=tuple(irradiations)), self.box).irradiations
        return self.course.solve(
            values or self.values, wanted, irradiations=irradiations, administrations=administrations
        )

    def simulate(
        self,
        until: float,
        *,
        values: Mapping[str, float] | None = None,
        irradiations: Iterable[Irradiation] | None = None,
        administrations: Iterable[Administration] | None = None,
    ) -> Trajectory:
        """:meth:`trajectory` from the first scan to a day, on every scan and at most five days apart: for curves."""
        days = {
            *np.arange(self.start, until, CURVE_DAYS).tolist(),
            float(until),
            *(o.day for o in self.twin.observations if self.start <= o.day <= until),
        }
        return self.trajectory(days, values=values, irradiations=irradiations, administrations=administrations)

    def embedded(self, part: NDArray[np.floating]) -> NDArray[np.float32]:
        """Embed a field of the box in the twin's whole grid; 0 outside the box."""
        whole = np.zeros(self.twin.domain.grid.shape, np.float32)
        whole[slices_of(self.box)] = part
        return whole

    def visible_ml(
        self, trajectory: Trajectory, values: Mapping[str, float] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Volumes in mL that scans on a trajectory's days would show, for "whole" and "core"."""
        v = values or self.values
        voxel = self.twin.domain.grid.voxel_volume / 1000
        seen = [trajectory.visible(i, v[CLEARANCE.name]) for i in range(len(trajectory.days))]
        return {q: np.array([np.count_nonzero(s > v[u.name]) for s in seen]) * voxel for q, u in QUANTITIES.items()}

    @bar_in_notebooks
    @one_blas_thread()
    def forecast(
        self,
        until: datetime | float,
        *,
        samples: int = 20,
        rng: int | np.random.Generator | None = None,
        irradiations: Iterable[Irradiation] | None = None,
        administrations: Iterable[Administration] | None = None,
        days: Iterable[float] = (),
        threads: int = 1,
        progress: Progress = automatic,
    ) -> Forecast:
        """Run samples of the posterior forward.

        Parameters
        ----------
        until : datetime or float
            Last day.
        samples : int
            Draws from the posterior, at least 2; the band's ends need about 20.
        rng : int or numpy.random.Generator, optional
            The calibration's own seed if not given.
        irradiations, administrations : iterables, optional
            Another treatment in place of the twin's own; ``()`` for none.
        days : iterable of float
            Further days at which the forecast in space is wanted.
        threads : int
            Samples that run at the same time.
        progress : Progress
            Told after each sample; cancels by raising. By default a bar in notebooks, nothing elsewhere.

        Returns
        -------
        Forecast

        Raises
        ------
        InputError
            If the end is not after the last scan used.
        """
        require(until, (datetime, int, float, np.number), "until takes a datetime, or a day on the twin's clock")
        require(samples, (int, np.integer), "samples takes a whole number")
        if rng is not None:
            require_rng(rng)
        if isinstance(until, datetime):
            require_date(until, "until")
        end = self.twin.day(until) if isinstance(until, datetime) else float(until)
        last = self.twin.observations[self.visits[-1]].day
        if not end > last:
            raise InputError(f"a forecast ends after the last scan used (day {last:.1f}), not on day {end:.1f}")
        if samples < 2:
            raise InputError(f"a band needs at least 2 samples, not {samples}")
        later = {o.day for o in self.twin.observations if last < o.day <= end}
        at = sorted(later | {end} | {float(d) for d in days})
        curve = np.arange(self.start, end, CURVE_DAYS)
        # an iterator given for the treatment must not be used up by the first sample
        fractions = None if irradiations is None else tuple(irradiations)
        drugs = None if administrations is None else tuple(administrations)
        every = sorted({*curve.tolist(), *(self.twin.observations[v].day for v in self.visits), *at})
        places = [every.index(d) for d in at]

        def run(values: dict[str, float]) -> tuple[dict[str, NDArray], NDArray, NDArray, dict[str, NDArray]]:
            course = self.trajectory(every, values=values, irradiations=fractions, administrations=drugs)
            visible = np.stack([course.visible(i, values[CLEARANCE.name]) for i in places])
            inside = {q: visible > values[u.name] for q, u in QUANTITIES.items()}
            return self.visible_ml(course, values), visible, course.living[places], inside

        results = []
        with pool_of(threads) as pool:
            for done, result in enumerate(pool.map(run, self.sample(samples, rng)), 1):
                results.append(result)
                progress(done, samples, "forecast")
        fields = tuple(
            ForecastField(
                day,
                self.embedded(np.median([r[1][i] for r in results], axis=0)),
                self.embedded(np.median([r[2][i] for r in results], axis=0)),
                {q: self.embedded(np.mean([r[3][q][i] for r in results], axis=0)) for q in QUANTITIES},
            )
            for i, day in enumerate(at)
        )
        forecast = Forecast(
            self.twin.patient_id,
            self.twin.reference_time,
            np.array(every),
            {q: Band.of(np.array([r[0][q] for r in results])) for q in QUANTITIES},
            fields,
            {q: self.values[u.name] for q, u in QUANTITIES.items()},
            self.twin.domain.grid,
            tuple(self.twin.observations[v] for v in self.visits),
            samples,
            self.findings,
            identity_removed=self.twin.identity_removed,
        )
        # what was observed says nothing of another treatment
        return forecast.scored(self.twin.observations) if fractions is None and drugs is None else forecast

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, passphrase: str | None = None) -> Path:
        """Write to one .npz file, twin included; a passphrase encrypts it (:mod:`tumortwin.vault`)."""
        return archive.save(self, path, overwrite=overwrite, passphrase=passphrase)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str | None = None) -> Calibration:
        """Read what :meth:`save` wrote."""
        return archive.load(path, cls, passphrase=passphrase)

    def _values(self, theta: NDArray[np.float64]) -> dict[str, float]:
        return {u.name: u.scale.back(t) for u, t in zip(self.unknowns, theta, strict=True)}

    def __repr__(self) -> str:
        lines = [
            f"Calibration of {self.twin.patient_id} on visits {', '.join(map(str, self.visits))} "
            f"({self.diagnostics.solves} solves)"
        ]
        for e in self.estimates:
            note = "" if e.fitted else "  (prior)"
            lines.append(f"  {e.name:20} {e.value:9.4g} [{e.low:.3g}, {e.high:.3g}] {e.unit}{note}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(e.name)}</td><td>{e.value:.3g}</td><td>{e.low:.3g} to {e.high:.3g}</td>"
            f"<td>{html.escape(e.unit)}</td><td>{html.escape(e.prior)}</td>"
            f"<td>{'data' if e.moved else 'prior, hardly moved' if e.fitted else 'prior only'}</td></tr>"
            for e in self.estimates
        )
        notes = "".join(f"<li>{html.escape(str(f))}</li>" for f in self.findings)
        caption = f"{html.escape(self.twin.patient_id)}, visits {', '.join(map(str, self.visits))}. Research use only."
        heads = ("number", "value", "90 % interval", "unit", "prior: median (90 %)", "known from")
        return (
            f"<table><caption>{caption}</caption><thead><tr>{''.join(f'<th>{h}</th>' for h in heads)}</tr></thead>"
            f"<tbody>{rows}</tbody></table><ul>{notes}</ul>"
        )
