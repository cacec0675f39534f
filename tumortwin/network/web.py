"""The DICOMweb side: QIDO-RS by dicomweb-client; WADO-RS and STOW-RS as streams, byte for byte.

dicomweb-client holds each instance in memory several times over, and writes it anew.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydicom.dataset import Dataset

from tumortwin.errors import InputError, NetworkError
from tumortwin.network.landing import Landing
from tumortwin.network.peers import DicomWeb
from tumortwin.network.remote import MISSING_EXTRA, Answer, Outgoing, RemoteInstance, word
from tumortwin.network.syntaxes import decodable, transfer_syntax

try:
    import requests
    from dicomweb_client.api import DICOMwebClient
except ImportError as error:
    raise InputError(MISSING_EXTRA) from error

_CHUNK = 1 << 18
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PLAIN = "1.2.840.10008.1.2.1"
_LONGEST_HEADER = 1 << 16

_STUDY_FIELDS = ["PatientID", "PatientName", "IssuerOfPatientID", "StudyDate", "StudyDescription"]
_SERIES_FIELDS = ["Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances"]


class WebLink:
    """A session with a DICOMweb service."""

    def __init__(self, peer: DicomWeb) -> None:
        self._peer = peer
        self._session = _session(peer)
        with self._speaking():
            self._client = DICOMwebClient(peer.url, session=self._session)
        self._client.set_http_retry_params(retry=False)  # the user asks again: what is here is not fetched twice

    def __enter__(self) -> WebLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def echo(self) -> None:
        """Ask for one study."""
        with self._speaking():
            self._client.search_for_studies(limit=1)

    def find_studies(self, patient_id: str) -> list[Dataset]:
        """Find the studies of a patient."""
        return self._search(
            lambda offset: self._client.search_for_studies(
                fields=_STUDY_FIELDS, search_filters={"PatientID": patient_id}, offset=offset
            ),
            "StudyInstanceUID",
        )

    def find_series(self, study_uid: str) -> list[Dataset]:
        """Find the series of a study."""
        return self._search(
            lambda offset: self._client.search_for_series(study_uid, fields=_SERIES_FIELDS, offset=offset),
            "SeriesInstanceUID",
        )

    def find_instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Find the instances of a series."""
        return self._search(
            lambda offset: self._client.search_for_instances(study_uid, series_uid, offset=offset), "SOPInstanceUID"
        )

    def fetch(self, instances: Sequence[RemoteInstance], landing: Landing) -> dict[str, Answer]:
        """Let instances land as they are stored; those that cannot be decoded here, decompressed by the peer."""
        answers = {}
        for instance in instances:
            try:
                with self._speaking(), landing.receive(instance) as path:
                    self._retrieve(instance, _AS_STORED, path)
                    syntax = transfer_syntax(path)
                    if syntax and syntax not in decodable():
                        answers[instance.uid] = self._retrieve_plain(instance, path, syntax.name)
            except _Refused as refusal:
                answers[instance.uid] = Answer(str(refusal))
        return answers

    def store(self, files: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, Answer]]:
        """Send files, one request each."""
        for file in files:
            with self._speaking():
                upload = _Upload(file.path)
                response = self._session.post(
                    f"{self._peer.url}/studies",
                    data=upload,
                    headers={
                        "Content-Type": f'multipart/related; type="application/dicom"; boundary={upload.boundary}',
                        "Accept": "application/dicom+json",
                    },
                )
                # 409: refused, and the body says why
                if response.status_code != 409:
                    response.raise_for_status()
                answer = _stored(response, file.uid)
            yield file, answer

    def _retrieve(self, instance: RemoteInstance, accept: str, path: Path) -> None:
        url = f"{self._peer.url}/studies/{instance.study_uid}/series/{instance.series_uid}/instances/{instance.uid}"
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        with self._session.get(url, headers=headers, stream=True) as response:
            if response.status_code in (404, 406, 410, 415) or response.status_code >= 500:
                raise _Refused(f"HTTP {response.status_code} {response.reason}")
            response.raise_for_status()
            with path.open("wb") as file:
                _unwrap(response, file)

    def _retrieve_plain(self, instance: RemoteInstance, path: Path, syntax: str) -> Answer:
        try:
            self._retrieve(instance, f'multipart/related; type="application/dicom"; transfer-syntax={_PLAIN}', path)
        except _Refused:
            return Answer(
                remark=f"is stored as {syntax}, which cannot be decoded here, and the peer does not decompress it: "
                "pip install 'tumortwin[codecs]'"
            )
        return Answer(remark=f"was decompressed by the peer: {syntax} cannot be decoded here")

    def _search(self, ask: Callable[[int], list[dict[str, Any]]], key: str) -> list[Dataset]:
        """All pages of an answer; services differ in how many rows they give at once, and some know no offset."""
        found: dict[str, Dataset] = {}
        asked = 0
        while True:
            with self._speaking():
                page = _rows(ask(asked))
            fresh = {word(row, key): row for row in page}
            if not fresh.keys() - found.keys():
                return list(found.values())
            found |= fresh
            asked += len(page)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Say what a failure means, and what to do."""
        peer = self._peer
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise NetworkError(
                f"{peer}: the TLS connection failed ({_cause(error)}): give the certificate authority that "
                "signed for the server (ca_file, --ca), or the certificate it asks for"
            ) from error
        except requests.exceptions.Timeout as error:
            raise NetworkError(
                f"{peer}: no answer within {peer.timeout:g} s: check address and port, or allow more "
                "(timeout, --timeout)"
            ) from error
        except requests.exceptions.TooManyRedirects as error:
            target = "" if error.response is None else error.response.headers.get("Location", "")
            raise NetworkError(
                f"{peer} sends us elsewhere ({target}): patient data do not follow; give the right address"
            ) from error
        except requests.exceptions.HTTPError as error:
            raise NetworkError(f"{peer}: {_meaning(error.response)}") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise NetworkError(f"{peer}: the connection broke ({_cause(error)}): try again") from error
        except requests.exceptions.ConnectionError as error:
            raise NetworkError(
                f"{peer}: cannot be reached, or broke off ({_cause(error)}): check address and port, and that "
                "the server runs"
            ) from error
        except (requests.exceptions.RequestException, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise NetworkError(
                f"{peer}: the answer is not DICOMweb ({type(error).__name__}: {error}): check the path of the "
                "address (Orthanc's is /dicom-web)"
            ) from error


def _rows(answer: list[dict[str, Any]]) -> list[Dataset]:
    try:
        return [Dataset.from_json(row) for row in answer]
    # pydicom lets out nearly everything on what is no DICOM JSON
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


class _Refused(NetworkError):
    """One instance that the peer does not give; the others may still come."""


class _Token(requests.auth.AuthBase):
    """Bearer authentication; as an AuthBase, so that no .netrc replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Session(requests.Session):
    """A session that always has a timeout, and whose certificate authority the environment does not replace."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout

    def send(self, *arguments: Any, **named: Any) -> requests.Response:
        named["timeout"] = self._timeout  # whatever dicomweb-client would wait
        return super().send(*arguments, **named)

    def merge_environment_settings(self, *arguments: Any, **named: Any) -> Any:
        settings = super().merge_environment_settings(*arguments, **named)
        if self.verify is not True:
            settings["verify"] = self.verify
        return settings


def _session(peer: DicomWeb) -> requests.Session:
    peer.tls.context()  # says what is wrong with the files before anything is sent
    session = _Session(peer.timeout)
    session.max_redirects = 0
    if peer.tls.ca_file is not None:
        session.verify = str(peer.tls.ca_file)
    if peer.tls.certificate is not None:
        session.cert = (str(peer.tls.certificate), str(peer.tls.key or peer.tls.certificate))
    if peer.token is not None:
        session.auth = _Token(peer.token)
    elif peer.user is not None:
        # as bytes: text would be encoded as Latin-1
        session.auth = requests.auth.HTTPBasicAuth(peer.user.encode(), (peer.password or "").encode())
    return session


class _Upload:
    """A file as the one part of a multipart body: its length is known, and it is read as it is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.boundary = uuid.uuid4().hex
        self._head = f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self._head) + self._path.stat().st_size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield self._tail


def _unwrap(response: requests.Response, file: IO[bytes]) -> None:
    """Write the one part of a multipart answer to a file.

    Raises
    ------
    NetworkError
        If it is no such answer, or ends before its end.
    """
    header = Message()
    header["Content-Type"] = response.headers.get("Content-Type", "")
    chunks = response.iter_content(_CHUNK)
    if header.get_content_type() == "application/dicom":
        for chunk in chunks:
            file.write(chunk)
        return
    boundary = header.get_boundary()
    if header.get_content_maintype() != "multipart" or boundary is None:
        raise NetworkError(f"the peer sent {header['Content-Type']!r} where DICOM was asked for: check the address")
    end = b"\r\n--" + boundary.encode()
    held, inside = b"", False
    for chunk in chunks:
        held += chunk
        if not inside:
            _, mark, rest = held.partition(b"\r\n\r\n")
            if not mark:
                if len(held) > _LONGEST_HEADER:
                    break
                continue
            held, inside = rest, True
        at = held.find(end)
        if at >= 0:
            file.write(held[:at])
            return
        # the end may be cut by the border between two chunks
        file.write(held[: -len(end)])
        held = held[-len(end) :]
    raise requests.exceptions.ChunkedEncodingError("the answer ended before its end")


def _stored(response: requests.Response, uid: str) -> Answer:
    """Read from a STOW-RS response what became of one instance."""
    try:
        answer = Dataset.from_json(response.json()) if response.content else Dataset()
    except json.JSONDecodeError:
        answer = Dataset()
    for item in answer.get("FailedSOPSequence") or ():
        reason = item.get("FailureReason", None)
        return Answer(
            f"refused (HTTP {response.status_code}" + (f", reason 0x{reason:04X})" if isinstance(reason, int) else ")")
        )
    for item in answer.get("ReferencedSOPSequence") or ():
        if word(item, "ReferencedSOPInstanceUID") == uid:
            warning = item.get("WarningReason", None)
            return Answer(remark=f"stored with warning 0x{warning:04X}" if isinstance(warning, int) else "")
    if response.status_code == 409:
        return Answer("refused (HTTP 409)")
    return Answer(remark="the peer did not say that it stored it")


def _meaning(response: requests.Response | None) -> str:
    if response is None:
        return "no answer: try again"
    said = f"HTTP {response.status_code} {response.reason}"
    if response.status_code == 401:
        return f"{said}: user, password or token are missing or wrong (TUMORTWIN_PASSWORD, TUMORTWIN_TOKEN)"
    if response.status_code == 403:
        return f"{said}: this user may not do that: ask the server's keepers for the right"
    if response.status_code in (400, 404, 405, 406):
        return f"{said}: no such DICOMweb service there: check the path of the address (Orthanc's is /dicom-web)"
    if response.status_code == 413:
        return f"{said}: a file is larger than the server takes: ask its keepers"
    if response.status_code >= 500:
        return f"{said}: the server failed: try again, or ask its keepers"
    return f"{said}: try again, or ask the server's keepers"


def _cause(error: BaseException) -> str:
    """Return the message of the innermost exception: the layers around it repeat themselves."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in seen.args if isinstance(a, BaseException)), None)
        if inner is None:
            return str(seen) or type(seen).__name__
        seen = inner
