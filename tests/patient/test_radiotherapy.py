"""Several plans, doses and records of one patient: what was given, by which plan."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from tumortwin.imaging.findings import Severity
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.study import Study
from tumortwin.imaging.volume import FractionDose, Grid, TotalDose
from tumortwin.patient import patient_of
from tumortwin.therapy import Fraction

MONDAY = datetime(2024, 2, 5, 11)
PRIMARY = PlanRecord("p1", "primary", 46.0, 23, MONDAY)
BOOST = PlanRecord("p2", "boost", 14.0, 7, MONDAY + timedelta(days=30))


def dose(value: float, *plans: str, spacing: float = 2.0, frame: str = "f") -> TotalDose:
    shape = (int(12 / spacing), int(12 / spacing), int(12 / spacing))
    grid = Grid.regular(shape, spacing, (spacing - 2) / 2, frame)
    return TotalDose(np.full(shape, value, np.float32), grid, name=f"{value:g} Gy", source=("d", *plans))


def records(plan: str | None, first: int, n: int) -> tuple[DeliveryRecord, ...]:
    return tuple(DeliveryRecord(f"{plan}{k}", plan, MONDAY + timedelta(days=first + k), k + 1) for k in range(n))


def study(**parts: object) -> Study:
    return Study("folder", ("TT-1",), (), **parts)  # type: ignore[arg-type]


def test_a_primary_plan_and_its_boost_are_one_course() -> None:
    patient = patient_of(
        study(
            plans=(BOOST, PRIMARY),
            doses=(dose(46, "p1"), dose(14, "p2")),
            deliveries=records("p1", 0, 23) + records("p2", 30, 7),
        )
    )
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    assert [round(float(f.dose.array.max()), 6) for f in fractions if isinstance(f.dose, FractionDose)] == [2.0] * 30
    assert patient.plan is not None
    assert (patient.plan.label, patient.plan.prescribed, patient.plan.fractions) == ("primary + boost", 60.0, 30)
    assert patient.dose is not None
    np.testing.assert_allclose(patient.dose.array, 60)
    assert all(f.severity is Severity.NOTE for f in patient.findings)


def test_a_plan_made_anew_counts_by_what_was_given_of_each() -> None:
    first, second = (replace(PRIMARY, uid=u, prescribed=60.0, fractions=30) for u in ("p1", "p2"))
    patient = patient_of(
        study(
            plans=(first, second),
            doses=(dose(60, "p1"), dose(66, "p2", spacing=1.0)),
            deliveries=records("p1", 0, 12) + records("p2", 14, 18),
        )
    )
    assert patient.plan is not None
    assert (patient.plan.prescribed, patient.plan.fractions) == (60.0, 30)
    assert patient.dose is not None
    assert patient.dose.grid.spacing == (1, 1, 1)
    np.testing.assert_allclose(patient.dose.array[3:-3, 3:-3, 3:-3], 12 * 2 + 18 * 2.2, rtol=1e-5)


def test_a_dose_of_both_plans_is_not_counted_twice() -> None:
    patient = patient_of(
        study(
            plans=(PRIMARY, BOOST),
            doses=(dose(60, "p1", "p2"),),
            deliveries=records("p1", 0, 23) + records("p2", 30, 7),
        )
    )
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    total = sum(float(f.dose.array.max()) for f in fractions if isinstance(f.dose, FractionDose))
    assert len(fractions) == 30
    assert total == pytest.approx(60)


def test_a_plan_that_was_never_given_is_left_out_and_said() -> None:
    patient = patient_of(
        study(plans=(PRIMARY, BOOST), doses=(dose(46, "p1"), dose(14, "p2")), deliveries=records("p1", 0, 23))
    )
    assert patient.plan is PRIMARY
    assert sorted(f.what for f in patient.findings if f.severity is Severity.LEFT_OUT) == [
        "a dose map of another or no plan",
        "another plan (boost), of which no delivery is recorded",
    ]


def test_a_dose_of_an_unknown_plan_is_not_taken_for_this_ones() -> None:
    patient = patient_of(study(plans=(PRIMARY,), doses=(dose(70, "p9"),), deliveries=records("p1", 0, 23)))
    assert patient.dose is None
    assert {t.dose for t in patient.treatments if isinstance(t, Fraction)} == {2.0}


def test_plans_in_unlike_frames_have_no_common_dose() -> None:
    patient = patient_of(
        study(
            plans=(PRIMARY, BOOST),
            doses=(dose(46, "p1"), dose(14, "p2", frame="g")),
            deliveries=records("p1", 0, 23) + records("p2", 30, 7) + records("p3", 50, 1),
        )
    )
    assert patient.dose is None
    assert len(patient.treatments) == 30
    said = [f.what for f in patient.findings if f.severity is Severity.LEFT_OUT]
    assert said == [
        "1 records of delivery name none of 2 delivered plans",
        "not all plans have a dose in one frame of reference",
    ]
