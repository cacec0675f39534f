"""A second real peer, of other makers: DCMTK's dcmqrscp, which stores no compressed images as it is started here."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from tumortwin.network import DimsePeer, echo, find_series, pull_patient, push
from tumortwin.phantom.synthetic import Encoding


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, needed: Any) -> Iterator[DimsePeer]:
    needed("dcmqrscp")
    folder, port, move_port = tmp_path_factory.mktemp("dcmqrscp"), free_port(), free_port()
    (folder / "storage").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = (TUMORTWIN, localhost, {move_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {folder / 'storage'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["dcmqrscp", "-c", str(folder / "dcmqrscp.cfg")], stdout=log, stderr=log)
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
    yield DimsePeer("localhost", port, "ARCHIVE", move_port=move_port)
    process.terminate()
    process.wait(20)


@pytest.mark.parametrize("encoding", [Encoding.PLAIN, Encoding.JPEG_LS])
@pytest.mark.parametrize("move", [True, False])
def test_there_and_back(archive: DimsePeer, encoding: Encoding, move: bool, image_series: Any, tmp_path: Path):
    peer = archive if move else DimsePeer(archive.host, archive.port, archive.called_ae)
    echo(peer)
    source = image_series(tmp_path / "source", encoding)
    pushed = push(source, peer)
    assert ("sent uncompressed" in str(pushed)) == (encoding is Encoding.JPEG_LS)
    series = pydicom.dcmread(source[0]).SeriesInstanceUID
    assert series in {s.series_uid for s in find_series(peer, "TT-0001")}
    pulled = pull_patient(peer, "TT-0001", tmp_path / "in", series=[series])
    assert len(pulled.received) == len(source)
    there = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, source)}
    for data in map(pydicom.dcmread, pulled.received):
        before = there[data.SOPInstanceUID]
        np.testing.assert_array_equal(data.pixel_array, before.pixel_array)
        del data.PixelData, before.PixelData
        assert data == before
        assert not data.file_meta.TransferSyntaxUID.is_compressed


def test_a_peer_that_takes_the_default_encoding_only(image_series: Any, tmp_path: Path):
    """As the least that the standard asks of every peer; and one whose list of instances says no SOP class."""
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import (
        MRImageStorage,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    )

    held: dict[str, pydicom.Dataset] = {}

    def store(event: Any) -> int:
        data = event.dataset
        data.file_meta = event.file_meta
        held[data.SOPInstanceUID] = data
        return 0x0000

    def find(event: Any) -> Iterator[Any]:
        keys = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
        key = keys[event.identifier.QueryRetrieveLevel]
        for value in sorted({d[key].value for d in held.values()}):
            row = pydicom.Dataset()
            row.PatientID = "TT-0001"
            setattr(row, key, value)
            yield 0xFF00, row

    def get(event: Any) -> Iterator[Any]:
        asked = event.identifier["SOPInstanceUID"].value
        wanted = [asked] if isinstance(asked, str) else list(asked)
        yield len(wanted)
        for uid in wanted:
            yield 0xFF00, held[uid]

    ae = AE("LEAST")
    ae.add_supported_context(MRImageStorage, ImplicitVRLittleEndian, scu_role=True, scp_role=True)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    port = free_port()
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        peer = DimsePeer("127.0.0.1", port, "LEAST")
        source = image_series(tmp_path / "source", Encoding.RLE)
        pushed = push(source, peer)
        assert str(pushed).count("sent uncompressed") == len(source)
        pulled = pull_patient(peer, "TT-0001", tmp_path / "in")
        before = {d.SOPInstanceUID: d.pixel_array for d in map(pydicom.dcmread, source)}
        assert len(pulled.received) == len(source)
        for data in map(pydicom.dcmread, pulled.received):
            np.testing.assert_array_equal(data.pixel_array, before[data.SOPInstanceUID])
    finally:
        server.shutdown()


def test_an_answer_is_not_taken_by_the_library_s_own_thread(archive: DimsePeer):
    """Else a transfer now and then waits in vain: pynetdicom's thread pauses a moment later than it says."""
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    from tumortwin.network.association import Watch, associate

    answer = object()
    with associate(AE("TUMORTWIN"), archive, [(Verification, None)], Watch(5)) as association:
        association.dimse.msg_queue.put((1, answer))
        time.sleep(0.1)  # a hundred turns of that thread
        assert association.dimse.msg_queue.get(timeout=1)[1] is answer
        assert association.send_c_echo().Status == 0
