"""Classic series: sorted by position, decoded, repaired or refused."""

import gzip
import hashlib
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from tumortwin.errors import ReadError, StrictError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder, scan_folder
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid


def said(study, severity):
    return [f.what for f in study.findings if f.severity is severity]


def test_a_series_is_sorted_by_position_and_scaled(tmp_path, make_series, grid, values):
    make_series(tmp_path / "a", values, grid, RescaleSlope="2.5", RescaleIntercept="-7")
    study = read_folder(tmp_path, strict=True)
    (image,) = study.images
    assert image.volume.grid.matches(grid, 1e-6)
    np.testing.assert_allclose(image.volume.array, values * 2.5 - 7, rtol=1e-6)
    assert (image.sequence, image.volume.unit) == (MRSequence.T1, "a.u.")
    assert image.date == datetime(2024, 1, 31, 10, 15, 0, 500000)
    assert image.volume.array.dtype == np.float32
    assert len(study.sources) == 6
    assert study.sources["a/000.dcm"] == hashlib.sha256((tmp_path / "a/000.dcm").read_bytes()).hexdigest()
    assert study.patients == ("P1",)


def test_a_scan_says_the_same_without_pixels(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid)
    scanned, read = scan_folder(tmp_path), read_folder(tmp_path)
    assert scanned.series == read.series
    assert scanned.images == ()
    assert scanned.sources == {}
    for piece in ("T1", "10 x 8 x 6, 1.25 x 1.5 x 3 mm", "axial", "2024-01-31 10:15", "yes", "TR 500, TE 10 ms"):
        assert piece in str(scanned)


@pytest.mark.parametrize("compress", [JPEGLSLossless, RLELossless])
def test_compressed_pixels(tmp_path, make_series, grid, values, compress):
    make_series(tmp_path, values, grid, compress=compress)
    np.testing.assert_array_equal(read_folder(tmp_path, strict=True).images[0].volume.array, values)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_uncompressed_transfer_syntaxes(tmp_path, make_series, grid, values, syntax):
    stored = values.byteswap() if syntax == ExplicitVRBigEndian else values
    make_series(tmp_path, stored, grid, syntax=syntax)
    np.testing.assert_array_equal(read_folder(tmp_path, strict=True).images[0].volume.array, values)


def test_signed_12_bit_pixels_whose_sign_was_not_extended(tmp_path, make_series, grid):
    wanted = np.arange(480).reshape(6, 8, 10).astype(np.int16) - 240
    make_series(tmp_path, wanted.view(np.uint16) & 0xFFF, grid, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(read_folder(tmp_path, strict=True).images[0].volume.array, wanted)


def test_each_slice_has_its_own_rescale(tmp_path, make_series, grid, values):
    def scale(k, data):
        data.RescaleSlope, data.RescaleIntercept = str(1 + k), str(-k)

    make_series(tmp_path, values, grid, each=scale)
    k = np.arange(6)[:, None, None]
    np.testing.assert_allclose(read_folder(tmp_path).images[0].volume.array, values * (1.0 + k) - k, rtol=1e-6)


def test_monochrome1_stays_as_stored(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_folder(tmp_path).images[0].volume.array, values)


def test_padding_is_set_to_the_lowest_real_value(tmp_path, make_series, grid, values):
    values = values.astype(np.int16) + 10
    values[:, :2] = -2000
    make_series(tmp_path, values, grid, PixelRepresentation=1, PixelPaddingValue=-2000)
    study = read_folder(tmp_path, strict=True)
    assert study.images[0].volume.array.min() == values[values > -2000].min()
    assert "25% of the voxels are padding" in said(study, Severity.NOTE)[0]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rotation=st.tuples(*[st.floats(-1, 1) for _ in range(4)]).filter(lambda q: np.linalg.norm(q) > 0.1),
    spacing=st.tuples(*[st.floats(0.3, 8) for _ in range(3)]),
    origin=st.tuples(*[st.floats(-400, 400) for _ in range(3)]),
    shape=st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6)),
)
def test_any_oblique_grid_comes_back(tmp_path_factory, make_series, rotation, spacing, origin, shape):
    affine = np.eye(4)
    turn = Rotation.from_quat(rotation).as_matrix()
    affine[:3, :3] = turn[:, ::-1] * np.array(spacing)
    affine[:3, 3] = origin
    grid = Grid(shape, affine, "1.2.3")
    array = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint16)
    folder = tmp_path_factory.mktemp("oblique")
    make_series(folder, array, grid)
    volume = read_folder(folder, strict=True).images[0].volume
    assert volume.grid.matches(grid, 1e-3)
    np.testing.assert_array_equal(volume.array, array)


def test_the_patients_left_is_plus_x(tmp_path, make_series, grid):
    array = np.zeros(grid.shape, np.uint16)
    array[2, 3, 9] = 1000  # last column: rows run to the patient's left in an axial image
    make_series(tmp_path, array, grid)
    volume = read_folder(tmp_path).images[0].volume
    brightest = volume.grid.to_world(np.unravel_index(volume.array.argmax(), volume.array.shape))
    np.testing.assert_allclose(brightest, (-20.5 + 9 * 1.25, 7.25 + 3 * 1.5, 33 + 2 * 3.0), atol=1e-6)


def test_duplicates_are_dropped(tmp_path, make_series, grid, values):
    made = make_series(tmp_path / "a", values, grid)
    uid = made[0].SeriesInstanceUID
    make_series(tmp_path / "b", values, grid, SeriesInstanceUID=uid)
    study = read_folder(tmp_path)
    np.testing.assert_array_equal(study.images[0].volume.array, values)
    assert len(study.images) == 1
    assert "6 duplicate plane(s)" in said(study, Severity.REPAIRED)[0]


def test_unlike_images_at_one_position_are_refused(tmp_path, make_series, grid, values):
    made = make_series(tmp_path / "a", values, grid)
    make_series(tmp_path / "b", values + 1, grid, SeriesInstanceUID=made[0].SeriesInstanceUID)
    study = read_folder(tmp_path)
    assert study.images == ()
    assert "no attribute tells them apart" in said(study, Severity.LEFT_OUT)[0]


def test_time_points_are_split(tmp_path, make_series, grid, values):
    uid = make_series(tmp_path / "1", values, grid, TemporalPositionIdentifier=1)[0].SeriesInstanceUID
    make_series(tmp_path / "2", values + 1, grid, TemporalPositionIdentifier=2, SeriesInstanceUID=uid)
    study = read_folder(tmp_path)
    assert [int(i.volume.array[0, 0, 0]) - int(values[0, 0, 0]) for i in study.images] == [0, 1]
    make_series(tmp_path / "3", values + 2, grid, TemporalPositionIdentifier=3, SeriesInstanceUID=uid)
    assert read_folder(tmp_path).images == (), "three time points are a dynamic series"


def test_an_isolated_missing_slice_is_interpolated(tmp_path, make_series, grid):
    grid = Grid((20, 8, 10), grid.affine, grid.frame)
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint16)[:, None, None] * 10, grid.shape).copy()
    make_series(tmp_path, ramp, grid, each=lambda k, data: k != 7)
    study = read_folder(tmp_path)
    assert study.images[0].volume.grid.matches(grid, 1e-6)
    np.testing.assert_allclose(study.images[0].volume.array, ramp)
    assert "1 slice(s) missing (6 mm between" in said(study, Severity.REPAIRED)[0]
    with pytest.raises(StrictError, match="missing"):
        read_folder(tmp_path, strict=True)


@pytest.mark.parametrize("lost", [{2, 3}, {1, 3}])
def test_many_missing_slices_are_refused(tmp_path, make_series, grid, values, lost):
    make_series(tmp_path, values, grid, each=lambda k, data: k not in lost)
    study = read_folder(tmp_path)
    assert study.images == ()
    assert "missing" in said(study, Severity.LEFT_OUT)[0]
    assert ".dcm" in said(study, Severity.LEFT_OUT)[0]
    assert [s.used for s in study.series] == [False]


def test_uneven_spacing_is_resampled(tmp_path, make_series, grid):
    z = np.array([0, 3, 6, 9.7, 12.2, 15])

    def move(k, data):
        data.ImagePositionPatient = [-20.5, 7.25, 33 + z[k]]

    ramp = np.broadcast_to((100 + 10 * z).astype(np.uint16)[:, None, None], grid.shape).copy()
    make_series(tmp_path, ramp, grid, each=move)
    study = read_folder(tmp_path)
    volume = study.images[0].volume
    heights = volume.grid.to_world([(k, 0, 0) for k in range(len(volume.array))])[:, 2] - 33
    np.testing.assert_allclose(volume.array[:, 0, 0], 100 + 10 * heights, atol=0.1)
    assert "unevenly spaced" in said(study, Severity.REPAIRED)[0]


def test_a_leaning_stack_is_sheared_back(tmp_path, make_series):
    grid = Grid.regular((12, 30, 20), (2, 1, 1), (0, 0, 0), "1.2")
    z, y, x = np.mgrid[:12, :30, :20].astype(float)
    lean = np.tan(np.deg2rad(15))

    def tilt(k, data):
        data.ImagePositionPatient = [0, 2 * k * lean, 2 * k]

    linear = lambda px, py, pz: 1000 + 3 * px + 5 * py + 7 * pz  # noqa: E731
    make_series(
        tmp_path,
        linear(x, y + 2 * z * lean, 2 * z).round().astype(np.uint16),
        grid,
        Modality="CT",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        each=tilt,
    )
    study = read_folder(tmp_path)
    volume = study.images[0].volume
    world = volume.grid.to_world(np.moveaxis(np.mgrid[tuple(slice(0, n) for n in volume.array.shape)], 0, -1))
    expected = linear(world[..., 0], world[..., 1], world[..., 2])
    row = world[..., 1] - world[..., 2] * lean
    inside = (row > 0) & (row < 29)
    assert inside.mean() > 0.7
    np.testing.assert_allclose(volume.array[inside], expected[inside], atol=1)
    assert "lean by 15.0 deg" in said(study, Severity.REPAIRED)[0]
    axes = volume.affine[:3, :3] / volume.grid.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)


def test_wandering_slices_are_refused(tmp_path, make_series, grid, values):
    def wander(k, data):
        data.ImagePositionPatient = [-20.5 + (k % 2), 7.25, 33 + 3 * k]

    make_series(tmp_path, values, grid, each=wander)
    assert "off a straight line" in said(read_folder(tmp_path), Severity.LEFT_OUT)[0]


def test_a_contradicting_spacing_is_overruled(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid, SpacingBetweenSlices="2")
    study = read_folder(tmp_path)
    assert study.images[0].volume.grid.matches(grid, 1e-6)
    assert "SpacingBetweenSlices says 2 mm, the positions 3 mm" in said(study, Severity.REPAIRED)[0]


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("ImageOrientationPatient", None, "no valid image position or orientation"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0], "not two unit vectors"),
        ("PixelSpacing", None, "no valid pixel spacing"),
        ("PixelSpacing", [0, 1], "no valid pixel spacing"),
        ("RescaleSlope", "0", "RescaleSlope is 0"),
        ("PixelData", b"\0" * 100, "cannot be decoded"),
        ("AcquisitionDate", "", None),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, make_series, grid, values, keyword, value, message):
    def spoil(k, data):
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)

    make_series(tmp_path, values, grid, each=spoil)
    study = read_folder(tmp_path)
    if message is None:
        assert study.images[0].date == datetime(2024, 1, 31, 10, 15, 0, 500000)
        return
    assert study.images == ()
    assert study.sources == {}
    assert message in said(study, Severity.LEFT_OUT)[0]
    assert not study.series[0].used


def test_no_date_is_left_out(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid, AcquisitionDate=None, SeriesDate=None, StudyDate="")
    assert "no acquisition, series or study date" in said(read_folder(tmp_path), Severity.LEFT_OUT)


def test_a_localizer_in_the_series_is_split_off(tmp_path, make_series, grid, values):
    made = make_series(tmp_path / "a", values, grid)
    turned = np.array(grid.affine)
    turned[:3, :3] = turned[:3, [1, 0, 2]]
    make_series(
        tmp_path / "b",
        values[:1],
        Grid((1, 8, 10), turned, grid.frame),
        SeriesInstanceUID=made[0].SeriesInstanceUID,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    study = read_folder(tmp_path, strict=True)
    assert study.images[0].volume.grid.matches(grid, 1e-6)
    assert [(s.n_files, s.used) for s in study.series] == [(6, True), (1, False)]


def test_frames_of_reference_are_never_mixed(tmp_path, make_series, grid, values):
    made = make_series(tmp_path / "a", values[:3], Grid((3, 8, 10), grid.affine, grid.frame))
    upper = grid.cropped((slice(3, 6), slice(None), slice(None)))
    make_series(
        tmp_path / "b", values[3:], upper, SeriesInstanceUID=made[0].SeriesInstanceUID, FrameOfReferenceUID="1.2.99"
    )
    frames = {i.volume.frame: i.volume.array.shape for i in read_folder(tmp_path).images}
    assert frames == {"1.2.3.4": (3, 8, 10), "1.2.99": (3, 8, 10)}


def test_images_without_a_frame_of_reference_share_none(tmp_path, make_series, grid, values):
    make_series(tmp_path / "a", values, grid, FrameOfReferenceUID=None)
    make_series(tmp_path / "b", values, grid, FrameOfReferenceUID=None)
    first, second = read_folder(tmp_path).images
    assert first.volume.frame != second.volume.frame


def test_two_patients(tmp_path, make_series, grid, values):
    make_series(tmp_path / "a", values, grid)
    make_series(tmp_path / "b", values, grid, PatientID="P2")
    for read in (read_folder, scan_folder):
        with pytest.raises(ReadError, match=r"(?s)holds 2 patients.*P1: 6 files, e.g. a/000.dcm.*P2"):
            read(tmp_path)


def test_folders_without_dicom(tmp_path, make_series, grid, values):
    with pytest.raises(ReadError, match="is empty"):
        read_folder(tmp_path)
    with pytest.raises(ReadError, match="does not exist"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("not an image, but longer than a preamble " * 20)
    (tmp_path / "blank").write_bytes(b"")
    with pytest.raises(ReadError, match=r"no DICOM file that can be read \(2 files looked at\)"):
        read_folder(tmp_path)
    with pytest.raises(ReadError, match="is a file"):
        read_folder(tmp_path / "notes.txt")


def test_a_single_file_is_no_volume(tmp_path, make_series, grid, values):
    make_series(tmp_path, values[:1], grid)
    study = read_folder(tmp_path)
    assert "one slice only" in said(study, Severity.LEFT_OUT)[0]
    assert study.images == ()


def test_junk_beside_the_images(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid)
    (tmp_path / "notes.txt").write_text("{}")
    (tmp_path / "clinical.json").write_text("{}")
    (tmp_path / "packed.dcm.gz").write_bytes(gzip.compress((tmp_path / "000.dcm").read_bytes()))
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"no image" * 99))
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "000.dcm").read_bytes()[:240])
    study = read_folder(tmp_path)
    np.testing.assert_array_equal(study.images[0].volume.array, values)
    assert "2 files are not DICOM (notes.txt, packed.txt.gz)" in said(study, Severity.NOTE)
    assert [f.where for f in study.findings if f.severity is Severity.LEFT_OUT] == ["cut.dcm"]


def test_files_without_preamble(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    study = read_folder(tmp_path)
    np.testing.assert_array_equal(study.images[0].volume.array, values)
    assert said(study, Severity.REPAIRED) == ["no DICOM preamble: 6 file(s) (000.dcm, 001.dcm, 002.dcm, ...)"]


def test_progress_reaches_its_end(tmp_path, make_series, grid, values):
    make_series(tmp_path, values, grid)
    seen = []
    read_folder(tmp_path, progress=lambda *report: seen.append(report))
    assert (6, 6, "reading headers") in seen
    assert seen[-1] == (1, 1, "reading images")


def test_the_reader_changes_nothing(tmp_path: Path, make_series, grid, values):
    make_series(tmp_path, values, grid)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    read_folder(tmp_path)
    assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}
