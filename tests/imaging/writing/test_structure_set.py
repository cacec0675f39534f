import subprocess
from pathlib import Path

import numpy as np
import plastimatch
import pydicom
import pytest
import SimpleITK
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.imaging.writing.structure_set import roi_type, write_structures
from tumortwin.phantom.synthetic import Encoding


def corner_parts(shape: tuple[int, int, int]) -> np.ndarray:
    """Parts and holes of one voxel: in the image's corners, and touching each other by corners only."""
    array = np.zeros(shape, bool)
    array[np.ix_((0, -1), (0, -1), (0, -1))] = True
    array[5:7, 5:15, 5:15] = np.indices((10, 10)).sum(0) % 2 == 0
    array[7, 5:20, 5:20] = True
    array[7, 7:17:2, 7:17:2] = False
    return array


def nested(shape: tuple[int, int, int]) -> np.ndarray:
    """Rings in rings, up to a voxel in the middle, pushed against the image's border on one side."""
    array = np.zeros(shape, bool)
    for depth in range(7):
        array[2:9, 2 * depth : 27 - 2 * depth, depth : 26 - 3 * depth // 2] = depth % 2 == 0
    return array


@pytest.fixture
def masks(image_grid: Grid) -> dict[str, Mask]:
    """Two holes, an island in a hole, a part of one voxel, one voxel alone, ragged edges, and the image's border."""
    rng = np.random.default_rng(7)
    shape = image_grid.shape
    rings = np.zeros(shape, bool)
    rings[2:8, 4:24, 3:25] = True
    rings[3:7, 7:13, 6:12] = False
    rings[3:7, 9:11, 8:10] = True
    rings[4:6, 15:21, 10:20] = False
    rings[5, 29, 26] = True
    single = np.zeros(shape, bool)
    single[6, 12, 9] = True
    ragged = ndimage.gaussian_filter(rng.normal(size=shape), (0.6, 1.2, 1.2)) > 0.03
    border = np.zeros(shape, bool)
    border[:, :, :6] = True
    noise = {f"noise{share}": rng.random(shape) < share / 100 for share in (2, 60)}
    return {
        name: Mask(array, image_grid)
        for name, array in {
            "GTV": rings,
            "fiducial": single,
            "PTV_ragged": ragged,
            "Brain": border,
            "corners": corner_parts(shape),
            "nested": nested(shape),
            "all": np.ones(shape, bool),
            **noise,
        }.items()
    }


def test_plastimatch_gives_the_masks_back(masks, image_grid, image_files, dicom_errors, tmp_path):
    path = write_structures(masks, image_files, tmp_path / "rtstruct.dcm")
    assert dicom_errors(path) == []
    program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    subprocess.run(
        [
            program,
            "convert",
            "--input",
            path,
            "--referenced-ct",
            image_files[0].parent,
            "--output-prefix",
            tmp_path / "out",
            "--prefix-format",
            "nrrd",
        ],
        check=True,
        capture_output=True,
    )
    for name, mask in masks.items():
        image = SimpleITK.ReadImage(str(tmp_path / "out" / f"{name}.nrrd"))
        got = SimpleITK.GetArrayFromImage(image) > 0
        if image.TransformIndexToPhysicalPoint((0, 0, 0)) != pytest.approx(tuple(image_grid.affine[:3, 3]), abs=0.01):
            got = got[::-1]
        dice = 2 * np.sum(got & mask.array) / (got.sum() + mask.array.sum())
        assert dice >= 0.999, name


def test_our_reader_gives_the_masks_back(masks, image_grid, image_files, tmp_path):
    write_structures(masks, image_files, tmp_path / "rtstruct.dcm")
    for file in image_files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    study = read_folder(tmp_path)
    assert [f for f in study.findings if f.severity is not Severity.NOTE] == []
    for found in study.structures:
        expected = masks[found.mask.name]
        np.testing.assert_array_equal(
            found.mask.array if found.mask.grid.matches(image_grid, 0.01) else found.mask.array[::-1],
            expected.array,
            err_msg=found.mask.name,
        )
    assert {f.mask.name for f in study.structures} == set(masks)


def test_contours_name_their_image_and_lie_in_it(masks, image_files, tmp_path):
    images = {str(i.SOPInstanceUID): i for i in map(pydicom.dcmread, image_files)}
    dataset = pydicom.dcmread(write_structures(masks, image_files, tmp_path / "rtstruct.dcm"))
    for roi in dataset.ROIContourSequence:
        for contour in roi.ContourSequence:
            image = images[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints >= 3
            normal = np.cross(*np.array(image.ImageOrientationPatient, float).reshape(2, 3))
            distance = (points - np.array(image.ImagePositionPatient, float)) @ normal
            assert np.abs(distance).max() < 1e-3
    series = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence} == set(images)
    assert [r.ROIName for r in dataset.StructureSetROISequence] == list(masks)
    assert [r.RTROIInterpretedType for r in dataset.RTROIObservationsSequence][:4] == ["GTV", "ORGAN", "PTV", "ORGAN"]


def test_contours_on_an_enhanced_image_name_their_frame(masks, image_grid, mr_series, dicom_errors, tmp_path):
    images = mr_series(image_grid, tmp_path, Encoding.ENHANCED)
    path = write_structures({"GTV": masks["GTV"]}, images, tmp_path / "r.dcm")
    assert dicom_errors(path) == []
    frames = {
        c.ContourImageSequence[0].ReferencedFrameNumber
        for c in pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    }
    assert frames == set(range(3, 9))


def test_a_contour_may_be_longer_than_explicit_vr_allows(mr_series, dicom_errors, tmp_path):
    grid = Grid.regular((1, 60, 60), (3.0, 1.0, 1.0), (-164.123, -164.123, 0), "2.25.1")
    comb = np.zeros(grid.shape, bool)
    comb[0, 1:-1, 1:-1] = True
    comb[0, 2::2, 3::2] = False
    path = write_structures({"comb": Mask(comb, grid)}, mr_series(grid, tmp_path), tmp_path / "r.dcm")
    assert dicom_errors(path) == []
    (contour,) = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    assert len("\\".join(map(str, contour.ContourData))) > 65534


def test_equal_input_gives_equal_bytes(masks, image_files, tmp_path):
    one, two = (write_structures(masks, image_files, tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()


def test_an_empty_structure_is_refused(image_grid, image_files, tmp_path):
    with pytest.raises(InputError, match="'GTV' is empty"):
        write_structures({"GTV": Mask(np.zeros(image_grid.shape, bool), image_grid)}, image_files, tmp_path / "r.dcm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gtv_46", "GTV"),
        ("CTV 60", "CTV"),
        ("PTV", "PTV"),
        ("Body", "EXTERNAL"),
        ("Brainstem", "ORGAN"),
        ("antibody", "ORGAN"),
    ],
)
def test_roi_types_follow_the_usual_names(name, expected):
    assert roi_type(name) == expected
