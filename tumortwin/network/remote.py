"""What a peer lists, is sent and answers, whichever protocol it speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from tumortwin.errors import NetworkError
from tumortwin.network.peers import Peer

MISSING_EXTRA = "the network extra is not installed: pip install 'tumortwin[network]'"

_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


@dataclass(frozen=True)
class RemoteSeries:
    """A series as a peer lists it.

    Parameters
    ----------
    study_uid, series_uid : str
        Study and Series Instance UID.
    modality, description, study_description, study_date : str
        As the peer gives them; empty if it does not.
    count : int or None
        Number of instances, if the peer says.
    """

    study_uid: str
    series_uid: str
    modality: str
    description: str
    study_description: str
    study_date: str
    count: int | None

    def __str__(self) -> str:
        number = "?" if self.count is None else self.count
        return f"{self.study_date:8} {self.modality:9} {number:>6}  {self.description}  {self.series_uid}"


@dataclass(frozen=True)
class RemoteInstance:
    """An instance as a peer lists it."""

    study_uid: str
    series_uid: str
    uid: str
    sop_class: str
    """Empty if the peer does not say."""


@dataclass(frozen=True)
class Outgoing:
    """A file to be sent."""

    path: Path
    study_uid: str
    series_uid: str
    uid: str
    sop_class: str
    transfer_syntax: str


@dataclass(frozen=True)
class Answer:
    """What a peer said of one instance.

    Parameters
    ----------
    refused : str
        Why it did not go; empty if it did.
    remark : str
        What else the peer, or we, have to say of it.
    """

    refused: str = ""
    remark: str = ""


def word(data: Dataset, keyword: str) -> str:
    """Return an attribute of an answer as printable text; empty if it is missing."""
    found = data.get(keyword)
    return "" if found is None else "".join(c for c in str(found) if c.isprintable()).strip()


def uid(data: Dataset, keyword: str, peer: Peer) -> str:
    """Return a unique identifier of an answer, checked because it becomes part of a file's name.

    Raises
    ------
    NetworkError
        If it is missing or holds anything else than letters, digits, dots and dashes.
    """
    found = word(data, keyword)
    if not _UID.fullmatch(found):
        raise NetworkError(
            f"{peer} lists a {keyword} of {found!r}, which is none: ask its keepers, or pull by other means"
        )
    return found
