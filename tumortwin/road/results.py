"""The output folder of a run: whether results may go there, and which stages an earlier run left in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tumortwin import __version__, archive
from tumortwin.errors import InputError, OutputExistsError, TumorTwinError
from tumortwin.imaging.identity.words import clean_text
from tumortwin.options import plain_rows
from tumortwin.outputs import new_file
from tumortwin.profiling import stage
from tumortwin.provenance import combined
from tumortwin.road.options import RunOptions

Announce = Callable[[str], None]
T = TypeVar("T")

LEAST_FREE_MB = 100
"""Room that a run asks for: stages and pages of the sample patient take 27 MB."""


class StageError(TumorTwinError):
    """A stage of the road failed; what the stages before it wrote is kept."""


def named_stage(name: str, work: Callable[[], T]) -> T:
    """Run one stage; an error of ours is passed on with the stage's name, any other is a bug and stays as it is."""
    try:
        with stage(name):
            return work()
    except (OutputExistsError, StageError):
        raise
    except TumorTwinError as error:
        raise StageError(f"could not {name}: {error}") from error


def check_out(out: Path, source: Path) -> None:
    """Refuse a place that results cannot go to, before any work. Nothing is left there.

    Parameters
    ----------
    out : Path
        The folder for the results.
    source : Path
        The patient's folder or file.

    Raises
    ------
    InputError
        If `out` is a file, cannot be written, has no room, or one of the two folders lies in the other.
    """
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"--out {out}: {there} is a file: name a folder")
    inner, outer = Path(os.path.realpath(out)), Path(os.path.realpath(source))
    if source.is_dir() and (inner == outer or outer in inner.parents or inner in outer.parents):
        raise InputError(f"--out {out} and the patient's folder {source} lie in each other: name a folder elsewhere")
    try:
        with tempfile.TemporaryDirectory(prefix=".tumortwin-", dir=there):
            pass
    except OSError as error:
        raise InputError(f"--out {out} cannot be written ({error.strerror}): name a folder elsewhere") from error
    free = shutil.disk_usage(there).free / 1e6
    if free < LEAST_FREE_MB:
        raise InputError(f"--out {out}: {free:.0f} MB are free there, a run needs {LEAST_FREE_MB} MB: make room")


class Results:
    """What an output folder holds of this run, or of another one.

    Parameters
    ----------
    folder : Path
        The output folder.
    options : RunOptions
        This run's.
    sources : mapping of str to str
        The patient's files and their SHA-256.
    overwrite : bool
        Replace what is there.
    passphrase : str, optional
        Of the saved stages.

    Raises
    ------
    OutputExistsError
        If the folder holds other files, or what another run saved; it says what differs.
    """

    def __init__(
        self, folder: Path, options: RunOptions, sources: Mapping[str, str], overwrite: bool, passphrase: str | None
    ) -> None:
        self._stages, self._passphrase = folder / "stages", passphrase
        self._note = self._stages / "run.json"
        # the files' contents count, not where they lie; names in the options may say who it is: only the key holds them
        contents = combined(sources.values())
        run = [__version__, contents, options.record()]
        self._run = {
            "key": hashlib.sha256(json.dumps(run).encode()).hexdigest(),
            "version": __version__,
            "input": contents,
            "options": json.loads(json.dumps(options.record(clean_text))),
        }
        known = self._known()
        self._begun = known.get("key") == self._run["key"] and not overwrite
        if self._begun or overwrite or not folder.is_dir():
            return
        if other := next((path for path in folder.rglob("*") if self._is_foreign(path)), None):
            what = f"the results of another run: {self._difference(known)}" if known else f"other files ({other.name})"
            raise OutputExistsError(f"{folder} holds {what}. Name another --out, or replace them with --force")

    def stage(self, name: str, stem: str, kind: type[T], work: Callable[[], T], announce: Announce) -> T:
        """Return the result of a stage: loaded if this run saved it before, else computed and saved.

        Raises
        ------
        StageError
            If the work fails. Then nothing was written.
        """
        path = self._stages / f"{stem}.npz"
        if self._begun and path.is_file():
            announce(f"{name}: taken from {path}")
            return archive.load(path, kind, passphrase=self._passphrase)
        value = named_stage(name, work)
        if not self._begun:
            for stale in self._stages.glob("*.npz"):
                stale.unlink()
            with new_file(self._note, overwrite=True) as temporary:
                temporary.write_text(json.dumps(self._run, indent=1) + "\n")
            self._begun = True
        archive.save(value, path, overwrite=True, passphrase=self._passphrase)
        announce(f"{name}: done")
        return value

    def _is_foreign(self, path: Path) -> bool:
        """Whether a file could be lost: neither run.json itself nor hidden, which no result is."""
        hidden = any(part.startswith(".") for part in path.relative_to(self._stages.parent).parts)
        return path.is_file() and path != self._note and not hidden

    def _known(self) -> dict[str, Any]:
        """Read the content of run.json; empty if the file is missing or tumortwin did not write it."""
        try:
            known = json.loads(self._note.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return known if isinstance(known, dict) and "key" in known else {}

    def _difference(self, known: Mapping[str, Any]) -> str:
        """How another run differs from this one."""
        before, now = plain_rows(known.get("options", {})), plain_rows(self._run["options"])
        said = [
            f"{name} was {json.dumps(before[name])}, is now {json.dumps(now[name])}"
            for name in now
            if name in before and before[name] != now[name]
        ]
        if known.get("input") != self._run["input"]:
            said.append("the patient's files differ")
        if known.get("version") != __version__:
            said.append(f"it was made by tumortwin {known.get('version')}, this is {__version__}")
        return "; ".join(said) or "other options"
