"""RTSTRUCT on the grid of the image it was drawn on: hand-made with pydicom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Path2D
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage, generate_uid
from scipy.spatial.transform import Rotation
from skimage.draw import polygon2mask

from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.objects.filling import Contour, even_odd, fill
from tumortwin.imaging.volume import Grid


@pytest.fixture
def oblique():
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (10, -15, 25), degrees=True).as_matrix()
    affine[:3, :3] = turn[:, ::-1] * np.array([3.0, 1.5, 1.25])
    affine[:3, 3] = (-20, 10, 5)
    return Grid((9, 16, 20), affine, "1.2.3.4")


@pytest.fixture
def image(tmp_path, make_series, oblique):
    return make_series(tmp_path / "t1", np.ones(oblique.shape, np.uint16), oblique)


def write_rtstruct(image, rois, path, frame="1.2.3.4", referenced=None):
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    data.PatientID, data.Modality = "P1", "RTSTRUCT"
    data.StudyInstanceUID, data.SeriesInstanceUID = image[0].StudyInstanceUID, generate_uid()
    data.StructureSetLabel, data.StructureSetDate, data.StructureSetTime = "plan", "20240202", "080000"
    series, study, reference = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = referenced or image[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    reference.RTReferencedStudySequence, reference.FrameOfReferenceUID = [study], frame
    data.ReferencedFrameOfReferenceSequence = [reference]
    data.StructureSetROISequence, data.ROIContourSequence, data.RTROIObservationsSequence = [], [], []
    for n, (name, contours) in enumerate(rois.items(), 1):
        roi, drawn, observed = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = n, name, frame
        drawn.ReferencedROINumber, drawn.ContourSequence = n, []
        observed.ReferencedROINumber, observed.ObservationNumber, observed.RTROIInterpretedType = n, n, "GTV"
        for kind, points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{v:.4f}" for v in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
        data.RTROIObservationsSequence.append(observed)
    return data


def square(grid, k, low, high):
    """Around the voxels low..high (inclusive) of slice k, in world coordinates."""
    a, b = low - 0.5, high + 0.5
    return "CLOSED_PLANAR", grid.to_world([(k, a, a), (k, a, b), (k, b, b), (k, b, a)])


def test_how_a_structure_was_drawn_is_kept(tmp_path, image, oblique, save_dicom):
    data = write_rtstruct(image, {name: [square(oblique, 4, 3, 12)] for name in ("a", "b", "c")}, tmp_path)
    data.StructureSetROISequence[0].ROIGenerationAlgorithm = "AUTOMATIC"
    data.StructureSetROISequence[1].ROIGenerationAlgorithm = ""
    save_dicom(data, tmp_path / "rtstruct.dcm")
    assert {s.mask.name: s.algorithm for s in read_folder(tmp_path).structures} == {"a": "AUTOMATIC", "b": "", "c": ""}


def test_contours_with_holes_islands_and_keyholes(tmp_path, image, oblique, save_dicom):
    outer, inner = square(oblique, 4, 3, 12)[1], square(oblique, 4, 6, 9)[1]
    keyhole = [*outer, outer[0], *inner[::-1], inner[-1]]
    data = write_rtstruct(
        image,
        {
            "hole": [square(oblique, 4, 3, 12), square(oblique, 4, 6, 9)],
            "keyhole": [("CLOSED_PLANAR", keyhole)],
            "islands": [square(oblique, 2, 3, 4), square(oblique, 2, 8, 8), square(oblique, 4, 5, 6)],
        },
        tmp_path,
    )
    save_dicom(data, tmp_path / "rtstruct.dcm")
    study = read_folder(tmp_path, strict=True)
    ring = np.zeros(oblique.shape, bool)
    ring[4, 3:13, 3:13] = True
    ring[4, 6:10, 6:10] = False
    islands = np.zeros(oblique.shape, bool)
    islands[2, 3:5, 3:5] = islands[2, 8, 8] = islands[4, 5:7, 5:7] = True
    found = {s.mask.name: s for s in study.structures}
    for name, expected in (("hole", ring), ("keyhole", ring), ("islands", islands)):
        np.testing.assert_array_equal(found[name].mask.array, expected, err_msg=name)
        assert found[name].mask.grid.matches(oblique, 1e-4)
    assert found["hole"].kind == "GTV"
    assert found["hole"].date == study.images[0].date
    assert any("no contour on 1 slice(s) between its ends" in f.what for f in study.findings)


def test_what_is_no_area_is_a_finding(tmp_path, image, oblique, save_dicom):
    good = square(oblique, 4, 3, 6)
    lines = ("CLOSED_PLANAR", good[1][:2])
    data = write_rtstruct(
        image, {"isocenter": [("POINT", good[1][:1])], "empty": [], "partly": [good, lines]}, tmp_path
    )
    save_dicom(data, tmp_path / "rtstruct.dcm")
    study = read_folder(tmp_path)
    assert [s.mask.name for s in study.structures] == ["partly"]
    what = {f.what for f in study.findings if f.severity is Severity.LEFT_OUT}
    assert what == {"ROI 'empty' has no contours", "ROI 'partly': 1 contour(s) of fewer than three points"}
    (point,) = study.points
    assert (point.name, point.frame) == ("isocenter", oblique.frame)
    np.testing.assert_allclose(point.position, good[1][0], atol=1e-3)


@pytest.mark.parametrize(
    ("shift", "frame", "message"),
    [
        (0.5, "1.2.3.4", "do not lie in the image's slices"),
        (0, "1.2.777", "no image of its frame of reference"),
    ],
)
def test_contours_that_fit_no_image_are_refused(tmp_path, image, oblique, save_dicom, shift, frame, message):
    data = write_rtstruct(image, {"GTV": [square(oblique, 4 + shift, 3, 6)]}, tmp_path, frame=frame)
    save_dicom(data, tmp_path / "rtstruct.dcm")
    study = read_folder(tmp_path)
    assert study.structures == ()
    assert message in study.findings[-1].what


def test_an_image_of_the_same_frame_stands_in(tmp_path, image, oblique, save_dicom):
    data = write_rtstruct(image, {"GTV": [square(oblique, 4, 3, 6)]}, tmp_path, referenced="1.2.555")
    save_dicom(data, tmp_path / "rtstruct.dcm")
    study = read_folder(tmp_path)
    assert study.structures[0].mask.array.sum() == 16
    assert study.structures[0].referenced_series == image[0].SeriesInstanceUID
    assert "filled on T1 axial" in study.findings[-1].action


def test_even_odd_against_another_rasteriser():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(-3, 33, (7, 2))
        np.testing.assert_array_equal(even_odd([points], (30, 28)), polygon2mask((30, 28), points))


def masks_of(study):
    return {s.mask.name: s.mask for s in study.structures}


def block(grid, *boxes):
    array = np.zeros(grid.shape, bool)
    for k, low, high in boxes:
        array[k, low : high + 1, low : high + 1] ^= True
    return array


def test_a_contour_that_is_there_twice_does_not_cancel(tmp_path, image, oblique, save_dicom):
    one = square(oblique, 4, 3, 6)
    backwards = (one[0], np.roll(one[1][::-1], 1, axis=0))
    save_dicom(write_rtstruct(image, {"GTV": [one, backwards]}, tmp_path), tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    np.testing.assert_array_equal(masks_of(study)["GTV"].array, block(oblique, (4, 3, 6)))
    assert [f.severity for f in study.findings if "drawn twice" in f.what] == [Severity.REPAIRED]


def test_crossing_contours_are_one_region_and_declared_ones_cancel(tmp_path, image, oblique, save_dicom):
    a, b = square(oblique, 4, 2, 6), square(oblique, 4, 5, 9)
    xor = [("CLOSEDPLANAR_XOR", points) for _, points in (a, b)]
    save_dicom(write_rtstruct(image, {"union": [a, b], "xor": xor}, tmp_path), tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    masks = masks_of(study)
    np.testing.assert_array_equal(masks["union"].array, block(oblique, (4, 2, 6)) | block(oblique, (4, 5, 9)))
    np.testing.assert_array_equal(masks["xor"].array, block(oblique, (4, 2, 6), (4, 5, 9)))
    assert [f.what for f in study.findings] == ["ROI 'union': contours cross each other on 1 slice(s)"]


def test_an_island_in_a_hole(tmp_path, image, oblique, save_dicom):
    rings = [square(oblique, 4, *box) for box in ((7, 8), (1, 14), (4, 11))]
    save_dicom(write_rtstruct(image, {"GTV": rings}, tmp_path), tmp_path / "r.dcm")
    study = read_folder(tmp_path, strict=True)
    np.testing.assert_array_equal(masks_of(study)["GTV"].array, block(oblique, (4, 1, 14), (4, 4, 11), (4, 7, 8)))


@pytest.mark.parametrize(
    ("slices", "filled", "said"),
    [
        ((2, 4), (3,), "interpolated"),
        ((0, 2, 4, 6, 8), (1, 3, 5, 7), "interpolated"),
        ((0, 3, 6), (1, 2, 4, 5), "interpolated"),
        ((1, 2, 6), (), "left empty there: draw them"),
    ],
)
def test_slices_without_a_contour(tmp_path, image, oblique, save_dicom, slices, filled, said):
    drawn = [square(oblique, k, 3, 10) for k in slices]
    save_dicom(write_rtstruct(image, {"Brainstem": drawn}, tmp_path), tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    inside = np.flatnonzero(masks_of(study)["Brainstem"].array.any((1, 2)))
    assert set(inside) == {*slices, *filled}
    (finding,) = study.findings
    assert said in finding.action
    assert finding.severity is Severity.ASSUMED
    between = masks_of(study)["Brainstem"].array[list(filled)]
    assert (between == block(oblique, (4, 3, 10))[4]).all()


def test_a_bridge_changes_size_steadily_and_leaves_islands_alone(tmp_path, image, oblique, save_dicom):
    drawn = [square(oblique, 2, 2, 9), square(oblique, 4, 4, 7), square(oblique, 4, 12, 13)]
    save_dicom(write_rtstruct(image, {"GTV": drawn}, tmp_path), tmp_path / "r.dcm")
    middle = masks_of(read_folder(tmp_path))["GTV"].array[3]
    assert 16 < middle.sum() < 64
    assert not middle[11:, 11:].any()


def ball_contours(center, radius, normal, step, start=0.0):
    """Circles of a ball on planes across `normal`."""
    normal = np.asarray(normal, float) / np.linalg.norm(normal)
    u = np.linalg.svd(normal[None])[2][1]
    v = np.cross(normal, u)
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)[:, None]
    for depth in np.arange(start - radius, radius, step):
        if abs(depth) < radius - 0.05:
            r = np.sqrt(radius**2 - depth**2)
            yield "CLOSED_PLANAR", center + depth * normal + r * (np.cos(angle) * u + np.sin(angle) * v)


@pytest.mark.parametrize(
    ("normal", "step", "said"),
    [
        ("image", 1.0, "1 mm apart, 0 deg"),  # a finer image than this one: three planes a slice
        ("image", 1.5, "1.5 mm apart, 0 deg"),
        ((0, 0, 1), 2.0, "2 mm apart, 1"),  # axial contours, oblique image
        ((1, 0, 0), 1.5, "1.5 mm apart, "),  # sagittal contours
    ],
)
def test_contours_on_planes_of_their_own(tmp_path, image, oblique, save_dicom, normal, step, said):
    center, radius = oblique.center, 8.0
    if normal == "image":
        normal = oblique.affine[:3, 0]
    drawn = list(ball_contours(center, radius, normal, step, start=0.3))
    save_dicom(write_rtstruct(image, {"GTV": drawn}, tmp_path), tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    points = oblique.to_world(np.moveaxis(np.indices(oblique.shape), 0, -1))
    ball = np.linalg.norm(points - center, axis=-1) < radius
    got = masks_of(study)["GTV"].array
    assert 2 * (got & ball).sum() / (got.sum() + ball.sum()) > 0.94
    finding = next(f for f in study.findings if said in f.what)
    assert finding.severity is Severity.ASSUMED


def test_contours_that_are_no_parallel_planes_are_refused(tmp_path, image, oblique, save_dicom):
    flat = [points for _, points in ball_contours(oblique.center, 8, (0, 0, 1), 2.0)]
    bent = [p + np.array([0, 0, 1.0]) * np.sin(np.arange(len(p)))[:, None] for p in flat]
    uneven = [p + np.array([0, 0, 0.45]) * (k % 3) for k, p in enumerate(flat)]
    rois = {name: [("CLOSED_PLANAR", p) for p in parts] for name, parts in (("bent", bent), ("uneven", uneven))}
    save_dicom(write_rtstruct(image, rois, tmp_path), tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    assert study.structures == ()
    said = [f.what for f in study.findings if f.severity is Severity.LEFT_OUT]
    assert "nor in parallel planes" in said[0]
    assert "its planes are" in said[1]


def test_what_the_file_garbles_is_said(tmp_path, image, oblique, save_dicom):
    good = square(oblique, 4, 3, 6)
    data = write_rtstruct(image, {"a": [good], "b": [good, square(oblique, 5, 3, 6)], "c": [good]}, tmp_path)
    data.StructureSetROISequence[1].ROIName = "same number"
    data.StructureSetROISequence[1].ROINumber = 1
    data.ROIContourSequence[1].ReferencedROINumber = 9
    data.ROIContourSequence[2].ContourSequence[0].NumberOfContourPoints = 7
    more = Dataset()  # a ROI in two items
    more.ReferencedROINumber, more.ContourSequence = (
        1,
        write_rtstruct(image, {"a": [square(oblique, 5, 3, 6)]}, tmp_path).ROIContourSequence[0].ContourSequence,
    )
    data.ROIContourSequence.append(more)
    save_dicom(data, tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    np.testing.assert_array_equal(masks_of(study)["a"].array, block(oblique, (4, 3, 6), (5, 3, 6)))
    said = {f.what for f in study.findings if f.severity is Severity.LEFT_OUT}
    assert said == {
        "ROI 'same number': its number 1 is another's",
        "ROI 'c': 1 contour(s) cut short: not as many points as stated",
        "2 contour(s) of ROI number 9, which the structure set does not name",
    }


def test_a_roi_without_a_frame_takes_the_structure_sets(tmp_path, image, oblique, save_dicom, make_series):
    elsewhere = Grid(oblique.shape, oblique.affine, "1.2.99")
    make_series(
        tmp_path / "other",
        np.ones(oblique.shape, np.uint16),
        elsewhere,
        StudyInstanceUID="1.2.98",
        AcquisitionDate="20240101",
    )
    data = write_rtstruct(image, {"GTV": [square(oblique, 4, 3, 6)]}, tmp_path, referenced="1.2.555")
    del data.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    save_dicom(data, tmp_path / "r.dcm")
    assert masks_of(read_folder(tmp_path))["GTV"].frame == oblique.frame
    del data.ReferencedFrameOfReferenceSequence
    save_dicom(data, tmp_path / "r.dcm")
    study = read_folder(tmp_path)
    assert study.structures == ()
    assert "no image of its frame of reference" in study.findings[-1].what


def test_a_voxel_sized_contour(oblique):
    for low, high in ((5, 5), (5.2, 4.9)):
        contour = Contour(np.array(square(oblique, 4, low, high)[1]))
        mask, findings = fill("dot", oblique.frame, [contour], [oblique], "uid")
        np.testing.assert_array_equal(mask.array, block(oblique, (4, 5, 5)))
        assert findings == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_contours_in_any_oblique_image_against_matplotlib(seed):
    """Nested stars on random slices of a random grid: each voxel asked of another library."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed % 2**31).as_matrix()[:, ::-1] * rng.uniform(0.5, 4, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    grid = Grid((7, 31, 27), affine, "f")
    expected = np.zeros(grid.shape, bool)
    contours = []
    pixels = np.argwhere(np.ones((31, 27)))
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for k in range(*sorted(rng.choice(8, 2, replace=False))):
        middle, outer = rng.uniform((13, 11), (18, 16)), rng.uniform(7, 10, 24)
        for share in (1.0, 0.6, 0.3)[: rng.integers(1, 4)]:
            radius = outer * share
            star = middle + np.column_stack([radius * np.sin(angle), radius * np.cos(angle)])
            contours.append(Contour(np.round(grid.to_world(np.column_stack([np.full(24, k), star])), 4)))
            inside = Path2D(star).contains_points(pixels).reshape(31, 27)
            expected[k] ^= inside
    mask, findings = fill("stars", "f", contours, [grid], "uid")
    assert findings == []
    # decimals of the file may move an edge over a voxel's center
    assert (mask.array != expected).sum() <= 1
