"""The one value behind every board page: all it shows, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from tumortwin import archive
from tumortwin.arguments import require
from tumortwin.board.values import (
    Comparison,
    DvhCurve,
    Measure,
    MethodScore,
    OptionRow,
    OrganDose,
    Panel,
    Parameter,
    PredictedVolume,
    Scan,
    TimelineCourse,
)
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.writing.encapsulated_pdf import write_pdf
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.imaging.writing.source import REQUIRED, DicomSource, Source
from tumortwin.outputs import new_file

if TYPE_CHECKING:
    from tumortwin.calibration import Calibration, Forecast
    from tumortwin.patient import Patient
    from tumortwin.planning import PlanFront
    from tumortwin.twin import Twin


@dataclass(frozen=True, eq=False)
class BoardReport:
    """What a tumor board is shown of one patient's twin.

    Make it with :meth:`from_plan`, :meth:`from_calibration` or :meth:`from_twin`; write it with :meth:`save`.

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
    clinical : tuple of str
        Diagnosis, age, markers, as text.
    scans, courses, bands : tuples
        The timeline.
    panels : tuple of Panel
        The pictures, all of one slice.
    comparisons, scores : tuples
        Predicted against observed.
    options : tuple of OptionRow
        Schedules.
    outcome_names : mapping of str to str
        Outcomes of the options: key, and label with unit; the first is charted.
    horizon_days : float or None
        How far outcomes are looked at, in the outcomes' own clock.
    dvh, dvh_limits : tuples
        Of the given dose.
    parameters : tuple of Parameter
        All of the model's.
    quality : tuple of Measure
        Of the calibration.
    limits : tuple of str
        What must not be read into this page.
    findings : tuple of Finding
        What was repaired, assumed or left out.
    left_out : tuple of str
        What is not on the page, and why.
    sources : mapping of str to str
        Input files and their SHA-256.
    definitions : tuple of str
        What the page's terms mean.
    limit_set : str
        Whose limits the organs' doses are held against.
    identity_removed : bool
        Nothing here says who it is; else :meth:`save` takes out what does.
    """

    patient_id: str
    reference_time: datetime
    version: str
    input_hash: str
    clinical: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    courses: tuple[TimelineCourse, ...] = ()
    bands: tuple[PredictedVolume, ...] = ()
    panels: tuple[Panel, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    scores: tuple[MethodScore, ...] = ()
    options: tuple[OptionRow, ...] = ()
    outcome_names: Mapping[str, str] = field(default_factory=dict)
    horizon_days: float | None = None
    dvh: tuple[DvhCurve, ...] = ()
    dvh_limits: tuple[OrganDose, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    quality: tuple[Measure, ...] = ()
    limits: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    definitions: tuple[str, ...] = ()
    limit_set: str = ""
    identity_removed: bool = False

    @classmethod
    def from_twin(cls, twin: Twin, *, patient: Patient | None = None) -> BoardReport:
        """The page of a twin that was not calibrated; see :func:`tumortwin.board.composing.compose`."""
        from tumortwin.board.composing import compose
        from tumortwin.twin import Twin

        require(twin, Twin, "from_twin takes a Twin, which build_twin makes")
        _check_beside(None, patient)
        return compose(twin, patient=patient)

    @classmethod
    def from_calibration(
        cls, fit: Calibration, *, forecast: Forecast | None = None, patient: Patient | None = None
    ) -> BoardReport:
        """The page of a calibrated twin, with its forecast if given."""
        from tumortwin.board.composing import compose
        from tumortwin.calibration import Calibration

        require(fit, Calibration, "from_calibration takes a Calibration, which calibrate makes")
        _check_beside(forecast, patient)
        return compose(fit.twin, fit, forecast, patient=patient)

    @classmethod
    def from_plan(
        cls, front: PlanFront, *, forecast: Forecast | None = None, patient: Patient | None = None
    ) -> BoardReport:
        """The whole page.

        Parameters
        ----------
        front : PlanFront
            The compared schedules; its calibration and twin are shown with it.
        forecast : Forecast, optional
            Adds the predicted band and the held-out comparison.
        patient : Patient, optional
            Shows each visit's own image, at its own resolution, instead of the reference visit's.
        """
        from tumortwin.board.composing import compose
        from tumortwin.planning import PlanFront

        require(front, PlanFront, "from_plan takes a PlanFront, which optimize_dose makes")
        _check_beside(forecast, patient)
        return compose(front.calibration.twin, front.calibration, forecast, front, patient=patient)

    @property
    def last_date(self) -> datetime:
        """Of the last scan: the page knows nothing later."""
        return self.scans[-1].date if self.scans else self.reference_time

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
        from tumortwin.board.identity import for_export

        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".npz":
            return archive.save(self, target, overwrite=overwrite)
        if suffix == ".dcm":
            page = for_export(self, identity) if source is None else self  # a study says whose it is
            return page._encapsulated(target, source, overwrite)
        if suffix == ".pdf":
            from tumortwin.board.pdf import render
        elif suffix == ".html":
            from tumortwin.board.html import render
        else:
            raise InputError(f"{target}: a board page is saved as .pdf, .html, .dcm or .npz, not {suffix or 'bare'}")
        with new_file(target, overwrite=overwrite) as temporary:
            temporary.write_bytes(render(for_export(self, identity)))
        return target

    def _encapsulated(self, target: Path, source: DicomSource | Source | None, overwrite: bool) -> Path:
        from tumortwin.board.pdf import render

        origin = self._study() if source is None else DicomSource.of(source)
        if origin.first.PatientID != self.patient_id:
            raise InputError(
                f"{target}: the page names {self.patient_id!r}, the study is of "
                f"{origin.first.PatientID!r}: a page goes into the study of the patient that it names"
            )
        return write_pdf(
            render(self), origin, target, title="Tumor board page", when=self.last_date, overwrite=overwrite
        )

    def _study(self) -> DicomSource:
        """A study of the page's own."""
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
    from tumortwin.calibration import Forecast
    from tumortwin.patient import Patient

    require(forecast, (Forecast, NoneType), "forecast takes a Forecast, which Calibration.forecast makes")
    require(patient, (Patient, NoneType), "patient takes a Patient, which read_patient makes")
