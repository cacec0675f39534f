"""Labels that hold over visits: a voxel does not flicker between tumor and normal without evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from tumortwin.errors import InputError
from tumortwin.geometry.segmentation.certainty import segmented_interval
from tumortwin.geometry.segmentation.regions import Region, united, without
from tumortwin.geometry.segmentation.tumor import TumorMasks
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Grid, Mask, Volume

CHANGES_PER_DAY = 1 / 50
"""How often a voxel's label changes either way, 1/day: after 20 days 28 % would have changed, were nothing seen."""
CERTAIN = 12.0
"""Log odds beyond this say no more."""


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Labels of all visits, each in the light of the others.

    Parameters
    ----------
    log_odds : tuple of (z, y, x) float32 arrays
        For each visit, for a voxel to be tumor.
    changed : tuple of int
        For each visit, voxels whose label turned over.
    """

    log_odds: tuple[NDArray[np.float32], ...]
    changed: tuple[int, ...]


def smooth_over_visits(
    log_odds: Sequence[NDArray[np.float32]],
    days: Sequence[float],
    *,
    rate: float = CHANGES_PER_DAY,
    fixed: Sequence[bool] | None = None,
    breaks: Sequence[float] = (),
) -> Smoothed:
    """Weigh each visit's evidence with that of the visits before and after, voxel by voxel.

    Each voxel is a two-state Markov chain in continuous time, tumor and normal, that changes either way at the same
    rate: growth and regression are alike. Between visits t days apart it keeps its state with probability
    (1 + exp(-2 rate t)) / 2. The forward-backward algorithm (Rabiner 1989, doi:10.1109/5.18626) gives the probability
    of each state at each visit in the light of all; strong evidence at a visit outweighs its neighbors.

    Parameters
    ----------
    log_odds : sequence of (z, y, x) arrays
        Evidence of each visit, tumor against normal, on one grid; 0 or NaN where a visit does not tell.
    days : sequence of float
        When the visits were, ascending.
    rate : float
        Changes per day.
    fixed : sequence of bool, optional
        Visits whose label stands (drawn): they inform the others and are given back as they came.
    breaks : sequence of float
        Days across which nothing is carried: resections.

    Raises
    ------
    InputError
        If the visits are not in order, their arrays not alike, or the rate not positive.
    """
    count = len(log_odds)
    if len(days) != count or (fixed is not None and len(fixed) != count):
        raise InputError(f"{count} visits need {count} days and as many flags")
    if count == 0:
        return Smoothed((), ())
    if len({e.shape for e in log_odds}) != 1:
        raise InputError(f"the visits' evidence lies on one grid, not on {sorted({e.shape for e in log_odds})}")
    gaps = np.diff(days)
    if (gaps < 0).any() or not rate > 0:
        raise InputError(f"visits are in order and the rate is positive, not {list(days)} and {rate}")
    evidence = [np.clip(np.nan_to_num(e), -CERTAIN, CERTAIN).astype(np.float32) for e in log_odds]
    keeps = [
        0.5 if any(a < cut <= b for cut in breaks) else 0.5 * (1 + np.exp(-2 * rate * (b - a)))
        for a, b in pairwise(days)
    ]
    before = [np.zeros_like(evidence[0])]
    for e, keep in zip(evidence[:-1], keeps, strict=True):
        before.append(_carried(before[-1] + e, keep))
    after = [np.zeros_like(evidence[0])]
    for e, keep in zip(evidence[:0:-1], keeps[::-1], strict=True):
        after.append(_carried(after[-1] + e, keep))
    out, changed = [], []
    for i, (e, b, a) in enumerate(zip(evidence, before, after[::-1], strict=True)):
        still = fixed is not None and fixed[i]
        total = e if still else e + b + a
        out.append(total)
        changed.append(int(((total > 0) != (e > 0)).sum()))
    return Smoothed(tuple(out), tuple(changed))


def _carried(log_odds: NDArray[np.float32], keep: float) -> NDArray[np.float32]:
    """Log odds after a time in which a state is kept with a probability."""
    p = special.expit(log_odds)
    moved = keep * p + (1 - keep) * (1 - p)
    return special.logit(np.clip(moved, 1e-6, 1 - 1e-6)).astype(np.float32)


def flicker(labels: Sequence[NDArray[np.bool_]]) -> int:
    """Voxels whose label changes at a visit and changes back at the next, counted over all visits."""
    return sum(int(((a == c) & (a != b)).sum()) for a, b, c in zip(labels, labels[1:], labels[2:], strict=False))


def hold_over_visits(
    tumors: Sequence[TumorMasks],
    transforms: Sequence[NDArray[np.float64]],
    days: Sequence[float],
    grid: Grid,
    resections: Sequence[float] = (),
) -> tuple[tuple[TumorMasks, ...], tuple[int, ...]]:
    """Make the whole tumors of all visits again, each in the light of the others.

    What was drawn stays as it is and counts as evidence. Enhancement, necrosis and cavity stay, too: they change within
    weeks. What the others add to a visit's log odds is brought onto its own grid, so that its own evidence is not
    blurred.

    Parameters
    ----------
    tumors : sequence of TumorMasks
        By day.
    transforms : sequence of (4, 4) arrays
        World of `grid` to world of each visit.
    days : sequence of float
        When the visits were.
    grid : Grid
        Common to all visits; the reference visit's.
    resections : sequence of float
        Days of surgery: what was seen before says nothing about after.

    Returns
    -------
    tuple of TumorMasks, tuple of int
        And for each visit the voxels of its own grid whose label turned over.
    """
    own = [
        None
        if t.probability is None
        else t.probability.with_array(special.logit(np.clip(t.probability.array, 1e-5, 1 - 1e-5)).astype(np.float32))
        for t in tumors
    ]
    common = [
        np.zeros(grid.shape, np.float32) if e is None else resample(e, grid, matrix).array
        for e, matrix in zip(own, transforms, strict=True)
    ]
    # 0 is what a visit does not show
    likely = np.argwhere(np.logical_or.reduce([(e > -3) & (e != 0) for e in common]))
    if not len(likely):
        return tuple(tumors), (0,) * len(tumors)
    low, high = likely.min(0), likely.max(0) + 1
    box = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2])))
    near = grid.cropped(box)
    aligned = [e[box] for e in common]
    fixed = [not t.segmented for t in tumors]
    smooth = smooth_over_visits(aligned, days, fixed=fixed, breaks=resections)
    out, changed = [], []
    for tumor, evidence, before, after, matrix in zip(tumors, own, aligned, smooth.log_odds, transforms, strict=True):
        if not tumor.segmented or evidence is None:
            out.append(tumor)
            changed.append(0)
            continue
        back = np.asarray(np.linalg.inv(matrix), np.float64)
        gain = resample(Volume(after - np.clip(before, -CERTAIN, CERTAIN), near), evidence.grid, back).array
        again = _made_again(tumor, evidence.with_array(evidence.array + gain))
        out.append(again)
        changed.append(int((again.whole.array != resample(tumor.whole, again.whole.grid).array).sum()))
    return tuple(out), tuple(changed)


def _made_again(tumor: TumorMasks, log_odds: Volume) -> TumorMasks:
    """Segment the whole tumor again from other log odds, without pieces that were not there before."""
    region = log_odds.array > 0
    labels, count = ndimage.label(region)
    kept = np.zeros(count + 1, bool)
    kept[np.unique(labels[resample(tumor.whole, log_odds.grid).array])] = True
    kept[0] = False
    whole = united(Mask(kept[labels], log_odds.grid, name=tumor.whole.name), tumor.enhancing, tumor.necrosis)
    if tumor.cavity is not None:
        whole = without(whole, tumor.cavity)
    belief = special.expit(log_odds.array).astype(np.float32)
    intervals = {**tumor.intervals_ml, Region.WHOLE: segmented_interval(log_odds.array, whole)}
    return replace(tumor, whole=whole, probability=log_odds.with_array(belief), intervals_ml=intervals)
