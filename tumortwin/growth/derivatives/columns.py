"""A density and its derivatives, stepped together: the linearized operations of a solve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth import _kernel, _sensitivity
from tumortwin.growth.derivatives.flow import CAPACITY, RATE
from tumortwin.growth.derivatives.reactions import ColumnReactions, drugs_of
from tumortwin.growth.derivatives.tape import Apply, Diffuse, React
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import SAFETY, Box, StepPlan, stage_limit
from tumortwin.growth.stepper import aligned_zeros
from tumortwin.growth.terms.companions import DeadCells
from tumortwin.growth.terms.treatment import survival
from tumortwin.twin import Irradiation, Removal

SCALARS = ("diffusivity", "grey_ratio", RATE, CAPACITY, "alpha", "alpha_beta")
"""Parameters with a derivative; beside them each drug's sensitivity, by the drug's name, and the companion's."""

Array = NDArray[np.floating]


class ColumnStepper(ABC):
    """Steps stacks of (z, y, x) fields, the first a density and the others its derivatives.

    A stack's first axis is for the density and, where the model has one, its companion. Fields are held on the last
    box of the plan with a margin, as in :class:`KernelStepper`. The methods change a stack in place. The derivative of
    a column by a parameter is driven by the density; columns with another name are carried along.

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
        The smallest value that was met in column 0 of the density, or 0.

    Raises
    ------
    InputError
        If the plan was made for another grid.
    """

    def __init__(self, model: Model, plan: StepPlan, names: Sequence[str], dtype: type[np.floating]) -> None:
        domain, self._model, self.dtype = model.domain, model, dtype
        corner, box = self._corner(domain.mask), plan.segments[-1][-1].box
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
        self._rows = aligned_zeros((6, self._inside.shape[2]), dtype)
        rates = model.rates
        place = None if rates is None else self._pad(np.rint(rates.place * 256).astype(np.uint16))
        self._reactions = ColumnReactions(model, names, self._lo, self._hi, self._rows, place)
        self._rate = 0.0
        self._prepared: dict[tuple[type, int], tuple[Array, Array]] = {}
        self.lowest = 0.0

    @staticmethod
    @abstractmethod
    def _corner(mask: NDArray[np.bool_]) -> Sequence[int]:
        """Return the voxel (z, y, x) that a plan's boxes count from."""

    @abstractmethod
    def _diffuse(self, u: Array, box: Box, operation: Diffuse, names: Sequence[str], then: React | None) -> float:
        """Diffusion of the density's columns, and a plain reaction after it if given; the lowest density, or 0."""

    def stack(self, count: int) -> Array:
        """`count` fields of zeros, and of the companion where there is one: (field, z, y, count, x).

        A row's columns lie side by side.
        """
        nz, ny, nx = self._inside.shape
        return aligned_zeros((1 if self._model.companion is None else 2, nz, ny, count, nx), self.dtype)

    def _pad(self, field: NDArray[Any]) -> NDArray[Any]:
        """Crop a (z, y, x) field of the whole grid to the last box, and pad it by the margin."""
        return np.pad(field[self._window], self._margin)

    def load(self, u: Array, column: int, field: Array) -> None:
        """Take a (z, y, x) density where there is domain in the first step's box; elsewhere it is 0."""
        box = tuple(slice(self._first[2 * k], self._first[2 * k + 1]) for k in range(3))
        values = self._pad(np.asarray(field))[box]
        u[0, :, :, column] = 0
        u[0, :, :, column][box] = np.where(self._inside[box], values, 0)

    def beyond(self, field: Array) -> float:
        """Return the largest value of a (z, y, x) field in the domain that :meth:`load` leaves out."""
        rest = np.where(self._model.domain.mask, field, 0)
        begin = [w.start - 1 for w in self._window]
        rest[tuple(slice(b + self._first[2 * k], b + self._first[2 * k + 1]) for k, b in enumerate(begin))] = 0
        return float(rest.max())

    def add(self, u: Array, column: int, field: Array, which: int = 0) -> None:
        """Add a (z, y, x) field where there is domain in the last box, to the density (0) or the companion (1)."""
        inner = u[which, :, :, column][self._inner]
        inner += np.where(self._inside[self._inner], np.asarray(field)[self._window], 0).astype(self.dtype)

    def field(self, u: Array, column: int = 0, which: int = 0) -> Array:
        """Copy a column of the density (0) or the companion (1) to a (z, y, x) field on the whole grid."""
        full = np.zeros(self._model.domain.grid.shape, self.dtype)
        full[self._window] = u[which, :, :, column][self._inner]
        return full

    def react(self, u: Array, operation: React, names: Sequence[str] = ()) -> None:
        """Growth and kill."""
        self._reactions.forward(u, self._local(operation.box), operation, names)

    def react_back(self, u: Array, adjoint: Array, operation: React) -> None:
        """Apply the transpose of :meth:`react` at the state `u` to the adjoint; both stacks have one column."""
        self._reactions.back(u, adjoint, self._local(operation.box), operation)

    def diffuse(self, u: Array, operation: Diffuse, names: Sequence[str] = (), then: React | None = None) -> None:
        """Diffusion by RKL2, and growth and kill after it if given. Diffusion alone is its own transpose."""
        tau, stages = operation.tau, operation.stages
        if tau * self._rate > stage_limit(stages):
            raise InputError(
                f"the plan's {stages} stages are too few for a step of {tau:.3g} days: diffusion is more "
                f"than {1 / SAFETY - 1:.0%} faster than where the plan was made; make a new plan"
            )
        plain = then if self._reactions.plain else None
        low = self._diffuse(u[0], self._local(operation.box), operation, names, plain)
        self.lowest = min(self.lowest, low)
        if then is not None and plain is None:
            self.react(u, then, names)

    def apply(self, u: Array, operation: Apply, names: Sequence[str] = ()) -> None:
        """Apply a fraction of radiotherapy or a resection to the stack."""
        event, box, companion = operation.event, self._local(operation.box), self._model.companion
        if companion is None or isinstance(event, Removal):
            for field in u:
                self._scale(field, event, box, names)
            return
        before = u[0].copy() if isinstance(companion, DeadCells) else u[0]
        self._scale(u[0], event, box, names)
        if isinstance(companion, DeadCells):  # what was lost
            weights = np.zeros((u.shape[3], 3), self.dtype)
            weights[0] = 1, 1, -1
            _sensitivity.gather(u[1], before, u[0], self._lo, self._hi, box, weights)

    def apply_back(self, adjoint: Array, operation: Apply) -> None:
        """Apply the transpose of :meth:`apply` to the adjoint."""
        event = operation.event
        if not (isinstance(event, Irradiation) and isinstance(self._model.companion, DeadCells)):
            self.apply(adjoint, operation)
            return
        # u <- S u and v <- v + (1 - S) u
        living, dead = adjoint
        living -= dead
        self._scale(living, event, self._local(operation.box))
        living += dead

    def _scale(self, field: Array, event: Irradiation | Removal, box: Box, names: Sequence[str] = ()) -> None:
        p = self._model.parameters
        factor, dose = self._maps(event)
        push = np.zeros((field.shape[2], 2), self.dtype)
        if isinstance(event, Irradiation):
            # ln S = -alpha (d + d^2 / (alpha/beta))
            slopes = {"alpha": (-1.0, -1 / p.alpha_beta), "alpha_beta": (0.0, p.alpha / p.alpha_beta**2)}
            for k, name in enumerate(names, 1):
                push[k] = slopes.get(name, 0.0)
        _sensitivity.scale(field, self._lo, self._hi, box, factor, dose, push)

    def _maps(self, event: Irradiation | Removal) -> tuple[Array, Array]:
        """Compute the factor of a treatment and its dose, on the box; fractions of one plan share them."""
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


def _aligned(field: NDArray[Any], dtype: type[np.floating]) -> Array:
    copy = aligned_zeros(field.shape, dtype)
    copy[...] = field
    return copy


def checked_names(model: Model, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of parameters after checking that all are known and none is given twice."""
    known = {*SCALARS, *drugs_of(model), *(model.companion.numbers if model.companion else ())}
    for name in names:
        if name not in known:
            raise InputError(f"{name!r} is no parameter with a derivative: choose from {', '.join(sorted(known))}")
    if len(set(names)) < len(names):
        raise InputError(f"a parameter is given twice: {', '.join(names)}")
    return tuple(names)
