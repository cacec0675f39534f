"""What may be typed: the commands and their flags.

A flag that sets an option of :class:`tumortwin.road.RunOptions` is stored under the option's section and name
("build.spacing"). Its help is what the option's declaration says; it is looked up when help is asked for.
"""

from __future__ import annotations

import argparse
import difflib
import re
from pathlib import Path
from typing import Any, NoReturn

from tumortwin import __version__
from tumortwin.cli import network, patients, privacy


def _path(text: str) -> Path:
    if not text.strip():  # "$UNSET" in a script would be the folder one happens to be in
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


class _Parser(argparse.ArgumentParser):
    """Says which option a misspelled one is near to."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized"):
            known = [name for parser in _all_of(self) for name in parser._option_string_actions]
            for typed in re.findall(r"--[\w-]+", message):
                if near := difflib.get_close_matches(typed, known, 1):
                    message += f"; did you mean {near[0]} for {typed}?"
        super().error(message)


class _Formatter(argparse.HelpFormatter):
    """Takes the help of a flag from the option that it sets."""

    def add_argument(self, action: argparse.Action) -> None:
        if action.help is None and "." in action.dest:
            from tumortwin.road.config import flag_help

            action.help = flag_help(action.dest).replace("%", "%%")
        super().add_argument(action)


class _Table(argparse.Action):
    """Adds a key and its value, given as one argument, to a table."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), values[0]: values[1]})


def _all_of(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a parser and the parsers of its commands."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices.values()
    return found


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line; the options that it parses hold the command's function as ``do``."""
    parser = _Parser(
        prog="tumortwin",
        description=f"From a DICOM folder to a calibrated, honest tumor forecast. {patients.NOTICE}",
    )
    parser.add_argument("--version", action="version", version=f"tumortwin {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_patient_commands(commands)
    _add_privacy_commands(commands)
    _add_network_commands(commands)
    return parser


def _add_patient_commands(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="read, build, calibrate, forecast, compare schedules, write the board page",
        usage="tumortwin run PATIENT --out DIR [--config FILE.toml] [options]",
        formatter_class=_Formatter,
    )
    _add_patient(run)
    run.add_argument("--out", type=_path, required=True, metavar="DIR", help="where the results go")
    run.add_argument("--force", action="store_true", help="replace the results of another run in DIR")
    _add_config(run)
    course = run.add_argument_group("calibration and forecast (more in the configuration file)")
    course.add_argument("--visits", dest="run.visits", type=int, metavar="N")
    course.add_argument("--seed", dest="run.seed", type=int, metavar="S")
    _add_build_options(run)
    results = run.add_argument_group("results")
    _add_identity(results)
    results.add_argument("--dicom", dest="run.dicom", action=argparse.BooleanOptionalAction)
    results.add_argument("--deidentify", dest="run.deidentify", action=argparse.BooleanOptionalAction)
    results.add_argument(
        "--keep-characteristics", dest="run.keep_characteristics", action=argparse.BooleanOptionalAction
    )
    _add_key(results, required=False)
    results.add_argument(
        "--encrypt", type=_path, metavar="P", help="encrypt saved stages with the passphrase in this file"
    )
    _add_log(results)
    run.set_defaults(do=patients.run)

    build = commands.add_parser(
        "build",
        help="read a patient and build the twin: geometry, and a page to check it by",
        usage="tumortwin build PATIENT --out DIR [--config FILE.toml] [options]",
        formatter_class=_Formatter,
    )
    _add_patient(build)
    build.add_argument("--out", type=_path, required=True, metavar="DIR", help="where twin.npz and quality.pdf go")
    build.add_argument("--force", action="store_true", help="replace the files in DIR")
    _add_config(build)
    _add_build_options(build)
    _add_identity(build)
    build.set_defaults(do=patients.build)

    info = commands.add_parser(
        "info",
        help="say what is in a folder: series, dates, findings; computes nothing",
        formatter_class=_Formatter,
    )
    _add_patient(info)
    info.add_argument(
        "--identity",
        choices=("removed", "source"),
        default="source",
        help="what is printed: as the files say (source, the default), or without ID, name, dates and file names",
    )
    info.set_defaults(do=patients.info)

    config = commands.add_parser("new-config", help="write a file of all options of run and build, with their defaults")
    config.add_argument("file", type=_path, metavar="FILE.toml", help="a new file, for --config")
    config.set_defaults(do=patients.new_config)

    phantom = commands.add_parser("phantom", help="make a synthetic patient as DICOM, with its truth beside it")
    phantom.add_argument("--out", type=_path, required=True, metavar="DIR", help="where the patient's folder goes")
    phantom.add_argument("--seed", type=int, default=1, metavar="S", help="names the patient (default: 1)")
    phantom.add_argument("--id", default="TT-0001", metavar="ID", help="patient ID (default: TT-0001)")
    phantom.add_argument("--resection", action="store_true", help="resect the tumor before radiotherapy")
    phantom.add_argument("--force", action="store_true", help="replace a patient that is there already")
    phantom.set_defaults(do=patients.phantom)


def _add_privacy_commands(commands: Any) -> None:
    deidentify = commands.add_parser("deidentify", help="write DICOM without identifiers, intervals kept")
    deidentify.add_argument("folder", type=_path, metavar="FOLDER", help="DICOM files of any number of patients")
    deidentify.add_argument("--out", type=_path, required=True, metavar="DIR", help="a new folder for the result")
    _add_key(deidentify, required=True)
    deidentify.add_argument("--report", type=_path, metavar="FILE", help="another place for a copy of the report")
    deidentify.add_argument("--keep-characteristics", action="store_true", help="keep age, sex, weight and size")
    deidentify.add_argument("--keep-burned-in", action="store_true", help="write images that may show text, and say so")
    deidentify.add_argument("--crosswalk", type=_path, metavar="FILE", help="write who became whom; keep it secret")
    deidentify.add_argument("--encrypt", type=_path, metavar="P", help="encrypt it with the passphrase in this file")
    _add_log(deidentify)
    deidentify.add_argument("--force", action="store_true", help="replace an earlier result in DIR")
    deidentify.set_defaults(do=privacy.deidentify)

    key = commands.add_parser("new-key", help="make a secret key for de-identification")
    key.add_argument("file", type=_path, metavar="FILE", help="a new file")
    key.add_argument("--passphrase-file", type=_path, metavar="P", help="encrypt it with the passphrase in this file")
    key.set_defaults(do=privacy.new_key)

    check = commands.add_parser("verify-log", help="say whether a provenance log is whole, or which line is broken")
    check.add_argument("file", type=_path, metavar="FILE")
    check.add_argument("--head", metavar="HASH", help="hash of a line that was kept elsewhere: it must be there")
    _add_key(check, required=False)
    check.set_defaults(do=privacy.verify_log)


def _add_network_commands(commands: Any) -> None:
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
    pull.set_defaults(do=network.pull)

    push = commands.add_parser("push", help="send DICOM files to a DICOMweb or DIMSE peer (extra: network)")
    push.add_argument("folder", type=_path, metavar="FOLDER", help="a folder, or one file; sent as it is")
    _add_peer(push)
    push.set_defaults(do=network.push)

    echo = commands.add_parser("echo", help="ask whether a DICOMweb or DIMSE peer answers (extra: network)")
    _add_peer(echo)
    echo.set_defaults(do=network.echo)


def _add_patient(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folder", type=_path, metavar="PATIENT", help="a DICOM folder, a BIDS subject, or a patient file (.json)"
    )
    reading = command.add_argument_group("reading")
    reading.add_argument("--labels", dest="run.labels", metavar="SCHEME")
    reading.add_argument(
        "--sequence", dest="run.sequences", action=_Table, type=_pattern_and_sequence, metavar="PATTERN=SHOWS"
    )


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=_path, metavar="FILE", help="options in TOML, as `tumortwin new-config FILE` writes them"
    )
    command.add_argument(
        "--threads",
        dest="run.threads",
        type=int,
        metavar="T",
    )
    command.add_argument("--profile", action="store_true", help="say at the end how long each stage took")


def _add_build_options(command: argparse.ArgumentParser) -> None:
    """Of everything that builds a twin."""
    group = command.add_argument_group("the twin")
    group.add_argument("--adc-unit", dest="run.adc_unit", type=float, metavar="U")
    group.add_argument("--strict", dest="build.strict", action=argparse.BooleanOptionalAction)
    group.add_argument("--spacing", dest="build.spacing", type=float, metavar="MM")
    group.add_argument("--organ", dest="build.organ", metavar="NAME")
    group.add_argument("--reference", dest="build.reference", type=int, metavar="N")
    group.add_argument("--transform", dest="build.transforms", action=_Table, type=_visit_and_file, metavar="N=FILE")
    group.add_argument("--deformable", dest="build.deformable", action=argparse.BooleanOptionalAction)
    group.add_argument("--cellularity", dest="build.cellularity", choices=("adc", "outlines", "both"))


def _add_identity(command: Any) -> None:
    command.add_argument("--identity", dest="run.identity", choices=("removed", "source"))


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


def _add_key(command: Any, *, required: bool) -> None:
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


def _add_log(command: Any) -> None:
    command.add_argument("--log", type=_path, metavar="FILE", help="add to this provenance log")
    command.add_argument("--purpose", default="", metavar="TEXT", help="what the data are used for, for the log")
    command.add_argument("--consent", default="", metavar="TEXT", help="on what ground, for the log")
