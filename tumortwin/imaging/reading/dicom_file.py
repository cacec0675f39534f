"""One DICOM file, whatever it is wrapped in: gzip, no preamble, no File Meta Information, no transfer syntax."""

from __future__ import annotations

import gzip
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tumortwin.errors import ReadError
from tumortwin.imaging.plain_header import read_plain_header, shared_tag

_GZIP = b"\x1f\x8b"
_HEADER = 16 * 2**10
"""Bytes that hold the header of most single slices."""
_UNPACKED = 64 * 2**20
"""A packed file may always unpack to this many bytes, or to a hundred times its size."""

NO_PREAMBLE, PACKED, NO_SYNTAX = "no DICOM preamble", "packed by gzip", "no transfer syntax"
WRAPPINGS = {NO_PREAMBLE: "read without it", PACKED: "unpacked", NO_SYNTAX: "found out from the data"}
"""What can be wrong around a data set, and what is done about it."""


class Opened(NamedTuple):
    """A data set, and what was wrong around it (keys of `WRAPPINGS`)."""

    data: Dataset
    wrappings: tuple[str, ...]
    pixels: int | None = None
    """Offset of the pixel data's element, in a plain file."""


def open_dicom(path: Path, tags: list[pydicom.tag.BaseTag]) -> Opened | None:
    """The header of a file, without pixels: only these attributes. None if it is no DICOM file.

    Nothing is taken into memory because a file says that it is there: lengths are held against the file's size.

    Raises
    ------
    ReadError
        If it unpacks to more than a file of its size should.
    Exception
        Whatever pydicom raises on a damaged file.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(_HEADER)
        if start.startswith(_GZIP):
            return _opened(unpacked(start + file.read()), tags, (PACKED,))
        if not _is_dicom(start):
            return None
        plain = read_plain_header(start, tags)
        if plain is not None and (plain.pixels < len(start) or len(start) < _HEADER):
            return Opened(plain.data, (), plain.pixels)
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _opened(content, tags, ())


def _is_dicom(start: bytes) -> bool:
    # without a preamble, a data set starts with group 2 or 8 (either byte order)
    return start[128:132] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")


def _opened(content: bytes | mmap, tags: list[pydicom.tag.BaseTag], wrappings: tuple[str, ...]) -> Opened | None:
    if not _is_dicom(content[:132]):
        return None
    plain = read_plain_header(content, tags)
    if plain is not None:
        return Opened(plain.data, wrappings, None if wrappings else plain.pixels)
    preamble = content[128:132] == b"DICM"
    # a file on disk would be asked for as many bytes as a damaged length says
    source = BytesIO(content) if isinstance(content, bytes) else cast(BinaryIO, content)
    data = pydicom.dcmread(source, stop_before_pixels=True, force=not preamble, specific_tags=tags)
    if not preamble:
        wrappings += (NO_PREAMBLE,)
    elif "TransferSyntaxUID" not in data.file_meta:
        wrappings += (NO_SYNTAX,)
    return Opened(data, wrappings)


_DECODING = tuple(map(shared_tag, (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")))  # fmt: skip
_PIXELS, _OPEN = shared_tag("PixelData"), 0xFFFFFFFF


def with_pixels(header: Dataset, content: bytes, at: int) -> Dataset | None:
    """What decodes a plain file's pixels, and they themselves; None if pydicom must look at the whole file.

    Parameters
    ----------
    header : Dataset
        From :func:`open_dicom`.
    content : bytes
        The file.
    at : int
        Offset of the pixel data's element.
    """
    syntax = header.file_meta.TransferSyntaxUID
    implicit = syntax == ImplicitVRLittleEndian
    vr = "OW" if implicit else content[at + 4 : at + 6].decode("ascii", "replace")
    if content[at : at + 4] != b"\xe0\x7f\x10\0" or vr not in ("OB", "OW"):
        return None
    begin = at + (8 if implicit else 12)
    length = int.from_bytes(content[begin - 4 : begin], "little")
    if (length == _OPEN) != syntax.is_encapsulated or (length != _OPEN and length > len(content) - begin):
        return None
    end = len(content) if length == _OPEN else begin + length
    given = header.keys()
    data = Dataset({tag: header.get_item(tag) for tag in _DECODING if tag in given})
    data[_PIXELS] = RawDataElement(_PIXELS, vr, length, content[begin:end], begin, implicit, True)
    data.set_original_encoding(implicit, True, "iso8859")
    data.file_meta = header.file_meta
    return data


def parse_dicom(content: bytes) -> Dataset:
    """The whole data set of a file's content; its transfer syntax is found out if it is not stated.

    Raises
    ------
    ReadError, Exception
        As :func:`open_dicom`.
    """
    data = pydicom.dcmread(BytesIO(unpacked(content)), force=True)
    if "TransferSyntaxUID" not in data.file_meta:
        data.file_meta.TransferSyntaxUID = _syntax_of(data)
    return data


def unpacked(content: bytes) -> bytes:
    """The content of a file, out of its gzip if it is in one.

    Raises
    ------
    ReadError
        As :func:`open_dicom`.
    Exception
        Whatever gzip raises on a damaged file.
    """
    if not content.startswith(_GZIP):
        return content
    most = max(_UNPACKED, 100 * len(content))
    with gzip.open(BytesIO(content)) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise ReadError(f"unpacks to more than {most} bytes, which no DICOM file of its size would")
    return found


def _syntax_of(data: Dataset) -> UID:
    """The transfer syntax by which the data set could be read, and that of its pixels by their first bytes."""
    implicit, little = data.original_encoding
    plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    if "PixelData" not in data or not data["PixelData"].is_undefined_length:
        return plain
    frame = next(generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames") or 1)))
    if frame.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")):
        return JPEG2000
    if not frame.startswith(b"\xff\xd8"):
        return RLELossless
    return _JPEG.get(_frame_marker(frame), JPEGBaseline8Bit)


_JPEG = {0xC0: JPEGBaseline8Bit, 0xC1: JPEGExtended12Bit, 0xC3: JPEGLosslessSV1, 0xF7: JPEGLSLossless}


def _frame_marker(stream: bytes) -> int:
    """The start-of-frame marker of a JPEG stream, which says how it is coded; 0 if it has none."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] in _JPEG:
            return stream[at + 1]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return 0
