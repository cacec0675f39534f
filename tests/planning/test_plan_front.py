"""Comparing schedules on a small twin."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.calibration import Calibration
from tumortwin.errors import Cancelled, InputError
from tumortwin.planning import (
    CLINICAL_SCHEDULES,
    QUANTEC,
    Interval,
    PlanFront,
    Source,
    optimize_dose,
    time_to_progression,
)
from tumortwin.planning.given_dose import given_dose


@pytest.fixture(scope="module")
def front(fit: Calibration) -> PlanFront:
    return optimize_dose(fit, horizon_days=180, samples=4, threads=1)


def test_every_schedule_is_on_the_chart(front: PlanFront) -> None:
    names = [o.name for o in front.options]
    assert names[0] == "as delivered"
    assert names[1:6] == [p.name for p in CLINICAL_SCHEDULES]
    assert len(set(names)) == len(names)
    sources = [o.source for o in front.options]
    assert sources[:6] == [Source.DELIVERED] + [Source.CLINICAL] * 5
    assert set(sources[6:]) == {Source.SEARCH}
    assert front.delivered is front.options[0]
    assert front.start_date == front.delivered.schedule.times[0]
    assert front.horizon_days == 180
    standard = front.options[1]
    assert standard.tumor_bed == pytest.approx(60 * (1 + 2 / front.alpha_beta))
    assert standard.tumor_eqd2 == pytest.approx(60)
    assert all(o.schedule.times[0] == front.start_date for o in front.options if o.schedule.times)


def test_the_delivered_course_is_the_twins_own(fit: Calibration, front: PlanFront) -> None:
    outcome = front.delivered.outcome
    runs = [fit.visible_ml(fit.trajectory(outcome.days, values=v), v)["core"] for v in fit.sample(4, 0)]
    assert outcome.volumes_ml["core"].median == pytest.approx(np.median(runs, axis=0))
    assert sorted(outcome.samples) == pytest.approx(
        sorted(time_to_progression(outcome.days - front.start, r) for r in runs)
    )
    # and 60 Gy in 30 from the same Monday is nearly the same course
    assert front.options[1].outcome.volumes_ml["core"].median == pytest.approx(
        outcome.volumes_ml["core"].median, rel=0.05, abs=0.2
    )


def test_more_effect_is_later_progression(front: PlanFront) -> None:
    by_effect = sorted(front.options[1:6], key=lambda o: o.tumor_bed)
    for weaker, stronger in pairwise(by_effect):
        assert (stronger.outcome.samples >= weaker.outcome.samples - 1e-9).all()
        assert stronger.outcome.progression.median >= weaker.outcome.progression.median
    nothing = by_effect[0]
    assert nothing.name == "no radiotherapy"
    assert 0 < nothing.outcome.progression.median < 90
    assert by_effect[-1].outcome.progression.median > nothing.outcome.progression.median + 30


def test_what_was_found_keeps_the_limits_and_uses_them(fit: Calibration, front: PlanFront) -> None:
    found = [o for o in front.options if o.source is Source.SEARCH]
    assert found
    dose = given_dose(fit.twin, QUANTEC)
    most = {
        e.structure: t.value if e.structure == "Brain" else max(t.value, t.constraint.limit)
        for e in dose.organs
        for t in e.checks
    }
    for option in found:
        used = [t.value / most[e.structure] for e in option.organs for t in e.checks]
        # doses are rounded down to 0.01 Gy a fraction; 6 Gy is the largest that is considered
        assert max(used) <= 1 + 1e-6
        assert max(used) > 0.97 or option.schedule.doses[0] == 6.0
    assert len(found[-1].schedule.doses) <= 15
    exceeded = [t for e in front.delivered.organs for t in e.checks if not t.met]
    assert any("exceeds" in f.what for f in front.findings) == bool(exceeded)
    assert front.rank_agreement > 0.5


def test_escalation_goes_up_to_the_limit(fit: Calibration) -> None:
    more = optimize_dose(
        replace(
            fit,
            twin=replace(
                fit.twin, structures={name: share for name, share in fit.twin.structures.items() if name != "Brainstem"}
            ),
        ),
        horizon_days=60,
        samples=3,
        threads=1,
        escalate=True,
    )
    (brain,) = more.options[6].organs
    assert brain.checks[0].value == pytest.approx(72.0, rel=0.02)
    assert not any("exceeds" in f.what for f in more.findings)


def test_equal_seeds_give_equal_fronts(fit: Calibration, front: PlanFront) -> None:
    again = optimize_dose(fit, horizon_days=180, samples=4, threads=2)
    other = optimize_dose(fit, horizon_days=180, samples=4, threads=1, rng=1)
    assert repr(again) == repr(front)
    for a, b in zip(again.options, front.options, strict=True):
        assert (a.outcome.samples == b.outcome.samples).all()
    assert (other.delivered.outcome.samples != front.delivered.outcome.samples).any()


def test_saved_and_read_again(front: PlanFront, tmp_path: Path) -> None:
    again = PlanFront.load(front.save(tmp_path / "plan.npz"))
    assert repr(again) == repr(front)
    assert again.options[3].outcome.days == pytest.approx(front.options[3].outcome.days)
    assert again.histograms[0].mean == front.histograms[0].mean
    assert again.given is not None
    assert again.given.limits == QUANTEC
    assert (again.given.shape == front.given.shape).all()
    assert again.given.organs == front.delivered.organs


def test_text_and_html(front: PlanFront) -> None:
    assert "60 Gy / 30" in repr(front)
    assert "research use only" in repr(front).lower()
    html = front._repr_html_()
    assert html.count("<tr>") == len(front.options) + 1
    assert "40 % above its nadir" in html


def test_what_cannot_be_compared_is_refused(fit: Calibration) -> None:
    with pytest.raises(InputError, match="before radiotherapy"):
        optimize_dose(replace(fit, start=30.0))
    with pytest.raises(InputError, match="no radiotherapy"):
        optimize_dose(replace(fit, twin=replace(fit.twin, irradiations=())))
    with pytest.raises(InputError, match="samples is a whole number from 3"):
        optimize_dose(fit, samples=2)


def test_it_can_be_cancelled(fit: Calibration) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if what == "compare schedules":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        optimize_dose(fit, horizon_days=60, samples=3, progress=stop)


def test_time_to_progression_by_hand() -> None:
    days = np.arange(0.0, 70, 10)
    assert time_to_progression(days, np.array([10, 8, 5, 5, 6, 8, 12.0])) == pytest.approx(45)  # 7 mL between 6 and 8
    assert time_to_progression(days, np.array([10, 11, 12, 13, 13.5, 13.9, 13.99])) == np.inf
    assert time_to_progression(days, np.array([10, 20, 12, 13, 13.5, 13.9, 13.99])) == pytest.approx(4)
    # from nothing it takes a measurable tumor
    assert time_to_progression(days, np.array([2, 0, 0, 0.2, 0.4, 0.64, 1])) == pytest.approx(45)
    assert time_to_progression(days, np.zeros(7)) == np.inf


@given(volumes=st.lists(st.floats(1, 100), min_size=2, max_size=30), factor=st.floats(1, 50), shift=st.floats(-50, 50))
def test_time_to_progression_knows_no_unit_and_no_origin(volumes: list[float], factor: float, shift: float) -> None:
    days, v = np.arange(len(volumes), dtype=float), np.array(volumes)
    once = time_to_progression(days, v)
    assert time_to_progression(days + shift, factor * v) == pytest.approx(once + shift, abs=1e-6)
    if np.isfinite(once):
        # it is the first: nothing before it is 40 % above its nadir
        before = v[days < once - 1e-9]
        assert (before < 1.4 * np.minimum.accumulate(before) + 1e-9).all()


def test_intervals_with_infinite_ends() -> None:
    assert Interval.of(np.array([10.0, 20, 30, np.inf])) == Interval(20.0, 10.0, np.inf)
    assert Interval.of(np.full(3, np.inf)) == Interval(np.inf, np.inf, np.inf)
