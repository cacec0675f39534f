from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.structure_set import write_structures


@pytest.fixture
def structures(image_grid: Grid, image_files: list[Path], tmp_path: Path) -> Path:
    inside = np.zeros(image_grid.shape, bool)
    inside[4:7, 8:20, 8:20] = True
    return write_structures(
        {"GTV": Mask(inside, image_grid), "PTV": Mask(inside, image_grid)}, image_files, tmp_path / "rtstruct.dcm"
    )


def test_the_plan_says_what_is_prescribed_to_what(structures, dicom_errors, tmp_path):
    path = write_plan(60.0, 30, structures, tmp_path / "plan.dcm", label="60 Gy / 30", when=datetime(2024, 1, 26, 11))
    assert dicom_errors(path) == []
    plan = pydicom.dcmread(path)
    group = plan.FractionGroupSequence[0]
    assert group.NumberOfFractionsPlanned == 30
    assert group.ReferencedBeamSequence[0].BeamDose == 2.0
    prescription = plan.DoseReferenceSequence[0]
    assert (prescription.TargetPrescriptionDose, prescription.ReferencedROINumber) == (60.0, 2)
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(structures).SOPInstanceUID
    assert (plan.RTPlanLabel, plan.RTPlanDate, plan.PlanIntent) == ("60 Gy / 30", "20240126", "RESEARCH")
    assert "research use only" in plan.SeriesDescription


def test_equal_input_gives_equal_bytes_and_another_dose_another_identity(structures, tmp_path):
    one, two = (write_plan(60.0, 30, structures, tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()
    other = write_plan(40.0, 15, structures, tmp_path / "c.dcm")
    assert pydicom.dcmread(other).SOPInstanceUID != pydicom.dcmread(one).SOPInstanceUID


def test_what_cannot_be_written_is_refused(structures, tmp_path):
    with pytest.raises(InputError, match="positive dose"):
        write_plan(0.0, 30, structures, tmp_path / "x.dcm")
    with pytest.raises(InputError, match=r"no ROI 'CTV': choose the target among \['GTV', 'PTV'\]"):
        write_plan(60.0, 30, structures, tmp_path / "x.dcm", target="CTV")
    (tmp_path / "text.txt").write_text("not DICOM")
    with pytest.raises(ReadError, match=r"text.txt cannot be read as DICOM"):
        write_plan(60.0, 30, tmp_path / "text.txt", tmp_path / "x.dcm")
