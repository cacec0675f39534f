import subprocess
from pathlib import Path

import numpy as np
import plastimatch
import pydicom
import pytest
import SimpleITK
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid, Mask, TotalDose
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.structure_set import write_structures


@pytest.fixture
def dose(image_grid: Grid) -> TotalDose:
    """On a grid of its own: the images' orientation, another size and spacing."""
    affine = np.array(image_grid.affine) @ np.diag([0.75, 1.5, 1.5, 1])
    noise = np.random.default_rng(2).random((9, 15, 17))
    return TotalDose(np.float32(75 * ndimage.gaussian_filter(noise, 1)), Grid((9, 15, 17), affine, image_grid.frame))


@pytest.fixture
def plan(image_grid: Grid, image_files: list[Path], tmp_path: Path) -> Path:
    inside = np.zeros(image_grid.shape, bool)
    inside[4:7, 8:20, 8:20] = True
    structures = write_structures({"PTV": Mask(inside, image_grid)}, image_files, tmp_path / "rtstruct.dcm")
    return write_plan(60.0, 30, structures, tmp_path / "rtplan.dcm", isocenter=(1.5, 2.0, 40.0))


@pytest.mark.parametrize("bits", [16, 32])
def test_an_independent_reader_gets_the_dose_back(bits, dose, plan, dicom_errors, tmp_path):
    path = write_dose(dose, plan, tmp_path / "rtdose.dcm", bits=bits)
    if bits == 16:  # dciodvfy aborts on 32-bit pixels, whoever wrote them
        assert dicom_errors(path) == []
    dataset = pydicom.dcmread(path)
    step = float(dataset.DoseGridScaling)
    # GDCM knows oblique dose grids but not the scaling of doses, plastimatch the other way round
    oblique = np.abs(dose.affine[:3, :3]).astype(bool).sum() > 3
    if not oblique:
        program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
        subprocess.run(
            [program, "convert", "--input-dose-img", path, "--output-dose-img", tmp_path / "dose.nrrd"],
            check=True,
            capture_output=True,
        )
    image = SimpleITK.ReadImage(str(path if oblique else tmp_path / "dose.nrrd"))
    points = np.argwhere(np.ones(dose.grid.shape, bool))
    index = np.array([image.TransformPhysicalPointToContinuousIndex(p) for p in dose.grid.to_world(points)])[:, ::-1]
    assert np.abs(index - np.rint(index)).max() < 1e-3
    got = SimpleITK.GetArrayFromImage(image)[tuple(np.rint(index).astype(int).T)]
    np.testing.assert_allclose(got * (step if oblique else 1), dose.array[tuple(points.T)], rtol=1e-6, atol=0.5 * step)
    assert step == pytest.approx(dose.array.max() / 2**bits, rel=1e-3)


def test_it_says_whose_and_which_dose_it_is(dose, plan, dicom_errors, tmp_path):
    header = pydicom.dcmread(plan)
    total = pydicom.dcmread(write_dose(dose, plan, tmp_path / "total.dcm"))
    assert (total.DoseUnits, total.DoseType, total.DoseSummationType) == ("GY", "PHYSICAL", "PLAN")
    assert total.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert total.FrameOfReferenceUID == dose.frame
    assert total.GridFrameOffsetVector[0] == 0
    path = write_dose(dose.per_fraction(30), plan, tmp_path / "fraction.dcm")
    assert dicom_errors(path) == []
    fraction = pydicom.dcmread(path)
    assert fraction.DoseSummationType == "FRACTION_SESSION"
    group = fraction.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence[0]
    assert group.ReferencedFractionGroupNumber == 1
    assert fraction.SOPInstanceUID != total.SOPInstanceUID


def test_a_dose_without_a_plan_and_without_dose_can_be_written(dose, image_files, dicom_errors, tmp_path):
    nothing = dose.with_array(np.zeros_like(dose.array))
    path = write_dose(nothing, image_files[0], tmp_path / "rtdose.dcm")
    assert not pydicom.dcmread(path).pixel_array.any()
    # the one thing the validator must miss is the plan
    assert all("ReferencedRTPlanSequence" in line for line in dicom_errors(path))


def test_equal_input_gives_equal_bytes(dose, plan, tmp_path):
    one, two = (write_dose(dose, plan, tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()


def test_what_cannot_be_written_is_refused(dose, plan, tmp_path):
    with pytest.raises(InputError, match="not 8"):
        write_dose(dose, plan, tmp_path / "x.dcm", bits=8)
    with pytest.raises(InputError, match="negative or non-finite"):
        write_dose(dose.with_array(dose.array - 50), plan, tmp_path / "x.dcm")
    adrift = TotalDose(dose.array, Grid(dose.grid.shape, dose.affine))
    with pytest.raises(InputError, match="no frame of reference"):
        write_dose(adrift, plan, tmp_path / "x.dcm")
    elsewhere = TotalDose(dose.array, Grid(dose.grid.shape, dose.affine, "2.25.7"))
    with pytest.raises(InputError, match=r"frame of reference 2\.25\.7, its plan in"):
        write_dose(elsewhere, plan, tmp_path / "x.dcm")
