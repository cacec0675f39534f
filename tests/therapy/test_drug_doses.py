"""Single doses of drugs: what is given passes, a slip of the pen or of the unit does not."""

import doctest
from datetime import datetime

import pytest

from tumortwin.therapy import DoseUnit, DrugDose, drug_doses, stupp_temozolomide
from tumortwin.therapy.drug_doses import SINGLE_DOSES, implausible_dose

DAY = datetime(2024, 2, 5)
MG, M2, KG = DoseUnit.MG, DoseUnit.MG_PER_M2, DoseUnit.MG_PER_KG


def dose(drug: str, amount: float, unit: DoseUnit) -> DrugDose:
    return DrugDose(DAY, drug, amount, unit)


def test_the_examples_run() -> None:
    assert doctest.testmod(drug_doses).failed == 0


@pytest.mark.parametrize("drug", SINGLE_DOSES)
def test_a_row_is_in_order_and_has_a_source(drug: str) -> None:
    row = SINGLE_DOSES[drug]
    assert 0 < row.plausible[0] < row.usual[0] < row.usual[1] < row.plausible[1]
    assert row.reference
    for amount in row.usual:
        assert not implausible_dose(dose(drug, amount, row.unit))
    for amount in (row.plausible[0] / 2, row.plausible[1] * 2):
        assert f"{drug} is given at {row.usual[0]:g} to {row.usual[1]:g} {row.unit}" in implausible_dose(
            dose(drug, amount, row.unit)
        )


@pytest.mark.parametrize(
    ("drug", "amount", "unit"),
    [
        ("temozolomide", 7500, M2),
        ("temozolomide", 0.15, M2),
        ("temozolomide", 7500, MG),
        ("temozolomide", 75, KG),
        ("lomustine", 1100, M2),
        ("bevacizumab", 10, MG),
        ("bevacizumab", 700, KG),
        ("dreamol", 50_000, MG),
    ],
)
def test_slips_are_noticed(drug: str, amount: float, unit: DoseUnit) -> None:
    assert implausible_dose(dose(drug, amount, unit))


@pytest.mark.parametrize(
    ("drug", "amount", "unit"),
    [
        ("temozolomide", 140, MG),
        ("temozolomide", 360, MG),
        ("lomustine", 200, MG),
        ("vincristine", 2, MG),
        ("bevacizumab", 700, MG),
        ("dreamol", 8000, M2),
        ("temozolomide", 0, M2),
    ],
)
def test_usual_doses_pass_in_any_unit(drug: str, amount: float, unit: DoseUnit) -> None:
    assert not implausible_dose(dose(drug, amount, unit))


def test_a_known_size_makes_it_sharper() -> None:
    assert not implausible_dose(dose("temozolomide", 30, MG))
    assert implausible_dose(dose("temozolomide", 30, MG), surface_m2=1.9)


def test_the_standard_protocol_passes() -> None:
    assert not any(map(implausible_dose, stupp_temozolomide(DAY, datetime(2024, 3, 15))))
