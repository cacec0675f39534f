"""The numbers of the growth equation, each with its unit and where its default comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tumortwin.arguments import require
from tumortwin.errors import InputError


def _parameter(default: float, unit: str, source: str) -> Any:
    return field(default=default, metadata={"unit": unit, "source": source})


@dataclass(frozen=True)
class GrowthParameters:
    """Parameters of one patient's tumor.

    Every default is a starting point inside the published range, not a measurement of anyone: fits put priors on them.

    Parameters
    ----------
    diffusivity : float
        D of white matter, mm^2/day, >= 0.
    proliferation_rate : float
        rho, 1/day. May be negative (net loss).
    grey_ratio : float
        D of grey matter over D of white matter, >= 0.
    alpha : float
        Linear radiosensitivity, 1/Gy, >= 0.
    alpha_beta : float
        alpha/beta of the tumor, Gy, > 0; infinity switches the quadratic term off.
    drug_sensitivity : mapping of str to float
        Log-kill of each drug per unit of the amount given: one dose's survival is exp(-sensitivity * amount).
        A drug without an entry has no effect.
    capacity : float
        Density at which growth stops, > 0, in units of the density that u = 1 stands for. Exponential growth has none.

    Raises
    ------
    InputError
        If a value is NaN or out of its range.
    """

    diffusivity: float = _parameter(
        0.1, "mm^2/day", "within 6-324 mm^2/year of glioblastomas (Harpold 2007, doi:10.1097/nen.0b013e31802d9000)"
    )
    proliferation_rate: float = _parameter(
        0.03, "1/day", "within 1-32 /year of glioblastomas (Harpold 2007, doi:10.1097/nen.0b013e31802d9000)"
    )
    grey_ratio: float = _parameter(
        0.2, "1", "five times faster in white than in grey matter (Swanson 2000, doi:10.1046/j.1365-2184.2000.00177.x)"
    )
    alpha: float = _parameter(0.12, "1/Gy", "glioblastoma, 0.10-0.14 (Pedicini 2014, doi:10.1007/s00066-014-0638-9)")
    alpha_beta: float = _parameter(8.0, "Gy", "glioblastoma, 5-10.8 (Pedicini 2014, doi:10.1007/s00066-014-0638-9)")
    drug_sensitivity: Mapping[str, float] = field(
        default_factory=lambda: {"temozolomide": 4e-4},
        metadata={
            "unit": "1 per unit of the amount (mg/m2 for temozolomide)",
            "source": "assumed: a 75 mg/m2 dose undoes one day of growth at the default rate; no value is agreed on",
        },
    )
    capacity: float = _parameter(
        1.0, "1", "by definition: densities are given over the one at which growth stops, unless another is chosen"
    )

    def __post_init__(self) -> None:
        for name, low in (("diffusivity", 0.0), ("grey_ratio", 0.0), ("alpha", 0.0), ("proliferation_rate", -math.inf)):
            value = self._number(name)
            if not math.isfinite(value) or value < low:
                wanted = "a finite number" if low == -math.inf else "a finite number >= 0"
                raise InputError(f"{name} is {wanted}{_in(name)}, not {value}")
            object.__setattr__(self, name, value)
        ratio, capacity = self._number("alpha_beta"), self._number("capacity")
        if not ratio > 0:
            raise InputError(f"alpha_beta is a number of Gy > 0, not {ratio}")
        if not (math.isfinite(capacity) and capacity > 0):
            raise InputError(f"capacity is a finite density > 0, not {capacity}")
        object.__setattr__(self, "alpha_beta", ratio)
        object.__setattr__(self, "capacity", capacity)
        require(self.drug_sensitivity, Mapping, "drug_sensitivity takes a table of drugs and their sensitivity")
        for drug, value in self.drug_sensitivity.items():
            if not math.isfinite(value) or value < 0:
                raise InputError(f"the sensitivity to {drug} is a finite number >= 0, not {value}")

    def _number(self, name: str) -> float:
        given = getattr(self, name)
        try:
            return float(given)
        except (TypeError, ValueError):
            raise InputError(f"{name} is a number{_in(name)}, not {given!r}") from None

    @staticmethod
    def unit(name: str) -> str:
        """Return the unit of a parameter."""
        return UNITS[name]

    @staticmethod
    def source(name: str) -> str:
        """Where a parameter's default comes from."""
        return SOURCES[name]

    @property
    def beta(self) -> float:
        """Quadratic radiosensitivity, 1/Gy^2."""
        return self.alpha / self.alpha_beta


def _in(name: str) -> str:
    return "" if UNITS[name] == "1" else f" in {UNITS[name]}"


UNITS: dict[str, str] = {f.name: f.metadata["unit"] for f in fields(GrowthParameters)}
"""Unit of each parameter."""

SOURCES: dict[str, str] = {f.name: f.metadata["source"] for f in fields(GrowthParameters)}
"""Where each parameter's default comes from."""
