"""How freely cells move: the diffusivity D(x) of the equation's div(D grad u).

Each class gives D relative to the one parameter ``diffusivity``: D(x) = diffusivity * relative(x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth.parameters import GrowthParameters


@dataclass(frozen=True)
class UniformDiffusion:
    """The same D everywhere in the domain."""

    def relative(self, domain: Domain, parameters: GrowthParameters) -> NDArray[np.float64]:
        """D over ``diffusivity``, (z, y, x): 1 in the domain, 0 outside."""
        return domain.mask.astype(np.float64)


@dataclass(frozen=True)
class TissueDiffusion:
    """D by tissue: diffusivity * (white + grey_ratio * grey). Cerebrospinal fluid adds nothing.

    References
    ----------
    Swanson, Alvord, Murray 2000, doi:10.1046/j.1365-2184.2000.00177.x
    """

    def relative(self, domain: Domain, parameters: GrowthParameters) -> NDArray[np.float64]:
        """D over ``diffusivity``, (z, y, x), 0 outside the domain."""
        relative = domain.grey.astype(np.float64)
        relative *= parameters.grey_ratio
        relative += domain.white
        relative[~domain.mask] = 0
        return relative


@dataclass(frozen=True, eq=False)
class VoxelDiffusion:
    """D voxel by voxel: diffusivity * factor.

    Parameters
    ----------
    factor : (z, y, x) array
        D over ``diffusivity``, >= 0.
    """

    factor: NDArray[np.floating]

    def relative(self, domain: Domain, parameters: GrowthParameters) -> NDArray[np.float64]:
        """D over ``diffusivity``, (z, y, x), 0 outside the domain.

        Raises
        ------
        InputError
            If the map is not on the domain's grid, or negative or not finite inside the domain.
        """
        factor = np.asarray(self.factor, np.float64)
        if factor.shape != domain.grid.shape:
            raise InputError(
                f"the diffusion map has shape {factor.shape}, the domain {domain.grid.shape}: resample it "
                "to the domain's grid"
            )
        inside = factor[domain.mask]
        if not np.isfinite(inside).all() or inside.min() < 0:
            raise InputError(
                "the diffusion map holds values that are not finite or < 0 in the domain (smallest: "
                f"{inside.min()}): set them to 0 where nothing moves"
            )
        return np.where(domain.mask, factor, 0.0)


DiffusionTerm = UniformDiffusion | TissueDiffusion | VoxelDiffusion
