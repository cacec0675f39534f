"""Measurements as a DICOM Structured Report (TID 1500)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from tumortwin.errors import InputError
from tumortwin.imaging.writing.header import (
    MANUFACTURER,
    RESEARCH_USE,
    describe,
    hashed_uid,
    refusals,
    stamp,
    write_instance,
)
from tumortwin.imaging.writing.segmentation import BRAIN
from tumortwin.imaging.writing.source import DicomSource, Source, read_header

Point = tuple[float, float, float]
Line = tuple[Point, Point]
Group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations

MILLILITER = Code("mL", "UCUM", "milliliter")
PROCEDURES = {"MR": Code("24590-2", "LN", "MR Brain"), "CT": Code("24725-4", "LN", "CT Head")}


@dataclass(frozen=True)
class Measured:
    """The size of one segment.

    Parameters
    ----------
    name : str
        Label of the segment in the Segmentation that was measured.
    volume_ml : float
        Volume in mL.
    longest, perpendicular : pair of (x, y, z), optional
        Ends of the longest diameter and of the longest one perpendicular to it, LPS mm.
    """

    name: str
    volume_ml: float
    longest: Line | None = None
    perpendicular: Line | None = None


def write_measurements(
    measured: Iterable[Measured],
    segmentation: Source,
    source: DicomSource | Iterable[Source],
    path: str | os.PathLike[str],
    *,
    method: str,
    time_point: str = "",
    description: str = "Measurements",
    when: datetime | None = None,
    series_number: int = 307,
    overwrite: bool = False,
) -> Path:
    """Write volumes and diameters as a measurement report that refers to segments and images.

    Each segment has its volume (TID 1411) and the two diameters of RANO with the places of their ends (TID 1501). The
    report is complete, but preliminary and unverified: nobody has signed it.

    Parameters
    ----------
    measured : iterable of Measured
        One for each segment.
    segmentation : file or header
        The Segmentation that :func:`~tumortwin.imaging.writing.segmentation.write_segmentation` wrote from the same
        source.
    source : DicomSource, files or headers
        The images that were segmented; files keep their identity.
    path : path-like
        The file to write.
    method : str
        How the numbers were made, for people.
    time_point : str
        What is measured, "2024-03-01" or "week 12".
    description : str
        Series description.
    when : datetime, optional
        When the images were made; without it, the time of the latest.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If there is nothing to report, a number is negative or not finite, a segment is missing in the Segmentation, or
        that is of another study than the images.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    origin = DicomSource.of(source)
    moment = origin.time(when)
    drawn = read_header(segmentation)
    if drawn.StudyInstanceUID != origin.first.StudyInstanceUID:
        raise InputError(
            f"the Segmentation is of study {drawn.StudyInstanceUID}, the images of "
            f"{origin.first.StudyInstanceUID}: measure the segments on their own images"
        )
    if origin.first.get("Modality") not in PROCEDURES:
        raise InputError(
            f"measurements are reported of {' or '.join(PROCEDURES)} images, not {origin.first.get('Modality')}"
        )
    groups = [group for one in measured for group in _groups(one, drawn, origin, time_point)]
    if not groups:
        raise InputError("there is no measurement to report")
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=hashed_uid(MANUFACTURER), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
        ),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=PROCEDURES[origin.first.Modality],
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    content[0].ContentSequence.append(
        sr.TextContentItem(
            codes.DCM.Comment,
            f"{method}. Computed, not measured by a reader; {RESEARCH_USE}, not for clinical decisions.",
            sr.RelationshipTypeValues.CONTAINS,
        )
    )
    with refusals("a Structured Report"):
        report = sr.Comprehensive3DSR(
            evidence=[*origin.headers, drawn],
            content=content[0],
            # real identifiers follow from the content, when it is complete
            series_instance_uid=hashed_uid(),
            sop_instance_uid=hashed_uid(),
            series_number=series_number,
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
        )
    describe(report, origin.first, description, moment, series_number=series_number)
    stamp(report, moment, "Content")
    del report.SOPInstanceUID, report.SeriesInstanceUID
    return write_instance(report, path, overwrite=overwrite)


def _groups(one: Measured, drawn: Dataset, origin: DicomSource, time_point: str) -> list[Group]:
    """Build a tracked lesion's groups: the segment's volume (TID 1411), its diameters with their ends (TID 1501)."""
    segments = {s.SegmentLabel: s for s in drawn.get("SegmentSequence", ())}
    if one.name not in segments:
        raise InputError(f"the Segmentation has no segment {one.name!r}: it has {sorted(segments)}")
    segment = segments[one.name]
    if not (np.isfinite(one.volume_ml) and one.volume_ml >= 0):
        raise InputError(f"{one.name}: a volume is finite and >= 0 mL, not {one.volume_ml}")
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=hashed_uid("lesion", origin.first.PatientID, one.name), identifier=one.name
        ),
        "time_point_context": sr.TimePointContext(time_point) if time_point else None,
        "finding_type": Code(kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning),
        "finding_sites": [sr.FindingSite(BRAIN)],
    }
    groups: list[Group] = [
        sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=sr.ReferencedSegment(
                drawn.SOPClassUID,
                drawn.SOPInstanceUID,
                segment.SegmentNumber,
                source_series=sr.SourceSeriesForSegmentation(origin.first.SeriesInstanceUID),
            ),
            measurements=[sr.Measurement(codes.SCT.Volume, round(one.volume_ml, 3), MILLILITER)],
            **common,
        )
    ]
    lines = [(codes.SCT.LongAxis, one.longest), (codes.SCT.PerpendicularAxis, one.perpendicular)]
    diameters = [
        _diameter(one.name, name, np.array(line, np.float64), origin) for name, line in lines if line is not None
    ]
    if diameters:
        groups.append(sr.MeasurementsAndQualitativeEvaluations(measurements=diameters, **common))
    return groups


def _diameter(of: str, name: Code, ends: np.ndarray, origin: DicomSource) -> sr.Measurement:
    if ends.shape != (2, 3) or not np.isfinite(ends).all():
        raise InputError(f"{of}: a diameter has two finite ends (x, y, z), not {ends.tolist()}")
    line = sr.CoordinatesForMeasurement3D("POLYLINE", ends, origin.first.FrameOfReferenceUID)
    return sr.Measurement(
        name, round(float(np.linalg.norm(ends[1] - ends[0])), 2), codes.UCUM.Millimeter, referenced_coordinates=[line]
    )
