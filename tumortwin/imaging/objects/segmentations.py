"""DICOM Segmentation objects to masks on the grid of the image they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Several
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.attributes import DAMAGED, text, value
from tumortwin.imaging.reading.instance import Instance
from tumortwin.imaging.reading.plane import planes
from tumortwin.imaging.resampling import index_map, resample
from tumortwin.imaging.volume import Grid, Mask


class Segment(NamedTuple):
    """One segment of a SEG, named by its label."""

    mask: Mask
    kind: str
    """Segmented property type."""
    algorithm: str
    """Segment algorithm type: "MANUAL", "SEMIAUTOMATIC" or "AUTOMATIC"."""


def referenced_series(data: Dataset) -> tuple[str, ...]:
    """Series Instance UIDs that a SEG was drawn on."""
    return tuple(text((item,), "SeriesInstanceUID") for item in value((data,), "ReferencedSeriesSequence") or ())


def refuse_repeated_frames(instance: Instance) -> None:
    """See by the header that no two frames show one segment at one position.

    Raises
    ------
    ReadError
        If some do, as in a file that a converter gave a fourth dimension, or if frames do not say where they are.
    """
    seen: set[tuple[float | None, tuple[float, ...]]] = set()
    for plane in planes(instance):
        position = plane.numbers("ImagePositionPatient", 3)
        if position is None:
            continue
        segment = plane.number("ReferencedSegmentNumber")
        if (segment, position) in seen:
            raise ReadError(
                f"{instance.name}: frame {plane.frame + 1} shows segment {segment or 0:g} where another frame shows it "
                "already, so that it has no one shape: export it without times or another fourth dimension"
            )
        seen.add((segment, position))


def read_segmentation(instance: Instance, data: Dataset, grids: Several[Grid]) -> tuple[list[Segment], list[Finding]]:
    """Read the segments of a SEG: binary, fractional (cut at one half) or labelmap.

    Parameters
    ----------
    instance, data
        The file.
    grids : sequence of Grid
        Of the images it was drawn on, best first. A SEG leaves out empty slices, so that its own grid is a part only.

    Returns
    -------
    segments : list of Segment
        On ``grids[0]``, or the SEG's own grid without one.
    findings : list of Finding
        What was assumed.

    Raises
    ------
    ReadError
        If it cannot be decoded, its frame of reference is not the image's, or frames are repeated.
    """
    refuse_repeated_frames(instance)
    frame = text((data,), "FrameOfReferenceUID") or (grids[0].frame if grids else None)
    if grids and grids[0].frame != frame:
        raise ReadError(
            f"{instance.name}: its frame of reference {frame} is not that of the image it refers to, {grids[0].frame}: "
            "draw it on the image itself"
        )
    segments, findings = [], []
    if not grids:
        findings.append(
            Finding(
                "the image it was drawn on is not in the folder",
                instance.name,
                "kept on its own grid",
                Severity.ASSUMED,
            )
        )
    for segment in _segments(instance, data, frame):
        own = segment.mask
        mask, exact = onto(own, grids[0]) if grids else (own, True)
        if not exact:
            findings.append(
                Finding(
                    f"segment {own.name!r} is not on the image's voxels",
                    instance.name,
                    f"interpolated: {own.volume_ml:.3g} mL became {mask.volume_ml:.3g} mL",
                    Severity.REPAIRED,
                )
            )
        if not mask.array.any():
            findings.append(Finding(f"segment {own.name!r} is empty", instance.name, "kept"))
        segments.append(segment._replace(mask=mask))
    return segments, findings


def _segments(instance: Instance, data: Dataset, frame: str | None) -> Iterator[Segment]:
    """Segments of any kind on their own grid.

    Raises
    ------
    ReadError
        If it cannot be decoded, or describes no segment.
    """
    import highdicom as hd  # half a second that only a folder with a segmentation should cost

    try:
        segmentation = hd.seg.Segmentation.from_dataset(data, copy=False)
        numbers = [n for n in segmentation.segment_numbers if n > 0]
        for n in numbers:
            described = segmentation.get_segment_description(n)
            volume = segmentation.get_volume(segment_numbers=[n], dtype=np.float32, skip_overlap_checks=True)
            grid = Grid(volume.spatial_shape, volume.affine, frame)
            inside = volume.array.reshape(volume.spatial_shape) >= 0.5
            mask = Mask(inside, grid, name=str(described.segment_label), source=(instance.uid,))
            kind, algorithm = described.segmented_property_type.meaning, described.algorithm_type.value
            yield Segment(mask, str(kind), str(algorithm))
    except DAMAGED as error:
        raise ReadError(
            f"{instance.name}: the segmentation cannot be read ({type(error).__name__}: {error}): export it again"
        ) from error
    if not numbers:
        raise ReadError(f"{instance.name}: it describes no segment with a number above 0: export it again")


def onto(mask: Mask, grid: Grid) -> tuple[Mask, bool]:
    """Bring a mask onto a grid: voxel by voxel if they coincide (exact), else interpolated.

    Returns
    -------
    mask : Mask
        On `grid`.
    exact : bool
        Whether each voxel inside is one voxel of `grid`.
    """
    matrix = index_map(grid, mask.grid)
    inside = np.argwhere(mask.array)
    there = inside @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.round(there).astype(int)
    in_plane = np.abs(matrix[:3, 1:3])
    one_to_one = np.abs(in_plane - np.round(in_plane)).max() < 1e-3 and np.allclose(in_plane.sum(0), 1, atol=1e-3)
    fits = not len(index) or (np.abs(there - index).max() < 0.05 and (index >= 0).all() and (index < grid.shape).all())
    if one_to_one and fits:
        array = np.zeros(grid.shape, bool)
        array[tuple(index.T)] = True
        return mask.with_array(array, grid=grid), True
    return resample(mask, grid), False
