"""The gradient of a loss by the whole initial density: a discrete adjoint with checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth.derivatives.columns import ColumnStepper, checked_names
from tumortwin.growth.derivatives.tangent import frozen
from tumortwin.growth.derivatives.tape import Apply, Diffuse, Operation, React, Save
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import StepPlan
from tumortwin.growth.solver import Simulation
from tumortwin.progress import Progress, silent

Field = NDArray[np.floating]
Derivatives = Sequence[Field | None]
Loss = Callable[[Simulation], tuple[float, Derivatives] | tuple[float, Derivatives, Derivatives]]


@dataclass(frozen=True, eq=False)
class LossGradient:
    """A loss and its derivatives.

    Parameters
    ----------
    simulation : Simulation
        The solution.
    loss : float
        Its loss.
    initial : (z, y, x) array
        Derivative of the loss by the initial density of each voxel; 0 outside the first step's box and the domain.
    parameters : mapping of str to float
        Derivative by each parameter asked for, per its unit.
    repeated : int
        Sweeps of the box that were done again because checkpoints were few.
    """

    simulation: Simulation
    loss: float
    initial: Field
    parameters: Mapping[str, float]
    repeated: int


def simulate_with_gradient(
    model: Model,
    initial: Field,
    start: float,
    stop: float,
    loss: Loss,
    *,
    parameters: Sequence[str] = (),
    save_at: Iterable[float] = (),
    plan: StepPlan | None = None,
    rtol: float = 1e-3,
    dtype: type[np.floating] = np.float32,
    memory_mb: float = 1024.0,
    progress: Progress = silent,
) -> LossGradient:
    """Solve the growth equation and differentiate a loss of the solution by its initial density.

    The gradient is that of the discrete scheme, to round-off. What the plan says is held constant.

    Parameters
    ----------
    model, initial, start, stop, save_at, dtype, progress
        As for :func:`~tumortwin.growth.solver.simulate`.
    loss : callable
        Takes the Simulation; returns the loss and its derivative by each saved field, (z, y, x) arrays or None. Where
        the model has a companion, a third value may be its derivative by each saved companion.
    parameters : sequence of str
        Derivatives by these numbers as well, named as in
        :func:`~tumortwin.growth.derivatives.tangent.simulate_with_tangents`, at about half a solve each.
    plan : StepPlan, optional
        The steps of :func:`~tumortwin.growth.solver.simulate` for this or a nearby density. If not given, the equation
        is solved once more to find them, for `rtol`. Make it with a density that covers, above its eps, all voxels
        whose derivative is wanted.
    rtol : float
        For finding the plan.
    memory_mb : float
        For fields kept on the way, in MB. Fewer than there are steps cost repeated sweeps and change no bit of the
        result.

    Returns
    -------
    LossGradient

    Raises
    ------
    InputError
        If a value cannot be used; the message names it.

    Notes
    -----
    Finite volumes of one size make the diffusion operator M symmetric. A step of RKL2 is a polynomial in M, so its
    transpose is itself; the transposed recurrence is the recurrence. Reactions and events are pointwise, their
    transposes multiply by the same slopes, of a companion by their transposed matrix. So the adjoint steps backwards by
    the forward kernel, and needs the density only where reactions begin. Checkpoints are placed by the binomial
    schedule, which repeats least.

    References
    ----------
    Griewank & Walther 2000, doi:10.1145/347837.347846 (binomial checkpoints).
    """
    names = checked_names(model, parameters)
    if not memory_mb > 0:
        raise InputError(f"memory_mb is a number of MB > 0, not {memory_mb}")
    solve = frozen(model, initial, start, stop, names, save_at, plan, rtol, dtype, progress)
    reverse = _Reverse(solve.stepper, solve.tape, names, memory_mb, progress)
    run = solve.solution(*reverse.forward(solve.density))
    value, *derivatives = loss(run)
    adjoint = reverse.backward(_checked_derivatives(run, derivatives))
    return LossGradient(run, float(value), adjoint, reverse.gradient, reverse.sweeps - run.sweeps)


class _Reverse:
    """The march forward and back.

    The tape is cut into pieces, each with one reaction, at its beginning: the density there is all that the piece's
    transpose needs. Checkpoints are densities at beginnings of pieces.

    Attributes
    ----------
    sweeps : int
        Sweeps of the density so far.
    gradient : dict of str to float
        Derivatives by the parameters.
    """

    def __init__(
        self,
        stepper: ColumnStepper,
        tape: Sequence[Operation],
        names: tuple[str, ...],
        memory_mb: float,
        progress: Progress,
    ) -> None:
        reactions = [i for i, operation in enumerate(tape) if isinstance(operation, React)]
        self._pieces = [tape[a:b] for a, b in pairwise([0, *reactions[1:], len(tape)])]
        self._stepper, self._progress = stepper, progress
        self._checkpoints: list[tuple[int, Field]] = []
        self._most = max(int(memory_mb * 1e6 / stepper.stack(1).nbytes), 1)
        self.sweeps = 0
        self.gradient = dict.fromkeys(names, 0.0)
        # what each kind of operation depends on
        self._names: dict[type[Operation], list[str]] = {
            Diffuse: [n for n in names if n in ("diffusivity", "grey_ratio")],
            Apply: [n for n in names if n in ("alpha", "alpha_beta")],
            Save: [],
        }
        self._names[React] = [n for n in names if n not in self._names[Diffuse] + self._names[Apply]]

    def forward(self, density: Field) -> list[list[Field]]:
        """Solve forward, leaving the first checkpoints; return the saved fields, and the saved companions if any."""
        begin = self._stepper.stack(1)
        self._stepper.load(begin, 0, density)
        self._checkpoints.append((0, begin))
        saved: list[list[Field]] = [[] for _ in begin]
        last = len(self._pieces) - 1
        self._run(self._reach(last, saved), last, last + 1, saved)
        return saved

    def backward(self, derivatives: Sequence[Derivatives]) -> Field:
        """Compute the loss's derivative by the initial density from those by the saved fields and companions."""
        stepper, adjoint = self._stepper, self._stepper.stack(1)
        for k in reversed(range(len(self._pieces))):
            u = self._reach(k)
            if self._checkpoints[-1][0] == k:
                self._checkpoints.pop()
            befores = [u]
            for operation in self._pieces[k][:-1] if self.gradient else ():
                befores.append(befores[-1].copy())
                self._do(befores[-1], operation)
            for i, operation in reversed(list(enumerate(self._pieces[k]))):
                if isinstance(operation, Save):
                    for which, by_save in enumerate(derivatives):
                        if (derivative := by_save[operation.index]) is not None:
                            stepper.add(adjoint, 0, derivative, which)
                    continue
                if self._names[type(operation)]:
                    self._account(befores[i], operation, adjoint)
                if isinstance(operation, React):
                    stepper.react_back(u, adjoint, operation)
                elif isinstance(operation, Apply):
                    stepper.apply_back(adjoint, operation)
                else:
                    stepper.diffuse(adjoint, operation)
            self._progress(len(self._pieces) - k, len(self._pieces), "gradient")
        stepper.load(u, 0, stepper.field(adjoint))
        return stepper.field(u)

    def _account(self, before: Field, operation: Operation, adjoint: Field) -> None:
        """Add what one operation contributes to the derivatives by parameters."""
        names = self._names[type(operation)]
        u = self._stepper.stack(1 + len(names))
        u[..., :1, :] = before
        self._do(u, operation, names)
        for k, name in enumerate(names, 1):
            self.gradient[name] += float(np.sum(u[..., k, :] * adjoint[..., 0, :], dtype=np.float64))

    def _do(self, u: Field, operation: Operation, names: Sequence[str] = ()) -> None:
        if isinstance(operation, React):
            self._stepper.react(u, operation, names)
        elif isinstance(operation, Diffuse):
            self._stepper.diffuse(u, operation, names)
        elif isinstance(operation, Apply):
            self._stepper.apply(u, operation, names)

    def _reach(self, target: int, saved: list[list[Field]] | None = None) -> Field:
        """Compute the density where piece `target` begins, from the last checkpoint; leave checkpoints on the way."""
        at, u = self._checkpoints[-1][0], self._checkpoints[-1][1].copy()
        while at < target:
            free = self._most - len(self._checkpoints)
            upto = at + first_part(target + 1 - at, free) if free else target
            self._run(u, at, upto, saved)
            at = upto
            if free:
                self._checkpoints.append((at, u.copy()))
        return u

    def _run(self, u: Field, begin: int, end: int, saved: list[list[Field]] | None) -> None:
        for i in range(begin, end):
            for operation in self._pieces[i]:
                self._do(u, operation)
                if isinstance(operation, Diffuse):
                    self.sweeps += operation.stages
                if saved is not None and isinstance(operation, Save):
                    for which, fields in enumerate(saved):
                        fields.append(self._stepper.field(u, 0, which))
            if saved is not None:
                self._progress(i + 1, len(self._pieces), "growth")


def first_part(pieces: int, checkpoints: int) -> int:
    """How far from a checkpoint the next one lies, to reverse `pieces` with fewest repeats.

    Parameters
    ----------
    pieces : int
        How many are to be reversed, > 1.
    checkpoints : int
        How many more may be kept, > 0.

    Notes
    -----
    With s checkpoints, the first included, and every piece run at most r times on the way to later ones,
    (s + r)! / (s! r!) pieces can be reversed. The part after the next checkpoint has one fewer and as many runs, the
    part before it as many and one run fewer.
    """
    s, r = checkpoints + 1, 1
    while comb(s + r, s) < pieces:
        r += 1
    return max(pieces - comb(s + r - 1, s - 1), comb(s + r - 2, s), 1)


def _checked_derivatives(run: Simulation, derivatives: Sequence[Derivatives]) -> list[list[Field | None]]:
    kinds = ("field", "companion") if run.companions else ("field",)
    if not 1 <= len(derivatives) <= len(kinds):
        raise InputError(
            "the loss is to give its value and its derivatives by each saved "
            f"{' and by each saved '.join(kinds)}, not {1 + len(derivatives)} values"
        )
    checked = []
    for kind, given in zip(kinds, derivatives, strict=False):
        found = [None if d is None else np.asarray(d) for d in given]
        if len(found) != len(run.times):
            raise InputError(
                f"the loss gave {len(found)} derivatives, one for each of {len(run.times)} saved {kind}s "
                "is needed (None where it does not depend on one)"
            )
        for day, derivative in zip(run.times, found, strict=True):
            if derivative is not None and (derivative.shape != run.grid.shape or not np.isfinite(derivative).all()):
                raise InputError(
                    f"the loss's derivative by the {kind} at day {day:g} is finite and of shape "
                    f"{run.grid.shape}; it has shape {derivative.shape}"
                )
        checked.append(found)
    return checked
