"""Hostile multi-frame objects, and mosaics: many slices in one file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    LegacyConvertedEnhancedMRImageStorage,
    RLELossless,
)

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid
from tumortwin.imaging.writing.header import decimal, hashed_uid, item
from tumortwin.phantom.hostile.encodings import frames_of
from tumortwin.phantom.hostile.specimens import Expected, Mutant, Specimen, fresh, set_pixels
from tumortwin.phantom.hostile.values import add_philips_scale

LOADED, REPAIRED, REFUSED = Expected
CASE = "enhanced multi-frame"


def enhanced(s: Specimen) -> Iterator[Mutant]:
    """Yield objects without faults: in several transfer syntaxes, with frames in any order, with scales by frame."""
    whole = s.enhanced()
    yield s.mutant(CASE, [whole], LOADED, variant="no fault")
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1):
        yield s.mutant(CASE, s.written([whole], syntax=syntax), LOADED, variant=syntax.name)
    yield s.mutant(CASE, [picked(whole, s.rng.permutation(s.n))], LOADED, variant="shuffled frames")
    scales = [(0.5 + 0.1 * k, s.intercept - 5.0 * k) for k in range(s.n)]
    yield s.mutant(CASE, [s.enhanced(scales)], LOADED, truths=[s.truth(tolerance=0.9)], variant="scales by frame")


def picked(data: Dataset, frames: NDArray[np.int64] | list[int]) -> Dataset:
    """Select frames of an object, in any order."""
    made = deepcopy(data)
    set_pixels(made, frames_of(data)[frames])
    made.PerFrameFunctionalGroupsSequence = [data.PerFrameFunctionalGroupsSequence[int(k)] for k in frames]
    made.NumberOfFrames = len(frames)
    return made


def enhanced_gaps(s: Specimen) -> Iterator[Mutant]:
    """Yield objects that lack a frame, or hold fewer frames or fewer descriptions of frames than stated."""
    whole = s.enhanced()
    yield s.mutant(
        CASE, [picked(whole, [k for k in range(s.n) if k != 5])], REPAIRED, "missing", variant="one frame missing"
    )
    (undescribed,) = fresh([whole])
    undescribed.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[:8]
    yield s.mutant(CASE, [undescribed], REFUSED, "frames", [], "fewer descriptions than frames")
    (short,) = fresh([whole])
    short.PixelData = short.PixelData[: 8 * short.Rows * short.Columns * 2]
    yield s.mutant(CASE, [short], REFUSED, "decoded", [], "fewer frames than descriptions")


def enhanced_parts(s: Specimen) -> Iterator[Mutant]:
    """Two b-values, two stacks at an angle, or slices that lie elsewhere than stated, in one object."""
    if s.modality == "MR":
        weighted = replace(s, values=replace(s.values, gain=0.4))
        both = joined(s.enhanced(), weighted.enhanced())
        for k, groups in enumerate(both.PerFrameFunctionalGroupsSequence):
            groups.MRDiffusionSequence = [
                item(
                    DiffusionBValue=1000.0 if k >= s.n else 0.0,
                    DiffusionDirectionality="ISOTROPIC" if k >= s.n else "NONE",
                )
            ]
        adc = float(-np.log(0.4) / 1000)
        computed = s.truth(
            values=replace(s.values, gain=1.0, base=adc, gradient=(0.0, 0.0, 0.0)),
            tolerance=3e-6,
            sequence=MRSequence.ADC,
            computed=True,
        )
        yield s.mutant(
            CASE,
            [both],
            REPAIRED,
            "b 1000",
            [s.truth(sequence=MRSequence.DWI), weighted.truth(sequence=MRSequence.DWI), computed],
            "two b-values",
        )
    turned = np.array(s.grid.affine)
    turned[:3, :3] = turned[:3, [2, 1, 0]]
    other = replace(s, grid=Grid((8, 20, 24), turned, s.grid.frame))
    whole, second = s.enhanced(), other.enhanced()
    for data in (whole, second):
        shared = data.SharedFunctionalGroupsSequence[0]
        for groups in data.PerFrameFunctionalGroupsSequence:
            groups.PlaneOrientationSequence = shared.PlaneOrientationSequence
            groups.PixelMeasuresSequence = shared.PixelMeasuresSequence
        del shared.PlaneOrientationSequence
        del shared.PixelMeasuresSequence
    both = joined(whole, second)
    for k, groups in enumerate(both.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence[0].StackID = "1" if k < s.n else "2"
    yield s.mutant(CASE, [both], REPAIRED, "stack", [s.truth(), other.truth()], "two stacks")
    stated = s.enhanced()
    stated.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = decimal(7.0)
    yield s.mutant(CASE, [stated], REPAIRED, "SpacingBetweenSlices", variant="contradicting SpacingBetweenSlices")


def joined(first: Dataset, second: Dataset) -> Dataset:
    """One object with the frames of both."""
    made = deepcopy(first)
    set_pixels(made, np.concatenate([frames_of(first), frames_of(second)]))
    made.PerFrameFunctionalGroupsSequence = [
        *first.PerFrameFunctionalGroupsSequence,
        *deepcopy(second).PerFrameFunctionalGroupsSequence,
    ]
    made.NumberOfFrames = len(made.PerFrameFunctionalGroupsSequence)
    return made


def enhanced_philips(s: Specimen) -> Iterator[Mutant]:
    """Philips' scale slope in a private sequence of each frame."""
    slopes = [0.8 + 0.05 * k for k in range(s.n)]
    private = [0.9 - 0.02 * k for k in range(s.n)]
    data = s.enhanced([(slope, 0.0) for slope in slopes])
    data.Manufacturer = "Philips Medical Systems"
    set_pixels(data, np.array([np.round(s.values(s.world(k)) * private[k]) for k in range(s.n)]))
    for scale, groups in zip(private, data.PerFrameFunctionalGroupsSequence, strict=True):
        inner = Dataset()
        add_philips_scale(inner, scale)
        for number in range(1, 6):  # Philips' fifth block, (2005,14xx)
            block = groups.private_block(0x2005, f"Philips MR Imaging DD 00{number}", create=True)
        block.add_new(0x0F, "SQ", [inner])
    yield s.mutant(
        "Philips private scale", [data], LOADED, "scale slope", [s.truth(tolerance=1.3)], "enhanced, by frame"
    )


def legacy_converted(s: Specimen) -> Iterator[Mutant]:
    """Classic images in a multi-frame jacket."""
    data = s.enhanced()
    data.SOPClassUID = LegacyConvertedEnhancedMRImageStorage
    shared = data.SharedFunctionalGroupsSequence[0]
    shared.UnassignedSharedConvertedAttributesSequence = [
        item(ScanningSequence="SE", RepetitionTime="500", EchoTime="10")
    ]
    for keyword in ("MRTimingAndRelatedParametersSequence", "MREchoSequence"):
        delattr(shared, keyword)
    del data.AcquisitionContrast
    yield s.mutant(CASE, [data], LOADED, variant="legacy converted")


def classic_multiframe(s: Specimen) -> Iterator[Mutant]:
    """Several frames in a classic object: only the first has a place."""
    data = s.slice(0)
    set_pixels(data, np.array([s.stored(s.world(k)) for k in range(s.n)]))
    data.NumberOfFrames = s.n
    yield s.mutant(CASE, [data], REFUSED, "", [], "a classic object with several frames")


def csa_header(**tags: list[str]) -> bytes:
    """Build a Siemens CSA header (version SV10) with these tags."""
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, values in tags.items():
        content += struct.pack("<64si4siii", name.encode(), len(values), b"FD\0\0", 4, 6, 77)
        for k in range(6):  # a tag has at least six items, those without a value empty
            text = values[k].encode() + b"\0" if k < len(values) else b""
            content += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return content


def mosaic(s: Specimen, *, descending: bool = False, csa: bool = True, counted: bool = True) -> Dataset:
    """Build one square image with the slices of a series as tiles, as Siemens writes EPI."""
    tiles = int(np.ceil(np.sqrt(s.n)))
    n, rows, columns = s.grid.shape
    order = range(n)[::-1] if descending else range(n)
    field = np.zeros((tiles * rows, tiles * columns), np.int64)
    for place, k in enumerate(order):
        r, c = divmod(place, tiles)
        field[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns] = s.stored(s.world(k))
    data = s.slice(0)
    set_pixels(data, field)
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    data.Manufacturer = "SIEMENS"
    # the stated position is that of a single slice as large as the mosaic around the same centre
    row, column = s.grid.affine[:3, 2], s.grid.affine[:3, 1]
    first = s.grid.to_world((order[0], 0, 0))
    corner = first - row * (tiles - 1) * columns / 2 - column * (tiles - 1) * rows / 2
    data.ImagePositionPatient = [decimal(v) for v in corner]
    data.SpacingBetweenSlices = decimal(s.grid.spacing[0])
    if counted:
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", n)
    if csa:
        normal = s.grid.affine[:3, 0] / s.grid.spacing[0] * (-1 if descending else 1)
        block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(
            0x10, "OB", csa_header(NumberOfImagesInMosaic=[str(n)], SliceNormalVector=[f"{v:.8f}" for v in normal])
        )
    return data


def mosaics(s: Specimen) -> Iterator[Mutant]:
    """One volume a file, in tiles."""
    case = "Siemens mosaic"
    yield s.mutant(case, [mosaic(s)], REPAIRED, "mosaic", variant="ascending")
    yield s.mutant(case, [mosaic(s, descending=True)], REPAIRED, "mosaic", variant="descending")
    yield s.mutant(case, [mosaic(s, counted=False)], REPAIRED, "mosaic", variant="counted in the CSA header only")
    yield s.mutant(case, [mosaic(s, csa=False)], REFUSED, "mosaic", [s.truth()], "no CSA header")
    weighted = replace(s, values=replace(s.values, gain=0.4))
    pair = [mosaic(s), mosaic(weighted)]
    for b_value, data in zip((0, 1000), pair, strict=True):
        data.SeriesDescription = "ep2d_diff"
        data.SOPInstanceUID = hashed_uid(data.SOPInstanceUID, b_value)
        data.private_block(0x0019, "SIEMENS MR HEADER").add_new(0x0C, "IS", str(b_value))
    computed = s.truth(
        values=replace(s.values, gain=1.0, base=float(-np.log(0.4) / 1000), gradient=(0.0, 0.0, 0.0)),
        tolerance=3e-6,
        sequence=MRSequence.ADC,
        computed=True,
    )
    yield s.mutant(
        case,
        pair,
        REPAIRED,
        "mosaic",
        [s.truth(sequence=MRSequence.DWI), weighted.truth(sequence=MRSequence.DWI), computed],
        "two b-values",
    )
