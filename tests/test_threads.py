"""BLAS is held to one thread while results are made, and set back afterwards, whatever happens."""

import os
import subprocess
import sys

import pytest
import scipy.linalg  # noqa: F401 - its BLAS is another one than numpy's
from threadpoolctl import threadpool_info, threadpool_limits

from tumortwin.threads import one_blas_thread, pool_of


def allowed() -> set[int]:
    """Threads that each BLAS library may use."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three():
    """More than one to begin with, whatever the machine; no number that is a default."""
    with threadpool_limits(limits=3, user_api="blas"):
        if allowed() != {3}:
            pytest.skip(f"BLAS may use {allowed()} threads here, and cannot be told to use 3")
        yield


@pytest.mark.parametrize("block", [one_blas_thread, lambda: pool_of(2)])
def test_one_thread_inside_and_as_before_outside(block):
    with block():
        assert allowed() == {1}
        with block():
            assert allowed() == {1}
        assert allowed() == {1}
    assert allowed() == {3}


def test_an_error_sets_it_back():
    @one_blas_thread()
    def fails():
        assert allowed() == {1}
        raise ValueError("as asked")

    for _ in range(2):
        with pytest.raises(ValueError, match="as asked"):
            fails()
        assert allowed() == {3}


OVERLAPPING = """
from threading import Barrier, Thread

import numpy
from threadpoolctl import threadpool_info

from tumortwin.threads import one_blas_thread

allowed = lambda: {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
inside, overlap, left = (Barrier(2, timeout=30) for _ in range(3))

def first():
    with one_blas_thread():
        inside.wait()
        overlap.wait()
    left.wait()

def second():
    inside.wait()
    with one_blas_thread():
        assert allowed() == {1}
        overlap.wait()
        left.wait()

before = allowed()
threads = [Thread(target=work) for work in (first, second)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(before == allowed(), not overlap.broken and not left.broken)
"""


def test_blocks_that_overlap_on_two_threads_set_it_back():
    """In a process of its own: what is limited here already, threadpoolctl lets no other thread change."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", OVERLAPPING], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr
