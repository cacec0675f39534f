"""RT Structure Sets to masks: contours filled on the grid of the image they were drawn on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Several
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.headers import DAMAGED, Instance, number, text, value
from tumortwin.imaging.volume import Grid, Mask


@dataclass(frozen=True, eq=False)
class Roi:
    """One region of interest as drawn.

    Parameters
    ----------
    number : int
        ROI number.
    name : str
        ROI name as given.
    kind : str
        RT ROI interpreted type (GTV, ORGAN, ...), may be empty.
    frame : str
        Frame of reference of its points.
    contours : tuple of (n, 3) arrays
        Closed planar contours, LPS mm.
    """

    number: int
    name: str
    kind: str
    frame: str
    contours: tuple[NDArray[np.float64], ...]


def referenced_series(data: Dataset) -> tuple[str, ...]:
    """Series Instance UIDs that a structure set was drawn on."""
    return tuple(
        text((series,), "SeriesInstanceUID")
        for frame in value((data,), "ReferencedFrameOfReferenceSequence") or ()
        for study in value((frame,), "RTReferencedStudySequence") or ()
        for series in value((study,), "RTReferencedSeriesSequence") or ()
    )


def read_rois(instance: Instance, data: Dataset) -> tuple[list[Roi], list[Finding]]:
    """The regions of a structure set; what is not a closed planar contour is a finding."""
    kinds = {
        number((o,), "ReferencedROINumber"): text((o,), "RTROIInterpretedType")
        for o in value((data,), "RTROIObservationsSequence") or ()
    }
    drawn = {
        number((r,), "ReferencedROINumber"): value((r,), "ContourSequence") or ()
        for r in value((data,), "ROIContourSequence") or ()
    }
    rois, findings = [], []
    for item in value((data,), "StructureSetROISequence") or ():
        key, name = number((item,), "ROINumber"), text((item,), "ROIName")
        contours, dropped = [], Counter[str]()
        for contour in drawn.get(key, ()):
            shape = text((contour,), "ContourGeometricType")
            try:
                points = np.asarray(value((contour,), "ContourData"), dtype=float).reshape(-1, 3)
            except DAMAGED:
                dropped["unreadable"] += 1
                continue
            if shape not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
                dropped[shape or "of no stated type"] += 1
            elif len(points) < 3 or not np.isfinite(points).all():
                dropped["of fewer than three points"] += 1
            else:
                contours.append(points)
        for what, n in dropped.items():
            findings.append(
                Finding(f"ROI {name!r}: {n} contour(s) {what}", instance.name, "not filled", Severity.LEFT_OUT)
            )
        if contours:
            rois.append(
                Roi(
                    int(key or 0),
                    name,
                    kinds.get(key, ""),
                    text((item,), "ReferencedFrameOfReferenceUID"),
                    tuple(contours),
                )
            )
        elif not dropped:
            findings.append(Finding(f"ROI {name!r} has no contours", instance.name, "left out", Severity.LEFT_OUT))
    return rois, findings


def fill(roi: Roi, grids: Several[Grid], source: str) -> tuple[Mask, list[Finding]]:
    """Rasterise a region: a voxel is inside if its center is inside an odd number of its slice's contours.

    Even-odd counting keeps holes (a contour in a contour, or a keyhole) and islands. Slices between contours are not
    invented.

    Parameters
    ----------
    roi : Roi
        The region.
    grids : sequence of Grid
        Candidates, best first: the first of the region's frame whose slices the contours lie in is used.
    source : str
        SOP Instance UID of the structure set.

    Raises
    ------
    ReadError
        If no grid fits.
    """
    same_frame = [g for g in grids if g.frame == roi.frame or not roi.frame]
    if not same_frame:
        raise ReadError(
            f"ROI {roi.name!r}: no image of its frame of reference {roi.frame} is in the folder: "
            "add the series it was drawn on"
        )
    # rounded, so that points meant to be on a voxel's center are
    tried = [(grid, [np.round(grid.to_index(c), 6) for c in roi.contours]) for grid in same_frame]
    grid, contours = min(tried, key=lambda t: _off_slice(t[1]) > 0.25)
    if _off_slice(contours) > 0.4:  # nearer to the middle, rounding would put two planes in one slice
        raise ReadError(
            f"ROI {roi.name!r}: its contours do not lie in the image's slices (off by {_off_slice(contours):.2g} "
            "slices): add the series it was drawn on"
        )
    findings = []
    if _off_slice(contours) > 0.1:
        findings.append(
            Finding(
                f"ROI {roi.name!r}: contours up to {_off_slice(contours):.2g} slices off the image's",
                roi.name,
                "put in the nearest slice",
                Severity.ASSUMED,
            )
        )
    z = np.array([round(float(c[:, 0].mean())) for c in contours])
    array = np.zeros(grid.shape, bool)
    for k in np.unique(z):
        if 0 <= k < grid.shape[0]:
            array[k] = even_odd([c[:, 1:] for c, at in zip(contours, z, strict=True) if at == k], grid.shape[1:])
    points = np.concatenate(contours)
    if (points < -0.5).any() or (points > np.array(grid.shape) - 0.5).any():
        findings.append(
            Finding(
                f"ROI {roi.name!r} reaches beyond the image", roi.name, "cut at the image's border", Severity.ASSUMED
            )
        )
    skipped = int(z.max() - z.min() + 1 - len(np.unique(z)))
    if skipped:
        findings.append(
            Finding(
                f"ROI {roi.name!r}: no contour on {skipped} slice(s) between its ends", roi.name, "left empty there"
            )
        )
    return Mask(array, grid, name=roi.name, source=(source,)), findings


def _off_slice(contours: list[NDArray[np.float64]]) -> float:
    """How far, in slices, points lie from the slice of their contour."""
    return max(float(np.abs(c[:, 0] - np.round(c[:, 0].mean())).max()) for c in contours)


def even_odd(polygons: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centers are inside an odd number of polygons.

    Parameters
    ----------
    polygons : list of (n, 2) arrays
        Closed, as (row, column) in pixels.
    shape : (rows, columns)
        Of the picture.

    Notes
    -----
    Along each row, each polygon edge that crosses it flips everything to its right; an edge owns its upper end and
    not its lower one, so that no vertex is counted twice and the two banks of a keyhole cancel exactly.
    """
    rows, columns = shape
    start = np.concatenate(polygons)
    stop = np.concatenate([np.roll(p, -1, axis=0) for p in polygons])
    # a fixed direction, so that the same edge walked both ways crosses at bit-identical places
    swap = (start[:, 0] > stop[:, 0])[:, None]
    low, high = np.where(swap, stop, start), np.where(swap, start, stop)
    first = np.clip(np.ceil(low[:, 0]), 0, rows).astype(int)
    last = np.clip(np.ceil(high[:, 0]), 0, rows).astype(int)
    counts = last - first
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (row - low[edge, 0]) / (high[edge, 0] - low[edge, 0])
    crossing = low[edge, 1] + share * (high[edge, 1] - low[edge, 1])
    column = np.clip(np.ceil(crossing), 0, columns).astype(int)
    flips = np.zeros((rows, columns + 1), np.int64)
    np.add.at(flips, (row, column), 1)
    return np.asarray(np.cumsum(flips, axis=1)[:, :columns] % 2 == 1)
