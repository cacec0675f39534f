"""Spatial Registration objects: how frames of reference lie to each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.frame_links import FrameLink
from tumortwin.imaging.reading.attributes import text, value
from tumortwin.imaging.reading.instance import Instance

RIGID = 1e-3
"""A matrix whose columns are farther from unit length and right angles scales or shears."""


def read_registration(instance: Instance, data: Dataset) -> tuple[list[FrameLink], list[Finding]]:
    """Read the rigid motions of a Spatial Registration.

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
    """Read the matrix of one item; return None if it is not a rigid motion."""
    given = value((item,), "FrameOfReferenceTransformationMatrix")
    try:
        matrix = np.array([float(v) for v in given]).reshape(4, 4)
    except (TypeError, ValueError):
        return None
    turn = matrix[:3, :3]
    rigid = np.isfinite(matrix).all() and np.abs(turn.T @ turn - np.eye(3)).max() < RIGID and np.linalg.det(turn) > 0
    return matrix if rigid and np.abs(matrix[3] - (0, 0, 0, 1)).max() < 1e-6 else None
