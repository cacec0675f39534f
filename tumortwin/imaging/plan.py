"""What DICOM says of a radiotherapy course: plain records, made into therapy events by :mod:`tumortwin.patient`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class PlanRecord:
    """A course as planned (RT Plan).

    Parameters
    ----------
    uid : str
        SOP Instance UID of the plan.
    label : str
        RT plan label.
    prescribed : float or None
        Prescribed total dose in Gy.
    fractions : int or None
        Number of fractions planned.
    date : datetime or None
        When the plan was made.
    """

    uid: str
    label: str
    prescribed: float | None
    fractions: int | None
    date: datetime | None = None


@dataclass(frozen=True)
class DeliveryRecord:
    """A fraction as delivered (RT Beams Treatment Record).

    Parameters
    ----------
    uid : str
        SOP Instance UID of the record.
    plan_uid : str or None
        The plan that was delivered.
    time : datetime
        Treatment date and time.
    fraction : int or None
        Fraction number, counted from 1.
    complete : bool
        Whether the treatment terminated normally.
    delivered_share : float
        Delivered over specified meterset, 1 for a whole fraction.
    """

    uid: str
    plan_uid: str | None
    time: datetime
    fraction: int | None
    complete: bool = True
    delivered_share: float = 1.0
