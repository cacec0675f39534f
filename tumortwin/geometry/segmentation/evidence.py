"""How much lesion a voxel holds: several images weighed together against what normal tissue would show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid

PURE = 0.8
"""Share from which a voxel counts as one tissue."""
SAMPLES = 100_000
FEWEST = 300
"""Voxels, at most and at least, that normal signals are learned from."""
NEIGHBORS = 0.5
"""Log odds that unanimous neighbors add to a voxel's own."""
UNSURE_LEVEL = 0.15
"""SD of the lesion's full signal from place to place, as a share of its contrast, where it cannot be estimated."""


@dataclass(frozen=True, eq=False)
class NormalSignal:
    """What normal tissue shows on several images: expected signal and how it strays.

    A voxel's expected signal is the mean of those of white matter, grey matter and CSF by their shares. How signals
    stray from it (noise, anatomy, shares that are not quite right) is a covariance between the images, for four kinds
    of voxels: white, grey, mixed, and partly CSF.

    Parameters
    ----------
    sequences : tuple of MRSequence
        Of the n images.
    levels : (3, n) array
        Signals of white matter, grey matter and CSF.
    covariances : (4, n, n) array
        Of the residuals of the four kinds.
    offsets : (4, n) array
        Their means.
    """

    sequences: tuple[MRSequence, ...]
    levels: NDArray[np.float64]
    covariances: NDArray[np.float64]
    offsets: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        images: Mapping[MRSequence, NDArray[np.float32]],
        white: NDArray[np.float32],
        grey: NDArray[np.float32],
        brain: NDArray[np.bool_],
        exclude: NDArray[np.bool_],
    ) -> NormalSignal:
        """Learn it from a visit's own brain outside the lesion.

        Medians and clipped covariances: what is left of the lesion outside `exclude` does not count.
        """
        names = tuple(images)
        index = np.flatnonzero(brain & ~exclude)
        index = index[:: max(1, len(index) // SAMPLES)]
        white, grey = white.ravel()[index], grey.ravel()[index]
        seen = np.stack([images[name].ravel()[index] for name in names], -1)
        levels = np.ones((3, len(names)))
        for k, pure in enumerate((white > 0.95, grey > 0.95, white + grey < 0.05)):
            if pure.sum() >= FEWEST // 10:
                levels[k] = np.median(seen[pure], 0)
        unsettled = cls(names, levels, np.zeros((4, len(names), len(names))), np.zeros((4, len(names))))
        covariances, offsets = unsettled.covariances.copy(), unsettled.offsets.copy()
        residual = seen - unsettled.expected(white, grey)
        kind = kinds_of(white, grey)
        overall = _spread(residual)
        for k in range(4):
            few = residual[kind == k]
            covariances[k], offsets[k] = _spread(few) if len(few) >= FEWEST else overall
        return cls(names, levels, covariances, offsets)

    def expected(self, white: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the normal signal (..., n) of voxels of these shares; what is neither white nor grey is CSF."""
        csf = np.clip(1 - white - grey, 0, 1)
        shares = np.stack([white, grey, csf], -1)
        return (shares @ self.levels).astype(np.float32)

    def only(self, sequences: tuple[MRSequence, ...]) -> NormalSignal:
        """Restrict the normal signal to some of the images."""
        at = [self.sequences.index(s) for s in sequences]
        return NormalSignal(sequences, self.levels[:, at], self.covariances[:, at][:, :, at], self.offsets[:, at])


def kinds_of(white: NDArray[np.float32], grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0 white, 1 grey, 2 mixed, 3 partly CSF."""
    kinds = np.full(white.shape, 2, np.uint8)
    kinds[grey > PURE] = 1
    kinds[white > PURE] = 0
    kinds[white + grey < 0.9] = 3
    return kinds


def _spread(residual: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance and mean of what lies within 3 standard deviations."""
    middle = np.median(residual, 0).astype(float)
    spread = np.maximum(1.4826 * np.median(np.abs(residual - middle), 0), 1e-9)
    kept = residual[(np.abs(residual - middle) < 3 * spread).all(1)]
    floor = np.diag((0.1 * spread) ** 2)
    if len(kept) < 10:
        return np.diag(spread**2), middle
    # clipping at 3 SD takes 3 % off a Gaussian's variance: left as it is
    return np.cov(kept.T).reshape(len(middle), len(middle)) + floor, middle


@dataclass(frozen=True, eq=False)
class LesionSignal:
    """Share of lesion in each voxel, as the images together say.

    A voxel's signal is taken for a mixture, (1 - a) normal + a lesion. The best linear estimate of a from several
    images is a = c' S^-1 (I - n) / c' S^-1 c with the contrast c = lesion - n(x) and the covariance S of normal
    signals: Fisher's discriminant (Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x), scaled so that normal tissue
    is 0 and lesion 1. Images in which the lesion looks like the tissue of the place weigh nothing there.

    Parameters
    ----------
    share : (z, y, x) float32 array
        Estimate of a; noise takes it below 0 and above 1.
    sigma : (z, y, x) float32 array
        Its standard deviation in normal tissue.
    where : (z, y, x) bool array
        Voxels that were looked at.
    """

    share: NDArray[np.float32]
    sigma: NDArray[np.float32]
    where: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        images: Mapping[MRSequence, NDArray[np.float32]],
        white: NDArray[np.float32],
        grey: NDArray[np.float32],
        normal: NormalSignal,
        lesion: NDArray[np.float64],
        where: NDArray[np.bool_],
    ) -> LesionSignal:
        """Estimate it at some voxels; elsewhere the share is 0.

        Parameters
        ----------
        images : mapping of MRSequence to (z, y, x) array
            Those of `normal`.
        white, grey : (z, y, x) arrays
            Shares of normal tissue.
        normal : NormalSignal
            See there.
        lesion : (n,) array
            Signal of a voxel full of lesion.
        where : (z, y, x) bool array
            Where to look.
        """
        share = np.zeros(where.shape, np.float32)
        sigma = np.ones(where.shape, np.float32)
        expected = normal.expected(white[where], grey[where])
        seen = np.stack([images[name][where] for name in normal.sequences], -1)
        contrast = lesion.astype(np.float32) - expected
        kinds = kinds_of(white, grey)[where]
        estimate, spread = np.zeros(len(kinds), np.float32), np.ones(len(kinds), np.float32)
        for k in range(4):
            at = kinds == k
            weight = contrast[at] @ np.linalg.inv(normal.covariances[k])
            power = np.maximum((weight * contrast[at]).sum(1), 1e-6)
            estimate[at] = (weight * (seen[at] - expected[at] - normal.offsets[k].astype(np.float32))).sum(1) / power
            spread[at] = 1 / np.sqrt(power)
        share[where], sigma[where] = estimate, spread
        return cls(share, sigma, where)

    def log_odds(self, uneven: float = UNSURE_LEVEL) -> NDArray[np.float32]:
        """Log odds that more than half of a voxel is lesion.

        The estimate is Gaussian around the true share, with the noise of the image and, beside it, a lesion whose full
        signal is not the same everywhere (SD `uneven`, half of which moves the half-way mark). -6 where nothing was
        looked at.
        """
        spread = np.hypot(self.sigma[self.where], np.float32(0.5 * uneven))
        z = np.clip((self.share[self.where] - 0.5) / spread, -6, 6)
        out = np.full(self.where.shape, -6, np.float32)
        out[self.where] = special.log_ndtr(z) - special.log_ndtr(-z)
        return out


def settled(
    log_odds: NDArray[np.float32], grid: Grid, strength: float = NEIGHBORS, rounds: int = 3
) -> NDArray[np.float32]:
    """Log odds after neighbors have had a say: a mean-field Potts model.

    Each round adds `strength` times the mean of the neighbors' 2 p - 1 to a voxel's own log odds. Neighbors count by
    nearness in mm: those of thick slices less.

    Parameters
    ----------
    log_odds : (z, y, x) array
        Of each voxel by itself.
    grid : Grid
        Where the voxels are.
    strength : float
        What unanimous neighbors add.
    rounds : int
        How often.
    """
    own = log_odds
    width = [0.8 * min(grid.spacing) / s for s in grid.spacing]
    belief = own
    for _ in range(rounds):
        votes = ndimage.gaussian_filter(np.tanh(belief / 2), width, truncate=2.0)
        belief = own + np.float32(strength) * votes
    return belief


def probability(log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
    """0..1."""
    return special.expit(log_odds)
