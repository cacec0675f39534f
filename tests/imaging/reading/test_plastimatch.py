"""A study made by plastimatch, which shares no code with us: CT, RTSTRUCT and RTDOSE are read where they are."""

import subprocess
from pathlib import Path

import numpy as np
import plastimatch
import pydicom
import pytest
import SimpleITK as sitk

from tumortwin.imaging.folder import read_folder

PROGRAM = Path(plastimatch.__file__).parent / "bin" / "plastimatch"


@pytest.fixture(scope="module")
def truth():
    """On a grid of 20 x 24 x 10 voxels: a ball with a hole on the patient's left, and a dose around it."""
    z, y, x = np.indices((10, 24, 20))
    ball = (1.5 * (x - 13)) ** 2 + (1.25 * (y - 10)) ** 2 + (3 * (z - 5)) ** 2 < 64
    ball[4:6, 9:12, 12:14] = False
    dose = 60 * np.exp(-(((x - 13) ** 2 + (y - 10) ** 2 + (z - 5) ** 2) / 50))
    return {"ct": (x + y).astype(np.int16), "ball": ball.astype(np.uint8), "dose": dose.astype(np.float32)}


@pytest.fixture(scope="module")
def study(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plastimatch")
    for name, array in truth.items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.5, 1.25, 3))
        image.SetOrigin((-10, 10, 33))
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    subprocess.run(
        [
            PROGRAM,
            "convert",
            "--input",
            folder / "ct.nrrd",
            "--input-ss-img",
            folder / "ball.nrrd",
            "--input-dose-img",
            folder / "dose.nrrd",
            "--output-dicom",
            folder / "dicom",
            "--patient-id",
            "PM",
        ],
        check=True,
        capture_output=True,
    )
    return read_folder(folder / "dicom", strict=True)


def test_the_structure_is_the_one_that_was_given(study, truth):
    (structure,) = study.structures
    got, expected = structure.mask.array, truth["ball"] > 0
    assert 2 * (got & expected).sum() / (got.sum() + expected.sum()) >= 0.999
    assert not got[4:6, 9:12, 12:14].any()
    assert structure.mask.grid.matches(study.images[0].volume.grid)


def test_the_dose_is_within_half_a_step(study, truth):
    (dose,) = study.doses
    header = next(h for h in map(pydicom.dcmread, Path(study.folder).iterdir()) if h.Modality == "RTDOSE")
    step = float(header.DoseGridScaling)
    points = dose.grid.to_world(np.argwhere(np.ones(dose.grid.shape, bool)))
    at = np.round((points - (-10, 10, 33)) / (1.5, 1.25, 3)).astype(int)
    np.testing.assert_allclose(
        dose.array.ravel(), truth["dose"][at[:, 2], at[:, 1], at[:, 0]], rtol=2e-6, atol=0.5 * step
    )
    assert dose.array.size == truth["dose"].size


def test_left_is_left(study):
    middle = study.images[0].volume.grid.center
    for volume in (study.structures[0].mask, study.doses[0]):
        weight = volume.array.astype(float) ** 2
        world = volume.grid.to_world(np.moveaxis(np.indices(volume.grid.shape), 0, -1))
        assert (weight[..., None] * world).sum((0, 1, 2))[0] / weight.sum() > middle[0] + 3
