"""How far the geometry can be trusted, visit by visit: one value with pictures, numbers and findings, and its files."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tumortwin import archive
from tumortwin.board.identity import NOBODY, counted, shift_of
from tumortwin.board.quality.composing import compose
from tumortwin.board.quality.content import QualityContent, VisitQuality
from tumortwin.board.quality.pages import pdf, png
from tumortwin.errors import InputError
from tumortwin.imaging.identity.words import clean_text
from tumortwin.imaging.writing.source import Identity
from tumortwin.outputs import new_file

if TYPE_CHECKING:
    from tumortwin.patient import Patient
    from tumortwin.twin import Twin


@dataclass(frozen=True, eq=False)
class QualityReport(QualityContent):
    """Registration, masks and findings of every visit, and the files that show them.

    Make it with :meth:`from_twin`; write it with :meth:`save`. What it holds is listed in
    :class:`~tumortwin.board.quality.content.QualityContent`.
    """

    @classmethod
    def from_twin(cls, twin: Twin, *, patient: Patient | None = None) -> Self:
        """Build the quality report of a twin; see :func:`tumortwin.board.quality.composing.compose`.

        Parameters
        ----------
        twin : Twin
            Whose geometry is looked at.
        patient : Patient, optional
            The patient that the twin was built from. Without it there are no images of the visits: outlines are drawn
            over the reference visit's, and there is no checkerboard.
        """
        return cls(**vars(compose(twin, patient)))

    def save(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, identity: Identity | str = Identity.REMOVED
    ) -> Path:
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
    """Remove the patient's identity from a report before it is written; see :mod:`tumortwin.board.identity`.

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
    return replace(
        report,
        patient_id=NOBODY,
        reference_time=report.reference_time + shift,
        visits=tuple(_anonymous(visit, shift) for visit in report.visits),
        findings=counted(report.findings),
        identity_removed=True,
    )


def _anonymous(visit: VisitQuality, shift: timedelta) -> VisitQuality:
    pictures = tuple(replace(p, image=p.image.with_array(p.image.array, name="", source=())) for p in visit.pictures)
    return replace(
        visit, date=visit.date + shift, pictures=pictures, masks=_masks(visit.masks), findings=counted(visit.findings)
    )


def _masks(said: str) -> str:
    """Who drew the regions, with the names that were given cleaned."""
    drawn, rest, _ = said.removeprefix("drawn: ").partition("; segmented: the rest")
    if said == drawn:
        return said if said == "segmented" else clean_text(said)
    return f"drawn: {clean_text(drawn) or 'by others'}{rest}"
