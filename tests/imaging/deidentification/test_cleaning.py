from collections import Counter

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tumortwin.imaging.deidentification.cleaning import Cleaner, Person
from tumortwin.imaging.identity import profile
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.imaging.writing.header import item

KEY = bytes(range(32))


def cleaned(data: Dataset, characteristics: bool = False, names=frozenset(), numbers=frozenset()) -> Dataset:
    Cleaner(Person(Pseudonym(KEY, "P"), names, numbers), characteristics).clean(data)
    return data


def test_the_table_is_whole():
    """Against the counts of PS3.15 table E.1-1 (edition 2026c): repeating groups and private attributes apart."""
    counts = Counter(profile.basic_action(tag) for tag in profile.listed())
    assert counts["X"] > 400
    assert counts["U"] >= 54
    assert counts["D"] >= 90
    assert [profile.basic_action(Tag(k)) for k in ("PatientName", "PatientID", "StudyInstanceUID", "RTPlanLabel")] == [
        "Z",
        "Z/D",
        "U",
        "D",
    ]
    assert profile.is_descriptor(Tag("SeriesDescription"))
    assert profile.is_shifted(Tag("StudyDate"))
    assert not profile.is_shifted(Tag("PatientBirthDate"))


def test_codes_stay_if_a_standard_lists_them():
    data = item(
        AnatomicRegionSequence=[
            item(CodeValue="12738006", CodingSchemeDesignator="SCT", CodeMeaning="Brain of Smith"),
            item(CodeValue="T-A0100", CodingSchemeDesignator="SRT", CodeMeaning="Brain"),
            item(CodeValue="40718833", CodingSchemeDesignator="SCT", CodeMeaning="Smith"),
            item(CodeValue="SMITH", CodingSchemeDesignator="99HOSP", CodeMeaning="brain tumor ward"),
        ]
    )
    found = [(c.CodeValue, c.CodingSchemeDesignator, c.CodeMeaning) for c in cleaned(data).AnatomicRegionSequence]
    assert found == [
        ("12738006", "SCT", "Brain structure"),
        ("T-A0100", "SRT", "Brain"),
        ("REMOVED", "99REMOVED", "REMOVED"),
        ("REMOVED", "99REMOVED", "brain tumor"),
    ]


def test_structures_keep_their_sides_and_stay_apart():
    names = ("GTV Smith", "GTV Jones", "Lens_L", "Lens_R", "Smith")
    data = item(StructureSetROISequence=[item(ROINumber=i, ROIName=name) for i, name in enumerate(names, 1)])
    assert [roi.ROIName for roi in cleaned(data).StructureSetROISequence] == [
        "GTV 1",
        "GTV 2",
        "Lens_L",
        "Lens_R",
        "REMOVED 5",
    ]


def test_numbers_that_are_none_and_numbers_that_identify_go():
    data = item(InstanceNumber=3, EchoTime="12.5", AcquisitionNumber=40718833)
    with pydicom.config.disable_value_validation():
        data.add_new("SliceLocation", "LO", "Smith")
        data["SliceLocation"].VR = "DS"
    cleaned(data, numbers={"40718833"})
    assert (data.InstanceNumber, data.EchoTime, data.AcquisitionNumber, data.SliceLocation) == (3, 12.5, None, None)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StationAETitle", "WARD7"),
        ("RetrieveURL", "https://x"),
        ("PatientAge", "067Y"),
        ("PatientWeight", "70"),
        ("PatientBirthDate", "19410917"),
        ("DataSetTrailingPadding", b"Smith "),
        ("TimezoneOffsetFromUTC", "+0100"),
        ("ICCProfile", b"Smith "),
        ("LensMake", "Smith"),
        ("OriginalAttributesSequence", [Dataset()]),
        ("IconImageSequence", [Dataset()]),
        ("OtherPatientIDsSequence", [Dataset()]),
    ],
)
def test_what_may_not_stay(keyword, value):
    assert not cleaned(item(**{keyword: value})).get(keyword)


def test_characteristics_stay_when_asked():
    data = cleaned(
        item(PatientAge="093Y", PatientWeight="70", PatientSex="F", PatientSize="1.7", EthnicGroup="Smith"), True
    )
    assert (data.PatientAge, data.PatientWeight, data.PatientSex, data.PatientSize) == ("090Y", 70, "F", 1.7)
    assert not data.get("EthnicGroup")


def test_private_numbers_that_are_text_in_disguise_go():
    data = Dataset()
    block = data.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0D, "FL", [1.5, 2.5, 3.5])
    block.add_new(0x0E, "FL", 1e30)
    siemens = data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    siemens.add_new(0x0C, "IS", "40718833")
    ge = data.private_block(0x0043, "GEMS_PARM_01", create=True)
    ge.add_new(0x39, "IS", ["1000000800", "8", "0", "0"])
    cleaned(data)
    assert [str(e.tag) for e in data if e.tag.element > 0xFF] == ["(0043,1039)"]
