"""What a synthetic tumor looks like: necrosis, enhancement and edema. Not the product's observation model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.imaging.volume import Grid
from tumortwin.phantom.growth import smooth_noise

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Habit:
    """How one patient's tumor shows itself.

    Parameters
    ----------
    enhancing_cells : float
        Share of living and dead cells at which half of the vessels leak.
    rim_mm : float
        Depth below the surface at which the core starves.
    edema_mm : float
        Reach of the edema beyond the cells: SD of the Gaussian that spreads their signal, mm.
    edema_cells : float
        Spread share of cells at which white matter is edematous.
    resorption_days : float
        Half-life of necrosis.
    """

    enhancing_cells: float = 0.4
    rim_mm: float = 4.5
    edema_mm: float = 5.0
    edema_cells: float = 0.12
    resorption_days: float = 250.0


@dataclass(frozen=True, eq=False)
class SyntheticLesion:
    """A tumor's state and look at one time, on the solver's grid; every array (z, y, x) and 0..1.

    ``living`` and ``dead`` are shares of space filled by cells, ``necrosis`` the share of a voxel that is necrotic,
    ``leak`` how much contrast agent it takes up, ``edema`` how edematous its remaining tissue is, ``cavity`` surgery's.
    """

    living: Array
    dead: Array
    necrosis: Array
    leak: Array
    edema: Array
    cavity: Array

    @property
    def enhancing(self) -> NDArray[np.bool_]:
        """Voxels that enhance."""
        return self.leak >= 0.5

    @property
    def core(self) -> NDArray[np.bool_]:
        """Enhancing or necrotic voxels."""
        return self.enhancing | (self.necrosis >= 0.5)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Core and edema."""
        return self.core | (self.edema >= 0.5)


class Appearance:
    """Keeps a tumor's necrosis, which has a memory, and derives the rest of its look.

    Parameters
    ----------
    grid : Grid
        The solver's grid.
    white : (z, y, x) array
        Share of white matter: edema keeps to it.
    tissue : (z, y, x) array
        Share of brain tissue.
    mask : (z, y, x) bool array
        Where cells can be. What lies within 3 mm of it looks like its nearest voxel, so that no seam shows.
    habit : Habit
        The patient's.
    rng : numpy.random.Generator
        For the irregularity that makes no two rims alike.
    """

    def __init__(
        self, grid: Grid, white: Array, tissue: Array, mask: NDArray[np.bool_], habit: Habit, rng: np.random.Generator
    ) -> None:
        self.habit = habit
        self._h = grid.spacing[0]
        self._white, self._tissue = white, tissue
        self._uneven = [smooth_noise(rng, grid.shape, s / self._h) for s in (3.5, 3.0, 6.0)]
        distance, nearest = ndimage.distance_transform_edt(~mask, sampling=self._h, return_indices=True)
        self._seam = np.nonzero((distance > 0) & (distance <= 3))
        self._beside = tuple(axis[self._seam] for axis in nearest)
        self.necrosis = np.zeros(grid.shape, np.float32)
        self.cavity = np.zeros(grid.shape, np.float32)

    def _spread(self, cells: Array, sigma: float) -> Array:
        """Cells smoothed within the tissue: the share of what lies around, not diluted by ventricles or skull."""
        blurred = ndimage.gaussian_filter(cells, sigma / self._h)
        return blurred / np.maximum(ndimage.gaussian_filter(self._tissue, sigma / self._h), 0.25)

    def age(self, cells: Array, days: float) -> None:
        """Let starved tissue die for some days: below the rim, where cells are packed on all sides."""
        sigma = self.habit.rim_mm / 1.3
        starved = _switch(self._spread(cells, sigma), 0.74 + 0.07 * self._uneven[0], 0.03)
        self.necrosis += np.float32(1 - np.exp(-days / 10)) * starved * (1 - self.necrosis)
        self.necrosis *= np.float32(0.5 ** (days / self.habit.resorption_days))

    def resect(self, removed: NDArray[np.bool_]) -> None:
        """Leave a cavity."""
        self.cavity[removed] = 1
        self.necrosis[removed] = 0

    def look(self, living: Array, dead: Array) -> SyntheticLesion:
        """Build the lesion that these cells make."""
        living, dead = living.copy(), dead.copy()
        for cells in (living, dead):
            cells[self._seam] = cells[self._beside]
        cells = living + dead
        leak = _switch(cells, self.habit.enhancing_cells * (1 + 0.15 * self._uneven[1]), 0.05)
        leak *= np.clip(1 - 1.2 * self.necrosis, 0, 1) * (1 - self.cavity)
        spread = self._spread(cells, self.habit.edema_mm)
        edema = _switch(spread, self.habit.edema_cells * (1 + 0.25 * self._uneven[2]), 0.03)
        edema *= np.clip(0.1 + 1.1 * self._white, 0, 1) * (self._tissue > 0.3) * (1 - self.cavity)
        return SyntheticLesion(living, dead, self.necrosis.copy(), leak, edema, self.cavity.copy())


def _switch(values: Array, threshold: Array | float, width: float) -> Array:
    """Compute a smooth step that is 1/2 at the threshold."""
    return 0.5 * (1 + np.tanh((values - threshold) / np.float32(2 * width)))
