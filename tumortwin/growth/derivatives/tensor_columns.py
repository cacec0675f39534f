"""A density and its derivatives, stepped together with tensor diffusion: a sparse matrix over the whole domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from tumortwin.growth import _sensitivity
from tumortwin.growth.derivatives.columns import Array, ColumnStepper
from tumortwin.growth.derivatives.tape import Diffuse, React
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import Box, StepPlan, legendre_stages
from tumortwin.growth.terms.tensor import TensorDiffusion


class TensorColumns(ColumnStepper):
    """Columns with diffusion by a tensor, of :class:`TensorStepper`'s plans."""

    def __init__(self, model: Model, plan: StepPlan, names: Sequence[str], dtype: type[np.floating]) -> None:
        super().__init__(model, plan, names, dtype)
        assert isinstance(model.diffusion, TensorDiffusion)
        coupling = model.diffusion.coupling(model.domain)
        total = coupling.sum(axis=1)
        self._rate = float(total.max()) * model.parameters.diffusivity
        # of a diffusivity of 1: the matrix is also the operator's derivative by it
        self._operator = (coupling - sp.dia_array((total[None], [0]), coupling.shape)).astype(dtype)

    @staticmethod
    def _corner(mask: NDArray[np.bool_]) -> Sequence[int]:
        return 0, 0, 0

    def _diffuse(self, u: Array, box: Box, operation: Diffuse, names: Sequence[str], then: React | None) -> float:
        columns = np.moveaxis(u, 2, 3)  # a view: (z, y, x, column)
        coefficients, share = legendre_stages(operation.stages)
        diffusivity = self._model.parameters.diffusivity
        driven = np.zeros(u.shape[2], self.dtype)
        for k, name in enumerate(names, 1):
            driven[k] = name == "diffusivity"
        start = columns[self._inside]
        before = last = start
        for back, flow in (coefficients * (1, operation.tau)).tolist():
            spread = self._operator @ last
            before, last = last, last + back * (last - before) + flow * diffusivity * spread
            last += flow * driven * spread[:, :1]
        columns[self._inside] = start + share * (last - start)
        low = min(float(columns[self._inside][:, 0].min()), 0.0)
        if then is not None:
            law, push = self._reactions.law(then, u.shape[2], names, u.dtype)
            _sensitivity.react(u, self._lo, self._hi, box, law, push, self._rows)
        return low
