"""The twin as a value: a patient on one grid and one clock."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortwin import archive
from tumortwin.geometry.displacement import Deformation
from tumortwin.geometry.domain import Domain
from tumortwin.geometry.registration.doubts import doubts_of
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.volume import Volume
from tumortwin.patient import Clinical
from tumortwin.therapy.events import DoseUnit


@dataclass(frozen=True)
class RegistrationQuality:
    """What a visit's registration to the reference visit says of itself.

    Parameters
    ----------
    fixed, moving : str
        The reference visit's and the visit's image that were compared.
    similarity : float
        Normalized mutual information, 1 (nothing in common) to 2; NaN where the files' own alignment was taken.
    overlap : float
        Share of the reference brain that the visit's image covers, 0..1.
    residual_mm : float
        Precision in mm: see :class:`~tumortwin.geometry.Registration`.
    """

    fixed: str
    moving: str
    similarity: float
    overlap: float
    residual_mm: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """Which of "similarity", "overlap" and "residual_mm" are doubtful."""
        return doubts_of(self.similarity, self.overlap, self.residual_mm)


@dataclass(frozen=True, eq=False)
class Observation:
    """What one visit says about the tumor, on the twin's grid.

    Parameters
    ----------
    day : float
        Days since the twin's reference time.
    date : datetime
        When the visit was.
    visit : int
        Its index in ``patient.visits``.
    density : (z, y, x) float32 array
        Cell density from ADC, a fraction of capacity; NaN where the visit does not tell (outside the tumor, necrosis,
        no ADC).
    sigma : float
        Standard deviation of one voxel's density.
    correlation_mm : float
        Correlation length of the density's noise: the s of a Gaussian correlation exp(-r^2 / (2 s^2)), mm.
    whole, enhancing, necrosis : (z, y, x) float32 arrays
        Share of each voxel inside the region, 0..1 (partial volume of the mask on its native grid).
    seen : (z, y, x) bool array
        Voxels that the visit's images cover.
    volumes_ml : mapping of str to float
        Volumes of "whole", "enhancing", "necrosis" in mL on their native grid.
    source : str
        Who drew the masks: "SEG ...", "RTSTRUCT ..." or "segmented".
    transform : (4, 4) array
        World of the twin to world of the visit (ITK's direction).
    registration : RegistrationQuality or None
        Of `transform`; None for the reference visit.
    cavity : (z, y, x) float32 array or None
        Share of each voxel in a resection's cavity: neither tumor nor tissue. None if none was looked for.
    intervals_ml : mapping of str to (float, float)
        90 % intervals of the volumes, by the names of `volumes_ml` and "cavity".
    displacement : Deformation or None
        Applied to points of the twin before the transform, where ``deformable=True`` asked for it.
    """

    day: float
    date: datetime
    visit: int
    density: NDArray[np.float32]
    sigma: float
    correlation_mm: float
    whole: NDArray[np.float32]
    enhancing: NDArray[np.float32]
    necrosis: NDArray[np.float32]
    seen: NDArray[np.bool_]
    volumes_ml: Mapping[str, float]
    source: str
    transform: NDArray[np.float64]
    registration: RegistrationQuality | None = None
    cavity: NDArray[np.float32] | None = None
    intervals_ml: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    displacement: Deformation | None = None


@dataclass(frozen=True, eq=False)
class Irradiation:
    """One fraction on the twin's clock and grid: dose in Gy, a (z, y, x) float32 array or one number."""

    day: float
    dose: NDArray[np.float32] | float


@dataclass(frozen=True)
class Administration:
    """One drug dose on the twin's clock."""

    day: float
    drug: str
    amount: float
    unit: DoseUnit


@dataclass(frozen=True, eq=False)
class Removal:
    """A resection on the twin's clock and grid: share of each voxel taken out, 0..1."""

    day: float
    removed: NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Twin:
    """A patient on one grid and one clock.

    Parameters
    ----------
    patient_id : str
        Whose twin it is.
    reference_time : datetime
        Day 0: the first visit's date and time.
    domain : Domain
        Where the tumor can grow; its grid is the twin's grid.
    anatomy : Volume
        The reference visit's T1Gd (or best image) on the grid, for pictures.
    observations : tuple of Observation
        By day.
    irradiations, administrations, removals : tuples
        Therapy on the twin's clock, by day.
    structures : mapping of str to (z, y, x) float32 arrays
        Organs at risk and targets, share of each voxel.
    dose : (z, y, x) float32 array or None
        Planned total dose in Gy on the grid.
    clinical : Clinical
        Weight, height, markers.
    findings : tuple of Finding
        Of reading and of building.
    sources : mapping of str to str
        Input files and their SHA-256.
    identity_removed : bool
        Nothing here says who it is.
    """

    patient_id: str
    reference_time: datetime
    domain: Domain
    anatomy: Volume
    observations: tuple[Observation, ...]
    irradiations: tuple[Irradiation, ...] = ()
    administrations: tuple[Administration, ...] = ()
    removals: tuple[Removal, ...] = ()
    structures: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    dose: NDArray[np.float32] | None = None
    clinical: Clinical = field(default_factory=Clinical)
    findings: tuple[Finding, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    identity_removed: bool = False

    def day(self, time: datetime) -> float:
        """Days from the reference time to `time`, fractions kept."""
        return (time - self.reference_time) / timedelta(days=1)

    def date(self, day: float) -> datetime:
        """Convert a day to its date and time."""
        return self.reference_time + timedelta(days=day)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, passphrase: str | None = None) -> Path:
        """Write the twin to one .npz file; a passphrase encrypts it (:mod:`tumortwin.vault`).

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is false.
        """
        return archive.save(self, path, overwrite=overwrite, passphrase=passphrase)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, passphrase: str | None = None) -> Twin:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ReadError
            If the file is missing, damaged or holds something else.
        """
        return archive.load(path, cls, passphrase=passphrase)

    def _facts(self) -> list[tuple[str, str]]:
        z, y, x = self.domain.grid.shape
        tissue = float(self.domain.mask.sum()) * self.domain.grid.voxel_volume / 1000
        days = f"day {self.observations[0].day:.0f} to {self.observations[-1].day:.0f}" if self.observations else "none"
        return [
            ("Grid", f"{z} x {y} x {x} voxels of {self.domain.grid.spacing[0]:.3g} mm, {tissue:.0f} mL can hold tumor"),
            ("Visits", f"{len(self.observations)} ({days}), reference time {self.reference_time:%Y-%m-%d %H:%M}"),
            (
                "Therapy",
                f"{len(self.irradiations)} fractions, {len(self.administrations)} drug doses, "
                f"{len(self.removals)} resections",
            ),
            ("Structures", ", ".join(self.structures) or "none"),
            ("Findings", str(len(self.findings))),
        ]

    def __repr__(self) -> str:
        return f"Twin of {self.patient_id}: " + "; ".join(f"{k.lower()} {v}" for k, v in self._facts())

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th style='text-align:left'>{k}</th><td style='text-align:left'>{escape(v)}</td></tr>"
            for k, v in self._facts()
        )
        cells = "".join(
            f"<tr><td>{o.date:%Y-%m-%d}</td><td>{o.day:.1f}</td>"
            + "".join(
                f"<td>{o.volumes_ml.get(name, float('nan')):.1f}</td>" for name in ("whole", "enhancing", "necrosis")
            )
            + f"<td style='text-align:left'>{escape(o.source)}</td></tr>"
            for o in self.observations
        )
        return (
            f"<b>Twin of {escape(self.patient_id)}</b><table>{facts}</table>"
            "<table><tr><th>Date</th><th>Day</th><th>Whole (mL)</th><th>Enhancing (mL)</th><th>Necrosis (mL)</th>"
            f"<th>Drawn by</th></tr>{cells}</table><small>Research use only, not for clinical decisions</small>"
        )
