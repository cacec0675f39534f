import numpy as np
import pydicom
import pytest
import SimpleITK

from tumortwin.errors import InputError, OutputExistsError
from tumortwin.imaging.writing.secondary_capture import write_captures


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {name: rng.integers(0, 256, (31, 45, 3), np.uint8) for name in ("01-observed", "02-predicted")}


def test_itk_gets_the_pixels_back(pictures, image_files, dicom_errors, tmp_path):
    files = write_captures(pictures, image_files, tmp_path, derivation="slices of the board page")
    assert [path.stem for path in files] == list(pictures)
    for path, picture in zip(files, pictures.values(), strict=True):
        assert dicom_errors(path) == []
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], picture)


def test_they_are_one_series_of_the_source_study(pictures, image_files, tmp_path):
    one, two = map(pydicom.dcmread, write_captures(pictures, image_files, tmp_path, description="Pictures"))
    first = pydicom.dcmread(image_files[0])
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != first.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert (one.InstanceNumber, two.InstanceNumber) == (1, 2)
    assert one.StudyInstanceUID == first.StudyInstanceUID
    assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert one.BurnedInAnnotation == "YES"
    assert one.SeriesDescription == "Pictures, research use only"


def test_equal_input_gives_equal_bytes(pictures, image_files, tmp_path):
    one, two = (write_captures(pictures, image_files, tmp_path / name) for name in ("a", "b"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    pictures["02-predicted"] = pictures["02-predicted"][::-1]
    other = pydicom.dcmread(write_captures(pictures, image_files, tmp_path / "c")[0])
    assert other.SeriesInstanceUID != pydicom.dcmread(one[0]).SeriesInstanceUID


def test_what_cannot_be_written_is_refused(pictures, image_files, tmp_path):
    with pytest.raises(InputError, match="no picture"):
        write_captures({}, image_files, tmp_path)
    with pytest.raises(InputError, match=r"'grey' is uint8 of shape \(4, 4\)"):
        write_captures({**pictures, "grey": np.zeros((4, 4), np.uint8)}, image_files, tmp_path)
    assert list(tmp_path.iterdir()) == []
    write_captures(pictures, image_files, tmp_path)
    with pytest.raises(OutputExistsError):
        write_captures(pictures, image_files, tmp_path)
