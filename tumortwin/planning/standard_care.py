"""What would be done to a simulated tumor: it is resected and irradiated where it is seen on that day."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.calibration.unknowns import CORE
from tumortwin.errors import InputError
from tumortwin.growth import Model, simulate
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.therapy.schedule import CLINICAL_SCHEDULES, Prescription
from tumortwin.twin import Irradiation, Removal

_MONDAY = datetime(2024, 1, 1)  # courses begin on a Monday


@dataclass(frozen=True)
class StandardCare:
    """A resection, radiotherapy, both or neither.

    Parameters
    ----------
    resection_day : float, optional
        When the core is taken out; not if not given.
    radiotherapy_day : float, optional
        When the first fraction is given, a Monday, after any resection; no radiotherapy if not given.
    prescription : Prescription
        What is given, on weekdays.
    margin : float
        What is within this many mm of the target (the core, and the cavity) gets the whole dose. The default is
        15 mm for cells that are not seen (Niyazi et al. 2023) and 3 mm for the setup.
    penumbra : float
        Farther out the dose falls as exp(-s^2 / (2 penumbra^2)), s in mm.
    edge : float
        Where what is seen (living and dead cells) is above this density is the core: inside the T1Gd contour.

    Raises
    ------
    InputError
        If a number is out of its range.

    References
    ----------
    Niyazi et al. 2023, doi:10.1016/j.radonc.2023.109663
    """

    resection_day: float | None = None
    radiotherapy_day: float | None = None
    prescription: Prescription = CLINICAL_SCHEDULES[0]
    margin: float = 18.0
    penumbra: float = 8.0
    edge: float = CORE.median

    def __post_init__(self) -> None:
        surgery, first = self.resection_day, self.radiotherapy_day
        for name, day in (("resection_day", surgery), ("radiotherapy_day", first)):
            if day is not None and not math.isfinite(day):
                raise InputError(f"{name} is a finite day or None, not {day}")
        if surgery is not None and first is not None and first <= surgery:
            raise InputError(f"radiotherapy begins after the resection at day {surgery}, not at day {first}")
        if not (0 <= self.margin < math.inf and 0 < self.penumbra < math.inf and 0 < self.edge < 1):
            raise InputError(
                "care has a margin >= 0 mm, a penumbra > 0 mm and an edge within 0 < u < 1, not "
                f"{self.margin}, {self.penumbra} and {self.edge}"
            )


def with_care(
    model: Model, initial: NDArray[np.floating], start: float, care: StandardCare, *, rtol: float = 1e-3
) -> tuple[Model, tuple[Finding, ...]]:
    """Add a resection and radiotherapy that follow the tumor as it is seen when they are planned.

    The equation is solved to the day of each to see it there.

    Parameters
    ----------
    model : Model
        The equation, with any treatment of its own.
    initial : (z, y, x) array
        Cell density at `start`.
    start : float
        Before any of the care's days.
    care : StandardCare
        What is done.
    rtol : float
        Of the solves, as for :func:`~tumortwin.growth.simulate`.

    Returns
    -------
    Model
        With the removal and the fractions.
    tuple of Finding
        What was left out because nothing was seen.
    """
    for day in (care.resection_day, care.radiotherapy_day):
        if day is not None and day <= start:
            raise InputError(f"care begins after day {start:g}, when the solve starts, not at day {day:g}")
    findings = []
    cavity = np.zeros(model.domain.grid.shape, bool)
    if care.resection_day is not None:
        cavity = _core(model, initial, start, care.resection_day, care.edge, rtol)
        if cavity.any():
            removal = Removal(care.resection_day, cavity.astype(np.float32))
            model = replace(model, removals=(*model.removals, removal))
        else:
            findings.append(_not_seen("resection", care.resection_day, care.edge))
    if care.radiotherapy_day is not None:
        target = cavity | _core(model, initial, start, care.radiotherapy_day, care.edge, rtol)
        if target.any():
            fractions = _fractions(target, model.domain.grid.spacing, care.radiotherapy_day, care)
            model = replace(model, irradiations=(*model.irradiations, *fractions))
        else:
            findings.append(_not_seen("radiotherapy", care.radiotherapy_day, care.edge))
    return model, tuple(findings)


def _core(
    model: Model, initial: NDArray[np.floating], start: float, day: float, edge: float, rtol: float
) -> NDArray[np.bool_]:
    return simulate(model, initial, start, day, rtol=rtol).visible[-1] > edge


def _fractions(
    target: NDArray[np.bool_], spacing: tuple[float, ...], first: float, care: StandardCare
) -> list[Irradiation]:
    distance = ndimage.distance_transform_edt(~target, sampling=spacing)
    share = np.exp(-0.5 * (np.maximum(distance - care.margin, 0) / care.penumbra) ** 2)
    schedule = care.prescription.schedule(_MONDAY)
    doses = {gray: (gray * share).astype(np.float32) for gray in set(schedule.doses)}  # equal fractions share a map
    return [
        Irradiation(first + (time - _MONDAY) / timedelta(days=1), doses[gray])
        for time, gray in zip(schedule.times, schedule.doses, strict=True)
    ]


def _not_seen(what: str, day: float, edge: float) -> Finding:
    return Finding(
        f"at day {day:g} no density is above {edge:g}: there is nothing to aim at", what, "not given", Severity.LEFT_OUT
    )
