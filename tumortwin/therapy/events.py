"""Dated things that were done to a patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from tumortwin.errors import InputError
from tumortwin.imaging.volume import FractionDose, Mask


class DoseUnit(StrEnum):
    """Unit of a drug dose. Doses stay in the unit they were given in."""

    MG = "mg"
    MG_PER_M2 = "mg/m2"
    MG_PER_KG = "mg/kg"


@dataclass(frozen=True, eq=False)
class Fraction:
    """One radiotherapy fraction.

    Parameters
    ----------
    time : datetime
        When it was given.
    dose : FractionDose or float
        Dose of this fraction: a map in Gy, or one number in Gy for the whole domain.
    source : str
        Where this is known from: a treatment record's UID, or "assumed: weekday calendar".
    """

    time: datetime
    dose: FractionDose | float
    source: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.dose, FractionDose):
            return
        if not np.isfinite(self.dose) or self.dose < 0:
            raise InputError(f"a fraction's dose is a finite number of Gy >= 0, not {self.dose} ({self.time})")


@dataclass(frozen=True)
class DrugDose:
    """One administration of a drug.

    Parameters
    ----------
    time : datetime
        When it was given.
    drug : str
        Its name, lower case ("temozolomide").
    amount : float
        How much, in `unit`.
    unit : DoseUnit
        Unit of the amount.
    source : str
        Where this is known from.
    """

    time: datetime
    drug: str
    amount: float
    unit: DoseUnit
    source: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite(self.amount) or self.amount < 0:
            given = f"{self.amount} {self.unit} of {self.drug} at {self.time}"
            raise InputError(f"a drug dose is a finite amount >= 0, not {given}")


@dataclass(frozen=True, eq=False)
class Resection:
    """Tumor taken out by surgery.

    Parameters
    ----------
    time : datetime
        When.
    removed : Mask or None
        What was taken out, if it is known; else the cavity is looked for in the next scan.
    source : str
        Where this is known from.
    """

    time: datetime
    removed: Mask | None = None
    source: str = ""


@dataclass(frozen=True)
class Biopsy:
    """Tissue sampled; the tumor's size is unchanged."""

    time: datetime
    source: str = ""


Treatment = Fraction | DrugDose | Resection | Biopsy
