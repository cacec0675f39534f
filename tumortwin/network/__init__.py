"""Where patients come from and results go: a PACS or archive that speaks DICOMweb or DIMSE.

An extra: ``pip install 'tumortwin[network]'``. Nothing here reads pixels; what was pulled is a folder for
:func:`tumortwin.read_patient`.
"""

from tumortwin.network.peers import DicomWeb, DimsePeer, Peer, Tls, parse_peer
from tumortwin.network.pulling import Pulled, echo, find_series, pull_patient
from tumortwin.network.pushing import Pushed, push
from tumortwin.network.remote import RemoteSeries

__all__ = [
    "DicomWeb",
    "DimsePeer",
    "Peer",
    "Pulled",
    "Pushed",
    "RemoteSeries",
    "Tls",
    "echo",
    "find_series",
    "parse_peer",
    "pull_patient",
    "push",
]
