import json
import multiprocessing
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin import provenance
from tumortwin.errors import InputError, ReadError
from tumortwin.provenance import Log, verify

KEY = bytes(range(32))


def some_log(path, key=None, lines=4):
    log = Log(path, "a study", "consent 7", key, lambda: datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
    return [
        log.write("run", inputs=["b" * 64, "a" * 64], outputs={"board.pdf": f"{i:064x}"}, seed=i) for i in range(lines)
    ]


def test_lines_say_what_went_in_and_out(tmp_path):
    path = tmp_path / "logs" / "log.jsonl"
    hashes = some_log(path)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [e["line"] for e in entries] == [1, 2, 3, 4]
    assert [e["previous"] for e in entries] == ["0" * 64, *hashes[:3]]
    assert entries[1]["inputs"]["each"] == ["a" * 64, "b" * 64]
    assert (entries[0]["purpose"], entries[0]["consent"], entries[3]["facts"]) == ("a study", "consent 7", {"seed": 3})
    assert {"tumortwin", "python", "numpy", "pydicom"} <= entries[0]["versions"].keys()
    assert entries[0]["time"] == "2024-01-02T03:04:05+00:00"
    check = verify(path)
    assert check.whole
    assert (check.lines, check.head) == (4, hashes[-1])
    assert hashes[-1] in str(check)


@pytest.mark.parametrize("key", [None, KEY])
def test_every_change_shows_and_where(tmp_path, key):
    path = tmp_path / "log.jsonl"
    hashes = some_log(path, key)
    lines = path.read_text().splitlines(keepends=True)

    def broken_at(*changed):
        path.write_text("".join(changed))
        return verify(path, key=key).broken

    assert broken_at(*lines) is None
    assert broken_at(lines[0], lines[1].replace("board", "Board"), *lines[2:]) == 2
    assert broken_at(lines[0], lines[1].replace('"seed":1', '"seed":2'), *lines[2:]) == 2
    assert broken_at(lines[0], lines[1].replace(":", ": ", 1), *lines[2:]) == 2
    assert broken_at(*lines[1:]) == 1
    assert broken_at(lines[0], *lines[2:]) == 2
    assert broken_at(lines[0], lines[2], lines[1], lines[3]) == 2
    assert broken_at(*lines[:2], lines[1], *lines[2:]) == 3
    assert broken_at(*lines[:3], lines[3][:-20]) == 4
    assert broken_at(*lines[:3], lines[3].rstrip("\n")) == 4
    assert broken_at(*lines, "\n") == 5
    path.write_text("".join(lines[:3]))
    assert verify(path, key=key).whole, "a log that was cut off cannot be told from a short one ..."
    cut = verify(path, key=key, head=hashes[-1])
    assert (cut.broken, cut.lines) == (4, 3), "... but by the hash of its last line"
    assert verify(path, key=key, head=hashes[1]).whole


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(tmp_path_factory, at, by):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    some_log(path, lines=3)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= by
    path.write_bytes(bytes(content))
    assert not verify(path).whole


def test_a_chain_made_anew_is_whole_without_a_key_and_not_with_one(tmp_path):
    path = tmp_path / "log.jsonl"
    (tmp_path / "keyed.jsonl").touch()
    some_log(tmp_path / "keyed.jsonl", KEY, 2)
    forged = json.loads((tmp_path / "keyed.jsonl").read_text().splitlines()[0])
    forged["purpose"] = "another"
    forged["hash"] = provenance._hash(forged, None)
    path.write_bytes(provenance._line(forged) + b"\n")
    assert verify(path, key=KEY).broken == 1
    with pytest.raises(InputError, match="has a key"):
        verify(tmp_path / "keyed.jsonl")
    some_log(path2 := tmp_path / "plain.jsonl")
    with pytest.raises(InputError, match="has no key"):
        verify(path2, key=KEY)


def test_nothing_is_added_to_a_broken_log(tmp_path):
    path = tmp_path / "log.jsonl"
    some_log(path)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(ReadError, match=r"its last line \(4\)"):
        Log(path).write("run")
    path.write_bytes(content.replace(b'"seed":3', b'"seed":4'))
    with pytest.raises(ReadError, match="was changed, or is of another key"):
        Log(path).write("run")
    path.write_bytes(content)
    with pytest.raises(ReadError, match="of another key"):
        Log(path, key=KEY).write("run")
    with pytest.raises(ReadError, match="cannot be read"):
        verify(tmp_path / "none")


def write_many(path):
    for i in range(20):
        Log(path).write("run", number=i)


def test_two_processes_write_one_chain(tmp_path):
    path = tmp_path / "log.jsonl"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=write_many, args=(path,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    check = verify(path)
    assert check.whole
    assert check.lines == 40
