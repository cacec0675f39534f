"""A synthetic patient in memory: what the phantom's simulation hands to its DICOM writer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, TotalDose, Volume
from tumortwin.therapy.events import Treatment


class Encoding(StrEnum):
    """How a series is stored."""

    JPEG_LS = "JPEG-LS lossless, a file a slice"
    PLAIN = "uncompressed, a file a slice"
    RLE = "RLE lossless, a file a slice"
    ENHANCED = "enhanced multi-frame MR, one file"


@dataclass(frozen=True, eq=False)
class SyntheticSeries:
    """One MR series as the scanner would give it.

    Parameters
    ----------
    sequence : MRSequence
        T1, T1GD, FLAIR, ADC or DWI.
    volume : Volume
        Signal ("a.u.", float, >= 0) or ADC ("mm^2/s"), on the visit's own grid; the grid's frame is the visit's.
    description : str
        Series description as a vendor would write it.
    encoding : Encoding
        How to store it.
    b_value : float or None
        Diffusion weighting in s/mm^2 of a DWI.
    """

    sequence: MRSequence
    volume: Volume
    description: str
    encoding: Encoding = Encoding.JPEG_LS
    b_value: float | None = None


@dataclass(frozen=True, eq=False)
class SyntheticVisit:
    """One imaging session."""

    date: datetime
    label: str
    series: tuple[SyntheticSeries, ...]
    expert: Mapping[str, Mask] = field(default_factory=dict)
    """What an expert drew: "enhancing", "necrosis", "edema" on the T1Gd's grid; empty if nobody did."""


@dataclass(frozen=True, eq=False)
class SyntheticPatient:
    """Everything that is written as DICOM, and the truth that is written beside it.

    Parameters
    ----------
    id : str
        Patient ID, e.g. "TT-0001".
    seed : int
        Of the random numbers; names every UID.
    visits : tuple of SyntheticVisit
        By date.
    planning_visit : int
        Index of the visit whose T1Gd grid and frame the structures and the dose refer to.
    structures : mapping of str to Mask
        GTV, CTV, PTV, brainstem, chiasm, eyes, brain on the planning T1Gd's grid.
    dose : TotalDose or None
        Planned dose.
    prescribed : float
        Prescribed total dose in Gy.
    treatments : tuple of Treatment
        Fractions (with their times), drug doses, resections, biopsies.
    clinical : mapping
        The rest of ``clinical.json``.
    truth : mapping
        JSON-able numbers: parameters with units, seed, times, poses.
    truth_arrays : mapping of str to Volume
        Density fields, masks, parameter maps by name.
    """

    id: str
    seed: int
    visits: tuple[SyntheticVisit, ...]
    planning_visit: int
    structures: Mapping[str, Mask]
    dose: TotalDose | None
    prescribed: float
    treatments: tuple[Treatment, ...]
    clinical: Mapping[str, Any]
    truth: Mapping[str, Any]
    truth_arrays: Mapping[str, Volume]
    truth_transforms: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """4x4 matrices, world of the anatomy to world of each visit, by visit label."""
