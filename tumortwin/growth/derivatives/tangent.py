"""Derivatives of a solve by its parameters, carried beside the density: tangent-linear columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth.derivatives.columns import ColumnStepper, checked_names
from tumortwin.growth.derivatives.face_columns import FaceColumns
from tumortwin.growth.derivatives.tape import Apply, Diffuse, Operation, React, tape_of
from tumortwin.growth.derivatives.tensor_columns import TensorColumns
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import StepPlan
from tumortwin.growth.solver import UNDERSHOOT, Simulation, checked_density, checked_times, outside, simulate
from tumortwin.growth.terms.tensor import TensorDiffusion
from tumortwin.imaging.findings import Finding
from tumortwin.progress import Progress, silent

LEFT_OUT = 1e-4
"""Largest initial density that a plan's first box may leave out."""


@dataclass(frozen=True, eq=False)
class TangentSimulation:
    """A solution of the growth equation and its derivatives.

    Parameters
    ----------
    simulation : Simulation
        The solution.
    tangents : mapping of str to tuple of n (z, y, x) arrays
        Derivative of each saved field by each parameter, in density per the parameter's unit.
    companion_tangents : mapping of str to tuple of n (z, y, x) arrays
        The same of the model's companion; empty without one.
    """

    simulation: Simulation
    tangents: Mapping[str, tuple[NDArray[np.floating], ...]]
    companion_tangents: Mapping[str, tuple[NDArray[np.floating], ...]] = field(default_factory=dict)

    @property
    def visible_tangents(self) -> Mapping[str, tuple[NDArray[np.floating], ...]]:
        """Derivatives of what a scan sees: living cells and companion together."""
        if not self.companion_tangents:
            return self.tangents
        return {
            name: tuple(u + v for u, v in zip(columns, self.companion_tangents[name], strict=True))
            for name, columns in self.tangents.items()
        }


def simulate_with_tangents(
    model: Model,
    initial: NDArray[np.floating],
    start: float,
    stop: float,
    *,
    parameters: Sequence[str] = (),
    initial_tangents: Mapping[str, NDArray[np.floating]] | None = None,
    save_at: Iterable[float] = (),
    plan: StepPlan | None = None,
    rtol: float = 1e-3,
    dtype: type[np.floating] = np.float32,
    progress: Progress = silent,
) -> TangentSimulation:
    """Solve the growth equation and differentiate the solution by numbers, all in one march.

    The derivatives are those of the discrete scheme, not approximations of them: there is no step size to choose, and
    single precision serves. What the plan says is held constant: shares of steps, stage counts and boxes.

    Parameters
    ----------
    model, initial, start, stop, save_at, dtype, progress
        As for :func:`~tumortwin.growth.solver.simulate`.
    parameters : sequence of str
        Any of "diffusivity" (of white matter; grey matter's follows by its ratio), "grey_ratio", "proliferation_rate",
        "capacity", "alpha" (alpha/beta held), "alpha_beta" (alpha held), names of drugs for their sensitivities, and
        those of the model's companion: "half_time" of dead cells, "necrosis_rate" and "necrosis_threshold".
    initial_tangents : mapping of str to (z, y, x) array, optional
        Derivative of the initial density by each number that it depends on. A name that is also among `parameters`
        gives the derivative by that parameter where the initial density depends on it too; other names are added.
    plan : StepPlan, optional
        The steps of :func:`~tumortwin.growth.solver.simulate` for these or nearby numbers. If not given, the equation
        is solved once more to find them, for `rtol`.
    rtol : float
        For finding the plan.

    Returns
    -------
    TangentSimulation

    Raises
    ------
    InputError
        If a value cannot be used; the message names it.

    Notes
    -----
    An RKL2 stage is linear in the density, so a column takes the same stage, driven by the density's own flow where the
    parameter is a diffusivity. Reactions are pointwise maps with analytic derivatives; a fraction multiplies by S and
    adds dS u. A companion's columns stand beside the density's.

    References
    ----------
    Griewank & Walther 2008, Evaluating Derivatives, doi:10.1137/1.9780898717761.
    """
    seeds = _checked_fields(model, initial_tangents or {})
    names = (*checked_names(model, parameters), *(name for name in seeds if name not in parameters))
    solve = frozen(model, initial, start, stop, names, save_at, plan, rtol, dtype, progress)
    stepper, u = solve.stepper, solve.stepper.stack(1 + len(names))
    stepper.load(u, 0, solve.density)
    for k, name in enumerate(names, 1):
        if name in seeds:
            stepper.load(u, k, seeds[name])
    saved: list[list[list[NDArray[np.floating]]]] = []
    operations = iter(enumerate(solve.tape, 1))
    for i, operation in operations:
        if isinstance(operation, Diffuse):
            # a React follows: it is done while the last stage's rows are at hand
            i, then = next(operations)
            assert isinstance(then, React)
            stepper.diffuse(u, operation, names, then)
        elif isinstance(operation, React):
            stepper.react(u, operation, names)
        elif isinstance(operation, Apply):
            stepper.apply(u, operation, names)
        else:
            saved.append([[stepper.field(u, k, which) for k in range(1 + len(names))] for which in range(len(u))])
        progress(i, len(solve.tape), "growth and derivatives")
    # (fields and companions, columns, saves)
    columns = [list(zip(*by_column, strict=True)) for by_column in zip(*saved, strict=True)]
    for name, *column in zip(names, *(own[1:] for own in columns), strict=True):
        if not all(np.isfinite(saves[-1]).all() for saves in column):
            raise InputError(f"the derivative by {name} is not finite at day {stop}: make a plan with a smaller dt")
    return TangentSimulation(
        solve.solution(*(own[0] for own in columns)), *(dict(zip(names, own[1:], strict=True)) for own in columns)
    )


@dataclass(frozen=True, eq=False)
class FrozenSolve:
    """What a solve with a frozen plan is made of.

    Parameters
    ----------
    model : Model
        The equation.
    density : (z, y, x) array
        At the beginning.
    saves : list of float
        Days of saved fields.
    plan : StepPlan
        The steps.
    tape : tuple of Operation
        What is done.
    stepper : ColumnStepper
        Does it.
    findings : tuple of Finding
        Of the density and the treatment.
    """

    model: Model
    density: NDArray[np.floating]
    saves: list[float]
    plan: StepPlan
    tape: tuple[Operation, ...]
    stepper: ColumnStepper
    findings: tuple[Finding, ...]

    def solution(
        self, fields: Sequence[NDArray[np.floating]], companions: Sequence[NDArray[np.floating]] = ()
    ) -> Simulation:
        """Build the Simulation with these saved fields."""
        if not np.isfinite(fields[-1]).all():
            raise InputError(f"the density is not finite at day {self.saves[-1]}: make a plan with a smaller dt")
        findings = [*self.model.findings(), *self.findings]
        lowest = min(self.stepper.lowest, float(self.density.min()))
        if lowest < -UNDERSHOOT:
            findings.append(
                Finding(
                    f"the density falls to {lowest:.2g} somewhere",
                    "growth",
                    "rough data at this step length: make a plan with a smaller rtol or dt",
                )
            )
        plan = self.plan
        sweeps = sum(step.stages for steps in plan.segments for step in steps)
        return Simulation(
            self.model.domain.grid,
            np.array(self.saves),
            tuple(fields),
            plan.steps,
            sweeps,
            plan.time_error,
            lowest,
            plan,
            tuple(findings),
            tuple(companions),
            resolution=self.model.resolution,
        )


def frozen(
    model: Model,
    initial: NDArray[np.floating],
    start: float,
    stop: float,
    names: Sequence[str],
    save_at: Iterable[float],
    plan: StepPlan | None,
    rtol: float,
    dtype: type[np.floating],
    progress: Progress,
) -> FrozenSolve:
    """Check a solve's values, and find its plan if none is given."""
    saves = checked_times(start, stop, save_at)
    density, findings = checked_density(model, np.asarray(initial))
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise InputError(f"dtype is float32 or float64, not {np.dtype(dtype)}")
    if plan is None:
        plan = simulate(model, initial, start, stop, save_at=saves, rtol=rtol, dtype=dtype, progress=progress).plan
    tape = tape_of(model, start, stop, saves, plan)
    columns = TensorColumns if isinstance(model.diffusion, TensorDiffusion) else FaceColumns
    stepper = columns(model, plan, names, dtype)
    left_out = stepper.beyond(density)
    if left_out > LEFT_OUT:
        raise InputError(
            f"the plan was made for a tumor that is elsewhere or smaller: a density of {left_out:.2g} is "
            "outside its first box; make a new plan"
        )
    return FrozenSolve(model, density, saves, plan, tape, stepper, (*outside(model, start, stop), *findings))


def _checked_fields(model: Model, fields: Mapping[str, NDArray[np.floating]]) -> dict[str, NDArray[np.floating]]:
    """Return the fields as arrays after checking that they are on the domain's grid and finite."""
    found = {name: np.asarray(values) for name, values in fields.items()}
    for name, values in found.items():
        if values.shape != model.domain.grid.shape:
            raise InputError(
                f"the initial derivative by {name} has shape {values.shape}, the domain's grid "
                f"{model.domain.grid.shape}"
            )
        if not np.isfinite(values).all():
            raise InputError(
                f"{np.count_nonzero(~np.isfinite(values))} values of the initial derivative by {name} are not finite"
            )
    return found
