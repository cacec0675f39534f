"""Wall and processor time by stage."""

import threading
import time

import pytest

from tumortwin import profiling
from tumortwin.profiling import StageProfile, stage


@pytest.fixture
def clock(monkeypatch):
    """Wall and processor seconds that only pass when the test says so."""
    now = {"wall": 100.0, "cpu": 40.0}
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(profiling.time, "process_time", lambda: now["cpu"])

    def work(wall: float, cpu: float) -> None:
        now["wall"] += wall
        now["cpu"] += cpu

    return work


def test_stages_add_up_and_inner_ones_do_not_count_for_outer_ones(clock):
    profile = StageProfile()
    with profile.watching():
        clock(1, 1)
        with stage("read"):
            clock(2, 1.5)
        with stage("build"):
            clock(3, 5)
            with stage("register"):
                clock(4, 8)
                with stage("read"):
                    clock(0.5, 0.25)
            clock(1, 1)
    assert {name: tuple(seconds) for name, seconds in profile.seconds.items()} == {
        "read": (2.5, 1.75),
        "build": (4, 6),
        "register": (4, 8),
    }
    assert tuple(profile.total) == (11.5, 16.75)
    rows = str(profile).splitlines()
    assert [row.split("  ")[0] for row in rows[:-1]] == ["stage", "read", "build", "register", "all else", "in all"]
    assert [row.split()[-4:] for row in rows[4:6]] == [["1.00", "s", "1.00", "s"], ["11.50", "s", "16.75", "s"]]
    assert rows[-1].endswith("MiB of memory")


def test_real_clocks_tell_work_from_waiting():
    profile = StageProfile()
    with profile.watching():
        with stage("wait"):
            time.sleep(0.2)
        with stage("work"):
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass
    assert profile.seconds["wait"][0] >= 0.2
    assert profile.seconds["wait"][1] < 0.1
    assert profile.seconds["work"][1] >= 0.1


def test_an_error_ends_a_stage_and_the_watching(clock):
    profile = StageProfile()

    def fail():
        with profile.watching(), stage("read"):
            clock(2, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tuple(profile.seconds["read"]) == tuple(profile.total) == (2, 1)
    with stage("read"):
        clock(5, 5)
    assert tuple(profile.seconds["read"]) == (2, 1)


def test_nobody_watches_by_default_and_no_thread_is_started(clock):
    before = threading.active_count()
    with stage("read"):
        assert threading.active_count() == before
    profile = StageProfile()
    with profile.watching(), stage("build"):
        assert threading.active_count() == before
    assert list(profile.seconds) == ["build"]
