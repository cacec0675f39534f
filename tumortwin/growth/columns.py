"""A density and its derivatives, stepped together: the linearized operations of a solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth import _kernel, _sensitivity
from tumortwin.growth.flow_derivatives import CAPACITY, RATE, flow_derivatives
from tumortwin.growth.model import Model
from tumortwin.growth.reference import Faces, largest_rate
from tumortwin.growth.scheme import SAFETY, Box, StepPlan, legendre_stages, stage_limit
from tumortwin.growth.stepper import aligned_zeros
from tumortwin.growth.tape import Apply, Diffuse, React
from tumortwin.growth.terms.diffusion import TissueDiffusion, UniformDiffusion, VoxelDiffusion
from tumortwin.growth.terms.laws import Moebius
from tumortwin.growth.terms.treatment import DrugKill, survival
from tumortwin.twin import Irradiation, Removal

SCALARS = ("diffusivity", "grey_ratio", RATE, CAPACITY, "alpha", "alpha_beta")
"""Parameters with a derivative; beside them each drug's sensitivity, by the drug's name."""

Array = NDArray[np.floating]
Law = tuple[int, float, float, float]
"""The kernel's number of a kind of map, 0 for none, and the map's three numbers."""

_CACHE = 700_000
"""Bytes that a strip of the wave of stages may take: less than a core's own cache, 1-2 MB on most."""

_STILL: Law = (0, 1.0, 0.0, 0.0)


class ColumnStepper:
    """Steps stacks of (z, y, x) fields, the first a density and the others its derivatives.

    Fields are held on the last box of the plan with a margin, as in :class:`KernelStepper`. The methods change a stack
    in place. The derivative of a column by a parameter is driven by the density; columns with another name are carried
    along.

    Parameters
    ----------
    model : Model
        The equation.
    plan : StepPlan
        The steps that will be taken.
    names : sequence of str
        What derivatives will be by.
    dtype : numpy.float32 or numpy.float64
        Of the fields.

    Attributes
    ----------
    lowest : float
        The smallest value that was met in column 0, or 0.

    Raises
    ------
    InputError
        If the plan was made for another grid, or the model has a term that has no derivative.
    """

    def __init__(self, model: Model, plan: StepPlan, names: Sequence[str], dtype: type[np.floating]) -> None:
        if not isinstance(model.diffusion, UniformDiffusion | TissueDiffusion | VoxelDiffusion):
            raise InputError(f"there are no derivatives of {type(model.diffusion).__name__}")
        if model.companion is not None or model.rate_factor is not None:
            raise InputError("there are no derivatives of a model with a companion field or a rate by voxel")
        domain, self._model, self.dtype = model.domain, model, dtype
        self._kill = model.kill
        self._units = {drug: DrugKill([d for d in model.administrations if d.drug == drug], {drug: 1.0},
                                      model.decay_rates) for drug in names if drug in drugs_of(model)}
        # a plan's boxes count voxels on the domain's bounding box with a margin of one
        corner = [int(np.flatnonzero(domain.mask.any(axis=axes))[0]) - 1 for axes in ((1, 2), (0, 2), (0, 1))]
        box = plan.segments[-1][-1].box
        begin = [c + b for c, b in zip(corner, box[::2], strict=True)]
        end = [c + b for c, b in zip(corner, box[1::2], strict=True)]
        if min(begin) < 0 or any(e > n for e, n in zip(end, domain.mask.shape, strict=True)):
            raise InputError("the plan was made for another domain: make a new plan")
        self._window = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
        self._offset = [b - 1 for b in box[::2] for _ in range(2)]
        # whole blocks of voxels in a row
        nx = end[2] - begin[2]
        self._margin = ((1, 1), (1, 1), (1, 1 + -(nx + 2) % _kernel.BLOCK))
        self._inner = (slice(1, -1), slice(1, -1), slice(1, nx + 1))
        self._inside = self._pad(domain.mask)
        self._first = self._local(plan.segments[0][0].box)
        last = self._inside.shape[2] - np.argmax(self._inside[..., ::-1], axis=2)
        self._lo = np.argmax(self._inside, axis=2).astype(np.intc)
        self._hi = np.where(self._inside.any(axis=2), last, 0).astype(np.intc)
        p = model.parameters
        relative = self._pad(model.diffusion.relative(domain, p))
        grey = np.zeros_like(relative)
        if isinstance(model.diffusion, TissueDiffusion):
            grey = self._pad((domain.grey * domain.mask).astype(np.float64))
        # face coefficients, and their derivatives by the grey ratio
        self._faces, self._changed = (cast(Faces, tuple(aligned_zeros(grey.shape, dtype) for _ in range(3)))
                                      for _ in range(2))
        _sensitivity.faces(relative, grey, *domain.grid.spacing, *self._faces, *self._changed)
        self._rate = largest_rate(self._faces) * p.diffusivity
        self._work: dict[int, tuple[Array, Array]] = {}
        self._rows = aligned_zeros((6, self._inside.shape[2]), dtype)
        self._sealed: list[tuple[Array, tuple[slice | int, ...], Array]] = []
        self._box: Box | None = None
        self._prepared: dict[tuple[type, int], tuple[Array, Array]] = {}
        self.lowest = 0.0

    def stack(self, count: int) -> Array:
        """`count` fields of zeros: (z, y, count, x), so that a row's columns lie side by side."""
        nz, ny, nx = self._inside.shape
        return aligned_zeros((nz, ny, count, nx), self.dtype)

    def _pad(self, field: NDArray[Any]) -> NDArray[Any]:
        """A (z, y, x) field of the whole grid on the last box, with its margin."""
        return np.pad(field[self._window], self._margin)

    def load(self, u: Array, column: int, field: Array) -> None:
        """Take a (z, y, x) field where there is domain in the first step's box; elsewhere it is 0."""
        box = tuple(slice(self._first[2 * k], self._first[2 * k + 1]) for k in range(3))
        values = self._pad(np.asarray(field))[box]
        u[:, :, column] = 0
        u[:, :, column][box] = np.where(self._inside[box], values, 0)

    def beyond(self, field: Array) -> float:
        """The largest value of a (z, y, x) field in the domain that :meth:`load` leaves out."""
        rest = np.where(self._model.domain.mask, field, 0)
        begin = [w.start - 1 for w in self._window]
        rest[tuple(slice(b + self._first[2 * k], b + self._first[2 * k + 1]) for k, b in enumerate(begin))] = 0
        return float(rest.max())

    def add(self, u: Array, column: int, field: Array) -> None:
        """Add a (z, y, x) field where there is domain in the last box."""
        inner = u[:, :, column][self._inner]
        inner += np.where(self._inside[self._inner], np.asarray(field)[self._window], 0).astype(self.dtype)

    def field(self, u: Array, column: int = 0) -> Array:
        """A (z, y, x) copy of a column on the whole grid."""
        full = np.zeros(self._model.domain.grid.shape, self.dtype)
        full[self._window] = u[:, :, column][self._inner]
        return full

    def react(self, u: Array, operation: React, names: Sequence[str] = ()) -> None:
        """Growth and kill."""
        box = self._local(operation.box)
        law, push = self._flow(operation, u.shape[2], names)
        _sensitivity.react(u, self._lo, self._hi, box, law, push, self._rows)

    def diffuse(self, u: Array, operation: Diffuse, names: Sequence[str] = (), then: React | None = None) -> None:
        """Diffusion by RKL2, and growth and kill after it if given."""
        tau, stages = operation.tau, operation.stages
        if tau * self._rate > stage_limit(stages):
            raise InputError(f"the plan's {stages} stages are too few for a step of {tau:.3g} days: diffusion is more "
                             f"than {1 / SAFETY - 1:.0%} faster than where the plan was made; make a new plan")
        box = self._local(operation.box)
        self._seal(box)
        count, d0 = u.shape[2], self._model.parameters.diffusivity
        law, push = self._flow(then, count, names) if then else (_STILL, np.zeros((count, 3), self.dtype))
        if count not in self._work:
            self._work[count] = self.stack(count), self.stack(count)
        coefficients, share = legendre_stages(stages)
        days = coefficients[:, 1] * tau
        pull = np.zeros((stages, count, 2), self.dtype)
        for k, name in enumerate(names, 1):
            pull[:, k, 0] = days * (name == "diffusivity")
            pull[:, k, 1] = days * d0 * (name == "grey_ratio")
        strip = max(_CACHE // (3 * (stages + 2) * u.strides[1]), 4)
        low = _sensitivity.diffuse(u, *self._work[count], *self._faces, *self._changed, self._lo, self._hi, box,
                                   coefficients, tau * d0, share, pull, bool(pull[:, :, 1].any()), law, push,
                                   self._rows, strip)
        self.lowest = min(self.lowest, low)

    def apply(self, u: Array, operation: Apply, names: Sequence[str] = ()) -> None:
        """A fraction of radiotherapy or a resection."""
        event, box, p = operation.event, self._local(operation.box), self._model.parameters
        factor, dose = self._maps(event)
        push = np.zeros((u.shape[2], 2), self.dtype)
        if isinstance(event, Irradiation):
            # ln S = -alpha (d + d^2 / (alpha/beta))
            slopes = {"alpha": (-1.0, -1 / p.alpha_beta), "alpha_beta": (0.0, p.alpha / p.alpha_beta**2)}
            for k, name in enumerate(names, 1):
                push[k] = slopes.get(name, 0.0)
        _sensitivity.scale(u, self._lo, self._hi, box, factor, dose, push)

    def _flow(self, operation: React, count: int, names: Sequence[str]) -> tuple[Law, Array]:
        """The kernel's numbers of the pointwise map, and of its derivatives."""
        model, times = self._model, (operation.begin, operation.end)
        rate, capacity = model.parameters.proliferation_rate, model.parameters.capacity
        push = np.zeros((count, 3), self.dtype)
        drugs = {drug: unit for drug, unit in self._units.items() if drug in names}
        if drugs or RATE in names or CAPACITY in names:
            flow, slopes = flow_derivatives(model.law, rate, *times, self._kill, drugs, capacity)
            for k, name in enumerate(names, 1):
                push[k] = slopes.get(name, 0.0)
        else:
            flow = model.law.flow(rate, *times, self._kill, capacity)
        law: Law = (1, *flow, 0.0) if isinstance(flow, Moebius) else (2, *flow)
        return law, push

    def _maps(self, event: Irradiation | Removal) -> tuple[Array, Array]:
        """The factor of a treatment and its dose, on the box; fractions of one plan share them."""
        given = event.removed if isinstance(event, Removal) else event.dose
        key = (type(event), id(given))
        if key not in self._prepared:
            values = np.asarray(given, np.float64)
            if values.ndim == 0:
                values = np.broadcast_to(values, self._model.domain.mask.shape)
            values = self._pad(values)
            factor = 1 - values if isinstance(event, Removal) else survival(self._model.parameters, values)
            self._prepared[key] = _aligned(factor, self.dtype), _aligned(values, self.dtype)
        return self._prepared[key]

    def _local(self, box: Box) -> Box:
        z0, z1, y0, y1, x0, x1 = (b - o for b, o in zip(box, self._offset, strict=True))
        if min(z0, y0, x0) < 1 or any(e >= n for e, n in zip((z1, y1, x1), self._inside.shape, strict=True)):
            raise InputError("a box of the plan is not inside its last one: make a new plan")
        return z0, z1, y0, y1, x0, x1

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


def _aligned(field: NDArray[Any], dtype: type[np.floating]) -> Array:
    copy = aligned_zeros(field.shape, dtype)
    copy[...] = field
    return copy


def drugs_of(model: Model) -> set[str]:
    """Names of the drugs that are given or have a sensitivity."""
    return {d.drug for d in model.administrations} | set(model.parameters.drug_sensitivity)


def checked_names(model: Model, names: Sequence[str]) -> tuple[str, ...]:
    """The names of parameters, if all are known and none is given twice."""
    known = {*SCALARS, *drugs_of(model)}
    for name in names:
        if name not in known:
            raise InputError(f"{name!r} is no parameter with a derivative: choose from {', '.join(sorted(known))}")
    if len(set(names)) < len(names):
        raise InputError(f"a parameter is given twice: {', '.join(names)}")
    return tuple(names)
