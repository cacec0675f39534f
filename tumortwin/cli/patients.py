"""Commands about a patient: ``run``, ``build``, ``info``, ``phantom``; and ``new-config``, which writes options."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tumortwin.cli.privacy import key_of, log_of
from tumortwin.progress import TqdmProgress

if TYPE_CHECKING:
    from tumortwin.road import RunOptions

NOTICE = "Research use only, not for clinical decisions."


def run(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Take the whole road."""
    from tumortwin.road import run
    from tumortwin.vault import read_passphrase

    chosen = _run_options(options)
    print(NOTICE)
    announce = _announcer(progress)
    with _profiled(options):
        result = run(
            options.folder,
            options.out,
            chosen,
            key=key_of(options) if options.key_file else None,
            passphrase=read_passphrase(options.encrypt) if options.encrypt else None,
            log=log_of(options),
            overwrite=options.force,
            progress=progress,
            announce=announce,
        )
        announce(f"wrote {len(result.files)} files:")
    for path in result.files:
        print(f"  {path}")


def build(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Go as far as the twin."""
    from tumortwin.board import QualityReport
    from tumortwin.errors import InputError, OutputExistsError
    from tumortwin.imaging.deidentification.messages import MessageFilter
    from tumortwin.imaging.findings import finding_lines, grouped
    from tumortwin.patient import read_patient
    from tumortwin.profiling import stage
    from tumortwin.road.results import check_out
    from tumortwin.twin import build_twin

    chosen = _run_options(options)
    if chosen.deidentify:
        raise InputError("build does not de-identify: make a copy with `tumortwin deidentify`, and build that")
    print(NOTICE)
    announce = _announcer(progress)
    check_out(options.out, options.folder)
    files = [options.out / name for name in ("twin.npz", "quality.pdf")]
    there = [path for path in files if path.exists()]
    if there and not options.force:
        raise OutputExistsError(f"{there[0]} is there already: name another --out, or replace it with --force")
    messages = MessageFilter(options.folder, (options.out,))
    messages.active = chosen.identity != "source"
    with _profiled(options), messages.on_errors():
        with stage("read the patient"):
            patient = read_patient(
                options.folder,
                strict=chosen.build.strict,
                labels=chosen.labels,
                sequences=chosen.sequences,
                adc_unit=chosen.adc_unit,
                progress=progress,
            )
        start = patient.visits[0].date if patient.visits else None
        messages.knows(patient.id, start, identity_removed=patient.identity_removed)
        announce(f"read {len(patient.visits)} visit(s), {len(grouped(patient.findings))} finding(s)")
        with stage("build the twin"):
            twin = build_twin(
                patient, options=chosen.build, threads=chosen.threads or os.cpu_count() or 1, progress=progress
            )
        announce(f"built the twin: {len(twin.observations)} visit(s), {len(grouped(twin.findings))} finding(s)")
        with stage("write the results"):
            twin.save(files[0], overwrite=True)
            QualityReport.from_twin(twin, patient=patient).save(files[1], overwrite=True, identity=chosen.identity)
        announce(f"wrote {files[0]} and {files[1]}")
        for line in finding_lines(twin.findings):
            print(f"  {messages.clean(line)}")


def info(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Say what is in a folder."""
    from tumortwin.imaging.deidentification.messages import MessageFilter
    from tumortwin.patient import scan_patient

    said = vars(options)
    messages = MessageFilter(options.folder)
    messages.active = options.identity == "removed"
    with messages.on_errors():
        study = scan_patient(
            options.folder, labels=said["run.labels"], sequences=said["run.sequences"], progress=progress
        )
        progress.close()
        print(messages.clean(str(study)))


def phantom(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Make a synthetic patient."""
    from tumortwin.phantom import check_target, make_patient, write_patient, write_truth

    check_target(options.out, options.id, overwrite=options.force)
    synthetic = make_patient(options.seed, id=options.id, resection=options.resection, progress=progress)
    folder = write_patient(synthetic, options.out, overwrite=options.force, progress=progress)
    truth = write_truth(synthetic, options.out, overwrite=options.force)
    progress.close()
    print(f"wrote {folder} and, for checks only, {truth}")


def new_config(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Write a template of the options."""
    from tumortwin.outputs import new_file
    from tumortwin.road import config_template

    with new_file(options.file) as temporary:
        temporary.write_text(config_template(), encoding="utf-8")
    print(f"wrote {options.file}: set what you need in it, and give it with --config {options.file}")


def _run_options(options: argparse.Namespace) -> RunOptions:
    """Read the options of the configuration file, overridden by the flags that were given."""
    from tumortwin.road import RunOptions, read_config
    from tumortwin.road.config import changed

    base = read_config(options.config) if options.config else RunOptions()
    return changed(base, {name: value for name, value in vars(options).items() if "." in name and value is not None})


def _announcer(progress: TqdmProgress) -> Callable[[str], None]:
    """Return a function that prints a line with the time elapsed since now, below any open progress bar."""
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
