"""What every DICOM file of ours says of itself: whose it is, of which study, made when and by what.

Nothing here asks the clock or a random generator. Unique identifiers are hashes and times come from the source images,
so that equal input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM, format_number_as_ds

from tumortwin.errors import InputError, ReadError
from tumortwin.outputs import new_file

RESEARCH_USE = "research use only"
MANUFACTURER = "tumortwin"
"""Stated as manufacturer and model of what is written; a version would make every release change the sample's bytes."""

PATIENT_AND_STUDY = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "PatientComments", "StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber", "StudyDescription",
)  # fmt: skip

Source = Dataset | str | os.PathLike[str]


def hashed_uid(*parts: object) -> UID:
    """A unique identifier under the root 2.25 that depends on the parts only."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def decimal(value: float) -> str:
    """A number as a DICOM decimal string: at most 16 characters."""
    return format_number_as_ds(float(value))


def stamp(dataset: Dataset, when: datetime, *names: str) -> None:
    """Set date and time attributes, e.g. ``stamp(ds, when, "Series", "Content")``."""
    for name in names:
        setattr(dataset, f"{name}Date", DA(when.date()))
        setattr(dataset, f"{name}Time", TM(when.time()))


def moment(header: Dataset) -> datetime:
    """When the content of an instance came to be: the most specific date and time its header gives.

    Raises
    ------
    InputError
        If it gives none.
    """
    for name in ("Acquisition", "Content", "Series", "Study"):
        day, time = header.get(f"{name}Date"), header.get(f"{name}Time")
        if day:
            return datetime.combine(DA(day), TM(time) if time else datetime.min.time())
    if header.get("AcquisitionDateTime"):
        return pydicom.valuerep.DT(header.AcquisitionDateTime).replace(tzinfo=None)
    raise InputError(f"{header.get('SOPInstanceUID')} has no date: give the time of what is written (when=...)")


def read_header(source: Source) -> Dataset:
    """A dataset as it is, or the header of a DICOM file without its pixels.

    Raises
    ------
    ReadError
        If the file cannot be read as DICOM.
    """
    if isinstance(source, Dataset):
        return source
    try:
        return pydicom.dcmread(source, stop_before_pixels=True)
    except (OSError, InvalidDicomError) as error:
        raise ReadError(f"{source} cannot be read as DICOM: {error}") from error


def read_headers(sources: Iterable[Source]) -> list[Dataset]:
    """Headers of the images of one series.

    Raises
    ------
    InputError
        If there are none, or they are of several series.
    """
    headers = [read_header(source) for source in sources]
    if not headers:
        raise InputError("no source images: give the files (or headers) of the image series that is referred to")
    series = {str(header.SeriesInstanceUID) for header in headers}
    if len(series) > 1:
        raise InputError(f"the source images are of several series, give those of one: {', '.join(sorted(series))}")
    return headers


def item(**attributes: object) -> Dataset:
    """A dataset, or sequence item, with these attributes."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def reference(header: Dataset, frame: int | None = None) -> Dataset:
    """A sequence item that refers to an instance, or to one frame of it (from 1)."""
    referenced = item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    if frame is not None:
        referenced.ReferencedFrameNumber = frame
    return referenced


def new_instance(source: Dataset, sop_class: UID, modality: str, description: str, when: datetime, *,
                 series_number: int, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """A dataset of the same patient and study as `source`, with equipment and dates; no pixels, no UID of its own yet.

    Parameters
    ----------
    source : Dataset
        Gives patient and study.
    sop_class : UID
        What kind of object this is.
    modality : str
        DICOM modality.
    description : str
        Series description; the words "research use only" are added.
    when : datetime
        When its content came to be.
    series_number : int
        Number of its series.
    syntax : UID
        Transfer syntax it will be written in.
    """
    dataset = Dataset()
    for keyword in PATIENT_AND_STUDY:
        if keyword in source:
            dataset[keyword] = source[keyword]
    dataset.SOPClassUID = sop_class
    dataset.Modality = modality
    dataset.SeriesNumber = series_number
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = f"{description[:64 - len(RESEARCH_USE) - 2]}, {RESEARCH_USE}"
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = dataset.DeviceSerialNumber = MANUFACTURER
    dataset.OperatorsName = ""
    stamp(dataset, when, "InstanceCreation", "Series")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def write_instance(dataset: Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a dataset. Without a SOP Instance UID it gets one, and a series of its own, by a hash of its content.

    Raises
    ------
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    if not dataset.get("SOPInstanceUID"):
        content = DicomFileLike(buffer := BytesIO())
        content.is_little_endian, content.is_implicit_VR = True, dataset.file_meta.TransferSyntaxUID.is_implicit_VR
        write_dataset(content, dataset)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        dataset.SOPInstanceUID = hashed_uid("instance", digest)
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
