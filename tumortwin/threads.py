"""Doing independent pieces of work at the same time, and holding BLAS to one thread meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

from threadpoolctl import threadpool_limits

from tumortwin.arguments import described
from tumortwin.errors import InputError

_limited = Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread while the block runs; also a decorator, for a function that does so.

    BLAS on several threads adds in another order, so the last bits of a result would depend on their number. How many
    BLAS may use is a setting of the whole process. Only the outermost block changes it, and restores it at its end,
    also after an error: of blocks that overlap on two threads, the second would else restore what the first had set.
    """
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()


@contextmanager
def pool_of(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads that drops pending tasks when the block ends with an error or a cancellation.

    Meanwhile BLAS starts no threads of its own: two of ours with two of its own each took 1.6 times the processor time
    of the whole road on two cores.

    Parameters
    ----------
    threads : int
        How many, at least 1.

    Raises
    ------
    InputError
        If it is no such number.
    """
    if not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads is a whole number of at least 1, not {described(threads)}")
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
