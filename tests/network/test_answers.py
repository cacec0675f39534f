"""Answers that no well-behaved server gives, from small servers that give them."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.errors import InputError, NetworkError
from tumortwin.network import DicomWeb, echo, find_series, pull_patient, push
from tumortwin.network.web import _unwrap

STUDY, SERIES = "1.2.3", "1.2.3.4"
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(answer: Callable[[str, str, dict[str, list[str]]], Answer]) -> Iterator[DicomWeb]:
    """A web service that answers (method, path, query) as it is told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._give()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._give()

        def _give(self) -> None:
            parts = urlsplit(self.path)
            status, headers, body = answer(self.command, parts.path, parse_qs(parts.query))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield DicomWeb(f"http://127.0.0.1:{server.server_port}/dicom-web", timeout=5)
        server.shutdown()


def rows(*found: dict[str, Any]) -> Answer:
    """Rows of a QIDO-RS answer."""
    listed = [{f"{pydicom.datadict.tag_for_keyword(k):08X}": {"vr": pydicom.datadict.dictionary_VR(k), "Value": [v]}
               for k, v in one.items()} for one in found]  # fmt: skip
    return 200, {"Content-Type": "application/dicom+json"}, json.dumps(listed).encode()


def multipart(content: bytes, boundary: str = "b", end: str = "--") -> Answer:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
    body = head.encode() + content + f"\r\n--{boundary}{end}".encode()
    return 200, {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}, body


def archive(files: dict[str, bytes], patient: str = "P1", **changes: Any) -> Callable[..., Answer]:
    """A service with one series of these instances."""

    def answer(method: str, path: str, query: dict[str, list[str]]) -> Answer:
        what = path.removeprefix("/dicom-web/")
        page = slice(int(query.get("offset", ["0"])[0]), None)
        if what == "studies":
            found = [{"PatientID": patient, "StudyInstanceUID": STUDY}]
        elif what == f"studies/{STUDY}/series":
            found = [{"SeriesInstanceUID": SERIES, "Modality": "MR", "NumberOfSeriesRelatedInstances": len(files)}]
        elif what == f"studies/{STUDY}/series/{SERIES}/instances":
            found = [{"SOPInstanceUID": uid} for uid in files]
        else:
            return multipart(files[what.rpartition("/")[2]])
        return rows(*found[page][: changes.get("page", 1000)])

    return answer


@pytest.fixture
def image(image_series: Any, tmp_path: Path) -> Callable[..., tuple[str, bytes]]:
    """An image with some attributes changed: its UID and its bytes."""
    data = pydicom.dcmread(image_series(tmp_path / "source")[0])

    def make(**changes: str) -> tuple[str, bytes]:
        data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = "P1", STUDY, SERIES
        for keyword, value in changes.items():
            setattr(data, keyword, value)
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        file = BytesIO()
        data.save_as(file, enforce_file_format=True)
        return data.SOPInstanceUID, file.getvalue()

    return make


def landed(folder: Path) -> list[bytes]:
    return [p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()]


def test_bytes_are_kept_as_they_are(image: Any, tmp_path: Path):
    uid, content = image()
    with answering(archive({uid: content})) as peer:
        pull_patient(peer, "P1", tmp_path / "in")
    assert landed(tmp_path / "in") == [content]


@pytest.mark.parametrize("page", [1, 3, 7, 100])
def test_answers_in_pages(image: Any, tmp_path: Path, page: int):
    files = dict(image(SOPInstanceUID=f"1.2.3.4.{i}") for i in range(7))
    with answering(archive(files, page=page)) as peer:
        assert len(pull_patient(peer, "P1", tmp_path / "in").received) == 7


def test_a_service_that_knows_no_offset(image: Any, tmp_path: Path):
    files = dict(image(SOPInstanceUID=f"1.2.3.4.{i}") for i in range(3))
    whole = archive(files)
    with answering(lambda method, path, query: whole(method, path, {})) as peer:
        assert len(pull_patient(peer, "P1", tmp_path / "in").received) == 3


def test_an_instance_of_another_patient_is_not_kept(image: Any, tmp_path: Path):
    uid, content = image(PatientID="P2")
    says = r"is of patient 'P2', not of 'P1'"
    with answering(archive({uid: content})) as peer, pytest.raises(NetworkError, match=says):
        pull_patient(peer, "P1", tmp_path / "in")
    assert landed(tmp_path / "in") == []


def test_another_instance_than_asked_for_is_not_kept(image: Any, tmp_path: Path):
    _, content = image(SOPInstanceUID="1.2.3.4.9")
    with answering(archive({"1.2.3.4.8": content})) as peer, pytest.raises(NetworkError, match=r"sent 1\.2\.3\.4\.9"):
        pull_patient(peer, "P1", tmp_path / "in")
    assert landed(tmp_path / "in") == []


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", b"\0" * 128 + b"DICM", b"\0" * 5000])
def test_what_is_no_dicom_is_not_kept(content: bytes, tmp_path: Path):
    with answering(archive({"1.2": content})) as peer, pytest.raises(NetworkError, match=r"is no DICOM|without a UID"):
        pull_patient(peer, "P1", tmp_path / "in")
    assert landed(tmp_path / "in") == []


@pytest.mark.parametrize("uid", ["../../../etc/cron.d/x", "..", ".hidden", "a/b", "", "1" * 65, "1.2\\3", "1.2;rm"])
@pytest.mark.filterwarnings("ignore:(Invalid value|The value length):UserWarning")
def test_a_uid_that_is_no_file_name(uid: str, tmp_path: Path):
    with answering(archive({uid: b""})) as peer, pytest.raises(NetworkError, match="lists a SOPInstanceUID"):
        pull_patient(peer, "P1", tmp_path / "deep" / "in")
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "deep"])


def test_an_answer_cut_short(image: Any, tmp_path: Path):
    uid, content = image()
    whole = archive({uid: content})

    def cut(method: str, path: str, query: dict[str, list[str]]) -> Answer:
        status, headers, body = whole(method, path, query)
        if "multipart" in headers["Content-Type"]:
            # a server that dies says no length: only the missing end tells
            return status, headers | {"Content-Length": str(len(body) // 2)}, body[: len(body) // 2]
        return status, headers, body

    with answering(cut) as peer, pytest.raises(NetworkError, match=r"ended before its end.*\n0 of 1 files"):
        pull_patient(peer, "P1", tmp_path / "in")
    assert landed(tmp_path / "in") == []


def test_counts_that_do_not_agree_are_said(image: Any, tmp_path: Path):
    files = dict(image(SOPInstanceUID=f"1.2.3.4.{i}") for i in range(2))
    whole = archive(files)

    def boasting(method: str, path: str, query: dict[str, list[str]]) -> Answer:
        if path.endswith("/series"):
            return rows({"SeriesInstanceUID": SERIES, "Modality": "MR", "NumberOfSeriesRelatedInstances": 5})
        return whole(method, path, query)

    with answering(boasting) as peer:
        pulled = pull_patient(peer, "P1", tmp_path / "in")
    assert "counts 5 instances and lists 2" in str(pulled)


def test_a_patient_of_several_issuers_is_not_mixed(tmp_path: Path):
    found = rows({"PatientID": "P1", "StudyInstanceUID": "1.2", "IssuerOfPatientID": "NORTH"},
                 {"PatientID": "P1", "StudyInstanceUID": "1.3", "IssuerOfPatientID": "SOUTH"})  # fmt: skip
    says = "several patients 'P1', issued by NORTH, SOUTH"
    with answering(lambda *a: found) as peer, pytest.raises(NetworkError, match=says):
        find_series(peer, "P1")


def test_patients_like_the_one_asked_for_are_not_him():
    found = rows({"PatientID": "P10", "StudyInstanceUID": "1.2"}, {"PatientID": "p1", "StudyInstanceUID": "1.3"})
    says = r"no patient 'P1' \(it offers 'P10', 'p1'\)"
    with answering(lambda *a: found) as peer, pytest.raises(NetworkError, match=says):
        find_series(peer, "P1")


@pytest.mark.parametrize(("answer", "says"), [
    ((200, {"Content-Type": "text/html"}, b"<html>log in</html>"), "is not DICOMweb"),
    ((200, {"Content-Type": "application/json"}, b"[1, 2]"), "is not DICOMweb"),
    ((200, {"Content-Type": "application/json"}, b'[{"00100020": {"vr": "LO", "Value": "x"}}]'), "is not DICOMweb"),
    ((302, {"Location": "http://127.0.0.1:9/else"}, b""), r"sends us elsewhere \(http://127.0.0.1:9/else\)"),
    ((403, {}, b""), "HTTP 403.*may not"),
    ((404, {}, b""), "HTTP 404.*check the path"),
    ((429, {}, b""), "HTTP 429.*try again"),
    ((500, {}, b""), "HTTP 500.*server failed"),
    ((503, {}, b""), "HTTP 503.*server failed"),
])  # fmt: skip
def test_answers_that_help_nobody(answer: Answer, says: str):
    with answering(lambda *a: answer) as peer, pytest.raises(NetworkError, match=says):
        find_series(peer, "P1")


def test_no_content_is_an_empty_answer():
    with answering(lambda *a: (204, {}, b"")) as peer:
        echo(peer)
        with pytest.raises(NetworkError, match="no patient"):
            find_series(peer, "P1")


def stored(uid: str, **more: Any) -> bytes:
    return json.dumps({"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}} | more]}}).encode()


@pytest.mark.parametrize(("status", "body", "says"), [
    (409, b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [42752]}}]}}', "reason 0xA700"),
    (200, b'{"00081198": {"vr": "SQ", "Value": [{}]}}', "refused 1 of 1 files"),
    (409, b"", "refused .HTTP 409"),
    (413, b"", "larger than the server takes"),
    (200, b"{}", "does not list 1 of them"),
])  # fmt: skip
def test_a_file_that_is_not_taken(status: int, body: bytes, says: str, image_series: Any, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    monkeypatch.setattr("tumortwin.network.pushing._ASK_AGAIN", (0, 0.01))
    path = image_series(tmp_path)[0]
    given = status, {"Content-Type": "application/dicom+json"}, body
    with (
        answering(lambda method, *others: given if method == "POST" else rows()) as peer,
        pytest.raises(NetworkError, match=says),
    ):
        push(path, peer)


def test_a_warning_is_a_finding(image_series: Any, tmp_path: Path):
    path = image_series(tmp_path)[0]
    uid = pydicom.dcmread(path).SOPInstanceUID
    body = stored(uid, **{"00081196": {"vr": "US", "Value": [0xB000]}})
    with answering(lambda m, p, q: (202, {}, body) if m == "POST" else rows({"SOPInstanceUID": uid})) as peer:
        assert "warning 0xB000" in str(push(path, peer))


def test_what_cannot_be_pushed(tmp_path: Path, server: Any):
    (tmp_path / "notes.txt").write_text("hello")
    for files, says in ((tmp_path, "no DICOM file to send"), (tmp_path / "notes.txt", "no DICOM file that can"),
                        (tmp_path / "nowhere", "is not there"), ([], "no DICOM file to send")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            push(files, server.web())


@given(content=st.binary(max_size=400), sizes=st.lists(st.integers(1, 60), min_size=1), preamble=st.booleans())
def test_multipart_in_any_pieces(content: bytes, sizes: list[int], preamble: bool):
    boundary = "x7k2"
    if b"\r\n--x7k2" in content:
        return
    _, headers, body = multipart(content, boundary)
    body = b"\r\n" * preamble + body

    def pieces(size: int) -> Iterator[bytes]:
        at = turn = 0
        while at < len(body):
            yield body[at : (at := at + sizes[turn % len(sizes)])]
            turn += 1

    file = BytesIO()
    _unwrap(SimpleNamespace(headers=headers, iter_content=pieces), file)
    assert file.getvalue() == content
    # and any answer that lacks its end is known as such
    body = body[: -len("\r\n--x7k2--")]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _unwrap(SimpleNamespace(headers=headers, iter_content=pieces), BytesIO())
