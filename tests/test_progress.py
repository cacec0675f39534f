"""Progress is reported from one thread, a token cancels from another, and a live notebook shows a bar."""

import threading
import time
from contextvars import copy_context

import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel

from tumortwin.errors import Cancelled, InputError
from tumortwin.progress import CancelToken, TqdmProgress, part, silent, step, watched


def test_a_cancelled_token_raises_and_says_where():
    heard = []
    token = CancelToken(lambda *report: heard.append(report))
    token(1, 3, "solve")
    thread = threading.Thread(target=token.cancel)
    thread.start()
    thread.join()
    with pytest.raises(Cancelled, match=r"solve \(2 of 3 done\)"):
        token(2, 3, "solve")
    assert heard == [(1, 3, "solve")]


def test_the_bar_shows_each_piece_of_work_once(capsys):
    progress = TqdmProgress()
    for what in ("read", "fit"):
        for done in range(3):
            progress(done, 2, what)
    progress.close()
    shown = capsys.readouterr().err
    assert "read: 100%" in shown
    assert "fit: 100%" in shown
    assert shown.count("2/2") >= 2


def test_the_steps_of_a_stage_share_its_bar(capsys):
    progress = TqdmProgress()
    for done, what in enumerate(("geometry: visit 1: atlas", "geometry: visit 2: registration", "geometry")):
        progress(done, 2, what)
    progress.close()
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "visit 2: registration" in shown
    assert "geometry: 100%" in shown


def visits(names, steps=("atlas", "tumor")):
    """Work of two planned steps a visit, each visit in a thread of its own context."""

    def one(name):
        with part(name, 2):
            for text in steps:
                step(text)
                time.sleep(0.12)

    threads = [threading.Thread(target=copy_context().run, args=(one, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(names)


@pytest.mark.parametrize("steps", [(), ("atlas",), ("atlas", "tumor"), ("atlas", "tumor", "tumor again")])
def test_steps_are_counted_across_threads_and_reported_from_one(steps):
    reports, reporters = [], set()

    def progress(*report):
        reports.append(report)
        reporters.add(threading.get_ident())

    assert watched(lambda: visits(["visit 1", "visit 2"], steps), progress, "geometry", 4) == 2
    assert reporters == {threading.get_ident()}
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert reports[-1] == (4, 4, "geometry")
    assert {total for _, total, _ in reports} == {4}
    assert all(any(f"geometry: visit {k}: {text}" == report[2] for report in reports for k in (1, 2)) for text in steps)


def test_work_that_is_not_watched_counts_nothing():
    assert visits(["visit 1"]) == 1


def test_numpys_errors_and_ours_come_through():
    def work():
        with np.errstate(divide="ignore"):
            np.float64(1) / np.float64(0)
        return np.float64(1) / np.float64(0)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        watched(work, silent, "work", 1)

    def refuse():
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        watched(refuse, silent, "work", 1)


def test_cancelling_returns_at_once_and_the_work_ends_at_its_next_step():
    ended = threading.Event()
    went_on = []

    def work():
        try:
            with part("visit 1", 3):
                step("a long step")
                time.sleep(1.5)
                step("another")
                went_on.append(True)
        finally:
            ended.set()

    began = time.monotonic()
    with pytest.raises(Cancelled, match="geometry: visit 1: a long step"):
        watched(work, cancelled_after(0.3), "geometry", 3)
    assert time.monotonic() - began < 1.0
    assert ended.wait(5)
    assert not went_on


def cancelled_after(seconds):
    token = CancelToken()
    threading.Timer(seconds, token.cancel).start()
    return token


CELL = """
import time
from tumortwin.progress import automatic, bar_in_notebooks, silent

@bar_in_notebooks
def work(progress=automatic):
    for done in range(3):
        progress(done + 1, 3, "geometry: visit 1")
    return "made"

print(work({arguments}))
"""


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel()
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def outputs(kernel, arguments="", *, live):
    """What a cell shows: mime types of displays, and text."""
    shown: list[str] = []

    def hear(message):
        content = message["content"]
        if message["header"]["msg_type"] in ("display_data", "execute_result"):
            shown.extend(content["data"])
        elif message["header"]["msg_type"] in ("stream", "error"):
            shown.append(content.get("text") or content["evalue"])

    kernel.execute_interactive(
        CELL.format(arguments=arguments),
        allow_stdin=live,
        output_hook=hear,
        stdin_hook=lambda message: None,
        timeout=60,
    )
    return shown


WIDGET = "application/vnd.jupyter.widget-view+json"


def test_a_notebook_with_a_front_end_shows_a_widget(kernel):
    shown = outputs(kernel, live=True)
    assert WIDGET in shown
    assert "made\n" in shown


@pytest.mark.parametrize(("arguments", "live"), [("", False), ("progress=silent", True)])
def test_nothing_shows_where_nobody_looks_or_none_is_wanted(kernel, arguments, live):
    """nbconvert, nbval and papermill send cells with allow_stdin=False."""
    assert outputs(kernel, arguments, live=live) == ["made\n"]


def test_scripts_are_silent(capsys):
    scope: dict = {}
    exec(CELL.format(arguments=""), scope)
    assert capsys.readouterr() == ("made\n", "")
