"""Pictures as DICOM Secondary Captures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from tumortwin.errors import InputError
from tumortwin.imaging.writing.header import (
    MANUFACTURER,
    derived,
    describe,
    hashed_uid,
    reference,
    refusals,
    stamp,
    write_instance,
)
from tumortwin.imaging.writing.source import DicomSource, Source


def write_captures(
    pictures: Mapping[str, NDArray[np.uint8]],
    source: DicomSource | Source,
    folder: str | os.PathLike[str],
    *,
    description: str = "Pictures",
    derivation: str = "",
    when: datetime | None = None,
    series_number: int = 309,
    overwrite: bool = False,
) -> list[Path]:
    """Write pictures as one series, a file each.

    Parameters
    ----------
    pictures : mapping of str to (rows, columns, 3) uint8 array
        Red, green and blue, by file name without ending. What they show is not looked at: a picture for a
        de-identified study must not name the patient.
    source : DicomSource, file or header
        An image (or images) of the study; a file keeps its identity.
    folder : path-like
        Where the files go.
    description : str
        Series description.
    derivation : str
        What the pictures show, for people.
    when : datetime, optional
        When they were made; without it, the time of the latest source.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace files that are there already.

    Raises
    ------
    InputError
        If there is no picture, or one is not of 8-bit RGB.
    OutputExistsError
        If a file exists and `overwrite` is false.
    """
    if not pictures:
        raise InputError("there is no picture to write")
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise InputError(
                f"the picture {name!r} is {picture.dtype} of shape {picture.shape}: give 8-bit RGB of "
                "shape (rows, columns, 3)"
            )
    origin = DicomSource.of(source)
    moment = origin.time(when)
    digest = hashlib.sha256(b"".join(p.tobytes() for p in pictures.values())).hexdigest()
    series = hashed_uid("captures", origin.first.StudyInstanceUID, description, moment, digest)
    files = []
    for number, (name, picture) in enumerate(pictures.items(), 1):
        with refusals("a Secondary Capture"):
            image = highdicom.sc.SCImage.from_ref_dataset(
                origin.first,
                np.ascontiguousarray(picture),
                "RGB",
                8,
                "PATIENT",
                series_instance_uid=series,
                series_number=series_number,
                sop_instance_uid=hashed_uid(series, number),
                instance_number=number,
                manufacturer=MANUFACTURER,
                patient_orientation=("L", "P"),
                transfer_syntax_uid=ExplicitVRLittleEndian,
            )
        describe(image, origin.first, description, moment, series_number=series_number)
        image.InstanceNumber = number
        stamp(image, moment, "Content")
        image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = image.ContentDate, image.ContentTime
        image.PatientOrientation = []  # pictures may show several views
        image.BodyPartExamined = "BRAIN"
        image.BurnedInAnnotation = "YES"
        image.DerivationDescription = derived(derivation)
        image.SourceImageSequence = [reference(header) for header in origin.headers]
        # pydicom's own encoder is there in every installation, and so the bytes are the same
        image.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        files.append(write_instance(image, Path(folder) / f"{name}.dcm", overwrite=overwrite))
    return files
