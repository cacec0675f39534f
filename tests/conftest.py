"""What every test shares: numpy errors raise, the sample patient, and one run of the whole road on it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
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
