"""Diffusion by a full tensor, e.g. along the fibers that diffusion MRI shows, without negative weights.

Selling's decomposition writes a symmetric positive tensor as D = sum_k w_k e_k e_k^T with six weights w_k >= 0 and
whole offsets e_k. So div(D grad u) is a sum of differences to the voxels at +-e_k, with weights that are never
negative: the matrix is symmetric (no cell is lost) and an M-matrix (no new extremum), whatever the anisotropy. A plain
nine-point stencil makes new extrema where the anisotropy is strong.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth.parameters import GrowthParameters

_PAIRS = tuple(combinations(range(4), 2))


def selling(tensors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Decompose tensors as the sum of w_k e_k e_k^T.

    Parameters
    ----------
    tensors : (n, 3, 3) array
        Symmetric and positive definite.

    Returns
    -------
    weights : (n, 6) array
        Not negative.
    offsets : (n, 6, 3) array of int
        Whole offsets.

    Raises
    ------
    InputError
        If it does not end, because a tensor is not positive definite or too anisotropic.

    References
    ----------
    Selling 1874, doi:10.1515/crll.1874.77.143. Fehrenbach & Mirebeau 2014, doi:10.1007/s10851-013-0446-3
    """
    base = np.zeros((len(tensors), 4, 3), np.int64)
    base[:, :3] = np.eye(3, dtype=np.int64)
    base[:, 3] = -1
    tolerance = 1e-12 * np.trace(tensors, axis1=1, axis2=2)
    for _ in range(200):
        obtuse = True
        for i, j in _PAIRS:
            products = np.einsum("na,nab,nb->n", base[:, i], tensors, base[:, j])
            acute = products > tolerance
            if acute.any():
                obtuse = False
                k, m = (other for other in range(4) if other not in (i, j))
                first = base[acute, i]
                base[acute, k] += first
                base[acute, m] += first
                base[acute, i] = -first
        if obtuse:
            break
    else:
        raise InputError("a diffusion tensor cannot be decomposed: it is not positive definite, or too anisotropic")
    weights = np.empty((len(tensors), 6))
    offsets = np.empty((len(tensors), 6, 3), np.int64)
    for n, (i, j) in enumerate(_PAIRS):
        k, m = (other for other in range(4) if other not in (i, j))
        weights[:, n] = np.maximum(-np.einsum("na,nab,nb->n", base[:, i], tensors, base[:, j]), 0)
        offsets[:, n] = np.cross(base[:, k], base[:, m])
    return weights, offsets


@dataclass(frozen=True, eq=False)
class TensorDiffusion:
    """D as a tensor in each voxel: diffusivity * tensor.

    Parameters
    ----------
    tensor : (z, y, x, 3, 3) array
        Over ``diffusivity``, in the grid's own axes (z, y, x): symmetric, positive definite or 0. From a tensor in
        world axes x, y, z (LPS) on a grid along them, flip both last axes.
    """

    tensor: NDArray[np.floating]

    def relative(self, domain: Domain, parameters: GrowthParameters) -> NDArray[np.float64]:
        """Raise an InputError: diffusion by a tensor has no map of one number per voxel.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("diffusion by a tensor has no map of one number per voxel: use simulate, or VoxelDiffusion")

    def coupling(self, domain: Domain) -> sp.csr_array:
        """Weights between the domain's voxels, 1/mm^2 over ``diffusivity``.

        Returns
        -------
        (n, n) sparse array
            Symmetric, not negative, of the voxels of the mask in C order. Each pair's weight is the mean of those of
            its two voxels; pairs with a voxel outside the mask, or without diffusion, have none: no flux through walls.
        """
        tensor = np.asarray(self.tensor, np.float64)
        if tensor.shape != (*domain.grid.shape, 3, 3):
            raise InputError(f"the diffusion tensor has shape {tensor.shape}, the domain {domain.grid.shape} + (3, 3)")
        inside = tensor[domain.mask]
        if not np.isfinite(inside).all():
            raise InputError(f"{np.count_nonzero(~np.isfinite(inside))} values of the diffusion tensor are not finite")
        if not np.allclose(inside, inside.transpose(0, 2, 1), rtol=1e-6, atol=1e-12):
            raise InputError("the diffusion tensor is not symmetric everywhere")
        lowest = np.linalg.eigvalsh(inside)[:, 0]
        moving = np.trace(inside, axis1=1, axis2=2) > 0
        if lowest.min() < 0 or (moving & (lowest <= 0)).any():
            raise InputError(
                "the diffusion tensor is positive definite or 0 everywhere; its smallest eigenvalue is "
                f"{lowest.min():.3g}: clip the eigenvalues"
            )
        spacing = np.array(domain.grid.spacing)
        weights, offsets = selling(inside[moving] / np.outer(spacing, spacing))
        places = np.argwhere(domain.mask)[moving]
        number = np.full(domain.grid.shape, -1)
        number[tuple(places.T)] = np.flatnonzero(moving)
        total = sp.csr_array((len(inside), len(inside)))
        for k in range(6):
            for sign in (1, -1):
                there = places + sign * offsets[:, k]
                within = ((there >= 0) & (there < domain.grid.shape)).all(axis=1)
                column = np.full(len(places), -1)
                column[within] = number[tuple(there[within].T)]
                used = (column >= 0) & (weights[:, k] > 0)
                half = sp.csr_array((weights[used, k] / 2, (np.flatnonzero(moving)[used], column[used])), total.shape)
                total = total + half + half.T
        return sp.csr_array(total)
