"""SEG on the grid of the image it was drawn on."""

from copy import deepcopy
from itertools import permutations

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from tumortwin.cli import main
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.objects.segmentations import onto
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.patient import read_patient


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


def write_seg(image, regions, path, kind="BINARY", algorithms=None):
    described = [
        hd.seg.SegmentDescription(
            n,
            label,
            codes.SCT.Tissue,
            codes.SCT.Neoplasm,
            algorithm,
            None
            if algorithm == "MANUAL"
            else hd.AlgorithmIdentificationSequence("test", codes.DCM.ArtificialIntelligence, "1"),
        )
        for n, (label, algorithm) in enumerate(zip(regions, algorithms or ["MANUAL"] * len(regions), strict=True), 1)
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


def regions_of(study):
    return {s.mask.name: s.mask.array for s in study.segmentations}


def rewritten(path, change):
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)


def frames_of(grid, *slices):
    """A region of an off-center block on these slices only."""
    region = np.zeros(grid.shape, bool)
    for k in slices:
        region[k, 2:5, 11:17] = True
    return region


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("slices", [(4,), (2, 6), (1, 3, 7), (0, 3, 4, 8)])
@pytest.mark.parametrize("lacking", ["", "SpacingBetweenSlices", "both"])
def test_empty_slices_that_were_left_out(tmp_path, image, oblique, kind, slices, lacking):
    region = frames_of(oblique, *slices)
    write_seg(image, {"tumor": region}, tmp_path / "seg.dcm", kind)

    def change(data):
        measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        if lacking and "SpacingBetweenSlices" in measures:
            del measures.SpacingBetweenSlices
        if lacking == "both":
            measures.SliceThickness = 0.5

    rewritten(tmp_path / "seg.dcm", change)
    study = read_folder(tmp_path)
    np.testing.assert_array_equal(regions_of(study)["tumor"], region)
    assert all(f.severity is Severity.NOTE for f in study.findings)


def test_frames_in_any_order(tmp_path, image, oblique):
    region = frames_of(oblique, 1, 3, 4)
    region[3, 0, 0] = True
    write_seg(image, {"tumor": region}, tmp_path / "seg.dcm", "FRACTIONAL")

    def change(data):
        groups = list(data.PerFrameFunctionalGroupsSequence)
        order = [2, 0, 1][: len(groups)]
        pixels = data.pixel_array[order]
        data.PerFrameFunctionalGroupsSequence = [groups[k] for k in order]
        data.PixelData = pixels.tobytes()

    rewritten(tmp_path / "seg.dcm", change)
    np.testing.assert_array_equal(regions_of(read_folder(tmp_path))["tumor"], region)


def test_segments_that_overlap_and_numbers_with_gaps(tmp_path, image, oblique):
    one, two = frames_of(oblique, 2, 3), frames_of(oblique, 3, 4)
    write_seg(image, {"one": one, "two": two}, tmp_path / "seg.dcm")
    found = regions_of(read_folder(tmp_path, strict=True))
    np.testing.assert_array_equal(found["one"], one)
    np.testing.assert_array_equal(found["two"], two)


@pytest.mark.parametrize("kind", ["PROBABILITY", "OCCUPANCY"])
@pytest.mark.parametrize("top", [255, 100, 2])
def test_fractions_are_of_the_stated_maximum(tmp_path, image, oblique, kind, top):
    share = np.zeros(oblique.shape, np.float32)
    share[4, 2, 2], share[4, 2, 3], share[4, 2, 4] = 1.0, 0.51 if top > 2 else 0.5, 0.49 if top > 2 else 0.0
    described = [
        hd.seg.SegmentDescription(
            1, "share", codes.SCT.Tissue, codes.SCT.Neoplasm, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
    ]
    hd.seg.Segmentation(
        sorted(image, key=lambda d: d.InstanceNumber),
        share[..., None],
        "FRACTIONAL",
        described,
        generate_uid(),
        9,
        generate_uid(),
        1,
        "T",
        "T",
        "1",
        "1",
        fractional_type=kind,
        max_fractional_value=top,
    ).save_as(tmp_path / "seg.dcm")
    assert regions_of(read_folder(tmp_path))["share"][4, 2, 2:5].tolist() == [True, True, False]


def test_a_finer_segmentation_is_brought_to_the_image(tmp_path, image, oblique):
    affine = np.array(oblique.affine)
    affine[:3, :3] /= 2
    affine[:3, 3] = oblique.to_world((-0.25, -0.25, -0.25))
    fine = Grid((18, 32, 40), affine, oblique.frame)
    block = np.zeros(fine.shape, np.uint8)
    block[4:12, 8:20, 22:34] = 1
    volume = hd.Volume(block, fine.affine, "PATIENT", frame_of_reference_uid=fine.frame)
    described = [
        hd.seg.SegmentDescription(
            1, "fine", codes.SCT.Tissue, codes.SCT.Neoplasm, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
    ]
    hd.seg.Segmentation(
        sorted(image, key=lambda d: d.InstanceNumber),
        volume,
        "BINARY",
        described,
        generate_uid(),
        9,
        generate_uid(),
        1,
        "T",
        "T",
        "1",
        "1",
    ).save_as(tmp_path / "seg.dcm")
    study = read_folder(tmp_path)
    expected = np.zeros(oblique.shape, bool)
    expected[2:6, 4:10, 11:17] = True
    np.testing.assert_array_equal(regions_of(study)["fine"], expected)
    assert [f.severity for f in study.findings] == [Severity.REPAIRED]


def test_a_segmentation_of_another_frame_of_reference_is_refused(tmp_path, image, oblique):
    write_seg(image, {"tumor": frames_of(oblique, 3)}, tmp_path / "seg.dcm")
    rewritten(tmp_path / "seg.dcm", lambda data: setattr(data, "FrameOfReferenceUID", "1.2.3.99"))
    study = read_folder(tmp_path)
    assert study.segmentations == ()
    assert any("its frame of reference 1.2.3.99 is not that of the image" in f.what for f in study.findings)


@pytest.mark.parametrize("damage", ["no geometry", "short pixels", "no segments"])
def test_a_damaged_segmentation_is_refused_by_name(tmp_path, image, oblique, damage):
    write_seg(image, {"tumor": frames_of(oblique, 3, 4)}, tmp_path / "seg.dcm", "FRACTIONAL")

    def change(data):
        if damage == "no geometry":
            for group in data.PerFrameFunctionalGroupsSequence:
                del group.PlanePositionSequence
        elif damage == "short pixels":
            data.PixelData = data.PixelData[:20]
        else:
            del data.SegmentSequence

    rewritten(tmp_path / "seg.dcm", change)
    study = read_folder(tmp_path)
    assert study.segmentations == ()
    assert [f.where for f in study.findings if f.severity is Severity.LEFT_OUT] == ["seg.dcm"]


def group_of(data, keyword, frame=1):
    """The item of a functional group of a frame, or of all frames."""
    groups = (data.PerFrameFunctionalGroupsSequence[frame], data.SharedFunctionalGroupsSequence[0])
    return next(g for g in groups if keyword in g)[keyword].value[0]


def moved(along, by):
    def change(data, grid):
        place = group_of(data, "PlanePositionSequence")
        position = np.array(place.ImagePositionPatient, float) + by * grid.affine[:3, along]
        place.ImagePositionPatient = [f"{v:.12g}"[:16] for v in position]

    return change


def two_in_one_slice(data, grid):
    place = group_of(data, "PlanePositionSequence")
    place.ImagePositionPatient = group_of(data, "PlanePositionSequence", 0).ImagePositionPatient


def mirrored(data, grid):
    orientation = group_of(data, "PlaneOrientationSequence")
    orientation.ImageOrientationPatient = [-float(v) for v in orientation.ImageOrientationPatient]


UNUSUAL = {
    "between slices": (moved(0, 0.3), "do not form a regularly-spaced volume"),
    "aside": (moved(2, 0.3), "do not form a regularly-spaced volume"),
    "outside": (moved(0, 20), "interpolated: 0.202 mL became 0.101 mL"),
    "two in one slice": (two_in_one_slice, "shows segment 1 where another frame shows it already"),
    "mirrored": (mirrored, "interpolated: 0.202 mL became 0 mL"),
    "other spacing": (
        lambda data, grid: setattr(group_of(data, "PixelMeasuresSequence"), "PixelSpacing", [1.5, 1.27]),
        "interpolated: 0.206 mL became 0.202 mL",
    ),
    "of no described segment": (
        lambda data, grid: setattr(group_of(data, "SegmentIdentificationSequence"), "ReferencedSegmentNumber", 2),
        "segment 'tumor' is empty",
    ),
    "no position": (
        lambda data, grid: data.PerFrameFunctionalGroupsSequence[0].pop("PlanePositionSequence"),
        "cannot be read",
    ),
    "short pixels": (lambda data, grid: setattr(data, "PixelData", data.PixelData[:-40]), "cannot be read"),
    "more frames": (lambda data, grid: setattr(data, "NumberOfFrames", 3), "has 3 frames and says of 2 where they are"),
    "no frame of reference": (lambda data, grid: data.pop("FrameOfReferenceUID"), "cannot be read"),
    "no label": (lambda data, grid: data.SegmentSequence[0].pop("SegmentLabel"), "attribute 'SegmentLabel'"),
    "number 0": (
        lambda data, grid: setattr(data.SegmentSequence[0], "SegmentNumber", 0),
        "describes no segment with a number above 0",
    ),
    "segments that are numbers": (
        lambda data, grid: data.__setitem__("SegmentSequence", DataElement("SegmentSequence", "US", [1, 2])),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_what_is_unusual_in_a_segmentation_is_said(tmp_path, image, oblique, unusual):
    change, said = UNUSUAL[unusual]
    write_seg(image, {"tumor": frames_of(oblique, 3, 4)}, tmp_path / "seg.dcm")
    rewritten(tmp_path / "seg.dcm", lambda data: change(data, oblique))
    study = read_folder(tmp_path)
    findings = [str(f) for f in study.findings if f.where == "seg.dcm"]
    assert any(said in f for f in findings)
    assert bool(study.segmentations) == (not any("left out" in f for f in findings))


def test_more_bytes_than_pixels_do_no_harm(tmp_path, image, oblique):
    region = frames_of(oblique, 3, 4)
    write_seg(image, {"tumor": region}, tmp_path / "seg.dcm")
    rewritten(tmp_path / "seg.dcm", lambda data: setattr(data, "PixelData", data.PixelData + bytes(40)))
    np.testing.assert_array_equal(regions_of(read_folder(tmp_path))["tumor"], region)


@pytest.mark.parametrize("order", list(permutations(["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"])))
@pytest.mark.parametrize("files", [1, 3])
def test_of_segments_with_one_label_the_one_drawn_most_by_hand_is_used(tmp_path, image, oblique, order, files):
    regions = {name: frames_of(oblique, k) for k, name in enumerate(order, 2)}
    if files == 1:
        write_seg(image, regions, tmp_path / "seg.dcm", algorithms=order)
        rewritten(
            tmp_path / "seg.dcm", lambda data: [setattr(s, "SegmentLabel", "tumor") for s in data.SegmentSequence]
        )
    else:
        for k, name in enumerate(order):
            write_seg(image, {"tumor": regions[name]}, tmp_path / f"seg {k}.dcm", algorithms=[name])
    (visit,) = (patient := read_patient(tmp_path)).visits
    np.testing.assert_array_equal(visit.masks["tumor"].array, regions["MANUAL"])
    assert [(f.what, f.action) for f in patient.findings if "tumor" in f.what] == [
        ("3 masks are called 'tumor'", "used: manual; left out: semiautomatic, automatic")
    ]


def test_a_segmentation_with_each_frame_for_two_times_is_left_out(tmp_path, image, oblique, capsys):
    """As converters write them that made an image of four dimensions of it."""
    write_seg(image, {"tumor": frames_of(oblique, 3, 4)}, tmp_path / "seg.dcm", "FRACTIONAL")

    def repeat(data):
        groups = list(data.PerFrameFunctionalGroupsSequence)
        data.PerFrameFunctionalGroupsSequence = [deepcopy(group) for group in (*groups, *groups)]
        for k, group in enumerate(data.PerFrameFunctionalGroupsSequence):
            group.FrameContentSequence[0].TemporalPositionIndex = 1 + k // len(groups)
        data.NumberOfFrames, data.PixelData = 2 * len(groups), data.PixelData * 2

    rewritten(tmp_path / "seg.dcm", repeat)
    write_seg(image, {"edema": frames_of(oblique, 2)}, tmp_path / "other.dcm")
    assert main(["info", str(tmp_path)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "frame 3 shows segment 1 where another" in line]
    assert [line.startswith("[left out] seg.dcm") for line in said] == [False, True]
    study = read_folder(tmp_path)
    assert set(regions_of(study)) == {"edema"}
    assert len(study.images) == 1
    assert [(f.where, f.severity) for f in study.findings] == [("seg.dcm", Severity.LEFT_OUT)]
    assert "shows segment 1 where another frame shows it already" in study.findings[0].what
