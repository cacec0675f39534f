"""Stored pixels out of DICOM files: by pydicom, or by SimpleITK's GDCM where pydicom has no decoder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import (
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MRImageStorage,
    RLELossless,
)

_BY_GDCM = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
"""JPEG proper: pydicom's decoders for it are under the GPL, or not installed."""
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
_END_OF_IMAGE = b"\xff\xd9"


def decode(data: Dataset, frames: list[int]) -> list[NDArray[Any]]:
    """Frames of a monochrome file as stored: all bits of each word, no rescale.

    Raises
    ------
    Exception
        Whatever pydicom, its plugins and SimpleITK raise.
    """
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _refuse_empty_claims(data, frames)
    if syntax in _BY_GDCM and not get_decoder(syntax).is_available:
        return _by_gdcm(data, frames)
    # the number of frames says which frame is the last; `indices` decodes only those wanted; values that are not in the
    # lowest bits would be lost by pydicom's own masking
    # pylibjpeg's decoder of RLE panics on damaged runs, and that is no Exception
    plugin = "pydicom" if syntax == RLELossless else ""
    pixels = iter_pixels(data, indices=frames, raw=True, correct_unused_bits=False, decoding_plugin=plugin)
    return [np.asarray(a) for a in pixels]


def _refuse_empty_claims(data: Dataset, frames: list[int]) -> None:
    """Sizes that a stream does not have: decoders take memory for them first, and one aborts the whole process.

    Raises
    ------
    ValueError
        If runs of RLE, which hold 64 bytes for each of theirs at most, or a JPEG stream cannot be rows x columns.
    """
    size = (data.Rows, data.Columns)
    if data.file_meta.TransferSyntaxUID == RLELossless:
        claimed, stored = size[0] * size[1] * data.BitsAllocated // 8, len(data.PixelData)
        if claimed > 64 * stored:
            raise ValueError(f"{size[0]} x {size[1]} pixels cannot be in {stored} bytes")
        return
    wanted = set(frames)
    streams = generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames") or 1))
    for k, stream in enumerate(streams):
        if k not in wanted:
            continue
        if (found := _size_of(stream)) not in (None, size):
            raise ValueError(f"the stream of frame {k + 1} is {found} pixels, not {size[0]} x {size[1]}")
        if data.file_meta.TransferSyntaxUID in _JPEG_LS and not stream.rstrip(b"\0").endswith(_END_OF_IMAGE):
            raise ValueError(f"the JPEG-LS stream of frame {k + 1} is cut off")  # CharLS looks for its end for seconds


def _size_of(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 stream, by its own header; None if it has none."""
    start = stream.find(b"\xff\x4f\xff\x51", 0, 1024)
    if start >= 0:
        places = range(start + 8, start + 24, 4)
        right, bottom, left, top = (int.from_bytes(stream[at : at + 4], "big") for at in places)
        return bottom - top, right - left
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(stream[at + 5 : at + 7], "big"), int.from_bytes(stream[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _by_gdcm(data: Dataset, frames: list[int]) -> list[NDArray[Any]]:
    """Each frame as a file of its own, without anything that would make GDCM change its values."""
    import SimpleITK as sitk  # a tenth of a second that only such a file should cost

    streams = list(generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames") or 1)))
    dtype = np.dtype(f"{'i' if data.PixelRepresentation else 'u'}{data.BitsAllocated // 8}")
    decoded = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        for k in frames:
            stream = streams[k].rstrip(b"\0")
            if not stream.endswith(_END_OF_IMAGE):
                raise ValueError(f"the JPEG stream of frame {k + 1} is cut off")  # GDCM would fill in
            _single(data, streams[k]).save_as(path, enforce_file_format=True)
            array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
            decoded.append(array.reshape(array.shape[-2:]).astype(dtype))
    return decoded


def _single(data: Dataset, stream: bytes) -> Dataset:
    frame = Dataset()
    frame.file_meta = FileMetaDataset()
    frame.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    frame.SOPClassUID = frame.file_meta.MediaStorageSOPClassUID = MRImageStorage
    frame.SOPInstanceUID = frame.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    frame.SamplesPerPixel, frame.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(frame, keyword, data[keyword].value)
    frame.PixelData = encapsulate([stream])
    frame["PixelData"].VR, frame["PixelData"].is_undefined_length = "OB", True
    return frame
