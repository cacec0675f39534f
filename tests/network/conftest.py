"""Real peers on loopback: Orthanc servers with ports, storage and certificates of their own, and a small patient."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.network import DicomWeb, DimsePeer
from tumortwin.phantom.dicom import write_patient
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import Encoding, SyntheticPatient, SyntheticSeries, SyntheticVisit
from tumortwin.therapy import Fraction, weekday_times

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def needed(*programs: str) -> None:
    """Skip on a developer's machine that lacks a program; in CI that is a failure."""
    missing = [p for p in programs if shutil.which(p) is None]
    if "Orthanc" in programs and not PLUGIN.exists():
        missing.append(str(PLUGIN))
    if missing:
        say = f"{', '.join(missing)} not installed: apt-get install orthanc orthanc-dicomweb dcmtk openssl"
        if os.environ.get("CI"):
            pytest.fail(say)
        pytest.skip(say)


@pytest.fixture(scope="session", name="needed")
def needed_fixture() -> Callable[..., None]:
    return needed


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    process: subprocess.Popen[bytes]
    http_port: int
    dicom_port: int
    move_port: int
    scheme: str

    def web(self, **settings: Any) -> DicomWeb:
        return DicomWeb(f"{self.scheme}://localhost:{self.http_port}/dicom-web", **settings)

    def dimse(self, **settings: Any) -> DimsePeer:
        return DimsePeer("localhost", self.dicom_port, **({"called_ae": "ORTHANC"} | settings))

    def rest(self, path: str, method: str = "GET", **extra: Any) -> Any:
        """Orthanc's own interface: a look into the server that does not go through what is tested."""
        answer = requests.request(method, f"http://localhost:{self.http_port}/{path}", timeout=30, **extra)
        answer.raise_for_status()
        return answer

    def empty(self) -> None:
        for patient in self.rest("patients").json():
            self.rest(f"patients/{patient}", "DELETE")


@contextmanager
def running_orthanc(folder: Path, **changes: Any) -> Iterator[Orthanc]:
    """Start a server on free ports, with its storage in a folder, and end it."""
    needed("Orthanc")
    http, dicom, move = free_port(), free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)], "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True, "AuthenticationEnabled": False, "RemoteAccessAllowed": False,
        "DicomAlwaysAllowFind": False, "DicomAlwaysAllowGet": False, "DicomAlwaysAllowMove": False,
        "DicomModalities": {"tt": ["TUMORTWIN", "127.0.0.1", move]}, "DicomServerEnabled": True,
        "SslEnabled": False, "StableAge": 1, "LoadPrivateDictionary": True, "OrthancExplorerEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    } | changes  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        scheme = "https" if settings["SslEnabled"] else "http"
        end = time.monotonic() + 60
        for port in (http, dicom):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > end:
                        raise AssertionError((folder / "orthanc.log").read_text()) from None
                    time.sleep(0.05)
        yield Orthanc(process, http, dicom, move, scheme)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(server: Orthanc) -> Orthanc:
    """A server without patients."""
    server.empty()
    return server


@dataclass(frozen=True)
class Certificates:
    """An authority, a server's and a client's certificate, with their keys."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger_ca: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    needed("openssl")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def make_authority(name: str) -> None:
        openssl(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )

    make_authority("ca")
    make_authority("stranger")
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost\n")
        openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            f"{name}.ext",
            "-out",
            f"{name}.pem",
        )
    return Certificates(
        folder / "ca.pem",
        folder / "server.pem",
        folder / "server.key",
        folder / "client.pem",
        folder / "client.key",
        folder / "stranger.pem",
    )


@pytest.fixture(scope="session")
def patient_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two visits in three encodings, an expert's SEG, RTSTRUCT, RTPLAN, RTDOSE and treatment records."""
    grids = [Grid.regular((8, 24, 20), (4.0, 2.0, 2.0), (-19, -23, -14), f"1.2.826.0.1.{k}") for k in (1, 2)]
    rng = np.random.default_rng(0)
    z, y, x = np.indices((8, 24, 20))
    r = np.sqrt((4.0 * z - 14) ** 2 + (2.0 * y - 23) ** 2 + (2.0 * x - 19) ** 2)

    def series(sequence: MRSequence, grid: Grid, name: str, encoding: Encoding) -> SyntheticSeries:
        unit, scale = ("mm^2/s", 1e-3) if sequence is MRSequence.ADC else ("a.u.", 900)
        array = (scale * (0.5 + rng.random(grid.shape))).astype(np.float32)
        return SyntheticSeries(sequence, Volume(array, grid, unit), name, encoding)

    kinds = ((MRSequence.T1GD, "t1_mprage_tra_KM", Encoding.JPEG_LS), (MRSequence.FLAIR, "t2_flair_tra", Encoding.RLE),
             (MRSequence.ADC, "ep2d_diff_ADC", Encoding.PLAIN))  # fmt: skip
    day = datetime(2024, 1, 8, 9, 30)
    visits = tuple(
        SyntheticVisit(day + timedelta(days=21 * k), label, tuple(series(s, grids[k], n, e) for s, n, e in kinds),
                       {"enhancing": Mask(r < 8, grids[k], name="enhancing")})
        for k, label in enumerate(("diagnosis", "planning"))
    )  # fmt: skip
    dose = TotalDose((60 / (1 + np.exp((r - 14) / 2))).astype(np.float32), grids[1], name="plan")
    times = weekday_times(datetime(2024, 2, 5, 11, 15), 30)
    treatments = tuple(Fraction(t, dose.per_fraction(30), "record") for t in times)
    structures = {"PTV": Mask(r < 12, grids[1], name="PTV")}
    synthetic = SyntheticPatient("TT-NET", 5, visits, 1, structures, dose, 60.0, treatments, {}, {}, {})
    folder = write_patient(synthetic, tmp_path_factory.mktemp("patients"))
    (folder / "clinical.json").unlink()  # what DICOM does not carry does not travel
    return folder


@pytest.fixture
def orthanc_with_patient(orthanc: Orthanc, patient_folder: Path) -> Orthanc:
    """The patient, brought in by Orthanc's own interface."""
    for path in sorted(patient_folder.rglob("*.dcm")):
        orthanc.rest("instances", "POST", data=path.read_bytes())
    return orthanc


@pytest.fixture(scope="session")
def start_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Starts a server of other settings."""

    def start(**changes: Any) -> Any:
        return running_orthanc(tmp_path_factory.mktemp("orthanc"), **changes)

    return start


@pytest.fixture(scope="session")
def image_series() -> Callable[..., list[Path]]:
    """Writes a T1Gd series of 5 planes."""

    def write(folder: Path, encoding: Encoding = Encoding.PLAIN) -> list[Path]:
        shape = (5, 16, 12)
        when = datetime(2024, 1, 23, 9, 30)
        study = item(
            SpecificCharacterSet="ISO_IR 192", PatientName="Phantom^TT-0001", PatientID="TT-0001", PatientBirthDate="",
            PatientSex="F", StudyInstanceUID=hashed_uid("study"), ReferringPhysicianName="", AccessionNumber="",
            StudyID="1", StudyDescription="Synthetic",
        )  # fmt: skip
        stamp(study, when, "Study")
        signal = np.random.default_rng(1).random(shape, np.float32)
        volume = Volume(signal, Grid.regular(shape, (4.0, 1.5, 1.25), (-20, -31, 18), hashed_uid("frame")), "a.u.")
        series = SyntheticSeries(MRSequence.T1GD, volume, "t1_mprage_tra_KM", encoding)
        return write_series(series, study, hashed_uid("series", encoding), 2, when, 1.0, folder)

    return write
