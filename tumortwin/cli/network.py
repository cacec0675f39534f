"""Commands that talk to a PACS: ``pull``, ``push`` and ``echo``."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING

from tumortwin.progress import TqdmProgress

if TYPE_CHECKING:
    from tumortwin.network import Peer


def pull(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Fetch a patient, or list what a peer has of it."""
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


def push(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Send files."""
    from tumortwin.network import push

    pushed = push(options.folder, _peer(options), progress=progress)
    progress.close()
    print(pushed)


def echo(options: argparse.Namespace, progress: TqdmProgress) -> None:
    """Ask whether a peer answers."""
    from tumortwin.network import echo

    peer = _peer(options)
    echo(peer)
    print(f"{peer} answers")


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
