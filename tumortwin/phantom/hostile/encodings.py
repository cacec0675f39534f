"""Data sets as the bytes of files, in every way that files from elsewhere are encoded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def encode(
    data: Dataset,
    *,
    syntax: UID = ExplicitVRLittleEndian,
    preamble: bool = True,
    meta: bool = True,
    names_syntax: bool = True,
) -> bytes:
    """Encode a data set (its pixels as little-endian values) as a file.

    Parameters
    ----------
    data : Dataset
        Left as it is.
    syntax : UID
        Transfer syntax: uncompressed, RLE, JPEG-LS, JPEG 2000, JPEG lossless, or JPEG baseline (8 bits).
    preamble, meta : bool
        Whether the file has its 128 bytes and "DICM", and the File Meta Information.
    names_syntax : bool
        Whether the File Meta Information states the transfer syntax.
    """
    data = deepcopy(data)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "1.2.3")
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", "1.2.3")
    if syntax in (RLELossless, JPEGLSLossless):
        data.compress(syntax, generate_instance_uid=False)
    elif syntax not in PLAIN:
        compress = _COMPRESS[syntax]
        data.PixelData = encapsulate([compress(frame) for frame in frames_of(data)])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
        if syntax in (JPEGBaseline8Bit, JPEG2000):
            data.LossyImageCompression = "01"
    data.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian and data.get("BitsAllocated") == 16 and "PixelData" in data:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        data["PixelData"].VR = "OW"
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    if not names_syntax:
        content = _without_syntax(content, data)
    if not meta:
        content = content[:132] + content[_start_of_data(content) :]
    return content if preamble and meta else content[132:]


def frames_of(data: Dataset) -> NDArray[Any]:
    """Read the stored values (frames, rows, columns) of a data set with uncompressed little-endian pixels."""
    dtype = np.dtype(f"<{'i' if data.PixelRepresentation else 'u'}{data.BitsAllocated // 8}")
    size = int(data.get("NumberOfFrames", 1)) * data.Rows * data.Columns
    return np.frombuffer(data.PixelData, dtype, size).reshape(-1, data.Rows, data.Columns)


def _start_of_data(content: bytes) -> int:
    """Where the data set begins behind the File Meta Information."""
    return 132 + 12 + int.from_bytes(content[140:144], "little")


def _without_syntax(content: bytes, data: Dataset) -> bytes:
    """Remove the Transfer Syntax UID from a file and correct the length of group 2."""
    start = content.index(b"\x02\x00\x10\x00UI")
    length = 8 + int.from_bytes(content[start + 6 : start + 8], "little")
    group = int.from_bytes(content[140:144], "little") - length
    content = content[:140] + group.to_bytes(4, "little") + content[144:]
    return content[:start] + content[start + length :]


def _jpeg2000(lossless: bool) -> Callable[[NDArray[Any]], bytes]:
    def compress(frame: NDArray[Any]) -> bytes:
        # signed values go in as the same bits without a sign: what many writers do
        return _by_pillow(frame.view(f"u{frame.dtype.itemsize}"), "JPEG2000", irreversible=not lossless, no_jp2=True)

    return compress


def _by_pillow(frame: NDArray[Any], kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(buffer, kind, **options)
    return buffer.getvalue()


def _jpeg_lossless(frame: NDArray[Any]) -> bytes:
    """Through a file of SimpleITK's, whose GDCM has the encoder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(np.ascontiguousarray(frame)))
        made = pydicom.dcmread(path)
    if made.file_meta.TransferSyntaxUID != JPEGLosslessSV1:
        raise ValueError(f"SimpleITK wrote {made.file_meta.TransferSyntaxUID.name}, not JPEG Lossless")
    return next(generate_frames(made.PixelData, number_of_frames=1))


_COMPRESS: dict[UID, Callable[[NDArray[Any]], bytes]] = {
    JPEG2000Lossless: _jpeg2000(True),
    JPEG2000: _jpeg2000(False),
    JPEGLosslessSV1: _jpeg_lossless,
    JPEGBaseline8Bit: lambda frame: _by_pillow(frame, "JPEG", quality=100),
}
