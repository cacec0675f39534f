from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid, Mask
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.imaging.writing.source import DicomSource, Identity
from tumortwin.imaging.writing.structured_report import Measured, write_measurements

METHOD = "largest diameters of each axial plane"


@pytest.fixture
def mask(image_grid: Grid) -> Mask:
    inside = np.zeros(image_grid.shape, bool)
    inside[4:7, 8:20, 8:20] = True
    return Mask(inside, image_grid, name="edema")


@pytest.fixture
def segmentation(mask: Mask, image_files: list[Path], tmp_path: Path) -> Path:
    empty = mask.with_array(np.zeros_like(mask.array))
    return write_segmentation({"necrosis": empty, "edema": mask}, image_files, tmp_path / "seg.dcm")


@pytest.fixture
def measured(mask: Mask) -> list[Measured]:
    corners = ((5, 8, 8), (5, 19, 19), (5, 19, 8), (5, 8, 19))
    a, b, c, d = (tuple(mask.grid.to_world(index).tolist()) for index in corners)
    return [Measured("edema", mask.volume_ml, (a, b), (c, d)), Measured("necrosis", 0.0)]


def test_highdicom_finds_the_numbers_their_places_and_their_segment(
    measured, mask, segmentation, image_files, dicom_errors, tmp_path
):
    path = write_measurements(
        measured, segmentation, image_files, tmp_path / "sr.dcm", method=METHOD, time_point="week 12"
    )
    assert dicom_errors(path) == []
    report = highdicom.sr.srread(path).content
    volumes = {g.tracking_identifier: g for g in report.get_volumetric_roi_measurement_groups()}
    assert set(volumes) == {"edema", "necrosis"}
    group = volumes["edema"]
    (volume,) = group.get_measurements(codes.SCT.Volume)
    assert (volume.value, volume.unit.value) == (pytest.approx(mask.volume_ml, abs=1e-3), "mL")
    segment = group.referenced_segment
    drawn = highdicom.seg.segread(segmentation)
    assert segment.referenced_sop_instance_uid == drawn.SOPInstanceUID
    frames = drawn.get_volume(segment_numbers=segment.referenced_segment_numbers, combine_segments=True)
    assert np.sum(frames.array > 0) * np.prod(frames.spacing) / 1000 == pytest.approx(volume.value, abs=1e-3)
    assert group.finding_type.value == "79654002"
    (lines,) = report.get_image_measurement_groups()
    assert lines.tracking_uid == group.tracking_uid
    for name, line in (
        (codes.SCT.LongAxis, measured[0].longest),
        (codes.SCT.PerpendicularAxis, measured[0].perpendicular),
    ):
        (diameter,) = lines.get_measurements(name)
        assert diameter.value == pytest.approx(np.linalg.norm(np.subtract(*line)), abs=0.006)
        (place,) = diameter.referenced_coordinates
        np.testing.assert_allclose(place.value, line, atol=1e-4)
        assert place.frame_of_reference_uid == mask.frame


def test_it_refers_to_study_images_and_segmentation(measured, segmentation, image_files, tmp_path):
    path = write_measurements(measured, segmentation, image_files, tmp_path / "sr.dcm", method=METHOD)
    report = pydicom.dcmread(path)
    headers = [pydicom.dcmread(path) for path in (*image_files, segmentation)]
    assert report.StudyInstanceUID == headers[0].StudyInstanceUID
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    named = {i.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence}
    assert named == {header.SOPInstanceUID for header in headers}
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    said = [i.TextValue for i in report.ContentSequence if i.ValueType == "TEXT"]
    assert said[-1].startswith(METHOD)
    assert "research use only, not for clinical decisions" in said[-1]


def test_equal_input_gives_equal_bytes_also_without_identity(
    measured, mask, segmentation, image_files, dicom_errors, tmp_path
):
    one, two = (
        write_measurements(measured, segmentation, image_files, tmp_path / name, method=METHOD)
        for name in ("a.dcm", "b.dcm")
    )
    assert one.read_bytes() == two.read_bytes()
    source = DicomSource.of(image_files, Identity.REMOVED, b"key")
    drawn = write_segmentation({"edema": mask}, source, tmp_path / "removed.dcm")
    path = write_measurements(measured[:1], drawn, source, tmp_path / "c.dcm", method=METHOD)
    assert dicom_errors(path) == []
    assert b"TT-0001" not in path.read_bytes()
    (lines,) = highdicom.sr.srread(path).content.get_image_measurement_groups()
    (diameter,) = lines.get_measurements(codes.SCT.LongAxis)
    assert diameter.referenced_coordinates[0].frame_of_reference_uid == source.first.FrameOfReferenceUID


def test_what_cannot_be_reported_is_refused(measured, mask, segmentation, image_files, tmp_path):
    def refused(match: str, what: list[Measured], segmentation: Path = segmentation) -> None:
        with pytest.raises(InputError, match=match):
            write_measurements(what, segmentation, image_files, tmp_path / "x.dcm", method=METHOD)

    refused("no measurement", [])
    refused(r"no segment 'lump': it has \['edema', 'necrosis'\]", [Measured("lump", 1.0)])
    refused(r"edema: a volume is finite and >= 0 mL, not nan", [Measured("edema", float("nan"))])
    refused("a diameter has two finite ends", [Measured("edema", 1.0, ((0, 0, 0), (np.inf, 0, 0)))])
    elsewhere = write_segmentation({"edema": mask}, DicomSource.of(image_files, "removed"), tmp_path / "other.dcm")
    refused("the Segmentation is of study", measured[:1], elsewhere)
    assert not (tmp_path / "x.dcm").exists()
