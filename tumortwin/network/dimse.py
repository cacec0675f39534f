"""The DIMSE side: C-ECHO, C-FIND, C-GET or C-MOVE, C-STORE, by pynetdicom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from tumortwin.errors import InputError, NetworkError
from tumortwin.network.association import BROKEN, Contexts, Watch, associate
from tumortwin.network.landing import Landing
from tumortwin.network.peers import DimsePeer
from tumortwin.network.reception import Reception, listening
from tumortwin.network.remote import MISSING_EXTRA, Answer, Outgoing, RemoteInstance
from tumortwin.network.syntaxes import decodable

try:
    from pynetdicom import AE, _config, build_role, evt
    from pynetdicom.association import Association
    from pynetdicom.sop_class import (  # type: ignore[attr-defined]
        StudyRootQueryRetrieveInformationModelFind as FIND,
    )
    from pynetdicom.sop_class import (  # type: ignore[attr-defined]
        StudyRootQueryRetrieveInformationModelGet as GET,
    )
    from pynetdicom.sop_class import (  # type: ignore[attr-defined]
        StudyRootQueryRetrieveInformationModelMove as MOVE,
    )
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
    from pynetdicom.status import code_to_category
except ImportError as error:
    raise InputError(MISSING_EXTRA) from error

AT_ONCE = 50
"""Instances asked for in one request."""

_CONTEXTS = 126
"""Presentation contexts of one association besides the query's: identifiers are odd bytes."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_USUAL = tuple(
    _STORAGE + n
    for n in ("2", "2.1", "4", "4.1", "4.2", "7", "30", "66.1", "66.4", "66.7", "88.33", "104.1", "128", "130",
              "481.2", "481.3", "481.4", "481.5")
)  # fmt: skip
"""Asked for where a peer does not say what a series is made of: what the reader knows, and what lies beside it."""

_STATUS = {
    0x0117: "invalid instance",
    0x0122: "this kind of object is not supported",
    0x0124: "not authorized",
    0xA701: "out of resources",
    0xA702: "out of resources",
    0xA801: "our AE title is unknown to the peer as a destination: let its keepers enter it with address and port",
    0xA900: "the data do not match what they say they are",
    0xFE00: "cancelled by the peer",
}


class DimseLink:
    """A way to a DIMSE peer: an association for every question."""

    def __init__(self, peer: DimsePeer) -> None:
        self._peer = peer
        self._ae = AE(peer.calling_ae)
        self._ae.connection_timeout = self._ae.acse_timeout = self._ae.network_timeout = peer.timeout
        self._ae.dimse_timeout = None  # the watch takes its part
        self._watch = Watch(peer.timeout)
        self._open = ExitStack()
        self._reception: Reception | None = None

    def __enter__(self) -> DimseLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        self._ae.shutdown()

    def echo(self) -> None:
        """C-ECHO."""
        with self._associate([(Verification, None)]) as association:
            self._expect_success(association.send_c_echo(), "C-ECHO")

    def find_studies(self, patient_id: str) -> list[Dataset]:
        """Find the studies of a patient."""
        query = _query("STUDY", "PatientName", "IssuerOfPatientID", "StudyInstanceUID", "StudyDate", "StudyDescription")
        if not patient_id.isascii():
            query.SpecificCharacterSet = "ISO_IR 192"
        query.PatientID = patient_id
        return self._find(query)

    def find_series(self, study_uid: str) -> list[Dataset]:
        """Find the series of a study."""
        query = _query("SERIES", "SeriesInstanceUID", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances")
        query.StudyInstanceUID = study_uid
        return self._find(query)

    def find_instances(self, study_uid: str, series_uid: str) -> list[Dataset]:
        """Find the instances of a series."""
        query = _query("IMAGE", "SOPInstanceUID", "SOPClassUID")
        query.StudyInstanceUID, query.SeriesInstanceUID = study_uid, series_uid
        return self._find(query)

    def fetch(self, instances: Sequence[RemoteInstance], landing: Landing) -> dict[str, Answer]:
        """Let instances of one series land, by C-GET or C-MOVE, as they are stored where we can decode that."""
        reception = Reception(instances, landing)
        known = sorted({i.sop_class for i in instances if i.sop_class})
        # a context for each encoding: the peer can then choose that of each instance, and need not decompress
        contexts = [(UID(c), [s]) for c in known for s in decodable()]
        if not all(i.sop_class for i in instances):
            contexts += [(UID(c), list(decodable())) for c in _USUAL if c not in known]
        if self._peer.move_port is None:
            self._get(instances, reception, contexts[:_CONTEXTS])
        else:
            self._move(instances, reception, self._peer.move_port)
        return reception.answers()

    def store(self, files: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, Answer]]:
        """Send files by C-STORE, as they are where the peer takes them so, else uncompressed."""
        for batch, pairs in _batches(files):
            with self._associate([(UID(c), [s]) for c, s in pairs]) as association:
                for number, file in enumerate(batch):
                    yield file, self._store_one(association, file, number % 65535 + 1)

    def _store_one(self, association: Association, file: Outgoing, message: int) -> Answer:
        accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts if c.as_scu}
        syntax = UID(file.transfer_syntax)
        remark = ""
        if (file.sop_class, syntax) in accepted:
            with _from_disk():
                status = association.send_c_store(file.path, message)
        elif (file.sop_class, ImplicitVRLittleEndian) in accepted:
            data = pydicom.dcmread(file.path)
            if syntax.is_encapsulated:
                if syntax not in decodable():
                    return Answer(
                        f"the peer takes no {syntax.name}, and it cannot be decompressed here: pip install "
                        "'tumortwin[codecs]'"
                    )
                data.decompress(generate_instance_uid=False)
                remark = f"sent uncompressed: the peer takes no {syntax.name}"
            status = association.send_c_store(data, message)
        elif not association.is_established:
            raise NetworkError(f"{self._peer}: {BROKEN}")
        else:
            return Answer(f"the peer takes no {UID(file.sop_class).name}: ask its keepers to allow it")
        if "Status" not in status:
            raise NetworkError(f"{self._peer}: {BROKEN}")
        kind = code_to_category(status.Status)
        if kind == "Warning":
            return Answer(remark=f"stored with a warning ({_meaning(status)})")
        return Answer(remark=remark) if kind == "Success" else Answer(f"refused ({_meaning(status)})")

    def _find(self, query: Dataset) -> list[Dataset]:
        with self._associate([(FIND, None)]) as association:
            answers = list(association.send_c_find(query, FIND))
            self._expect_success(answers[-1][0], "C-FIND")
        return [row for _, row in answers if row is not None]

    def _get(
        self, instances: Sequence[RemoteInstance], reception: Reception, contexts: list[tuple[UID, list[str]]]
    ) -> None:
        roles = [build_role(c, scp_role=True) for c in dict.fromkeys(c for c, _ in contexts)]
        offered = [(GET, None), *contexts]
        handlers = [(evt.EVT_C_STORE, reception.receive)]
        with self._associate(offered, roles=roles, handlers=handlers) as association:
            if GET not in {c.abstract_syntax for c in association.accepted_contexts}:
                raise NetworkError(
                    f"{self._peer}: the peer offers no C-GET to {self._peer.calling_ae}: ask its keepers to allow it, "
                    "or fetch by C-MOVE (move_port, --move-port)"
                )
            self._ask(lambda request: association.send_c_get(request, GET), instances, reception, "C-GET")

    def _move(self, instances: Sequence[RemoteInstance], reception: Reception, port: int) -> None:
        if self._reception is None:
            self._open.enter_context(listening(self._peer, port, self._receive, self._watch))
        self._reception = reception
        with self._associate([(MOVE, None)]) as association:
            title = self._peer.calling_ae
            self._ask(lambda request: association.send_c_move(request, title, MOVE), instances, reception, "C-MOVE")

    def _receive(self, event: evt.Event) -> int:
        return 0x0117 if self._reception is None else self._reception.receive(event)

    def _associate(self, contexts: Contexts, **more: Any) -> AbstractContextManager[Association]:
        return associate(self._ae, self._peer, contexts, self._watch, **more)

    def _ask(
        self,
        send: Callable[[Dataset], Iterator[tuple[Dataset, Dataset | None]]],
        instances: Sequence[RemoteInstance],
        reception: Reception,
        what: str,
    ) -> None:
        """Ask for some instances at a time, and one by one where a peer refuses them together."""
        for start in range(0, len(instances), AT_ONCE):
            some = instances[start : start + AT_ONCE]
            last = self._follow(send(_request(some)), reception)
            if code_to_category(last.Status) == "Failure" and len(some) > 1:
                for one in some:
                    if one.uid not in reception.landed:
                        last = self._follow(send(_request([one])), reception)
            if code_to_category(last.Status) == "Failure" and not reception.any_landed:
                self._expect_success(last, what)

    def _follow(self, responses: Iterator[tuple[Dataset, Dataset | None]], reception: Reception) -> Dataset:
        """Wait for the end of a retrieval. What became of each instance is known by what landed."""
        status = Dataset()
        for status, _ in responses:
            if reception.trouble is not None:
                raise reception.trouble
            if "Status" not in status:
                raise NetworkError(f"{self._peer}: {BROKEN}")
            if code_to_category(status.Status) not in ("Success", "Pending"):
                reception.said = f"not sent, {_meaning(status)}"
        return status

    def _expect_success(self, status: Dataset, what: str) -> None:
        if "Status" not in status:
            raise NetworkError(f"{self._peer}: {BROKEN}")
        if status.Status != 0x0000:
            raise NetworkError(
                f"{self._peer}: {what} failed ({_meaning(status)}): ask the peer's keepers whether they allow it to "
                f"{self._peer.calling_ae}"
            )


_SENDING = threading.Lock()


@contextmanager
def _from_disk() -> Iterator[None]:
    """Send a file byte for byte, read as it is sent. pynetdicom knows this as a setting of the whole module only."""
    with _SENDING:
        before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, True
        try:
            yield
        finally:
            _config.STORE_SEND_CHUNKED_DATASET = before


def _batches(files: Sequence[Outgoing]) -> Iterator[tuple[list[Outgoing], list[tuple[str, str]]]]:
    """Files, and the contexts that one association can propose for them: each as it is, and uncompressed."""
    batch: list[Outgoing] = []
    pairs: dict[tuple[str, str], None] = {}
    for file in files:
        own = {(file.sop_class, file.transfer_syntax): None, (file.sop_class, str(ImplicitVRLittleEndian)): None}
        if len(pairs | own) > _CONTEXTS:
            yield batch, list(pairs)
            batch, pairs = [], {}
        pairs |= own
        batch.append(file)
    if batch:
        yield batch, list(pairs)


def _query(level: str, *keywords: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword in keywords:
        setattr(query, keyword, None)
    return query


def _request(some: Sequence[RemoteInstance]) -> Dataset:
    """Build the identifier that requests the retrieval of instances of one series."""
    request = _query("IMAGE")
    request.StudyInstanceUID, request.SeriesInstanceUID = some[0].study_uid, some[0].series_uid
    request.SOPInstanceUID = [i.uid for i in some]
    return request


def _meaning(status: Dataset) -> str:
    said = [_STATUS.get(status.Status, ""), str(status.get("ErrorComment") or "")]
    return ", ".join([f"status 0x{status.Status:04X}", *(s for s in said if s)])
