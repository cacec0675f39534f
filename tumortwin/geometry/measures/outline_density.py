"""Cell density from where a tumor's outlines are, alone or together with the ADC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import expit, logit
from skimage.measure import marching_cubes

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid

Shares = NDArray[np.float32]
Floats = NDArray[np.float64]

ENHANCING_EDGE = 0.7
"""Density at the edge of enhancement; 0.8 in Swanson et al. 2008 (doi:10.1038/sj.bjc.6604125), 0.6 to 0.8 elsewhere."""
WHOLE_EDGE = 0.25
"""Density at the edge of the FLAIR or T2 abnormality; 0.16 in Swanson et al. 2008, up to 0.35 elsewhere."""
EDGE_SIGMA = 0.5
"""Standard deviation of both in log-odds: 0.6 to 0.8 and 0.16 to 0.35 are about one to each side."""
OUTLINE_MM = 1.5
"""Standard deviation of where an outline lies, mm: readers differ by 1 to 2 mm."""
ADC_SIGMA = 0.2
"""What density from ADC is off by besides noise: edema and cells that are dead but not cleared are in it."""
REACH = 12.0
"""Decay lengths outside of which no cells are counted: their density is below 2e-6."""


class Cellularity(StrEnum):
    """What a visit's cell density is taken from."""

    ADC = "adc"
    """The apparent diffusion coefficient in the enhancing tumor; unknown elsewhere."""
    OUTLINES = "outlines"
    """Where the enhancing and the whole tumor end."""
    BOTH = "both"
    """ADC in the enhancing tumor, outlines elsewhere, each by its uncertainty."""

    @classmethod
    def _missing_(cls, value: object) -> Cellularity:
        raise InputError(f"cellularity is one of {', '.join(repr(str(i)) for i in cls)}, not {value!r}")


@dataclass(frozen=True, eq=False)
class OutlineDensity:
    """A density and how sure it is.

    Parameters
    ----------
    density : (z, y, x) float32 array
        Fraction of the carrying capacity.
    sigma : (z, y, x) float32 array
        Standard deviation of each voxel's density.
    decay_mm : float
        Length over which the density falls to 1/e far outside.
    """

    density: NDArray[np.float32]
    sigma: NDArray[np.float32]
    decay_mm: float


def distance_to_edge(share: Shares, grid: Grid, reach_mm: float = np.inf) -> Floats:
    """Distance of each voxel's center to a region's edge, from shares, so that an edge between centers is seen.

    The edge is the surface at one half of the shares. Distance to it is measured to the nearest of its corners,
    within two voxels along the normal there.

    Parameters
    ----------
    share : (z, y, x) array
        0..1.
    grid : Grid
        Where they lie: cubic voxels.
    reach_mm : float
        Farther is infinite.

    Returns
    -------
    (z, y, x) array
        In mm, negative inside.

    Raises
    ------
    InputError
        If no share is at least one half.
    """
    inside = np.asarray(share) >= 0.5
    if not inside.any():
        raise InputError(
            "a region in which no voxel is half full has no edge: give shares of the tumor on the twin's grid"
        )
    step = grid.spacing[0]
    # a voxel of nothing around, and outside the array nothing, too
    corners, _, normals, _ = marching_cubes(np.pad(share.astype(np.float32), 1), 0.5)
    tree = KDTree(corners - 1)
    out = np.full(share.shape, np.inf)
    low = np.maximum(np.floor(tree.mins - reach_mm / step), 0)
    high = np.minimum(np.ceil(tree.maxes + reach_mm / step) + 1, share.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1).astype(float)
    far, nearest = tree.query(index.reshape(-1, 3), distance_upper_bound=reach_mm / step)
    found = np.isfinite(far)
    along = np.full(far.shape, np.inf)
    away = index.reshape(-1, 3)[found] - (tree.data[nearest[found]])
    along[found] = np.abs((away * normals[nearest[found]]).sum(1))
    distance = np.where(far < 2, along, far).reshape(index.shape[:3])
    out[box] = distance * step
    return np.where(inside, -out, out)


def density_from_outlines(
    enhancing: Shares,
    whole: Shares,
    grid: Grid,
    *,
    necrosis: Shares | None = None,
    enhancing_edge: float = ENHANCING_EDGE,
    whole_edge: float = WHOLE_EDGE,
    decay_mm: float | None = None,
) -> OutlineDensity:
    """Cell density as a front between two outlines.

    The log-odds of the density fall linearly with distance: u = 1 / (1 + exp(z / l)), a traveling wave of the
    Fisher-Kolmogorov equation to first order (its error is a few per cent at the slowest speed, Murray 2002,
    Mathematical Biology I, ch. 13.2). Between the outlines the line is drawn from one threshold to the other; outside
    it goes on with the decay length l = gap / (logit u_e - logit u_f), where the gap is the median distance of the
    whole tumor's edge to the core (so the density falls exponentially far out, as in Konukoglu et al. 2010,
    doi:10.1016/j.media.2009.11.005), and inside it saturates at 1. Necrosis holds no living cells.

    Both thresholds are conventions: edema without cells is bright in FLAIR. Do not compare a model fitted to outlines
    with this density as if it were another observation: it is the same one.

    Parameters
    ----------
    enhancing, whole : (z, y, x) arrays
        Shares 0..1 of each voxel.
    grid : Grid
        Cubic.
    necrosis : (z, y, x) array, optional
        Share of necrosis: part of the core, without cells.
    enhancing_edge, whole_edge : float
        Density at the edges.
    decay_mm : float, optional
        Instead of that of the gap: for a tumor with one outline.

    Returns
    -------
    OutlineDensity
        The standard deviation is u (1 - u) times that of the log-odds: thresholds and the place of the outlines.

    Raises
    ------
    InputError
        If the thresholds are not 0 < whole < enhancing < 1, there is no whole tumor, or nothing tells the decay length.
    """
    if not 0 < whole_edge < enhancing_edge < 1:
        raise InputError(f"thresholds are 0 < whole < enhancing < 1, not {whole_edge} and {enhancing_edge}")
    if decay_mm is not None and not decay_mm > 0:
        raise InputError(f"a decay length is more than 0 mm, not {decay_mm}")
    dead = np.zeros(grid.shape, np.float32) if necrosis is None else np.asarray(necrosis, np.float32)
    core = np.minimum(np.asarray(enhancing, np.float32) + dead, 1)
    around = np.maximum(np.asarray(whole, np.float32), core)
    top, bottom = float(logit(enhancing_edge)), float(logit(whole_edge))
    has_core = bool((core >= 0.5).any())
    if not has_core and decay_mm is None:
        raise InputError("without enhancing tumor one outline is left: give decay_mm")
    to_whole = distance_to_edge(around, grid)
    to_core = distance_to_edge(core, grid) if has_core else np.full(grid.shape, np.inf)
    if decay_mm is None:
        edge = np.abs(to_whole) < grid.spacing[0]
        # a voxel at the edge lies that far outside it
        gap = float(np.median(to_core[edge] - to_whole[edge]))
        if gap < 0.5 * grid.spacing[0]:
            raise InputError(
                f"the outlines of enhancing and whole tumor are {gap:.2g} mm apart (median), less than "
                "half a voxel: they do not tell how the density falls; give decay_mm"
            )
        decay_mm = gap / (top - bottom)
    if has_core:
        inner, outer = np.maximum(to_core, 0), np.maximum(-to_whole, 0)
        part = inner / np.maximum(inner + outer, 1e-9)
        odds = np.where(to_core < 0, top - to_core / decay_mm, top + (bottom - top) * part)
    else:
        odds = bottom - to_whole / decay_mm
    outside = (to_whole > 0) & (to_core > 0)
    odds = np.where(outside, bottom - to_whole / decay_mm, odds)
    density = np.where(to_whole > REACH * decay_mm, 0, expit(odds)) * (1 - dead)
    sigma = density * (1 - expit(odds)) * np.hypot(EDGE_SIGMA, OUTLINE_MM / decay_mm)
    return OutlineDensity(density.astype(np.float32), sigma.astype(np.float32), float(decay_mm))


def density_from_both(from_adc: NDArray[np.float32], noise: float, front: OutlineDensity) -> OutlineDensity:
    """Density from ADC where it is known, else from outlines; where both are, each weighs by its inverse variance.

    Parameters
    ----------
    from_adc : (z, y, x) array
        As :func:`tumortwin.geometry.density_from_adc` has it: NaN where it says nothing.
    noise : float
        Standard deviation of one voxel's noise; `ADC_SIGMA` is added to it.
    front : OutlineDensity
        From the outlines.

    Returns
    -------
    OutlineDensity
        With the standard deviation of the mean.
    """
    known = np.isfinite(from_adc)
    adc_weight = np.where(known, 1 / (noise**2 + ADC_SIGMA**2), 0)
    # inside, where the front says 1 and is sure, it knows nothing of the real tumor's unevenness
    own = np.maximum(front.sigma, np.where(known, ADC_SIGMA / 2, 1e-6)).astype(np.float64)
    weight = 1 / own**2
    total = adc_weight + weight
    density = (adc_weight * np.where(known, from_adc, 0) + weight * front.density) / total
    sigma = np.where(known, 1 / np.sqrt(total), front.sigma)
    return OutlineDensity(density.astype(np.float32), sigma.astype(np.float32), front.decay_mm)
