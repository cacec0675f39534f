"""What was read and written, by which versions, for what purpose: an append-only log whose lines are chained by hashes.

A log is a file of JSON lines. Each line holds the hash of the line before and its own, so that a line that was changed,
taken out, put in or moved shows. It names what went in by SHA-256 only, never by name or path, and what came out by the
names we gave: it holds no identifier.

Whoever can write the file can also write another, whole, chain. Two things help: the hash of the last line, kept
elsewhere (`verify` compares it, and only so a log cut off at its end shows), and a key, with which the hashes become
HMACs that nobody can make without it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from tumortwin.errors import InputError, ReadError
from tumortwin.version import __version__

SCHEMA = "tumortwin-log-1"
_START = "0" * 64
_DEPENDS_ON = ("numpy", "scipy", "scikit-image", "SimpleITK", "pydicom", "highdicom", "lmfit")


@dataclass(frozen=True, eq=False)
class Log:
    """A provenance log to write to.

    Parameters
    ----------
    path : path-like
        The file; it is made when the first line is written.
    purpose : str
        What the data are used for, recorded in every line ("recovery study 12, approved 2024-03-01").
    consent : str
        On what ground they may be used, recorded in every line.
    key : bytes, optional
        Makes the hashes HMACs. A log has one key from its first line on.
    now : callable
        Gives the time of a line (UTC).
    """

    path: str | os.PathLike[str]
    purpose: str = ""
    consent: str = ""
    key: bytes | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def write(
        self, event: str, *, inputs: Iterable[str] = (), outputs: Mapping[str, str] | None = None, **facts: object
    ) -> str:
        """Add a line.

        Parameters
        ----------
        event : str
            What was done: "read_patient", "run", "deidentify", ...
        inputs : iterable of str
            SHA-256 of each file that went in.
        outputs : mapping of str to str
            Name and SHA-256 of each file that came out.
        facts
            Options and the like: plain JSON values without identifiers.

        Returns
        -------
        str
            The line's hash. Kept elsewhere, it shows whether the log was cut off or written anew.

        Raises
        ------
        ReadError
            If the file is not a log, its last line is broken, or it has another key.
        """
        target = Path(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a+b") as file, _locked(file):
            number, previous = self._end(file)
            hashes = sorted(inputs)
            entry = {
                "schema": SCHEMA,
                "line": number,
                "time": self.now().astimezone(UTC).isoformat(timespec="seconds"),
                "event": event,
                "purpose": self.purpose,
                "consent": self.consent,
                "versions": versions(),
                "inputs": {"files": len(hashes), "sha256": combined(hashes), "each": hashes},
                "outputs": dict(sorted((outputs or {}).items())),
                "facts": facts,
                "keyed": self.key is not None,
                "previous": previous,
            }
            entry["hash"] = _hash(entry, self.key)
            file.write(_line(entry) + b"\n")  # one write: a line is whole or, if the disk is full, shown by verify
            file.flush()
            os.fsync(file.fileno())
        return str(entry["hash"])

    def _end(self, file: IO[bytes]) -> tuple[int, str]:
        """Return the number of the next line and the hash of the last one, after checking the last one."""
        file.seek(0)
        last = b""
        count = 0
        for line in file:
            count, last = count + 1, line
        if not count:
            return 1, _START
        entry = _parsed(last)
        if entry is None or not last.endswith(b"\n") or entry.get("line") != count:
            raise ReadError(
                f"{self.path}: its last line ({count}) is no line of a log: look at it with `tumortwin "
                f"verify-log {self.path}`, keep it, and begin another"
            )
        if entry.get("keyed") != (self.key is not None) or entry["hash"] != _hash(entry, self.key):
            raise ReadError(
                f"{self.path}: its last line ({count}) was changed, or is of another key: keep it, and begin another"
            )
        return count + 1, str(entry["hash"])


@dataclass(frozen=True)
class LogCheck:
    """Whether a log's chain is whole.

    Parameters
    ----------
    lines : int
        How many lines hold together, from the first.
    broken : int or None
        The first line that does not, from 1.
    why : str
        What is wrong with it.
    head : str
        Hash of the last line that holds.
    """

    lines: int
    broken: int | None = None
    why: str = ""
    head: str = _START

    @property
    def whole(self) -> bool:
        """Whether all lines hold together."""
        return self.broken is None

    def __str__(self) -> str:
        if self.whole:
            return f"whole: {self.lines} lines, the last one's hash is {self.head}"
        return f"broken at line {self.broken}: {self.why}"


def verify(path: str | os.PathLike[str], *, key: bytes | None = None, head: str | None = None) -> LogCheck:
    """Tell whether a log is as it was written.

    Parameters
    ----------
    path : path-like
        The log.
    key : bytes, optional
        Of a log that has one.
    head : str, optional
        Hash of a line that was kept elsewhere: the log must contain it.

    Raises
    ------
    ReadError
        If the file cannot be read.
    InputError
        If the log has a key and none is given, or the other way round.
    """
    try:
        lines = Path(path).read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from error
    previous, seen = _START, set()
    for number, text in enumerate(lines, 1):
        entry = _parsed(text)
        why = ""
        if entry is None:
            why = "it is no line of a log"
        elif not text.endswith(b"\n"):
            why = "it is cut short"
        elif entry.get("keyed") != (key is not None):
            if number == 1 and isinstance(entry.get("keyed"), bool):
                said = "has a key: give it (--key-file)" if key is None else "has no key: give none"
                raise InputError(f"{path} {said}")
            why = "it is of another key than the lines before"
        elif entry["hash"] != _hash(entry, key):
            why = "its content was changed" if key is None else "its content was changed, or the key is another"
        elif entry.get("line") != number or entry.get("previous") != previous:
            why = "it does not follow the line before: a line was taken out, put in or moved"
        if why:
            return LogCheck(number - 1, number, why, previous)
        assert entry is not None
        previous = str(entry["hash"])
        seen.add(previous)
    if head is not None and head not in seen:
        return LogCheck(
            len(lines),
            len(lines) + 1,
            "the line with the given hash is missing: the log was cut off at its end, or written anew",
            previous,
        )
    return LogCheck(len(lines), head=previous)


def versions() -> dict[str, str]:
    """Of tumortwin and of what its numbers depend on."""
    found = {"tumortwin": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _DEPENDS_ON}


def combined(hashes: Iterable[str]) -> str:
    """One SHA-256 for many, whatever their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def hashes_of(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """SHA-256 of files by their path relative to a folder."""
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(paths)}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _hash(entry: Mapping[str, Any], key: bytes | None) -> str:
    content = _line({name: value for name, value in entry.items() if name != "hash"})
    return hashlib.sha256(content).hexdigest() if key is None else hmac.digest(key, content, "sha256").hex()


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # only one spelling of a line is ours: a changed space would not change the parsed content
    if not isinstance(entry, dict) or entry.get("schema") != SCHEMA or "hash" not in entry:
        return None
    try:
        return entry if _line(entry) == text.rstrip(b"\n") else None
    except ValueError:
        return None


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Alone with the file: two runs may write to one log."""
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
