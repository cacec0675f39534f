"""How long the stages of the road take: wall and processor time."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from numpy.typing import NDArray

_watching: ContextVar[StageProfile | None] = ContextVar("_watching", default=None)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time the block as a stage, if a profile watches.

    Parameters
    ----------
    name : str
        The stage's name in the table. Blocks of one name add up; a stage inside another does not count for the outer.
    """
    profile = _watching.get()
    if profile is None:
        yield
    else:
        with profile.timing(name):
            yield


class StageProfile:
    """Wall and processor time by stage.

    Processor time is that of all threads of this process, so that it exceeds wall time where several work at once.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, NDArray[np.float64]] = {}
        """Wall and processor seconds by stage, in the order in which the stages began."""
        self.total = np.zeros(2)
        """Wall and processor seconds of all that was watched."""
        self._inside = [np.zeros(2)]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time every stage while the block runs."""
        token = _watching.set(self)
        begin = _now()
        try:
            yield
        finally:
            self.total += _now() - begin
            _watching.reset(token)

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Count the block for a stage, but not what stages inside it take."""
        self.seconds.setdefault(name, np.zeros(2))
        self._inside.append(np.zeros(2))
        begin = _now()
        try:
            yield
        finally:
            took = _now() - begin
            self.seconds[name] += took - self._inside.pop()
            self._inside[-1] += took

    def __str__(self) -> str:
        rows = [*self.seconds.items(), ("all else", self.total - self._inside[0]), ("in all", self.total)]
        width = max(len(name) for name, _ in rows)
        lines = [f"{'stage':<{width}}  wall time  processor time"]
        lines += [f"{name:<{width}}  {wall:7.2f} s  {cpu:12.2f} s" for name, (wall, cpu) in rows]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return "\n".join([*lines, f"at most {peak:.0f} MiB of memory"])


def _now() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])
