"""A DICOM association: opened, watched while it lasts, ended; and why there is none."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pydicom.uid import UID

from tumortwin.errors import InputError, NetworkError
from tumortwin.network.peers import DimsePeer
from tumortwin.network.remote import MISSING_EXTRA

try:
    from pynetdicom import AE, evt
    from pynetdicom.association import Association
except ImportError as error:
    raise InputError(MISSING_EXTRA) from error

BROKEN = "the connection broke, or the peer ended it: try again"

Contexts = Sequence[tuple[UID, Sequence[str] | None]]
"""Pairs of abstract syntax and transfer syntaxes; None for the usual uncompressed ones."""


class Watch:
    """Ends an association on which nothing has moved for a while.

    pynetdicom's own timeout is for whole messages: it would end the transfer of a large instance that goes well.

    Parameters
    ----------
    timeout : float
        In s.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._last = time.monotonic()
        self.expired = False

    @property
    def handlers(self) -> list[Any]:
        """What an association must be given to be seen."""
        return [(evt.EVT_CONN_OPEN, _undelayed), (evt.EVT_DATA_RECV, self._moved), (evt.EVT_DATA_SENT, self._moved)]

    def _moved(self, event: evt.Event) -> None:
        self._last = time.monotonic()
        _answer_at_once(event)

    @contextmanager
    def over(self, association: Association) -> Iterator[None]:
        """Watch while the block runs."""
        self._last = time.monotonic()
        done = threading.Event()
        thread = threading.Thread(target=self._run, args=(association, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _run(self, association: Association, done: threading.Event) -> None:
        while not done.wait(max(0.01, self._last + self._timeout - time.monotonic())):
            if time.monotonic() - self._last >= self._timeout:
                self.expired = True
                # as if the line were cut: aborting would leave who waits for a message waiting
                if (connection := _socket(association)) is not None:
                    with suppress(OSError):  # closed in the meantime
                        connection.shutdown(socket.SHUT_RDWR)
                return


def _socket(association: Association) -> socket.socket | None:
    return None if association.dul.socket is None else association.dul.socket.socket


# Many small messages go to and fro. Nagle's algorithm on one side and delayed acknowledgements on the other made each
# wait 40 ms: a study of 83 files took 10 s to send instead of 1 s.


def _undelayed(event: evt.Event) -> None:
    if (connection := _socket(event.assoc)) is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _answer_at_once(event: evt.Event) -> None:
    if hasattr(socket, "TCP_QUICKACK") and (connection := _socket(event.assoc)) is not None:
        with suppress(OSError):  # closed in the meantime: there is nothing more to answer
            # Linux forgets it after a while, so it is said again and again
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _keep_answers(association: Association) -> None:
    """Let nobody but us take what comes over an association of ours.

    pynetdicom's own thread looks for requests meanwhile. It says that it pauses shortly before it does, and so now and
    then takes an answer, and we would wait for it in vain (5 of 13,000 C-ECHO on a busy machine).
    """
    take = association.dimse.get_msg

    def for_who_waits(block: bool = False) -> Any:
        return take(block) if block else (None, None)

    association.dimse.get_msg = for_who_waits  # type: ignore[method-assign]


@contextmanager
def associate(
    ae: AE,
    peer: DimsePeer,
    contexts: Contexts,
    watch: Watch,
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
) -> Iterator[Association]:
    """Open an association, and release it at the end of the block, or abort it if the block raises.

    Parameters
    ----------
    ae : pynetdicom.AE
        Us.
    peer : DimsePeer
        To whom.
    contexts : sequence of (UID, sequence of str or None)
        What to propose; the peer must take one at least.
    watch : Watch
        Ends it where nothing moves.
    roles, handlers : sequences
        For pynetdicom.

    Raises
    ------
    NetworkError
        If there is none, with the remedy.
    """
    tls = None if peer.tls is None else (peer.tls.context(), peer.host)
    ae.requested_contexts = []
    for abstract, syntaxes in contexts:
        if syntaxes is None:
            ae.add_requested_context(abstract)
        else:
            ae.add_requested_context(abstract, list(syntaxes))
    try:
        association = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.called_ae,
            ext_neg=list(roles),
            tls_args=tls,
            evt_handlers=[*handlers, *watch.handlers],
        )
    except OSError as error:  # the name cannot be resolved
        raise NetworkError(f"{peer}: cannot be reached ({error}): check the host's name") from error
    if not association.is_established:
        raise NetworkError(f"{peer}: {_why(association, peer, tls)}")
    _keep_answers(association)
    try:
        with watch.over(association):
            yield association
        association.release()
    except BaseException as error:
        association.abort()
        if watch.expired and isinstance(error, NetworkError):
            raise NetworkError(
                f"{peer}: nothing came for {peer.timeout:g} s: try again, or allow more (timeout, --timeout)"
            ) from error
        raise


def _why(association: Association, peer: DimsePeer, tls: tuple[ssl.SSLContext, str] | None) -> str:
    """Why there is no association, with the remedy."""
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = (answer.reason_str if answer is not None else "") or "no reason given"
        return (
            f"the association was rejected ({reason}): check the called AE title ({peer.called_ae}), and that the peer "
            f"knows ours ({peer.calling_ae}) with this machine's address"
        )
    if association.rejected_contexts and not association.accepted_contexts:
        refused = UID(str(association.rejected_contexts[0].abstract_syntax)).name
        return (
            f"the peer does not offer {refused} to {peer.calling_ae}: ask its keepers to allow it, or fetch the other "
            "way (C-MOVE with move_port or --move-port, else C-GET)"
        )
    # pynetdicom only logs why a connection failed: try once more, to say it
    try:
        plain = socket.create_connection((peer.host, peer.port), timeout=peer.timeout)
    except OSError as error:
        return f"cannot be reached ({error}): check host and port, that the peer runs, and the firewall between"
    with plain:
        try:
            if tls is not None:
                tls[0].wrap_socket(plain, server_hostname=tls[1]).close()
        except OSError as error:  # ssl.SSLError is one
            return (
                f"the TLS connection failed ({error}): give the certificate authority that signed for the peer "
                "(ca_file, --ca), the certificate it asks for, or write dimse:// if it speaks no TLS"
            )
    return (
        f"something listens there that does not speak DICOM{' over TLS' if tls else ''} with us: check the port, "
        "whether the peer wants TLS (dimses://) or a certificate of ours, and that it knows our AE title"
    )
