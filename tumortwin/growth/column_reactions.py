"""Growth and kill of a density and its derivatives together, and of the companion's where the model has one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth import _sensitivity
from tumortwin.growth.companion_derivatives import dead_derivatives, necrosis_maps
from tumortwin.growth.flow_derivatives import CAPACITY, RATE, flow_derivatives, moebius_derivatives
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import Box
from tumortwin.growth.stepper import aligned_zeros
from tumortwin.growth.tape import React
from tumortwin.growth.terms.companions import DeadCells, Necrosis, pulse
from tumortwin.growth.terms.laws import Gompertz, Moebius
from tumortwin.growth.terms.treatment import DrugKill

Array = NDArray[np.floating]
Law = tuple[int, float, float, float]
"""The kernel's number of a kind of map, 0 for none, and the map's three numbers."""


class ColumnReactions:
    """The pointwise part of a solve, on stacks as :class:`~tumortwin.growth.columns.ColumnStepper` holds them.

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

    def __init__(self, model: Model, names: Sequence[str], lo: NDArray[np.intc], hi: NDArray[np.intc], rows: Array,
                 place: NDArray[np.uint16] | None) -> None:
        self._model, self._lo, self._hi, self._rows, self._place = model, lo, hi, rows, place
        self._kill, self._rates = model.kill, model.rates
        self._pair: Array | None = None
        self._units = {drug: DrugKill([d for d in model.administrations if d.drug == drug], {drug: 1.0},
                                      model.decay_rates) for drug in names if drug in drugs_of(model)}

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
        companion, cut = self._model.companion, _columns(box)
        if isinstance(companion, DeadCells):
            stays, of_before, of_after = self._shares(companion, operation)
            living, dead = adjoint[0][cut], adjoint[1][cut]
            straight = of_before * dead
            living += of_after * dead
            self._grow_back(u[0], adjoint[0], box, operation)
            living += straight
            dead *= stays
        elif isinstance(companion, Necrosis):
            living, dead = adjoint[0][cut][:, :, 0], adjoint[1][cut][:, :, 0]
            maps = list(necrosis_maps(companion, u[0][cut][:, :, 0], u[1][cut][:, :, 0], self._model.parameters,
                                      operation.begin, operation.end, self._kill, {}))
            for step in reversed(maps):
                living[...], dead[...] = step.uu * living + step.vu * dead, step.uv * living + step.vv * dead
        else:
            self._grow_back(u[0], adjoint[0], box, operation)

    def law(self, operation: React, count: int, names: Sequence[str],
            dtype: np.dtype[np.floating]) -> tuple[Law, Array]:
        """The kernel's numbers of the pointwise map, and of its derivatives, at one rate."""
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
            table = self._table(operation, stack.shape[2], names).astype(stack.dtype)
            _sensitivity.react_by(stack, self._lo, self._hi, self._place, box, table)

    def _table(self, operation: React, count: int, names: Sequence[str]) -> NDArray[np.float64]:
        """Growth and crowding of each level of the rates, then their derivatives by each column's number."""
        law, p = self._model.law, self._model.parameters
        assert self._rates is not None
        assert not isinstance(law, Gompertz)  # a Model refuses it
        levels = self._rates.levels
        given = p.proliferation_rate * levels, operation.begin, operation.end, self._kill
        table = np.zeros((levels.size, count, 2))
        table[:, 0] = np.transpose(law.numbers(*given, p.capacity))
        if self._drives(names):
            slopes = moebius_derivatives(law, *given, self._drugs(names), p.capacity)
            slopes[RATE] = slopes[RATE][0] * levels, slopes[RATE][1] * levels
            for k, name in enumerate(names, 1):
                if name in slopes:
                    table[:, k] = np.transpose(slopes[name])
        return table

    def _clear(self, companion: DeadCells, u: Array, box: Box, operation: React, names: Sequence[str]) -> None:
        """As :meth:`DeadCells.react`, which is linear in the fields before and after."""
        stays, of_before, of_after = self._shares(companion, operation)
        slopes = dead_derivatives(companion, operation.begin, operation.end, self._kill, self._drugs(names))
        driven = {k: slopes[name] for k, name in enumerate(names, 1) if name in slopes}
        cut = _columns(box)
        before, was = u[0][cut].copy(), u[1][cut][:, :, 0].copy()
        self._grow(u[0], box, operation, names)
        after, dead = u[0][cut], u[1][cut]
        dead *= stays
        dead += of_before * before + of_after * after
        for k, (longer, first, second) in driven.items():
            dead[:, :, k] += longer * was + first * before[:, :, 0] + second * after[:, :, 0]

    def _die(self, companion: Necrosis, u: Array, box: Box, operation: React, names: Sequence[str]) -> None:
        p, times, cut = self._model.parameters, (operation.begin, operation.end), _columns(box)
        living, dead = u[0][cut], u[1][cut]
        if u.shape[3] == 1:
            companion.react(living, dead, lambda: None, p, *times, self._kill)
            return
        drugs = self._drugs(names)
        for step in necrosis_maps(companion, living[:, :, 0], dead[:, :, 0], p, *times, self._kill, drugs):
            uu, uv, vu, vv = (slope[:, :, None] for slope in step[2:6])
            first, second = living[:, :, 1:], dead[:, :, 1:]
            first[...], second[...] = uu * first + uv * second, vu * first + vv * second
            for k, name in enumerate(names):
                if name in step.by:
                    first[:, :, k] += step.by[name][0]
                    second[:, :, k] += step.by[name][1]
            living[:, :, 0], dead[:, :, 0] = step.u, step.v

    def _grow_back(self, density: Array, adjoint: Array, box: Box, operation: React) -> None:
        # an adjoint is multiplied by the same slopes as a derivative
        if self._pair is None:
            self._pair = aligned_zeros((*density.shape[:2], 2, density.shape[3]), density.dtype.type)
        self._pair[:, :, :1], self._pair[:, :, 1:] = density, adjoint
        self._grow(self._pair, box, operation, ())
        adjoint[...] = self._pair[:, :, 1:]

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
    """A box of a field of a stack, with all columns."""
    z0, z1, y0, y1, x0, x1 = box
    return slice(z0, z1), slice(y0, y1), slice(None), slice(x0, x1)
