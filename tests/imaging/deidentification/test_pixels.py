import jpeg_ls
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from tumortwin.imaging.deidentification.pixels import burned_in, clean_pixels, shows_face
from tumortwin.imaging.writing.header import item

PIXELS = np.random.default_rng(0).integers(0, 4096, (9, 7), np.uint16)


def image(content: bytes, syntax: UID = ExplicitVRLittleEndian, **more: object) -> Dataset:
    data = item(
        Rows=9,
        Columns=7,
        SamplesPerPixel=1,
        BitsAllocated=16,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        PhotometricInterpretation="MONOCHROME2",
        **more,
    )
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.add_new("PixelData", "OW", content)
    return data


def test_clean_pixels_stay_as_they_are():
    for data in (
        image(PIXELS.tobytes()),
        image(encapsulate([_even(jpeg_ls.encode(PIXELS).tobytes())]), JPEGLSLossless),
    ):
        before = data.PixelData
        assert clean_pixels(data) == []
        assert data.PixelData is before


def test_bytes_after_the_last_pixel_go():
    data = image(PIXELS.tobytes() + b"Smith^John")
    assert clean_pixels(data) != []
    assert data.PixelData == PIXELS.tobytes()


@pytest.mark.parametrize("marker", [0xFE, 0xE1, 0xEC])
def test_comments_in_jpeg_frames_go_and_pixels_stay(marker):
    frame = jpeg_ls.encode(PIXELS).tobytes()
    text = b"Smith^John"
    segment = bytes([0xFF, marker]) + (len(text) + 2).to_bytes(2, "big") + text
    data = image(encapsulate([_even(frame[:2] + segment + frame[2:] + b"Smith")]), JPEGLSLossless)
    assert b"Smith" in data.PixelData
    assert clean_pixels(data) != []
    assert b"Smith" not in data.PixelData
    np.testing.assert_array_equal(data.pixel_array, PIXELS)


def test_comments_in_jpeg_2000_go():
    path = next(p for p in map(pydicom.data.get_testdata_file, ("JPEG2000.dcm", "MR_small_jp2klossless.dcm")) if p)
    data = pydicom.dcmread(path)
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    size = data.file_meta.TransferSyntaxUID
    text = b"\0\1Smith^John"
    end = 2 + 2 + int.from_bytes(frame[4:6], "big")  # after SOC and SIZ
    comment = b"\xff\x64" + (len(text) + 2).to_bytes(2, "big") + text
    clean_pixels(data)
    (bare,) = generate_frames(data.PixelData, number_of_frames=1)
    data.PixelData = encapsulate([_even(frame[:end] + comment + frame[end:])])
    assert size in (JPEG2000Lossless, "1.2.840.10008.1.2.4.91")
    clean_pixels(data)
    (stripped,) = generate_frames(data.PixelData, number_of_frames=1)
    assert stripped == bare
    assert b"Smith" not in stripped


def test_overlays_in_unused_bits_go():
    for signed in (0, 1):
        values = (PIXELS.astype(np.int16) - 2048 * signed) & 0x0FFF
        overlaid = values | (np.arange(63).reshape(9, 7) % 2 << 12)
        data = image(overlaid.astype("<u2").tobytes())
        data.PixelRepresentation = signed
        data.add_new(0x60000102, "US", 12)
        assert clean_pixels(data) != []
        expected = PIXELS.astype(np.int32) - 2048 * signed
        np.testing.assert_array_equal(data.pixel_array, expected)


def test_pictures_that_may_show_text():
    assert "YES" in burned_in(item(BurnedInAnnotation="YES", Rows=1))
    assert "screenshot" in burned_in(
        item(ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"], Rows=1, BurnedInAnnotation="NO")
    )
    assert "secondary capture" in burned_in(item(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Rows=1))
    assert "color" in burned_in(item(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", SamplesPerPixel=3, Rows=1))
    assert burned_in(item(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", BurnedInAnnotation="NO", Rows=1)) == ""
    assert burned_in(item(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Rows=1)) == ""


def test_heads_have_faces_unless_they_say_not():
    assert shows_face(item(Modality="MR", BodyPartExamined="BRAIN"))
    assert shows_face(item(Modality="CT"))
    assert not shows_face(item(Modality="MR", BodyPartExamined="PROSTATE"))
    assert not shows_face(item(Modality="MR", BodyPartExamined="HEAD", RecognizableVisualFeatures="NO"))
    assert not shows_face(item(Modality="MR", DeidentificationMethodCodeSequence=[item(CodeValue="113102")]))


def _even(frame: bytes) -> bytes:
    return frame + b"\0" * (len(frame) % 2)
