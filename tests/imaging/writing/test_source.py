import copy
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.volume import Grid, Mask, TotalDose
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.imaging.writing.source import DicomSource, Identity, moment
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.phantom.synthetic import Encoding

KEY = b"a secret of the hospital"
SECRET = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-471100",
    "PatientBirthDate": "19610203",
    "StudyID": "S-88123",
    "AccessionNumber": "A-77231",
    "ReferringPhysicianName": "Grey^Meredith",
    "StudyDescription": "Brain Doe J",
    "PatientComments": "sister of R Roe",
    "PatientWeight": 81.5,
}


@pytest.fixture
def identified(image_files: list[Path]) -> list[pydicom.Dataset]:
    headers = [pydicom.dcmread(path) for path in image_files]
    for header in headers:
        for keyword, value in SECRET.items():
            setattr(header, keyword, value)
    return headers


@pytest.fixture
def mask(image_grid: Grid) -> Mask:
    inside = np.zeros(image_grid.shape, bool)
    inside[4:7, 8:20, 8:20] = True
    return Mask(inside, image_grid)


def objects(mask: Mask, source: DicomSource, folder: Path) -> list[Path]:
    """All that is written from one source, each object from the one before."""
    dose = TotalDose(np.float32(60) * mask.array, mask.grid)
    struct = write_structures({"PTV": mask}, source, folder / "struct.dcm", when=datetime(2024, 1, 25, 8))
    plan = write_plan(60.0, 30, source.followed_by(struct), folder / "plan.dcm", when=datetime(2024, 1, 26, 8))
    return [
        write_segmentation({"edema": mask}, source, folder / "seg.dcm"),
        struct,
        plan,
        write_dose(dose, source.followed_by(plan), folder / "dose.dcm", when=datetime(2024, 1, 27, 8)),
    ]


def test_nothing_of_the_patient_is_left(identified, mask, dicom_errors, tmp_path):
    original = [str(identified[0][k].value) for k in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")]
    original += [str(header.SOPInstanceUID) for header in identified]
    for path in objects(mask, DicomSource.of(identified, Identity.REMOVED, KEY), tmp_path):
        assert dicom_errors(path) == []
        content = path.read_bytes()
        for value in (*SECRET.values(), "Doe", "Jane", "Roe", "20240123", *original):
            if not isinstance(value, float):
                assert value.encode() not in content, (path.name, value)
        dataset = pydicom.dcmread(path)
        assert "PatientWeight" not in dataset
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        assert [c.CodeValue for c in dataset.DeidentificationMethodCodeSequence] == ["113100", "113105", "113107"]
        assert dataset.PatientBirthDate == ""


def test_references_intervals_and_places_stay_right(identified, mask, tmp_path):
    seg, struct, plan, dose = map(pydicom.dcmread, objects(mask, DicomSource.of(identified, "removed", KEY), tmp_path))
    assert len({o.StudyInstanceUID for o in (seg, struct, plan, dose)}) == 1
    assert len({o.FrameOfReferenceUID for o in (seg, struct, plan, dose)}) == 1
    images = {i.ReferencedSOPInstanceUID for i in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    contoured = {
        c.ContourImageSequence[0].ReferencedSOPInstanceUID for c in struct.ROIContourSequence[0].ContourSequence
    }
    assert contoured < images
    assert len(images) == len(identified)
    assert len(contoured) == 3
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == struct.SOPInstanceUID
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    times = [moment(o) for o in (struct, plan, dose)]
    assert times[1] - times[0] == times[2] - times[1] == timedelta(days=1)
    assert times[0] - moment(seg) == datetime(2024, 1, 25, 8) - moment(identified[0])
    assert 365 <= (moment(identified[0]) - moment(seg)).days < 365 * 10 + 3


def test_equal_keys_give_equal_pseudonyms_and_others_do_not(identified):
    one, two, other, bare, again = (
        DicomSource.of(identified, Identity.REMOVED, key).first for key in (KEY, KEY, b"x", None, None)
    )
    for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "StudyDate"):
        assert one[keyword].value == two[keyword].value
        assert bare[keyword].value == again[keyword].value
    assert len({h.PatientID for h in (one, other, bare)}) == 3
    assert len({h.SOPInstanceUID for h in (one, other, bare, identified[0])}) == 4


def test_names_that_somebody_gave_are_cleaned(identified):
    removed = DicomSource.of(identified, Identity.REMOVED, KEY)
    assert removed.exported_name("GTV") == "GTV"
    smith, jones = removed.exported_name("GTV Smith"), removed.exported_name("GTV Jones")
    assert smith.startswith("GTV ")
    assert len({"GTV", smith, jones}) == 3
    assert "Smith" not in smith
    assert DicomSource.of(identified).exported_name("GTV Smith") == "GTV Smith"


def test_a_source_without_identity_stays_as_it_is(identified):
    removed = DicomSource.of(identified, Identity.REMOVED, KEY)
    again = DicomSource.of(removed.headers, Identity.REMOVED, b"another key")
    assert again.first == removed.first
    assert DicomSource.of(removed) is removed


def test_the_source_is_kept_for_a_pacs_and_not_changed(identified, mask, tmp_path):
    before = [header.to_json() for header in identified]
    for path in objects(mask, DicomSource.of(identified, Identity.SOURCE), tmp_path):
        dataset = pydicom.dcmread(path)
        for keyword, value in SECRET.items():
            assert dataset[keyword].value == value
        assert dataset.StudyInstanceUID == identified[0].StudyInstanceUID
        assert "PatientIdentityRemoved" not in dataset
    DicomSource.of(identified, Identity.REMOVED, KEY)
    assert [header.to_json() for header in identified] == before


def test_archives_that_leave_attributes_out_can_be_written_to(identified, mask, dicom_errors, tmp_path):
    for header in identified:
        for keyword in (
            "PatientName",
            "PatientBirthDate",
            "StudyID",
            "AccessionNumber",
            "ReferringPhysicianName",
            "PatientSex",
            "StudyTime",
        ):
            del header[keyword]
    for path in objects(mask, DicomSource.of(identified), tmp_path):
        assert dicom_errors(path) == []


def test_a_multi_frame_source_can_lose_its_identity(image_grid, mask, mr_series, dicom_errors, tmp_path):
    source = DicomSource.of(mr_series(image_grid, tmp_path, Encoding.ENHANCED), Identity.REMOVED, KEY)
    for path in objects(mask, source, tmp_path / "out"):
        assert dicom_errors(path) == []


def test_what_cannot_be_a_source_is_refused(identified, tmp_path):
    with pytest.raises(InputError, match="identity is one of 'source', 'removed', not 'anonymous'"):
        DicomSource.of(identified, "anonymous")
    with pytest.raises(InputError, match="no source images"):
        DicomSource.of([])
    other = copy.deepcopy(identified[0])
    other.PatientID = "somebody else"
    with pytest.raises(InputError, match="several patients"):
        DicomSource.of([identified[0], other])
    other.SeriesInstanceUID = "2.25.1"
    with pytest.raises(InputError, match="several series"):
        DicomSource.of([identified[0], other])
    del other.SOPInstanceUID, other.StudyInstanceUID
    with pytest.raises(ReadError, match="has no SOPInstanceUID and no StudyInstanceUID"):
        DicomSource.of(other)
    with pytest.raises(ReadError, match=r"nowhere\.dcm cannot be read as DICOM"):
        DicomSource.of(tmp_path / "nowhere.dcm")


def test_dates_that_are_none_are_not_guessed(identified):
    header = identified[0]
    for name in ("Acquisition", "Content", "Series"):
        del header[f"{name}Date"]
    header.StudyDate = "1999.02.30"
    with pytest.raises(InputError, match="has no date"):
        DicomSource.of(header).time()
    header.AcquisitionDateTime = "20240123093000.5+0100"
    assert DicomSource.of(header).time() == datetime(2024, 1, 23, 9, 30, 0, 500000)
    removed = DicomSource.of(header, Identity.REMOVED, KEY)
    assert removed.time() == datetime(2024, 1, 23, 9, 30, 0, 500000) + removed.pseudonym.shift
    assert removed.time(datetime(2024, 1, 24)) == datetime(2024, 1, 24) + removed.pseudonym.shift
