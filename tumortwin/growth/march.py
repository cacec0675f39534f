"""Stepping from one event or save to the next, and learning on the way how long steps may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth.model import Model
from tumortwin.growth.reference import ReferenceStepper
from tumortwin.growth.scheme import SAFETY, Box, Step, efficient_step, stage_limit, stages_for
from tumortwin.growth.stepper import KernelStepper
from tumortwin.growth.terms.laws import Flow, Moebius
from tumortwin.progress import Progress

_CHECK_EVERY = 12
_AIM = 0.75
"""Share of rtol that the steps aim at."""
_REMAINS = 0.3
"""Share of the sum of the steps' own errors that is in the last density: neighbors' errors cancel in part, as Strang's
splitting is Lie's seen from half a step away, and diffusion smooths the rest. Found 0.01-0.4 over brains, rates and
treatments; tests/physics holds it."""
_SMOOTH = 4e-2
"""Over this rtol, a step after rough data may be as long as the time since; below, as the root of the ratio."""


@dataclass(frozen=True)
class _Leg:
    """A step to be taken."""

    begin: float
    end: float
    stages: int
    check: bool = False
    box: Box | None = None

    @property
    def middle(self) -> float:
        return (self.begin + self.end) / 2


class March:
    """The solve in progress.

    The local error of a step of tau days is C tau^3 times the density's L2 norm. C is measured now and then by taking
    a step again as two halves. Steps are as long as the error that is still allowed per day permits. After rough data
    they begin at the length that makes no new extremum and are never longer than the time since.

    Parameters
    ----------
    model : Model
        The equation.
    stepper : ReferenceStepper or KernelStepper
        The state.
    density : (z, y, x) array
        At `start`.
    start, stop : float
        Days.
    dt : float or None
        Fixed length of steps, days.
    rtol : float
        Wanted relative L2 error at `stop`.
    eps : float
        Density that may be neglected at `stop`.
    progress : Progress
        Called after each step.

    Attributes
    ----------
    rough : float
        Day since which the density is being smoothed by diffusion.
    lowest : float
        Smallest density so far.
    segments : list of tuple of Step
        What was done.
    """

    def __init__(
        self,
        model: Model,
        stepper: ReferenceStepper | KernelStepper,
        density: NDArray[np.floating],
        start: float,
        stop: float,
        dt: float | None,
        rtol: float,
        eps: float,
        progress: Progress,
    ) -> None:
        rate, capacity, kill = model.parameters.proliferation_rate, model.parameters.capacity, model.kill
        rates = model.rates
        fastest = rate if rates is None else rate * (rates.levels[-1] if rate > 0 else rates.levels[0])
        # a density below this at `day` cannot be above eps at `stop`
        self._negligible = lambda day: eps * math.exp(-min(max(model.law.fastest(fastest), 0) * (stop - day), 60))
        stepper.eps = self._negligible(start)
        stepper.load(density)
        self._flow: Callable[[float, float], Flow] = (
            (lambda t0, t1: model.law.flow(rate, t0, t1, kill, capacity))
            if rates is None
            else (lambda t0, t1: rates.flow(model.law, rate, t0, t1, kill, capacity))
        )
        self._companion, self._parameters, self._kill = model.companion, model.parameters, kill
        self._stepper, self._progress = stepper, progress
        self._start, self._stop, self._dt, self._budget = start, stop, dt, _AIM * rtol
        self._day = self._reacted = start
        self.rough = start
        self.lowest = stepper.lowest()
        self.segments: list[tuple[Step, ...]] = []
        self._ramp = min(1.0, math.sqrt(rtol / _SMOOTH)) if dt is None else 1.0
        # before the first measurement: 1e-3 rho^3 is the splitting error of a front, and a tenth of the way is long
        self._constant = max(1e-3 * abs(fastest) ** 3, self._budget / (stop - start) / ((stop - start) / 10) ** 2)
        self._growth_time = 1 / abs(fastest) if fastest else math.inf
        self._measured_at = math.nan  # length of the step that was measured last
        self._unchecked = 0
        self._cubes = 0.0  # sum of tau^3 before the first measurement
        self._spent = 0.0

    @property
    def time_error(self) -> float:
        """Sum of the steps' estimated errors, and rounding; NaN if none was measured."""
        return math.nan if math.isnan(self._measured_at) else self._spent + self._stepper.rounding

    def advance(self, end: float, frozen: Sequence[Step] | None) -> None:
        """Go on to the day `end`, by steps of one's own or by `frozen` ones."""
        begin, done = self._day, list[Step]()
        legs = self._adaptive(end) if frozen is None else self._frozen(end, frozen)
        leg = next(legs, None)
        while leg is not None:
            # the next step is chosen before this one is taken, so that growth at the end of this one and at the
            # beginning of the next is one pass; a measured step stands alone
            following = None if leg.check else next(legs, None)
            until = leg.end if following is None or following.check else following.middle
            taken = self._measure(leg) if leg.check else [self._take(leg, until)]
            for box, t0, t1, stages in taken:
                done.append(Step((t1 - t0) / (end - begin), stages, box))
            self.lowest = min(self.lowest, self._stepper.lowest())
            span = self._stop - self._start
            self._progress(round(1000 * (leg.end - self._start) / span), 1000, "growth")
            leg = next(legs, None) if leg.check else following
        self.segments.append(tuple(done))
        self._day = end

    def _frozen(self, end: float, steps: Sequence[Step]) -> Iterator[_Leg]:
        day, length = self._day, end - self._day
        for i, step in enumerate(steps):
            upto = end if i == len(steps) - 1 else day + step.share * length
            if (upto - day) * self._stepper.rate > stage_limit(step.stages):
                raise InputError(
                    f"the plan's {step.stages} stages are too few for a step of {upto - day:.3g} days: "
                    f"diffusion is more than {1 / SAFETY - 1:.0%} faster than where the plan was made; "
                    "make a new plan"
                )
            yield _Leg(day, upto, step.stages, box=step.box)
            day = upto

    def _adaptive(self, end: float) -> Iterator[_Leg]:
        rate, day = self._stepper.rate, self._day
        while day < end:
            wanted = self._dt or self._longest(day)
            smooth = self._ramp * max(SAFETY / rate, day - self.rough) if rate > 0 else math.inf
            tau = min(wanted, smooth)
            if self._dt is None:
                tau = efficient_step(tau, rate)
            count = math.ceil((end - day) / tau * (1 - 1e-9))
            upto = end if count == 1 else day + (end - day) / count
            tau = upto - day
            # a step that is short for another reason tells nothing about the longest one
            telling = smooth >= wanted and tau > 0.5 * wanted
            due = not self._unchecked < _CHECK_EVERY or not tau < 1.5 * self._measured_at
            # the last step is measured whatever it tells, rather than nothing
            check = (telling and due) or (upto == self._stop and math.isnan(self._measured_at))
            self._unchecked = 0 if check else self._unchecked + 1
            if not check:
                self._account(tau)
            yield _Leg(day, upto, stages_for(tau, rate), check)
            day = upto

    def _longest(self, day: float) -> float:
        """Compute the longest step with an error within what is still allowed per day."""
        left = max(self._budget - self._spent, 0.1 * self._budget) / (self._stop - day)
        tau = math.sqrt(left / self._constant) if self._constant > 0 else math.inf
        tau = min(tau, self._growth_time)
        return tau if math.isnan(self._measured_at) else min(tau, 2 * self._measured_at)

    def _account(self, tau: float) -> None:
        if math.isnan(self._measured_at):
            self._cubes += tau**3
        else:
            self._spent += self._constant * tau**3

    def _take(self, leg: _Leg, react_until: float) -> tuple[Box, float, float, int]:
        """One Strang step, with the pointwise part taken up to `react_until`."""
        stepper = self._stepper
        if leg.box is None:
            stepper.eps = self._negligible(leg.begin)
            stepper.widen(leg.stages)
        else:
            stepper.use(leg.box)
        if self._reacted < leg.middle:
            self._react(self._reacted, leg.middle)
        if self._companion is None:
            stepper.diffuse(leg.end - leg.begin, leg.stages, self._flow(leg.middle, react_until))
        else:
            stepper.diffuse(leg.end - leg.begin, leg.stages, Moebius(1.0, 0.0))
            self._react(leg.middle, react_until)
        self._reacted = react_until
        return stepper.box, leg.begin, leg.end, leg.stages

    def _react(self, t0: float, t1: float) -> None:
        flow = self._flow(t0, t1)
        if self._companion is None:
            self._stepper.react(flow)
            return
        u, second = self._stepper.pair
        self._companion.react(u, second, lambda: self._stepper.react(flow), self._parameters, t0, t1, self._kill)

    def _measure(self, leg: _Leg) -> list[tuple[Box, float, float, int]]:
        """Take a step whole and in halves; go on with the halves if the whole is not good enough."""
        stepper, tau = self._stepper, leg.end - leg.begin
        stages = stages_for(tau / 2, stepper.rate)
        halves = [_Leg(leg.begin, leg.middle, stages), _Leg(leg.middle, leg.end, stages)]
        stepper.widen(2 * max(stages, leg.stages))
        stepper.keep()
        whole = [self._take(_Leg(leg.begin, leg.end, leg.stages, box=stepper.box), leg.end)]
        stepper.swap()
        self._reacted = leg.begin
        fine = [self._take(_Leg(h.begin, h.end, h.stages, box=stepper.box), h.end) for h in halves]
        change, norm = stepper.difference()
        # rounding makes a difference too: it says nothing about the step
        error = _REMAINS * 4 / 3 * max(change / norm - 4 * stepper.rounding, 0.0) if norm > 0 else 0.0
        first = math.isnan(self._measured_at)
        self._constant, self._measured_at = error / tau**3, tau
        if first:
            self._spent += self._constant * self._cubes
        if self._dt is None and tau > 1.2 * self._longest(leg.begin):
            self._spent += error / 4
            return fine
        stepper.swap()
        self._spent += error
        return whole
