"""A grid as DICOM writes it: parallel planes, each with a position, rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid
from tumortwin.imaging.writing.header import decimal

TOLERANCE_MM = 0.01


@dataclass(frozen=True, eq=False)
class Planes:
    """The planes of a grid, one for each z index.

    Parameters
    ----------
    orientation : (6,) array
        Unit vectors along a row (to the next column) and along a column (to the next row), LPS.
    positions : (n, 3) array
        Center of each plane's first voxel in LPS mm.
    pixel_spacing : tuple of float
        Distance between rows and between columns in mm.
    spacing : float
        Distance between planes in mm.
    rising : bool
        Whether the planes follow each other along row x column.
    """

    orientation: NDArray[np.float64]
    positions: NDArray[np.float64]
    pixel_spacing: tuple[float, float]
    spacing: float
    rising: bool

    def write(self, dataset: Dataset, plane: int) -> None:
        """Set the Image Plane attributes of one plane, slice thickness included."""
        dataset.ImageOrientationPatient = [decimal(v) for v in self.orientation]
        dataset.ImagePositionPatient = [decimal(v) for v in self.positions[plane]]
        dataset.PixelSpacing = [decimal(v) for v in self.pixel_spacing]
        dataset.SliceThickness = decimal(self.spacing)


def planes_of(grid: Grid) -> Planes:
    """Compute the planes of a grid.

    Raises
    ------
    InputError
        If the grid is sheared: DICOM volumes have right angles.
    """
    dz, dy, dx = grid.spacing
    axes = grid.affine[:3, :3] / (dz, dy, dx)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        raise InputError(f"the grid's axes are not at right angles: resample it on one that has them ({grid!r})")
    row, column = axes[:, 2], axes[:, 1]
    positions = grid.to_world([(z, 0, 0) for z in range(grid.shape[0])])
    rising = bool(np.cross(row, column) @ axes[:, 0] > 0)
    return Planes(np.concatenate([row, column]), positions, (dy, dx), dz, rising)


def images_of_planes(grid: Grid, headers: Sequence[Dataset]) -> list[tuple[Dataset, int | None]]:
    """Find the image, and frame number if it has several, that shows each plane of a grid.

    Raises
    ------
    InputError
        If a plane has no image, or image and grid differ in size, spacing, orientation or frame of reference.
    """
    planes = planes_of(grid)
    first = headers[0]
    if grid.frame != first.get("FrameOfReferenceUID"):
        raise InputError(
            f"the grid is in frame of reference {grid.frame}, the images in "
            f"{first.get('FrameOfReferenceUID')}: resample onto the images' grid first"
        )
    if grid.shape[1:] != (first.Rows, first.Columns):
        raise InputError(
            f"the grid has planes of {grid.shape[1:]} (rows, columns), the images "
            f"{(first.Rows, first.Columns)}: resample onto the images' grid first"
        )
    frames = [frame for header in headers for frame in _frames(header)]
    positions = np.array([position for *_, position, _ in frames])
    found: list[tuple[Dataset, int | None]] = []
    extent = planes.orientation * np.repeat(planes.pixel_spacing[::-1], 3) * np.repeat([first.Columns, first.Rows], 3)
    for plane, corner in enumerate(planes.positions):
        distance = np.linalg.norm(positions - corner, axis=1)
        header, number, _, vectors = frames[int(distance.argmin())]
        sides = vectors * np.repeat([first.Columns, first.Rows], 3)
        if distance.min() > TOLERANCE_MM or np.abs(sides - extent).max() > TOLERANCE_MM:
            raise InputError(
                f"plane {plane} at {np.round(corner, 2)} mm is none of the {len(frames)} source images: "
                "give all images of the series and resample onto their grid first"
            )
        found.append((header, number))
    return found


def _frames(header: Dataset) -> list[tuple[Dataset, int | None, NDArray[np.float64], NDArray[np.float64]]]:
    """Header, frame number, position, and the two in-plane voxel edges (6,) of each frame of an instance."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [(header, None, *_plane(header, header, header))]
    shared = header.SharedFunctionalGroupsSequence[0]
    return [
        (
            header,
            number,
            *_plane(
                *(
                    (group if name in group else shared)[name][0]
                    for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
                )
            ),
        )
        for number, group in enumerate(header.PerFrameFunctionalGroupsSequence, 1)
    ]


def _plane(
    position: Dataset, orientation: Dataset, measures: Dataset
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = (float(v) for v in measures.PixelSpacing)
    vectors = np.array(orientation.ImageOrientationPatient, float) * np.repeat([columns, rows], 3)
    return np.array(position.ImagePositionPatient, float), vectors
