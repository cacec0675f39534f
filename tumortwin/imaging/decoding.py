"""Stored pixels out of DICOM files: by pydicom, or by SimpleITK's GDCM where pydicom has no decoder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, MRImageStorage

_BY_GDCM = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
"""JPEG proper: pydicom's decoders for it are under the GPL, or not installed."""
_END_OF_IMAGE = b"\xff\xd9"


def decode(data: Dataset, frames: list[int]) -> list[NDArray[Any]]:
    """Frames of a monochrome file as stored: all bits of each word, no rescale.

    Raises
    ------
    Exception
        Whatever pydicom, its plugins and SimpleITK raise.
    """
    syntax = data.file_meta.TransferSyntaxUID
    if syntax in _BY_GDCM and not get_decoder(syntax).is_available:
        return _by_gdcm(data, frames)
    # the number of frames says which frame is the last; `indices` decodes only those wanted; values that are not in the
    # lowest bits would be lost by pydicom's own masking
    return [np.asarray(a) for a in iter_pixels(data, indices=frames, raw=True, correct_unused_bits=False)]


def _by_gdcm(data: Dataset, frames: list[int]) -> list[NDArray[Any]]:
    """Each frame as a file of its own, without anything that would make GDCM change its values."""
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
