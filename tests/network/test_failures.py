"""What goes wrong between us and a real server: said with its remedy, and nothing half-written."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tumortwin.errors import Cancelled, InputError, NetworkError
from tumortwin.network import DicomWeb, DimsePeer, Tls, echo, find_series, pull_patient, push
from tumortwin.progress import CancelToken

ID = "TT-NET"


def left_whole(folder: Path) -> list[Path]:
    """The files of a broken pull: every one must be whole, and no other must be there."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    for path in files:
        assert path.suffix == ".dcm"
        assert not path.name.startswith(".")
        data = pydicom.dcmread(path)
        assert data.PatientID == ID
        assert len(data) > 10
        if "PixelData" in data:
            assert data.pixel_array.size
    return files


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# Addresses and names


@pytest.mark.parametrize("peer", [
    DicomWeb(f"http://127.0.0.1:{free_port()}/dicom-web"), DimsePeer("127.0.0.1", free_port(), "ORTHANC"),
    DimsePeer("127.0.0.1", free_port(), "ORTHANC", move_port=free_port()),
    DimsePeer("127.0.0.1", free_port(), "ORTHANC", tls=Tls()),
], ids=["web", "dimse", "dimse, move", "dimse, tls"])  # fmt: skip
def test_a_port_where_nothing_listens(peer: Any, tmp_path: Path):
    for ask in (lambda: echo(peer), lambda: pull_patient(peer, ID, tmp_path / "in")):
        with pytest.raises(NetworkError, match=r"cannot be reached.*refused.*check"):
            ask()
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("make", [
    lambda h: DicomWeb(f"http://{h}/dicom-web", timeout=5), lambda h: DimsePeer(h, 104, "ORTHANC", timeout=5),
])  # fmt: skip
def test_a_host_that_does_not_exist(make: Callable[[str], Any]):
    with pytest.raises(NetworkError, match="cannot be reached"):
        echo(make("nowhere.invalid"))


def test_the_dicom_port_is_not_the_web_port_nor_the_reverse(server: Any):
    with pytest.raises(NetworkError, match="cannot be reached, or broke off"):
        echo(DicomWeb(f"http://localhost:{server.dicom_port}/dicom-web", timeout=5))
    with pytest.raises(NetworkError, match="does not speak DICOM with us: check the port"):
        echo(DimsePeer("localhost", server.http_port, "ORTHANC", timeout=2))


def test_a_wrong_path(server: Any):
    with pytest.raises(NetworkError, match=r"HTTP 404.*check the path.*/dicom-web"):
        echo(DicomWeb(f"http://localhost:{server.http_port}/dicomweb"))


def test_a_wrong_called_title(server: Any):
    with pytest.raises(NetworkError, match=r"rejected.*called AE title \(SOMEONE\)"):
        echo(server.dimse(called_ae="SOMEONE"))


def test_a_calling_title_that_the_peer_does_not_know(server: Any):
    stranger = server.dimse(calling_ae="STRANGER")
    with pytest.raises(NetworkError, match="STRANGER"):
        find_series(stranger, ID)


def test_a_move_to_a_title_that_the_peer_does_not_know(start_orthanc: Any, patient_folder: Path, tmp_path: Path):
    with start_orthanc(DicomAlwaysAllowFind=True, DicomAlwaysAllowMove=True, DicomModalities={}) as orthanc:
        some = sorted(patient_folder.rglob("*.dcm"))[:2]
        push(some, orthanc.web())
        with pytest.raises(NetworkError, match="C-MOVE failed"):
            pull_patient(orthanc.dimse(move_port=orthanc.move_port), ID, tmp_path / "in")
        # C-GET is not allowed to strangers there
        with pytest.raises(NetworkError, match=r"does not offer|offers no C-GET|C-GET failed|the peer ended it"):
            pull_patient(orthanc.dimse(), ID, tmp_path / "in")
    assert left_whole(tmp_path) == []


def test_a_move_port_that_is_taken(orthanc_with_patient: Any, tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        peer = orthanc_with_patient.dimse(move_port=taken.getsockname()[1])
        with pytest.raises(NetworkError, match=r"cannot listen on 127\.0\.0\.1 port"):
            pull_patient(peer, ID, tmp_path / "in")


# Patients


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_patient_that_is_not_there(orthanc_with_patient: Any, way: str, tmp_path: Path):
    peer = getattr(orthanc_with_patient, way)()
    with pytest.raises(NetworkError, match=r"no patient 'TT-NE'.*letter by letter"):
        pull_patient(peer, "TT-NE", tmp_path / "in")
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_server_without_patients(orthanc: Any, way: str, tmp_path: Path):
    with pytest.raises(NetworkError, match="no patient"):
        pull_patient(getattr(orthanc, way)(), ID, tmp_path / "in")


@pytest.mark.parametrize("way", ["web", "dimse"])
@pytest.mark.parametrize("wild", ["*", "TT-*", "TT-N?T", "", " ", "A\\B", "a\nb", "x" * 65])
def test_more_than_one_patient_is_not_asked_for(orthanc_with_patient: Any, way: str, wild: str, tmp_path: Path):
    with pytest.raises(InputError, match="without wildcards"):
        pull_patient(getattr(orthanc_with_patient, way)(), wild, tmp_path / "in")


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_folder_of_another_patient(orthanc_with_patient: Any, way: str, image_series: Any, tmp_path: Path):
    push(image_series(tmp_path / "source"), orthanc_with_patient.web())
    pull_patient(getattr(orthanc_with_patient, way)(), "TT-0001", tmp_path / "in")
    with pytest.raises(InputError, match="files of patient 'TT-0001'"):
        pull_patient(getattr(orthanc_with_patient, way)(), ID, tmp_path / "in")


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_patient_that_loses_an_instance_meanwhile(orthanc_with_patient: Any, way: str, tmp_path: Path):
    """Listed, and gone when it is asked for: the others come, the error names it."""
    peer = getattr(orthanc_with_patient, way)()
    doomed = []

    def delete_one(done: int, total: int, what: str) -> None:
        if what == "pulling" and not doomed:
            one = next(i for i in orthanc_with_patient.rest("instances?expand").json()
                       if i["MainDicomTags"]["SOPInstanceUID"] not in {p.stem for p in tmp_path.rglob("*.dcm")}
                       and i["ParentSeries"] in with_many)  # fmt: skip
            doomed.append(one["MainDicomTags"]["SOPInstanceUID"])
            orthanc_with_patient.rest(f"instances/{one['ID']}", "DELETE")

    series = orthanc_with_patient.rest("series?expand").json()
    first = find_series(peer, ID)[0].series_uid
    with_many = [s["ID"] for s in series
                 if len(s["Instances"]) > 1 and s["MainDicomTags"]["SeriesInstanceUID"] != first]  # fmt: skip
    with pytest.raises(NetworkError, match="82 of 83 files are whole") as failure:
        pull_patient(peer, ID, tmp_path / "in", progress=delete_one)
    assert doomed[0] in str(failure.value)
    assert len(left_whole(tmp_path / "in")) == 82


# The line


def hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # it may be gone already
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def frail_line(port: int, cut_after: int) -> Iterator[int]:
    """A line on loopback to a port, that is cut once so many bytes came back over it, all connections together."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = {"left": cut_after}
    lock = threading.Lock()
    open_ends: list[socket.socket] = []

    def carry(source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(4096):
                if counted:
                    with lock:
                        data = data[: max(state["left"], 0)]
                        state["left"] -= len(data)
                        cut = state["left"] <= 0
                    target.sendall(data)
                    if cut:
                        break
                else:
                    target.sendall(data)
        except OSError:
            pass  # the other end is gone: that is what this line is for
        for end in (source, target):
            hang_up(end)

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            if state["left"] <= 0:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", port))
            open_ends.extend((near, far))
            threading.Thread(target=carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=carry, args=(far, near, True), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for end in open_ends:
            hang_up(end)
            end.close()


@pytest.mark.parametrize("way", ["web", "dimse"])
@pytest.mark.parametrize("cut_after", [61_111, 75_000, 90_007])
def test_a_line_that_breaks_halfway(orthanc_with_patient: Any, way: str, cut_after: int, tmp_path: Path):
    whole = getattr(orthanc_with_patient, way)(timeout=5)
    with frail_line(whole.port if way == "dimse" else orthanc_with_patient.http_port, cut_after) as port:
        frail = (DimsePeer("localhost", port, "ORTHANC", timeout=5) if way == "dimse"
                 else DicomWeb(f"http://localhost:{port}/dicom-web", timeout=5))  # fmt: skip
        with pytest.raises(NetworkError, match=r"(connection broke|broke off|cannot be reached)") as failure:
            pull_patient(frail, ID, tmp_path / "in")
    here = left_whole(tmp_path / "in")
    assert 0 < len(here) < 83
    assert f"{len(here)} of 83 files are whole" in str(failure.value)
    rest = pull_patient(whole, ID, tmp_path / "in")
    assert (len(rest.received), len(rest.kept)) == (83 - len(here), len(here))
    assert len(left_whole(tmp_path / "in")) == 83


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_line_that_breaks_while_sending(orthanc: Any, way: str, patient_folder: Path):
    with frail_line(orthanc.dicom_port if way == "dimse" else orthanc.http_port, 3000) as port:
        frail = (DimsePeer("localhost", port, "ORTHANC", timeout=5) if way == "dimse"
                 else DicomWeb(f"http://localhost:{port}/dicom-web", timeout=5))  # fmt: skip
        with pytest.raises(NetworkError, match=r"\d+ of 83 files were sent"):
            push(patient_folder, frail)


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_a_peer_that_says_nothing(way: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        peer = (DimsePeer("127.0.0.1", port, "ORTHANC", timeout=0.5) if way == "dimse"
                else DicomWeb(f"http://127.0.0.1:{port}/dicom-web", timeout=0.5))  # fmt: skip
        with pytest.raises(NetworkError, match=r"no answer within 0.5 s|does not speak DICOM"):
            echo(peer)


@pytest.mark.parametrize("way", ["get", "move"])
def test_a_peer_that_falls_silent_in_the_middle(start_orthanc: Any, patient_folder: Path, tmp_path: Path, way: str):
    """The server's process is stopped: nothing is closed, nothing comes."""
    import signal

    with start_orthanc() as orthanc:
        push(patient_folder, orthanc.web())
        peer = orthanc.dimse(timeout=2, move_port=orthanc.move_port if way == "move" else None)

        def stop_at_ten(done: int, total: int, what: str) -> None:
            if (what, done) == ("pulling", 10):
                orthanc.process.send_signal(signal.SIGSTOP)

        try:
            with pytest.raises(NetworkError, match=r"nothing came for 2 s(.|\n)*1\d of 83 files are whole"):
                pull_patient(peer, ID, tmp_path / "in", progress=stop_at_ten)
        finally:
            orthanc.process.send_signal(signal.SIGCONT)
    assert 10 <= len(left_whole(tmp_path / "in")) < 20


@pytest.mark.parametrize("way", ["web", "get", "move"])
def test_cancelling_keeps_what_came(orthanc_with_patient: Any, way: str, tmp_path: Path):
    o = orthanc_with_patient
    peer = {"web": o.web(), "get": o.dimse(), "move": o.dimse(move_port=o.move_port)}[way]
    token = CancelToken(lambda done, total, what: token.cancel() if (what, done) == ("pulling", 20) else None)
    with pytest.raises(Cancelled, match="cancelled during pulling"):
        pull_patient(peer, ID, tmp_path / "in", progress=token)
    came = len(left_whole(tmp_path / "in"))
    assert 20 <= came <= 21
    assert len(pull_patient(peer, ID, tmp_path / "in").received) == 83 - came


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_cancelling_a_push(orthanc: Any, way: str, patient_folder: Path):
    token = CancelToken(lambda done, total, what: token.cancel() if done == 5 else None)
    with pytest.raises(Cancelled, match="6 of 83 files were sent"):
        push(patient_folder, getattr(orthanc, way)(), progress=token)
    assert len(orthanc.rest("instances").json()) == 6


@pytest.mark.parametrize("way", ["web", "get", "move"])
def test_a_place_that_cannot_be_written(orthanc_with_patient: Any, way: str):
    o = orthanc_with_patient
    peer = {"web": o.web(), "get": o.dimse(), "move": o.dimse(move_port=o.move_port)}[way]
    with pytest.raises(OSError, match="/proc/nowhere"):
        pull_patient(peer, ID, "/proc/nowhere")
