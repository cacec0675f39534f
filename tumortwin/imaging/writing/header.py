"""What every DICOM file of ours says of itself: whose it is, of which study, made when and by what.

Nothing here asks the clock or a random generator. Unique identifiers are hashes and times come from the source images,
so that equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM, format_number_as_ds

from tumortwin.errors import InputError
from tumortwin.imaging.writing.source import PATIENT_AND_STUDY
from tumortwin.outputs import new_file

RESEARCH_USE = "research use only"
MANUFACTURER = "tumortwin"
"""Stated as manufacturer and model of what is written; a version would make every release change the sample's bytes."""


def hashed_uid(*parts: object) -> UID:
    """Hash the parts into a unique identifier under the root 2.25 that depends on them only."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def decimal(value: float) -> str:
    """Format a number as a DICOM decimal string of at most 16 characters."""
    return format_number_as_ds(float(value))


def stamp(dataset: Dataset, when: datetime, *names: str) -> None:
    """Set date and time attributes, e.g. ``stamp(ds, when, "Series", "Content")``."""
    for name in names:
        setattr(dataset, f"{name}Date", DA(when.date()))
        setattr(dataset, f"{name}Time", TM(when.time()))


def described(description: str, length: int = 64) -> str:
    """Append the words "research use only" to a description, shortened to at most `length` characters in all."""
    return f"{description[: length - len(RESEARCH_USE) - 2]}, {RESEARCH_USE}"


def derived(derivation: str) -> str:
    """How something was made, with the words "research use only", of at most 1024 characters."""
    return f"{derivation[:1000]}; {RESEARCH_USE}"


def item(**attributes: object) -> Dataset:
    """Build a dataset, or sequence item, with these attributes."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def reference(header: Dataset, frame: int | None = None) -> Dataset:
    """Build a sequence item that refers to an instance, or to one frame of it (from 1)."""
    referenced = item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    if frame is not None:
        referenced.ReferencedFrameNumber = frame
    return referenced


def describe(dataset: Dataset, source: Dataset, description: str, when: datetime, *, series_number: int) -> None:
    """State patient, study, equipment, series and dates: the same words in every file we write.

    Parameters
    ----------
    dataset : Dataset
        What is written; what a library put in of its own version and the time of day is replaced.
    source : Dataset
        Gives patient and study.
    description : str
        Series description; the words "research use only" are added.
    when : datetime
        When its content came to be.
    series_number : int
        Number of its series.
    """
    for keyword in PATIENT_AND_STUDY:
        if keyword in source:
            dataset[keyword] = copy(source[keyword])
        elif keyword in dataset:
            del dataset[keyword]
    dataset.SeriesNumber = series_number
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = described(description)
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = dataset.DeviceSerialNumber = MANUFACTURER
    if "ContributingEquipmentSequence" in dataset:
        del dataset.ContributingEquipmentSequence
    stamp(dataset, when, "InstanceCreation", "Series")


def new_instance(
    source: Dataset,
    sop_class: UID,
    modality: str,
    description: str,
    when: datetime,
    *,
    series_number: int,
    syntax: UID = ExplicitVRLittleEndian,
) -> Dataset:
    """Build a dataset of the same patient and study as `source`, with equipment and dates; no pixels and no UID yet.

    Parameters
    ----------
    source : Dataset
        Gives patient and study.
    sop_class : UID
        What kind of object this is.
    modality : str
        DICOM modality.
    description, when, series_number
        As in :func:`describe`.
    syntax : UID
        Transfer syntax it will be written in.
    """
    dataset = Dataset()
    describe(dataset, source, description, when, series_number=series_number)
    dataset.SOPClassUID = sop_class
    dataset.Modality = modality
    dataset.OperatorsName = ""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def name_dimensions(dataset: Dataset, *parts: object) -> None:
    """Give a multi-frame object's dimensions an identifier that follows from the parts; highdicom's is random."""
    organization = hashed_uid("dimensions", *parts)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn what highdicom refuses into an error of ours that says what could not be written."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} cannot be written on these source images: {error}") from error


def write_instance(dataset: Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a dataset. Without a SOP Instance UID it gets one by a hash of its content, and so does its series.

    Raises
    ------
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    if not dataset.get("SOPInstanceUID"):
        digest = hashlib.sha256(_content(dataset)).hexdigest()
        dataset.SOPInstanceUID = hashed_uid("instance", digest)
        if not dataset.get("SeriesInstanceUID"):
            dataset.SeriesInstanceUID = hashed_uid("series", digest)
    meta = dataset.file_meta
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = hashed_uid(MANUFACTURER)
    meta.ImplementationVersionName = MANUFACTURER.upper()
    target = Path(path)
    with new_file(target, overwrite=overwrite) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
    return target


def _content(dataset: Dataset) -> bytes:
    content = DicomFileLike(buffer := BytesIO())
    content.is_little_endian, content.is_implicit_VR = True, dataset.file_meta.TransferSyntaxUID.is_implicit_VR
    write_dataset(content, dataset)
    return buffer.getvalue()
