"""What is taken out of messages, and what stays."""

from datetime import datetime

import pytest

from tumortwin.errors import OutputExistsError, ReadError
from tumortwin.imaging.deidentification.messages import MessageFilter


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which nothing says whose it is but names."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "scans" / "Z. 4711"
    (place / "visit 1").mkdir(parents=True)
    for name in ("visit 1/IM1.dcm", "visit 1/mask", "Smith.nii.gz", "clinical.json"):
        (place / name).touch()
    return place


def test_id_dates_and_files_go_and_typed_paths_stay(folder):
    messages = MessageFilter(folder, (folder.parent / "out 2024-01-02",))
    messages.knows("MRN-40718833", datetime(2024, 1, 10, 9), identity_removed=False)
    for text, cleaned in (
        ("patient MRN-40718833: no mask", "patient [removed]: no mask"),
        ("'MRN-40718833' and MRN-40718833_b, 40718833", "'[removed]' and [removed]_b, [removed]"),
        ("visit of 2024-01-15, 2024-01-15T08:30, 20240115093000", "visit of [day 5], [day 5], [date]"),
        ("born 1950-02-03, on 3.2.1950", "born [date], on [date]"),
        ("UID 1.2.840.20240115.7 of 12345678 bytes", "UID 1.2.840.[day 5].7 of 12345678 bytes"),
        (f"{folder}/visit 1/IM1.dcm: cut short", f"{folder}/[file 3]: cut short"),
        ("IM1.dcm and Smith.nii.gz and clinical.json", "[file 3] and [file 1] and clinical.json"),
        ("no mask in visit 1", "no mask in visit 1"),
        (f"{folder.parent}/out 2024-01-02/stages", f"{folder.parent}/out 2024-01-02/stages"),
    ):
        assert messages.clean(text) == cleaned


@pytest.mark.parametrize(
    ("patient", "text", "cleaned"),
    [
        ("7", "read 7 visits of patient 7 or '7'", "read 7 visits of patient [removed] or '[removed]'"),
        ("A+(B)", "A+(B), A+", "[removed], A+"),
        ("Ünal/β", "of Ünal/β:", "of [removed]:"),
        ("[removed]", "of [removed]", "of [removed]"),
    ],
)
def test_unusual_ids(folder, patient, text, cleaned):
    messages = MessageFilter(folder)
    messages.knows(patient, None, identity_removed=False)
    assert messages.clean(text) == cleaned


def test_what_names_nobody_is_left_as_it_is(folder):
    messages = MessageFilter(folder)
    messages.knows("TT-0001", None, identity_removed=True)
    assert messages.clean("patient TT-0001, 2024-01-15") == "patient TT-0001, 2024-01-15"


def test_errors_keep_their_class_and_lose_their_causes(folder):
    messages = MessageFilter(folder)
    messages.knows("MRN-4071", None, identity_removed=False)
    with pytest.raises(ReadError, match=r"patient \[removed\] .*\n.*--identity source") as caught, messages.on_errors():
        raise ReadError("patient MRN-4071 has no scan") from ValueError("MRN-4071")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(OutputExistsError) as same, messages.on_errors():
        raise OutputExistsError("out is there already")
    assert str(same.value) == "out is there already"
    with pytest.raises(PermissionError) as denied, messages.on_errors():
        raise PermissionError(13, "Permission denied", f"{folder}/visit 1/IM1.dcm")
    assert denied.value.filename == f"{folder}/[file 3]"
