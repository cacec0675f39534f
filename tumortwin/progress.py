"""How long work tells its caller how far it is, and how the caller stops it.

A progress callable takes ``(done, total, what)``. It cancels the work by raising
:class:`~tumortwin.errors.Cancelled`; the work then leaves nothing half-written.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tumortwin.errors import Cancelled

if TYPE_CHECKING:
    from tqdm.auto import tqdm

Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, what: str) -> None:
    """Report nothing."""


class TqdmProgress:
    """One tqdm bar per ``what``; a new ``what`` closes the bar before it.

    Parameters
    ----------
    hidden : bool
        Draw nothing, e.g. because nobody looks at a terminal.
    """

    def __init__(self, hidden: bool = False) -> None:
        self._hidden = hidden
        self._bar: tqdm | None = None
        self._what: str | None = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Bring the bar of `what` to `done` of `total`."""
        if self._bar is None or what != self._what:
            from tqdm.auto import tqdm  # brings asyncio along, which work without a bar should not wait for

            self.close()
            self._bar = tqdm(total=total, desc=what, file=sys.stderr, disable=self._hidden)
            self._what = what
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Finish the bar that is open, if one is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._what = None


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
