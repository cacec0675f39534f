"""Masks as a DICOM Segmentation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import SegmentDescription
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Mask
from tumortwin.imaging.writing.header import (
    MANUFACTURER,
    derived,
    describe,
    described,
    hashed_uid,
    name_dimensions,
    refusals,
    stamp,
    write_instance,
)
from tumortwin.imaging.writing.planes import images_of_planes
from tumortwin.imaging.writing.source import DicomSource, Source

ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
BRAIN = Code("12738006", "SCT", "Brain")

SEGMENT_TYPES: Mapping[str, Code] = {
    "whole tumor": Code("108369006", "SCT", "Neoplasm"),
    "enhancing": Code("C113842", "NCIt", "Enhancing Lesion"),
    "non-enhancing": Code("C81175", "NCIt", "Non-Enhancing Lesion"),
    "necrosis": Code("6574001", "SCT", "Necrosis"),
    "edema": Code("79654002", "SCT", "Edema"),
}
"""Segment names and their codes in DICOM's context group 7159, Lesion Segmentation Type (SNOMED CT where it can)."""


def write_segmentation(
    masks: Mapping[str, Mask],
    source: DicomSource | Iterable[Source],
    path: str | os.PathLike[str],
    *,
    description: str = "Segmentation",
    derivation: str = "",
    types: Mapping[str, Code] = SEGMENT_TYPES,
    algorithm: highdicom.AlgorithmIdentificationSequence | None = None,
    when: datetime | None = None,
    series_number: int = 301,
    overwrite: bool = False,
) -> Path:
    """Write masks as one binary Segmentation that refers to the images they were drawn on.

    Planes in which a segment is empty are left out of the file, as is usual; a reader brings it back to the images'
    geometry.

    Parameters
    ----------
    masks : mapping of str to Mask
        By name; they may overlap. All on the grid of the source images.
    source : DicomSource, files or headers
        Images of the one series that the masks were drawn on; files keep their identity.
    path : path-like
        The file to write.
    description : str
        Series description.
    derivation : str
        How the masks were made, for people.
    types : mapping of str to Code
        What each name means; see :data:`SEGMENT_TYPES`.
    algorithm : highdicom.AlgorithmIdentificationSequence, optional
        What program made the masks; without it they count as drawn by hand.
    when : datetime, optional
        When they were made; without it, the time of the latest source image.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If a name has no code, all masks are empty, or they are not on the images' grid.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    unknown = [name for name in masks if name not in types]
    if unknown:
        raise InputError(f"no code is known for the segments {unknown}: use the names {list(types)}, or give types")
    if not any(mask.array.any() for mask in masks.values()):
        raise InputError(f"there is nothing to write: the masks {list(masks)} are empty")
    origin = DicomSource.of(source)
    first = next(iter(masks.values())).grid
    for name, mask in masks.items():
        if not mask.grid.matches(first):
            raise InputError(f"the mask {name!r} is on another grid than the first: resample it first")
    grid = origin.place(first)
    images_of_planes(grid, origin.headers)
    moment = origin.time(when)
    volume = highdicom.Volume(
        np.stack([mask.array for mask in masks.values()], axis=-1).astype(np.uint8),
        grid.affine,
        "PATIENT",
        frame_of_reference_uid=grid.frame,
        channels={"SegmentNumber": list(range(1, len(masks) + 1))},
    )
    with refusals("a Segmentation"):
        segmentation = highdicom.seg.Segmentation(
            source_images=origin.headers,
            pixel_array=volume,
            segmentation_type="BINARY",
            segment_descriptions=[_segment(n, name, types[name], algorithm) for n, name in enumerate(masks, 1)],
            # real identifiers follow from the content, when it is complete
            series_instance_uid=hashed_uid(),
            sop_instance_uid=hashed_uid(),
            series_number=series_number,
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=MANUFACTURER,
            device_serial_number=MANUFACTURER,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            content_label="SEGMENTATION",
            content_description=described(description),
        )
    if derivation:
        for segment in segmentation.SegmentSequence:
            segment.SegmentDescription = derived(derivation)
    describe(segmentation, origin.first, description, moment, series_number=series_number)
    stamp(segmentation, moment, "Content")
    segmentation.BodyPartExamined = "BRAIN"
    name_dimensions(segmentation, origin.first.SeriesInstanceUID, *masks)
    del segmentation.SOPInstanceUID, segmentation.SeriesInstanceUID
    return write_instance(segmentation, path, overwrite=overwrite)


def _segment(
    number: int, name: str, meaning: Code, algorithm: highdicom.AlgorithmIdentificationSequence | None
) -> SegmentDescription:
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=ABNORMAL,
        segmented_property_type=meaning,
        algorithm_type="AUTOMATIC" if algorithm else "MANUAL",
        algorithm_identification=algorithm,
        anatomic_regions=[BRAIN],
    )
