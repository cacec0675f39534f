"""Progress is reported, and a token cancels from another thread."""

import threading

import pytest

from tumortwin.errors import Cancelled
from tumortwin.progress import CancelToken, TqdmProgress


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
