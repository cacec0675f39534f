"""The command line: ``tumortwin run``, ``info`` and ``phantom``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tumortwin import __version__
from tumortwin.errors import TumorTwinError
from tumortwin.progress import TqdmProgress

NOTICE = "Research use only, not for clinical decisions."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of ``sys.argv[1:]``.

    Returns
    -------
    int
        0 if all went well, 2 if something cannot be done (one message on stderr), 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    progress = TqdmProgress(hidden=not sys.stderr.isatty())
    try:
        options.do(options, progress)
    except TumorTwinError as error:
        progress.close()
        print(f"tumortwin: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # a disk that is full, a folder that may not be written: the user's to mend, not a bug
        progress.close()
        print(f"tumortwin: {error.strerror or error}: {error.filename or 'a file'}: choose another place, or make room "
              "and rights", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.close()
        print("tumortwin: interrupted; no file is half-written, and what was finished is kept", file=sys.stderr)
        return 130
    progress.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tumortwin", description="From a DICOM folder to a calibrated, honest tumor forecast. " + NOTICE
    )
    parser.add_argument("--version", action="version", version=f"tumortwin {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="read, build, calibrate, forecast, compare schedules, write the board page")
    run.add_argument("folder", type=Path, metavar="FOLDER", help="a patient's DICOM folder")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    run.add_argument("--visits", type=int, metavar="N",
                     help="calibrate on the first N visits, hold out the rest (default: all but the last two)")
    run.add_argument("--strict", action="store_true", help="stop at the first repair or assumption")
    run.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")
    cores = os.cpu_count() or 1
    run.add_argument("--threads", type=_at_least_one, default=cores, metavar="T",
                     help=f"for registration and simulations (default: this machine's cores, {cores})")
    run.add_argument("--force", action="store_true", help="replace the results of another run in DIR")
    run.set_defaults(do=_run)

    info = commands.add_parser("info", help="say what is in a folder: series, dates, findings; computes nothing")
    info.add_argument("folder", type=Path, metavar="FOLDER")
    info.set_defaults(do=_info)

    phantom = commands.add_parser("phantom", help="make a synthetic patient as DICOM, with its truth beside it")
    phantom.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the patient's folder goes")
    phantom.add_argument("--seed", type=int, default=1, metavar="S", help="names the patient (default: 1)")
    phantom.add_argument("--id", default="TT-0001", metavar="ID", help="patient ID (default: TT-0001)")
    phantom.add_argument("--resection", action="store_true", help="resect the tumor before radiotherapy")
    phantom.add_argument("--force", action="store_true", help="replace a patient that is there already")
    phantom.set_defaults(do=_phantom)
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {number}")
    return number


# Each command imports what it needs itself: `--version` and a typing error answer at once.


def _run(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.road import run

    print(NOTICE)
    started = time.monotonic()

    def announce(line: str) -> None:
        progress.close()
        print(f"[{time.monotonic() - started:5.1f} s] {line}", flush=True)

    result = run(
        options.folder, options.out, visits=options.visits, strict=options.strict, seed=options.seed,
        threads=options.threads, overwrite=options.force, progress=progress, announce=announce,
    )
    announce(f"wrote {len(result.files)} files:")
    for path in result.files:
        print(f"  {path}")


def _info(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.imaging import scan_folder

    study = scan_folder(options.folder, progress=progress)
    progress.close()
    print(study)


def _phantom(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.phantom import make_patient, write_patient, write_truth

    synthetic = make_patient(options.seed, id=options.id, resection=options.resection, progress=progress)
    folder = write_patient(synthetic, options.out, overwrite=options.force, progress=progress)
    truth = write_truth(synthetic, options.out, overwrite=options.force)
    progress.close()
    print(f"wrote {folder} and, for checks only, {truth}")
