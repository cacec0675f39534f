"""The single doses that drugs are given at, to notice a slip of the pen or of the unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tumortwin.therapy.events import DoseUnit, DrugDose

Range = tuple[float, float]


@dataclass(frozen=True)
class SingleDose:
    """What is given of a drug at one time.

    Parameters
    ----------
    unit : DoseUnit
        Of the numbers.
    usual : (float, float)
        The lowest and highest dose in use.
    plausible : (float, float)
        Beyond these a mistake is likelier than a dose. Assumed: about half of the lowest usual dose, for reductions,
        and at most three times the highest.
    reference : str
        Where the usual doses are from.
    """

    unit: DoseUnit
    usual: Range
    plausible: Range
    reference: str


_LABEL = "prescribing information, section 2 (dosage and administration)"
_M2, _KG = DoseUnit.MG_PER_M2, DoseUnit.MG_PER_KG

SINGLE_DOSES: Mapping[str, SingleDose] = {
    "temozolomide": SingleDose(
        _M2, (50, 200), (20, 400), f"Temodar {_LABEL}; 50 a day: Perry 2010, doi:10.1200/JCO.2009.26.5520"
    ),
    "lomustine": SingleDose(_M2, (75, 130), (30, 260), f"Gleostine {_LABEL}"),
    "carmustine": SingleDose(_M2, (75, 200), (30, 600), f"BiCNU {_LABEL}"),
    "procarbazine": SingleDose(_M2, (60, 100), (25, 300), "van den Bent 2013, doi:10.1200/JCO.2012.43.2229"),
    "vincristine": SingleDose(_M2, (1, 2), (0.2, 4), f"vincristine sulfate {_LABEL}"),
    "bevacizumab": SingleDose(_KG, (5, 15), (1, 30), f"Avastin {_LABEL}"),
    "irinotecan": SingleDose(_M2, (125, 350), (40, 700), f"Camptosar {_LABEL}"),
    "carboplatin": SingleDose(_M2, (175, 560), (50, 1600), f"Paraplatin {_LABEL}; weekly doses assumed"),
    "cisplatin": SingleDose(_M2, (20, 100), (5, 200), f"cisplatin {_LABEL}"),
    "etoposide": SingleDose(_M2, (35, 100), (10, 300), f"etoposide {_LABEL}"),
    "doxorubicin": SingleDose(_M2, (20, 75), (8, 150), f"doxorubicin {_LABEL}; weekly doses assumed"),
    "cyclophosphamide": SingleDose(_M2, (500, 1500), (50, 4500), "assumed"),
    "paclitaxel": SingleDose(_M2, (80, 175), (30, 350), f"Taxol {_LABEL}; weekly doses assumed"),
    "docetaxel": SingleDose(_M2, (60, 100), (20, 200), f"Taxotere {_LABEL}"),
    "trastuzumab": SingleDose(_KG, (2, 8), (1, 16), f"Herceptin {_LABEL}"),
}
"""By lower-case name: what is given to gliomas, and to the breast."""

LARGEST: Mapping[DoseUnit, float] = {DoseUnit.MG: 20_000, _M2: 12_000, _KG: 300}
"""Above these no drug is given at one time; assumed from high-dose methotrexate, the largest of all."""
BODY_SURFACE_M2: Range = (1.2, 2.6)
BODY_WEIGHT_KG: Range = (35, 160)
"""Of adults, where height and weight are not known; assumed."""


def implausible_dose(dose: DrugDose, *, surface_m2: float | None = None, weight_kg: float | None = None) -> str:
    """Describe the usual dose if a dose is not one at which the drug is given; else return an empty text.

    Parameters
    ----------
    dose : DrugDose
        Of any drug; of those without a row in :data:`SINGLE_DOSES` only a generous limit is known.
    surface_m2, weight_kg : float, optional
        The patient's body surface area and weight, to compare units.

    Examples
    --------
    >>> from datetime import datetime
    >>> given = DrugDose(datetime(2024, 2, 5), "temozolomide", 7500, DoseUnit.MG_PER_M2)
    >>> implausible_dose(given).split(" (")[0]
    'temozolomide is given at 50 to 200 mg/m2'
    """
    known = SINGLE_DOSES.get(dose.drug)
    if known is None:
        limit = LARGEST[dose.unit]
        return f"no drug is given at more than {limit:g} {dose.unit} (assumed)" if dose.amount > limit else ""
    low, high = _in_mg(dose.unit, dose.amount, surface_m2, weight_kg)
    least, most = (_in_mg(known.unit, x, surface_m2, weight_kg) for x in known.plausible)
    if dose.unit == known.unit:
        fits = known.plausible[0] <= dose.amount <= known.plausible[1]
    else:
        fits = high >= least[0] and low <= most[1]
    if fits or dose.amount == 0:
        return ""
    usual = f"{known.usual[0]:g} to {known.usual[1]:g} {known.unit}"
    return f"{dose.drug} is given at {usual} ({known.reference})"


def _in_mg(unit: DoseUnit, amount: float, surface_m2: float | None, weight_kg: float | None) -> Range:
    """Least and most mg that a dose can stand for."""
    if unit is DoseUnit.MG:
        return amount, amount
    body, size = (BODY_SURFACE_M2, surface_m2) if unit is _M2 else (BODY_WEIGHT_KG, weight_kg)
    low, high = body if size is None else (size, size)
    return amount * low, amount * high
