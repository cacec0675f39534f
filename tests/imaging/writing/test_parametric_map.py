from datetime import datetime

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.imaging.writing.parametric_map import write_map
from tumortwin.phantom.synthetic import Encoding

SAID = {"label": "cell density", "derivation": "median of 200 samples of the posterior"}


@pytest.fixture
def density(image_grid: Grid) -> Volume:
    """On a grid of its own: the images' frame of reference, another size, spacing and direction."""
    grid = Grid.regular((13, 9, 15), 2.0, image_grid.center - (14, 8, 12), image_grid.frame)
    noise = np.random.default_rng(3).random(grid.shape, np.float32)
    return Volume(ndimage.gaussian_filter(noise, 1), grid, "1", "cell density")


@pytest.mark.parametrize("encoding", [Encoding.PLAIN, Encoding.ENHANCED])
def test_highdicom_gets_values_and_places_back(encoding, density, image_grid, mr_series, dicom_errors, tmp_path):
    files = mr_series(image_grid, tmp_path, encoding)
    path = write_map(density, files, tmp_path / "pm.dcm", **SAID)
    assert dicom_errors(path) == []
    volume = highdicom.pm.ParametricMap.from_dataset(pydicom.dcmread(path)).get_volume(apply_real_world_transform=True)
    target = highdicom.Volume(
        np.zeros(density.grid.shape), density.affine, "PATIENT", frame_of_reference_uid=density.frame
    )
    volume = volume.match_geometry(target)
    np.testing.assert_array_equal(volume.array, density.array)
    np.testing.assert_allclose(volume.affine, density.affine, atol=1e-6)
    assert volume.frame_of_reference_uid == density.frame


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 7)] * 3),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    mirrored=st.booleans(),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_upright_or_oblique_grid_comes_back(angles, spacing, shape, mirrored, image_grid, image_files, tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, ::-1] * spacing
    affine[:3, 0] *= -1 if mirrored else 1
    affine[:3, 3] = (-31.25, 7.5, 1234.5)
    values = np.random.default_rng(5).random(shape, np.float32)
    volume = Volume(values, Grid(shape, affine, image_grid.frame), "1")
    path = write_map(volume, image_files, tmp_path / "pm.dcm", **SAID, overwrite=True)
    read = highdicom.pm.ParametricMap.from_dataset(pydicom.dcmread(path)).get_volume()
    target = highdicom.Volume(np.zeros(shape), affine, "PATIENT", frame_of_reference_uid=image_grid.frame)
    read = read.match_geometry(target, tol=1e-3)
    np.testing.assert_array_equal(read.array, values)
    np.testing.assert_allclose(read.affine, affine, atol=1e-5)


def test_it_says_what_a_value_is_and_where_it_comes_from(density, image_files, tmp_path):
    when = datetime(2024, 6, 1, 12)
    made = pydicom.dcmread(write_map(density, image_files, tmp_path / "pm.dcm", **SAID, when=when, window=(0, 1)))
    first = pydicom.dcmread(image_files[0])
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert (mapping.LUTLabel, mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == ("cell density", 1, 0)
    assert made.DerivationDescription == "median of 200 samples of the posterior; research use only"
    assert "research use only" in made.SeriesDescription
    assert made.StudyInstanceUID == first.StudyInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence} == {
        pydicom.dcmread(path).SOPInstanceUID for path in image_files
    }
    assert (made.ContentDate, made.ContentTime, made.SeriesDate) == ("20240601", "120000", "20240601")


def test_equal_input_gives_equal_bytes_and_other_values_another_identity(density, image_files, tmp_path):
    one, two = (write_map(density, image_files, tmp_path / name, **SAID) for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()
    other = write_map(density.with_array(2 * density.array), image_files, tmp_path / "c.dcm", **SAID)
    assert pydicom.dcmread(one).SOPInstanceUID != pydicom.dcmread(other).SOPInstanceUID


def test_a_map_of_one_value_can_be_written(density, image_files, dicom_errors, tmp_path):
    path = write_map(density.with_array(np.zeros_like(density.array)), image_files, tmp_path / "pm.dcm", **SAID)
    assert dicom_errors(path) == []


def test_what_cannot_be_written_is_refused(density, image_files, tmp_path):
    with pytest.raises(InputError, match="no code is known for the unit 'furlong'"):
        write_map(density.with_array(density.array, unit="furlong"), image_files, tmp_path / "x.dcm", **SAID)
    with pytest.raises(InputError, match="1 to 16 characters, not 20"):
        write_map(density, image_files, tmp_path / "x.dcm", label="a density of a tumor", derivation="")
    gaps = density.array.copy()
    gaps[0, 0, :3] = np.nan
    with pytest.raises(InputError, match="3 voxels that are not finite"):
        write_map(density.with_array(gaps), image_files, tmp_path / "x.dcm", **SAID)
    elsewhere = Volume(density.array, Grid(density.grid.shape, density.affine, "2.25.7"))
    with pytest.raises(InputError, match=r"frame of reference 2\.25\.7, the images in"):
        write_map(elsewhere, image_files, tmp_path / "x.dcm", **SAID)
    sheared = np.array(density.affine)
    sheared[1, 0] = 0.5
    with pytest.raises(InputError, match="right angles"):
        write_map(
            Volume(density.array, Grid(density.grid.shape, sheared, density.frame)),
            image_files,
            tmp_path / "x.dcm",
            **SAID,
        )
    assert list(tmp_path.iterdir()) == []
