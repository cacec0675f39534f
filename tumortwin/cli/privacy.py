"""Commands about who a patient is: ``deidentify``, ``new-key`` and ``verify-log``; keys and logs of the others."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tumortwin.errors import TumorTwinError
from tumortwin.progress import TqdmProgress

if TYPE_CHECKING:
    from tumortwin.provenance import Log


def deidentify(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Write DICOM without identifiers."""
    from tumortwin.imaging.deidentification import deidentify
    from tumortwin.vault import read_passphrase

    report = deidentify(
        options.folder,
        options.out,
        key=key_of(options),
        keep_characteristics=options.keep_characteristics,
        keep_burned_in=options.keep_burned_in,
        overwrite=options.force,
        progress=progress,
        log=log_of(options),
        crosswalk=options.crosswalk,
        passphrase=read_passphrase(options.encrypt) if options.encrypt else None,
    )
    if options.report:
        report.save(options.report, overwrite=options.force)
    progress.close()
    print(report)


def new_key(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Make a secret key."""
    from tumortwin.vault import new_key, read_passphrase

    passphrase = read_passphrase(options.passphrase_file) if options.passphrase_file else None
    print(f"wrote {new_key(options.file, passphrase=passphrase)}: keep it secret, and keep a copy")


def verify_log(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Say whether a provenance log is whole."""
    from tumortwin.provenance import verify

    check = verify(options.file, key=key_of(options) if options.key_file else None, head=options.head)
    if not check.whole:
        raise TumorTwinError(f"{options.file} is {check}")
    print(f"{options.file} is {check}")


def key_of(options: argparse.Namespace) -> bytes:
    """Read the key of the file given by ``--key-file``."""
    from tumortwin.vault import read_key, read_passphrase

    passphrase = read_passphrase(options.passphrase_file) if options.passphrase_file else None
    return read_key(options.key_file, passphrase=passphrase)


def log_of(options: argparse.Namespace) -> Log | None:
    """Return the log of the file given by ``--log``; None if there is none."""
    from tumortwin.provenance import Log

    return Log(options.log, options.purpose, options.consent) if options.log else None
