"""A hand-made MR series to draw on, and an independent check of DICOM files."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tumortwin.imaging.dicom_header import hashed_uid, item, stamp
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries


@pytest.fixture(scope="session")
def mr_series() -> Callable[..., list[Path]]:
    """Writes a T1Gd series on a grid; returns its files in the order of the planes."""

    def write(grid: Grid, folder: Path, encoding: Encoding = Encoding.PLAIN) -> list[Path]:
        when = datetime(2024, 1, 23, 9, 30)
        study = item(
            SpecificCharacterSet="ISO_IR 192", PatientName="Phantom^TT-0001", PatientID="TT-0001", PatientBirthDate="",
            PatientSex="F", StudyInstanceUID=hashed_uid("study"), ReferringPhysicianName="", AccessionNumber="",
            StudyID="1", StudyDescription="Synthetic",
        )
        stamp(study, when, "Study")
        signal = np.random.default_rng(1).random(grid.shape, np.float32)
        series = SyntheticSeries(Sequence.T1GD, Volume(signal, grid, "a.u."), "t1_mprage_tra_KM", encoding)
        return write_series(series, study, hashed_uid("series", encoding), 2, when, 1.0, folder)

    return write


@pytest.fixture(scope="session", params=["axial", "oblique", "falling"])
def image_grid(request: pytest.FixtureRequest) -> Grid:
    """Axis-aligned; double oblique; and with planes numbered against row x column."""
    grid = Grid.regular((11, 33, 28), (4.0, 1.5, 1.25), (-20.25, -31.7, 18.9), hashed_uid("frame"))
    affine = np.array(grid.affine)
    if request.param == "oblique":
        a, b = np.deg2rad(17), np.deg2rad(-8)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        affine[:3, :3] = about_x @ about_z @ affine[:3, :3]
    if request.param == "falling":
        affine[2, 0] *= -1
    return Grid(grid.shape, affine, grid.frame)


@pytest.fixture(scope="session")
def image_files(image_grid: Grid, mr_series: Callable[..., list[Path]],
                tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return mr_series(image_grid, tmp_path_factory.mktemp("series"))
