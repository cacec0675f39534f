"""How far the geometry can be trusted, visit by visit: one value with pictures, numbers and findings, and its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from tumortwin import archive
from tumortwin.board.identity import NOBODY, counted, shift_of
from tumortwin.board.slices import Plane
from tumortwin.errors import InputError
from tumortwin.imaging.deidentification.words import clean_text
from tumortwin.imaging.dicom_source import Identity
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.volume import Volume
from tumortwin.outputs import new_file
from tumortwin.twin import RegistrationQuality

if TYPE_CHECKING:
    import numpy as np

    from tumortwin.patient import Patient
    from tumortwin.twin import Twin


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
class QualityReport:
    """Registration, masks and findings of every visit, to be looked at before any of it is believed.

    Make it with :meth:`from_twin`; write it with :meth:`save`.

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
        Nothing here says who it is; else :meth:`save` takes out what does.
    """

    patient_id: str
    reference_time: datetime
    version: str
    input_hash: str
    files: int = 0
    visits: tuple[VisitQuality, ...] = ()
    findings: tuple[Finding, ...] = ()
    identity_removed: bool = False

    @classmethod
    def from_twin(cls, twin: Twin, *, patient: Patient | None = None) -> QualityReport:
        """The pages of a twin; see :func:`tumortwin.board.quality_composing.compose`.

        Parameters
        ----------
        twin : Twin
            Whose geometry is looked at.
        patient : Patient, optional
            The patient that the twin was built from. Without it there are no images of the visits: outlines are drawn
            over the reference visit's, and there is no checkerboard.
        """
        from tumortwin.board.quality_composing import compose

        return compose(twin, patient)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False,
             identity: Identity | str = Identity.REMOVED) -> Path:
        """Write the pages; the suffix says how: ``.pdf``, ``.png`` (one below the other), ``.npz`` (the value).

        Parameters
        ----------
        path : path-like
            Where to.
        overwrite : bool
            Replace a file that is there already.
        identity : Identity
            "removed": the pages say neither ID nor dates nor names, and count findings instead of quoting them,
            unless the patient was read de-identified. "source": as given.

        Raises
        ------
        InputError
            If the suffix is none of these, or `identity` is neither of the two.
        OutputExistsError
            If the file exists and `overwrite` is false.
        """
        from tumortwin.board.quality_pages import pdf, png

        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".npz":
            return archive.save(self, target, overwrite=overwrite)
        if suffix not in (".pdf", ".png"):
            raise InputError(f"{target}: quality pages are saved as .pdf, .png or .npz, not {suffix or 'bare'}")
        with new_file(target, overwrite=overwrite) as temporary:
            temporary.write_bytes((pdf if suffix == ".pdf" else png)(without_identity(self, identity)))
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QualityReport:
        """Read a report that was saved as ``.npz``."""
        return archive.load(path, cls)


def without_identity(report: QualityReport, identity: Identity | str = Identity.REMOVED) -> QualityReport:
    """The report as it may be written; see :mod:`tumortwin.board.identity`.

    Raises
    ------
    InputError
        If `identity` is neither "removed" nor "source".
    """
    try:
        identity = Identity(identity)
    except ValueError:
        raise InputError(f"identity is one of {', '.join(map(repr, map(str, Identity)))}, not {identity!r}") from None
    if identity is Identity.SOURCE or report.identity_removed:
        return report
    shift = shift_of(report.reference_time)
    return replace(report, patient_id=NOBODY, reference_time=report.reference_time + shift,
                   visits=tuple(_anonymous(visit, shift) for visit in report.visits),
                   findings=counted(report.findings), identity_removed=True)


def _anonymous(visit: VisitQuality, shift: timedelta) -> VisitQuality:
    pictures = tuple(replace(p, image=p.image.with_array(p.image.array, name="", source=())) for p in visit.pictures)
    return replace(visit, date=visit.date + shift, pictures=pictures, masks=_masks(visit.masks),
                   findings=counted(visit.findings))


def _masks(said: str) -> str:
    """Who drew the regions, with the names that were given cleaned."""
    drawn, rest, _ = said.removeprefix("drawn: ").partition("; segmented: the rest")
    if said == drawn:
        return said if said == "segmented" else clean_text(said)
    return f"drawn: {clean_text(drawn) or 'by others'}{rest}"
