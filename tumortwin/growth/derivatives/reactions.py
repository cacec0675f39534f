"""Growth and kill of a density and its derivatives together, and of the companion's where the model has one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth import _sensitivity
from tumortwin.growth.derivatives.companions import dead_derivatives, necrosis_steps
from tumortwin.growth.derivatives.flow import CAPACITY, RATE, flow_derivatives, moebius_derivatives
from tumortwin.growth.derivatives.tape import React
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import Box
from tumortwin.growth.stepper import aligned_zeros
from tumortwin.growth.terms.companions import DeadCells, Necrosis, pulse
from tumortwin.growth.terms.laws import Gompertz, Moebius
from tumortwin.growth.terms.treatment import DrugKill

Array = NDArray[np.floating]
Law = tuple[int, float, float, float]
"""The kernel's number of a kind of map, 0 for none, and the map's three numbers."""


class ColumnReactions:
    """The pointwise part of a solve, on the stacks of :class:`~tumortwin.growth.derivatives.columns.ColumnStepper`.

    Parameters
    ----------
    model : Model
        The equation.
    names : sequence of str
        What derivatives will be by.
    lo, hi : (z, y) arrays
        Each row's first voxel in the domain and the one after its last.
    rows : (6, x) array
        Scratch, of the stacks' type.
    place : (z, y, x) array of uint16, optional
        256 times each voxel's place in the model's table of rates, where it has one.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        lo: NDArray[np.intc],
        hi: NDArray[np.intc],
        rows: Array,
        place: NDArray[np.uint16] | None,
    ) -> None:
        self._model, self._lo, self._hi, self._rows, self._place = model, lo, hi, rows, place
        self._kill, self._rates = model.kill, model.rates
        self._spares: dict[int, Array] = {}
        self._units = {
            drug: DrugKill([d for d in model.administrations if d.drug == drug], {drug: 1.0}, model.decay_rates)
            for drug in names
            if drug in drugs_of(model)
        }

    @property
    def plain(self) -> bool:
        """Whether the kernel can do the reaction within a sweep of diffusion."""
        return self._model.companion is None and self._rates is None

    def forward(self, u: Array, box: Box, operation: React, names: Sequence[str] = ()) -> None:
        """Advance a stack: column 0 of each field, and the derivatives in the others."""
        companion = self._model.companion
        if isinstance(companion, DeadCells):
            self._clear(companion, u, box, operation, names)
        elif isinstance(companion, Necrosis):
            self._die(companion, u, box, operation, names)
        else:
            self._grow(u[0], box, operation, names)

    def back(self, u: Array, adjoint: Array, box: Box, operation: React) -> None:
        """Apply the transposed slopes at the state `u`, both stacks of one column, to the adjoint."""
        companion = self._model.companion
        if isinstance(companion, DeadCells):
            stays, of_before, of_after = self._shares(companion, operation)
            living, dead = (field[_columns(box)] for field in adjoint)
            straight = of_before * dead
            living += of_after * dead
            self._grow_back(u[0], adjoint[0], box, operation)
            living += straight
            dead *= stays
        elif isinstance(companion, Necrosis):
            steps, _ = necrosis_steps(self._model.parameters, operation.begin, operation.end, self._kill, {})
            _sensitivity.necrose_back(
                u[0], u[1], adjoint[0], adjoint[1], self._lo, self._hi, box, self._numbers(companion), steps
            )
        else:
            self._grow_back(u[0], adjoint[0], box, operation)

    def law(
        self, operation: React, count: int, names: Sequence[str], dtype: np.dtype[np.floating]
    ) -> tuple[Law, Array]:
        """Compute the kernel's numbers of the pointwise map, and of its derivatives, at one rate."""
        model, p = self._model, self._model.parameters
        given = p.proliferation_rate, operation.begin, operation.end, self._kill
        push = np.zeros((count, 3), dtype)
        if self._drives(names):
            flow, slopes = flow_derivatives(model.law, *given, self._drugs(names), p.capacity)
            for k, name in enumerate(names, 1):
                push[k] = slopes.get(name, 0.0)
        else:
            flow = model.law.flow(*given, p.capacity)
        return (1, *flow, 0.0) if isinstance(flow, Moebius) else (2, *flow), push

    def _grow(self, stack: Array, box: Box, operation: React, names: Sequence[str]) -> None:
        """Growth and drugs on the living cells."""
        if self._place is None:
            law, push = self.law(operation, stack.shape[2], names, stack.dtype)
            _sensitivity.react(stack, self._lo, self._hi, box, law, push, self._rows)
        else:
            table, driven = self._table(operation, stack.shape[2], names)
            _sensitivity.react_by(
                stack, self._lo, self._hi, self._place, box, table.astype(stack.dtype), driven, self._rows
            )

    def _table(
        self, operation: React, count: int, names: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.intc]]:
        """Growth and crowding of each level of the rates, then their derivatives by each column's number.

        The second array says which columns have any.
        """
        law, p = self._model.law, self._model.parameters
        assert self._rates is not None
        assert not isinstance(law, Gompertz)  # a Model refuses it
        levels = self._rates.levels
        given = p.proliferation_rate * levels, operation.begin, operation.end, self._kill
        table, driven = np.zeros((levels.size, count, 2)), np.zeros(count, np.intc)
        table[:, 0] = np.transpose(law.numbers(*given, p.capacity))
        if self._drives(names):
            slopes = moebius_derivatives(law, *given, self._drugs(names), p.capacity)
            slopes[RATE] = slopes[RATE][0] * levels, slopes[RATE][1] * levels
            for k, name in enumerate(names, 1):
                if name in slopes:
                    table[:, k], driven[k] = np.transpose(slopes[name]), 1
        return table, driven

    def _clear(self, companion: DeadCells, u: Array, box: Box, operation: React, names: Sequence[str]) -> None:
        """As :meth:`DeadCells.react`, which is linear in the fields before and after."""
        slopes = dead_derivatives(companion, operation.begin, operation.end, self._kill, self._drugs(names))
        weights = np.zeros((u.shape[3], 3), u.dtype)
        weights[0] = self._shares(companion, operation)
        for k, name in enumerate(names, 1):
            weights[k] = slopes.get(name, 0.0)
        before = self._spare(u[0].shape, u.dtype.type)
        before[...] = u[0]
        self._grow(u[0], box, operation, names)
        _sensitivity.gather(u[1], before, u[0], self._lo, self._hi, box, weights)

    def _die(self, companion: Necrosis, u: Array, box: Box, operation: React, names: Sequence[str]) -> None:
        steps, changes = necrosis_steps(
            self._model.parameters, operation.begin, operation.end, self._kill, self._drugs(names)
        )
        push, driven = np.zeros((u.shape[3], len(steps), 6)), np.zeros(u.shape[3], np.intc)
        for k, name in enumerate(names, 1):
            if name in changes:
                push[k], driven[k] = changes[name], 1
        _sensitivity.necrose(u[0], u[1], self._lo, self._hi, box, self._numbers(companion), steps, push, driven)

    def _numbers(self, companion: Necrosis) -> tuple[float, float, float, float]:
        p = self._model.parameters
        return p.proliferation_rate, p.capacity, companion.rate, companion.threshold

    def _grow_back(self, density: Array, adjoint: Array, box: Box, operation: React) -> None:
        # an adjoint is multiplied by the same slopes as a derivative
        pair = self._spare((*density.shape[:2], 2, density.shape[3]), density.dtype.type)
        pair[:, :, :1], pair[:, :, 1:] = density, adjoint
        self._grow(pair, box, operation, ())
        adjoint[...] = pair[:, :, 1:]

    def _spare(self, shape: tuple[int, ...], dtype: type[np.floating]) -> Array:
        """Return a scratch stack of one field to overwrite; each number of columns has its own."""
        if shape[2] not in self._spares:
            self._spares[shape[2]] = aligned_zeros(shape, dtype)
        return self._spares[shape[2]]

    def _shares(self, companion: DeadCells, operation: React) -> tuple[float, float, float]:
        times = operation.begin, operation.end
        return companion.shares(*times, *pulse(self._kill, *times))

    def _drugs(self, names: Sequence[str]) -> dict[str, DrugKill]:
        return {drug: unit for drug, unit in self._units.items() if drug in names}

    def _drives(self, names: Sequence[str]) -> bool:
        return RATE in names or CAPACITY in names or bool(self._drugs(names))


def drugs_of(model: Model) -> set[str]:
    """Names of the drugs that are given or have a sensitivity."""
    return {d.drug for d in model.administrations} | set(model.parameters.drug_sensitivity)


def _columns(box: Box) -> tuple[slice, slice, slice, slice]:
    """Return the slices of a box in a field of a stack, with all columns."""
    z0, z1, y0, y1, x0, x1 = box
    return slice(z0, z1), slice(y0, y1), slice(None), slice(x0, x1)
