"""What a quality report shows: pictures, numbers and findings of each visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from tumortwin.board.cuts import Plane
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.volume import Volume
from tumortwin.twin import RegistrationQuality


@dataclass(frozen=True, eq=False)
class Picture:
    """One slice of a visit, or a checkerboard of it and the reference visit.

    Parameters
    ----------
    title : str
        What is shown.
    plane : Plane
        Axial or coronal.
    image : Volume
        One slice, shape (1, rows, columns), hung as a radiologist does. Its gray values are comparable over pictures:
        0 and 1 are the 2nd and 98th percentile of the brain without tumor.
    outlines : mapping of str to (1, rows, columns) array
        "brain" (the reference visit's) or regions of the tumor: share of each pixel.
    """

    title: str
    plane: Plane
    image: Volume
    outlines: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class VisitQuality:
    """One visit's row.

    Parameters
    ----------
    date : datetime
        When the visit was.
    day : float
        Days since the reference time.
    role : str
        "reference", "registered" or "left out".
    pictures : tuple of Picture
        In the order they are shown.
    registration : RegistrationQuality or None
        None for the reference visit and for one that was left out.
    volumes_ml : mapping of str to float
        Of the tumor's regions, mL.
    sigma : float or None
        Standard deviation of one voxel's density; None without a density.
    masks : str
        Who drew the regions.
    missing : tuple of str
        What cannot be shown, and why.
    findings : tuple of Finding
        The visit's, what matters more first.
    """

    date: datetime
    day: float
    role: str
    pictures: tuple[Picture, ...]
    registration: RegistrationQuality | None = None
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    sigma: float | None = None
    masks: str = ""
    missing: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class QualityContent:
    """Registration, masks and findings of every visit, to be looked at before any of it is believed.

    Parameters
    ----------
    patient_id : str
        As given (de-identified by whoever gave it).
    reference_time : datetime
        Day 0.
    version : str
        Of tumortwin.
    input_hash : str
        SHA-256 over the names and hashes of all input files.
    files : int
        How many input files there are.
    visits : tuple of VisitQuality
        By date; with a patient given, those that were left out too.
    findings : tuple of Finding
        Of no visit in particular, what matters more first.
    identity_removed : bool
        Nothing here says who it is; else the pages are written without what does.
    """

    patient_id: str
    reference_time: datetime
    version: str
    input_hash: str
    files: int = 0
    visits: tuple[VisitQuality, ...] = ()
    findings: tuple[Finding, ...] = ()
    identity_removed: bool = False
