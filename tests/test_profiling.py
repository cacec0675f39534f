"""Seconds by stage."""

import threading
from types import ModuleType

import pytest

from tumortwin.profiling import StageProfile

SOURCE = """
import time
def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
def calling(work, *arguments):
    work(*arguments)
"""


def module(name: str) -> ModuleType:
    made = ModuleType(name)
    exec(SOURCE, made.__dict__)
    return made


def test_time_is_booked_on_the_innermost_stage():
    low, first, second = module("pack.low"), module("pack.first"), module("pack.second.inner")
    profile = StageProfile({"pack": "other", "pack.first": "first", "pack.second": "second", "pack.low": ""})
    with profile.watching():
        first.busy(0.2)
        second.calling(low.busy, 0.4)
        low.busy(0.1)  # nobody's
        first.calling(second.busy, 0.2)
    assert profile.seconds["second"] / profile.seconds["first"] == pytest.approx(3, rel=0.35)
    assert set(profile.seconds) == {"first", "second"}
    assert profile.wall_s > 0.85
    text = str(profile)
    assert text.index("second") < text.index("first")
    assert "MiB" in text


def test_threads_that_wait_do_not_count():
    work = module("pack.work")
    profile = StageProfile({"pack.work": "work", __name__: "waiting"})
    thread = threading.Thread(target=work.busy, args=(0.3,))
    with profile.watching():
        thread.start()
        thread.join()
    assert profile.seconds["work"] > 0.15
    assert profile.seconds["waiting"] < 0.5 * profile.seconds["work"]


def test_an_error_ends_it():
    profile = StageProfile({})

    def fail():
        with profile.watching():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert profile.wall_s > 0
    assert "stage profile" not in {t.name for t in threading.enumerate()}
