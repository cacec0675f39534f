"""Whose a result is and what it was made from: the one place where a source's identity enters what we write."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.identity import profile
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.imaging.identity.words import clean_text
from tumortwin.imaging.reading.attributes import parse_datetime
from tumortwin.imaging.volume import Grid

Source = Dataset | str | os.PathLike[str]


class Identity(StrEnum):
    """Whether a file we write says who the patient is."""

    SOURCE = "source"
    """Name, dates and identifiers as the source has them: for the PACS that the images came from."""
    REMOVED = "removed"
    """A pseudonym, shifted dates and identifiers of their own: a de-identified study."""

    @classmethod
    def _missing_(cls, value: object) -> Identity:
        raise InputError(f"identity is one of {', '.join(repr(str(i)) for i in cls)}, not {value!r}")


PATIENT_AND_STUDY = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientAge", "PatientSize", "PatientWeight", "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified", "StudyInstanceUID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription",
)  # fmt: skip
"""What every file of a study says of patient and study."""

REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""May be empty, but not missing; some archives leave them out."""

# what tells an image apart and where it lies; of structure sets and plans the names and numbers that others refer to
_OBJECT = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator",
    "Modality", "Rows", "Columns", "NumberOfFrames", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "BodyPartExamined", "StructureSetROISequence", "FractionGroupSequence",
)  # fmt: skip
_GEOMETRY = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
_MOMENTS = ("Acquisition", "Content", "Series", "Study")
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class DicomSource:
    """What a result is made from, as the result's file will tell it.

    Make it with :meth:`of`. Writers take one in place of files. Names and descriptions that a caller gives to a writer
    are not looked at: for a source without identity they must be nobody's; :meth:`exported_name` cleans them.

    Parameters
    ----------
    headers : tuple of Dataset
        Of the images (or RT objects) of one series.
    pseudonym : Pseudonym or None
        In whose place they speak; None if they speak of the patient.
    """

    headers: tuple[Dataset, ...]
    pseudonym: Pseudonym | None = None

    @classmethod
    def of(
        cls,
        sources: DicomSource | Source | Iterable[Source],
        identity: Identity | str = Identity.SOURCE,
        key: bytes | None = None,
    ) -> DicomSource:
        """Read the headers of one series.

        Parameters
        ----------
        sources : files or headers
            A DicomSource passes unchanged.
        identity : Identity
            Whether what is written says who the patient is.
        key : bytes, optional
            Of the pseudonyms. Without it they follow from patient ID and study: nobody can guess them without the
            images, but whoever has the images can tell whose they are.

        Raises
        ------
        InputError
            If there are no sources, they are of several series or patients, or `identity` is no such option.
        ReadError
            If a file cannot be read as DICOM, or lacks what identifies an instance.
        """
        if isinstance(sources, DicomSource):
            return sources
        identity = Identity(identity)
        if isinstance(sources, Dataset | str | os.PathLike):
            sources = [sources]
        headers = [read_header(source) for source in sources]
        if not headers:
            raise InputError("no source images: give the files (or headers) of the image series that is referred to")
        for keyword in ("SeriesInstanceUID", "PatientID"):
            found = {str(header.get(keyword, "")) for header in headers}
            if len(found) > 1:
                what = "series" if keyword == "SeriesInstanceUID" else "patients"
                raise InputError(
                    f"the source images are of several {what}, give those of one: {', '.join(sorted(found))}"
                )
        first = headers[0]
        if identity is Identity.SOURCE or first.get("PatientIdentityRemoved") == "YES":
            return cls(tuple(_reduced(header) for header in headers))
        key = key or hashlib.sha256(f"{first.get('PatientID')}\x1f{first.StudyInstanceUID}".encode()).digest()
        pseudonym = Pseudonym(key, str(first.get("PatientID", "")))
        return cls(tuple(_removed(header, pseudonym) for header in headers), pseudonym)

    @property
    def first(self) -> Dataset:
        """The first header: patient and study."""
        return self.headers[0]

    def time(self, when: datetime | None = None) -> datetime:
        """Convert a true time to the one that the file states; without a time, return the latest of the headers.

        Raises
        ------
        InputError
            If no time is given and the headers have none.
        """
        if when is None:
            return max(moment(header) for header in self.headers)
        return when + self.pseudonym.shift if self.pseudonym else when

    def place(self, grid: Grid) -> Grid:
        """Return a grid in the patient's frame of reference with the frame UID that the file states."""
        if self.pseudonym is None or grid.frame is None or grid.frame == self.first.get("FrameOfReferenceUID"):
            return grid
        return replace(grid, frame=str(self.pseudonym.uid(grid.frame)))

    def exported_name(self, name: str) -> str:
        """Remove words that may be a person's name from a given name (of a structure), if the file is pseudonymized."""
        if self.pseudonym is None:
            return name
        kept = clean_text(name)
        return kept if kept == name else f"{kept} {self.pseudonym.label('name', name, 4)}".strip()

    def followed_by(self, written: Source) -> Self:
        """Make what was written from this source the source of the next object: a plan of its structure set."""
        return replace(self, headers=(read_header(written),))


def read_header(source: Source) -> Dataset:
    """Return a dataset as it is, or read the header of a DICOM file without its pixels.

    Raises
    ------
    ReadError
        If the file cannot be read as DICOM, or lacks what identifies an instance.
    """
    if isinstance(source, Dataset):
        header, where = source, str(source.get("SOPInstanceUID", "a header"))
    else:
        where = os.fspath(source)
        try:
            header = pydicom.dcmread(source, stop_before_pixels=True)
        except (OSError, InvalidDicomError) as error:
            raise ReadError(f"{where} cannot be read as DICOM: {error}") from error
    missing = [
        k for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID") if not header.get(k)
    ]
    if missing:
        raise ReadError(f"{where} has no {' and no '.join(missing)}: nothing can refer to it; export it again")
    return header


def moment(header: Dataset) -> datetime:
    """When the content of an instance came to be: the most specific date and time its header gives.

    Raises
    ------
    InputError
        If it gives none.
    """
    for given in (
        *(_text(header, f"{name}Date") + _text(header, f"{name}Time") for name in _MOMENTS),
        _text(header, "AcquisitionDateTime"),
    ):
        found = parse_datetime(given)
        if found is not None:
            return found
    raise InputError(f"{header.get('SOPInstanceUID')} has no date: give the time of what is written (when=...)")


def _reduced(header: Dataset) -> Dataset:
    """Reduce a header to what a result may state, with the attributes that a file must have."""
    reduced = Dataset()
    for keyword in (
        *PATIENT_AND_STUDY,
        *_OBJECT,
        "AcquisitionDateTime",
        *(f"{name}{part}" for name in _MOMENTS for part in ("Date", "Time")),
    ):
        if keyword in header:
            reduced[keyword] = copy(header[keyword])  # not the header's own: it would change with the copy
    for keyword in REQUIRED:
        if keyword not in reduced:
            setattr(reduced, keyword, None)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if keyword in header:
            setattr(reduced, keyword, [_only(group, _GEOMETRY) for group in header[keyword].value])
    return reduced


def _removed(header: Dataset, pseudonym: Pseudonym) -> Dataset:
    """Build a reduced header without identity: PS3.15 basic profile, temporal information kept with modified dates."""
    removed = _reduced(header)
    for keyword in PATIENT_AND_STUDY:
        if keyword in removed:
            del removed[keyword]
    for keyword in REQUIRED:
        setattr(removed, keyword, "")
    removed.SpecificCharacterSet = "ISO_IR 192"
    removed.PatientName, removed.PatientID = f"{pseudonym.name}^", pseudonym.name
    removed.StudyInstanceUID = header.StudyInstanceUID
    for keyword in _UIDS:
        if keyword in removed:
            setattr(removed, keyword, pseudonym.uid(removed[keyword].value))
    for keyword in ("AcquisitionDateTime", *(f"{name}Date" for name in _MOMENTS)):
        day = parse_datetime(_text(header, keyword)[:8])  # shifts are whole days: times of day stay
        if day is not None:
            setattr(removed, keyword, f"{day + pseudonym.shift:%Y%m%d}{_text(header, keyword)[8:]}")
        elif keyword in removed:
            setattr(removed, keyword, "")
    removed.StudyTime = _text(header, "StudyTime")
    if "StructureSetROISequence" in removed:
        removed.StructureSetROISequence = [
            _only(roi, ("ROINumber", "ROIName")) for roi in removed.StructureSetROISequence
        ]
    if "FractionGroupSequence" in removed:
        removed.FractionGroupSequence = [
            _only(group, ("FractionGroupNumber", "NumberOfFractionsPlanned")) for group in removed.FractionGroupSequence
        ]
    removed.PatientIdentityRemoved = "YES"
    # as de-identified images say it: descriptors are ours, with what callers name cleaned by them
    removed.DeidentificationMethod = [f"DICOM {profile.EDITION} annex E", "tumortwin"]
    removed.DeidentificationMethodCodeSequence = [
        _code(*code) for code in (profile.BASIC, profile.CLEAN_DESCRIPTORS, profile.MODIFIED_DATES)
    ]
    removed.LongitudinalTemporalInformationModified = "MODIFIED"
    return removed


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()


def _only(dataset: Dataset, keywords: Iterable[str]) -> Dataset:
    kept = Dataset()
    for keyword in keywords:
        if keyword in dataset:
            kept[keyword] = copy(dataset[keyword])
    return kept


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
