"""The board page as a value that can be made from a twin, written in several formats, saved and read again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Self

from tumortwin import archive
from tumortwin.arguments import require
from tumortwin.board import html, pdf
from tumortwin.board.composing import compose
from tumortwin.board.content import BoardContent
from tumortwin.board.identity import for_export
from tumortwin.calibration import Calibration, Forecast
from tumortwin.errors import InputError
from tumortwin.imaging.writing.encapsulated_pdf import write_pdf
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.imaging.writing.source import REQUIRED, DicomSource, Source
from tumortwin.outputs import new_file
from tumortwin.patient import Patient
from tumortwin.planning import GivenDose, PlanFront
from tumortwin.twin import Twin


@dataclass(frozen=True, eq=False)
class BoardReport(BoardContent):
    """What a tumor board is shown of one patient's twin, and the files that show it.

    Make it with :meth:`from_plan`, :meth:`from_calibration` or :meth:`from_twin`; write it with :meth:`save`. What it
    holds is listed in :class:`~tumortwin.board.content.BoardContent`.
    """

    @classmethod
    def from_twin(cls, twin: Twin, *, given: GivenDose | None = None, patient: Patient | None = None) -> Self:
        """Build the page of a twin that was not calibrated.

        Parameters
        ----------
        twin : Twin
            What is shown.
        given : GivenDose, optional
            Adds the given dose: :func:`tumortwin.planning.given_dose` of the twin.
        patient : Patient, optional
            Shows each visit's own image, at its own resolution, instead of the reference visit's.
        """
        require(twin, Twin, "from_twin takes a Twin, which build_twin makes")
        _check_beside(None, patient)
        return cls(**vars(compose(twin, given=given, patient=patient)))

    @classmethod
    def from_calibration(
        cls,
        fit: Calibration,
        *,
        forecast: Forecast | None = None,
        given: GivenDose | None = None,
        patient: Patient | None = None,
    ) -> Self:
        """Build the page of a calibrated twin.

        Parameters
        ----------
        fit : Calibration
            Its twin is shown with it.
        forecast : Forecast, optional
            Adds the predicted band and the held-out comparison.
        given, patient
            As in :meth:`from_twin`.
        """
        require(fit, Calibration, "from_calibration takes a Calibration, which calibrate makes")
        _check_beside(forecast, patient)
        return cls(**vars(compose(fit.twin, fit, forecast, given=given, patient=patient)))

    @classmethod
    def from_plan(cls, front: PlanFront, *, forecast: Forecast | None = None, patient: Patient | None = None) -> Self:
        """Build the complete page of a calibrated twin with compared schedules.

        Parameters
        ----------
        front : PlanFront
            The compared schedules; its calibration, twin and given dose are shown with it.
        forecast : Forecast, optional
            Adds the predicted band and the held-out comparison; without it the page says that it was not given.
        patient : Patient, optional
            As in :meth:`from_twin`.
        """
        require(front, PlanFront, "from_plan takes a PlanFront, which optimize_dose makes")
        _check_beside(forecast, patient)
        return cls(**vars(compose(front.calibration.twin, front.calibration, forecast, front, patient=patient)))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        source: DicomSource | Source | None = None,
        overwrite: bool = False,
        identity: str = "removed",
    ) -> Path:
        """Write the page; the suffix says how: ``.pdf``, ``.html``, ``.dcm`` (Encapsulated PDF), ``.npz`` (the report).

        Parameters
        ----------
        path : path-like
            Where to.
        source : DicomSource, DICOM file or header, optional
            An image of the study that an Encapsulated PDF becomes part of; without it, it is a study of its own.
        overwrite : bool
            Replace a file that is there already.
        identity : str
            "removed": a page says neither ID nor dates nor names, unless the patient was read de-identified (then they
            are nobody's). "source": as given.

        Raises
        ------
        InputError
            If the suffix is none of these, or the study is of another patient than the page names, or
            `identity` is neither of the two.
        OutputExistsError
            If the file exists and `overwrite` is false.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".npz":
            return archive.save(self, target, overwrite=overwrite)
        if suffix == ".dcm":
            page = for_export(self, identity) if source is None else self  # a study says whose it is
            return page._encapsulated(target, source, overwrite)
        if suffix not in (".pdf", ".html"):
            raise InputError(f"{target}: a board page is saved as .pdf, .html, .dcm or .npz, not {suffix or 'bare'}")
        with new_file(target, overwrite=overwrite) as temporary:
            temporary.write_bytes((pdf if suffix == ".pdf" else html).render(for_export(self, identity)))
        return target

    def _encapsulated(self, target: Path, source: DicomSource | Source | None, overwrite: bool) -> Path:
        origin = self._study() if source is None else DicomSource.of(source)
        if origin.first.PatientID != self.patient_id:
            raise InputError(
                f"{target}: the page names {self.patient_id!r}, the study is of "
                f"{origin.first.PatientID!r}: a page goes into the study of the patient that it names"
            )
        return write_pdf(
            pdf.render(self), origin, target, title="Tumor board page", when=self.last_date, overwrite=overwrite
        )

    def _study(self) -> DicomSource:
        """Create a DICOM study for the page alone."""
        header = item(
            **dict.fromkeys(REQUIRED, ""),
            SpecificCharacterSet="ISO_IR 192",
            StudyInstanceUID=hashed_uid("board", self.patient_id, self.input_hash),
        )
        header.PatientID = self.patient_id
        stamp(header, self.reference_time, "Study")
        return DicomSource((header,))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BoardReport:
        """Read a report that was saved as ``.npz``."""
        return archive.load(path, cls)


def _check_beside(forecast: Forecast | None, patient: Patient | None) -> None:
    require(forecast, (Forecast, NoneType), "forecast takes a Forecast, which Calibration.forecast makes")
    require(patient, (Patient, NoneType), "patient takes a Patient, which read_patient makes")
