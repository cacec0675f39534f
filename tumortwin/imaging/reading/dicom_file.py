"""One DICOM file, whatever it is wrapped in: gzip, no preamble, no File Meta Information, no transfer syntax."""

from __future__ import annotations

import gzip
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
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

_GZIP = b"\x1f\x8b"
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
    """Offset of the pixel data's element; None if it is not among the file's own bytes, as its transfer syntax says."""


def open_dicom(path: Path, tags: list[BaseTag]) -> Opened | None:
    """Read the header of a file, without pixels: only these attributes. Return None if it is no DICOM file.

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
        start = file.read(132)
        if start.startswith(_GZIP):
            return _opened(BytesIO(unpacked(start + file.read())), tags, (PACKED,))
        if not _is_dicom(start):
            return None
        # a plain file would be asked for as many bytes as a damaged length says
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _opened(cast(BinaryIO, content), tags, ())


def _is_dicom(start: bytes) -> bool:
    # without a preamble, a data set starts with group 2 or 8 (either byte order)
    return start[128:132] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")


def _opened(content: BinaryIO, tags: list[BaseTag], wrappings: tuple[str, ...]) -> Opened | None:
    start = content.read(132)
    if not _is_dicom(start):
        return None
    preamble = start[128:] == b"DICM"
    content.seek(0)
    data = dcmread(content, stop_before_pixels=True, force=not preamble, specific_tags=tags)
    if not preamble:
        wrappings += (NO_PREAMBLE,)
    elif "TransferSyntaxUID" not in data.file_meta:
        wrappings += (NO_SYNTAX,)
    # pydicom finds out by itself whether VRs are left out, whatever the transfer syntax says
    first = next(iter(data.values()), None)
    as_said = not isinstance(first, RawDataElement) or first.is_implicit_VR == data.original_encoding[0]
    inflated = data.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    return Opened(data, wrappings, content.tell() if as_said and not (wrappings or inflated) else None)


def with_pixels(header: Dataset, content: bytes, at: int) -> Dataset:
    """Read the pixels behind a header, and add them to a copy of it: nothing else of the file is parsed again.

    Parameters
    ----------
    header, at
        From :func:`open_dicom`.
    content : bytes
        The file.
    """
    source = BytesIO(content)
    source.seek(at)
    implicit, little = header.original_encoding
    data = Dataset(dict(header.items()))  # a Dataset made of another shares its elements
    # as if in a sequence: else a length that looks like a VR would be taken for one
    data.update(read_dataset(source, bool(implicit), bool(little), at_top_level=False))
    data.set_original_encoding(implicit, little, header.original_character_set)
    data.file_meta = header.file_meta
    return data


def parse_dicom(content: bytes) -> Dataset:
    """Parse the whole data set of a file's content; its transfer syntax is inferred if it is not stated.

    Raises
    ------
    ReadError, Exception
        As :func:`open_dicom`.
    """
    data = dcmread(BytesIO(unpacked(content)), force=True)
    if "TransferSyntaxUID" not in data.file_meta:
        data.file_meta.TransferSyntaxUID = _syntax_of(data)
    return data


def unpacked(content: bytes) -> bytes:
    """Decompress the content of a file if it is gzip, else return it as it is.

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
    """Infer the transfer syntax by which the data set could be read, and that of its pixels by their first bytes."""
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
    """Find the start-of-frame marker of a JPEG stream, which says how it is coded; 0 if it has none."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] in _JPEG:
            return stream[at + 1]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return 0
