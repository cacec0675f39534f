"""TLS, certificates and passwords, between us and real servers."""

import base64
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tumortwin.errors import NetworkError
from tumortwin.network import DicomWeb, DimsePeer, Tls, echo, pull_patient, push

Certificates = Any

USER, PASSWORD = "tester", "s3cret-pass"
USER_AND_PASSWORD = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@contextmanager
def https_front(port: int, certificates: Certificates) -> Iterator[int]:
    """https before a plain server, as many sites have it: Debian's Orthanc 1.10.1 itself crashes on https."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.server_key)
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def greet(near: socket.socket) -> None:
        try:
            safe = context.wrap_socket(near, server_side=True)
        except (ssl.SSLError, OSError):
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=carry, args=(far, safe), daemon=True).start()
        carry(safe, far)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=greet, args=(near,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.fixture(scope="module")
def secured(certificates: Certificates, start_orthanc: Any) -> Iterator[Any]:
    """A server with https, passwords, and DICOM over TLS that asks for our certificate."""
    with (
        start_orthanc(
            AuthenticationEnabled=True, RegisteredUsers={USER: PASSWORD},
            DicomTlsEnabled=True, DicomTlsCertificate=str(certificates.server),
            DicomTlsPrivateKey=str(certificates.server_key), DicomTlsTrustedCertificates=str(certificates.ca),
            DicomTlsRemoteCertificateRequired=True,
        ) as orthanc,
        https_front(orthanc.http_port, certificates) as port,
    ):  # fmt: skip
        yield replace(orthanc, http_port=port, scheme="https")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_over_tls_and_with_a_password(secured: Any, certificates: Certificates, image_series: Any, tmp_path: Path,
                                      caplog: pytest.LogCaptureFixture):  # fmt: skip
    caplog.set_level(logging.DEBUG)
    files = image_series(tmp_path / "source")
    web = secured.web(user=USER, password=PASSWORD, tls=Tls(certificates.ca))
    dimse = secured.dimse(tls=Tls(certificates.ca, certificates.client, certificates.client_key))
    push(files, web)
    assert len(pull_patient(web, "TT-0001", tmp_path / "web").received) == len(files)
    assert len(pull_patient(dimse, "TT-0001", tmp_path / "dimse").received) == len(files)
    push(files, dimse)
    # every library's log, at its most talkative
    assert len(caplog.records) > 50
    for text in (caplog.text, repr(web), str(web), repr([web, dimse])):
        assert PASSWORD not in text
        assert USER_AND_PASSWORD not in text


def test_a_move_over_tls(certificates: Certificates, start_orthanc: Any, image_series: Any, tmp_path: Path):
    """The server connects to us over TLS too, and each side shows its certificate."""
    files = image_series(tmp_path / "source")
    own = Tls(certificates.ca, certificates.client, certificates.client_key)
    port = free_port()
    with start_orthanc(
        DicomTlsEnabled=True, DicomTlsCertificate=str(certificates.server), DicomTlsRemoteCertificateRequired=True,
        DicomTlsPrivateKey=str(certificates.server_key), DicomTlsTrustedCertificates=str(certificates.ca),
        DicomModalities={"tt": {"AET": "TUMORTWIN", "Host": "localhost", "Port": port, "UseDicomTls": True}},
    ) as orthanc:  # fmt: skip
        peer = orthanc.dimse(tls=own, move_port=port)
        push(files, peer)
        assert len(pull_patient(peer, "TT-0001", tmp_path / "in").received) == len(files)


def test_an_authority_that_we_do_not_know(secured: Any, certificates: Certificates):
    for tls in (Tls(), Tls(certificates.stranger_ca)):
        with pytest.raises(NetworkError, match=r"TLS connection failed.*certificate.*--ca"):
            echo(secured.web(user=USER, password=PASSWORD, tls=tls))
    for tls in (Tls(None, certificates.client, certificates.client_key),
                Tls(certificates.stranger_ca, certificates.client, certificates.client_key)):  # fmt: skip
        with pytest.raises(NetworkError, match=r"TLS connection failed.*certificate.*--ca"):
            echo(secured.dimse(tls=tls))


def test_the_environment_does_not_choose_our_authority(
    secured: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca))
    with pytest.raises(NetworkError, match="TLS connection failed"):
        echo(secured.web(user=USER, password=PASSWORD, tls=Tls(certificates.stranger_ca)))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.stranger_ca))
    echo(secured.web(user=USER, password=PASSWORD, tls=Tls(certificates.ca)))


def test_another_host_name_than_the_certificate_is_for(secured: Any, certificates: Certificates):
    own = Tls(certificates.ca, certificates.client, certificates.client_key)
    with pytest.raises(NetworkError, match="TLS connection failed"):
        echo(DimsePeer("127.0.0.1", secured.dicom_port, "ORTHANC", tls=own))
    with pytest.raises(NetworkError, match="TLS connection failed"):
        echo(DicomWeb(f"https://127.0.0.1:{secured.http_port}/dicom-web", user=USER, password=PASSWORD, tls=own))


def test_a_peer_that_wants_our_certificate(secured: Any, certificates: Certificates):
    with pytest.raises(NetworkError, match="certificate"):
        echo(secured.dimse(tls=Tls(certificates.ca), timeout=5))


def test_tls_where_there_is_none_and_none_where_there_is(secured: Any, server: Any, certificates: Certificates):
    with pytest.raises(NetworkError, match=r"does not speak DICOM.*dimses://"):
        echo(secured.dimse(timeout=3))
    with pytest.raises(NetworkError, match=r"TLS connection failed.*dimse:// if it speaks no TLS"):
        echo(server.dimse(tls=Tls(certificates.ca), timeout=3))
    with pytest.raises(NetworkError, match="TLS connection failed"):
        echo(DicomWeb(f"https://localhost:{server.http_port}/dicom-web", timeout=3))


@pytest.mark.parametrize("settings", [{}, {"user": USER, "password": "wrong-pass"}, {"token": "wrong-token"}])
def test_a_wrong_password(secured: Any, certificates: Certificates, settings: dict[str, str],
                          caplog: pytest.LogCaptureFixture, tmp_path: Path):  # fmt: skip
    caplog.set_level(logging.DEBUG)
    peer = secured.web(tls=Tls(certificates.ca), **settings)
    with pytest.raises(NetworkError, match=r"HTTP 401.*TUMORTWIN_PASSWORD") as failure:
        pull_patient(peer, "TT-0001", tmp_path / "in")
    for secret in set(settings.values()) - {USER}:
        assert secret not in str(failure.value) + caplog.text + repr(peer)
