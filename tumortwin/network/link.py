"""What pulling and pushing need of a peer, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from pydicom.dataset import Dataset

from tumortwin.arguments import require
from tumortwin.network.peers import DicomWeb, DimsePeer, Peer
from tumortwin.network.remote import Answer, Outgoing, RemoteInstance

if TYPE_CHECKING:
    from tumortwin.network.landing import Landing


class Link(Protocol):
    """A way to a peer. Every method raises NetworkError where the peer cannot be reached, refuses or breaks off."""

    def echo(self) -> None:
        """Make sure that the peer answers."""

    def find_studies(self, patient_id: str) -> list[Dataset]:
        """Find the studies of a patient."""

    def find_series(self, study_uid: str) -> list[Dataset]:
        """Find the series of a study."""

    def find_instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Find the instances of a series."""

    def fetch(self, instances: Sequence[RemoteInstance], landing: Landing) -> dict[str, Answer]:
        """Let instances of one series land; returns, by UID, what there is to say of those that gave trouble."""

    def store(self, files: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, Answer]]:
        """Send files, one by one."""


def check_peer(peer: Peer) -> None:
    """Refuse what is no peer.

    Raises
    ------
    InputError
        Says what was given, and what makes a peer.
    """
    require(
        peer, (DicomWeb, DimsePeer), "a peer is a DicomWeb(...) or DimsePeer(...), or what parse_peer makes of a line"
    )


def connect(peer: Peer) -> AbstractContextManager[Link]:
    """Open a way to a peer; closed at the end of the ``with`` block."""
    check_peer(peer)
    # imported here: without the extra, all but the network works
    if isinstance(peer, DicomWeb):
        from tumortwin.network.web import WebLink

        return WebLink(peer)
    from tumortwin.network.dimse import DimseLink

    return DimseLink(peer)
