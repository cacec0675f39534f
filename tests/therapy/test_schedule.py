"""Fractions on the calendar."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.therapy import CLINICAL_SCHEDULES, Prescription, Schedule, weekday_times

MONDAY = datetime(2024, 2, 5, 10)


def test_thirty_from_a_monday_end_on_day_39() -> None:
    times = weekday_times(MONDAY, 30)
    assert (times[-1] - times[0]).days == 39
    assert all(t.hour == 10 for t in times)


def test_a_weekend_start_waits_for_monday_and_holidays_are_left_out() -> None:
    assert weekday_times(MONDAY - timedelta(days=2), 1) == (MONDAY,)
    times = weekday_times(MONDAY, 5, closed={date(2024, 2, 7)})
    assert [t.day for t in times] == [5, 6, 8, 9, 12]


def test_twice_a_day() -> None:
    times = weekday_times(MONDAY, 5, per_day=2)
    assert [(t.day, t.hour) for t in times] == [(5, 10), (5, 16), (6, 10), (6, 16), (7, 10)]
    with pytest.raises(InputError, match="midnight"):
        weekday_times(MONDAY.replace(hour=20), 4, per_day=2)


@given(offset=st.integers(0, 400), n=st.integers(0, 70), per_day=st.integers(1, 3), seed=st.sets(st.integers(0, 60)))
def test_calendar_properties(offset: int, n: int, per_day: int, seed: set[int]) -> None:
    start = datetime(2024, 1, 1, 7) + timedelta(days=offset)
    closed = {(start + timedelta(days=k)).date() for k in seed}
    times = weekday_times(start, n, per_day=per_day, closed=closed)
    assert len(times) == n
    assert list(times) == sorted(set(times))
    assert all(t.weekday() < 5 and t.date() not in closed and t >= start for t in times)
    on_each_day = [sum(t.date() == day for t in times) for day in {t.date() for t in times}]
    assert max(on_each_day, default=0) <= per_day


def test_clinical_schedules() -> None:
    assert [(s.total, s.fractions) for s in CLINICAL_SCHEDULES] == [
        (60, 30),
        (pytest.approx(40), 15),
        (34, 10),
        (25, 5),
        (0, 0),
    ]
    assert all(s.reference for s in CLINICAL_SCHEDULES)
    standard = CLINICAL_SCHEDULES[0].schedule(MONDAY)
    assert (standard.total, standard.days) == (60, 40)
    assert standard.bed(10) == pytest.approx(72)
    assert standard.eqd2(3) == pytest.approx(60)
    assert standard.eqd2(3, share=0.5) == pytest.approx(30 * (1 + 3) / (2 + 3))
    nothing = CLINICAL_SCHEDULES[-1].schedule(MONDAY)
    assert (nothing.total, nothing.days, nothing.bed(10)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("times", "doses"),
    [((MONDAY,), ()), ((MONDAY, MONDAY), (2.0, 2.0)), ((MONDAY,), (-2.0,)), ((MONDAY,), (float("nan"),))],
)
def test_impossible_schedules(times: tuple[datetime, ...], doses: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        Schedule("x", times, doses)


def test_impossible_prescription() -> None:
    with pytest.raises(InputError):
        Prescription("x", 2.0, -1).schedule(MONDAY)
