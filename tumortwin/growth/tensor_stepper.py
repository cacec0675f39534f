"""The state of a solve with tensor diffusion: the same scheme, its operator a sparse matrix over the whole domain."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from tumortwin.growth.reference import ReferenceStepper
from tumortwin.growth.scheme import legendre_stages
from tumortwin.growth.terms.laws import Flow


class TensorStepper(ReferenceStepper):
    """State and steps of a solve over the voxels of a mask with given weights between them.

    Parameters
    ----------
    coupling : (n, n) sparse array
        Weights between the voxels of the mask, from :meth:`~tumortwin.growth.terms.tensor.TensorDiffusion.coupling`.
    mask : (z, y, x) bool array
        The domain.
    diffusivity : float
        mm^2/day.
    dtype : numpy.float32 or numpy.float64
        Of the density and the matrix.
    """

    def __init__(
        self, coupling: sp.csr_array, mask: NDArray[np.bool_], diffusivity: float, dtype: type[np.floating]
    ) -> None:
        super().__init__(np.zeros(mask.shape), mask, (1.0, 1.0, 1.0), 0.0, dtype)
        total = coupling.sum(axis=1)
        self.rate = float(total.max()) * diffusivity
        self._operator = ((coupling - sp.dia_array((total[None], [0]), coupling.shape)) * diffusivity).astype(dtype)

    def diffuse(self, tau: float, stages: int, then: Flow) -> None:
        """One RKL2 step of diffusion over `tau` days, followed by a pointwise flow."""
        coefficients, share = legendre_stages(stages)
        start = self._u[self._mask]
        before = last = start
        for back, flow in coefficients.tolist():
            before, last = last, last + (back * (last - before) + flow * tau * (self._operator @ last))
        self._u[self._mask] = start + share * (last - start)
        self.react(then)
        self.sweeps += stages
