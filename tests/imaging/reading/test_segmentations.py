"""SEG on the grid of the image it was drawn on."""

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.segmentations import onto
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
