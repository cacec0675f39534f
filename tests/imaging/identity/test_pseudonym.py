from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tumortwin.imaging.identity.pseudonym import Pseudonym, shift_date, shift_datetime, time_of_day

KEY = bytes(range(32))


@given(st.text(min_size=1, max_size=40), st.binary(min_size=32, max_size=32))
def test_shifts_are_whole_weeks_from_one_to_twenty_years_back(patient, key):
    shift = Pseudonym(key, patient).shift
    assert shift == timedelta(weeks=shift.days // 7)
    assert -21 * 366 < shift.days <= -366


@given(st.dates(min_value=datetime(1930, 1, 1).date()), st.dates(min_value=datetime(1930, 1, 1).date()))
def test_intervals_and_days_of_the_week_stay(one, other):
    shift = Pseudonym(KEY, "p").shift
    moved = [datetime.strptime(shift_date(f"{d:%Y%m%d}", shift), "%Y%m%d").date() for d in (one, other)]
    assert moved[1] - moved[0] == other - one
    assert [d.weekday() for d in moved] == [one.weekday(), other.weekday()]


def test_pseudonyms_follow_from_key_and_patient_only():
    assert Pseudonym(KEY, "A").name == Pseudonym(KEY, " A ").name != Pseudonym(KEY, "B").name
    assert (
        Pseudonym(KEY, "A").uid("1.2.3") == Pseudonym(KEY, "B").uid("1.2.3 ") != Pseudonym(KEY[::-1], "A").uid("1.2.3")
    )
    assert Pseudonym(KEY, "A").uid("1.2.3").is_valid


def test_forms_of_dates_and_times():
    week = timedelta(weeks=-1)
    assert (
        shift_date("2024.01.08", week) == shift_date("20240108 ", week) == shift_date("2024-01-08", week) == "20240101"
    )
    assert shift_datetime("20240108112233.5+0100", week) == "20240101112233.5"
    assert shift_datetime("20240108", week) == "20240101"
    assert [shift_date(bad, week) for bad in ("Smith", "202401", "20241301", "00010101", "20240108x")] == [None] * 5
    assert [shift_datetime(bad, week) for bad in ("2024", "20240108 Smith")] == [None, None]
    assert time_of_day("11:22:33") == time_of_day("112233 ") == "112233"
    assert time_of_day("Smith") is None
