"""Several lesions, measured apart, and which of them response criteria count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.measures.response import Response, measure
from tumortwin.imaging.volume import Mask

LEAST_MM = 10.0
"""Both diameters of a measurable lesion, at least (RANO, Wen et al. 2010, doi:10.1200/JCO.2009.26.3541)."""
THICK_SLICES_MM = 5.0
"""With slices thicker than this, both diameters are at least two slices (ibid.)."""
MOST_TARGETS = 5
"""Lesions that are summed, at most (RANO 2010: the two to five largest)."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """One connected piece.

    Parameters
    ----------
    mask : Mask
        Where it is, in a box of its own.
    size : Response
        Computed from it.
    measurable : bool
        Both diameters are long enough and it is seen on two slices or more.
    target : bool
        It is one of the largest measurable ones, whose sizes are summed.
    """

    mask: Mask
    size: Response
    measurable: bool
    target: bool


@dataclass(frozen=True, eq=False)
class Lesions:
    """All pieces of a mask, the largest bidimensional product first. Computed, not measured by a reader.

    Parameters
    ----------
    all : tuple of Lesion
        The pieces.
    """

    all: tuple[Lesion, ...]

    @property
    def targets(self) -> tuple[Lesion, ...]:
        """The lesions that are summed."""
        return tuple(lesion for lesion in self.all if lesion.target)

    @property
    def not_measurable(self) -> tuple[Lesion, ...]:
        """What is too small to be measured: to be told of, not to be summed."""
        return tuple(lesion for lesion in self.all if not lesion.measurable)

    @property
    def sum_of_products_mm2(self) -> float:
        """Sum of the bidimensional products of the targets (RANO), mm^2."""
        return float(sum(lesion.size.product_mm2 for lesion in self.targets))

    @property
    def sum_of_diameters_mm(self) -> float:
        """Sum of the longest axial diameters of the targets (RECIST, RANO-BM), mm."""
        return float(sum(lesion.size.longest_mm for lesion in self.targets))

    @property
    def volume_ml(self) -> float:
        """Volume of all pieces, measurable or not, mL."""
        return float(sum(lesion.size.volume_ml for lesion in self.all))


def measure_lesions(mask: Mask, *, targets: int = MOST_TARGETS, edge_mm: float | None = None) -> Lesions:
    """Measure each connected piece of a mask.

    Measurable is what RANO calls so: both perpendicular diameters are 10 mm or more (with slices over 5 mm, two slices
    or more) and two slices or more show it. Whether a rim around a cyst or a cavity may be measured, a reader decides.

    Parameters
    ----------
    mask : Mask
        Voxels that touch, corners included, are one lesion.
    targets : int
        Lesions to be summed, at most: five by RANO 2010 and RANO-BM; a protocol may ask for fewer.
    edge_mm : float, optional
        As of :func:`~tumortwin.geometry.measure`.

    Returns
    -------
    Lesions
        None of an empty mask. No response category: that needs a baseline, the clinic and the steroid dose.

    Raises
    ------
    InputError
        If `targets` is not positive.
    """
    if targets < 1:
        raise InputError(f"at least one lesion is a target, not {targets}")
    labels, _ = ndimage.label(mask.array, np.ones((3, 3, 3)))
    pieces = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        piece = mask.cropped(box).with_array(labels[box] == number)
        pieces.append((measure(piece, edge_mm=edge_mm), piece))
    pieces.sort(key=lambda p: (-p[0].product_mm2, -p[0].volume_ml))
    slices = max(mask.grid.spacing)
    least = max(LEAST_MM, 2 * slices if slices > THICK_SLICES_MM else 0.0)
    axis = int(np.argmax(mask.grid.spacing))
    out: list[Lesion] = []
    for size, piece in pieces:
        # the voxels' own steps may cost a 10 mm lesion a hundredth
        measurable = (
            size.perpendicular_mm >= 0.99 * least
            and piece.array.any(tuple(a for a in range(3) if a != axis)).sum() >= 2
        )
        chosen = bool(measurable) and sum(lesion.target for lesion in out) < targets
        out.append(Lesion(piece, size, bool(measurable), chosen))
    return Lesions(tuple(out))
