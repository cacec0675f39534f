"""Frames of JPEG-LS: every depth and sign, and streams that are not what the header says."""

import struct

import jpeg_ls
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from tumortwin.imaging.reading.decoding import decode

KINDS = [(8, 8, 0), (8, 7, 0), (16, 9, 0), (16, 12, 0), (16, 16, 0), (8, 8, 1), (16, 12, 1), (16, 16, 1)]


def streams_of(frames, precision):
    return [
        bytes(
            jpeg_ls.encode_pixel_data(
                f.tobytes(),
                rows=f.shape[0],
                columns=f.shape[1],
                samples_per_pixel=1,
                bits_stored=precision,
                interleave_mode=0,
                lossy_error=0,
            )
        )
        for f in frames
    ]


def dataset(frames, bits, stored, signed, **options):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *frames[0].shape, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, stored, stored - 1, signed
    data.NumberOfFrames = len(frames)
    data.PixelData = encapsulate(streams_of(frames, stored), **options)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return data


@pytest.fixture
def frames():
    return np.random.default_rng(3).integers(0, 2**12, (3, 32, 40)).astype("<u2")


@pytest.mark.parametrize(("bits", "stored", "signed"), KINDS)
@pytest.mark.parametrize("has_bot", [True, False])
def test_the_value_bits_come_back(bits, stored, signed, has_bot):
    dtype = f"<u{bits // 8}"
    frames = np.random.default_rng(stored).integers(0, 2**stored, (3, 32, 40)).astype(dtype)
    decoded = decode(dataset(frames, bits, stored, signed, has_bot=has_bot), [0, 2])
    assert all(a.dtype == f"{'i' if signed else 'u'}{bits // 8}" for a in decoded)
    value_bits = np.array(decoded).view(dtype) & (2**stored - 1)
    np.testing.assert_array_equal(value_bits, frames[[0, 2]])


def shorter_stream(data):
    content = data.PixelData
    data.PixelData = content.replace(b"\xff\xd9", b"\x00\x00")


def other_size(data):
    data.Rows, data.Columns = data.Columns, data.Rows


def a_fragment_lost(data):
    data.NumberOfFrames = 4


def cut_in_a_fragment(data):
    data.PixelData = data.PixelData[:-40]


@pytest.mark.parametrize("change", [shorter_stream, other_size, a_fragment_lost, cut_in_a_fragment])
def test_what_is_damaged_is_refused(frames, change):
    data = dataset(frames, 16, 12, 0)
    change(data)
    with pytest.raises(ValueError, match=r"cut off|is \(32, 40\) pixels|fragment|frames"):
        decode(data, list(range(data.NumberOfFrames)))


def test_offsets_that_are_false_are_refused(frames):
    data = dataset(frames, 16, 12, 0)
    begin = 8 + 4 * data.NumberOfFrames
    data.PixelData = data.PixelData[:8] + struct.pack("<3L", 0, 2, 4) + data.PixelData[begin:]
    with pytest.raises(RuntimeError, match="Unable to decode"):
        decode(data, [0, 1, 2])


def test_a_spoiled_stream_is_refused_or_of_the_stated_size(frames):
    data = dataset(frames, 16, 12, 0)
    data.PixelData = data.PixelData[:120] + b"\xff\xff\xff" + data.PixelData[123:]
    try:
        decoded = decode(data, [0, 1, 2])
    except RuntimeError:
        return
    assert all(a.shape == frames[0].shape for a in decoded)
