"""The kinds of image a visit can hold."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from tumortwin.deprecation import renamed

if TYPE_CHECKING:
    from tumortwin.imaging.volume import Volume


class MRSequence(StrEnum):
    """What an MR (or CT) image shows."""

    T1 = "T1"
    T1GD = "T1Gd"
    T2 = "T2"
    FLAIR = "FLAIR"
    ADC = "ADC"
    DWI = "DWI"
    CT = "CT"
    OTHER = "other"


POSE_ORDER = (MRSequence.T1GD, MRSequence.T1, MRSequence.FLAIR, MRSequence.T2, MRSequence.ADC, MRSequence.DWI)
"""Which image stands for a visit's pose."""


TISSUE_ORDER = (MRSequence.T1, MRSequence.T1GD, MRSequence.FLAIR, MRSequence.T2)
"""Which image tells the tissues."""


NORMALIZED = (MRSequence.T1GD, MRSequence.T1, MRSequence.FLAIR, MRSequence.T2)


def first_of(order: tuple[MRSequence, ...], images: Mapping[MRSequence, Volume]) -> MRSequence | None:
    """Find the first sequence of an order that is among the images."""
    return next((sequence for sequence in order if sequence in images), None)


__getattr__ = renamed(__name__, {"Sequence": "MRSequence"})
