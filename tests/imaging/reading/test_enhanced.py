"""Enhanced multi-frame MR, and geometry equal to that of independent readers."""

import subprocess
from pathlib import Path

import dcm2niix
import highdicom as hd
import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, JPEGLSLossless
from scipy.spatial.transform import Rotation

from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid
from tumortwin.phantom.synthetic import Encoding


def item(**values):
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


@pytest.fixture
def oblique():
    turn = Rotation.from_euler("xyz", (20, -10, 35), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn[:, ::-1] * np.array([4.0, 1.5, 0.75])
    affine[:3, 3] = (-40, 30, 12.5)
    return Grid((5, 12, 16), affine, "1.2.3.4")


def test_frames_are_sorted_scaled_and_split_by_b_value(tmp_path, make_series, oblique, save_dicom):
    (first, *_) = make_series(tmp_path / "seed", np.zeros((1, 12, 16), np.uint16), oblique)
    (tmp_path / "seed/000.dcm").unlink()
    array = np.random.default_rng(1).integers(1, 4000, (2, 5, 12, 16)).astype(np.uint16)
    data = Dataset()
    data.update(first)
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RepetitionTime",
        "EchoTime",
    ):
        delattr(data, keyword)
    data.SOPClassUID, data.ImageType = EnhancedMRImageStorage, ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]
    data.SeriesDescription, data.AcquisitionContrast = "ep2d", "DIFFUSION"
    data.AcquisitionDateTime = "20240131101500"
    data.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=first.ImageOrientationPatient)],
            PixelMeasuresSequence=[item(PixelSpacing=first.PixelSpacing, SliceThickness=4)],
        )
    ]
    order = np.random.default_rng(2).permutation(10)
    groups = []
    for n in order:
        b, k = divmod(int(n), 5)
        groups.append(
            item(
                PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.8g}" for v in oblique.to_world((k, 0, 0))])],
                PixelValueTransformationSequence=[item(RescaleSlope=1 + k, RescaleIntercept=b, RescaleType="US")],
                MRDiffusionSequence=[
                    item(DiffusionBValue=1000.0 * b, DiffusionDirectionality="ISOTROPIC" if b else "NONE")
                ],
            )
        )
    data.PerFrameFunctionalGroupsSequence = groups
    data.NumberOfFrames = 10
    data.PixelData = array.reshape(10, 12, 16)[order].tobytes()
    save_dicom(data, tmp_path / "enhanced.dcm", compress=JPEGLSLossless)

    study = read_folder(tmp_path, strict=True)
    weighted = [i for i in study.images if i.sequence is MRSequence.DWI]
    assert sorted(i.b_value for i in weighted) == [0, 1000]
    expected = [array[b] * np.arange(1.0, 6)[:, None, None] + b for b in (0, 1)]
    for image in weighted:
        assert image.volume.grid.matches(oblique, 1e-4)
        np.testing.assert_allclose(image.volume.array, expected[int(image.b_value > 0)])
    (adc,) = [i for i in study.images if i.sequence is MRSequence.ADC]
    np.testing.assert_allclose(adc.volume.array, np.log(expected[0] / expected[1]) / 1000, atol=1e-8)
    assert (adc.volume.unit, adc.b_value) == ("mm^2/s", None)
    assert {s.part for s in study.series} == {"b 0", "b 1000"}


def test_geometry_is_that_of_highdicom_and_dcm2niix(tmp_path, make_series, oblique):
    array = np.random.default_rng(1).integers(0, 4000, oblique.shape).astype(np.uint16)
    made = make_series(tmp_path / "dicom", array, oblique)
    volume = read_folder(tmp_path / "dicom", strict=True).images[0].volume

    theirs = hd.get_volume_from_series(made)
    theirs = theirs.flip_spatial(0)  # it stacks against the normal
    np.testing.assert_allclose(volume.affine, theirs.affine, atol=1e-5)
    np.testing.assert_array_equal(volume.array, theirs.array)

    (tmp_path / "nifti").mkdir()
    subprocess.run(
        [dcm2niix.bin, "-o", tmp_path / "nifti", "-b", "n", tmp_path / "dicom"], check=True, capture_output=True
    )
    (path,) = Path(tmp_path / "nifti").glob("*.nii")
    image = nibabel.load(path)
    for index in ((0, 0, 0), (4, 11, 15), (2, 3, 9)):
        left_posterior = volume.grid.to_world(index)
        right_anterior = left_posterior * (-1, -1, 1)
        x, y, z = np.round(np.linalg.inv(image.affine) @ [*right_anterior, 1], 3)[:3]
        np.testing.assert_allclose((x, y, z), np.round((x, y, z)), atol=0.01)
        assert np.asarray(image.dataobj)[round(x), round(y), round(z)] == volume.array[index]


@pytest.mark.parametrize("encoding", Encoding)
def test_what_the_phantom_writes_comes_back(tmp_path, mr_series, image_grid, encoding):
    files = mr_series(image_grid, tmp_path, encoding)
    (image,) = read_folder(tmp_path, strict=True).images
    assert image.sequence is MRSequence.T1GD
    assert len(files) == (1 if encoding is Encoding.ENHANCED else image_grid.shape[0])
    written = np.random.default_rng(1).random(image_grid.shape, np.float32)
    # planes come back along the normal, whichever way they were numbered
    flipped = np.dot(image.volume.affine[:3, 0], image_grid.affine[:3, 0]) < 0
    index = np.moveaxis(np.mgrid[tuple(slice(0, n) for n in image_grid.shape)], 0, -1)
    world = image_grid.to_world(index)[::-1] if flipped else image_grid.to_world(index)
    np.testing.assert_allclose(image.volume.grid.to_world(index), world, atol=1e-3)
    assert np.corrcoef(image.volume.array.ravel(), (written[::-1] if flipped else written).ravel())[0, 1] > 0.9999
