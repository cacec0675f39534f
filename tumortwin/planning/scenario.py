"""One schedule, simulated once: what a slider asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.calibration import Calibration
from tumortwin.errors import InputError
from tumortwin.planning.effects import OrganEffect
from tumortwin.planning.given_dose import GivenDose, given_dose
from tumortwin.planning.options import time_to_progression
from tumortwin.therapy.schedule import Prescription, Schedule

CURVE_DAYS = 7.0
"""Time between two points of the curve."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """A schedule at the most probable parameters, without their uncertainty.

    Parameters
    ----------
    schedule : Schedule
        What is given.
    days : (n,) array
        On the twin's clock, from the first scan used to the horizon.
    volumes_ml : mapping of str to (n,) array
        Volumes that scans would show, for "whole" and "core".
    progression : float
        Days from the start of radiotherapy until the core's volume is first 40 % above its nadir; infinite if that
        is beyond the horizon.
    tumor_bed, tumor_eqd2 : float
        Of the prescription, Gy.
    organs : tuple of OrganEffect
        What it does to organs at risk.
    """

    schedule: Schedule
    days: NDArray[np.float64]
    volumes_ml: Mapping[str, NDArray[np.float64]]
    progression: float
    tumor_bed: float
    tumor_eqd2: float
    organs: tuple[OrganEffect, ...]


class ScenarioMaker:
    """Simulates schedules on a calibrated twin, one after the other.

    Parameters
    ----------
    fit : Calibration
        The calibrated twin.
    given : GivenDose, optional
        The given dose with the limits of organs at risk, as a `PlanFront` carries it; without it, the twin's with
        QUANTEC's limits.
    horizon_days : float
        How far to look, from the first fraction.

    Raises
    ------
    InputError
        If the twin has no radiotherapy to take the dose's shape and start from, or the horizon is not positive.
    """

    def __init__(self, fit: Calibration, given: GivenDose | None = None, horizon_days: float = 270.0) -> None:
        if not horizon_days > 0:
            raise InputError(f"the horizon is a positive number of days, not {horizon_days}")
        self._fit, self._given = fit, given_dose(fit.twin) if given is None else given
        self._start = self._given.days[0]
        self._days = np.unique(
            [*np.arange(fit.start, self._start + horizon_days, CURVE_DAYS), self._start + horizon_days]
        )

    @property
    def delivered(self) -> Schedule:
        """The course as it was given."""
        return self._given.schedule

    def prescribed(self, prescription: Prescription) -> Scenario:
        """Give a prescription from the real course's first day on."""
        return self.simulate(prescription.schedule(self._given.schedule.times[0]))

    def simulate(self, schedule: Schedule) -> Scenario:
        """Give a schedule with the shape of the given dose."""
        fit, ratio = self._fit, self._fit.parameters.alpha_beta
        course = fit.trajectory(self._days, irradiations=self._given.irradiations(schedule, fit.twin))
        volumes = fit.visible_ml(course)
        after = self._days >= self._start
        return Scenario(
            schedule,
            self._days,
            volumes,
            time_to_progression(self._days[after] - self._start, volumes["core"][after]),
            schedule.bed(ratio),
            schedule.eqd2(ratio),
            self._given.effects(schedule),
        )
