"""Poses that need not be found: given by the caller, or by Spatial Registrations in the patient's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumortwin.errors import InputError
from tumortwin.geometry.registration.transform_file import read_transform, rigid_matrix
from tumortwin.imaging.frame_links import links_from
from tumortwin.imaging.sequence import POSE_ORDER, first_of
from tumortwin.patient import Patient

Given = Mapping[int, ArrayLike | str | os.PathLike[str]]


def given_poses(patient: Patient, reference: int, given: Given | None) -> dict[int, tuple[NDArray[np.float64], str]]:
    """World of the reference visit to world of each visit whose pose is known, and who says so.

    Parameters
    ----------
    patient : Patient
        Its Spatial Registrations that link two visits' frames of reference count where the caller gives nothing.
    reference : int
        Index of the reference visit.
    given : mapping of int to (4, 4) array or path, optional
        By index of the visit; see :func:`~tumortwin.geometry.read_transform` for files.

    Raises
    ------
    InputError
        If there is no such visit, it is the reference, or a matrix is not rigid.
    ReadError
        If a file cannot be used.
    """
    frames = [
        None if key is None else visit.images[key].frame
        for visit in patient.visits
        for key in [first_of(POSE_ORDER, visit.images)]
    ]
    home = frames[reference]
    poses: dict[int, tuple[NDArray[np.float64], str]] = {}
    ways = links_from(home, patient.links) if home is not None and patient.links else {}
    for index, frame in enumerate(frames):
        if index != reference and frame in ways:
            poses[index] = ways[frame].matrix, f"the Spatial Registration {ways[frame].name}"
    count = len(patient.visits)
    for asked, what in (given or {}).items():
        if not isinstance(asked, Integral) or not -count <= asked < count:
            raise InputError(f"transforms: there is no visit {asked!r}: the patient has {count}")
        index = asked % count
        if index == reference:
            raise InputError(
                f"transforms: visit {asked} is the reference, which all others are brought to: leave it "
                "out, or choose another with reference="
            )
        if isinstance(what, str | os.PathLike):
            poses[index] = read_transform(what, fixed=home, moving=frames[index]), f"the file {os.fspath(what)}"
        else:
            poses[index] = rigid_matrix(what, f"transforms[{asked}]"), "the caller"
    return poses
