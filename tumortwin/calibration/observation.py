"""What the scans would show if the model were right: the observation model and its residuals.

A contour is where the density crosses a threshold. Model and data are compared as blurred regions: the predicted
region and the observed one, both smoothed over a few mm in space. A softness in density instead of space would make the
front's width, and with it the diffusivity, follow from how sharply a contour is drawn.

Density from ADC is a + b v, with a and b unknown: edema and healthy tissue are in the ADC too. v is what can be seen:
living cells and killed ones that are not cleared yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import logit

from tumortwin.calibration.unknowns import (
    ADC_OFFSET,
    ADC_SCALE,
    CORE,
    READER_CORE,
    READER_WHOLE,
    WHOLE,
)
from tumortwin.twin import Observation

BLUR_MM = 3.0
"""Standard deviation of the Gaussian that regions are compared through: about what two readers' contours differ by."""

QUANTITIES = {"whole": WHOLE, "core": CORE}
"""The contours, each with the unknown that is its threshold: FLAIR's, and T1Gd's with the necrosis inside."""

_REGIONS = {"whole": "whole", "core": "enhancing"}
"""The region of an observation that tells of a contour."""

FLAT = 0.2
"""Slope of log-odds, per mm, below which a contour is soft: on a plateau, noise decides what is inside."""

READERS = {"whole": READER_WHOLE, "core": READER_CORE}
"""How an algorithm's contours differ from a person's, each an unknown."""

CONTOUR_SIGMA = 0.15
"""First guess of a contour residual's standard deviation; the fit estimates it anew from its own residuals."""

MODEL_SIGMA = 0.2
"""What the density from ADC is off by besides noise: edema and necrosis are in it, over whole regions."""

REACH_MM = 12.0
"""Contours are compared up to this distance outside the whole tumor of any visit."""

SEGMENTED_SIGMA = 2.0
"""Factor on the standard deviation of contours that an algorithm drew: they err by more than a person's."""

PSEUDOPROGRESSION_DAYS = 84.0
"""Scans this soon after radiotherapy also show what it has killed (RANO: 12 weeks)."""

PSEUDOPROGRESSION_SIGMA = 1.5
"""Factor on the standard deviation of those scans."""


class Regions:
    """Turns densities into blurred regions on one grid.

    Parameters
    ----------
    mask : (z, y, x) bool array
        Where cells can be.
    spacing : (3,) sequence of float
        Voxel edges along z, y, x in mm.
    """

    def __init__(self, mask: NDArray[np.bool_], spacing: Sequence[float]) -> None:
        self._mask, self._spacing = mask, tuple(spacing)
        self._sigma = [BLUR_MM / h for h in spacing]
        # beyond the wall the density is 0, which is no slope of the tumor: there the nearest voxel inside counts
        self._nearest = tuple(ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True))

    def log_odds(self, density: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log-odds of a (z, y, x) density, and their slope per mm."""
        # an overshoot of the scheme is not more than "certainly inside": only the observation is bounded
        odds = logit(np.clip(density, 1e-6, 1 - 1e-6).astype(np.float32))[self._nearest]
        return odds, np.sqrt(sum(g**2 for g in np.gradient(odds, *self._spacing)) + FLAT**2)

    def inside(
        self, odds: tuple[NDArray[np.float32], NDArray[np.float32]], threshold: float, outward: float = 0.0
    ) -> NDArray[np.float32]:
        """Share of each voxel inside the contour at a threshold of the log-odds, moved outward by some mm.

        A voxel that the contour passes through counts by the part inside: by its log-odds above the threshold over
        their slope, which is the distance to the contour for a logistic front, so that the result is smooth.
        """
        distance = (odds[0] - np.float32(threshold)) / odds[1] + np.float32(outward)
        return np.clip(0.5 + distance / min(self._spacing), 0, 1)

    def blurred(self, share: NDArray[np.floating], valid: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Blur the part of a region inside the domain (and where a visit's observation is valid)."""
        inside = (share * (self._mask if valid is None else self._mask & valid)).astype(np.float32)
        return ndimage.gaussian_filter(inside, self._sigma, truncate=3, mode="constant")


@dataclass(frozen=True, eq=False)
class Channel:
    """One kind of data at one visit.

    Parameters
    ----------
    visit : int
        Index among the observations used.
    kind : str
        "whole", "core" or "density".
    where : (z, y, x) bool array
        Voxels that are compared.
    data : (n,) float32 array
        What was observed there; a contour's region blurred.
    sigma : float
        Standard deviation of one voxel's residual.
    segmented : bool
        Whether an algorithm drew the contour; at other visits a person did.
    valid : (z, y, x) bool array or None
        Voxels that the visit tells of, before blurring; all if None.
    """

    visit: int
    kind: str
    where: NDArray[np.bool_]
    data: NDArray[np.float32]
    sigma: float
    segmented: bool = False
    valid: NDArray[np.bool_] | None = None


def residuals(
    channels: Sequence[Channel], visible: Sequence[NDArray[np.floating]], values: Mapping[str, float], regions: Regions
) -> list[NDArray[np.float64]]:
    """(prediction - data) / sigma of each channel.

    Parameters
    ----------
    channels : sequence of Channel
        What is compared.
    visible : sequence of (z, y, x) arrays
        Visible density at each visit.
    values : mapping of str to float
        The unknowns, in their units.
    regions : Regions
        Of the grid.
    """
    odds = [regions.log_odds(v) for v in visible]
    found = []
    for c in channels:
        if c.kind == "density":
            predicted = values[ADC_OFFSET.name] + values[ADC_SCALE.name] * visible[c.visit][c.where].astype(np.float64)
        else:
            threshold = float(logit(values[QUANTITIES[c.kind].name]))
            outward = values[READERS[c.kind].name] if c.segmented else 0.0
            region = regions.inside(odds[c.visit], threshold, outward)
            predicted = regions.blurred(region, c.valid)[c.where].astype(np.float64)
        found.append((predicted - c.data) / c.sigma)
    return found


def contour_share(observation: Observation, kind: str) -> NDArray[np.float32]:
    """Compute the observed share of each voxel inside a contour; the core is enhancing rim and enclosed necrosis."""
    if kind == "whole":
        return observation.whole
    return np.clip(observation.enhancing + observation.necrosis, 0, 1)


def segmented(observation: Observation, kind: str) -> bool:
    """Whether an algorithm drew a contour: the whole tumor's, or the core's and so everything."""
    return "segmented" in observation.source if kind == "whole" else observation.source.startswith("segmented")


def contour_ml(observation: Observation, kind: str) -> float:
    """Compute the observed volume inside a contour in mL."""
    volumes = observation.volumes_ml
    return volumes["whole"] if kind == "whole" else volumes["enhancing"] + volumes.get("necrosis", 0.0)


def channels(
    observations: Sequence[Observation],
    mask: NDArray[np.bool_],
    spacing: Sequence[float],
    fractions: Sequence[float] = (),
) -> tuple[Channel, ...]:
    """Select what of the observations is compared with the model.

    Parameters
    ----------
    observations : sequence of Observation
        On one grid.
    mask : (z, y, x) bool array
        Where cells can be.
    spacing : (3,) sequence of float
        Voxel edges in mm.
    fractions : sequence of float
        Days of radiotherapy.

    Notes
    -----
    Before treatment, necrosis counts with the enhancing rim that encloses it: cells fill it as far as the model goes.
    After the first fraction it is dead tissue that is resorbed in months, and tells nothing of the cells there: its
    voxels are left out.
    """
    tumor = np.any([contour_share(o, kind) > 0.5 for o in observations for kind in QUANTITIES], axis=0)
    if not tumor.any():
        return ()
    near = mask & (ndimage.distance_transform_edt(~tumor, sampling=spacing) <= REACH_MM)
    regions = Regions(mask, spacing)
    found = []
    for visit, o in enumerate(observations):
        soon = bool(fractions) and 0 < o.day - max(fractions) < PSEUDOPROGRESSION_DAYS
        factor = PSEUDOPROGRESSION_SIGMA if soon else 1.0
        treated = bool(fractions) and o.day > min(fractions)
        compared = near & o.seen
        for kind in QUANTITIES:
            share = contour_share(o, kind)
            # where anything was outlined, an empty region says "none"; where nothing was, nobody may have looked
            if not share.any() and not (_REGIONS[kind] in o.volumes_ml and o.whole.any()):
                continue
            valid = o.necrosis < 0.25 if treated and kind == "core" and o.necrosis.any() else None
            where = compared if valid is None else compared & valid
            if where.any():
                machine = segmented(o, kind)
                sigma = CONTOUR_SIGMA * factor * (SEGMENTED_SIGMA if machine else 1.0)
                found.append(Channel(visit, kind, where, regions.blurred(share, valid)[where], sigma, machine, valid))
        where = compared & np.isfinite(o.density)
        if where.any():
            sigma = factor * float(np.hypot(o.sigma, MODEL_SIGMA))
            found.append(Channel(visit, "density", where, o.density[where], sigma))
    return tuple(found)


def reweighted(channels: Sequence[Channel], residuals: Sequence[NDArray[np.float64]]) -> tuple[Channel, ...]:
    """Scale the channels' standard deviations by the residuals of a fit, one factor for each kind.

    Only voxels that could tell count: far inside and far outside a contour every model is right.
    """
    squares: dict[str, list[NDArray[np.float64]]] = {}
    for channel, residual in zip(channels, residuals, strict=True):
        squares.setdefault(channel.kind, []).append(residual[informative(channel, residual)] ** 2)
    factors = {
        kind: float(np.sqrt(np.mean(np.concatenate(parts)))) if sum(map(len, parts)) else 1.0
        for kind, parts in squares.items()
    }
    # a close fit is no proof of good data where it may be chance (few voxels), or where an offset and a scale are
    # fitted to an error of whole regions (density)
    least = {"density": 1.0}
    return tuple(replace(c, sigma=c.sigma * max(factors[c.kind], least.get(c.kind, 0.25))) for c in channels)


def informative(channel: Channel, residual: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Voxels of a channel whose data could be otherwise: all of a density, a contour's edge (observed or predicted)."""
    if channel.kind == "density":
        return np.ones(residual.shape, bool)
    predicted = residual * channel.sigma + channel.data
    return (
        ((channel.data > 0.05) & (channel.data < 0.95))
        | ((predicted > 0.05) & (predicted < 0.95))
        | (np.abs(predicted - channel.data) > 0.05)
    )
