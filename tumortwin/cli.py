"""The command line: ``tumortwin run``, ``build``, ``info``, ``phantom``, ``pull``, ``push`` and ``echo``."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumortwin import __version__
from tumortwin.errors import TumorTwinError
from tumortwin.progress import TqdmProgress

if TYPE_CHECKING:
    from tumortwin.network import Peer
    from tumortwin.provenance import Log

NOTICE = "Research use only, not for clinical decisions."


LABELS_HELP = 'what the numbers of label files mean, where no table says it, as "BraTS 2023"'


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
        print(
            f"tumortwin: {error.strerror or error}: {error.filename or 'a file'}: choose another place, or make room "
            "and rights",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        progress.close()
        print("tumortwin: interrupted; no file is half-written, and what was finished is kept", file=sys.stderr)
        return 130
    progress.close()
    return 0


def _path(text: str) -> Path:
    if not text.strip():  # "$UNSET" in a script would be the folder one happens to be in
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tumortwin", description="From a DICOM folder to a calibrated, honest tumor forecast. " + NOTICE
    )
    parser.add_argument("--version", action="version", version=f"tumortwin {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="read, build, calibrate, forecast, compare schedules, write the board page")
    _add_patient(run)
    run.add_argument("--out", type=_path, required=True, metavar="DIR", help="where the results go")
    run.add_argument(
        "--visits",
        type=int,
        metavar="N",
        help="calibrate on the first N visits, hold out the rest (default: all but the last two)",
    )
    run.add_argument("--seed", type=int, default=0, metavar="S", help="of everything random (default: 0)")
    _build_options(run)
    run.add_argument(
        "--dicom",
        action="store_true",
        help="write the results as DICOM too, to DIR/dicom: de-identified, or with `--identity source` as "
        "the patient's, ready for the PACS",
    )
    run.add_argument(
        "--identity",
        choices=("removed", "source"),
        default="removed",
        help="what results say: neither ID nor dates nor names, or as given (default: removed)",
    )
    run.add_argument(
        "--deidentify",
        action="store_true",
        help="de-identify on reading, with the key of --key-file: saved stages name nobody either",
    )
    run.add_argument("--keep-characteristics", action="store_true", help="with --deidentify: keep age, weight, height")
    _key_options(run, required=False)
    run.add_argument("--encrypt", type=_path, metavar="P", help="encrypt saved stages with the passphrase in this file")
    _log_options(run)
    run.add_argument("--force", action="store_true", help="replace the results of another run in DIR")
    run.set_defaults(do=_run)

    build = commands.add_parser("build", help="read a patient and build the twin: geometry, and a page to check it by")
    _add_patient(build)
    build.add_argument("--out", type=_path, required=True, metavar="DIR", help="where twin.npz and quality.pdf go")
    _build_options(build)
    build.add_argument("--reference", type=int, metavar="N", help="the visit (from 0) that the others are laid on")
    build.add_argument(
        "--transform",
        action="append",
        type=_visit_and_file,
        default=[],
        metavar="N=FILE",
        dest="transforms",
        help="the pose of visit N (from 0): an ITK transform, world of the reference "
        "to world of the visit, or a DICOM Spatial Registration (may be given several times)",
    )
    build.add_argument(
        "--deformable",
        action="store_true",
        help="bend each visit to the reference, away from the tumor: growth may be absorbed",
    )
    build.add_argument(
        "--cellularity",
        choices=("adc", "outlines", "both"),
        default="adc",
        help="what cell density is taken from (default: adc)",
    )
    build.add_argument(
        "--identity",
        choices=("removed", "source"),
        default="removed",
        help="what the page says: neither ID nor dates nor names, or as given (default: removed)",
    )
    build.add_argument("--force", action="store_true", help="replace the files in DIR")
    build.set_defaults(do=_build)

    info = commands.add_parser("info", help="say what is in a folder: series, dates, findings; computes nothing")
    _add_patient(info)
    info.set_defaults(do=_info)

    phantom = commands.add_parser("phantom", help="make a synthetic patient as DICOM, with its truth beside it")
    phantom.add_argument("--out", type=_path, required=True, metavar="DIR", help="where the patient's folder goes")
    phantom.add_argument("--seed", type=int, default=1, metavar="S", help="names the patient (default: 1)")
    phantom.add_argument("--id", default="TT-0001", metavar="ID", help="patient ID (default: TT-0001)")
    phantom.add_argument("--resection", action="store_true", help="resect the tumor before radiotherapy")
    phantom.add_argument("--force", action="store_true", help="replace a patient that is there already")
    phantom.set_defaults(do=_phantom)

    deidentify = commands.add_parser("deidentify", help="write DICOM without identifiers, intervals kept")
    deidentify.add_argument("folder", type=_path, metavar="FOLDER", help="DICOM files of any number of patients")
    deidentify.add_argument("--out", type=_path, required=True, metavar="DIR", help="a new folder for the result")
    _key_options(deidentify, required=True)
    deidentify.add_argument("--report", type=_path, metavar="FILE", help="another place for a copy of the report")
    deidentify.add_argument("--keep-characteristics", action="store_true", help="keep age, sex, weight and size")
    deidentify.add_argument("--keep-burned-in", action="store_true", help="write images that may show text, and say so")
    deidentify.add_argument("--crosswalk", type=_path, metavar="FILE", help="write who became whom; keep it secret")
    deidentify.add_argument("--encrypt", type=_path, metavar="P", help="encrypt it with the passphrase in this file")
    _log_options(deidentify)
    deidentify.add_argument("--force", action="store_true", help="replace an earlier result in DIR")
    deidentify.set_defaults(do=_deidentify)

    key = commands.add_parser("new-key", help="make a secret key for de-identification")
    key.add_argument("file", type=_path, metavar="FILE", help="a new file")
    key.add_argument("--passphrase-file", type=_path, metavar="P", help="encrypt it with the passphrase in this file")
    key.set_defaults(do=_new_key)

    check = commands.add_parser("verify-log", help="say whether a provenance log is whole, or which line is broken")
    check.add_argument("file", type=_path, metavar="FILE")
    check.add_argument("--head", metavar="HASH", help="hash of a line that was kept elsewhere: it must be there")
    _key_options(check, required=False)
    check.set_defaults(do=_verify_log)

    pull = commands.add_parser("pull", help="fetch a patient from a DICOMweb or DIMSE peer (extra: network)")
    _add_peer(pull)
    pull.add_argument("patient", metavar="PATIENT_ID", help="exactly as the peer has it")
    goal = pull.add_mutually_exclusive_group(required=True)
    goal.add_argument("--out", type=_path, metavar="DIR", help="where the patient's files go")
    goal.add_argument("--list", action="store_true", help="only list the patient's series")
    for name, what in (
        ("study", "of this Study Instance UID"),
        ("series", "this Series Instance UID"),
        ("modality", "of this modality, e.g. MR"),
    ):
        pull.add_argument(
            f"--{name}", action="append", default=[], metavar=name.upper(), help=f"only series {what}; may be repeated"
        )
    pull.add_argument("--move-port", type=int, metavar="PORT", help="fetch by C-MOVE, received on this port of ours")
    pull.set_defaults(do=_pull)

    push = commands.add_parser("push", help="send DICOM files to a DICOMweb or DIMSE peer (extra: network)")
    push.add_argument("folder", type=_path, metavar="FOLDER", help="a folder, or one file; sent as it is")
    _add_peer(push)
    push.set_defaults(do=_push)

    echo = commands.add_parser("echo", help="ask whether a DICOMweb or DIMSE peer answers (extra: network)")
    _add_peer(echo)
    echo.set_defaults(do=_echo)
    return parser


def _add_patient(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folder", type=_path, metavar="PATIENT", help="a DICOM folder, a BIDS subject, or a patient file (.json)"
    )
    command.add_argument("--labels", metavar="SCHEME", help=LABELS_HELP)
    command.add_argument(
        "--sequence",
        action="append",
        type=_pattern_and_sequence,
        default=[],
        metavar="PATTERN=SHOWS",
        dest="sequences",
        help='what a series shows, by its UID or a pattern for its description, as "*MPRAGE*=T1Gd" '
        "(may be given several times)",
    )


def _build_options(command: argparse.ArgumentParser) -> None:
    """Of everything that builds a twin."""
    cores = os.cpu_count() or 1
    command.add_argument(
        "--adc-unit",
        type=float,
        metavar="U",
        help="mm^2/s per stored unit of the ADC maps, as 1e-6, where files do not tell or are wrong",
    )
    command.add_argument("--strict", action="store_true", help="stop at the first repair or assumption")
    command.add_argument(
        "--threads",
        type=_at_least_one,
        default=cores,
        metavar="T",
        help=f"at work at the same time (default: this machine's cores, {cores})",
    )
    command.add_argument(
        "--spacing", type=float, default=2.0, metavar="MM", help="voxel edge of the twin's grid (default: 2)"
    )
    command.add_argument("--organ", metavar="NAME", help="the mask in which the tumor grows, if that is no brain")
    command.add_argument("--profile", action="store_true", help="say at the end how long each stage took")


def _add_peer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "peer",
        metavar="PEER",
        help="https://USER@host/dicom-web (password in TUMORTWIN_PASSWORD, or asked for; or a token in "
        "TUMORTWIN_TOKEN), dimse://CALLING@host:port/CALLED, or dimses:// over TLS",
    )
    parser.add_argument("--ca", type=_path, metavar="FILE", help="trust these certificate authorities (PEM)")
    parser.add_argument("--cert", type=_path, metavar="FILE", help="our certificate (PEM)")
    parser.add_argument("--key", type=_path, metavar="FILE", help="its key (PEM)")
    parser.add_argument("--cleartext", action="store_true", help="allow credentials over plain http")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="longest wait in s (default: 30)")


def _key_options(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument("--key-file", type=_path, required=required, metavar="K", help="made by `tumortwin new-key K`")
    command.add_argument("--passphrase-file", type=_path, metavar="P", help="the key file's passphrase, if it has one")


def _pattern_and_sequence(text: str) -> tuple[str, Any]:
    from tumortwin.imaging.sequence import MRSequence as Shown

    pattern, _, shows = text.rpartition("=")
    known = {sequence.lower(): sequence for sequence in Shown}
    if not pattern or shows.lower() not in known:
        raise argparse.ArgumentTypeError(f"PATTERN=SHOWS, where SHOWS is one of {', '.join(Shown)}, not {text!r}")
    return pattern, known[shows.lower()]


def _visit_and_file(text: str) -> tuple[int, Path]:
    visit, _, file = text.partition("=")
    if not visit.strip().isdigit() or not file:
        raise argparse.ArgumentTypeError(f"N=FILE, where N counts visits from 0, not {text!r}")
    return int(visit), Path(file)


def _log_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--log", type=_path, metavar="FILE", help="add to this provenance log")
    command.add_argument("--purpose", default="", metavar="TEXT", help="what the data are used for, for the log")
    command.add_argument("--consent", default="", metavar="TEXT", help="on what ground, for the log")


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {number}")
    return number


# Each command imports what it needs itself: `--version` and a typing error answer at once.


def _run(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.road import run
    from tumortwin.vault import read_passphrase

    print(NOTICE)
    announce = _announcer(progress)
    with _profiled(options):
        result = run(
            options.folder,
            options.out,
            visits=options.visits,
            strict=options.strict,
            seed=options.seed,
            threads=options.threads,
            identity=options.identity,
            dicom=options.dicom,
            key=_key(options) if options.key_file else None,
            deidentify=options.deidentify,
            keep_characteristics=options.keep_characteristics,
            passphrase=read_passphrase(options.encrypt) if options.encrypt else None,
            log=_log(options),
            overwrite=options.force,
            labels=options.labels,
            sequences=dict(options.sequences),
            adc_unit=options.adc_unit,
            spacing=options.spacing,
            organ=options.organ,
            progress=progress,
            announce=announce,
        )
        announce(f"wrote {len(result.files)} files:")
    for path in result.files:
        print(f"  {path}")


def _build(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.board import QualityReport
    from tumortwin.errors import OutputExistsError
    from tumortwin.patient import read_patient
    from tumortwin.profiling import stage
    from tumortwin.twin import build_twin

    print(NOTICE)
    announce = _announcer(progress)
    files = [options.out / name for name in ("twin.npz", "quality.pdf")]
    there = [path for path in files if path.exists()]
    if there and not options.force:
        raise OutputExistsError(f"{there[0]} is there already: name another --out, or replace it with --force")
    with _profiled(options):
        with stage("read the patient"):
            patient = read_patient(
                options.folder,
                strict=options.strict,
                labels=options.labels,
                sequences=dict(options.sequences),
                adc_unit=options.adc_unit,
                progress=progress,
            )
        announce(f"read {len(patient.visits)} visit(s), {len(patient.findings)} finding(s)")
        with stage("build the twin"):
            twin = build_twin(
                patient,
                spacing=options.spacing,
                reference=options.reference,
                threads=options.threads,
                transforms=dict(options.transforms),
                deformable=options.deformable,
                organ=options.organ,
                cellularity=options.cellularity,
                strict=options.strict,
                progress=progress,
            )
        announce(f"built the twin: {len(twin.observations)} visit(s), {len(twin.findings)} finding(s)")
        with stage("write the results"):
            twin.save(files[0], overwrite=True)
            QualityReport.from_twin(twin, patient=patient).save(files[1], overwrite=True, identity=options.identity)
        announce(f"wrote {files[0]} and {files[1]}")
    for finding in twin.findings:
        print(f"  {finding}")


def _announcer(progress: TqdmProgress) -> Callable[[str], None]:
    """Prints a line with the time since now, below whatever bar is open."""
    started = time.monotonic()

    def announce(line: str) -> None:
        progress.close()
        print(f"[{time.monotonic() - started:5.1f} s] {line}", flush=True)

    return announce


@contextmanager
def _profiled(options: argparse.Namespace) -> Iterator[None]:
    """With --profile, print how long the stages in the block took."""
    from tumortwin.profiling import StageProfile

    if not options.profile:
        yield
        return
    profile = StageProfile()
    with profile.watching():
        yield
    print(profile)


def _info(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.patient import scan_patient

    study = scan_patient(options.folder, labels=options.labels, sequences=dict(options.sequences), progress=progress)
    progress.close()
    print(study)


def _phantom(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.phantom import make_patient, write_patient, write_truth

    synthetic = make_patient(options.seed, id=options.id, resection=options.resection, progress=progress)
    folder = write_patient(synthetic, options.out, overwrite=options.force, progress=progress)
    truth = write_truth(synthetic, options.out, overwrite=options.force)
    progress.close()
    print(f"wrote {folder} and, for checks only, {truth}")


def _peer(options: argparse.Namespace) -> Peer:
    from tumortwin.network import Tls, parse_peer

    secret = {"password": os.environ.get("TUMORTWIN_PASSWORD"), "token": os.environ.get("TUMORTWIN_TOKEN")}
    web = options.peer.startswith(("http://", "https://"))
    if web and "@" in options.peer and secret["password"] is None and sys.stdin.isatty():
        secret["password"] = getpass.getpass(f"Password for {options.peer}: ")
    files = (options.ca, options.cert, options.key)
    return parse_peer(
        options.peer, **secret, tls=Tls(*files) if any(files) else None, cleartext=options.cleartext,
        move_port=getattr(options, "move_port", None), timeout=options.timeout,
    )  # fmt: skip


def _pull(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.network import find_series, pull_patient

    peer = _peer(options)
    if options.list:
        print("\n".join(map(str, find_series(peer, options.patient))))
        return
    pulled = pull_patient(
        peer, options.patient, options.out, studies=options.study, series=options.series, modalities=options.modality,
        progress=progress,
    )  # fmt: skip
    progress.close()
    print(pulled)


def _push(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.network import push

    pushed = push(options.folder, _peer(options), progress=progress)
    progress.close()
    print(pushed)


def _echo(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.network import echo

    peer = _peer(options)
    echo(peer)
    print(f"{peer} answers")


def _deidentify(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.imaging.deidentification import deidentify
    from tumortwin.vault import read_passphrase

    report = deidentify(
        options.folder,
        options.out,
        key=_key(options),
        keep_characteristics=options.keep_characteristics,
        keep_burned_in=options.keep_burned_in,
        overwrite=options.force,
        progress=progress,
        log=_log(options),
        crosswalk=options.crosswalk,
        passphrase=read_passphrase(options.encrypt) if options.encrypt else None,
    )
    if options.report:
        report.save(options.report, overwrite=options.force)
    progress.close()
    print(report)


def _new_key(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.vault import new_key, read_passphrase

    passphrase = read_passphrase(options.passphrase_file) if options.passphrase_file else None
    print(f"wrote {new_key(options.file, passphrase=passphrase)}: keep it secret, and keep a copy")


def _key(options: argparse.Namespace) -> bytes:
    from tumortwin.vault import read_key, read_passphrase

    passphrase = read_passphrase(options.passphrase_file) if options.passphrase_file else None
    return read_key(options.key_file, passphrase=passphrase)


def _log(options: argparse.Namespace) -> Log | None:
    from tumortwin.provenance import Log

    return Log(options.log, options.purpose, options.consent) if options.log else None


def _verify_log(options: argparse.Namespace, progress: TqdmProgress) -> None:
    from tumortwin.provenance import verify

    check = verify(options.file, key=_key(options) if options.key_file else None, head=options.head)
    if not check.whole:
        raise TumorTwinError(f"{options.file} is {check}")
    print(f"{options.file} is {check}")
