"""Taking what a DIMSE peer sends us, over our association (C-GET) or to a storage SCP of our own (C-MOVE)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tumortwin.errors import InputError, NetworkError
from tumortwin.network.association import Watch
from tumortwin.network.landing import Landing
from tumortwin.network.peers import DimsePeer
from tumortwin.network.remote import MISSING_EXTRA, Answer, RemoteInstance
from tumortwin.network.syntaxes import decodable

try:
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.dsutils import encode_file_meta
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
except ImportError as error:
    raise InputError(MISSING_EXTRA) from error


class Reception:
    """Lets the instances land that were asked for, and nothing else.

    Memory: the instance that comes and, while it is written, no copy of it.
    """

    def __init__(self, instances: Sequence[RemoteInstance], landing: Landing) -> None:
        self._wanted = {i.uid: i for i in instances}
        self._landing = landing
        self._lock = threading.Lock()  # by C-MOVE a peer may send on several associations at once
        self.landed: set[str] = set()
        self.trouble: BaseException | None = None
        self.said = ""
        """What the peer said of instances that it did not send."""

    @property
    def any_landed(self) -> bool:
        """Whether anything came yet, of this series or one before."""
        return bool(self._landing.received)

    def receive(self, event: evt.Event) -> int:
        """Handle a C-STORE. What goes wrong is kept for the thread that waits."""
        request: Any = event.request
        with self._lock:
            instance = self._wanted.get(str(request.AffectedSOPInstanceUID))
            if self.trouble is not None or instance is None:
                return 0x0117
            if instance.uid in self.landed:
                return 0x0000  # sent twice
            try:
                with self._landing.receive(instance) as path, path.open("wb") as file:
                    file.write(b"\0" * 128 + b"DICM" + encode_file_meta(event.file_meta))
                    file.write(request.DataSet.getbuffer())
                    file.flush()
            # in pynetdicom's hands it would be logged and lost
            except BaseException as error:
                self.trouble = error
                return 0xA700
            self.landed.add(instance.uid)
            return 0x0000

    def answers(self) -> dict[str, Answer]:
        """Return an answer for each wanted instance that was not received.

        Raises
        ------
        TumorTwinError, OSError
            What went wrong while something came.
        """
        if self.trouble is not None:
            raise self.trouble
        return {uid: Answer(self.said or "not sent") for uid in self._wanted if uid not in self.landed}


@contextmanager
def listening(peer: DimsePeer, port: int, receive: Callable[[evt.Event], int], watch: Watch) -> Iterator[None]:
    """Run a storage SCP while the block runs, only on the address from which the peer is reached.

    Parameters
    ----------
    peer : DimsePeer
        Who shall send.
    port : int
        Where we listen.
    receive : callable
        Takes what comes.
    watch : Watch
        Sees that something comes.

    Raises
    ------
    NetworkError
        If the port cannot be listened on.
    """
    us = AE(peer.calling_ae)
    us.require_called_aet = True
    us.dimse_timeout = us.network_timeout = peer.timeout
    us.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        us.add_supported_context(str(context.abstract_syntax), list(decodable()))
    tls = None if peer.tls is None else peer.tls.context(server=True)
    try:
        with socket.create_connection((peer.host, peer.port), timeout=peer.timeout) as there:
            own = there.getsockname()[0]
    except OSError as error:
        raise NetworkError(f"{peer}: cannot be reached ({error}): check host and port") from error
    handlers = [(evt.EVT_C_STORE, receive), *watch.handlers]
    try:
        server = us.start_server((own, port), block=False, ssl_context=tls, evt_handlers=handlers)
    except OSError as error:
        raise NetworkError(
            f"cannot listen on {own} port {port} for what {peer} shall send ({error}): choose another port, and let "
            "the peer's keepers enter it"
        ) from error
    try:
        yield
    finally:
        if server is not None:
            server.shutdown()
