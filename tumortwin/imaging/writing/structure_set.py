"""Masks as a DICOM RT Structure Set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Mask
from tumortwin.imaging.writing.contours import contours
from tumortwin.imaging.writing.header import derived, item, new_instance, reference, stamp, write_instance
from tumortwin.imaging.writing.planes import images_of_planes
from tumortwin.imaging.writing.source import DicomSource, Source

DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
"""The (retired) class that RT structure sets still name to refer to a study."""

COLORS = (
    (230, 60, 60),
    (240, 150, 40),
    (250, 220, 60),
    (90, 190, 90),
    (70, 170, 220),
    (150, 110, 210),
    (220, 110, 180),
    (150, 150, 150),
)


def roi_type(name: str) -> str:
    """RT ROI Interpreted Type by the usual names: GTV, CTV, PTV, EXTERNAL (body, external, skin), else ORGAN."""
    target = re.match(r"\W*(GTV|CTV|PTV)", name, re.IGNORECASE)
    if target:
        return target[1].upper()
    return "EXTERNAL" if re.search(r"\b(body|external|skin)\b", name, re.IGNORECASE) else "ORGAN"


def write_structures(
    masks: Mapping[str, Mask],
    source: DicomSource | Iterable[Source],
    path: str | os.PathLike[str],
    *,
    label: str = "Structures",
    types: Mapping[str, str] | None = None,
    generation: str = "",
    derivation: str = "",
    when: datetime | None = None,
    series_number: int = 302,
    overwrite: bool = False,
) -> Path:
    """Write masks as a structure set on the images they were drawn on.

    Every plane of a mask gives one closed contour for each part, with holes joined by keyholes (see
    :func:`tumortwin.imaging.writing.contours.contours`). The file is in implicit VR, since
    explicit VR cannot hold contours of more than 64 kB.

    Parameters
    ----------
    masks : mapping of str to Mask
        By ROI name, all on the grid of the source images.
    source : DicomSource, files or headers
        Images of the one series that the structures refer to: one for each plane, or a multi-frame one; files keep
        their identity.
    path : path-like
        The file to write.
    label : str
        Structure set label (cut to 16 characters) and series description.
    types : mapping of str to str, optional
        RT ROI Interpreted Type by name where :func:`roi_type` would be wrong; may be empty.
    generation : str
        How the ROIs were made: "MANUAL", "SEMIAUTOMATIC", "AUTOMATIC" or unknown.
    derivation : str
        The same for people.
    when : datetime, optional
        When they were made; without it, the time of the latest source image.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If a mask is empty or not on the images' grid.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    origin = DicomSource.of(source)
    headers, moment = origin.headers, origin.time(when)
    dataset = new_instance(
        origin.first,
        RTStructureSetStorage,
        "RTSTRUCT",
        label,
        moment,
        series_number=series_number,
        syntax=ImplicitVRLittleEndian,
    )
    frame = origin.first.get("FrameOfReferenceUID")
    dataset.FrameOfReferenceUID = frame
    dataset.PositionReferenceIndicator = ""
    dataset.StructureSetLabel = label[:16]
    if derivation:
        dataset.StructureSetDescription = derived(derivation)
    stamp(dataset, moment, "StructureSet")
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame(frame, headers)]
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    for number, (name, mask) in enumerate(masks.items(), 1):
        dataset.StructureSetROISequence.append(
            item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=frame,
                ROIName=name,
                ROIGenerationAlgorithm=generation,
            )
        )
        dataset.ROIContourSequence.append(
            item(
                ReferencedROINumber=number,
                ROIDisplayColor=list(COLORS[(number - 1) % len(COLORS)]),
                ContourSequence=_contour_items(name, replace(mask, grid=origin.place(mask.grid)), headers),
            )
        )
        dataset.RTROIObservationsSequence.append(
            item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                ROIInterpreter="",
                RTROIInterpretedType=(types or {}).get(name, roi_type(name)),
            )
        )
    return write_instance(dataset, path, overwrite=overwrite)


def _referenced_frame(frame: str, headers: Sequence[Dataset]) -> Dataset:
    series = item(
        SeriesInstanceUID=headers[0].SeriesInstanceUID, ContourImageSequence=[reference(header) for header in headers]
    )
    study = item(
        ReferencedSOPClassUID=DETACHED_STUDY,
        ReferencedSOPInstanceUID=headers[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])


def _contour_items(name: str, mask: Mask, headers: Sequence[Dataset]) -> list[Dataset]:
    if not mask.array.any():
        raise InputError(f"the structure {name!r} is empty: leave it out")
    items: list[Dataset] = []
    for plane, (image, frame) in enumerate(images_of_planes(mask.grid, headers)):
        for polygon in contours(mask.array[plane]):
            points = mask.grid.to_world(np.column_stack([np.full(len(polygon), plane), polygon]))
            items.append(
                item(
                    ContourImageSequence=[reference(image, frame)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourNumber=len(items) + 1,
                    ContourData=[f"{v:.4f}".rstrip("0").rstrip(".") for v in points.ravel()],
                )
            )
    return items
