"""Small DICOM series: one written by the phantom to draw on, and others made by pydicom alone."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries

MakeSeries = Callable[..., list[Dataset]]


def _common(grid: Grid, changes: dict[str, Any]) -> Dataset:
    data = Dataset()
    data.SOPClassUID = MRImageStorage
    data.PatientID, data.PatientName = "P1", "Test^One"
    data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.StudyID = data.ReferringPhysicianName = ""
    data.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    data.SeriesInstanceUID = generate_uid()
    data.FrameOfReferenceUID = grid.frame
    data.Modality = "MR"
    data.SeriesDescription = "T1 axial"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = "20240131"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = "101500.5"
    data.ScanningSequence, data.RepetitionTime, data.EchoTime = "SE", 500, 10
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.PixelSpacing = [f"{s:.10g}" for s in grid.spacing[1:]]
    data.ImageOrientationPatient = [
        f"{v:.10f}" for v in (*grid.affine[:3, 2] / grid.spacing[2], *grid.affine[:3, 1] / grid.spacing[1])
    ]
    data.SliceThickness = f"{grid.spacing[0]:.10g}"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    for keyword, value in changes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def save(data: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian, compress: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if compress:
        data.compress(compress, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def grid() -> Grid:
    """6 slices of 8 x 10 pixels, axial, anisotropic."""
    return Grid.regular((6, 8, 10), (3.0, 1.5, 1.25), (-20.5, 7.25, 33.0), frame="1.2.3.4")


@pytest.fixture
def values() -> np.ndarray:
    """Stored values of a series on `grid`."""
    return np.random.default_rng(0).integers(0, 3000, (6, 8, 10)).astype(np.uint16)


@pytest.fixture
def make_series() -> MakeSeries:
    """Writes a classic series: file names in a shuffled order, so that no reader can go by them."""

    def make(
        folder: Path,
        array: np.ndarray,
        grid: Grid,
        *,
        compress: str | None = None,
        syntax: str = ExplicitVRLittleEndian,
        each: Callable[[int, Dataset], bool | None] | None = None,
        **changes: Any,
    ) -> list[Dataset]:
        first = _common(grid, changes)
        made = []
        for k in np.random.default_rng(3).permutation(len(array)):
            data = Dataset()
            data.update(first)
            data.SOPInstanceUID = generate_uid()
            data.InstanceNumber = int(k) + 1
            data.ImagePositionPatient = [f"{v:.10g}" for v in grid.to_world((k, 0, 0))]
            data.Rows, data.Columns = array.shape[1:]
            data.PixelData = array[k].tobytes()
            if each is not None and each(int(k), data) is False:
                continue
            save(data, folder / f"{len(made):03d}.dcm", syntax, compress)
            made.append(data)
        return made

    return make


@pytest.fixture
def save_dicom() -> Callable[..., None]:
    return save


@pytest.fixture(scope="session")
def mr_series() -> Callable[..., list[Path]]:
    """Writes a T1Gd series on a grid; returns its files in the order of the planes."""

    def write(grid: Grid, folder: Path, encoding: Encoding = Encoding.PLAIN) -> list[Path]:
        when = datetime(2024, 1, 23, 9, 30)
        study = item(
            SpecificCharacterSet="ISO_IR 192",
            PatientName="Phantom^TT-0001",
            PatientID="TT-0001",
            PatientBirthDate="",
            PatientSex="F",
            StudyInstanceUID=hashed_uid("study"),
            ReferringPhysicianName="",
            AccessionNumber="",
            StudyID="1",
            StudyDescription="Synthetic",
        )
        stamp(study, when, "Study")
        signal = np.random.default_rng(1).random(grid.shape, np.float32)
        series = SyntheticSeries(MRSequence.T1GD, Volume(signal, grid, "a.u."), "t1_mprage_tra_KM", encoding)
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
def image_files(
    image_grid: Grid, mr_series: Callable[..., list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    return mr_series(image_grid, tmp_path_factory.mktemp("series"))
