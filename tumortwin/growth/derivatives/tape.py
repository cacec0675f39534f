"""A solve with a frozen plan as a list of operations: what tangents and adjoints are derivatives of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tumortwin.errors import InputError
from tumortwin.growth.model import Model
from tumortwin.growth.scheme import Box, StepPlan
from tumortwin.twin import Irradiation, Removal


@dataclass(frozen=True)
class React:
    """Growth and kill from `begin` to `end` (days), in `box`."""

    begin: float
    end: float
    box: Box


@dataclass(frozen=True)
class Diffuse:
    """Diffusion over `tau` days by `stages` of RKL2, in `box`. A React always follows."""

    tau: float
    stages: int
    box: Box


@dataclass(frozen=True, eq=False)
class Apply:
    """A treatment at one instant, in `box`."""

    event: Irradiation | Removal
    box: Box


@dataclass(frozen=True)
class Save:
    """The density is saved as number `index`."""

    index: int


Operation = React | Diffuse | Apply | Save


def tape_of(model: Model, start: float, stop: float, saves: Sequence[float], plan: StepPlan) -> tuple[Operation, ...]:
    """List in order the operations of :func:`~tumortwin.growth.solver.simulate` with a plan.

    Growth at the end of one step and at the beginning of the next is one React, as it is there.

    Parameters
    ----------
    model : Model
        The equation.
    start, stop : float
        Days.
    saves : sequence of float
        Days at which the density is saved, ascending.
    plan : StepPlan
        The steps.

    Raises
    ------
    InputError
        If the plan has another number of segments than there are events and saves.
    """
    events: list[Irradiation | Removal] = [*model.removals, *model.irradiations]
    events = sorted((e for e in events if start < e.day <= stop), key=lambda e: e.day)
    stops = sorted({e.day for e in events} | {t for t in saves if t > start})
    if len(plan.segments) != len(stops):
        raise InputError(
            f"the plan has {len(plan.segments)} segments, this solve {len(stops)} (one up to each "
            "event and save): make a plan with the same events and saves"
        )
    number = {day: i for i, day in enumerate(saves)}
    tape: list[Operation] = [Save(0)] if start in number else []
    day = start
    for end, steps in zip(stops, plan.segments, strict=True):
        ends, length = [day], end - day
        for step in steps[:-1]:
            ends.append(ends[-1] + step.share * length)
        ends.append(end)
        middles = [(a + b) / 2 for a, b in pairwise(ends)]
        tape.append(React(day, middles[0], steps[0].box))
        for i, (step, until) in enumerate(zip(steps, [*middles[1:], end], strict=True)):
            tape += [Diffuse(ends[i + 1] - ends[i], step.stages, step.box), React(middles[i], until, step.box)]
        tape += [Apply(event, steps[-1].box) for event in events if event.day == end]
        if end in number:
            tape.append(Save(number[end]))
        day = end
    return tuple(tape)
