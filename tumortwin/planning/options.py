"""The values of a comparison of schedules: options, and what becomes of the tumor."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortwin import archive
from tumortwin.calibration import Band, Calibration
from tumortwin.imaging.findings import Finding
from tumortwin.planning.dvh import DoseVolumeHistogram
from tumortwin.planning.effects import OrganEffect
from tumortwin.planning.given_dose import GivenDose
from tumortwin.therapy.schedule import Schedule

PROGRESSION = 1.4
"""Volume of the core over its nadir at progression."""

MEASURABLE_ML = 0.52
"""Least volume of the core that counts as progression: a ball of 10 mm, the least that RANO measures."""

DEFINITIONS = (
    "Time to progression: days from the start of radiotherapy until the predicted volume of the core is first 40 % "
    f"above its nadir (and at least {MEASURABLE_ML} mL). Within 12 weeks of radiotherapy, pseudoprogression is not "
    "told from progression.",
    "Intervals: 5th to 95th percentile over samples of the calibration's posterior; all options share the samples. "
    "A time that is not reached within the horizon is infinite.",
    "Options differ in radiotherapy only: drugs and surgery are as they were given.",
    "Doses of an option are the given dose map, scaled: same shape, another prescription.",
    "The search keeps each organ within its limit, or within what the delivered course did if that was more, and the "
    "brain within what the delivered course did (unless escalation was asked for).",
    "EQD2 of an organ: of its hottest 0.03 mL, with the alpha/beta of the limit's source.",
)
"""What the words of a comparison mean."""


class Source(StrEnum):
    """Where an option comes from."""

    DELIVERED = "delivered"
    CLINICAL = "clinical"
    SEARCH = "search"


@dataclass(frozen=True)
class Interval:
    """Median and central 90 % over samples; an end that lies beyond the horizon is infinite."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: NDArray[np.floating]) -> Interval:
        """Of (n,) samples, each end one of them, so that infinite ones do no harm."""
        low, median, high = np.quantile(samples, (0.05, 0.5, 0.95), method="inverted_cdf")
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What becomes of the tumor.

    Parameters
    ----------
    days : (n,) array
        On the twin's clock, from the start of radiotherapy to the horizon.
    volumes_ml : mapping of str to Band
        Visible volumes on `days`, for "whole" and "core".
    progression : Interval
        Time to progression in days from the start of radiotherapy.
    progression_free : float
        Share of the samples without progression up to the horizon.
    final_ml : Interval
        Volume of the core at the horizon, mL.
    samples : (m,) array
        Time to progression of each sample.
    """

    days: NDArray[np.float64]
    volumes_ml: Mapping[str, Band]
    progression: Interval
    progression_free: float
    final_ml: Interval
    samples: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlanOption:
    """One schedule and what the twin says of it.

    Parameters
    ----------
    source : Source
        Where it comes from.
    schedule : Schedule
        Fractions; doses at the prescription point.
    tumor_bed, tumor_eqd2 : float
        Of the prescription, with the tumor's alpha/beta, in Gy.
    organs : tuple of OrganEffect
        By structure.
    outcome : Outcome
        From the 3-D model.
    """

    source: Source
    schedule: Schedule
    tumor_bed: float
    tumor_eqd2: float
    organs: tuple[OrganEffect, ...]
    outcome: Outcome

    @property
    def name(self) -> str:
        """The schedule's."""
        return self.schedule.name

    @property
    def met(self) -> bool:
        """Whether all limits are kept."""
        return all(check.met for organ in self.organs for check in organ.checks)


@dataclass(frozen=True, eq=False)
class PlanFront:
    """Schedules compared on one calibrated twin. Research use only, not for clinical decisions.

    Parameters
    ----------
    calibration : Calibration
        The twin and its numbers.
    options : tuple of PlanOption
        As delivered, the clinical schedules, none, and what the search found.
    start, horizon : float
        First day of radiotherapy and last day looked at, on the twin's clock.
    constraint_set : str
        Name of the limits in use.
    alpha_beta : float
        Of the tumor, Gy.
    prescription_point : str
        What prescribed doses refer to.
    histograms : tuple of DoseVolumeHistogram
        Physical total dose of the given plan, by structure.
    rank_agreement : float
        Kendall's tau between the orders in which the cheap model of the search and the 3-D model put the options.
    findings : tuple of Finding
        What a reader should know.
    given : GivenDose or None
        The given dose that all options scale, with the limits in use; None in a plan that was saved by tumortwin 0.1.0,
        which did not keep it.
    """

    calibration: Calibration
    options: tuple[PlanOption, ...]
    start: float
    horizon: float
    constraint_set: str
    alpha_beta: float
    prescription_point: str
    histograms: tuple[DoseVolumeHistogram, ...]
    rank_agreement: float
    findings: tuple[Finding, ...] = ()
    given: GivenDose | None = None

    @property
    def delivered(self) -> PlanOption:
        """The course as it was given."""
        return next(o for o in self.options if o.source is Source.DELIVERED)

    @property
    def start_date(self) -> datetime:
        """First day of radiotherapy."""
        return self.calibration.twin.date(self.start)

    @property
    def horizon_days(self) -> float:
        """Days from the start of radiotherapy to the horizon."""
        return self.horizon - self.start

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, passphrase: str | None = None) -> Path:
        """Write to one .npz file, calibration and twin included; a passphrase encrypts it (:mod:`tumortwin.vault`)."""
        return archive.save(self, path, overwrite=overwrite, passphrase=passphrase)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str | None = None) -> PlanFront:
        """Read what :meth:`save` wrote."""
        return archive.load(path, cls, passphrase=passphrase)

    def rows(self) -> list[dict[str, str]]:
        """Return the comparison as text, a row for each option."""
        return [
            {
                "schedule": o.name,
                "from": o.source.value,
                "Gy": f"{o.schedule.total:.1f}",
                "fractions": str(len(o.schedule.doses)),
                "tumor BED": f"{o.tumor_bed:.1f}",
                "tumor EQD2": f"{o.tumor_eqd2:.1f}",
                "progression (days)": self._days(o.outcome.progression),
                "progression-free": f"{100 * o.outcome.progression_free:.0f} %",
                "limits": "kept"
                if o.met
                else "; ".join(str(check) for organ in o.organs for check in organ.checks if not check.met),
            }
            for o in self.options
        ]

    def _days(self, interval: Interval) -> str:
        median, low, high = (
            f"{v:.0f}" if math.isfinite(v) else f"> {self.horizon_days:.0f}"
            for v in (interval.median, interval.low, interval.high)
        )
        return f"{median} ({low} to {high})"

    def __repr__(self) -> str:
        rows = self.rows()
        table = [list(rows[0]), *(list(row.values()) for row in rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join(
            [
                f"PlanFront of {self.calibration.twin.patient_id}, limits {self.constraint_set}, horizon "
                f"{self.horizon_days:.0f} days (research use only)",
                *lines,
            ]
        )

    def _repr_html_(self) -> str:
        rows = self.rows()
        head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
        notes = "".join(f"<li>{escape(line)}</li>" for line in (*DEFINITIONS, *map(str, self.findings)))
        return (
            f"<table><caption>{escape(self.calibration.twin.patient_id)}, limits {escape(self.constraint_set)}. "
            f"Research use only, not for clinical decisions.</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><ul>{notes}</ul>"
        )


def time_to_progression(days: NDArray[np.floating], volumes_ml: NDArray[np.floating]) -> float:
    """First time at which a volume is 40 % above its nadir so far, and measurable.

    Parameters
    ----------
    days : (n,) array
        Ascending.
    volumes_ml : (n,) array
        Volume of the core in mL.

    Returns
    -------
    float
        On the clock of `days`, interpolated between them; infinite if it is not reached.
    """
    nadir = np.minimum.accumulate(volumes_ml)
    level = np.maximum(PROGRESSION * nadir, MEASURABLE_ML)
    # a tumor that has just come down to its nadir is not above it
    above = np.flatnonzero((volumes_ml >= level) & (volumes_ml > nadir))
    if not len(above):
        return math.inf
    k = above[0]
    share = (level[k] - volumes_ml[k - 1]) / (volumes_ml[k] - volumes_ml[k - 1])
    return float(days[k - 1] + np.clip(share, 0, 1) * (days[k] - days[k - 1]))
