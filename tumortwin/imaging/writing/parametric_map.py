"""Numbers in space, such as a cell density, as a DICOM Parametric Map."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Volume
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
from tumortwin.imaging.writing.planes import planes_of
from tumortwin.imaging.writing.source import DicomSource, Source

UNITS: Mapping[str, Code] = {
    "1": Code("1", "UCUM", "no units"),
    "mm^2/s": Code("mm2/s", "UCUM", "square millimeter per second"),
    "mm^2/day": Code("mm2/d", "UCUM", "square millimeter per day"),
    "1/day": Code("/d", "UCUM", "per day"),
    "Gy": Code("Gy", "UCUM", "Gray"),
    "HU": Code("[hnsf'U]", "UCUM", "Hounsfield unit"),
}
"""Units of volumes and their codes in UCUM."""


def write_map(
    volume: Volume,
    source: DicomSource | Iterable[Source],
    path: str | os.PathLike[str],
    *,
    label: str,
    derivation: str,
    description: str = "Parametric map",
    window: tuple[float, float] | None = None,
    when: datetime | None = None,
    series_number: int = 306,
    overwrite: bool = False,
) -> Path:
    """Write a volume as it is, in 32-bit floating point and on its own grid.

    Parameters
    ----------
    volume : Volume
        Finite values in one of :data:`UNITS`, on any grid of right angles in the images' frame of reference.
    source : DicomSource, files or headers
        Images of the one series that the map was derived from; files keep their identity.
    path : path-like
        The file to write.
    label : str
        What a value is, in at most 16 characters: "cell density".
    derivation : str
        How the values were made, for people.
    description : str
        Series description.
    window : (float, float), optional
        Values that are drawn black and white; by default all.
    when : datetime, optional
        What time the values are of; without it, that of the latest source image.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If a value is not finite, the unit has no code, the label is too long, or the grid is sheared or in another
        frame of reference than the images.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    if volume.unit not in UNITS:
        raise InputError(f"no code is known for the unit {volume.unit!r}: give values in one of {list(UNITS)}")
    if not 1 <= len(label) <= 16:
        raise InputError(f"a map's label has 1 to 16 characters, not {len(label)}: {label!r}")
    if not np.isfinite(volume.array).all():
        gaps = int((~np.isfinite(volume.array)).sum())
        raise InputError(
            f"the map {volume.name or label!r} has {gaps} voxels that are not finite: "
            "give them a value, such as 0, and say so in the derivation"
        )
    origin = DicomSource.of(source)
    grid, moment = origin.place(volume.grid), origin.time(when)
    planes_of(grid)
    if grid.frame is None or grid.frame != origin.first.get("FrameOfReferenceUID"):
        raise InputError(
            f"the map is in frame of reference {grid.frame}, the images in "
            f"{origin.first.get('FrameOfReferenceUID')}: resample onto a grid of the images' frame first"
        )
    values = volume.array.astype(np.float32)
    low, high = (float(v) for v in (window or (values.min(), values.max())))
    meaning = RealWorldValueMapping(
        lut_label=label,
        lut_explanation=described(label),
        unit=UNITS[volume.unit],
        slope=1.0,
        intercept=0.0,
        value_range=(float(values.min()), float(values.max())),
    )
    # the usual function knows no windows narrower than one
    contrast = highdicom.VOILUTTransformation((low + high) / 2, max(high - low, 1e-6), voi_lut_function="LINEAR_EXACT")
    with refusals("a Parametric Map"):
        made = ParametricMap(
            source_images=origin.headers,
            pixel_array=highdicom.Volume(values, grid.affine, "PATIENT", frame_of_reference_uid=grid.frame),
            # real identifiers follow from the content, when it is complete
            series_instance_uid=hashed_uid(),
            sop_instance_uid=hashed_uid(),
            series_number=series_number,
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=MANUFACTURER,
            device_serial_number=MANUFACTURER,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[meaning],
            voi_lut_transformations=[contrast],
            content_label="MAP",
            content_description=described(description),
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
    describe(made, origin.first, description, moment, series_number=series_number)
    stamp(made, moment, "Content")
    made.BodyPartExamined = "BRAIN"
    made.DerivationDescription = derived(derivation)
    name_dimensions(made, origin.first.SeriesInstanceUID, label)
    del made.SOPInstanceUID, made.SeriesInstanceUID
    return write_instance(made, path, overwrite=overwrite)
