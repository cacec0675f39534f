"""NIfTI and NRRD: RAS turns into LPS at the door; nibabel as the independent reader."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError, OutputExistsError, ReadError
from tumortwin.imaging.nifti import read_image, read_mask, write_nifti
from tumortwin.imaging.volume import Grid, Mask, Volume


@pytest.fixture
def volume():
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (10, -15, 25), degrees=True).as_matrix()
    affine[:3, :3] = turn[:, ::-1] * np.array([3.0, 1.5, 1.25])
    affine[:3, 3] = (-20, 10, 5)
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    return Volume(array, Grid(array.shape, affine), "mm^2/s")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_round_trip_and_what_nibabel_sees(tmp_path, volume, ending):
    path = write_nifti(volume, tmp_path / f"adc{ending}")
    assert [p.name for p in tmp_path.iterdir()] == [f"adc{ending}"]
    back = read_image(path, unit="mm^2/s")
    assert back.grid.matches(volume.grid, 1e-4)
    np.testing.assert_array_equal(back.array, volume.array)
    image = nibabel.load(path)
    for index in ((0, 0, 0), (3, 1, 5)):
        world = image.affine @ [*index[::-1], 1]
        np.testing.assert_allclose(world[:3] * (-1, -1, 1), volume.grid.to_world(index), atol=1e-4)
        assert np.asarray(image.dataobj)[index[::-1]] == volume.array[index]


def test_existing_files_and_other_endings(tmp_path, volume):
    path = write_nifti(volume, tmp_path / "a.nii")
    with pytest.raises(OutputExistsError):
        write_nifti(volume, path)
    write_nifti(volume, path, overwrite=True)
    with pytest.raises(InputError, match=r"ends in \.nii or"):
        write_nifti(volume, tmp_path / "a.img")
    sheared = np.array(volume.affine)
    sheared[:3, 0] += sheared[:3, 1]
    with pytest.raises(InputError, match="right angles"):
        write_nifti(Volume(volume.array, Grid((4, 5, 6), sheared)), tmp_path / "b.nii")


def test_masks_are_named_not_guessed(tmp_path, volume):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1], labels[2] = 1, 4
    path = write_nifti(volume.with_array(labels), tmp_path / "seg.nii.gz")
    with pytest.raises(ReadError, match=r"several values \(1, 4\): give the label"):
        read_mask(path)
    np.testing.assert_array_equal(read_mask(path, label=4).array, labels == 4)
    mask = Mask(labels == 1, volume.grid)
    back = read_mask(write_nifti(mask, tmp_path / "one.nii.gz"))
    np.testing.assert_array_equal(back.array, mask.array)
    assert back.grid.matches(mask.grid, 1e-4)


def test_nrrd(tmp_path, volume):
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing((1.25, 1.5, 3))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    back = read_image(tmp_path / "a.nrrd", unit="a.u.", factor=2)
    np.testing.assert_allclose(back.array, volume.array * 2)
    assert back.grid.spacing == pytest.approx((3, 1.5, 1.25))


def test_a_header_that_contradicts_itself(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4))
    image.header.set_sform(np.eye(4), 1)
    image.header["pixdim"][1:4] = (1.5, 1.5, 3)
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[80:92] = np.array([1.5, 1.5, 3], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(ReadError, match=r"1 x 1 x 1 mm by its affine .* 1\.5 x 1\.5 x 3 mm by pixdim"):
        read_image(tmp_path / "a.nii", unit="1")


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "a.nii").write_text("nothing")
    with pytest.raises(ReadError, match="cannot be read as an image"):
        read_image(tmp_path / "a.nii", unit="1")
    with pytest.raises(ReadError, match="is no file"):
        read_image(tmp_path / "b.nii", unit="1")
