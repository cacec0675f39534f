"""A mark on the patient's left, above and in front of the middle, keeps its place through every reader.

Each file is made by somebody else: pydicom by hand, highdicom, nibabel, SimpleITK. The mark is told in world
coordinates only, and the images are stored in every orientation that scanners use.
"""

import json

import highdicom as hd
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import RTDoseStorage, RTStructureSetStorage, generate_uid

from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.volume import Grid
from tumortwin.patient import read_patient

MARK = np.array([23.0, -11.0, 17.0])
"""LPS mm: left, in front, above."""

# rows, columns and slices of the stored image run along these axes (world x, y, z), with these signs
ORIENTATIONS = {
    "axial": ("+x", "+y", "+z"),
    "axial, feet first": ("+x", "+y", "-z"),
    "prone": ("-x", "-y", "+z"),
    "coronal": ("+x", "-z", "+y"),
    "sagittal": ("+y", "-z", "-x"),
    "mirrored sagittal": ("+y", "-z", "+x"),
}


def grid_of(name):
    """A grid about the origin; index (z, y, x) runs along (slices, columns, rows)."""
    affine = np.eye(4)
    shape = (20, 24, 28)
    for index, (axis, step) in enumerate(zip(ORIENTATIONS[name][::-1], (3.0, 2.5, 2.0), strict=True)):
        affine[:3, index] = 0
        affine["xyz".index(axis[1]), index] = step if axis[0] == "+" else -step
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, "1.2.3.4")


@pytest.fixture(params=ORIENTATIONS)
def grid(request):
    return grid_of(request.param)


@pytest.fixture
def marked(grid):
    """1 where a voxel's center is within 6 mm of the mark."""
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return (np.linalg.norm(world - MARK, axis=-1) < 6).astype(np.uint8)


def place(volume):
    return volume.grid.to_world(np.argwhere(volume.array > 0.5 * volume.array.max())).mean(0)


def at_the_mark(volume):
    np.testing.assert_allclose(place(volume), MARK, atol=1.6)


def item(**values):
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def test_dicom_image_and_segmentation(tmp_path, make_series, grid, marked):
    images = make_series(tmp_path / "mr", (100 * marked).astype(np.uint16), grid)
    described = [
        hd.seg.SegmentDescription(
            1, "mark", codes.SCT.Tissue, codes.SCT.Neoplasm, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
    ]
    ordered = sorted(images, key=lambda d: int(d.InstanceNumber))
    hd.seg.Segmentation(
        ordered, marked, "BINARY", described, generate_uid(), 9, generate_uid(), 1, "T", "T", "1", "1"
    ).save_as(tmp_path / "seg.dcm")
    study = read_folder(tmp_path)
    at_the_mark(study.images[0].volume)
    at_the_mark(study.segmentations[0].mask)


def test_structure_set_and_points(tmp_path, make_series, save_dicom, grid, marked):
    make_series(tmp_path / "mr", marked.astype(np.uint16), grid)
    contours = []
    for k in np.flatnonzero(marked.any((1, 2))):
        low, high = (f(np.argwhere(marked[k]), 0) + s for f, s in ((np.min, -0.5), (np.max, 0.5)))
        corners = [(k, low[0], low[1]), (k, low[0], high[1]), (k, high[0], high[1]), (k, high[0], low[1])]
        contours.append(
            item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=4,
                ContourData=[f"{v:.3f}" for v in grid.to_world(corners).ravel()],
            )
        )
    point = item(ContourGeometricType="POINT", NumberOfContourPoints=1, ContourData=[f"{v}" for v in MARK])
    save_dicom(
        item(
            SOPClassUID=RTStructureSetStorage,
            SOPInstanceUID=generate_uid(),
            Modality="RTSTRUCT",
            PatientID="P1",
            StudyInstanceUID="1.2.9",
            SeriesInstanceUID=generate_uid(),
            StructureSetROISequence=[
                item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID="1.2.3.4")
                for n, name in ((1, "mark"), (2, "point"))
            ],
            ROIContourSequence=[
                item(ReferencedROINumber=1, ContourSequence=contours),
                item(ReferencedROINumber=2, ContourSequence=[point]),
            ],
        ),
        tmp_path / "rtstruct.dcm",
    )
    study = read_folder(tmp_path)
    at_the_mark(study.structures[0].mask)
    assert study.points[0].position == pytest.approx(tuple(MARK))


@pytest.mark.parametrize("absolute", [False, True])
def test_dose(tmp_path, save_dicom, grid, marked, absolute):
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    step = float(np.sign(normal @ grid.affine[:3, 0]) * grid.spacing[0])
    offsets = step * np.arange(grid.shape[0])
    if absolute:
        offsets = grid.to_world([(k, 0, 0) for k in range(grid.shape[0])])[:, 2]
    save_dicom(
        item(
            SOPClassUID=RTDoseStorage,
            SOPInstanceUID=generate_uid(),
            Modality="RTDOSE",
            PatientID="P1",
            StudyInstanceUID="1.2.9",
            SeriesInstanceUID=generate_uid(),
            FrameOfReferenceUID="1.2.3.4",
            DoseUnits="GY",
            DoseType="PHYSICAL",
            DoseSummationType="PLAN",
            DoseGridScaling="0.5",
            Rows=grid.shape[1],
            Columns=grid.shape[2],
            NumberOfFrames=grid.shape[0],
            GridFrameOffsetVector=[float(v) for v in offsets],
            ImagePositionPatient=[float(v) for v in grid.to_world((0, 0, 0))],
            ImageOrientationPatient=[float(v) for v in (*np.sign(grid.affine[:3, 2]), *np.sign(grid.affine[:3, 1]))],
            PixelSpacing=list(grid.spacing[1:]),
            SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2",
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=0,
            PixelData=(80 * marked).astype("<u2").tobytes(),
        ),
        tmp_path / "dose.dcm",
    )
    study = read_folder(tmp_path)
    if absolute and abs(normal[2]) < 1e-6:  # only axial doses may give patient coordinates
        assert study.doses == ()
    else:
        at_the_mark(study.doses[0])
        assert study.doses[0].array.max() == 40
        assert study.findings == ()


def write_nifti(path, grid, array):
    """By nibabel: index (x, y, z), world RAS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine[:, [2, 1, 0, 3]]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine), path)


def write_nrrd(path, grid, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection((grid.affine[:3, 2::-1] / grid.spacing[::-1]).ravel().tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize(("write", "ending"), [(write_nifti, "nii.gz"), (write_nrrd, "nrrd")])
def test_patient_file(tmp_path, grid, marked, write, ending):
    for name, array in (("t1", marked.astype(np.float32)), ("seg", 3 * marked), ("dose", marked.astype(np.float32))):
        write(tmp_path / f"{name}.{ending}", grid, array)
    (tmp_path / "patient.json").write_text(
        json.dumps(
            {
                "patient": "P",
                "visits": [
                    {
                        "time": "2024-01-01",
                        "images": {"T1": f"t1.{ending}"},
                        "labels": {"file": f"seg.{ending}", "scheme": "BraTS 2023"},
                    }
                ],
                "structures": {"PTV": f"seg.{ending}"},
                "dose": {"file": f"dose.{ending}", "units": "Gy", "of": "course"},
            }
        )
    )
    patient = read_patient(tmp_path)
    assert patient.dose is not None
    for volume in (
        *patient.visits[0].images.values(),
        patient.visits[0].masks["enhancing"],
        patient.structures["PTV"],
        patient.dose,
    ):
        at_the_mark(volume)


def test_bids(tmp_path, grid, marked):
    write_nifti(tmp_path / "sub-1/anat/sub-1_T1w.nii.gz", grid, marked.astype(np.float32))
    write_nifti(tmp_path / "derivatives/x/sub-1/anat/sub-1_label-mark_mask.nii.gz", grid, marked)
    (tmp_path / "sub-1/sub-1_scans.tsv").write_text("filename\tacq_time\nanat/sub-1_T1w.nii.gz\t2024-01-01\n")
    (visit,) = read_patient(tmp_path).visits
    for volume in (*visit.images.values(), visit.masks["mark"]):
        at_the_mark(volume)
