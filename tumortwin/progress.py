"""How long work tells its caller how far it is, and how the caller stops it.

A progress callable takes ``(done, total, what)``. `what` is the stage ("geometry"), or the stage and its present step
("geometry: visit 2 of 6: registration"). The callable cancels the work by raising
:class:`~tumortwin.errors.Cancelled`; the work then leaves nothing half-written.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tumortwin.errors import Cancelled

if TYPE_CHECKING:
    from tqdm.auto import tqdm

Progress = Callable[[int, int, str], None]
P = ParamSpec("P")
T = TypeVar("T")

HEARTBEAT_S = 0.1
"""How often a thread that waits for others reports, and so can be cancelled."""


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


def automatic(done: int, total: int, what: str) -> None:
    """Stand for the default: a bar in a live notebook (see :func:`bar_in_notebooks`), nothing elsewhere."""


def bar_in_notebooks(function: Callable[P, T]) -> Callable[P, T]:
    """Give a function whose `progress` is :func:`automatic` a bar, if somebody looks at a notebook.

    Scripts and terminals stay silent, and so do notebooks that are run by nbconvert, nbval or papermill, so that no bar
    enters stored outputs.
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs.get("progress", automatic) is not automatic or not _in_live_notebook():
            return function(*args, **kwargs)
        with closing(TqdmProgress()) as bar:
            kwargs["progress"] = bar
            return function(*args, **kwargs)

    return called


def _in_live_notebook() -> bool:
    """Whether the present cell was sent by a front end that can ask its user something: those that show widgets."""
    if "IPython" not in sys.modules:
        return False
    kernel = getattr(sys.modules["IPython"].get_ipython(), "kernel", None)
    # programs that run notebooks send each cell with allow_stdin=False
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))


class TqdmProgress:
    """One tqdm bar per stage, a widget in notebooks; a new stage closes the bar before it.

    Parameters
    ----------
    hidden : bool
        Draw nothing, e.g. because nobody looks at a terminal.
    """

    def __init__(self, hidden: bool = False) -> None:
        self._hidden = hidden
        self._bar: tqdm | None = None
        self._stage: str | None = None
        self._step = ""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Bring the bar of a stage to `done` of `total`."""
        stage, _, step = what.partition(": ")
        if self._bar is None or stage != self._stage:
            from tqdm.auto import tqdm  # brings asyncio along, which work without a bar should not wait for

            self.close()
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, disable=self._hidden)
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if step != self._step:
            self._step = step
            self._bar.set_postfix_str(step)

    def close(self) -> None:
        """Finish the bar that is open, if one is."""
        if self._bar is not None:
            self._bar.close()
            self._bar, self._stage, self._step = None, None, ""


class CancelToken:
    """A progress callable that another thread can cancel, e.g. a notebook's stop button.

    Parameters
    ----------
    forward : Progress
        Called with each report while not cancelled.
    """

    def __init__(self, forward: Progress = silent) -> None:
        self._forward = forward
        self._event = threading.Event()

    def cancel(self) -> None:
        """Make the next report raise :class:`~tumortwin.errors.Cancelled`."""
        self._event.set()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Pass the report on, or raise Cancelled."""
        if self._event.is_set():
            raise Cancelled(f"cancelled during {what} ({done} of {total} done)")
        self._forward(done, total, what)


class _Count:
    """Steps that are done, of work in other threads."""

    def __init__(self) -> None:
        self.done, self.text = 0, ""
        self.lock, self.cancelled = threading.Lock(), threading.Event()

    def add(self, steps: int, text: str | None = None) -> None:
        if self.cancelled.is_set():
            raise Cancelled(f"cancelled during {self.text}")
        with self.lock:
            self.done += steps
            self.text = self.text if text is None else text


_count: ContextVar[_Count | None] = ContextVar("count", default=None)
_begin: ContextVar[Callable[[str], None] | None] = ContextVar("begin", default=None)


def step(text: str) -> None:
    """Say which step of the present :func:`part` begins; the one before is done.

    Raises
    ------
    Cancelled
        If the caller of :func:`watched` cancelled.
    """
    begin = _begin.get()
    if begin is not None:
        begin(text)


@contextmanager
def part(name: str, planned: int) -> Iterator[None]:
    """Count what is done in this block as so many steps, whether or not :func:`step` is called as often.

    Parameters
    ----------
    name : str
        Set before the text of each step; may be empty.
    planned : int
        Steps.
    """
    count = _count.get()
    if count is None:
        yield
        return
    counted = -1  # no step has begun

    def begin(text: str) -> None:
        nonlocal counted
        more = 0 <= counted < planned - 1
        counted = max(counted, 0) + more
        count.add(more, f"{name}: {text}" if name else text)

    token = _begin.set(begin)
    try:
        yield
    finally:
        _begin.reset(token)
    count.add(planned - max(counted, 0))


def watched(work: Callable[[], T], progress: Progress, what: str, total: int) -> T:
    """Do work in another thread, report its steps from this one, and return its result.

    When `progress` raises, or Ctrl-C is pressed, this returns at once; the work ends by itself at its next step, and
    whatever it would have returned is dropped.

    Parameters
    ----------
    work : callable
        Calls :func:`step` within :func:`part`, here or in threads that run in a copy of its context.
    progress : Progress
        Called every tenth of a second, always from the thread that calls this.
    what : str
        The stage.
    total : int
        Steps planned.
    """
    count = _Count()
    context = copy_context()  # the other thread treats numpy's errors as this one does
    context.run(_count.set, count)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(context.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=what)
    try:
        thread.start()
        while thread.is_alive():
            with count.lock:
                done, text = count.done, count.text
            progress(min(done, total), total, f"{what}: {text}" if text else what)
            thread.join(HEARTBEAT_S)
    except BaseException:
        count.cancelled.set()
        raise
    for error in errors:
        raise error
    progress(total, total, what)
    return results[0]
