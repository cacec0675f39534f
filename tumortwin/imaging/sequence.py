"""The kinds of image a visit can hold."""

from enum import StrEnum


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
