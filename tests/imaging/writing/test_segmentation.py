import highdicom
import numpy as np
import pydicom
import pytest

from tumortwin.errors import InputError, OutputExistsError
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.phantom.synthetic import Encoding


@pytest.fixture
def masks(image_grid: Grid) -> dict[str, Mask]:
    """Overlapping, with a one-voxel part, and with empty planes at both ends."""
    rng = np.random.default_rng(5)
    whole, core = np.zeros((2, *image_grid.shape), bool)
    whole[2:9] = rng.random(image_grid.shape)[2:9] > 0.4
    core[4:6, 10:20, 10:14] = True
    core[7, 3, 3] = True
    return {"whole tumor": Mask(whole, image_grid), "necrosis": Mask(core, image_grid)}


@pytest.mark.parametrize("encoding", [Encoding.PLAIN, Encoding.ENHANCED])
def test_masks_come_back_bit_by_bit_through_highdicom(encoding, masks, image_grid, mr_series, dicom_errors, tmp_path):
    files = mr_series(image_grid, tmp_path, encoding)
    path = write_segmentation(masks, files[::-1], tmp_path / "seg.dcm")
    assert dicom_errors(path) == []
    seg = highdicom.seg.segread(path)
    source = highdicom.Volume(
        np.zeros(image_grid.shape), image_grid.affine, "PATIENT", frame_of_reference_uid=image_grid.frame
    )
    volume = seg.get_volume().match_geometry(source)
    for number, mask in enumerate(masks.values()):
        np.testing.assert_array_equal(volume.array[..., number] > 0, mask.array)
    assert [s.SegmentLabel for s in seg.SegmentSequence] == list(masks)
    assert [s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in seg.SegmentSequence] == ["108369006", "6574001"]
    assert "research use only" in seg.SeriesDescription


def test_it_refers_to_the_images_it_was_drawn_on(masks, image_files, tmp_path):
    seg = pydicom.dcmread(write_segmentation(masks, image_files, tmp_path / "seg.dcm"))
    images = [pydicom.dcmread(file) for file in image_files]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (used,) = frame.DerivationImageSequence[0].SourceImageSequence
        image = next(i for i in images if i.SOPInstanceUID == used.ReferencedSOPInstanceUID)
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(image.ImagePositionPatient, position, atol=1e-6)
    assert seg.StudyInstanceUID == images[0].StudyInstanceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == images[0].SeriesInstanceUID


def test_equal_input_gives_equal_bytes_and_other_masks_another_identity(masks, image_files, tmp_path):
    one, two = (write_segmentation(masks, image_files, tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()
    other = write_segmentation({"necrosis": masks["necrosis"]}, image_files, tmp_path / "c.dcm")
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in (one, two, other)}
    assert len(uids) == 2
    assert all(uid.startswith("2.25.") for uid in uids)


def test_what_cannot_be_written_is_refused(masks, image_files, image_grid, tmp_path):
    with pytest.raises(InputError, match="no code is known"):
        write_segmentation({"lump": masks["necrosis"]}, image_files, tmp_path / "x.dcm")
    empty = Mask(np.zeros(image_grid.shape, bool), image_grid)
    with pytest.raises(InputError, match="empty"):
        write_segmentation({"edema": empty}, image_files, tmp_path / "x.dcm")
    with pytest.raises(InputError, match="no source images"):
        write_segmentation(masks, [], tmp_path / "x.dcm")
    assert list(tmp_path.iterdir()) == []
    path = write_segmentation(masks, image_files, tmp_path / "x.dcm")
    with pytest.raises(OutputExistsError):
        write_segmentation(masks, image_files, path)
    assert write_segmentation(masks, image_files, path, overwrite=True) == path
