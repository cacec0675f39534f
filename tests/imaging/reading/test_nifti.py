"""NIfTI and NRRD: RAS turns into LPS at the door; nibabel as the independent reader."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError, OutputExistsError, ReadError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.labels import LabelScheme
from tumortwin.imaging.nifti import read_dose_map, read_image, read_labels, read_mask, write_nifti
from tumortwin.imaging.volume import FractionDose, Grid, Mask, TotalDose, Volume


@pytest.fixture
def volume():
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (10, -15, 25), degrees=True).as_matrix()
    affine[:3, :3] = turn[:, ::-1] * np.array([3.0, 1.5, 1.25])
    affine[:3, 3] = (-20, 10, 5)
    array = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    return Volume(array, Grid(array.shape, affine), "mm^2/s")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_round_trip_and_what_nibabel_sees(tmp_path, volume, ending):
    path = write_nifti(volume, tmp_path / f"adc{ending}")
    assert [p.name for p in tmp_path.iterdir()] == [f"adc{ending}"]
    back = read_image(path, unit="mm^2/s")
    assert back.grid.matches(volume.grid, 1e-4)
    np.testing.assert_array_equal(back.array, volume.array)
    image = nibabel.load(path)
    for index in ((0, 0, 0), (3, 1, 5)):
        world = image.affine @ [*index[::-1], 1]
        np.testing.assert_allclose(world[:3] * (-1, -1, 1), volume.grid.to_world(index), atol=1e-4)
        assert np.asarray(image.dataobj)[index[::-1]] == volume.array[index]


def test_existing_files_and_other_endings(tmp_path, volume):
    path = write_nifti(volume, tmp_path / "a.nii")
    with pytest.raises(OutputExistsError):
        write_nifti(volume, path)
    write_nifti(volume, path, overwrite=True)
    with pytest.raises(InputError, match=r"ends in \.nii or"):
        write_nifti(volume, tmp_path / "a.img")
    sheared = np.array(volume.affine)
    sheared[:3, 0] += sheared[:3, 1]
    with pytest.raises(InputError, match="right angles"):
        write_nifti(Volume(volume.array, Grid((4, 5, 6), sheared)), tmp_path / "b.nii")


def test_masks_are_named_not_guessed(tmp_path, volume):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1], labels[2] = 1, 4
    path = write_nifti(volume.with_array(labels), tmp_path / "seg.nii.gz")
    with pytest.raises(ReadError, match=r"several values \(1, 4\): give the label"):
        read_mask(path)
    np.testing.assert_array_equal(read_mask(path, label=4).array, labels == 4)
    mask = Mask(labels == 1, volume.grid)
    back = read_mask(write_nifti(mask, tmp_path / "one.nii.gz"))
    np.testing.assert_array_equal(back.array, mask.array)
    assert back.grid.matches(mask.grid, 1e-4)


def test_nrrd(tmp_path, volume):
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing((1.25, 1.5, 3))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    back = read_image(tmp_path / "a.nrrd", unit="a.u.", factor=2)
    np.testing.assert_allclose(back.array, volume.array * 2)
    assert back.grid.spacing == pytest.approx((3, 1.5, 1.25))


def test_a_header_that_contradicts_itself(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4))
    image.header.set_sform(np.eye(4), 1)
    image.header["pixdim"][1:4] = (1.5, 1.5, 3)
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[80:92] = np.array([1.5, 1.5, 3], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(ReadError, match=r"1 x 1 x 1 mm by its affine .* 1\.5 x 1\.5 x 3 mm by pixdim"):
        read_image(tmp_path / "a.nii", unit="1")


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "a.nii").write_text("nothing")
    with pytest.raises(ReadError, match="shorter than a NIfTI header"):
        read_image(tmp_path / "a.nii", unit="1")
    with pytest.raises(ReadError, match="is no file"):
        read_image(tmp_path / "b.nii", unit="1")


def header(s=None, q=None, s_code=1, q_code=1, pixdim=None, units=2, cls=nibabel.Nifti1Image, order="<"):
    """A NIfTI file as bytes with exactly these fields, and its values."""
    values = np.arange(120, dtype="<f4").reshape(6, 5, 4)
    made = cls(values, np.eye(4))
    fields = made.header.as_byteswapped(order).copy()
    if q is not None:
        fields.set_qform(q, q_code)
    if s is not None:
        fields.set_sform(s, s_code)
    fields["sform_code"], fields["qform_code"] = (s_code if s is not None else 0), (q_code if q is not None else 0)
    if pixdim is not None:
        fields["pixdim"][1:4] = pixdim
    elif q is None and s is not None:
        fields["pixdim"][1:4] = np.linalg.norm(s[:3, :3], axis=0)
    start = fields.single_vox_offset
    fields["xyzt_units"], fields["magic"], fields["vox_offset"] = units, fields.single_magic, start
    return fields.binaryblock.ljust(start, b"\0") + values.astype(order + "f4").tobytes(order="F"), values


def oblique(scale=1.0, mirror=False):
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", (10, -15, 25), degrees=True).as_matrix()
    affine[:3, :3] = turn * np.array([-1.25 if mirror else 1.25, 1.5, 3.0]) * scale
    affine[:3, 3] = np.array((-71.123456, 33.98765, 12.3456)) * scale
    return affine


GOOD = {
    "sform": {"s": oblique()},
    "qform": {"q": oblique()},
    "qform, mirrored": {"q": oblique(mirror=True)},
    "sform, mirrored": {"s": oblique(mirror=True)},
    "both": {"s": oblique(), "q": oblique()},
    "big-endian": {"s": oblique(), "order": ">"},
    "NIfTI-2": {"s": oblique(), "cls": nibabel.Nifti2Image},
    "NIfTI-2, qform, mirrored, big-endian": {"q": oblique(mirror=True), "cls": nibabel.Nifti2Image, "order": ">"},
    "sheared sform": {"s": oblique() @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])},
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("case", GOOD)
def test_every_voxel_is_where_nibabel_puts_it(tmp_path, case, ending):
    raw, values = header(**GOOD[case])
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(raw) if ending == ".nii.gz" else raw)
    findings = []
    volume = read_image(path, unit="1", findings=findings)
    assert findings == []
    oracle = nibabel.load(path)
    np.testing.assert_array_equal(volume.array, values.T)
    np.testing.assert_array_equal(np.asarray(oracle.dataobj).T, volume.array)
    for index in ((0, 0, 0), (3, 1, 5)):
        ras = oracle.affine @ [*index[::-1], 1]
        np.testing.assert_allclose(volume.grid.to_world(index), ras[:3] * (-1, -1, 1), atol=1e-5)


def test_lengths_in_meters_and_micrometers(tmp_path):
    for units, scale in ((1, 1e-3), (3, 1e3)):
        (tmp_path / "a.nii").write_bytes(header(s=oblique(scale), units=units)[0])
        volume = read_image(tmp_path / "a.nii", unit="1")
        np.testing.assert_allclose(volume.grid.spacing, (3, 1.5, 1.25), rtol=1e-5)
    (tmp_path / "a.nii").write_bytes(header(s=oblique(), units=1)[0])
    with pytest.raises(ReadError, match="voxels of 1250 x 1500 x 3000 mm: mend its units"):
        read_image(tmp_path / "a.nii", unit="1")
    findings = []
    (tmp_path / "a.nii").write_bytes(header(s=oblique(), units=0)[0])
    read_image(tmp_path / "a.nii", unit="1", findings=findings)
    assert [(f.what, f.action) for f in findings] == [("the unit of length is not stated", "taken as mm")]


def test_headers_that_do_not_tell_left_from_right_are_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(header(pixdim=(1, 1, 1))[0])
    with pytest.raises(ReadError, match="left and right are not told: set its sform"):
        read_image(tmp_path / "a.nii", unit="1", findings=[])
    (tmp_path / "a.nii").write_bytes(header(s=oblique(), q=oblique(mirror=True))[0])
    with pytest.raises(ReadError, match="mirror images of each other"):
        read_image(tmp_path / "a.nii", unit="1", findings=[])
    analyze = nibabel.AnalyzeImage(np.ones((4, 4, 4), np.int16), np.eye(4))
    nibabel.save(analyze, tmp_path / "b.img")
    (tmp_path / "c.nii").write_bytes((tmp_path / "b.hdr").read_bytes() + b"\0" * 200)
    with pytest.raises(ReadError, match="is not NIfTI in one file"):
        read_image(tmp_path / "c.nii", unit="1")
    image = sitk.GetImageFromArray(np.ones((4, 4, 4), np.float32))
    sitk.WriteImage(image, str(tmp_path / "d.nrrd"))
    raw = (tmp_path / "d.nrrd").read_bytes()
    assert b"space: left-posterior-superior\n" in raw
    (tmp_path / "d.nrrd").write_bytes(raw.replace(b"space: left-posterior-superior\n", b"space dimension: 3\n"))
    with pytest.raises(ReadError, match="does not say its space"):
        read_image(tmp_path / "d.nrrd", unit="1")


def test_an_nrrd_in_ras(tmp_path):
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    image.SetOrigin((10, 20, 30))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    raw = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "b.nrrd").write_bytes(raw.replace(b"left-posterior-superior", b"right-anterior-superior"))
    one, two = (read_image(tmp_path / f"{n}.nrrd", unit="1") for n in "ab")
    np.testing.assert_allclose(two.grid.to_world((1, 2, 3)), one.grid.to_world((1, 2, 3)) * (-1, -1, 1))


def test_a_qform_beside_another_sform(tmp_path):
    moved = oblique()
    moved[:3, 3] += (0, 4, 0)
    (tmp_path / "a.nii").write_bytes(header(s=oblique(), q=moved)[0])
    with pytest.raises(ReadError, match="up to 4 mm apart"):
        read_image(tmp_path / "a.nii", unit="1")
    findings = []
    volume = read_image(tmp_path / "a.nii", unit="1", findings=findings)
    np.testing.assert_allclose(volume.grid.to_world((0, 0, 0)), oblique()[:3, 3] * (-1, -1, 1), atol=1e-5)
    assert [(f.action, f.severity) for f in findings] == [("the sform is believed", Severity.ASSUMED)]


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (LabelScheme.BRATS_2021, {"necrosis": 1, "edema": 2, "enhancing": 4}),
        (LabelScheme.BRATS_2024, {"non-enhancing core": 1, "edema": 2, "resection cavity": 4}),
        ({1: "a", 2: "b", 4: "a"}, {"a": (1, 4), "b": 2}),
    ],
)
def test_labels_by_scheme(tmp_path, volume, scheme, expected):
    labels = np.random.default_rng(0).choice([0, 1, 2, 4], (4, 5, 6)).astype(np.uint8)
    path = write_nifti(volume.with_array(labels), tmp_path / "seg.nii.gz")
    masks = read_labels(path, scheme)
    assert set(masks) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(masks[name].array, np.isin(labels, values))
    with pytest.raises(ReadError, match="holds the value 4, which the scheme 'BraTS 2023' does not know"):
        read_labels(path, LabelScheme.BRATS_2023)
    soft = write_nifti(volume.with_array(labels * np.float32(0.3)), tmp_path / "soft.nii")
    with pytest.raises(ReadError, match="no whole numbers: a mask that was interpolated"):
        read_labels(soft, LabelScheme.BRATS_2021)


@pytest.mark.parametrize("kind", [TotalDose, FractionDose])
def test_dose_maps(tmp_path, volume, kind):
    path = write_nifti(volume, tmp_path / "dose.nii.gz")
    dose = read_dose_map(path, kind)
    assert type(dose) is kind
    np.testing.assert_array_equal(dose.array, volume.array)
    for wrong, message in ((-1.0, "negative or non-finite"), (np.nan, "1 values that are not finite")):
        bad = volume.array.copy()
        bad[0, 0, 0] = wrong
        with pytest.raises(ReadError, match=message):
            read_dose_map(write_nifti(volume.with_array(bad), path, overwrite=True), kind)


@pytest.mark.parametrize("code", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("scale", [None, (2.5, -3.0)])
def test_every_data_type_and_scale_against_nibabel(tmp_path, code, scale):
    image = nibabel.Nifti1Image(np.arange(60).reshape(3, 4, 5, 1).astype(code), oblique(), dtype=code)
    if scale is not None:
        image.header.set_slope_inter(*scale)
    nibabel.save(image, tmp_path / "a.nii.gz")
    oracle = np.asanyarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)
    got = read_image(tmp_path / "a.nii.gz", unit="1")
    assert got.grid.shape == (5, 4, 3)
    np.testing.assert_allclose(got.array, oracle[..., 0].T)


def test_a_name_that_is_wrong_about_packing(tmp_path):
    raw, values = header(s=oblique())
    (tmp_path / "packed.nii").write_bytes(gzip.compress(raw))
    (tmp_path / "plain.nii.gz").write_bytes(raw)
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_image(path, unit="1").array, values.T)


@pytest.mark.parametrize("offset", [0, -16, np.nan, np.inf])
def test_an_offset_that_cannot_be_is_where_the_header_ends(tmp_path, offset):
    raw, values = header(s=oblique())
    (tmp_path / "a.nii").write_bytes(raw[:108] + np.float32(offset).tobytes() + raw[112:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii", unit="1").array, values.T)


@pytest.mark.parametrize(("stored", "meant"), [(0.0, 1), (-0.5, -1), (7.0, 1)])
def test_a_handedness_that_is_neither_1_nor_minus_1_counts_by_its_sign(tmp_path, stored, meant):
    volumes = []
    for factor in (stored, meant):
        raw, _ = header(q=oblique())
        (tmp_path / "a.nii").write_bytes(raw[:76] + np.float32(factor).tobytes() + raw[80:])
        volumes.append(read_image(tmp_path / "a.nii", unit="1"))
    assert volumes[0].grid.matches(volumes[1].grid)


def test_values_that_are_not_finite_are_said(tmp_path, volume):
    array = volume.array.copy()
    array[0, 0, :2] = np.nan, np.inf
    path = write_nifti(volume.with_array(array), tmp_path / "a.nii")
    findings = []
    got = read_image(path, unit="1", findings=findings)
    assert (got.array[0, 0, :2] == 0).all()
    assert [(f.what, f.severity) for f in findings] == [("2 values that are not finite", Severity.REPAIRED)]


@pytest.mark.parametrize("damage", ["cut", "four", "rgb", "gzip", "short", "size"])
def test_damaged_files_name_the_damage(tmp_path, damage):
    raw = bytearray(header(s=oblique())[0])
    expected = "give a 3D image of one value"
    if damage == "cut":
        raw, expected = raw[:-5], "is cut short: 827 of 832 bytes"
    elif damage == "four":
        raw[40:50] = np.array([4, 6, 5, 2, 2], "<i2").tobytes()
    elif damage == "rgb":
        raw[70:72] = np.array([128], "<i2").tobytes()
    elif damage == "gzip":
        raw, expected = bytearray(b"\x1f\x8b\x08" + bytes(raw)), "cannot be read"
    elif damage == "short":
        raw, expected = raw[:200], "shorter than a NIfTI header"
    else:
        raw[42:48], expected = np.array([32767] * 3, "<i2").tobytes(), "is cut short"
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(ReadError, match=expected):
        read_image(tmp_path / "a.nii", unit="1")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31 - 1), st.booleans(), st.sampled_from(["q", "s"]))
def test_any_orientation_against_nibabel(tmp_path, seed, mirror, form):
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * rng.uniform(0.3, 5, 3) * (1 - 2 * mirror, 1, 1)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    (tmp_path / "a.nii").write_bytes(header(**{form: affine})[0])
    volume = read_image(tmp_path / "a.nii", unit="1")
    oracle = nibabel.load(tmp_path / "a.nii").affine
    for index in ((0, 0, 0), (3, 4, 5)):
        np.testing.assert_allclose(
            volume.grid.to_world(index), (oracle @ [*index[::-1], 1])[:3] * (-1, -1, 1), atol=2e-4
        )
