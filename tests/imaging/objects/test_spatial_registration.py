"""Spatial Registration objects, hand-made with pydicom: what was drawn on a planning CT reaches the MR."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, RTStructureSetStorage, SpatialRegistrationStorage, generate_uid
from scipy.spatial.transform import Rotation

from tumortwin.imaging.findings import Severity
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.frame_links import FrameLink, links_from
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.patient import read_patient

CT, MR = "1.2.50", "1.2.60"


def item(**values):
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def rigid(angles=(4, -7, 12), shift=(31.0, -12.5, 8.25)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def registration(target, *entries, **changes):
    """entries: (frame, matrix or list of matrices applied one after the other)."""
    data = item(
        SOPClassUID=SpatialRegistrationStorage,
        SOPInstanceUID=generate_uid(),
        Modality="REG",
        PatientID="P1",
        StudyInstanceUID="1.2.9",
        SeriesInstanceUID=generate_uid(),
        FrameOfReferenceUID=target,
        ContentDate="20240201",
        ContentTime="080000",
        RegistrationSequence=[
            item(
                FrameOfReferenceUID=frame,
                MatrixRegistrationSequence=[
                    item(
                        MatrixSequence=[
                            item(
                                FrameOfReferenceTransformationMatrixType="RIGID",
                                FrameOfReferenceTransformationMatrix=[f"{v:.12g}" for v in np.ravel(m)],
                            )
                            for m in ([matrices] if isinstance(matrices, np.ndarray) else matrices)
                        ]
                    )
                ],
            )
            for frame, matrices in entries
        ],
    )
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    return data


TRUE = rigid()
"""CT points to MR points."""
BACK = np.linalg.inv(TRUE)
THIRD = rigid((20, 5, -3), (1.0, 2.0, 3.0))
"""MR points to those of a frame that no image has."""

ORDERS = {
    "MR fixed, CT moving": (MR, (MR, np.eye(4)), (CT, TRUE)),
    "CT moving, MR fixed": (MR, (CT, TRUE), (MR, np.eye(4))),
    "CT fixed, MR moving": (CT, (CT, np.eye(4)), (MR, BACK)),
    "only the moving one": (CT, (MR, BACK)),
    "both into a third frame": ("1.2.70", (MR, THIRD), (CT, THIRD @ TRUE)),
    "two matrices": (MR, (MR, np.eye(4)), (CT, [THIRD @ TRUE, np.linalg.inv(THIRD)])),
}


@pytest.fixture
def folder(tmp_path, make_series, save_dicom):
    """An MR, a CT of another frame, and a structure set on the CT: a box that is known in the CT's world."""
    mr = Grid.regular((20, 40, 40), 2.0, (-40, -40, -20), MR)
    ct = Grid.regular((16, 30, 30), (3.0, 2.0, 2.0), (-40, -10, -30), CT)
    make_series(tmp_path / "mr", np.ones(mr.shape, np.uint16), mr)
    make_series(
        tmp_path / "ct",
        np.ones(ct.shape, np.uint16),
        ct,
        SOPClassUID=CTImageStorage,
        Modality="CT",
        SeriesDescription="planning",
        AcquisitionDate="20240202",
        StudyInstanceUID="1.2.9",
        RescaleIntercept="-1024",
        RescaleSlope="1",
    )
    contours = [
        item(
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=4,
            ContourData=[
                f"{v:.4f}"
                for v in np.ravel(ct.to_world([(k, 4.5, 6.5), (k, 4.5, 15.5), (k, 12.5, 15.5), (k, 12.5, 6.5)]))
            ],
        )
        for k in range(4, 12)
    ]
    save_dicom(
        item(
            SOPClassUID=RTStructureSetStorage,
            SOPInstanceUID=generate_uid(),
            Modality="RTSTRUCT",
            PatientID="P1",
            StudyInstanceUID="1.2.9",
            SeriesInstanceUID=generate_uid(),
            StructureSetDate="20240202",
            StructureSetROISequence=[item(ROINumber=1, ROIName="GTV", ReferencedFrameOfReferenceUID=CT)],
            ROIContourSequence=[item(ReferencedROINumber=1, ContourSequence=contours)],
        ),
        tmp_path / "rtstruct.dcm",
    )
    inside = np.zeros(ct.shape, bool)
    inside[4:12, 5:13, 7:16] = True
    return tmp_path, Mask(inside, ct)


@pytest.mark.parametrize("order", ORDERS)
def test_structures_of_a_planning_ct_reach_the_mr(folder, save_dicom, order):
    path, truth = folder
    save_dicom(registration(*ORDERS[order]), path / "reg.dcm")
    patient = read_patient(path)
    gtv = patient.structures["GTV"]
    assert gtv.frame == MR
    np.testing.assert_array_equal(gtv.array, truth.array)
    corner = truth.grid.to_world((4, 5, 7))
    np.testing.assert_allclose(gtv.grid.to_world((4, 5, 7)), TRUE[:3, :3] @ corner + TRUE[:3, 3], atol=1e-6)
    (said,) = [f for f in patient.findings if "by this Spatial Registration" in f.action]
    assert said.where == "reg.dcm"


@pytest.mark.parametrize("order", ORDERS)
def test_structures_reach_the_mr_when_the_ct_is_not_there(folder, save_dicom, order):
    path, truth = folder
    for file in (path / "ct").iterdir():
        file.unlink()
    save_dicom(registration(*ORDERS[order]), path / "reg.dcm")
    (gtv,) = read_folder(path).structures
    assert gtv.mask.frame == MR
    assert gtv.mask.volume_ml == pytest.approx(truth.volume_ml, rel=0.05)
    points = gtv.mask.grid.to_world(np.argwhere(gtv.mask.array))
    back = np.linalg.inv(TRUE)
    in_ct = truth.grid.to_index(points @ back[:3, :3].T + back[:3, 3])
    edge = np.array([(3.5, 4.5, 6.5), (11.5, 12.5, 15.5)])
    assert ((in_ct > edge[0] - 0.6) & (in_ct < edge[1] + 0.6)).all()


def test_a_segmentation_of_the_ct_reaches_the_mr(folder, save_dicom):
    path, truth = folder
    save_dicom(registration(*ORDERS["MR fixed, CT moving"]), path / "reg.dcm")
    images = sorted((pydicom.dcmread(f) for f in (path / "ct").iterdir()), key=lambda d: int(d.InstanceNumber))
    described = [
        hd.seg.SegmentDescription(
            1, "enhancing", codes.SCT.Tissue, codes.SCT.Neoplasm, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
    ]
    hd.seg.Segmentation(
        images,
        truth.array.astype(np.uint8),
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
    ).save_as(path / "seg.dcm")
    patient = read_patient(path)
    (visit,) = [v for v in patient.visits if "enhancing" in v.masks]
    assert {i.frame for i in visit.images.values()} == {MR}
    mask = visit.masks["enhancing"]
    np.testing.assert_array_equal(mask.array, truth.array)
    assert mask.grid.matches(patient.structures["GTV"].grid, 1e-3)


def test_without_a_registration_structures_stay_where_they_are(folder):
    path, _ = folder
    assert read_patient(path).structures["GTV"].frame == CT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (registration(MR, (CT, np.diag([1.1, 1, 1, 1]))), "not a rigid motion"),
        (registration(MR, (CT, np.diag([-1.0, 1, 1, 1]))), "not a rigid motion"),  # left would be right
        (registration(MR, (CT, TRUE.T)), "not a rigid motion"),
        (registration(MR, (MR, TRUE)), "within itself"),
        (registration(MR, ("", TRUE)), "without frames of reference"),
        (registration("", (CT, TRUE)), "without frames of reference"),
    ],
)
def test_what_is_no_rigid_motion_between_two_frames_is_left_out(folder, save_dicom, data, message):
    path, _ = folder
    save_dicom(data, path / "reg.dcm")
    study = read_folder(path)
    assert study.links == ()
    assert [f.severity for f in study.findings if message in f.what] == [Severity.LEFT_OUT]


def test_the_latest_of_two_registrations_counts(folder, save_dicom):
    path, _ = folder
    save_dicom(registration(MR, (CT, rigid((0, 0, 0)))), path / "old.dcm")
    save_dicom(registration(MR, (CT, TRUE), ContentDate="20240301"), path / "new.dcm")
    said = [f.where for f in read_patient(path).findings if "by this Spatial Registration" in f.action]
    assert said == ["new.dcm"]


def test_ways_go_over_several_links_in_either_direction():
    a, b, c = rigid((1, 2, 3)), rigid((4, 5, 6)), rigid((7, 8, 9))
    links = [
        FrameLink("a", "b", a, "1"),
        FrameLink("c", "b", b, "2"),
        FrameLink("c", "d", c, "3"),
        FrameLink("x", "y", a, "4"),
    ]
    ways = links_from("a", links)
    assert set(ways) == {"b", "c", "d"}
    np.testing.assert_allclose(ways["d"].matrix, c @ np.linalg.inv(b) @ a)
    assert ways["d"].name == "1, 2, 3"
