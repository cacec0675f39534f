"""Headers read once say what pydicom says of each file alone, and pixels are found behind them."""

from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.reading import headers
from tumortwin.imaging.reading.attributes import DAMAGED, tag_of, value
from tumortwin.imaging.reading.dicom_file import open_dicom, with_pixels
from tumortwin.imaging.reading.headers import read_headers
from tumortwin.imaging.reading.instance import read_pixels
from tumortwin.imaging.volume import Grid
from tumortwin.imaging.writing.header import item

SAMPLE = Path(__file__).parents[3] / "sample_dicom/TT-0001"
ROOTS = [Path(pydicom.__file__).parent / "data", Path(nibabel.__file__).parent / "nicom/tests/data", SAMPLE / "rt"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("root", ROOTS, ids=lambda p: p.parent.name)
def test_elements_kept_once_for_all_files_are_those_of_each_file(root):
    instances, _ = read_headers(root)
    compared = 0
    for instance in instances:
        if instance.path.suffix == ".gz":
            continue
        alone = pydicom.dcmread(instance.path, force=True, stop_before_pixels=True, specific_tags=headers._TAGS)
        assert set(alone.keys()) <= set(instance.data.keys()) <= {*alone.keys(), 0x00080016}
        for tag in alone.keys():  # noqa: SIM118 - a Dataset yields elements
            try:
                expected = alone[tag]
            except DAMAGED:
                assert isinstance(instance.data.get_item(tag), RawDataElement)
                continue
            assert instance.data[tag] == expected, (instance.name, tag)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("keyword", ["StudyTime", "ScanningSequence", (0x0019, 0x0010)])
def test_items_where_a_value_belongs_are_no_value(keyword):
    """As after a damaged VR; what is in them may not be readable."""
    inner = Dataset()
    inner[0x00084552] = RawDataElement(BaseTag(0x00084552), "SE", 2, b"ab", 0, False, True)
    damaged = Dataset()
    damaged[tag_of(keyword)] = DataElement(tag_of(keyword), "SQ", [inner])
    whole = Dataset()
    whole[tag_of(keyword)] = DataElement(tag_of(keyword), "LO", "whole")
    assert value((damaged,), keyword) is None
    assert value((damaged, whole), keyword) == "whole"


def written(data: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = "1.2", "1.2.3"
    pydicom.dcmwrite(buffer := BytesIO(), data, enforce_file_format=True)
    return buffer.getvalue()


def test_equal_bytes_of_unlike_meaning_are_not_mixed_up(tmp_path):
    """The same bytes are other letters in another character set, and other numbers with a sign."""
    cyrillic = "Голова"
    latin = cyrillic.encode("iso8859_5").decode("latin-1")
    said = {"a": ("ISO_IR 144", cyrillic, 1, -1000), "b": ("ISO_IR 100", latin, 1, -1000), "c": ("", "head", 1, -1000)}
    said |= {"d": ("ISO_IR 144", cyrillic, 0, 64536), "e": ("ISO_IR 100", latin, 0, 64536)}
    for name, (charset, description, signed, padding) in said.items():
        data = item(SOPClassUID="1.2", SOPInstanceUID=f"1.2.{ord(name)}", SeriesInstanceUID="1.2.3")
        data.SpecificCharacterSet, data.SeriesDescription = charset, description
        data.PixelRepresentation, data.PixelPaddingValue = signed, padding
        (tmp_path / name).write_bytes(written(data, ImplicitVRLittleEndian))
    instances, _ = read_headers(tmp_path)
    assert len(instances) == len(said)
    for instance in instances:
        _, description, _, padding = said[instance.name]
        assert instance.text("SeriesDescription") == description
        assert value((instance.data,), "PixelPaddingValue") == padding


SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pixels_are_found_without_parsing_the_header_again(tmp_path, make_series, grid, values, syntax):
    compress = syntax if syntax in (RLELossless, JPEGLSLossless) else None
    plain = ImplicitVRLittleEndian if syntax == ImplicitVRLittleEndian else ExplicitVRLittleEndian
    made = make_series(tmp_path, values, grid, compress=compress, syntax=plain)
    for k, data in enumerate(made):
        path = tmp_path / f"{k:03d}.dcm"
        opened = open_dicom(path, headers._TAGS)
        assert opened is not None
        assert opened.pixels is not None
        again = with_pixels(opened.data, path.read_bytes(), opened.pixels)
        np.testing.assert_array_equal(again.pixel_array, values[data.InstanceNumber - 1])
        assert "PixelData" not in opened.data  # the header of a folder of files holds no pixels


def test_a_length_that_looks_like_a_value_representation(tmp_path, make_series):
    """102 x 102 pixels of 16 bits are 0x5148 bytes: "HQ", where an explicit file has its VR."""
    grid = Grid.regular((2, 102, 102), 1.0, frame="1.2.3.4")
    values = np.random.default_rng(0).integers(0, 3000, grid.shape).astype(np.uint16)
    make_series(tmp_path, values, grid, syntax=ImplicitVRLittleEndian)
    study = read_folder(tmp_path, strict=True)
    np.testing.assert_array_equal(study.images[0].volume.array, values)


@pytest.mark.parametrize("said", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_transfer_syntax_that_is_wrong_about_value_representations(tmp_path, make_series, grid, values, said):
    meant = {ImplicitVRLittleEndian: ExplicitVRLittleEndian, ExplicitVRLittleEndian: ImplicitVRLittleEndian}[said]
    make_series(tmp_path, values, grid, syntax=meant)

    def element(uid: str) -> bytes:
        padded = uid.encode() + b"\0" * (len(uid) % 2)
        return b"\2\0\x10\0UI" + len(padded).to_bytes(2, "little") + padded

    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert element(meant) in content
        length = int.from_bytes(content[140:144], "little") + len(element(said)) - len(element(meant))
        content = content[:140] + length.to_bytes(4, "little") + content[144:]
        path.write_bytes(content.replace(element(meant), element(said)))
        assert pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID == said
    np.testing.assert_array_equal(read_folder(tmp_path).images[0].volume.array, values)


def test_pixels_of_a_deflated_file_are_not_where_its_bytes_are(tmp_path, make_series, grid, values):
    made = make_series(tmp_path, values, grid, syntax=DeflatedExplicitVRLittleEndian)
    instances, _ = read_headers(tmp_path)
    assert all(instance.pixels is None for instance in instances)
    sources = {}
    for instance in instances:
        k = next(d.InstanceNumber for d in made if d.SOPInstanceUID == instance.uid) - 1
        np.testing.assert_array_equal(read_pixels(instance, sources).pixel_array, values[k])
    assert len(sources) == len(made)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("open_ended", [False, True])
def test_sequences_are_stepped_over_or_kept(tmp_path, syntax, open_ended):
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
    (tmp_path / "a").write_bytes(content := written(data, syntax))
    opened = open_dicom(tmp_path / "a", headers._TAGS)
    assert opened is not None
    assert opened.pixels == len(content)
    assert "ReferencedStudySequence" not in opened.data
    assert (opened.data.PatientID, opened.data.Rows) == ("outer", 7)
    assert opened.data.SharedFunctionalGroupsSequence == data.SharedFunctionalGroupsSequence
