"""White matter, grey matter and CSF from one T1-weighted image and an atlas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.bias import polynomials
from tumortwin.geometry.brain import AtlasOnHead
from tumortwin.geometry.sampling import box_slices
from tumortwin.imaging.volume import Grid, Mask, Volume

ROUNDS = 12
SAMPLES = 40_000
PRIOR_BLUR_MM = 3.0
"""The atlas is trusted to this distance."""
NEIGHBOR_WEIGHT = 2.4
"""Log odds that unanimous neighbors add."""


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
    """

    grid: Grid
    brain: NDArray[np.bool_]
    white: NDArray[np.float32]
    grey: NDArray[np.float32]
    csf: NDArray[np.float32]

    @property
    def mask(self) -> Mask:
        """The brain as a mask."""
        return Mask(self.brain, self.grid, name="brain")


def classify(head: Volume, prior: AtlasOnHead, tumor: NDArray[np.bool_] | None = None) -> Tissue:
    """Part the brain into white matter, grey matter and CSF.

    A Gaussian mixture of the log signal with the atlas as prior and a cubic log field, by expectation maximisation
    (Van Leemput et al. 1999, doi:10.1109/42.811270), then two rounds of neighbors' votes (a mean-field Potts model).
    A fourth class, uniform over the signals seen, takes what is none of them (vessels, dura, scalp). Inside
    the tumor the image says nothing about the tissue it grew in: there the atlas alone speaks, without CSF.

    Parameters
    ----------
    head : Volume
        T1 image (T1Gd and others work less well).
    prior : AtlasOnHead
        The atlas on the same image.
    tumor : (z, y, x) bool array, optional
        The tumor on `prior.grid`.

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
    inside = prior.brain > 0.5
    if not inside.any() or np.median(values[inside]) <= 0:
        raise InputError(f"{head.name or 'head image'}: no signal where the brain should be")
    signal = np.log(np.maximum(values, 0.02 * np.median(values[inside])))
    priors = _priors(prior)
    tumor = np.zeros(grid.shape, bool) if tumor is None else tumor
    near = ndimage.binary_dilation(inside, iterations=max(1, round(4 / min(grid.spacing))))
    index = np.argwhere(near & ~tumor)
    index = index[:: max(1, len(index) // SAMPLES)]
    at = tuple(index.T)
    basis = polynomials(grid, grid.to_world(index))
    means, spreads, field, log_other = _fit(signal[at], priors[:, at[0], at[1], at[2]], basis)
    z, y, x = np.nonzero(near)
    slow = polynomials(grid, grid.to_world(np.column_stack([z, y, x]))) @ field
    residual = (signal[near] - slow)[None] - means[:, None]
    likelihood = np.full((4, *grid.shape), -np.inf, np.float32)
    likelihood[:3, near] = -0.5 * (residual / spreads[:, None]) ** 2 - np.log(spreads[:, None])
    likelihood[3, near] = log_other
    likelihood[:, tumor & near] = 0
    evidence = (likelihood + np.log(priors)).astype(np.float32)
    shares = _posterior(evidence, near)
    for _ in range(2):
        votes = np.stack([ndimage.uniform_filter(share, 3) for share in shares])
        shares = _posterior(evidence + (NEIGHBOR_WEIGHT * votes).astype(np.float32), near)
    white, grey, csf, other = shares
    # what grew there is tumor, not CSF
    solid = white + grey
    unsure = tumor & near
    white[unsure] /= np.maximum(solid[unsure], 1e-6)
    grey[unsure] /= np.maximum(solid[unsure], 1e-6)
    csf[unsure] = other[unsure] = 0
    brain = _whole(white + grey > 0.5, near, grid)
    # the outermost CSF is told from the skull by the atlas alone, where tissue is near
    brain |= inside & (ndimage.distance_transform_edt(~brain, sampling=grid.spacing) <= 2)
    # what is in the brain and none of the three (vessels, falx) holds no tumor either
    return Tissue(grid, brain, *[np.where(brain, share, 0).astype(np.float32) for share in (white, grey, csf + other)])


def _priors(prior: AtlasOnHead) -> NDArray[np.float32]:
    """(4, z, y, x): white, grey, CSF, other; blurred and nowhere quite 0."""
    sigma = PRIOR_BLUR_MM / np.array(prior.grid.spacing) / 2
    white, grey, brain = (ndimage.gaussian_filter(a, sigma) for a in (prior.white, prior.grey, prior.brain))
    csf = np.clip(brain - white - grey, 0, 1) + 0.3 * brain * (1 - brain)
    stack = np.stack([white, grey, csf, np.clip(1 - brain, 0, 1)]) + 0.02
    return (stack / stack.sum(0)).astype(np.float32)


def _fit(signal: NDArray[np.float32], priors: NDArray[np.float32],
         basis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Means and standard deviations of the three tissues' log signal, the field, and the log density of the rest."""
    weights = priors.astype(np.float64)
    log_other = -np.log(max(float(np.ptp(np.percentile(signal, (1, 99)))), 0.5))
    field = np.zeros(basis.shape[1])
    # start from where the atlas is sure; CSF there is a mixture, so put it below the grey matter
    means = np.array([np.median(signal[priors[k] > 0.6]) if (priors[k] > 0.6).sum() > 50 else np.median(signal)
                      for k in range(2)])
    means = np.append(means, min(means) - 0.5)
    spreads = np.array([0.1, 0.12, 0.3])
    for turn in range(ROUNDS):
        flat = signal - basis @ field
        log = -0.5 * ((flat[None] - means[:, None]) / spreads[:, None]) ** 2 - np.log(spreads[:, None])
        log = np.vstack([log - 0.5 * np.log(2 * np.pi), np.full(len(flat), log_other)]) + np.log(priors)
        log -= log.max(0)
        weights = np.exp(log)
        weights /= weights.sum(0)
        count = np.maximum(weights[:3].sum(1), 1)
        means = (weights[:3] @ flat) / count
        spreads = np.sqrt(np.maximum((weights[:3] * (flat[None] - means[:, None]) ** 2).sum(1) / count, 0.02**2))
        if turn >= 2:
            # white and grey matter carry the field; CSF is too dark to
            precision = weights[:2] / spreads[:2, None] ** 2
            expected = (precision * means[:2, None]).sum(0) / np.maximum(precision.sum(0), 1e-12)
            total = precision.sum(0)
            design = basis * total[:, None]
            field = np.linalg.solve(design.T @ basis + 1e-5 * total.sum() * np.eye(basis.shape[1]),
                                    design.T @ (signal - expected))
    return means, spreads, field, float(log_other + 0.5 * np.log(2 * np.pi))


def _posterior(log: NDArray[np.float32], near: NDArray[np.bool_]) -> NDArray[np.float32]:
    shares = np.zeros(log.shape, np.float32)
    inside = log[:, near]
    inside = np.exp(inside - inside.max(0))
    shares[:, near] = inside / inside.sum(0)
    return shares


def _whole(solid: NDArray[np.bool_], near: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """The largest piece of tissue without thin bridges to the outside, with its sulci and ventricles filled."""

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
