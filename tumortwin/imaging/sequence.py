"""The kinds of image a visit can hold."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tumortwin.imaging.volume import Volume


class Sequence(StrEnum):
    """What an MR (or CT) image shows."""

    T1 = "T1"
    T1GD = "T1Gd"
    T2 = "T2"
    FLAIR = "FLAIR"
    ADC = "ADC"
    DWI = "DWI"
    CT = "CT"
    OTHER = "other"


POSE_ORDER = (Sequence.T1GD, Sequence.T1, Sequence.FLAIR, Sequence.T2, Sequence.ADC, Sequence.DWI)
"""Which image stands for a visit's pose."""


TISSUE_ORDER = (Sequence.T1, Sequence.T1GD, Sequence.FLAIR, Sequence.T2)
"""Which image tells the tissues."""


NORMALIZED = (Sequence.T1GD, Sequence.T1, Sequence.FLAIR, Sequence.T2)


def first_of(order: tuple[Sequence, ...], images: Mapping[Sequence, Volume]) -> Sequence | None:
    """The first sequence of an order that is among the images."""
    return next((sequence for sequence in order if sequence in images), None)
