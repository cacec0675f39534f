"""Peers as values: what they accept, what they show."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.network import DicomWeb, DimsePeer, Tls, parse_peer

TITLES = st.text(string.ascii_letters + string.digits + "_- ", min_size=1, max_size=16).filter(str.strip)


@given(calling=TITLES, called=TITLES, port=st.integers(1, 65535), tls=st.booleans())
def test_a_dimse_peer_is_read_as_it_is_shown(calling: str, called: str, port: int, tls: bool):
    peer = DimsePeer("pacs.example.org", port, called, calling, Tls() if tls else None)
    assert parse_peer(str(peer).replace(" ", "%20")) == peer


@pytest.mark.parametrize(("text", "peer"), [
    ("dimse://h:104/PACS", DimsePeer("h", 104, "PACS", "TUMORTWIN")),
    ("dimse://ME@[::1]:104/PACS", DimsePeer("::1", 104, "PACS", "ME")),
    ("https://h/dicom-web/", DicomWeb("https://h/dicom-web")),
    ("https://anna@h:8443/dicom-web", DicomWeb("https://h:8443/dicom-web", "anna", "pw")),
])  # fmt: skip
def test_addresses(text: str, peer: DicomWeb | DimsePeer):
    assert parse_peer(text, password="pw") == peer


@pytest.mark.parametrize("text", [
    "", "pacs", "ftp://h/x", "dimse://h/PACS", "dimse://h:104", "dimse://:104/PACS", "dimse://h:0/PACS", "dimse://h:x/PACS",
    "dimse://h:70000/PACS", "dimse://h:104/SEVENTEENLETTERSX", "dimse://h:104/A%5CB", "dimse://%20@h:104/PACS",
    "https:///dicom-web", "https://h/x?y=1", "https://h/x#y", "http://[::1/x",
])  # fmt: skip
def test_what_is_no_address(text: str):
    with pytest.raises(InputError, match=r"write|give|address"):
        parse_peer(text)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    for make in (parse_peer, DicomWeb):
        with pytest.raises(InputError) as failure:
            make("https://anna:hunter2@h/dicom-web")
        assert "hunter2" not in str(failure.value)


@given(st.text(string.digits + "!$%&;", min_size=8))
def test_secrets_are_not_shown(secret: str):
    for peer in (DicomWeb("https://h", user="u", password=secret), DicomWeb("https://h", token=secret)):
        assert secret not in f"{peer!r} {peer} {[peer]}"


def test_credentials_do_not_travel_in_the_clear_unasked():
    with pytest.raises(InputError, match=r"unencrypted.*https.*cleartext"):
        DicomWeb("http://pacs.example.org/dicom-web", user="u", password="p")
    with pytest.raises(InputError, match="unencrypted"):
        DicomWeb("http://127.0.0.1.example.org/dicom-web", token="t")
    DicomWeb("http://pacs.example.org/dicom-web", user="u", password="p", cleartext=True)
    DicomWeb("http://pacs.example.org/dicom-web")
    for local in ("localhost", "127.0.0.1", "[::1]"):
        DicomWeb(f"http://{local}:8042/dicom-web", token="t")


def test_settings_that_contradict_each_other(tmp_path: Path):
    with pytest.raises(InputError, match="both a token and a user"):
        DicomWeb("https://h", user="u", password="p", token="t")
    with pytest.raises(InputError, match="a user without a password"):
        parse_peer("https://anna@h/dicom-web")
    with pytest.raises(InputError, match="dimses://"):
        parse_peer("dimse://h:104/PACS", tls=Tls())
    with pytest.raises(InputError, match="C-MOVE is for DIMSE"):
        parse_peer("https://h/dicom-web", move_port=104)
    with pytest.raises(InputError, match=r"C-MOVE over TLS needs a certificate"):
        parse_peer("dimses://h:104/PACS", move_port=104)
    for seconds in (0, -1, float("inf"), float("nan")):
        with pytest.raises(InputError, match="timeout"):
            DicomWeb("https://h", timeout=seconds)


def test_certificates(tmp_path: Path):
    with pytest.raises(InputError, match=r"ca_file .*nowhere\.pem is not there"):
        Tls(tmp_path / "nowhere.pem")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    with pytest.raises(InputError, match="without its certificate"):
        Tls(key=text)
    for tls in (Tls(text), Tls(None, text)):
        with pytest.raises(InputError, match=r"text\.pem: cannot be used for TLS"):
            tls.context()


def test_connections_are_always_checked():
    import ssl

    for server in (False, True):
        context = Tls().context(server=server)
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert Tls().context().check_hostname
