"""Series whose stored values are not what a careless reader takes them to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from tumortwin.imaging.writing.header import decimal, hashed_uid, item
from tumortwin.phantom.hostile.specimens import Expected, Mutant, Specimen, changed, fresh, set_pixels

LOADED, REPAIRED, REFUSED = Expected


def scales_by_slice(s: Specimen) -> Iterator[Mutant]:
    """Each slice has a slope and an intercept of its own."""
    files = []
    for k in range(s.n):
        slope, intercept = 0.5 + 0.1 * k, s.intercept - 5.0 * k
        data = s.slice(k, RescaleSlope=decimal(slope), RescaleIntercept=decimal(intercept))
        set_pixels(data, s.stored(s.world(k), slope, intercept))
        files.append(data)
    yield s.mutant("rescale by slice", files, LOADED, truths=[s.truth(tolerance=0.9)])


def philips_scales(s: Specimen) -> Iterator[Mutant]:
    """Philips: the true signal is (stored * RS + RI) / (RS * SS); SS is private and differs between slices."""
    for variant, each in (("the same on all slices", False), ("by slice", True)):
        files = []
        for k in range(s.n):
            slope, private = (0.8 + 0.05 * k, 0.9 - 0.02 * k) if each else (1.7, 0.45)
            data = s.slice(k, Manufacturer="Philips Medical Systems", RescaleSlope=decimal(slope), RescaleIntercept="0")
            add_philips_scale(data, private)
            set_pixels(data, np.round(s.values(s.world(k)) * private))
            files.append(data)
        yield s.mutant("Philips private scale", files, LOADED, "scale slope", [s.truth(tolerance=1.3)], variant)


def add_philips_scale(data: Dataset, scale: float) -> None:
    """Put Philips' private scale slope (2005,100E) into a data set."""
    data.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", scale)


def signed_pixels(s: Specimen) -> Iterator[Mutant]:
    """Negative values, as 16 bits or as 12 whose sign was not extended; values left-aligned; 8 bits; overlay bits."""
    below = replace(s, values=replace(s.values, base=s.values.base - 1300))
    signed = []
    for k in range(s.n):
        data = s.slice(k)
        set_pixels(data, below.stored(s.world(k)), signed=True)
        signed.append(data)
    yield s.mutant("signed pixels", signed, LOADED, truths=[below.truth()], variant="16 bits")
    short = changed(signed, BitsStored=12, HighBit=11)
    for data in short:
        data.PixelData = (np.frombuffer(data.PixelData, "<u2") & 0xFFF).tobytes()
    yield s.mutant("signed pixels", short, LOADED, truths=[below.truth()], variant="12 bits, sign not extended")


def bits(s: Specimen) -> Iterator[Mutant]:
    """12 bits of 16, plain, left-aligned or under overlay bits; and 8 bits."""
    plain = []
    for k in range(s.n):
        data = s.slice(k)
        set_pixels(data, s.stored(s.world(k)), bits=12)
        plain.append(data)
    yield s.mutant("bits stored", plain, LOADED, variant="12 of 16")
    left = changed(plain, HighBit=15)
    overlaid = changed(plain)
    for high, over in zip(left, overlaid, strict=True):
        values = np.frombuffer(high.PixelData, "<u2")
        high.PixelData = (values << 4).astype("<u2").tobytes()
        over.PixelData = (values | (np.arange(len(values)) % 7 == 0) * 0x8000).astype("<u2").tobytes()
    yield s.mutant("bits stored", left, LOADED, variant="left-aligned")
    yield s.mutant("bits stored", overlaid, LOADED, "bits above", variant="overlay in the high bits")
    coarse = []
    for k in range(s.n):
        data = s.slice(k, RescaleSlope="12", RescaleIntercept="0")
        set_pixels(data, s.stored(s.world(k), 12.0, 0.0), bits=8)
        coarse.append(data)
    yield s.mutant("bits stored", coarse, LOADED, truths=[s.truth(tolerance=6.1)], variant="8 bits")


def monochrome1(s: Specimen) -> Iterator[Mutant]:
    """MONOCHROME1 is a matter of display: the values stay as stored."""
    yield s.mutant("MONOCHROME1", s.slices(PhotometricInterpretation="MONOCHROME1"), LOADED)


def color(s: Specimen) -> Iterator[Mutant]:
    """Color captures beside and among the images; a series in palette color."""
    captures = []
    for k in range(3):
        data = s.slice(k)
        capture(data)
        data.SOPClassUID, data.Modality = SecondaryCaptureImageStorage, "OT"
        data.SeriesInstanceUID = hashed_uid("captures", s.name)
        captures.append(data)
    yield s.mutant(
        "palette and RGB",
        s.slices() + fresh(captures, "capture"),
        LOADED,
        "secondary capture",
        variant="RGB captures in a series of their own",
    )
    among = changed(
        captures[:1],
        SOPClassUID=s.slice(0).SOPClassUID,
        Modality=s.modality,
        SeriesInstanceUID=s.header().SeriesInstanceUID,
    )
    yield s.mutant(
        "palette and RGB",
        s.slices() + fresh(among, "among"),
        REPAIRED,
        "not measured values",
        variant="an RGB image in the series",
    )
    palette = s.slices()
    table = np.arange(256, dtype="<u2") * 257
    for data in palette:
        set_pixels(data, np.arange(480).reshape(20, 24) % 256, bits=8)
        data.PhotometricInterpretation = "PALETTE COLOR"
        for name in ("Red", "Green", "Blue"):
            setattr(data, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(data, f"{name}PaletteColorLookupTableData", table.tobytes())
    yield s.mutant("palette and RGB", palette, REFUSED, "not measured values", variant="all in palette color")


def capture(data: Dataset) -> None:
    """Turn an image into an RGB one."""
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = bytes(range(240)) * (data.Rows * data.Columns * 3 // 240)
    data["PixelData"].VR = "OB"


def burned_in(s: Specimen) -> Iterator[Mutant]:
    """Text is burned into the pixels, says the header."""
    yield s.mutant("burned-in text", s.slices(BurnedInAnnotation="YES"), LOADED, "burned")


def padding(s: Specimen) -> Iterator[Mutant]:
    """Voxels outside the field of view hold a padding value, or a range of them."""
    rows, columns = np.mgrid[: s.grid.shape[1], : s.grid.shape[2]]
    outside = np.hypot(rows - 9.5, columns - 11.5) > 9.5
    holds = np.broadcast_to(~outside, s.grid.shape)
    for variant, value, limit, signed in (
        ("unsigned", 0, None, False),
        ("signed", -2000, None, True),
        ("a range", -2000, -1990, True),
        ("written with the wrong sign", 63536, None, True),
    ):
        files = []
        for k in range(s.n):
            data = s.slice(k)
            stored = s.stored(s.world(k))
            stored[outside] = -2000 if signed else value
            if limit is not None:
                stored[outside] += np.arange(outside.sum()) % 11
            set_pixels(data, stored, signed=signed)
            data.add_new(0x00280120, "US" if value >= 0 else "SS", value)
            if limit is not None:
                data.add_new(0x00280121, "SS", limit)
            files.append(data)
        yield s.mutant("pixel padding", files, LOADED, "padding", [s.truth(holds=holds)], variant)


def absurd_scales(s: Specimen) -> Iterator[Mutant]:
    """Yield series with a slope of zero, or with a lookup table instead of a slope on all slices or on one."""
    yield s.mutant(
        "no linear scale", s.slices(RescaleSlope="0", RescaleIntercept="0"), REFUSED, "slope", variant="slope 0"
    )
    table = item(
        LUTDescriptor=[4096, 0, 16], ModalityLUTType="US", LUTData=(np.arange(4096, dtype="<u2") // 2).tobytes()
    )
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    for variant, wanted in (("a lookup table", range(s.n)), ("a lookup table on one slice", [5])):
        files = s.slices(RescaleSlope=None, RescaleIntercept=None)
        for k in wanted:
            files[k].ModalityLUTSequence = [table]
        yield s.mutant("no linear scale", files, REFUSED, "lookup table", [], variant)
