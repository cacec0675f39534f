"""The quick way through a header gives what pydicom gives, or steps aside."""

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from tumortwin.imaging.plain_header import read_plain_header
from tumortwin.imaging.plain_values import plain_numbers, plain_value
from tumortwin.imaging.reading import headers
from tumortwin.imaging.reading.dicom_file import open_dicom, with_pixels
from tumortwin.imaging.writing.header import item

ROOTS = [
    Path(pydicom.__file__).parent / "data",
    Path(nibabel.__file__).parent / "nicom/tests/data",
    Path(__file__).parents[3] / "sample_dicom/TT-0001/rt",
]
if (extra := find_spec("data_store")) is not None and extra.submodule_search_locations:
    ROOTS += [Path(p) for p in extra.submodule_search_locations]


@pytest.mark.filterwarnings("ignore")
def test_a_header_is_what_pydicom_reads():
    plain = 0
    for path in (p for root in ROOTS for p in root.rglob("*") if p.is_file() and p.stat().st_size < 2_000_000):
        found = read_plain_header(path.read_bytes(), headers._TAGS)
        if found is None:
            continue
        plain += 1
        expected = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=headers._TAGS)
        assert found.data == expected, path
        assert found.data.original_character_set == expected.original_character_set
        assert found.data.original_encoding == expected.original_encoding
        assert found.data.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert plain > 100


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_pixels_are_read_without_parsing_again(tmp_path, make_series, grid, values, syntax):
    compress = syntax if syntax in (RLELossless, JPEGLSLossless) else None
    plain = ImplicitVRLittleEndian if syntax == ImplicitVRLittleEndian else ExplicitVRLittleEndian
    made = make_series(tmp_path, values, grid, compress=compress, syntax=plain)
    for k, data in enumerate(made):
        path = tmp_path / f"{k:03d}.dcm"
        opened = open_dicom(path, headers._TAGS)
        assert opened is not None
        assert opened.pixels is not None
        assert "PixelData" not in opened.data
        again = with_pixels(opened.data, path.read_bytes(), opened.pixels)
        assert again is not None
        assert "PatientID" not in again
        np.testing.assert_array_equal(again.pixel_array, values[data.InstanceNumber - 1])


def written(data: Dataset, syntax: str) -> bytes:
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = "1.2", "1.2.3"
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("open_ended", [False, True])
def test_sequences_are_stepped_over_or_kept(syntax, open_ended):
    def nested(depth: int) -> Dataset:
        inner = item(ReferencedSOPInstanceUID=f"1.2.{depth}", PatientID="inner")
        if depth:
            inner.ReferencedImageSequence = [nested(depth - 1), nested(0)]
            inner["ReferencedImageSequence"].is_undefined_length = open_ended
        inner.is_undefined_length_sequence_item = open_ended
        return inner

    data = item(
        SOPClassUID="1.2",
        PatientID="outer",
        SharedFunctionalGroupsSequence=[nested(3)],
        ReferencedStudySequence=[nested(4)],
        Rows=7,
    )
    for keyword in ("SharedFunctionalGroupsSequence", "ReferencedStudySequence"):
        data[keyword].is_undefined_length = open_ended
    content = written(data, syntax)
    found = read_plain_header(content, [Tag(k) for k in ("PatientID", "Rows", "SharedFunctionalGroupsSequence")])
    assert found is not None
    assert found.pixels == len(content)
    assert set(found.data.keys()) == {Tag("PatientID"), Tag("Rows"), Tag("SharedFunctionalGroupsSequence")}
    assert (found.data.PatientID, found.data.Rows) == ("outer", 7)
    assert found.data.SharedFunctionalGroupsSequence == data.SharedFunctionalGroupsSequence


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(syntax):
    content = written(item(SOPClassUID="1.2", PatientID="outer"), syntax)
    assert read_plain_header(content, headers._TAGS) is None


@given(st.data())
def test_a_damaged_header_is_never_read_beyond_its_end(data):
    inner = item(ReferencedSOPInstanceUID="1.2.3")
    whole = item(SOPClassUID="1.2", PatientID="outer", SharedFunctionalGroupsSequence=[inner], Rows=7)
    whole["SharedFunctionalGroupsSequence"].is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    syntax = data.draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    content = bytearray(written(whole, syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    found = read_plain_header(cut, headers._TAGS)
    if found is not None:
        assert 144 <= found.pixels <= len(cut)
        for tag in found.data.keys():  # noqa: SIM118 - a Dataset yields elements, converted
            raw = found.data.get_item(tag)
            assert raw.value == cut[raw.value_tell : raw.value_tell + raw.length]
            assert raw.length == len(raw.value)


ASCII = st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=70).map(str.encode)
LIKELY = st.text(st.sampled_from("0123456789.+-eE \\\0AB_"), max_size=24).map(str.encode)


VRS = ["CS", "UI", "DA", "TM", "DT", "LO", "SH", "IS", "US", "SS", "UL", "SL", "FL", "FD", "DS", None]


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(VRS), st.one_of(ASCII, LIKELY, st.binary(max_size=17)), st.booleans())
def test_a_plain_value_is_the_value_that_pydicom_gives(vr, content, little):
    raw = RawDataElement(
        Tag("ImageType") if vr is None else Tag(0x00091001), vr, len(content), content, 0, vr is None, little
    )
    found, numbers = plain_value(raw), plain_numbers(raw)
    if found is None and numbers is None:
        return
    expected = convert_raw_data_element(raw).value
    if found is not None:
        assert str(found) == str(list(expected) if isinstance(expected, pydicom.multival.MultiValue) else expected)
        assert isinstance(found, str) == isinstance(expected, str)
    if numbers is not None:
        np.testing.assert_equal(list(numbers), [float(v) for v in np.atleast_1d(expected)])


def test_the_usual_values_are_plain():
    for vr, content, expected in (
        ("CS", b"ORIGINAL\\PRIMARY ", ["ORIGINAL", "PRIMARY"]),
        ("UI", b"1.2.840\0", "1.2.840"),
        ("IS", b"12 ", 12),
        ("LO", b"t1_mprage", "t1_mprage"),
        ("US", b"\x01\x02", 513),
    ):
        assert plain_value(RawDataElement(Tag(0x00091001), vr, len(content), content, 0, False, True)) == expected
    content = b"-1.5\\2e-3\\ 7 "
    assert plain_numbers(RawDataElement(Tag(0x00091001), "DS", 13, content, 0, False, True)) == (-1.5, 0.002, 7.0)
