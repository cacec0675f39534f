"""The given dose as a shape that other prescriptions scale, and what it means for organs at risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.planning.constraints import (
    NEAR_MAX_ML,
    QUANTEC,
    TARGETS,
    Constraint,
    ConstraintSet,
    Organ,
    organ_named,
)
from tumortwin.planning.dvh import DoseVolumeHistogram, dose_volume_histogram
from tumortwin.planning.effects import ConstraintCheck, OrganEffect
from tumortwin.therapy.schedule import Schedule
from tumortwin.twin import Irradiation, Twin

BRAIN = "brain (domain)"
"""Name of the growth domain where it stands in for a contour of the brain."""


@dataclass(frozen=True, eq=False)
class GivenDose:
    """A course's dose relative to its prescription.

    Parameters
    ----------
    shape : (z, y, x) float32 array
        Dose over that of the prescription point.
    schedule : Schedule
        As delivered; doses at the prescription point.
    days : tuple of float
        Of the fractions, on the twin's clock.
    point : str
        What the prescription point is.
    target : str
        Name of the structure that the dose is prescribed to; empty if no target volume is contoured.
    limits : ConstraintSet
        What the doses of organs are held against.
    histograms : tuple of DoseVolumeHistogram
        Of `shape`, by structure.
    planned : float
        Planned total dose at the prescription point, Gy.
    findings : tuple of Finding
        What was assumed.
    """

    shape: NDArray[np.float32]
    schedule: Schedule
    days: tuple[float, ...]
    point: str
    target: str
    limits: ConstraintSet
    histograms: tuple[DoseVolumeHistogram, ...]
    planned: float
    findings: tuple[Finding, ...] = ()

    def irradiations(self, schedule: Schedule, twin: Twin) -> tuple[Irradiation, ...]:
        """Build the fractions of another schedule with this dose distribution; fractions of one size share one map."""
        maps = {d: np.float32(d) * self.shape for d in set(schedule.doses)}
        return tuple(Irradiation(twin.day(t), maps[d]) for t, d in zip(schedule.times, schedule.doses, strict=True))

    def physical(self, schedule: Schedule) -> tuple[DoseVolumeHistogram, ...]:
        """Histograms of the total physical dose of a schedule."""
        return tuple(h.of(lambda share: share * schedule.total) for h in self.histograms)

    @property
    def delivered(self) -> tuple[DoseVolumeHistogram, ...]:
        """Histograms of the total physical dose as delivered, by structure."""
        return self.physical(self.schedule)

    @property
    def organs(self) -> tuple[OrganEffect, ...]:
        """What the delivered course does to each organ that has limits."""
        return self.effects(self.schedule)

    def effects(self, schedule: Schedule) -> tuple[OrganEffect, ...]:
        """Compute the effect of a schedule on each organ that has limits.

        Fractions of a course that differ (one was interrupted) are taken as equal ones for the limits.
        """
        effects = []
        for share, physical in zip(self.histograms, self.physical(schedule), strict=True):
            organ, constraints = limits_of(share.structure, self.limits)
            if organ is None or not constraints:
                continue
            hottest, ratio = share.dose_to_ml(NEAR_MAX_ML), constraints[0].alpha_beta
            effects.append(
                OrganEffect(
                    share.structure,
                    organ,
                    physical.mean,
                    physical.dose_to_ml(NEAR_MAX_ML),
                    ratio,
                    schedule.bed(ratio, hottest),
                    schedule.eqd2(ratio, hottest),
                    tuple(ConstraintCheck(c, c.value(physical, len(schedule.doses))) for c in constraints),
                )
            )
        return tuple(effects)


def given_dose(twin: Twin, limits: ConstraintSet = QUANTEC) -> GivenDose:
    """Read the given dose of a twin.

    The prescription point is the median dose of the target (D50%, as ICRU 83 reports), so that another prescription is
    the same map times a number.

    Parameters
    ----------
    twin : Twin
        With radiotherapy.
    limits : ConstraintSet
        Limits of organs at risk.

    Raises
    ------
    InputError
        If the twin has no radiotherapy or no dose.
    """
    if not twin.irradiations:
        raise InputError(
            f"{twin.patient_id} has no radiotherapy to compare with: planning starts from a given course "
            "(RTDOSE with RTPLAN or treatment records)"
        )
    grid = twin.domain.grid
    maps = {id(f.dose): np.broadcast_to(np.asarray(f.dose, np.float32), grid.shape) for f in twin.irradiations}
    total = twin.dose
    if total is None:
        total = np.sum([maps[id(f.dose)] for f in twin.irradiations], axis=0, dtype=np.float32)
    findings = []
    targets = [
        dose_volume_histogram(total, share, grid.voxel_volume, name)
        for kind in TARGETS
        for name, share in twin.structures.items()
        if name.lower().startswith(kind) and (share > 0).any()
    ]
    if targets:
        first = next(kind for kind in TARGETS if targets[0].structure.lower().startswith(kind))
        target = max((t for t in targets if t.structure.lower().startswith(first)), key=lambda t: t.dose_to_percent(50))
        prescribed_to, inside = target.structure, twin.structures[target.structure] > 0.5
        point = f"median dose of {prescribed_to}"
        reference = target.dose_to_percent(50)
    else:
        whole = dose_volume_histogram(total, twin.domain.mask, grid.voxel_volume)
        prescribed_to, reference, point = "", whole.dose_to_percent(2), "dose of the hottest 2 % of the brain"
        inside = total >= reference
        findings.append(
            Finding(
                "no target volume (PTV, CTV, GTV) is contoured",
                "plan",
                f"doses are prescribed to the {point}",
                Severity.ASSUMED,
            )
        )
    if not reference > 0:
        raise InputError(f"{twin.patient_id}: the {point} is {reference} Gy: there is no dose to scale")
    if twin.dose is None and all(isinstance(f.dose, float | int) for f in twin.irradiations):
        findings.append(
            Finding(
                "the dose is known as one number only", "plan", "the whole brain is taken to get it", Severity.ASSUMED
            )
        )
    # each map's size relative to the plan, from where the dose is high
    strength = {key: float(one[inside].mean() / total[inside].mean()) * reference for key, one in maps.items()}
    fractions = [f for f in twin.irradiations if strength[id(f.dose)] > 0]
    schedule = Schedule(
        "as delivered", tuple(twin.date(f.day) for f in fractions), tuple(strength[id(f.dose)] for f in fractions)
    )
    structures = dict(twin.structures)
    if not any(organ_named(name) is Organ.BRAIN for name in structures):
        structures[BRAIN] = twin.domain.mask.astype(np.float32)
        findings.append(Finding("the brain is not contoured", "plan", "the growth domain stands in for it"))
    shape = (total / np.float32(reference)).astype(np.float32)
    histograms = tuple(
        dose_volume_histogram(total, share, grid.voxel_volume, name).of(lambda dose: dose / reference)
        for name, share in structures.items()
        if (share > 0).any()
    )
    contoured = {organ_named(name) for name in structures} | {Organ.BRAIN}
    unlimited = sorted({c.organ for c in limits.constraints} - contoured)
    if unlimited:
        findings.append(
            Finding(f"not contoured: {', '.join(unlimited)}", "plan", f"their limits ({limits.name}) are not looked at")
        )
    days = tuple(f.day for f in fractions)
    return GivenDose(shape, schedule, days, point, prescribed_to, limits, histograms, float(reference), tuple(findings))


def limits_of(structure: str, limits: ConstraintSet) -> tuple[Organ | None, tuple[Constraint, ...]]:
    """Find the organ that a structure is, and its limits."""
    organ = Organ.BRAIN if structure == BRAIN else organ_named(structure)
    return organ, limits.of(organ)


def largest_dose(
    fractions: int, limits: Sequence[tuple[DoseVolumeHistogram, Constraint, float]], highest: float
) -> float:
    """Largest dose per fraction at the prescription point that keeps all limits, in Gy.

    Parameters
    ----------
    fractions : int
        How many.
    limits : sequence of (DoseVolumeHistogram, Constraint, float)
        Histogram of the shape in an organ, constraint, and the value that it may reach.
    highest : float
        Never more than this, Gy.
    """

    def kept(dose: float) -> bool:
        total = fractions * dose
        return all(c.value(h.of(lambda share: share * total), fractions) <= most for h, c, most in limits)

    if kept(highest):
        return highest
    low, high = 0.0, highest
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low
