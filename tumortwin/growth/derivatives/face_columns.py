"""A density and its derivatives, stepped together by the kernel: diffusion through the faces of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth import _sensitivity
from tumortwin.growth.derivatives.columns import Array, ColumnStepper
from tumortwin.growth.derivatives.reactions import Law
from tumortwin.growth.derivatives.tape import Diffuse, React
from tumortwin.growth.model import Model
from tumortwin.growth.reference import Faces, largest_rate
from tumortwin.growth.scheme import Box, StepPlan, legendre_stages
from tumortwin.growth.stepper import aligned_zeros
from tumortwin.growth.terms.diffusion import TissueDiffusion
from tumortwin.growth.terms.tensor import TensorDiffusion

_CACHE = 700_000
"""Bytes that a strip of the wave of stages may take: less than a core's own cache, 1-2 MB on most."""

_STILL: Law = (0, 1.0, 0.0, 0.0)


class FaceColumns(ColumnStepper):
    """Columns with diffusion by one number per voxel, of :class:`KernelStepper`'s plans."""

    def __init__(self, model: Model, plan: StepPlan, names: Sequence[str], dtype: type[np.floating]) -> None:
        super().__init__(model, plan, names, dtype)
        domain, p = model.domain, model.parameters
        assert not isinstance(model.diffusion, TensorDiffusion)
        relative = self._pad(model.diffusion.relative(domain, p))
        grey = np.zeros_like(relative)
        if isinstance(model.diffusion, TissueDiffusion):
            grey = self._pad((domain.grey * domain.mask).astype(np.float64))
        # face coefficients, and their derivatives by the grey ratio
        self._faces, self._changed = (
            cast(Faces, tuple(aligned_zeros(grey.shape, dtype) for _ in range(3))) for _ in range(2)
        )
        _sensitivity.faces(relative, grey, *domain.grid.spacing, *self._faces, *self._changed)
        self._rate = largest_rate(self._faces) * p.diffusivity
        self._work: dict[int, tuple[Array, Array]] = {}
        self._sealed: list[tuple[Array, tuple[slice | int, ...], Array]] = []
        self._box: Box | None = None

    @staticmethod
    def _corner(mask: NDArray[np.bool_]) -> Sequence[int]:
        # a plan's boxes count voxels on the domain's bounding box with a margin of one
        return [int(np.flatnonzero(mask.any(axis=axes))[0]) - 1 for axes in ((1, 2), (0, 2), (0, 1))]

    def _diffuse(self, u: Array, box: Box, operation: Diffuse, names: Sequence[str], then: React | None) -> float:
        tau, stages = operation.tau, operation.stages
        self._seal(box)
        count, d0 = u.shape[2], self._model.parameters.diffusivity
        law, push = _STILL, np.zeros((count, 3), self.dtype)
        if then is not None:
            law, push = self._reactions.law(then, count, names, u.dtype)
        if count not in self._work:
            self._work[count] = aligned_zeros(u.shape, self.dtype), aligned_zeros(u.shape, self.dtype)
        coefficients, share = legendre_stages(stages)
        days = coefficients[:, 1] * tau
        pull = np.zeros((stages, count, 2), self.dtype)
        for k, name in enumerate(names, 1):
            pull[:, k, 0] = days * (name == "diffusivity")
            pull[:, k, 1] = days * d0 * (name == "grey_ratio")
        strip = max(_CACHE // (3 * (stages + 2) * u.strides[1]), 4)
        return _sensitivity.diffuse(
            u,
            *self._work[count],
            *self._faces,
            *self._changed,
            self._lo,
            self._hi,
            box,
            coefficients,
            tau * d0,
            share,
            pull,
            bool(pull[:, :, 1].any()),
            law,
            push,
            self._rows,
            strip,
        )

    def _seal(self, box: Box) -> None:
        """Let nothing through the box's edge."""
        if box == self._box:
            return
        for face, where, values in reversed(self._sealed):
            face[where] = values
        self._sealed, self._box = [], box
        for faces in (self._faces, self._changed):
            for axis, face in enumerate(faces):
                for index in (box[2 * axis] - 1, box[2 * axis + 1] - 1):
                    slab: tuple[slice | int, ...] = (*[slice(None)] * axis, index)
                    self._sealed.append((face, slab, face[slab].copy()))
                    face[slab] = 0
