"""The header pass: every file of a folder looked at once, no pixels read."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import AMBIGUOUS_VR

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.attributes import DAMAGED, tag_of, text
from tumortwin.imaging.reading.dicom_file import NO_PREAMBLE, WRAPPINGS, Opened, open_dicom
from tumortwin.imaging.reading.file_tree import files_below
from tumortwin.imaging.reading.instance import Instance
from tumortwin.progress import Progress, silent

DICOMDIR = "1.2.840.10008.1.3.10"

_KEYWORDS = """
SpecificCharacterSet SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID PatientID
PatientName PatientBirthDate Modality SeriesDescription ProtocolName SequenceName PulseSequenceName StudyDescription
SeriesNumber
InstanceNumber AcquisitionNumber ImageType ComplexImageComponent AcquisitionContrast AcquisitionDateTime
AcquisitionDate AcquisitionTime SeriesDate SeriesTime ContentDate ContentTime StudyDate StudyTime Manufacturer
ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices Rows Columns
NumberOfFrames SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored PixelRepresentation
PixelPaddingValue PixelPaddingRangeLimit HighBit RescaleSlope RescaleIntercept RescaleType
RealWorldValueMappingSequence ModalityLUTSequence LossyImageCompression
ScanningSequence SequenceVariant ScanOptions RepetitionTime EchoTime InversionTime
EchoNumbers EchoTrainLength FlipAngle AngioFlag InversionRecovery TemporalPositionIdentifier TriggerTime
ContrastBolusAgent ContrastBolusVolume ContrastBolusAgentSequence DiffusionBValue DiffusionGradientOrientation
DiffusionDirectionality SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence BurnedInAnnotation
StructureSetLabel StructureSetDate StructureSetTime RTPlanLabel RTPlanDate RTPlanTime DoseSummationType
TreatmentDate TreatmentTime ContentLabel SegmentationType ExtendedOffsetTable ExtendedOffsetTableLengths
PatientIdentityRemoved
""".split()  # noqa: SIM905 - a hundred quoted words would be harder to read
# b-values (Siemens, GE, Philips) and Philips' scale slope, each with the element that names its owner
_PRIVATE = (
    (0x0019, 0x0010),
    (0x0019, 0x100C),
    (0x0043, 0x0010),
    (0x0043, 0x1039),
    (0x2001, 0x0010),
    (0x2001, 0x1003),
    (0x2005, 0x0010),
    (0x2005, 0x100E),
)
_TAGS = [*map(tag_of, _KEYWORDS), *map(tag_of, _PRIVATE)]
_SELF_CONTAINED = frozenset(tag_of(k) for k in _KEYWORDS if dictionary_VR(k) not in {"SQ", *AMBIGUOUS_VR})
"""Attributes whose value no other element has a say in."""


@contextmanager
def warnings_as_findings(findings: list[Finding], where: str) -> Iterator[None]:
    """Turn what pydicom and highdicom warn of while reading (values against the standard) into notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    complaints = Counter(str(w.message).split(" Please see")[0] for w in caught if w.category is UserWarning)
    findings += [Finding(f"{what} ({n} times)", where, "read on") for what, n in complaints.most_common(5)]
    if len(complaints) > 5:
        findings.append(Finding(f"{len(complaints) - 5} more warnings of this kind", where, "read on"))
    for other in caught:
        if other.category is not UserWarning:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


CLINICAL_NAME = "clinical.json"
"""The file beside the DICOM that :mod:`tumortwin.patient` reads."""


def read_headers(folder: Path, progress: Progress = silent) -> tuple[list[Instance], list[Finding]]:
    """Look at every file below a folder.

    Returns
    -------
    instances : list of Instance
        The DICOM files that could be parsed, by path.
    findings : list of Finding
        Files that are not DICOM or are damaged.

    Raises
    ------
    ReadError
        If there is no such folder, or nothing in it is a DICOM file.
    """
    if not folder.exists():
        raise ReadError(f"{folder} does not exist: give the folder that holds the patient's DICOM files")
    if not folder.is_dir():
        raise ReadError(f"{folder} is a file: give the folder that holds the patient's DICOM files")
    files, closed = files_below(folder)
    instances: list[Instance] = []
    findings = [
        Finding(
            "a folder that cannot be opened",
            f.relative_to(folder).as_posix(),
            "left out: get the right to read it",
            Severity.LEFT_OUT,
        )
        for f in closed
    ]
    if not files:
        what = "cannot be opened" if folder in closed else "is empty"
        raise ReadError(
            f"{folder} {what}: give the folder that holds the patient's DICOM files"
            + "".join(f"\n  {finding}" for finding in findings)
        )
    known: dict[Hashable, DataElement] = {}
    others: list[str] = []
    wrapped: dict[str, list[str]] = defaultdict(list)
    for done, path in enumerate(files):
        progress(done, len(files), "reading headers")
        name = path.relative_to(folder).as_posix()
        if name == CLINICAL_NAME:
            continue
        opened = _read_header(path, name, known, findings, wrapped)
        if opened is None:
            others.append(name)
        elif isinstance(opened, Opened):
            instances.append(Instance(path, name, opened.data, opened.pixels))
    progress(len(files), len(files), "reading headers")
    for what, names in wrapped.items():
        some = f"{what}: {len(names)} file(s) ({_some(names)})"
        findings.append(Finding(some, folder.name, WRAPPINGS[what], Severity.REPAIRED))
    if others:
        findings.append(Finding(f"{len(others)} files are not DICOM ({_some(others)})", folder.name, "not read"))
    if not instances:
        damaged = "".join(f"\n  {f}" for f in findings[:5])
        raise ReadError(
            f"{folder} holds no DICOM file that can be read ({len(files)} files looked at): give the folder that holds "
            f"the patient's DICOM files{damaged}"
        )
    return instances, findings


def _shared(data: Dataset, known: dict[Hashable, DataElement]) -> Dataset:
    """Convert the values of a header, reusing the objects of those that another file had before.

    A folder says most things a thousand times: to convert and keep each of them once saves time and memory.
    """
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    encoding = str(data.original_character_set)
    for tag, element in data.items():
        if isinstance(element, RawDataElement) and tag in _SELF_CONTAINED:
            key = (int(tag), element.VR, element.value, encoding, element.is_little_endian)
            if key not in known:
                try:
                    known[key] = data[tag]
                except DAMAGED:
                    elements[tag] = element  # whoever asks for it will find no value
                    continue
            element = known[key]
        elements[element.tag] = element
    shared = Dataset(elements)
    implicit, little = data.original_encoding
    shared.set_original_encoding(implicit, little, data.original_character_set)
    shared.file_meta = data.file_meta
    return shared


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _read_header(
    path: Path,
    name: str,
    known: dict[Hashable, DataElement],
    findings: list[Finding],
    wrapped: dict[str, list[str]],
) -> Opened | bool | None:
    """Read a header; None if the file is not DICOM; False if it is but cannot be used (a finding says why)."""
    try:
        opened = open_dicom(path, _TAGS)
        if opened is None:
            return None
        data = _shared(opened.data, known)
        if not text((data,), "SOPClassUID"):
            media_class = text((data.file_meta,), "MediaStorageSOPClassUID")
            if media_class == DICOMDIR:
                findings.append(Finding("a DICOMDIR", name, "not needed: the files themselves are read"))
                return False
            if not media_class:
                return None if NO_PREAMBLE in opened.wrappings else _no_class(name, findings)
            data.SOPClassUID = media_class
        if not text((data,), "SeriesInstanceUID"):
            what = "no Series Instance UID: perhaps cut off"
            findings.append(Finding(what, name, "export this file again", Severity.LEFT_OUT))
            return False
    except DAMAGED as error:
        what = f"the header cannot be read ({type(error).__name__}: {error})"
        findings.append(Finding(what, name, "export this file again", Severity.LEFT_OUT))
        return False
    for what in opened.wrappings:
        wrapped[what].append(name)
    return opened._replace(data=data)


def _no_class(name: str, findings: list[Finding]) -> bool:
    findings.append(Finding("no SOP Class UID", name, "export this file again", Severity.LEFT_OUT))
    return False
