"""The one value behind every board page: all it shows, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tumortwin import archive
from tumortwin.board.values import (
    Band,
    Comparison,
    Course,
    DvhCurve,
    Measure,
    OrganDose,
    Panel,
    Parameter,
    PlanOption,
    Scan,
    Score,
)
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding
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
    options : tuple of PlanOption
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
    """

    patient_id: str
    reference_time: datetime
    version: str
    input_hash: str
    clinical: tuple[str, ...] = ()
    scans: tuple[Scan, ...] = ()
    courses: tuple[Course, ...] = ()
    bands: tuple[Band, ...] = ()
    panels: tuple[Panel, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    scores: tuple[Score, ...] = ()
    options: tuple[PlanOption, ...] = ()
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

    @classmethod
    def from_twin(cls, twin: Twin, *, patient: Patient | None = None) -> BoardReport:
        """The page of a twin that was not calibrated; see :func:`tumortwin.board.composing.compose`."""
        from tumortwin.board.composing import compose

        return compose(twin, patient=patient)

    @classmethod
    def from_calibration(cls, fit: Calibration, *, forecast: Forecast | None = None,
                         patient: Patient | None = None) -> BoardReport:
        """The page of a calibrated twin, with its forecast if given."""
        from tumortwin.board.composing import compose

        return compose(fit.twin, fit, forecast, patient=patient)

    @classmethod
    def from_plan(cls, front: PlanFront, *, forecast: Forecast | None = None,
                  patient: Patient | None = None) -> BoardReport:
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

        return compose(front.calibration.twin, front.calibration, forecast, front, patient=patient)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the page; the suffix says how: ``.pdf``, ``.html``, or ``.npz`` (the report itself).

        Raises
        ------
        InputError
            If the suffix is none of these.
        OutputExistsError
            If the file exists and `overwrite` is false.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == ".npz":
            return archive.save(self, target, overwrite=overwrite)
        if suffix == ".pdf":
            from tumortwin.board.pdf import render
        elif suffix == ".html":
            from tumortwin.board.html import render
        else:
            raise InputError(f"{target}: a board page is saved as .pdf, .html or .npz, not {suffix or 'bare'}")
        with new_file(target, overwrite=overwrite) as temporary:
            temporary.write_bytes(render(self))
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BoardReport:
        """Read a report that was saved as ``.npz``."""
        return archive.load(path, cls)
