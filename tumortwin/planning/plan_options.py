"""How schedules are compared: the options of :func:`tumortwin.optimize_dose`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tumortwin.options import Clean, Flag, Kind, Number, Options, option
from tumortwin.planning.constraints import BURMAN, QUANTEC, ConstraintSet

_KNOWN = (QUANTEC, BURMAN)


@dataclass(frozen=True)
class _Limits(Kind):
    """A set of limits, or the name of one of ours."""

    def accept(self, value: Any) -> ConstraintSet:
        if isinstance(value, ConstraintSet):
            return value
        return {name.lower(): one for one in _KNOWN for name in (one.name, one.name.split()[0])}[
            str(value).strip().lower()
        ]

    def as_json(self, value: Any, clean: Clean) -> str:
        own = "" if value in _KNOWN else f", sha256 {hashlib.sha256(repr(value).encode()).hexdigest()}"
        return value.name + own

    def __str__(self) -> str:
        return f"one of {', '.join(one.name for one in _KNOWN)} (in Python also a ConstraintSet)"


@dataclass(frozen=True)
class PlanOptions(Options):
    """How radiotherapy schedules are compared and searched for.

    Parameters
    ----------
    constraints : ConstraintSet
        Limits of the organs at risk.
    horizon_days : float
        How far the schedules are looked at, days from the first fraction.
    samples : int
        Draws from the posterior that each schedule is simulated on. Ten give the range of the intervals rather than
        their percentiles.
    escalate : bool
        Let the search take the brain up to its limit too, in place of what the delivered course did.

    Raises
    ------
    InputError
        If a value is out of its range or of another type.
    """

    constraints: ConstraintSet | str = option(QUANTEC, _Limits())
    horizon_days: float = option(270.0, Number(8.0, 3650.0, "days"))
    samples: int = option(10, Number(3, 10_000, whole=True))
    escalate: bool = option(False, Flag())

    @property
    def limits(self) -> ConstraintSet:
        """The limits as a set."""
        return _Limits().accept(self.constraints)
