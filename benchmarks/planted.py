"""A longitudinal study with identifiers planted wherever DICOM can hold them, and the search for what is left."""

from __future__ import annotations

import json
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from tumortwin.imaging.identity import profile
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries

VISITS = (
    datetime(2024, 1, 23, 9, 30),
    datetime(2024, 2, 29, 23, 59, 59),
    datetime(2024, 12, 31, 7, 5),
    datetime(2025, 3, 3, 12),
)
PATIENT_ID = "MRN-40718833"
PATIENT_NAME = "Weatherby^Ottoline^Quill"
BIRTH = "19410917"
_HASHES = re.compile(r"2\.25\.\d{30,39}(?!\d)")  # any eight digits are somewhere among so many
_SYLLABLES = [
    "ka",
    "zu",
    "bri",
    "von",
    "dek",
    "mol",
    "qua",
    "thu",
    "wes",
    "gim",
    "jor",
    "pla",
    "xan",
    "nid",
    "fos",
    "hel",
    "ryk",
    "tav",
]


@dataclass(eq=False)
class Planted:
    """Where the study is, and what must not be found in anything made from it.

    Parameters
    ----------
    folder : Path
        The study.
    identifiers : dict of str to str
        Each identifier, and where it was planted.
    """

    folder: Path
    identifiers: dict[str, str] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(20240123))

    def word(self, where: str) -> str:
        """A made-up name that is in no dictionary."""
        while True:
            word = "".join(self.rng.choice(_SYLLABLES) for _ in range(4)).capitalize()
            if word not in self.identifiers:
                return self.note(word, where)

    def number(self, where: str, digits: int = 8) -> str:
        """A made-up number of a patient, a visit or an order."""
        return self.note(str(self.rng.randrange(3 * 10 ** (digits - 1), 10**digits)), where)

    def day(self, where: str) -> str:
        """A date of a year that no date of the study can be moved into: the least shift is a year."""
        return self.note(f"{datetime(1931, 2, 3) + timedelta(days=self.rng.randrange(365)):%Y%m%d}", where)

    def note(self, text: str, where: str) -> str:
        """Count a text as an identifier."""
        self.identifiers.setdefault(text, where)
        return text


def plant(folder: Path) -> Planted:
    """Write the study: four visits of MR with segmentation, structures, plan and dose, identifiers in every corner."""
    planted = Planted(folder / f"{PATIENT_NAME.split('^')[0]} {PATIENT_ID}")
    for part in (*PATIENT_NAME.split("^"), PATIENT_ID, "40718833", BIRTH):
        planted.note(part, "patient")
    for visit in VISITS:
        planted.note(f"{visit:%Y%m%d}", "date of a visit")
    grid = Grid.regular((6, 24, 20), (4.0, 1.5, 1.5), (-20.0, -30.0, 10.0), str(hashed_uid("planted frame")))
    for number, visit in enumerate(VISITS):
        _write_visit(planted, grid, number, visit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that values break their VR is the point
        for path in sorted(planted.folder.rglob("*.dcm")):
            _plant_in(planted, path)
        _write_beside(planted)
    return planted


def _write_visit(planted: Planted, grid: Grid, number: int, when: datetime) -> None:
    study = item(
        SpecificCharacterSet="ISO_IR 192",
        PatientName=PATIENT_NAME,
        PatientID=PATIENT_ID,
        PatientBirthDate=BIRTH,
        PatientSex="F",
        PatientAge="093Y",
        PatientWeight="61",
        StudyInstanceUID=generate_uid(entropy_srcs=[f"study {number}"]),
        ReferringPhysicianName="",
        AccessionNumber="",
        StudyID="1",
        StudyDescription=f"MR Brain {PATIENT_NAME}",
    )
    stamp(study, when, "Study")
    folder = planted.folder / f"{when:%Y-%m-%d} {PATIENT_NAME.split('^')[1]}"
    signal = np.random.default_rng(number).random(grid.shape, np.float32)
    encoding = Encoding.PLAIN if number else Encoding.JPEG_LS
    series = SyntheticSeries(MRSequence.T1GD, Volume(signal, grid, "a.u."), "t1_mprage_tra_KM", encoding)
    files = write_series(series, study, generate_uid(entropy_srcs=[f"series {number}"]), 2, when, 1.0, folder / "t1")
    inside = np.zeros(grid.shape, bool)
    inside[1:5, 6:16, 5:14] = True
    write_segmentation({"enhancing": Mask(inside, grid, "enhancing")}, files, folder / "seg.dcm")
    if number == 1:
        names = {
            f"PTV {PATIENT_NAME.split('^')[0]}": inside,
            "Hippocampus_L": np.roll(inside, 3, 2),
            "Hippocampus_R": np.roll(inside, -3, 2),
        }
        rt = write_structures({n: Mask(a, grid, n) for n, a in names.items()}, files, folder / "structures.dcm")
        plan = write_plan(60.0, 30, rt, folder / "plan.dcm", target=next(iter(names)))
        write_dose(TotalDose(signal * 60, grid, "Gy"), plan, folder / "dose.dcm")


def _plant_in(planted: Planted, path: Path) -> None:
    """Identifiers of every kind in one file; the kinds that need a whole file of their own take turns."""
    data = pydicom.dcmread(path)
    modality = str(data.Modality)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        if data.get(keyword):
            planted.note(str(data[keyword].value), keyword)
    where = f"{modality} {path.stem}"
    first = not any(w.startswith(f"{modality} everything") for w in planted.identifiers.values())
    if first:
        _plant_table(planted, data, f"{modality} everything")
        _plant_unlisted(planted, data, f"{modality} everything")
        _plant_private(planted, data, f"{modality} everything private")
        _plant_sequences(planted, data, f"{modality} everything sequence")
        _plant_objects(planted, data, f"{modality} everything object")
    data.SeriesDescription = f"t1_mprage_{planted.word(where)}_KM 1 mm"
    data.OperatorsName = f"{planted.word(where)}^{planted.word(where)}"
    data.AccessionNumber = planted.number(where)
    data.preamble = f"{planted.word(where + ' preamble'):<128}".encode()
    data.file_meta.SourceApplicationEntityTitle = planted.word(where + " file meta")[:16]
    data.file_meta.PrivateInformationCreatorUID = planted.note(
        str(generate_uid(entropy_srcs=[where])), where + " file meta"
    )
    data.file_meta.PrivateInformation = planted.word(where + " file meta").encode()
    if "PixelData" in data and first and data.file_meta.TransferSyntaxUID.is_encapsulated:
        comment = planted.word(where + " JPEG comment").encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (frame,) = pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1)
        frame = frame[:2] + segment + frame[2:]
        data.PixelData = pydicom.encaps.encapsulate([frame + b"\0" * (len(frame) % 2)])
    if modality == "MR" and not data.file_meta.TransferSyntaxUID.is_encapsulated:
        data.PixelData += planted.word(where + " after the pixels").encode().ljust(32)
    data.save_as(path)


def _plant_table(planted: Planted, data: Dataset, where: str) -> None:
    """Every attribute of table E.1-1 that can hold text, a number, a date or a UID and is not there yet."""
    for tag in sorted(profile.listed()):
        keyword = keyword_for_tag(tag)
        if not keyword or tag in data or tag.group < 8 or keyword == "EncapsulatedDocument":
            continue
        value = _value(planted, dictionary_VR(tag), f"{where} {keyword}")
        if value is not None:
            data.add(DataElement(tag, dictionary_VR(tag), value))


def _value(planted: Planted, vr: str, where: str) -> object:
    if vr in ("LO", "ST", "LT", "UT", "UC"):
        return f"{planted.word(where)} {planted.number(where)} 5/1/24"
    if vr in ("SH", "AE", "CS"):
        return planted.word(where)[:16]
    if vr == "PN":
        return f"{planted.word(where)}^{planted.word(where)}"
    if vr == "DA":
        return planted.day(where)
    if vr == "DT":
        return planted.day(where) + "112233.123456+0100"
    if vr == "UI":
        return planted.note(str(generate_uid(entropy_srcs=[where])), where)
    if vr == "UR":
        return f"https://pacs.{planted.word(where)}.org"
    if vr in ("OB", "UN"):
        return planted.word(where).encode().ljust(32)
    if vr == "SQ":
        return [
            item(
                PatientName=planted.word(where),
                InstitutionName=planted.word(where),
                CodeValue=planted.number(where),
                CodingSchemeDesignator="99HOSP",
                CodeMeaning=planted.word(where),
                TextValue=planted.word(where),
                StudyDate=planted.day(where),
            )
        ]
    return None


def _plant_unlisted(planted: Planted, data: Dataset, where: str) -> None:
    """Attributes that the table does not list, and values that break their VR."""
    for keyword in (
        "ScanOptions",
        "BodyPartExamined",
        "CodeMeaning",
        "LossyImageCompressionMethod",
        "PatientPosition",
        "SequenceName",
        "ReceiveCoilName",
        "TransmitCoilName",
        "ImagingFrequency",
        "TriggerTime",
        "EchoTime",
        "NumberOfAverages",
        "TemporalPositionIdentifier",
        "AcquisitionNumber",
        "PositionReferenceIndicator",
        "ContrastBolusAgent",
        "FilterType",
        "StackID",
        "DataPathID",
        "ChannelLabel",
        "ContentLabel",
        "ContainerDescription",
        "SoftwareVersions",
        "ManufacturerModelName",
        "ContrastBolusStartTime",
        "DateOfLastCalibration",
        "TimeOfLastCalibration",
        "IssueDateOfImagingServiceRequest",
    ):
        vr = dictionary_VR(keyword)
        with pydicom.config.disable_value_validation():
            data.add(
                DataElement(
                    keyword, "LO" if vr in ("IS", "DS", "TM", "DA", "CS") else vr, planted.word(f"{where} {keyword}")
                )
            )
            data[keyword].VR = vr if vr not in ("IS", "DS") else "LO"
    data[0x0009, 0x0010] = DataElement((0x0009, 0x0010), "LO", planted.word(f"{where} private creator"))
    data[0x0018, 0x0FF1] = DataElement((0x0018, 0x0FF1), "UN", planted.word(f"{where} unknown tag").encode().ljust(16))


def _plant_private(planted: Planted, data: Dataset, where: str) -> None:
    csa = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    csa.add_new(0x10, "OB", b"SV10\4\3\2\1" + planted.word(where).encode() + planted.number(where).encode() + b"\0")
    csa.add_new(0x20, "UN", planted.word(where).encode().ljust(16))
    mr = data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    mr.add_new(0x0C, "IS", "1000")
    mr.add_new(0x0E, "FD", [0.6, 0.0, 0.8])
    mr.add_new(0x0F, "SH", planted.word(where))
    mr.add_new(0x0B, "DS", planted.number(where))
    philips = data.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    philips.add_new(0x0E, "FL", 2.5)
    philips.add_new(0x0D, "LO", planted.word(where))
    inner = item(PatientName=planted.word(where), PatientID=planted.number(where))
    philips.add_new(0x5F, "SQ", pydicom.Sequence([inner]))
    block = data.private_block(0x0011, planted.word(where), create=True)
    for offset, vr in enumerate(("LO", "SH", "LT", "PN", "DA", "UI", "ST", "UN", "SQ"), 1):
        block.add_new(offset, vr, _value(planted, vr, f"{where} {vr}"))


def _plant_sequences(planted: Planted, data: Dataset, where: str) -> None:
    code = item(CodeValue="12738006", CodingSchemeDesignator="SCT", CodeMeaning=f"Brain of {planted.word(where)}")
    fake = item(CodeValue=planted.number(where), CodingSchemeDesignator="SCT", CodeMeaning=planted.word(where))
    inner = item(
        PersonName=planted.word(where),
        InstitutionName=planted.word(where),
        ProcedureCodeSequence=[fake],
        ContentDate=planted.day(where),
        UID=planted.note(str(generate_uid(entropy_srcs=[where])), where),
    )
    data.AnatomicRegionSequence = [code]
    data.RequestAttributesSequence = [
        item(RequestedProcedureID=planted.number(where), ScheduledProtocolCodeSequence=[fake])
    ]
    data.PerformedProtocolCodeSequence = [
        item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=planted.word(where), ContentSequence=[inner])
    ]
    data.OriginalAttributesSequence = [
        item(
            ModifiedAttributesSequence=[item(PatientName=planted.word(where), PatientID=planted.number(where))],
            SourceOfPreviousValues=planted.word(where),
            ModifyingSystem=planted.word(where),
        )
    ]
    data.DigitalSignaturesSequence = [item(CertificateOfSigner=planted.word(where).encode().ljust(32))]
    data.ContentSequence = [
        item(ValueType="TEXT", TextValue=f"{planted.word(where)} was seen on {planted.day(where)}"),
        item(ValueType="PNAME", PersonName=planted.word(where)),
        item(ValueType="UIDREF", UID=planted.note(str(generate_uid(entropy_srcs=[where, "sr"])), where)),
        item(ValueType="CONTAINER", ContentSequence=[item(ValueType="DATE", Date=planted.day(where))]),
    ]


def _plant_objects(planted: Planted, data: Dataset, where: str) -> None:
    """Overlays, curves, thumbnails, padding; labels of structures, segments and beams."""
    data.add_new(0x60000010, "US", 8)
    data.add_new(0x60003000, "OW", planted.word(where).encode().ljust(16))
    data.add_new(0x60004000, "LT", planted.word(where))
    data.add_new(0x60001500, "LO", planted.word(where))
    data.add_new(0x50003000, "OW", planted.word(where).encode().ljust(16))
    data.IconImageSequence = [
        item(Rows=4, Columns=4, BitsAllocated=8, PixelData=planted.word(where).encode().ljust(16))
    ]
    data.DataSetTrailingPadding = planted.word(where).encode().ljust(16)
    for sequence, keywords in (
        ("StructureSetROISequence", ("ROIDescription", "ROIGenerationDescription")),
        ("SegmentSequence", ("SegmentDescription", "SegmentLabel", "TrackingID")),
        ("BeamSequence", ("BeamName", "BeamDescription", "TreatmentMachineName")),
        ("DoseReferenceSequence", ("DoseReferenceDescription",)),
    ):
        for part in data.get(sequence) or ():
            for keyword in keywords:
                setattr(part, keyword, planted.word(f"{where} {keyword}")[:16])


def _write_beside(planted: Planted) -> None:
    """Files beside the images: clinical.json, junk, a screenshot, a document."""
    planted.folder.joinpath("clinical.json").write_text(
        json.dumps(
            {
                "schema": "tumortwin-clinical-1",
                "patient_id": PATIENT_ID,
                "weight_kg": 61,
                "age_years": 93,
                "diagnosis": f"glioblastoma of {planted.word('clinical diagnosis')}",
                "physician": planted.word("clinical field"),
                "drugs": [
                    {
                        "drug": "temozolomide",
                        "amount": 75,
                        "unit": "mg/m2",
                        "times": [f"{VISITS[0] + timedelta(days=d):%Y-%m-%dT%H:%M:%S}" for d in range(3)],
                    }
                ],
                "surgery": [{"time": f"{VISITS[0] + timedelta(days=7):%Y-%m-%dT%H:%M:%S}", "kind": "biopsy"}],
                "steroids": [{"from": f"{VISITS[1]:%Y-%m-%d}", "dexamethasone_mg_per_day": 8}],
            }
        )
    )
    for visit in VISITS:
        planted.note(f"{visit:%Y-%m-%d}", "date in clinical.json")
    planted.folder.joinpath("README.txt").write_text(f"{planted.word('junk')} {planted.number('junk')}\n")
    example = pydicom.dcmread(next(planted.folder.rglob("*.dcm")), stop_before_pixels=True)
    for name, sop_class, burned in (
        ("screen.dcm", "1.2.840.10008.5.1.4.1.1.7", "YES"),
        ("report.dcm", "1.2.840.10008.5.1.4.1.1.104.1", "YES"),
    ):
        other = item(**{k: example.get(k) for k in ("PatientID", "PatientName", "StudyInstanceUID")})
        other.SOPClassUID, other.SOPInstanceUID = sop_class, planted.note(str(generate_uid(entropy_srcs=[name])), name)
        other.SeriesInstanceUID = planted.note(str(generate_uid(entropy_srcs=[name, "series"])), name)
        other.BurnedInAnnotation, other.EncapsulatedDocument = burned, planted.word(name).encode().ljust(32)
        other.file_meta = pydicom.dataset.FileMetaDataset()
        other.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        other.save_as(planted.folder / name, enforce_file_format=True)


def left(planted: Planted, folder: Path) -> dict[str, list[str]]:
    """The identifiers that are still found below a folder: in names of files, raw bytes, or decoded values.

    Returns
    -------
    dict of str to list of str
        Identifier to the files (with attribute, if it was found in a value).
    """
    found: dict[str, list[str]] = {}
    needles = {
        form: text for text in planted.identifiers for form in {text.lower(), text.lower()[:16]} if len(form) >= 5
    }
    pattern = re.compile("|".join(map(re.escape, sorted(needles, key=len, reverse=True))))
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        haystacks = {
            "its name": path.relative_to(folder).as_posix(),
            "raw bytes": content.decode("latin-1"),
            "raw UTF-16": content.decode("utf-16-le", errors="replace"),
        }
        if path.suffix == ".dcm":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                haystacks |= {str(tag): text for tag, text in _decoded(pydicom.dcmread(BytesIO(content), force=True))}
        for where, text in haystacks.items():
            for hit in pattern.finditer(_HASHES.sub("", text.lower())):
                found.setdefault(needles[hit.group()], []).append(f"{path.relative_to(folder)}: {where}")
    return found


def _decoded(data: Dataset) -> Iterator[tuple[object, str]]:
    for part in (getattr(data, "file_meta", Dataset()), data):
        yield from _values(part)


def _values(data: Dataset) -> Iterator[tuple[object, str]]:
    for tag in list(data.keys()):
        try:
            element = data[tag]
        except ValueError:
            yield tag, str(data.get_item(tag))
            continue
        if element.VR == "SQ":
            for part in element.value:
                yield from _decoded(part)
        elif element.tag != Tag("PixelData"):
            yield element.tag, str(element.value)
