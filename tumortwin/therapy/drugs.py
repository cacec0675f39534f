"""What is known of drugs: elimination, body surface area, doses in other units, and standard courses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tumortwin.errors import InputError
from tumortwin.therapy.events import DoseUnit, DrugDose


@dataclass(frozen=True)
class Drug:
    """How fast a drug leaves the body.

    Parameters
    ----------
    name : str
        Lower case.
    half_life_hours : float
        Elimination half-life.
    reference : str
        Where the half-life is from.
    """

    name: str
    half_life_hours: float
    reference: str

    @property
    def decay_rate(self) -> float:
        """Elimination rate in 1/day: ln 2 over the half-life."""
        return math.log(2) * 24 / self.half_life_hours


DRUGS = {
    "temozolomide": Drug(
        "temozolomide", 1.8, "Temodar prescribing information, section 12.3; Baker 1999 (Clin Cancer Res 5:309)"
    ),
}
"""Drugs with a known elimination rate, by lower-case name."""


def drug_named(name: str) -> Drug:
    """Look a drug up.

    Raises
    ------
    InputError
        If its half-life is not in the table.
    """
    try:
        return DRUGS[name.strip().lower()]
    except KeyError:
        raise InputError(f"the half-life of {name!r} is not known here; known are {', '.join(DRUGS)}") from None


class SurfaceFormula(StrEnum):
    """How body surface area is estimated."""

    MOSTELLER = "Mosteller 1987, doi:10.1056/NEJM198710223171717"
    DU_BOIS = "Du Bois & Du Bois 1916, doi:10.1001/archinte.1916.00080130010002"


def body_surface_area(
    height_m: float | None, weight_kg: float | None, formula: SurfaceFormula = SurfaceFormula.MOSTELLER
) -> float:
    """Body surface area in m^2.

    Mosteller: sqrt(height weight / 36) with height in m; Du Bois: 0.007184 weight^0.425 height^0.725 with height in cm.

    Parameters
    ----------
    height_m : float or None
        Height in m.
    weight_kg : float or None
        Weight in kg.
    formula : SurfaceFormula
        Which estimate.

    Raises
    ------
    InputError
        If one is missing or outside 0.3-2.5 m and 2-400 kg (a height in cm, a weight in g).
    """
    height = _within("height", height_m, 0.3, 2.5, "m")
    weight = _within("weight", weight_kg, 2, 400, "kg")
    if formula is SurfaceFormula.MOSTELLER:
        return math.sqrt(height * weight / 36)
    return 0.007184 * weight**0.425 * (100 * height) ** 0.725


def _within(name: str, value: float | None, low: float, high: float, unit: str) -> float:
    if value is None:
        raise InputError(f"the {name} is missing, which this unit of dose needs: give {name}_{unit} (clinical.json)")
    if not low <= value <= high:
        raise InputError(f"a {name} of {value} {unit} is outside {low:g} to {high:g} {unit}: check its unit")
    return value


def convert_amount(
    amount: float,
    unit: DoseUnit,
    to: DoseUnit,
    *,
    height_m: float | None = None,
    weight_kg: float | None = None,
    formula: SurfaceFormula = SurfaceFormula.MOSTELLER,
) -> float:
    """Convert a drug dose to another unit.

    Parameters
    ----------
    amount : float
        In `unit`.
    unit, to : DoseUnit
        From and to.
    height_m, weight_kg : float, optional
        Of the patient; needed as the units demand.
    formula : SurfaceFormula
        For mg/m2.

    Raises
    ------
    InputError
        If height or weight is needed and missing.
    """
    if unit == to:
        return amount

    def milligrams(one: DoseUnit) -> float:
        if one is DoseUnit.MG_PER_M2:
            return body_surface_area(height_m, weight_kg, formula)
        if one is DoseUnit.MG_PER_KG:
            return _within("weight", weight_kg, 2, 400, "kg")
        return 1.0

    return amount * milligrams(unit) / milligrams(to)


def stupp_temozolomide(
    first: datetime,
    last: datetime,
    *,
    cycles: int = 6,
    first_cycle: float = 150.0,
    later_cycles: float = 200.0,
    hour: int = 8,
) -> tuple[DrugDose, ...]:
    """Temozolomide of the Stupp protocol around a course of radiotherapy.

    Concurrent: 75 mg/m2 every day, weekends included, from the first to the last day of radiotherapy. Adjuvant: from
    28 days after the last fraction, on days 1-5 of each 28-day cycle.

    Parameters
    ----------
    first, last : datetime
        First and last fraction.
    cycles : int
        Adjuvant cycles; 0 for none.
    first_cycle, later_cycles : float
        Dose a day in mg/m2 in the first adjuvant cycle and, if it is tolerated, in the later ones.
    hour : int
        Hour of the day of each dose.

    References
    ----------
    Stupp 2005, doi:10.1056/NEJMoa043330
    """
    if last < first:
        raise InputError(f"the last fraction ({last}) is before the first ({first})")
    start = first.replace(hour=hour, minute=0, second=0, microsecond=0)
    days = (last.date() - first.date()).days
    given = [(day, 75.0) for day in range(days + 1)]
    given += [
        (days + 28 + 28 * cycle + day, first_cycle if cycle == 0 else later_cycles)
        for cycle in range(cycles)
        for day in range(5)
    ]
    return tuple(
        DrugDose(start + timedelta(days=day), "temozolomide", amount, DoseUnit.MG_PER_M2, "Stupp 2005 protocol")
        for day, amount in given
    )
