"""Where a tumor is in the scans: the box around it, and the ellipsoid that is most like it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.calibration.course import Box
from tumortwin.calibration.observation import QUANTITIES, contour_share
from tumortwin.errors import InputError
from tumortwin.growth.seed import shape_numbers
from tumortwin.twin import Observation, Twin


def tumor_box(twin: Twin, used: Sequence[Observation], margin: float) -> Box:
    """Find the part of a twin's grid within a margin (mm) of the tumor in the scans used.

    Raises
    ------
    InputError
        If no scan shows a tumor in the domain.
    """
    tumor = np.any([contour_share(o, kind) > 0.5 for o in used for kind in QUANTITIES], axis=0) & twin.domain.mask
    if not tumor.any():
        raise InputError(
            f"none of the {len(used)} visits chosen shows a tumor inside the domain: "
            "choose others, or check the contours"
        )
    box = []
    for axis, (n, h) in enumerate(zip(tumor.shape, twin.domain.grid.spacing, strict=True)):
        there = np.nonzero(tumor.any(axis=tuple(a for a in range(3) if a != axis)))[0]
        reach = int(np.ceil(margin / h))
        box.append((max(0, int(there[0]) - reach), min(n, int(there[-1]) + 1 + reach)))
    z, y, x = box
    return z, y, x


def ellipsoid_of(o: Observation, spacing: float) -> tuple[NDArray[np.float64], float, tuple[float, ...]]:
    """Centre (index), radius (mm) and shape numbers of a visit's whole tumor, from its moments."""
    share = contour_share(o, "whole" if o.whole.any() else "core").astype(float)
    # the largest piece: satellites and false positives must not pull the centre
    labels, count = ndimage.label(share > 0.5)
    if count > 1:
        sizes = ndimage.sum_labels(share, labels, range(1, count + 1))
        share = share * (labels == 1 + int(np.argmax(sizes)))
    points = np.argwhere(share > 0)
    weights = share[share > 0]
    center = np.average(points, axis=0, weights=weights)
    offsets = (points - center) * spacing
    # a solid ellipsoid with axes a has second moments a^2 / 5; a voxel's own width keeps a thin one from vanishing
    moments = np.cov(offsets.T, aweights=weights, ddof=0) + np.eye(3) * spacing**2 / 12
    eigenvalues, vectors = np.linalg.eigh(moments)
    radius = (3 * weights.sum() * spacing**3 / (4 * np.pi)) ** (1 / 3)
    return center, float(radius), shape_numbers((vectors * (0.5 * np.log(eigenvalues))) @ vectors.T)
