"""Transforms of other programs: ITK's files written by SimpleITK, DICOM objects by pydicom."""

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SpatialRegistrationStorage, generate_uid
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError, ReadError
from tumortwin.geometry import read_transform
from tumortwin.geometry.registration.transform_file import rigid_matrix

TRUE = np.eye(4)
TRUE[:3, :3] = Rotation.from_euler("xyz", (4, -7, 12), degrees=True).as_matrix()
TRUE[:3, 3] = (31.0, -12.5, 8.25)


def rigid():
    """About a center that is not the origin, so that a reader that forgets it is found out."""
    transform = sitk.Euler3DTransform()
    center = np.array([10.0, -20.0, 40.0])
    transform.SetCenter(center)
    transform.SetMatrix(TRUE[:3, :3].ravel())
    transform.SetTranslation(TRUE[:3, 3] - center + TRUE[:3, :3] @ center)
    return transform


def affine(matrix=None):
    transform = sitk.AffineTransform(3)
    matrix = TRUE if matrix is None else matrix
    transform.SetMatrix(matrix[:3, :3].ravel())
    transform.SetTranslation(matrix[:3, 3])
    return transform


def composite():
    half = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    return sitk.CompositeTransform([half.GetInverse(), half, rigid()])


# ITK's .mat holds no composite
@pytest.mark.parametrize(
    ("make", "suffix"),
    [
        (m, s)
        for m in (rigid, affine, composite)
        for s in (".tfm", ".txt", ".mat", ".h5")
        if (m, s) != (composite, ".mat")
    ],
)
def test_itk_files(tmp_path, suffix, make):
    file = tmp_path / f"transform{suffix}"
    sitk.WriteTransform(make(), str(file))
    found = read_transform(file)
    np.testing.assert_allclose(found, TRUE, atol=1e-5)
    # the direction is ITK's: what its resampler would do with a point
    point = (12.0, 34.0, -56.0)
    np.testing.assert_allclose((found @ [*point, 1])[:3], make().TransformPoint(point), atol=1e-4)


def registration(file, target, *entries):
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = SpatialRegistrationStorage, generate_uid(), "REG"
    data.FrameOfReferenceUID, data.RegistrationSequence = target, []
    for frame, matrix in entries:
        step, group, entry = Dataset(), Dataset(), Dataset()
        step.FrameOfReferenceTransformationMatrix = [f"{v:.12g}" for v in np.ravel(matrix)]
        step.FrameOfReferenceTransformationMatrixType = "RIGID"
        group.MatrixSequence, entry.MatrixRegistrationSequence = [step], [group]
        entry.FrameOfReferenceUID = frame
        data.RegistrationSequence.append(entry)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(file, enforce_file_format=True)
    return file


FIXED, MOVING = "1.2.3", "1.2.4"


@pytest.mark.parametrize(
    "entries",
    [
        (FIXED, (FIXED, np.eye(4)), (MOVING, np.linalg.inv(TRUE))),
        (MOVING, (FIXED, TRUE)),
        ("1.2.5", (FIXED, np.diag([1.0, -1, -1, 1]) @ TRUE), (MOVING, np.diag([1.0, -1, -1, 1]))),
    ],
)
def test_dicom_objects_by_frames(tmp_path, entries):
    file = registration(tmp_path / "reg.dcm", *entries)
    np.testing.assert_allclose(read_transform(file, fixed=FIXED, moving=MOVING), TRUE, atol=1e-9)


def test_a_dicom_object_alone_is_fixed_in_its_own_frame(tmp_path):
    file = registration(tmp_path / "reg.dcm", FIXED, (FIXED, np.eye(4)), (MOVING, np.linalg.inv(TRUE)))
    np.testing.assert_allclose(read_transform(file), TRUE, atol=1e-9)
    many = registration(tmp_path / "many.dcm", FIXED, (MOVING, TRUE), ("1.2.9", TRUE))
    with pytest.raises(ReadError, match="say which"):
        read_transform(many)
    with pytest.raises(ReadError, match=r"does not link .* 1\.2\.77"):
        read_transform(many, fixed=FIXED, moving="1.2.77")


def test_deformable_files_are_refused(tmp_path):
    spline = sitk.BSplineTransform(3, 3)
    sitk.WriteTransform(sitk.CompositeTransform([rigid(), spline]), str(tmp_path / "spline.tfm"))
    with pytest.raises(ReadError, match="deformable"):
        read_transform(tmp_path / "spline.tfm")


def test_what_is_no_transform_is_refused(tmp_path):
    with pytest.raises(ReadError, match="no such file"):
        read_transform(tmp_path / "none.tfm")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(ReadError, match=r"text\.txt: not an ITK transform"):
        read_transform(tmp_path / "text.txt")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + bytes(500))
    with pytest.raises(ReadError, match=r"picture\.png"):
        read_transform(tmp_path / "picture.png")
    empty = registration(tmp_path / "empty.dcm", FIXED)
    with pytest.raises(ReadError, match="no rigid Spatial Registration"):
        read_transform(empty)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.diag([-1.0, 1, 1, 1]), "mirrors left and right"),
        (np.diag([1.05, 1, 1, 1]), "scales or shears"),
        (np.eye(3), "shape"),
        (np.full((4, 4), np.nan), "4 x 4"),
        ("no", "not a matrix"),
    ],
)
def test_matrices_that_are_not_rigid_are_refused(matrix, said):
    with pytest.raises(InputError, match=said):
        rigid_matrix(matrix, "transforms[1]")


def test_an_affine_file_that_scales_is_refused(tmp_path):
    sitk.WriteTransform(affine(np.diag([1.1, 1, 1, 1])), str(tmp_path / "a.tfm"))
    with pytest.raises(InputError, match=r"a\.tfm: it scales"):
        read_transform(tmp_path / "a.tfm")
