"""Solving the growth equation in time: splitting around events, the choice of steps, saving and reporting.

One step is Strang's splitting, second order: half a step of growth and kill (exact, pointwise), a step of diffusion
(RKL2), half a step of growth and kill. The halves of neighboring steps are joined into one pass where nothing happens
between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.arguments import require
from tumortwin.errors import Cancelled, InputError
from tumortwin.growth.march import March
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import StepPlan
from tumortwin.growth.stepper import KernelStepper
from tumortwin.growth.tensor_stepper import TensorStepper
from tumortwin.growth.terms.laws import Exponential
from tumortwin.growth.terms.tensor import TensorDiffusion
from tumortwin.growth.terms.treatment import survival
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Grid
from tumortwin.progress import Progress, silent
from tumortwin.twin import Irradiation, Removal

UNDERSHOOT = 1e-3
"""Densities below minus this are reported."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """A solution of the growth equation.

    Parameters
    ----------
    grid : Grid
        Where the voxels are.
    times : (n,) array
        Days of the saved fields, ascending: those asked for, and always the last day.
    fields : tuple of n (z, y, x) arrays
        Cell density, from 0 to the capacity up to the scheme's error, exactly 0 outside the domain. A field saved at
        the time of an event is the density after it.
    steps, sweeps : int
        Time steps, and sweeps of the active box (RKL2 stages).
    time_error : float
        Estimated relative L2 error of the last field from stepping in time (not from the grid); NaN where it could not
        be estimated. A solve with a frozen plan carries the estimate of the solve that made the plan.
    lowest : float
        Smallest density met.
    plan : StepPlan
        The steps taken, for :func:`simulate` to take again.
    findings : tuple of Finding
        What a reader of the result should know.
    companions : tuple of n (z, y, x) arrays
        The model's companion (dead or necrotic cells) at the saved times; empty without one.
    cancelled : bool
        True if the solve was cancelled, and returns what was saved until then.
    resolution : float
        rho h^2 / D (:attr:`Model.resolution`): the grid's error in the speed of fronts is about 3.8 % of it.
    """

    grid: Grid
    times: NDArray[np.float64]
    fields: tuple[NDArray[np.floating], ...]
    steps: int
    sweeps: int
    time_error: float
    lowest: float
    plan: StepPlan
    findings: tuple[Finding, ...] = ()
    companions: tuple[NDArray[np.floating], ...] = ()
    cancelled: bool = False
    resolution: float = math.nan

    @property
    def visible(self) -> tuple[NDArray[np.floating], ...]:
        """What a scan sees at the saved times: living cells and companion together."""
        if not self.companions:
            return self.fields
        return tuple(u + v for u, v in zip(self.fields, self.companions, strict=True))

    def at(self, day: float) -> NDArray[np.floating]:
        """Return the density saved at `day`.

        Raises
        ------
        InputError
            If no field was saved at that day.
        """
        index = int(np.argmin(np.abs(self.times - day)))
        if abs(self.times[index] - day) > 1e-6:
            saved = ", ".join(f"{t:g}" for t in self.times)
            raise InputError(f"no density was saved at day {day}, only at {saved}: add the day to save_at")
        return self.fields[index]

    def volume_ml(self, threshold: float) -> NDArray[np.float64]:
        """Volume in mL of the voxels with a density above `threshold`, at each saved time; (n,) array."""
        return np.array([np.count_nonzero(f > threshold) for f in self.fields]) * (self.grid.voxel_volume / 1000)


def simulate(
    model: Model,
    initial: NDArray[np.floating],
    start: float,
    stop: float,
    *,
    save_at: Iterable[float] = (),
    dt: float | None = None,
    rtol: float = 1e-3,
    dtype: type[np.floating] = np.float32,
    threads: int = 1,
    eps: float = 1e-6,
    plan: StepPlan | None = None,
    progress: Progress = silent,
    keep_cancelled: bool = False,
) -> Simulation:
    """Solve the growth equation from `start` to `stop`.

    Irradiations and removals at times in (start, stop] take place, each at its own time; those outside do not, and are
    findings. So a solve may be cut anywhere: solving to a day and on from there is solving through. Drugs act by what
    is in the body in the interval, also from doses before `start`.

    Parameters
    ----------
    model : Model
        The equation.
    initial : (z, y, x) array
        Cell density at `start` (after events at `start`) on the domain's grid, from 0 to the capacity, which is 1 if
        not set; exponential growth has none.
    start, stop : float
        Days on the twin's clock.
    save_at : iterable of float
        Days in [start, stop] at which to save the density, exactly. The last day is always saved.
    dt : float, optional
        Take steps of this many days, or less where an event or a save is nearer. If not given, steps are chosen for
        `rtol`.
    rtol : float
        Wanted relative L2 error of the last field from stepping in time.
    dtype : numpy.float32 or numpy.float64
        Precision of the fields. Sums and parameters are float64.
    threads : int
        Threads that share one sweep.
    eps : float
        Density at `stop` that may be neglected. The sweep covers the box of the densities that can grow to more than
        `eps` by then, and what can be reached from it within a step; beyond it the density is 0. With 0, every cell is
        followed.
    plan : StepPlan, optional
        Steps of another solve with as many events and saves. Lengths adapt to this solve's times.
    progress : Progress
        Called at each step; an exception from it ends the solve.
    keep_cancelled : bool
        Return what was saved so far when `progress` raises :class:`~tumortwin.errors.Cancelled`, if anything was.

    Returns
    -------
    Simulation

    Raises
    ------
    InputError
        If a value cannot be used; the message names it.

    References
    ----------
    Strang 1968, doi:10.1137/0705041. Meyer, Balsara & Aslam 2014, doi:10.1016/j.jcp.2013.08.021.
    """
    require(model, Model, "simulate takes a Model, which model_of makes of a Twin")
    saves = checked_times(start, stop, save_at)
    for name, value in (("dt", dt), ("rtol", rtol)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is a finite number > 0, not {value}")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise InputError(f"dtype is float32 or float64, not {np.dtype(dtype)}")
    if threads < 1 or threads != int(threads):
        raise InputError(f"threads is a whole number >= 1, not {threads}")
    if not 0 <= eps < 0.1:
        raise InputError(f"eps is a small density, 0 <= eps < 0.1, not {eps}")
    domain = model.domain
    density, findings = checked_density(model, np.asarray(initial))
    diffusivity = model.parameters.diffusivity
    stepper: KernelStepper | TensorStepper
    if isinstance(model.diffusion, TensorDiffusion):
        coupling = model.diffusion.coupling(domain)
        moving = np.zeros(domain.mask.shape, bool)
        moving[domain.mask] = coupling.sum(axis=1) > 0
        stepper = TensorStepper(coupling, domain.mask, diffusivity, dtype)
    else:
        relative = model.diffusion.relative(domain, model.parameters)
        moving = relative > 0
        stepper = KernelStepper(relative, domain.mask, domain.grid.spacing, diffusivity, dtype, eps, threads)
        del relative
    march = March(model, stepper, density, start, stop, dt, rtol, eps, progress)
    events: list[Irradiation | Removal] = [*model.removals, *model.irradiations]
    events = sorted((e for e in events if start < e.day <= stop), key=lambda e: e.day)
    stops = sorted({e.day for e in events} | {t for t in saves if t > start})
    if plan is not None and len(plan.segments) != len(stops):
        raise InputError(
            f"the plan has {len(plan.segments)} segments, this solve {len(stops)} (one up to each "
            "event and save): make a plan with the same events and saves"
        )
    factors: dict[int, NDArray[np.floating]] = {}  # fractions of one plan share one map
    fields, companions = list[NDArray[np.floating]](), list[NDArray[np.floating]]()

    def save() -> None:
        fields.append(stepper.field())
        if model.companion is not None:
            companions.append(stepper.second())

    if model.companion is not None:
        stepper.pair  # noqa: B018 - from here on there are two fields
    if saves[0] == start:
        save()
    cancelled = False
    for i, day in enumerate(stops):
        try:
            march.advance(day, None if plan is None else plan.segments[i])
        except Cancelled:
            if not (keep_cancelled and fields):
                raise
            cancelled = True
            break
        for event in (e for e in events if e.day == day):
            if isinstance(event, Removal):
                left = stepper.prepare(1 - np.asarray(event.removed, np.float64))
                stepper.scale(left, both=True)
                march.rough = day
            else:
                key = id(event.dose)
                if key not in factors:
                    factors[key] = stepper.prepare(survival(model.parameters, event.dose))
                if model.companion is None:
                    stepper.scale(factors[key])
                else:
                    before = stepper.pair[0].copy()
                    stepper.scale(factors[key])
                    u, second = stepper.pair
                    model.companion.irradiated(second, before - u)
        if day in saves:
            save()
    if not np.isfinite(fields[-1]).all():
        raise InputError(
            f"the density is not finite at day {stop}: a rate times a step is too large "
            f"(proliferation_rate {model.parameters.proliferation_rate}/day); use a smaller dt"
        )
    findings = [*model.findings(), *outside(model, start, stop), *findings]
    stuck = ~moving & (density > UNDERSHOOT) & domain.mask
    if stuck.any() and diffusivity > 0:
        share = float(np.sum(density[stuck], dtype=float) / np.sum(density[domain.mask], dtype=float))
        findings.append(
            Finding(
                f"{np.count_nonzero(stuck)} voxels hold {share:.2%} of the initial cells, but have no "
                "white or grey matter for them to move in",
                "growth",
                "cells grow and die there, but do not leave",
            )
        )
    if cancelled:
        findings.append(
            Finding(
                f"the solve was cancelled; it was to end at day {stop:g}",
                "growth",
                f"what was saved until day {saves[len(fields) - 1]:g} is returned",
                Severity.LEFT_OUT,
            )
        )
    if march.lowest < -UNDERSHOOT:
        findings.append(
            Finding(
                f"the density falls to {march.lowest:.2g} somewhere",
                "growth",
                "rough data at this step length: use a smaller rtol or dt",
            )
        )
    steps = StepPlan(tuple(march.segments), march.time_error if plan is None else plan.time_error)
    return Simulation(
        domain.grid,
        np.array(saves[: len(fields)]),
        tuple(fields),
        steps.steps,
        stepper.sweeps,
        steps.time_error,
        march.lowest,
        steps,
        tuple(findings),
        tuple(companions),
        cancelled,
        model.resolution,
    )


def checked_times(start: float, stop: float, save_at: Iterable[float]) -> list[float]:
    """Sort the days to save, with the last day of the solve; raise an InputError if one is outside of the solve."""
    for name, day in (("start", start), ("stop", stop)):
        require(day, (int, float, np.number), f"{name} takes a day on the twin's clock")
    require(save_at, Iterable, "save_at takes a list of days")
    if not (math.isfinite(start) and math.isfinite(stop) and stop > start):
        raise InputError(f"a solve runs from a finite day to a later one, not from {start} to {stop}")
    saves = sorted({float(t) for t in save_at} | {float(stop)})
    outside = [t for t in saves if not start <= t <= stop]
    if outside:
        raise InputError(f"save_at holds day {outside[0]}, outside of {start} to {stop}")
    return saves


def outside(model: Model, start: float, stop: float) -> list[Finding]:
    """Treatment of the model that has no effect on a solve from `start` to `stop`."""
    found = []
    for what, events in (
        ("irradiations", model.irradiations),
        ("resections", model.removals),
        ("drug doses", model.administrations),
    ):
        days = np.array([event.day for event in events])
        # what a drug dose before the start leaves in the body acts
        before, after = days[(days <= start) & (what != "drug doses")], days[days > stop]
        for left_out, where, action in (
            (
                before,
                f"not after day {start:g}, where the solve begins",
                "they do not take place: the density that is given is taken to be after them",
            ),
            (after, f"after day {stop:g}, where the solve ends", "they do not take place: solve to a later day"),
        ):
            if left_out.size:
                when = f"day {left_out[0]:g}" + (f" to {left_out[-1]:g}" if left_out.size > 1 else "")
                found.append(Finding(f"{left_out.size} of {days.size} {what} ({when}) are {where}", "growth", action))
    return found


def checked_density(model: Model, density: NDArray[np.floating]) -> tuple[NDArray[np.floating], list[Finding]]:
    """Prepare an initial density for a solve, with findings about it; raise an InputError if it cannot be used."""
    mask = model.domain.mask
    if density.shape != mask.shape:
        raise InputError(f"the initial density has shape {density.shape}, the domain's grid {mask.shape}")
    if density.dtype.kind not in "fiub":
        raise InputError(f"the initial density holds real numbers, not {density.dtype}")
    if not np.isfinite(density).all():
        wrong = np.argwhere(~np.isfinite(density))
        first = tuple(wrong[0].tolist())
        raise InputError(
            f"{len(wrong)} values of the initial density are not finite, the first {density[first]} at "
            f"voxel (z, y, x) = {first}: give 0 where no density is known"
        )
    # what a solve returns may be given to the next: allow for the scheme's own error
    low, high = density.min(), density.max()
    capacity = math.inf if isinstance(model.law, Exponential) else model.parameters.capacity
    if low < -UNDERSHOOT or high > capacity * (1 + UNDERSHOOT):
        allowed = "not negative" if capacity == math.inf else f"within 0..{capacity:g} (capacity)"
        raise InputError(
            f"the initial density is {allowed}, but reaches from {low} to {high}: give it as a fraction "
            "of the density that u = 1 stands for"
        )
    outside = np.count_nonzero(density[~mask])
    if not outside:
        return density, []
    share = float(np.sum(density[~mask], dtype=float) / np.sum(density, dtype=float))
    return density, [
        Finding(
            f"{outside} voxels outside the domain hold {share:.2%} of the initial cells",
            "growth",
            "they were set to 0",
            Severity.LEFT_OUT,
        )
    ]
