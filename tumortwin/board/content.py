"""What a board page shows: all of it, and nothing else. Every writer of the page reads this one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

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
from tumortwin.imaging.findings import Finding


@dataclass(frozen=True, eq=False)
class BoardContent:
    """What a tumor board is shown of one patient's twin.

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
        Nothing here says who it is; else the page is written without what does.
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

    @property
    def last_date(self) -> datetime:
        """Of the last scan: the page knows nothing later."""
        return self.scans[-1].date if self.scans else self.reference_time
