"""Damaged files, many of them: each is read, repaired or refused in words, soon, and in little memory.

    python benchmarks/fuzz.py [--mutants 20000] [--seed 0] [--json FILE] [--write FILE] [--keep FOLDER]

Valid small files of every kind (seeds.py) are damaged at random (mutations.py) and read in a process of their own that
is watched: an exception that is not a TumorTwinError, a crash, more than 5 s of CPU time, memory beyond what the files
could hold, or a storm of warnings is a failure. `--only 17,4711` reads single mutants again, `--keep` keeps the failed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutations import Spoiled, spoil
from seeds import Seed, make_seeds
from tables import finish, machine, note, parser

from tumortwin.errors import TumorTwinError
from tumortwin.imaging.nifti import read_image, read_mask
from tumortwin.patient import read_patient

SECONDS = 5
"""CPU time that a mutant may take."""
PATIENCE = 60.0
"""Wall seconds after which a process that does not answer is ended: it may share its processor."""
BASE, SHARE = 48 * 2**20, 64
"""Bytes of address space that a mutant may add: what any reading takes, and so many for each byte of its files."""
CEILING = 2 * 2**30
"""Address space that a process may add before the kernel refuses more."""
STORM = 25
"""Warnings that one reading may let out."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    number: int
    kind: str
    verdict: str
    """"read", "read with findings", "refused", or the kind of failure."""
    why: str = ""
    seconds: float = 0.0
    added: int = 0
    """Bytes of address space at the highest, beyond what the process had."""

    @property
    def failed(self) -> bool:
        """Whether the reader did what it must not do."""
        return self.verdict not in ("read", "read with findings", "refused")


def status(what: str) -> int:
    """A line of this process's memory, in bytes."""
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))


def read_one(spoiled: Spoiled, folder: Path) -> tuple[str, str]:
    """Read a mutant's folder, by what it holds: the verdict, and why."""
    for name, content in spoiled.files.items():
        (folder / name).write_bytes(content)
    try:
        name = next(iter(spoiled.files))
        if name.startswith("mask"):
            read_mask(folder / name, label=1)
        elif not name.endswith(".dcm"):
            read_image(folder / name, unit="a.u.")
        else:
            return ("read with findings" if read_patient(folder).findings else "read"), ""
    except TumorTwinError as error:
        return "refused", str(error).splitlines()[0][:200]
    except MemoryError as error:
        return "memory", "".join(traceback.format_exception(error)[-4:])
    except Exception as error:  # that nothing else gets out is what is looked for
        return type(error).__name__, "".join(traceback.format_exception(error)[-4:])
    finally:
        for name in spoiled.files:
            (folder / name).unlink()
    return "read", ""


def work(seeds: dict[str, Seed], seed: int, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Read mutants in this process; before each one its number is given, afterwards its outcome."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for kind, files in seeds.items():  # loads what is loaded once; a seed that is not read proves nothing
            verdict, why = read_one(Spoiled(kind, (), files), folder)
            if verdict == "refused":
                raise SystemExit(f"the seed {kind} is refused: {why}")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = status("VmSize") + CEILING
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        for number in numbers:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                spoiled = spoil(seeds, seed, number)
            yield {"number": number, "kind": spoiled.kind}
            size = sum(map(len, spoiled.files.values()))
            before, peak = status("VmSize"), status("VmPeak")
            used = time.process_time()
            # the kernel ends the process then, also within a decoder's C code
            resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS + 1, resource.RLIM_INFINITY))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                verdict, why = read_one(spoiled, folder)
            took, now = time.process_time() - used, status("VmPeak")
            added = now - before if now > peak else 0
            if verdict in ("read", "read with findings", "refused"):
                if took > SECONDS:
                    verdict, why = "hang", f"{took:.1f} s"
                elif added > BASE + SHARE * size:
                    verdict, why = "memory", f"{added / 2**20:.0f} MiB for {size} bytes of files ({why})"
                elif len(caught) > STORM:
                    verdict, why = "warnings", f"{len(caught)} warnings, e.g. {caught[0].message}"
            yield {
                "number": number,
                "kind": spoiled.kind,
                "verdict": verdict,
                "why": why,
                "seconds": took,
                "added": added,
            }
            if verdict == "memory":
                return  # the peak hides what others take: a fresh process goes on


def watched(command: Sequence[str], numbers: Sequence[int], patience: float = PATIENCE) -> Iterator[Outcome]:
    """Run a process over the mutants and yield their outcomes; if it dies or hangs, another goes on with the next one.

    Parameters
    ----------
    command : sequence of str
        Reads the numbers from its standard input, joined by commas, and prints the lines of :func:`work` as JSON.
    numbers : sequence of int
        The mutants.
    patience : float
        Seconds without a line after which it is ended.
    """
    left = list(numbers)
    while left:
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(",".join(map(str, left)).encode())
            process.stdin.close()
            begun: dict[str, Any] | None = None
            for line in _lines(process.stdout.fileno(), patience):
                found = json.loads(line)
                if "verdict" in found:
                    begun = None
                    left.remove(found["number"])
                    yield Outcome(**found)
                else:
                    begun = found
            silent = process.poll() is None and begun is not None and not _ended(process)
            process.kill()
            code = process.wait()
            complaints.seek(max(complaints.tell() - 2000, 0))
            said = complaints.read().decode(errors="replace")
        if begun is not None:
            left.remove(begun["number"])
            hang = silent or code == -24
            yield Outcome(
                begun["number"],
                begun["kind"],
                "hang" if hang else "crash",
                f"no answer in {patience:g} s" if silent else f"ended with {code}: {said}",
            )
        elif left and code not in (0, -9):
            raise SystemExit(f"the process that reads ended with {code} between two mutants: {said}")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process whose output is closed ends by itself."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(2)
    return process.poll() is not None


def _lines(descriptor: int, patience: float) -> Iterator[bytes]:
    """Lines of a pipe until it is closed, or until none comes for so long."""
    rest = b""
    while select.select([descriptor], [], [], patience)[0]:
        got = os.read(descriptor, 1 << 16)
        if not got:
            return
        *lines, rest = (rest + got).split(b"\n")
        yield from lines


def fuzz(seed: int, numbers: Sequence[int]) -> Iterator[Outcome]:
    """Read mutants by number, in processes that are watched."""
    # an arena of malloc's for each thread would be counted, though nothing is in it
    me = ["env", "MALLOC_ARENA_MAX=1", "OMP_NUM_THREADS=1", sys.executable, __file__, "--seed", str(seed), "--work"]
    return watched(me, numbers)


def table(outcomes: list[Outcome], seed: int) -> None:
    """The rows: what became of the mutants, by kind of file, and the highest time and memory."""
    kinds: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.kind, Counter())["failed" if outcome.failed else outcome.verdict] += 1
    for kind, counts in kinds.items():
        said = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
        note(kind, sum(counts.values()), "mutants", said, "0 failed", not counts["failed"])
    for failure in ("crash", "hang", "memory", "warnings"):
        n = sum(o.verdict == failure for o in outcomes)
        note(f"failures: {failure}", n, "mutants", "", "0", n == 0)
    other = sum(o.failed and o.verdict not in ("crash", "hang", "memory", "warnings") for o in outcomes)
    note("failures: another exception", other, "mutants", "", "0", other == 0)
    slowest = max(outcomes, key=lambda o: o.seconds)
    largest = max(outcomes, key=lambda o: o.added)
    note(
        "longest reading, CPU time",
        slowest.seconds,
        "s",
        f"{slowest.kind}, number {slowest.number}",
        f"<= {SECONDS} s",
        slowest.seconds <= SECONDS,
    )
    note("most address space added", largest.added / 2**20, "MiB", f"{largest.kind}, number {largest.number}")
    note("mutants in all", len(outcomes), "", f"seed {seed}", ">= 20000", len(outcomes) >= 20000)


def main() -> None:
    """Fuzz, print the table and the failures."""
    options: argparse.ArgumentParser = parser(__doc__ or "")
    options.add_argument("--mutants", type=int, default=22000, help="how many")
    options.add_argument("--seed", type=int, default=0, help="of the random numbers")
    options.add_argument("--only", help="numbers of single mutants, joined by commas")
    options.add_argument("--keep", type=Path, help="write the files of failed mutants below this folder")
    options.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments, begun_on = options.parse_args(), machine()
    given = sys.stdin.read() if arguments.work else arguments.only or ""
    numbers = [int(n) for n in given.split(",") if n]
    with tempfile.TemporaryDirectory() as temporary:
        seeds = make_seeds(Path(temporary))
    if arguments.work:
        for line in work(seeds, arguments.seed, numbers):
            print(json.dumps(line), flush=True)
        return
    print(begun_on)
    outcomes = []
    for outcome in fuzz(arguments.seed, numbers or range(arguments.mutants)):
        outcomes.append(outcome)
        if outcome.failed:
            spoiled = spoil(seeds, arguments.seed, outcome.number)
            done = "; ".join(spoiled.what)
            print(f"{outcome.number} {outcome.kind}: {outcome.verdict}: {outcome.why}\n  {done}", flush=True)
            if arguments.keep:
                folder = arguments.keep / str(outcome.number)
                folder.mkdir(parents=True, exist_ok=True)
                for name, content in spoiled.files.items():
                    (folder / name).write_bytes(content)
    table(outcomes, arguments.seed)
    finish("fuzz", arguments, begun_on)
    if any(o.failed for o in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
