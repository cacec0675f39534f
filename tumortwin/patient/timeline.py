"""Who was scanned and treated, and when: Patient and Visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tumortwin.arguments import described, require, require_date
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.frame_links import FrameLink
from tumortwin.imaging.plan import PlanRecord
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, TotalDose, Volume
from tumortwin.patient.drawing import DrawnVisit, Timeline, html_timeline, text_timeline
from tumortwin.therapy.events import Treatment


@dataclass(frozen=True, eq=False)
class Visit:
    """One imaging session.

    Parameters
    ----------
    date : datetime
        When it was acquired.
    images : mapping of MRSequence to Volume
        The images, at most one of a kind.
    masks : mapping of str to Mask
        Segmentations drawn on this visit, by name as given ("enhancing", "whole tumor", ROI names).
    label : str
        For people ("planning"), may be empty.
    aligned : bool or None
        Whether all images of a frame of reference were brought to one space before, so that none is moved against the
        others. False: they are as scanned, and the head may have moved between any. None: those on the same voxels were
        brought there.
    """

    date: datetime
    images: Mapping[MRSequence, Volume]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    label: str = ""
    aligned: bool | None = None

    def __post_init__(self) -> None:
        require_date(self.date, "a visit's date")
        require(self.images, Mapping, "a visit's images are a table of MRSequence and Volume")
        require(self.masks, Mapping, "a visit's masks are a table of name and Mask")
        for shows, image in self.images.items():
            if shows not in MRSequence.__members__.values():
                raise InputError(f"a visit's image shows one of {', '.join(MRSequence)}, not {described(shows)}")
            require(image, Volume, f"a visit's {shows} image is a Volume (an array and its Grid)")
        for name, mask in self.masks.items():
            require(mask, Mask, f"a visit's mask {name!r} is a Mask (a boolean array and its Grid)")


@dataclass(frozen=True)
class Clinical:
    """What DICOM does not carry, from ``clinical.json``. Every field may be missing."""

    weight_kg: float | None = None
    height_m: float | None = None
    age_years: float | None = None
    mgmt_methylated: bool | None = None
    idh_mutant: bool | None = None
    diagnosis: str | None = None
    steroids: tuple[tuple[datetime, float], ...] = ()
    """Dexamethasone (or equivalent) in mg a day, from each date on."""


@dataclass(frozen=True, eq=False, repr=False)
class Patient:
    """A patient's scans and treatments in time order.

    Parameters
    ----------
    id : str
        Patient ID as given.
    visits : tuple of Visit
        By date.
    treatments : tuple of Treatment
        Fractions, drug doses, resections and biopsies, by time.
    structures : mapping of str to Mask
        Planning structures (GTV, brainstem, ...), by name as given, in the frame of the planning images.
    dose : TotalDose or None
        The planned dose.
    plan : PlanRecord or None
        The planned course.
    clinical : Clinical
        Weight, height, markers and the like.
    findings : tuple of Finding
        What was repaired, assumed or left out.
    sources : mapping of str to str
        Path (relative to the folder) of each file that was used, and its SHA-256.
    identity_removed : bool
        Nothing here says who it is; else pages and pictures are written without ID, dates and names.
    """

    id: str
    visits: tuple[Visit, ...]
    treatments: tuple[Treatment, ...] = ()
    structures: Mapping[str, Mask] = field(default_factory=dict)
    dose: TotalDose | None = None
    plan: PlanRecord | None = None
    clinical: Clinical = field(default_factory=Clinical)
    findings: tuple[Finding, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    identity_removed: bool = False
    links: tuple[FrameLink, ...] = ()
    """Spatial Registration objects: how frames of reference lie to each other."""

    def __post_init__(self) -> None:
        require(self.id, str, "a patient's id is a text")
        require(self.visits, (tuple, list), "a patient's visits are a tuple of Visit")
        for visit in self.visits:
            require(visit, Visit, "each of a patient's visits is a Visit")

    def __repr__(self) -> str:
        return text_timeline(self._timeline())

    def _repr_html_(self) -> str:
        return html_timeline(self._timeline())

    def _timeline(self) -> Timeline:
        planned = ""
        if self.plan is not None and self.plan.prescribed is not None and self.plan.fractions is not None:
            planned = f"{self.plan.prescribed:g} Gy in {self.plan.fractions}"
        return Timeline(
            self.id,
            tuple(DrawnVisit(v.date, v.label, _contents(v)) for v in self.visits),
            self.treatments,
            planned,
            self.clinical.steroids,
            len(self.structures),
            len(self.findings),
        )


def _contents(visit: Visit) -> str:
    masks = f"; masks {', '.join(visit.masks)}" if visit.masks else ""
    return ", ".join(sequence.value for sequence in visit.images) + masks
