"""Drug kinetics, body surface area and the Stupp course."""

from datetime import datetime

import pytest

from tumortwin.errors import InputError
from tumortwin.therapy import (
    DoseUnit,
    SurfaceFormula,
    body_surface_area,
    convert_amount,
    drug_named,
    stupp_temozolomide,
)


def test_temozolomide_leaves_at_9_24_a_day() -> None:
    drug = drug_named("Temozolomide ")
    assert drug.decay_rate == pytest.approx(9.24, abs=0.005)
    assert drug.reference
    with pytest.raises(InputError, match="known are temozolomide"):
        drug_named("placebo")


@pytest.mark.parametrize(
    ("formula", "expected"),
    # 170 cm, 70 kg: Mosteller 1.818, Du Bois 1.810
    [(SurfaceFormula.MOSTELLER, 1.818), (SurfaceFormula.DU_BOIS, 1.810)],
)
def test_body_surface_area(formula: SurfaceFormula, expected: float) -> None:
    assert body_surface_area(1.70, 70, formula) == pytest.approx(expected, abs=5e-4)


def test_units_go_there_and_back() -> None:
    per_m2, mg = DoseUnit.MG_PER_M2, DoseUnit.MG
    assert convert_amount(75, per_m2, mg, height_m=1.70, weight_kg=70) == pytest.approx(75 * 1.8181, abs=0.01)
    there = convert_amount(10, DoseUnit.MG_PER_KG, per_m2, height_m=1.8, weight_kg=80)
    assert convert_amount(there, per_m2, DoseUnit.MG_PER_KG, height_m=1.8, weight_kg=80) == pytest.approx(10)
    assert convert_amount(75, per_m2, per_m2) == 75


@pytest.mark.parametrize(
    ("height", "weight", "message"),
    [
        (None, 70, "height is missing"),
        (1.7, None, "weight is missing"),
        (170, 70, "check its unit"),
        (1.7, 7e4, "check its unit"),
    ],
)
def test_surface_needs_height_and_weight(height: float | None, weight: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert_amount(75, DoseUnit.MG_PER_M2, DoseUnit.MG, height_m=height, weight_kg=weight)


def test_mg_per_kg_needs_weight() -> None:
    with pytest.raises(InputError, match="weight"):
        convert_amount(10, DoseUnit.MG_PER_KG, DoseUnit.MG)


def test_stupp_course() -> None:
    # 30 weekday fractions from Monday 2024-02-05 end on Friday 2024-03-15
    course = stupp_temozolomide(datetime(2024, 2, 5, 10), datetime(2024, 3, 15, 10))
    concurrent = [d for d in course if d.amount == 75]
    assert len(concurrent) == 40
    assert concurrent[0].time == datetime(2024, 2, 5, 8)
    assert concurrent[-1].time == datetime(2024, 3, 15, 8)
    adjuvant = [d for d in course if d.amount > 75]
    assert len(adjuvant) == 30
    assert adjuvant[0].time == datetime(2024, 4, 12, 8)  # 28 days after the last fraction
    assert [d.amount for d in adjuvant[:6]] == [150] * 5 + [200]
    assert (adjuvant[5].time - adjuvant[0].time).days == 28
    assert {d.unit for d in course} == {DoseUnit.MG_PER_M2}
