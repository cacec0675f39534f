"""A dose map as a DICOM RT Dose."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.tag import Tag
from pydicom.uid import RTDoseStorage

from tumortwin.errors import InputError
from tumortwin.imaging.volume import FractionDose, TotalDose
from tumortwin.imaging.writing.header import (
    RESEARCH_USE,
    decimal,
    described,
    item,
    new_instance,
    reference,
    stamp,
    write_instance,
)
from tumortwin.imaging.writing.planes import planes_of
from tumortwin.imaging.writing.source import DicomSource, Source


def write_dose(
    dose: TotalDose | FractionDose,
    plan: DicomSource | Source,
    path: str | os.PathLike[str],
    *,
    bits: int = 16,
    description: str = "Dose",
    derivation: str = "",
    when: datetime | None = None,
    series_number: int = 304,
    overwrite: bool = False,
) -> Path:
    """Write a dose map on its own grid.

    Stored values are whole numbers times DoseGridScaling, so a dose comes back within half a scaling step: maximum dose
    / 131 068 with 16 bits.

    Parameters
    ----------
    dose : TotalDose or FractionDose
        Its type decides what the file says: the dose of the whole plan (PLAN), or of one session of its first fraction
        group (FRACTION_SESSION). The grid may be oblique.
    plan : DicomSource, file or header
        The RT Plan that gives this dose, or, for a dose without a plan, an image of its study. A file keeps its
        identity.
    path : path-like
        The file to write.
    bits : int
        16 or 32.
    description : str
        Series description.
    derivation : str
        How the dose was made, for people: at most 45 characters.
    when : datetime, optional
        When it was computed; without it, the time of the plan.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If a value is negative or not finite, the grid is sheared or not in the plan's frame of reference, or `bits` is
        neither 16 nor 32.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    if bits not in (16, 32):
        raise InputError(f"doses are stored with 16 or 32 bits, not {bits}")
    if not np.isfinite(dose.array).all() or dose.array.min() < 0:
        raise InputError(f"the dose {dose.name!r} has negative or non-finite values: it cannot be written")
    if not dose.frame:
        raise InputError(f"the dose {dose.name!r} has no frame of reference: give its grid the images' frame")
    origin = DicomSource.of(plan)
    header, grid, moment = origin.first, origin.place(dose.grid), origin.time(when)
    if grid.frame != header.get("FrameOfReferenceUID", grid.frame):
        raise InputError(
            f"the dose is in frame of reference {grid.frame}, its plan in {header.FrameOfReferenceUID}: "
            "resample the dose onto a grid of the plan's frame first"
        )
    planes = planes_of(grid)
    # frames follow each other along row x column, so that offsets rise
    step = 1 if planes.rising else -1
    values, positions = dose.array[::step], planes.positions[::step]
    # one count is kept free for the rounding of the decimal string
    scaling = decimal(max(float(values.max()), 1e-6) / (2**bits - 2))

    dataset = new_instance(header, RTDoseStorage, "RTDOSE", description, moment, series_number=series_number)
    stamp(dataset, moment, "Content")
    dataset.FrameOfReferenceUID = grid.frame
    dataset.PositionReferenceIndicator = ""
    planes.write(dataset, 0 if planes.rising else -1)
    dataset.NumberOfFrames = len(values)
    dataset.FrameIncrementPointer = Tag("GridFrameOffsetVector")
    dataset.GridFrameOffsetVector = [decimal(v) for v in np.linalg.norm(positions - positions[0], axis=1)]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.DoseUnits = "GY"
    dataset.DoseType = "PHYSICAL"
    dataset.DoseSummationType = "PLAN" if isinstance(dose, TotalDose) else "FRACTION_SESSION"
    dataset.DoseComment = described(derivation) if derivation else RESEARCH_USE
    dataset.DoseGridScaling = scaling
    if header.get("Modality") == "RTPLAN":
        referenced = reference(header)
        if isinstance(dose, FractionDose):
            group = header.FractionGroupSequence[0].FractionGroupNumber
            referenced.ReferencedFractionGroupSequence = [item(ReferencedFractionGroupNumber=group)]
        dataset.ReferencedRTPlanSequence = [referenced]
    counts = np.rint(values.astype(np.float64) / float(scaling))
    dataset.PixelData = counts.astype(f"<u{bits // 8}").tobytes()
    return write_instance(dataset, path, overwrite=overwrite)
