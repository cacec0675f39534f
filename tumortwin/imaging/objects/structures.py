"""RT Structure Sets: regions and points as drawn, before they are filled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.frame_links import FrameLink, links_from
from tumortwin.imaging.objects.filling import Contour
from tumortwin.imaging.reading.attributes import DAMAGED, number, text, value
from tumortwin.imaging.reading.instance import Instance


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
    algorithm : str
        ROI generation algorithm ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"), may be empty.
    frame : str
        Frame of reference of its points.
    contours : tuple of Contour
        Closed planar contours.
    points : (n, 3) array
        Points (isocenter, markers) in LPS mm.
    """

    number: int
    name: str
    kind: str
    algorithm: str
    frame: str
    contours: tuple[Contour, ...]
    points: NDArray[np.float64]


def referenced_series(data: Dataset) -> tuple[str, ...]:
    """Series Instance UIDs that a structure set was drawn on."""
    return tuple(
        text((series,), "SeriesInstanceUID")
        for frame in value((data,), "ReferencedFrameOfReferenceSequence") or ()
        for study in value((frame,), "RTReferencedStudySequence") or ()
        for series in value((study,), "RTReferencedSeriesSequence") or ()
    )


def read_rois(instance: Instance, data: Dataset) -> tuple[list[Roi], list[Finding]]:
    """Read the regions of a structure set; what is neither a closed planar contour nor a point is a finding."""
    kinds = {
        number((o,), "ReferencedROINumber"): text((o,), "RTROIInterpretedType")
        for o in value((data,), "RTROIObservationsSequence") or ()
    }
    drawn: dict[float | None, list[Dataset]] = defaultdict(list)
    for item in value((data,), "ROIContourSequence") or ():
        drawn[number((item,), "ReferencedROINumber")] += value((item,), "ContourSequence") or ()
    frames = {
        f
        for item in value((data,), "ReferencedFrameOfReferenceSequence") or ()
        if (f := text((item,), "FrameOfReferenceUID"))
    } or {text((data,), "FrameOfReferenceUID")}
    only_frame = next(iter(frames)) if len(frames) == 1 else ""
    rois: list[Roi] = []
    findings: list[Finding] = []
    said: set[float | None] = set()

    def leave_out(what: str) -> None:
        findings.append(Finding(what, instance.name, "left out", Severity.LEFT_OUT))

    for item in value((data,), "StructureSetROISequence") or ():
        key, name = number((item,), "ROINumber"), text((item,), "ROIName")
        if key in said:
            leave_out(f"ROI {name!r}: its number {key or 0:g} is another's")
            continue
        said.add(key)
        contours, points, dropped = _contours(drawn.get(key, []))
        for what, n in dropped.items():
            findings.append(
                Finding(f"ROI {name!r}: {n} contour(s) {what}", instance.name, "not filled", Severity.LEFT_OUT)
            )
        if contours or len(points):
            frame = text((item,), "ReferencedFrameOfReferenceUID") or only_frame
            algorithm = text((item,), "ROIGenerationAlgorithm")
            rois.append(Roi(int(key or 0), name, kinds.get(key, ""), algorithm, frame, tuple(contours), points))
        elif not dropped:
            leave_out(f"ROI {name!r} has no contours")
    for key in drawn.keys() - said:
        leave_out(f"{len(drawn[key])} contour(s) of ROI number {key or 0:g}, which the structure set does not name")
    return rois, findings


def _contours(items: list[Dataset]) -> tuple[list[Contour], NDArray[np.float64], Counter[str]]:
    """Read the closed contours and points of one ROI, and count the others of each kind."""
    contours: list[Contour] = []
    points: list[NDArray[Any]] = [np.empty((0, 3))]
    dropped = Counter[str]()
    for item in items:
        shape = text((item,), "ContourGeometricType")
        try:
            found = np.asarray(value((item,), "ContourData"), dtype=float).reshape(-1, 3)
        except DAMAGED:
            dropped["unreadable"] += 1
            continue
        stated = number((item,), "NumberOfContourPoints")
        if stated is not None and stated != len(found):
            dropped["cut short: not as many points as stated"] += 1
        elif not np.isfinite(found).all():
            dropped["with points that are no numbers"] += 1
        elif shape == "POINT":
            points.append(found)
        elif shape not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
            dropped[shape or "of no stated type"] += 1
        elif len(np.unique(found, axis=0)) < 3:
            dropped["of fewer than three points"] += 1
        else:
            contours.append(Contour(found, shape == "CLOSEDPLANAR_XOR"))
    return contours, np.concatenate(points), dropped


def brought_to(roi: Roi, frames: Several[str | None], links: Several[FrameLink]) -> tuple[Roi, str]:
    """Move a region in a frame of reference without images to one that has some; name the registration used."""
    if roi.frame in frames:
        return roi, ""
    ways = links_from(roi.frame, links)
    way = next((ways[frame] for frame in frames if frame in ways), None)
    if way is None:
        return roi, ""
    turn, shift = way.matrix[:3, :3], way.matrix[:3, 3]
    contours = tuple(Contour(c.points @ turn.T + shift, c.xor) for c in roi.contours)
    return replace(roi, frame=way.target, contours=contours), f"brought to the image by {way.name}"
