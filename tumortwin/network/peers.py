"""Who is at the other end: a DICOMweb service or a DIMSE application entity, and how they are trusted."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tumortwin.arguments import require
from tumortwin.errors import InputError


@dataclass(frozen=True)
class Tls:
    """What a TLS connection is checked against. Certificates and host names are always verified.

    Parameters
    ----------
    ca_file : path-like, optional
        PEM file of the certificate authorities to trust, instead of the system's.
    certificate, key : path-like, optional
        PEM files that identify this program, where the peer asks for it (and for receiving by C-MOVE). The key may be
        in the certificate's file.

    Raises
    ------
    InputError
        If a file is missing, or a key comes without its certificate.
    """

    ca_file: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise InputError(f"a key ({self.key}) without its certificate: give the certificate's file too")
        for what in ("ca_file", "certificate", "key"):
            path = getattr(self, what)
            if path is not None and not Path(path).is_file():
                raise InputError(f"{what} {path} is not there: give a PEM file")

    def context(self, *, server: bool = False) -> ssl.SSLContext:
        """Make the settings of a connection that we open, or (`server`) that a peer opens to us.

        Raises
        ------
        InputError
            If a file is not PEM, or does not hold what it should.
        """
        try:
            # a peer that opens a connection to us must prove who it is, as one that we call must
            context = ssl.create_default_context(
                ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH, cafile=self.ca_file
            )
            context.verify_mode = ssl.CERT_REQUIRED
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(str(f) for f in (self.ca_file, self.certificate, self.key) if f is not None)
            raise InputError(
                f"{files}: cannot be used for TLS ({error}): give PEM files, a key without pass phrase "
                "and with the certificate it belongs to"
            ) from error
        return context


@dataclass(frozen=True)
class DicomWeb:
    """A DICOMweb service (QIDO-RS, WADO-RS, STOW-RS).

    Parameters
    ----------
    url : str
        Root of the service, e.g. ``https://pacs.example.org/dicom-web``.
    user, password : str, optional
        For HTTP basic authentication. Neither they nor the token are ever shown.
    token : str, optional
        For bearer authentication.
    tls : Tls
        What an https connection is checked against.
    cleartext : bool
        Send credentials over plain http to another machine.
    timeout : float
        Longest wait in s for the connection and for each next byte of an answer.

    Raises
    ------
    InputError
        If the URL is none, holds credentials, or credentials would travel in the clear unasked.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls: Tls = field(default_factory=Tls)
    cleartext: bool = False
    timeout: float = 30.0

    def __post_init__(self) -> None:
        require(self.url, str, "url takes the root of a DICOMweb service, as https://host/dicom-web")
        parts = urlsplit(self.url)
        if "@" in parts.netloc:
            # not repeated in the message: it would end in logs
            raise InputError("a URL with credentials in it: give them as user=, password= or token=")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InputError(f"{self.url!r} is no DICOMweb root: write it as https://host/dicom-web")
        _check_timeout(self.timeout)
        if self.token is not None and (self.user is not None or self.password is not None):
            raise InputError("both a token and a user: give one of them")
        if (self.user is None) != (self.password is None):
            raise InputError("a user without a password or a password without a user: give both")
        secret = self.token is not None or self.user is not None
        if secret and parts.scheme == "http" and not (self.cleartext or _is_local(parts.hostname)):
            raise InputError(
                f"{self.url}: credentials would travel unencrypted: use https, or ask for it with "
                "cleartext=True (--cleartext) on a network you trust"
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class DimsePeer:
    """A DICOM application entity (C-ECHO, C-FIND, C-GET or C-MOVE, C-STORE).

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        Often 104, 11112 or 4242.
    called_ae : str
        The peer's AE title.
    calling_ae : str
        Ours, as the peer knows it.
    tls : Tls, optional
        Encrypt, and check the peer against this; plain if missing.
    move_port : int, optional
        Fetch by C-MOVE, for peers that know no C-GET: we listen on this port while we pull, and the peer must know
        `calling_ae` with our address and this port.
    timeout : float
        Longest wait in s for the connection, for an answer, and for each next part of a transfer.

    Raises
    ------
    InputError
        If a port or AE title cannot be one, or a C-MOVE over TLS lacks the certificate to receive with.
    """

    host: str
    port: int
    called_ae: str
    calling_ae: str = "TUMORTWIN"
    tls: Tls | None = None
    move_port: int | None = None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        require(self.host, str, "host takes a name or address")
        if not self.host:
            raise InputError("a DIMSE peer without a host: give its name or address")
        for what, port in (("port", self.port), ("move_port", self.move_port)):
            if port is not None and not (isinstance(port, int) and 0 < port < 65536):
                raise InputError(f"{what} {port} is none: give a number from 1 to 65535")
        for title in (self.called_ae, self.calling_ae):
            # PS3.5 table 6.2-1, AE: 16 characters, no backslash, no control characters, blanks without meaning
            if not isinstance(title, str) or not re.fullmatch(r"(?=.*[^ ])[ -\[\]-~]{1,16}", title):
                raise InputError(f"{title!r} is no AE title: give 1 to 16 ASCII characters, no backslash")
        _check_timeout(self.timeout)
        if self.tls is not None and self.move_port is not None and self.tls.certificate is None:
            raise InputError(
                "receiving by C-MOVE over TLS needs a certificate of ours: give tls.certificate, or use "
                "C-GET (no move_port)"
            )

    def __str__(self) -> str:
        return f"dimse{'s' if self.tls else ''}://{self.calling_ae}@{self.host}:{self.port}/{self.called_ae}"


Peer = DicomWeb | DimsePeer


def parse_peer(
    text: str,
    *,
    password: str | None = None,
    token: str | None = None,
    tls: Tls | None = None,
    cleartext: bool = False,
    move_port: int | None = None,
    timeout: float = 30.0,
) -> Peer:
    """Make a peer from one line.

    Parameters
    ----------
    text : str
        ``https://host/dicom-web``, ``https://user@host/dicom-web``, ``dimse://CALLING@host:port/CALLED``, or ``dimses://``
        for DIMSE over TLS. A password in it is refused: command lines are seen by others.
    password, token, tls, cleartext, move_port, timeout
        As in :class:`DicomWeb` and :class:`DimsePeer`.

    Raises
    ------
    InputError
        If it is neither.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InputError(f"a peer whose address cannot be parsed ({error}): {_FORMS}") from error
    if parts.password is not None:
        raise InputError("a password in a URL is seen by others: set TUMORTWIN_PASSWORD, or pass password=")
    if parts.scheme in ("http", "https"):
        if move_port is not None:
            raise InputError(f"{text}: C-MOVE is for DIMSE peers: leave the move port out")
        user = unquote(parts.username) if parts.username else None
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return DicomWeb(url, user, password if user else None, token, tls or Tls(), cleartext, timeout)
    if parts.scheme in ("dimse", "dimses"):
        called = unquote(parts.path.strip("/"))
        if not parts.hostname or port is None or not called:
            raise InputError(f"{text!r} lacks host, port or AE title: {_FORMS}")
        if tls is not None and parts.scheme == "dimse":
            raise InputError(f"{text}: certificates are for encrypted connections: write dimses://")
        secure = (tls or Tls()) if parts.scheme == "dimses" else None
        calling = unquote(parts.username) if parts.username else "TUMORTWIN"
        return DimsePeer(parts.hostname, port, called, calling, secure, move_port, timeout)
    raise InputError(f"{text!r} is no peer: {_FORMS}")


_FORMS = "write https://host/dicom-web or dimse://CALLING@host:port/CALLED (dimses:// for TLS)"


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _check_timeout(seconds: float) -> None:
    if not (isinstance(seconds, int | float) and 0 < seconds < float("inf")):
        raise InputError(f"a timeout of {seconds} s: give a number above 0")
