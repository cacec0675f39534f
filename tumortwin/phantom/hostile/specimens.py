"""Small series of a field whose value tells where it was taken: what hostile series are made of and held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, EnhancedMRImageStorage, MRImageStorage
from scipy.spatial.transform import Rotation

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid
from tumortwin.imaging.writing.header import decimal, hashed_uid, item
from tumortwin.phantom.hostile.encodings import encode

GRADIENT = (7.0, 11.0, 23.0)
"""Of the field along (x, y, z) per mm: a step of one voxel along any axis, either way, changes the value."""
WHEN = datetime(2024, 1, 31, 10, 15)


@dataclass(frozen=True)
class LinearField:
    """``gain (base + gradient . p)`` at a point p in LPS mm: linear interpolation reproduces it exactly."""

    gain: float = 1.0
    base: float = 1500.0
    gradient: tuple[float, float, float] = GRADIENT

    def __call__(self, world: ArrayLike) -> NDArray[np.float64]:
        """Values (...) at points (..., 3)."""
        return self.gain * (self.base + np.asarray(world, float) @ np.array(self.gradient))


class Expected(StrEnum):
    """What a reader should do with a folder."""

    LOADED = "loaded"
    REPAIRED = "repaired"
    REFUSED = "refused"


@dataclass(frozen=True, eq=False)
class Truth:
    """One volume that a right reading of a folder gives.

    Parameters
    ----------
    grid : Grid
        Of the volume; unless `exact`, only the box that was imaged.
    values : LinearField
        What the voxels hold at their places.
    exact : bool
        Whether the voxels must lie where those of `grid` do; not where a reader has to resample.
    tolerance : float
        Of the values.
    holds : (z, y, x) array of bool, optional
        Where `values` hold: not in padding.
    sequence : MRSequence, optional
        What the volume shows.
    date : datetime, optional
        When it was acquired.
    computed : bool
        Whether a reader has to compute it: not asked of converters.
    wanted : bool
        Whether a reader has to give it; else it may leave it out.
    """

    grid: Grid
    values: LinearField
    exact: bool = True
    tolerance: float = 1.02
    holds: NDArray[np.bool_] | None = field(default=None, repr=False)
    sequence: MRSequence | None = None
    date: datetime | None = None
    computed: bool = False
    wanted: bool = True

    def values_off(self, array: NDArray[Any], affine: NDArray[np.float64]) -> float:
        """How far a volume's values are off at the places that its affine gives them; inside the box.

        Parameters
        ----------
        array : (z, y, x) array
        affine : (4, 4) array
            Index (z, y, x) to LPS mm.

        Returns
        -------
        float
            The largest deviation in tolerances. Of all voxels, if none lies in the box.
        """
        index = np.moveaxis(np.indices(array.shape), 0, -1)
        world = index @ affine[:3, :3].T + affine[:3, 3]
        place = self.grid.to_index(world)
        inside = np.all((place > -1e-3) & (place < np.array(self.grid.shape) - 1 + 1e-3), axis=-1, keepdims=False)
        if self.holds is not None:
            nearest = np.clip(np.round(place).astype(int), 0, np.array(self.grid.shape) - 1)
            inside &= self.holds[tuple(np.moveaxis(nearest, -1, 0))]
        if not inside.any():
            inside = np.ones(array.shape, bool)
        off = np.abs(array[inside] - self.values(world[inside])).max()
        return float(off / self.tolerance) if np.isfinite(off) else np.inf

    def geometry_off(self, shape: tuple[int, ...], affine: NDArray[np.float64]) -> float:
        """How far (mm) the corners of a volume are from where they should be, whatever the order of its axes.

        For a truth that is not `exact`: by how much the volume falls short of the box, beyond one voxel.
        """
        corners = _corners(shape) @ affine[:3, :3].T + affine[:3, 3]
        wanted = self.grid.to_world(_corners(self.grid.shape))
        if self.exact:
            if sorted(shape) != sorted(self.grid.shape):
                return np.inf
            apart = np.linalg.norm(corners[:, None] - wanted, axis=-1)
            return float(max(apart.min(axis=0).max(), apart.min(axis=1).max()))
        place = (wanted - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        short = np.maximum(-place, place - (np.array(shape) - 1)).max()
        return float(max(short - 1, 0) * np.linalg.norm(affine[:3, :3], axis=0).max())


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), float).reshape(3, -1).T


@dataclass(frozen=True, eq=False)
class Mutant:
    """A folder with something wrong in it, and what a reader should make of it.

    Parameters
    ----------
    case : str
        The row of the table it belongs to.
    name : str
        Its own.
    files : mapping of str to bytes
        What lies in the folder.
    expected : Expected
        What a reader should do.
    truths : tuple of Truth
        The volumes it should find; empty where nothing can be made of the folder.
    says : str
        What its findings (or its refusal) must contain, not minding case.
    """

    case: str
    name: str
    files: Mapping[str, bytes] = field(repr=False)
    expected: Expected
    truths: tuple[Truth, ...]
    says: str = ""

    def write(self, folder: Path) -> None:
        """Put the files into a folder, which is made."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@dataclass(frozen=True, eq=False)
class Specimen:
    """A series without faults, to be spoiled.

    Parameters
    ----------
    name : str
        For people, e.g. "axial MR".
    grid : Grid
        Where it was taken.
    rng : numpy Generator
        For what is drawn by chance.
    modality : str
        "MR" or "CT".
    values : LinearField
        What it shows.
    slope, intercept : float
        Of the stored values.
    """

    name: str
    grid: Grid
    rng: np.random.Generator
    modality: str = "MR"
    values: LinearField = LinearField()
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def n(self) -> int:
        """Number of slices."""
        return self.grid.shape[0]

    def truth(self, **changes: Any) -> Truth:
        """Describe the result of a correct reading."""
        sequence = MRSequence.CT if self.modality == "CT" else MRSequence.T1
        truth = Truth(self.grid, self.values, tolerance=1.02 * self.slope, sequence=sequence, date=WHEN)
        return replace(truth, **changes)

    def mutant(
        self,
        case: str,
        files: Iterable[Dataset] | Mapping[str, bytes],
        expected: Expected,
        says: str = "",
        truths: Iterable[Truth] | None = None,
        variant: str = "",
    ) -> Mutant:
        """Build a mutant of this specimen; its data sets are written under names in random order."""
        content = files if isinstance(files, Mapping) else self.written(files)
        found = (self.truth(),) if truths is None else tuple(truths)
        if expected is Expected.REFUSED and truths is None:
            found = ()
        return Mutant(case, f"{variant or case}, {self.name}", dict(content), expected, found, says)

    def written(self, data: Iterable[Dataset], **encoding: Any) -> dict[str, bytes]:
        """Encode data sets as the bytes of files; see :func:`tumortwin.phantom.hostile.encodings.encode`."""
        listed = list(data)
        order = self.rng.permutation(len(listed))
        return {f"IM{k:04d}": encode(listed[i], **encoding) for k, i in enumerate(order)}

    def stored(
        self, world: NDArray[np.float64], slope: float | None = None, intercept: float | None = None
    ) -> NDArray[np.int64]:
        """Compute the stored values of the field at world points."""
        slope = self.slope if slope is None else slope
        intercept = self.intercept if intercept is None else intercept
        return np.round((self.values(world) - intercept) / slope).astype(np.int64)

    def world(self, k: float) -> NDArray[np.float64]:
        """World points (rows, columns, 3) of a slice."""
        rows, columns = np.mgrid[: self.grid.shape[1], : self.grid.shape[2]].astype(float)
        return self.grid.to_world(np.stack([np.full(rows.shape, k), rows, columns], axis=-1))

    def slices(self, **changes: Any) -> list[Dataset]:
        """One data set a slice, along the normal.

        Parameters
        ----------
        changes : Any
            Attributes by keyword, the same on all slices; None takes one out.
        """
        return [self.slice(k, **changes) for k in range(self.n)]

    def slice(self, k: float, **changes: Any) -> Dataset:
        """Build the data set of slice k, which may lie between two slices of the grid."""
        data = self.header()
        data.SOPClassUID = CTImageStorage if self.modality == "CT" else MRImageStorage
        data.InstanceNumber = round(k) + 1
        data.ImagePositionPatient = [decimal(v) for v in self.grid.to_world((k, 0, 0))]
        data.ImageOrientationPatient = self._orientation()
        data.PixelSpacing = [decimal(s) for s in self.grid.spacing[1:]]
        data.SliceThickness = decimal(self.grid.spacing[0])
        if self.modality == "CT":
            data.RescaleSlope, data.RescaleIntercept = decimal(self.slope), decimal(self.intercept)
        else:
            data.ScanningSequence, data.RepetitionTime, data.EchoTime = "SE", 500, 10
            if (self.slope, self.intercept) != (1.0, 0.0):
                data.RescaleSlope, data.RescaleIntercept = decimal(self.slope), decimal(self.intercept)
        set_pixels(data, self.stored(self.world(k)))
        change(data, changes)
        data.SOPInstanceUID = hashed_uid(self.name, data.SeriesInstanceUID, k, repr(sorted(changes.items(), key=str)))
        return data

    def header(self) -> Dataset:
        """Build the header that all files of the series share."""
        return item(
            SpecificCharacterSet="ISO_IR 192",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL" if self.modality == "CT" else "M"],
            StudyDate=f"{WHEN:%Y%m%d}",
            SeriesDate=f"{WHEN:%Y%m%d}",
            AcquisitionDate=f"{WHEN:%Y%m%d}",
            StudyTime=f"{WHEN:%H%M%S}",
            SeriesTime=f"{WHEN:%H%M%S}",
            AcquisitionTime=f"{WHEN:%H%M%S}",
            AccessionNumber="",
            Modality=self.modality,
            Manufacturer="tumortwin",
            ReferringPhysicianName="",
            StudyDescription="hostile",
            SeriesDescription="T1 axial" if self.modality == "MR" else "CT head",
            PatientName="Hostile^Series",
            PatientID="H1",
            PatientBirthDate="",
            PatientSex="O",
            StudyInstanceUID=hashed_uid("study"),
            SeriesInstanceUID=hashed_uid("series", self.name),
            StudyID="1",
            SeriesNumber=3,
            AcquisitionNumber=1,
            FrameOfReferenceUID=self.grid.frame,
            PositionReferenceIndicator="",
            PatientPosition="HFS",
        )

    def _orientation(self) -> list[str]:
        affine, spacing = self.grid.affine, self.grid.spacing
        return [decimal(v) for v in (*affine[:3, 2] / spacing[2], *affine[:3, 1] / spacing[1])]

    def enhanced(self, scales: list[tuple[float, float]] | None = None) -> Dataset:
        """Build one multi-frame object of the whole series.

        Parameters
        ----------
        scales : list of (slope, intercept), optional
            One a frame.
        """
        scales = scales or [(self.slope, self.intercept)] * self.n
        data = self.header()
        ct = self.modality == "CT"
        data.SOPClassUID = EnhancedCTImageStorage if ct else EnhancedMRImageStorage
        data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        data.AcquisitionDateTime = f"{WHEN:%Y%m%d%H%M%S}"
        data.InstanceNumber = 1
        set_pixels(data, np.array([self.stored(self.world(k), *s) for k, s in enumerate(scales)]))
        data.NumberOfFrames = self.n
        shared = item(
            PixelMeasuresSequence=[
                item(
                    PixelSpacing=[decimal(s) for s in self.grid.spacing[1:]],
                    SliceThickness=decimal(self.grid.spacing[0]),
                )
            ],
            PlaneOrientationSequence=[item(ImageOrientationPatient=self._orientation())],
        )
        if not ct:
            data.AcquisitionContrast = "T1"
            shared.MRTimingAndRelatedParametersSequence = [item(RepetitionTime="500", FlipAngle="90")]
            shared.MREchoSequence = [item(EffectiveEchoTime=10.0)]
        frame_type = f"{'CT' if ct else 'MR'}ImageFrameTypeSequence"
        shared.update(item(**{frame_type: [item(FrameType=data.ImageType)]}))
        data.SharedFunctionalGroupsSequence = [shared]
        data.PerFrameFunctionalGroupsSequence = [
            item(
                FrameContentSequence=[
                    item(
                        StackID="1",
                        InStackPositionNumber=k + 1,
                        DimensionIndexValues=[1, k + 1],
                        TemporalPositionIndex=1,
                    )
                ],
                PlanePositionSequence=[item(ImagePositionPatient=[decimal(v) for v in self.grid.to_world((k, 0, 0))])],
                PixelValueTransformationSequence=[
                    item(RescaleSlope=decimal(slope), RescaleIntercept=decimal(intercept), RescaleType="US")
                ],
            )
            for k, (slope, intercept) in enumerate(scales)
        ]
        organization = hashed_uid("dimensions")
        data.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
        data.DimensionIndexSequence = [
            item(
                DimensionOrganizationUID=organization, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111
            )
            for pointer in (0x00209056, 0x00209057)
        ]
        data.SOPInstanceUID = hashed_uid(self.name, "enhanced", repr(scales))
        return data


def set_pixels(data: Dataset, stored: NDArray[Any], *, bits: int = 16, signed: bool = False) -> None:
    """Put stored values into a data set: 8 or 16 bits, or 12 in 16."""
    size = 8 if bits == 8 else 16
    dtype = np.dtype(f"<{'i' if signed else 'u'}{size // 8}")
    values = np.asarray(stored).astype(dtype)
    if (values != stored).any():
        raise ValueError(f"values {np.min(stored)} to {np.max(stored)} do not fit {dtype}")
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = values.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit = size, bits, bits - 1
    data.PixelRepresentation = int(signed)
    content = values.tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OW" if size == 16 else "OB"


def change(data: Dataset, changes: Mapping[str, Any]) -> None:
    """Set attributes by keyword; None takes one out."""
    for keyword, value in changes.items():
        if value is None:
            if keyword in data:
                delattr(data, keyword)
        else:
            setattr(data, keyword, value)


def changed(slices: Iterable[Dataset], **changes: Any) -> list[Dataset]:
    """Copy data sets with other attributes."""
    copies = [deepcopy(data) for data in slices]
    for data in copies:
        change(data, changes)
    return copies


def fresh(slices: Iterable[Dataset], *salt: object) -> list[Dataset]:
    """Copy data sets, each with a new SOP Instance UID."""
    copies = [deepcopy(data) for data in slices]
    for data in copies:
        data.SOPInstanceUID = hashed_uid(data.SOPInstanceUID, *salt)
    return copies


def numbered(files: Iterable[Dataset]) -> list[Dataset]:
    """Copy data sets with consecutive instance numbers, as scanners give them."""
    copies = [deepcopy(data) for data in files]
    for number, data in enumerate(copies):
        data.InstanceNumber = number + 1
    return copies


def oblique(grid: Grid, *degrees: float) -> Grid:
    """Rotate the grid about x, y and z in turn around its first voxel."""
    affine = np.array(grid.affine)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    return Grid(grid.shape, affine, grid.frame)


def specimens(rng: np.random.Generator) -> dict[str, Specimen]:
    """Build the series to be spoiled, by name: planes of every kind, MR and CT, pixels that are not square."""
    frame = UID(hashed_uid("frame"))
    shape = (12, 20, 24)
    axial = Grid.regular(shape, (3.0, 1.5, 1.25), (-13.7, -12.2, -15.1), frame)
    # rows to the back and columns to the feet; rows to the left and columns to the feet
    sagittal, coronal = np.array(axial.affine), np.array(axial.affine)
    sagittal[:3, :3] = np.array([[3.0, 0, 0], [0, 0, 1.25], [0, -1.5, 0]])
    sagittal[:3, 3] = (-16.0, -14.0, 13.0)
    coronal[:3, :3] = np.array([[0, 0, 1.25], [3.0, 0, 0], [0, -1.5, 0]])
    coronal[:3, 3] = (-14.0, -17.0, 13.0)
    grids = {
        "axial MR": axial,
        "sagittal MR": Grid(shape, sagittal, frame),
        "coronal MR": Grid(shape, coronal, frame),
        "oblique MR": oblique(axial, 17.0, 0.0, 0.0),
        "double oblique MR": oblique(axial, 17.0, -8.0, 5.0),
        "falling MR": Grid(shape, axial.affine @ np.diag([-1.0, 1, 1, 1]), frame),
    }
    made = {name: Specimen(name, grid, rng) for name, grid in grids.items()}
    square = Grid.regular(shape, (2.5, 0.9, 0.9), (-10.0, -9.0, -14.0), frame)
    made["CT"] = Specimen("CT", square, rng, "CT", LinearField(base=300.0), 1.0, -1024.0)
    return made
