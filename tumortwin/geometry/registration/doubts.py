"""When a registration is doubtful: the limits of the numbers that it says of itself."""

from __future__ import annotations

FEW_BITS = 1.03
"""Normalized mutual information below this says that the two images hardly tell about each other."""
SMALL_OVERLAP = 0.8
"""Share of the reference; where the image covers less than this, much of the reference is not seen."""
LARGE_RESIDUAL_MM = 2.0
"""A registration that is less precise than this is doubtful."""


def doubts_of(similarity: float, overlap: float, residual_mm: float) -> tuple[str, ...]:
    """Which numbers of a registration are doubtful.

    Parameters
    ----------
    similarity : float
        Normalized mutual information, 1 to 2.
    overlap : float
        Share of the reference that the image covers, 0..1.
    residual_mm : float
        Precision in mm.

    Returns
    -------
    tuple of str
        Of "similarity", "overlap" and "residual_mm".
    """
    doubtful = {
        "similarity": similarity < FEW_BITS,
        "overlap": overlap < SMALL_OVERLAP,
        "residual_mm": residual_mm > LARGE_RESIDUAL_MM,
    }
    return tuple(name for name, is_so in doubtful.items() if is_so)
