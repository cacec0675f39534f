"""Spatial Registration objects: how frames of reference lie to each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.headers import Instance, text, value

RIGID = 1e-3
"""A matrix whose columns are farther from unit length and right angles scales or shears."""


@dataclass(frozen=True, eq=False)
class FrameLink:
    """A rigid motion between two frames of reference.

    Parameters
    ----------
    source, target : str
        Frame of reference UIDs.
    matrix : (4, 4) array
        Takes a point of `source` to the point of `target` that shows the same tissue, LPS mm.
    name : str
        For people: the file it is from.
    date : datetime or None
        When it was made.
    """

    source: str
    target: str
    matrix: NDArray[np.float64]
    name: str
    date: datetime | None = None

    def reversed(self) -> FrameLink:
        """The way back."""
        back = np.asarray(np.linalg.inv(self.matrix), np.float64)
        return FrameLink(self.target, self.source, back, self.name, self.date)


def read_registration(instance: Instance, data: Dataset) -> tuple[list[FrameLink], list[Finding]]:
    """The rigid motions of a Spatial Registration.

    Each item of its Registration Sequence takes points of the item's frame of reference to the object's own frame
    (DICOM PS3.3 C.20.2.1.1), in whatever order fixed and moving images come. Items of several matrices apply them one
    after the other.
    """
    target = text((data,), "FrameOfReferenceUID")
    date = instance.time("Content", "Series", "Study")
    links: list[FrameLink] = []
    findings: list[Finding] = []

    def leave_out(what: str) -> None:
        findings.append(Finding(what, instance.name, "left out", Severity.LEFT_OUT))

    for item in value((data,), "RegistrationSequence") or ():
        source = text((item,), "FrameOfReferenceUID")
        groups = value((item,), "MatrixRegistrationSequence") or ()
        matrix: NDArray[np.float64] | None = np.eye(4)
        for one in (step for group in groups for step in value((group,), "MatrixSequence") or ()):
            found = _matrix(one)
            matrix = None if matrix is None or found is None else found @ matrix
        if not source or not target or not groups:
            leave_out("a registration without frames of reference or matrix")
        elif matrix is None:
            leave_out(f"a registration of {source} that is not a rigid motion")
        elif source != target:
            links.append(FrameLink(source, target, matrix, instance.name, date))
        elif np.abs(matrix - np.eye(4)).max() > 1e-3:
            leave_out(f"a registration moves the frame of reference {source} within itself")
    return links, findings


def _matrix(item: Dataset) -> NDArray[np.float64] | None:
    """The matrix of one item; None if it is not a rigid motion."""
    given = value((item,), "FrameOfReferenceTransformationMatrix")
    try:
        matrix = np.array([float(v) for v in given]).reshape(4, 4)
    except (TypeError, ValueError):
        return None
    turn = matrix[:3, :3]
    rigid = np.isfinite(matrix).all() and np.abs(turn.T @ turn - np.eye(3)).max() < RIGID and np.linalg.det(turn) > 0
    return matrix if rigid and np.abs(matrix[3] - (0, 0, 0, 1)).max() < 1e-6 else None


def links_from(start: str, links: Iterable[FrameLink]) -> dict[str, FrameLink]:
    """The way from one frame of reference to every other that can be reached, over as few links as possible.

    Of several links between two frames the latest counts.
    """
    ordered = sorted(links, key=lambda link: link.date or datetime.min, reverse=True)
    steps = [way for link in ordered for way in (link, link.reversed())]
    reached = {start: FrameLink(start, start, np.eye(4), "")}
    frontier = [start]
    while frontier:
        following = []
        for frame in frontier:
            for step in steps:
                if step.source == frame and step.target not in reached:
                    way = reached[frame]
                    names = ", ".join(dict.fromkeys(n for n in (way.name, step.name) if n))
                    reached[step.target] = FrameLink(start, step.target, step.matrix @ way.matrix, names, step.date)
                    following.append(step.target)
        frontier = following
    del reached[start]
    return reached
