"""Shares of white matter, grey matter and CSF from one T1-weighted image and an atlas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.brain.atlas import AtlasOnHead
from tumortwin.geometry.brain.bias import fit_field, polynomials
from tumortwin.geometry.brain.compartments import Compartments
from tumortwin.geometry.sampling import box_slices
from tumortwin.imaging.volume import Grid, Mask, Volume

ROUNDS = 12
SAMPLES = 40_000
PRIOR_BLUR_MM = 3.0
"""The atlas is trusted to this distance."""
NEAR_MM = 4.0
"""How far the brain may exceed that of the atlas."""
NEIGHBOR_WEIGHT = 2.4
"""Log odds that unanimous neighbors add."""
THICK_MM = 3.0
"""Radius of the smallest ball of outliers that counts as a lesion; vessels and dura are thinner."""

_STEPS = (0.25, 0.5, 0.75)
_MIXTURES = np.array(
    [(1, 0, 0), (0, 1, 0), (0, 0, 1), *((1 - f, f, 0) for f in _STEPS), *((0, 1 - f, f) for f in _STEPS)]
)
"""Shares of white matter, grey matter and CSF that a voxel may hold: pure ones, and those of two that touch."""
_LOG_WEIGHTS = np.array([0, 0, 0, -3, -3, -3, -2, -2, -2])
"""Log prior weight of each; white and grey matter meet in fewer voxels than grey matter and CSF."""
_WITH_OTHER = np.pad(_MIXTURES, (0, 1))
_WITH_OTHER[-1, -1] = 1
"""The same as shares of four, the last of which is none of the three."""


@dataclass(frozen=True, eq=False)
class Tissue:
    """What the head is made of, near the brain.

    Parameters
    ----------
    grid : Grid
        The head image's grid cropped to the brain.
    brain : (z, y, x) bool array
        White and grey matter and the CSF between them.
    white, grey, csf : (z, y, x) float32 arrays
        Shares, 0..1, summing to 1 in the brain and to 0 outside.
    compartments : Compartments, optional
        Hemispheres, and what lies below the tentorium, as the atlas has them.
    """

    grid: Grid
    brain: NDArray[np.bool_]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    csf: NDArray[np.float32]
    compartments: Compartments | None = None

    @property
    def mask(self) -> Mask:
        """The brain as a mask."""
        return Mask(self.brain, self.grid, name="brain")


def classify(
    head: Volume, prior: AtlasOnHead, tumor: NDArray[np.bool_] | None = None, brain: NDArray[np.bool_] | None = None
) -> Tissue:
    """Part the brain into white matter, grey matter and CSF.

    A mixture of Gaussians with the atlas as prior and a cubic log field, by expectation maximisation (Van Leemput et
    al. 1999, doi:10.1109/42.811270). Beside the pure classes there are voxels that two tissues share in quarters
    (partial volume; Shattuck et al. 2001, doi:10.1006/nimg.2000.0730), so that shares are fractions and not only
    probabilities. Two rounds of neighbors' votes follow (a mean-field Potts model). A last class, uniform over the
    signals seen, takes what is none of them (vessels, dura, scalp). Inside the tumor, and in any thick piece brighter
    than all tissue, the image says nothing about the tissue it grew in: there the atlas alone speaks, without CSF.

    Parameters
    ----------
    head : Volume
        T1 image (T1Gd and others work less well).
    prior : AtlasOnHead
        The atlas on the same image.
    tumor : (z, y, x) bool array, optional
        The tumor on `prior.grid`.
    brain : (z, y, x) bool array, optional
        The brain on `prior.grid`, if it is known: it is taken as it is.

    Returns
    -------
    Tissue

    Raises
    ------
    InputError
        If the image is empty where the atlas found the brain.
    """
    grid = prior.grid
    offset = np.rint(head.grid.to_index(grid.to_world([0, 0, 0]))).astype(int)
    box = box_slices(offset, offset + grid.shape)
    values = head.array[box].astype(np.float32)
    if brain is not None:
        prior = replace(prior, brain=brain.astype(np.float32))
    inside = prior.brain > 0.5
    if not inside.any() or np.median(values[inside]) <= 0:
        raise InputError(f"{head.name or 'head image'}: no signal where the brain should be")
    # logarithms and exponentials in double precision: in single, each processor's differ, and the rounds enlarge that
    signal = np.log(np.maximum(values, 0.02 * np.median(values[inside])), dtype=float).astype(np.float32)
    priors = _priors(prior)
    tumor = np.zeros(grid.shape, bool) if tumor is None else tumor
    near = ndimage.distance_transform_edt(~inside, sampling=grid.spacing) <= NEAR_MM
    index = np.argwhere(near & ~tumor)
    index = index[:: max(1, len(index) // SAMPLES)]
    at = tuple(index.T)
    basis = polynomials(grid, grid.to_world(index))
    model = _fit(signal[at], priors[:, at[0], at[1], at[2]], basis)
    z, y, x = np.nonzero(near)
    flat = np.exp(signal[near] - polynomials(grid, grid.to_world(np.column_stack([z, y, x]))) @ model.field)
    likelihood = model.likelihood(flat)
    weights = np.append(_LOG_WEIGHTS, 0.0)[:, None]
    evidence = likelihood + (_WITH_OTHER @ np.log(priors[:, near], dtype=float) + weights).astype(np.float32)
    shares = _shares(evidence, near)
    bright = np.zeros(grid.shape, bool)
    bright[near] = flat > model.means.max() + 2 * model.spread
    unsure = (tumor | _lesion(bright & (shares[3] > 0.5), inside, grid)) & near
    # of what grew there only the place is known
    evidence[:, unsure[near]] -= likelihood[:, unsure[near]]
    evidence[3:-1, unsure[near]] = -np.inf
    shares = _shares(evidence, near)
    for _ in range(2):
        votes = np.stack([ndimage.uniform_filter(share, 3) for share in shares])[:, near]
        shares = _shares(evidence + (NEIGHBOR_WEIGHT * _WITH_OTHER @ votes).astype(np.float32), near)
    white, grey, csf, other = shares
    # what grew there is tumor, not CSF
    solid = white + grey
    white[unsure] /= np.maximum(solid[unsure], 1e-6)
    grey[unsure] /= np.maximum(solid[unsure], 1e-6)
    csf[unsure] = other[unsure] = 0
    if brain is None:
        brain = _whole(white + grey > 0.5, near, grid)
        # the outermost CSF is told from the skull by the atlas alone, where tissue is near
        brain |= inside & (ndimage.distance_transform_edt(~brain, sampling=grid.spacing) <= 2)
    # what is in the brain and none of the three (vessels, falx) holds no tumor either
    white, grey, csf = (np.where(brain, share, 0).astype(np.float32) for share in (white, grey, csf + other))
    return Tissue(grid, brain, white, grey, csf, prior.compartments)


def _priors(prior: AtlasOnHead) -> NDArray[np.float32]:
    """(4, z, y, x): white, grey, CSF, other; blurred and nowhere quite 0."""
    sigma = PRIOR_BLUR_MM / np.array(prior.grid.spacing) / 2
    white, grey, brain = (ndimage.gaussian_filter(a, sigma) for a in (prior.white, prior.grey, prior.brain))
    csf = np.clip(brain - white - grey, 0, 1) + 0.3 * brain * (1 - brain)
    stack = np.stack([white, grey, csf, np.clip(1 - brain, 0, 1)]) + 0.02
    return (stack / stack.sum(0)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Model:
    """Signals of the pure tissues (3,), their common standard deviation, the field, and the log density of the rest."""

    means: NDArray[np.float64]
    spread: float
    field: NDArray[np.float64]
    log_other: float

    def likelihood(self, flat: NDArray[np.float64]) -> NDArray[np.float32]:
        """Log density of signals without the field, (mixtures + 1, n); the constant of the normal density left out."""
        residual = (flat[None] - (_MIXTURES @ self.means)[:, None]) / self.spread
        log = (-0.5 * residual**2 - np.log(self.spread)).astype(np.float32)
        return np.vstack([log, np.full((1, len(flat)), self.log_other, np.float32)])


def _fit(signal: NDArray[np.float32], priors: NDArray[np.float32], basis: NDArray[np.float64]) -> _Model:
    """Fit tissue signals and field by expectation maximization: log signals (n,), priors (4, n), polynomials (n, m)."""
    scale = float(np.exp(np.median(signal)))
    weights = np.append(_LOG_WEIGHTS, 0.0)[:, None] + _WITH_OTHER @ np.log(priors, dtype=float)
    # start from where the atlas is sure; CSF there is a mixture, so put it below the grey matter
    sure = np.maximum(priors[0], priors[1]) > 0.6
    is_white = priors[0] > 0.6
    if min((sure & is_white).sum(), (sure & ~is_white).sum()) > 50:
        start = fit_field(signal[sure], is_white[sure], basis[sure])
    else:
        start = np.append([np.log(scale)] * 2, np.zeros(basis.shape[1]))
    means = np.append(np.exp(start[:2]), 0.5 * np.exp(start[:2].min()))
    flat = np.exp(signal - basis @ start[2:])
    log_other = float(0.5 * np.log(2 * np.pi) - np.log(max(np.ptp(np.percentile(flat, (1, 99))), 0.5 * scale)))
    model = _Model(means, 0.12 * scale, start[2:], log_other)
    carriers = _MIXTURES[:, 2] < 0.5
    for turn in range(ROUNDS):
        flat = np.exp(signal - basis @ model.field)
        share = model.likelihood(flat) + weights
        share = np.exp(share - share.max(0))
        share = (share / share.sum(0))[:-1]
        # least squares of the pure signals, each mixture's being their mean
        normal = (_MIXTURES.T * share.sum(1)) @ _MIXTURES
        means = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(3), _MIXTURES.T @ (share @ flat))
        means = np.maximum(means, 0.02 * scale)
        mixed = _MIXTURES @ means
        rest = (share * (flat[None] - mixed[:, None]) ** 2).sum() / max(share.sum(), 1)
        field = model.field
        if turn >= 2:
            # white and grey matter carry the field; CSF is too dark to
            precision = share[carriers] * mixed[carriers, None] ** 2
            total = precision.sum(0)
            expected = (precision * np.log(mixed[carriers, None])).sum(0) / np.maximum(total, 1e-12)
            design = basis * total[:, None]
            field = np.linalg.solve(
                design.T @ basis + 1e-5 * total.sum() * np.eye(basis.shape[1]), design.T @ (signal - expected)
            )
        model = _Model(means, float(np.sqrt(max(rest, (0.02 * scale) ** 2))), field, log_other)
    return model


def _shares(evidence: NDArray[np.float32], near: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean shares (4, z, y, x) of white matter, grey matter, CSF and other under the posterior of the mixtures."""
    weights = np.exp(evidence - evidence.max(0), dtype=float)
    shares = np.zeros((4, *near.shape), np.float32)
    shares[:, near] = _WITH_OTHER.T @ (weights / weights.sum(0))
    return shares


def _lesion(outliers: NDArray[np.bool_], inside: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Thick pieces of outliers well inside the brain."""
    deep = ndimage.distance_transform_edt(inside, sampling=grid.spacing) > THICK_MM
    outliers = outliers & deep
    core = ndimage.distance_transform_edt(outliers, sampling=grid.spacing) > THICK_MM
    if not core.any():
        return core
    return outliers & (ndimage.distance_transform_edt(~core, sampling=grid.spacing) <= 2 * THICK_MM)


def _whole(solid: NDArray[np.bool_], near: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Keep the largest piece of tissue without thin bridges to the outside, and fill its sulci and ventricles."""

    def ball(radius_mm: float) -> NDArray[np.bool_]:
        reach = [int(radius_mm / s) for s in grid.spacing]
        axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
        return np.asarray(sum((a * s) ** 2 for a, s in zip(axes, grid.spacing, strict=True)) <= radius_mm**2)

    opened = ndimage.binary_opening(solid, ball(2.5))
    labels, count = ndimage.label(opened)
    if count == 0:
        raise InputError("no brain tissue was found in the head image")
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    body = ndimage.binary_dilation(largest, ball(2.5)) & solid
    padded = np.pad(body, 8)
    closed = ndimage.binary_closing(padded, ball(8))[8:-8, 8:-8, 8:-8]
    return ndimage.binary_fill_holes(closed) & near
