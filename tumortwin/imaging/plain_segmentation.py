"""Binary SEGs whose frames are slices of the image they were drawn on, sooner than highdicom; others are left to it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.reading.attributes import items, number, text, value
from tumortwin.imaging.reading.decoding import NATIVE
from tumortwin.imaging.reading.headers import Instance, Plane, planes
from tumortwin.imaging.reading.stacks import axes_of
from tumortwin.imaging.volume import Grid, Mask

OFF_VOXEL = 0.05
"""A pixel may lie this far (in voxels) off the center of its voxel."""
OFF_STEP = 1e-3
"""The step from pixel to pixel may differ by this much (in voxels) from that of the grid."""


def read_plain_segments(instance: Instance, data: Dataset, grid: Grid) -> list[tuple[Mask, str]] | None:
    """The segments of an uncompressed binary SEG, each frame put in its slice of an image, voxel on voxel.

    Parameters
    ----------
    instance, data
        The file.
    grid : Grid
        Of the image.

    Returns
    -------
    list of (Mask, str) or None
        By segment, with the segmented property type. None if anything is unusual: a frame that is no slice of the image
        or of no described segment, two of one segment in one slice, a segment without frames, more or fewer pixels.
    """
    segments = items((data,), "SegmentSequence")
    described = {number((item,), "SegmentNumber") or 0: item for item in segments}
    shape = [number((data,), k) for k in ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")]
    if (
        data.file_meta.TransferSyntaxUID not in NATIVE
        or text((data,), "SegmentationType") != "BINARY"
        or text((data,), "FrameOfReferenceUID") != grid.frame
        or shape != [*grid.shape[1:], 1, 1]
        or len(described) != len(segments)
        or not all(n >= 1 for n in described)
    ):
        return None
    try:
        # without the top level, which says nothing of a single frame
        frames = [replace(plane, sets=plane.sets[:-1]) for plane in planes(replace(instance, data=data))]
        slices = _slices_of(frames, grid)
    except ReadError:
        return None  # highdicom says what is wrong
    shown = [plane.number("ReferencedSegmentNumber") or 0 for plane in frames]
    if slices is None or set(shown) != described.keys():
        return None
    stored, voxels = value((data,), "PixelData"), len(frames) * math.prod(grid.shape[1:])
    places = list(zip(shown, slices, strict=True))
    if len(set(places)) < len(places) or not isinstance(stored, bytes) or not 0 <= 8 * len(stored) - voxels < 16:
        return None
    inside = np.unpackbits(np.frombuffer(stored, np.uint8), count=voxels, bitorder="little").view(bool)
    arrays = {n: np.zeros(grid.shape, bool) for n in described}
    for (n, k), pixels in zip(places, inside.reshape(-1, *grid.shape[1:]), strict=True):
        arrays[n][k] = pixels
    found = []
    for n, item in described.items():
        kind = value(items((item,), "SegmentedPropertyTypeCodeSequence")[:1], "CodeMeaning")
        name = value((item,), "SegmentLabel")
        if name is None or kind is None:
            return None
        found.append((Mask(arrays[n], grid, name=str(name), source=(instance.uid,)), str(kind)))
    return found


def _slices_of(frames: list[Plane], grid: Grid) -> NDArray[np.int64] | None:
    """Which slice of a grid each frame is; None if one is none, or its pixels are not the grid's voxels.

    Raises
    ------
    ReadError
        If there is no valid orientation.
    """
    positions = [p for plane in frames if (p := plane.numbers("ImagePositionPatient", 3)) is not None]
    across = {(plane.numbers("ImageOrientationPatient", 6), plane.numbers("PixelSpacing", 2)) for plane in frames}
    spacing = frames[0].numbers("PixelSpacing", 2)
    if len(positions) < len(frames) or spacing is None or len(across) > 1:
        return None
    row, column, _ = axes_of(frames[0])
    steps = grid.to_index([spacing[0] * column, spacing[1] * row]) - grid.to_index((0, 0, 0))
    down, right = grid.shape[1] - 1, grid.shape[2] - 1
    pixels = np.array([(0, 0), (0, right), (down, 0), (down, right)])
    corners = grid.to_index(positions)[:, None] + pixels @ steps
    slices = np.round(corners[:, 0, 0])
    off = np.abs(corners - slices[:, None, None] * (1, 0, 0) - pixels @ np.eye(3)[1:]).max()
    if off > OFF_VOXEL or np.abs(steps - np.eye(3)[1:]).max() > OFF_STEP:
        return None
    return slices.astype(np.int64) if slices.min() >= 0 and slices.max() < grid.shape[0] else None
