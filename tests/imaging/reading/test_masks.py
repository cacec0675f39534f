"""SEG and RTSTRUCT on the grid of the image they were drawn on."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import RTStructureSetStorage, generate_uid
from scipy.spatial.transform import Rotation
from skimage.draw import polygon2mask

from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.segmentations import onto
from tumortwin.imaging.structures import even_odd
from tumortwin.imaging.volume import Grid, Mask


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


def write_seg(image, regions, path, kind="BINARY"):
    described = [
        hd.seg.SegmentDescription(
            n, label, codes.SCT.Tissue, codes.SCT.Neoplasm, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for n, label in enumerate(regions, 1)
    ]
    stack = np.stack(list(regions.values()), axis=-1)
    pixels = np.argmax(np.concatenate([np.zeros_like(stack[..., :1]), stack], -1), -1).astype(np.uint8)
    if kind != "LABELMAP":
        pixels = stack.astype(np.uint8 if kind == "BINARY" else np.float32)
    in_order = sorted(image, key=lambda d: d.InstanceNumber)
    hd.seg.Segmentation(
        in_order,
        pixels,
        kind,
        described,
        generate_uid(),
        9,
        generate_uid(),
        1,
        "Test",
        "Test",
        "1",
        "1",
    ).save_as(path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_come_back_voxel_by_voxel(tmp_path, image, oblique, kind):
    tumor, edema, single = (np.zeros(oblique.shape, bool) for _ in range(3))
    tumor[3:5, 4:9, 5:12] = tumor[7, 2, 3] = True
    edema[2:7, 10:14, 2:18] = True
    single[8, 15, 19] = True
    regions = {"tumor": tumor, "edema": edema, "one voxel": single}
    write_seg(image, regions, tmp_path / "seg.dcm", kind)
    study = read_folder(tmp_path, strict=True)
    assert {s.mask.name for s in study.segmentations} == set(regions)
    for segment in study.segmentations:
        assert segment.mask.grid.matches(oblique, 1e-4)
        np.testing.assert_array_equal(segment.mask.array, regions[segment.mask.name])
        assert segment.date == study.images[0].date
        assert segment.referenced_series == study.images[0].series_uid
        assert segment.kind == "Neoplasm"
    assert "seg.dcm" in study.sources


def test_a_fraction_of_one_half_is_inside(tmp_path, image, oblique):
    share = np.zeros(oblique.shape, np.float32)
    share[4, 4:8, 4:8], share[5, 4:8, 4:8] = 0.8, 0.3
    write_seg(image, {"share": share}, tmp_path / "seg.dcm", "FRACTIONAL")
    np.testing.assert_array_equal(read_folder(tmp_path).segmentations[0].mask.array, share > 0.5)


def test_a_seg_without_its_image_keeps_its_own_grid(tmp_path, image, oblique):
    region = np.zeros(oblique.shape, bool)
    region[3:6, 4:9, 5:12] = True
    (tmp_path / "alone").mkdir()
    write_seg(image, {"tumor": region}, tmp_path / "alone/seg.dcm")
    study = read_folder(tmp_path / "alone")
    mask = study.segmentations[0].mask
    back, exact = onto(mask, oblique)
    assert exact
    np.testing.assert_array_equal(back.array, region)
    assert [f.severity for f in study.findings] == [Severity.ASSUMED]


def test_a_mask_on_other_voxels_is_interpolated(oblique):
    ball = np.linalg.norm(np.moveaxis(np.mgrid[:9, :16, :20], 0, -1) * (3, 1.5, 1.25) - (12, 12, 12), axis=-1) < 8
    mask = Mask(ball, oblique)
    affine = np.array(oblique.affine)
    affine[:3, :3] /= 1.7
    fine = Grid((15, 27, 34), affine, oblique.frame)
    moved, exact = onto(mask, fine)
    assert not exact
    assert moved.volume_ml == pytest.approx(mask.volume_ml, rel=0.05)
    assert onto(mask, oblique)[1]


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
    what = [f.what for f in study.findings if f.severity is Severity.LEFT_OUT]
    assert what == [
        "ROI 'isocenter': 1 contour(s) POINT",
        "ROI 'empty' has no contours",
        "ROI 'partly': 1 contour(s) of fewer than three points",
    ]


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
