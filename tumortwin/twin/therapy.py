"""Treatments onto the twin's clock and grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.geometry import average
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import FractionDose
from tumortwin.therapy.events import DrugDose, Fraction, Resection, Treatment
from tumortwin.twin.model import Administration, Irradiation, Removal, Twin


def place_therapy(
    twin: Twin,
    treatments: Iterable[Treatment],
    transforms: Mapping[str | None, NDArray[np.float64]],
    findings: list[Finding],
) -> Twin:
    """Add a patient's treatments to a twin.

    Fractions that share a dose map share one array on the grid.

    Parameters
    ----------
    twin : Twin
        With its domain and observations.
    treatments : iterable of Treatment
        In any order.
    transforms : mapping of frame of reference to (4, 4) array
        World of the twin to world of each frame.
    findings : list of Finding
        Appended to.
    """
    treatments = sorted(treatments, key=lambda t: t.time)
    grid = twin.domain.grid
    maps: dict[int, NDArray[np.float32] | None] = {}
    irradiations, administrations, removals = [], [], []
    lost = 0
    for treatment in treatments:
        day = twin.day(treatment.time)
        if isinstance(treatment, Fraction):
            dose = treatment.dose
            if not isinstance(dose, FractionDose):
                irradiations.append(Irradiation(day, float(dose)))
                continue
            if id(dose) not in maps:
                known = dose.frame in transforms
                maps[id(dose)] = average(dose, grid, transforms[dose.frame]) if known else None
            on_grid = maps[id(dose)]
            if on_grid is None:
                lost += 1
            else:
                irradiations.append(Irradiation(day, on_grid))
        elif isinstance(treatment, DrugDose):
            administrations.append(Administration(day, treatment.drug, treatment.amount, treatment.unit))
        elif isinstance(treatment, Resection):
            removed = _removed(treatment, day, twin, transforms, findings)
            if removed is not None:
                removals.append(Removal(day, removed))
    if lost:
        findings.append(
            Finding(
                f"the dose of {lost} fractions lies in a frame of reference that no visit has",
                "radiotherapy",
                "these fractions are left out: give the images the dose was planned on",
                Severity.LEFT_OUT,
            )
        )
    return replace(
        twin, irradiations=tuple(irradiations), administrations=tuple(administrations), removals=tuple(removals)
    )


def _removed(
    resection: Resection,
    day: float,
    twin: Twin,
    transforms: Mapping[str | None, NDArray[np.float64]],
    findings: list[Finding],
) -> NDArray[np.float32] | None:
    """Share of each voxel that was taken out."""
    where = f"resection of {resection.time:%Y-%m-%d}"
    if resection.removed is not None and resection.removed.frame in transforms:
        return average(resection.removed, twin.domain.grid, transforms[resection.removed.frame])
    before = [o for o in twin.observations if o.day <= day]
    after = [o for o in twin.observations if o.day > day]
    if not before or not after:
        findings.append(
            Finding(
                "what was removed is not known, and there are no scans before and after",
                where,
                "left out: give a mask of the cavity",
                Severity.LEFT_OUT,
            )
        )
        return None
    cavity = after[0].cavity
    if cavity is not None and cavity.any():
        findings.append(
            Finding(
                "what was removed is not known",
                where,
                "the cavity in the next scan is taken for removed",
                Severity.ASSUMED,
            )
        )
        return cavity
    core = np.clip(before[-1].enhancing + before[-1].necrosis, 0, 1)
    rest = np.clip(after[0].enhancing + after[0].necrosis, 0, 1)
    findings.append(
        Finding(
            "what was removed is not known",
            where,
            "enhancing and necrotic tumor that the next scan no longer shows is taken for removed",
            Severity.ASSUMED,
        )
    )
    return np.clip(core - rest, 0, 1).astype(np.float32)
