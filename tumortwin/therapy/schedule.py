"""Radiotherapy on the calendar: prescriptions, and the schedules they become from a start date."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from tumortwin.errors import InputError
from tumortwin.therapy.linear_quadratic import bed, bed_to_eqd2

BID_INTERVAL = timedelta(hours=6)
"""Least interval between two fractions of a day (Joiner & van der Kogel 2009, chapter 9)."""


LAST_YEAR = 9000
"""Of what can be put on the calendar."""


@dataclass(frozen=True)
class Schedule:
    """Fractions with their doses and times.

    Parameters
    ----------
    name : str
        "60 Gy / 30", "as delivered".
    times : tuple of datetime
        Of the fractions, ascending.
    doses : tuple of float
        Of the fractions at the prescription point, in Gy.
    reference : str
        Trial or guideline it is from; may be empty.

    Raises
    ------
    InputError
        If times and doses do not match, times do not ascend or a dose is not a positive number.
    """

    name: str
    times: tuple[datetime, ...] = ()
    doses: tuple[float, ...] = ()
    reference: str = ""

    def __post_init__(self) -> None:
        if len(self.times) != len(self.doses):
            raise InputError(f"{self.name}: {len(self.times)} times but {len(self.doses)} doses")
        if any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise InputError(f"{self.name}: the times of fractions must ascend")
        if not all(np.isfinite(d) and d > 0 for d in self.doses):
            raise InputError(f"{self.name}: fraction doses are finite and > 0 Gy, not {self.doses}")

    @property
    def total(self) -> float:
        """Total dose in Gy."""
        return float(sum(self.doses))

    @property
    def days(self) -> int:
        """Overall treatment time: calendar days from the first to the last fraction, both counted."""
        return (self.times[-1].date() - self.times[0].date()).days + 1 if self.times else 0

    def bed(self, alpha_beta: float, share: float = 1.0) -> float:
        """BED in Gy at a point that gets `share` of the prescribed dose; repair between fractions is complete."""
        return float(np.sum(bed(share * np.array(self.doses), 1, alpha_beta)))

    def eqd2(self, alpha_beta: float, share: float = 1.0) -> float:
        """EQD2 in Gy at a point that gets `share` of the prescribed dose."""
        return float(bed_to_eqd2(self.bed(alpha_beta, share), alpha_beta))


@dataclass(frozen=True)
class Prescription:
    """A course before it has a date: so many fractions of one size on weekdays.

    Parameters
    ----------
    name : str
        "60 Gy / 30".
    dose_per_fraction : float
        Gy.
    fractions : int
        How many; 0 is no radiotherapy.
    per_day : int
        Fractions a day, six hours apart.
    reference : str
        Trial or guideline it is from; may be empty.
    """

    name: str
    dose_per_fraction: float
    fractions: int
    per_day: int = 1
    reference: str = ""

    @property
    def total(self) -> float:
        """Total dose in Gy."""
        return self.dose_per_fraction * self.fractions

    def schedule(self, start: datetime, *, closed: Collection[date] = ()) -> Schedule:
        """Build the schedule from a start date; see :func:`weekday_times`."""
        times = weekday_times(start, self.fractions, per_day=self.per_day, closed=closed)
        return Schedule(self.name, times, (float(self.dose_per_fraction),) * self.fractions, self.reference)


def weekday_times(
    start: datetime,
    fractions: int,
    *,
    per_day: int = 1,
    interval: timedelta = BID_INTERVAL,
    closed: Collection[date] = (),
) -> tuple[datetime, ...]:
    """Compute the times of fractions on weekdays: thirty from a Monday (day 0) end on day 39, not 42.

    Parameters
    ----------
    start : datetime
        Not before this; the hour is that of the first fraction of each day. On a weekend or a closed day treatment
        begins on the next open day.
    fractions : int
        How many.
    per_day : int
        Fractions a day.
    interval : timedelta
        Between the fractions of a day.
    closed : collection of date
        Days without treatment: holidays, gaps.

    Returns
    -------
    tuple of datetime
        Ascending.
    """
    if fractions < 0 or per_day < 1:
        raise InputError(f"a course has >= 0 fractions and >= 1 a day, not {fractions} and {per_day}")
    if per_day > 1 and start.date() != (start + (per_day - 1) * interval).date():
        raise InputError(f"{per_day} fractions {interval} apart from {start:%H:%M} run past midnight: start earlier")
    times: list[datetime] = []
    day = start
    while len(times) < fractions:
        if day.weekday() < 5 and day.date() not in closed:
            times += [day + k * interval for k in range(min(per_day, fractions - len(times)))]
        if day.year >= LAST_YEAR:
            raise InputError(
                f"{fractions} fractions from {start:%Y-%m-%d} run past the year {LAST_YEAR}: correct the date"
            )
        day += timedelta(days=1)
    return tuple(times)


CLINICAL_SCHEDULES = (
    Prescription("60 Gy / 30", 2.0, 30, reference="Stupp 2005, doi:10.1056/NEJMoa043330"),
    Prescription("40 Gy / 15", 40 / 15, 15, reference="Roa 2004, doi:10.1200/JCO.2004.06.082"),
    Prescription("34 Gy / 10", 3.4, 10, reference="Malmström 2012, doi:10.1016/S1470-2045(12)70265-6"),
    Prescription("25 Gy / 5", 5.0, 5, reference="Roa 2015, doi:10.1200/JCO.2015.62.6606"),
    Prescription("no radiotherapy", 0.0, 0, reference="Keime-Guibert 2007, doi:10.1056/NEJMoa065901"),
)
"""What is given to glioblastoma in practice: standard, three short courses for the elderly or frail, and none."""
