"""The header pass: every file of a folder looked at once, no pixels read."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.plain_header import shared_tag
from tumortwin.imaging.reading.attributes import DAMAGED, decimals, items, number, parse_datetime, text, value
from tumortwin.imaging.reading.dicom_file import NO_PREAMBLE, WRAPPINGS, Opened, open_dicom, parse_dicom, with_pixels
from tumortwin.imaging.reading.file_tree import files_below
from tumortwin.progress import Progress, silent

DICOMDIR = "1.2.840.10008.1.3.10"

# Functional groups whose first item speaks for a frame as the attributes of a classic image do.
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "RealWorldValueMappingSequence",
    "FrameContentSequence",
    "SegmentIdentificationSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "MRDiffusionSequence",
    "DiffusionGradientDirectionSequence",
    "MREchoSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)

_MACRO_TAGS = frozenset(map(shared_tag, _MACROS))

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
_TAGS = [*map(shared_tag, _KEYWORDS), *map(shared_tag, _PRIVATE)]


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM file: where it is and the header attributes that the reader uses."""

    path: Path
    name: str
    """Path relative to the folder, with forward slashes."""
    data: Dataset
    pixels: int | None = None
    """Offset of the pixel data's element in a plain file: then nothing else need be parsed again."""

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        return text((self.data,), "SOPClassUID")

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return text((self.data,), "SOPInstanceUID")

    def text(self, keyword: str) -> str:
        """A top-level attribute as text."""
        return text((self.data,), keyword)

    @property
    def transfer_syntax(self) -> str:
        """Name of the transfer syntax, shortened."""
        name = getattr(self.data.file_meta.get("TransferSyntaxUID"), "name", "not stated")
        return name.split(":")[0].split(" (")[0].replace(" Image Compression", "")

    def time(self, *pairs: str) -> datetime | None:
        """The first date with a time of day, else the first date (at midnight), else None.

        Parameters
        ----------
        pairs : str
            Stems such as "Acquisition": AcquisitionDateTime, else AcquisitionDate with AcquisitionTime.
        """
        joined = (
            t
            for stem in pairs
            for t in (
                self.text("AcquisitionDateTime") if stem == "Acquisition" else "",
                (self.text(f"{stem}Date") + self.text(f"{stem}Time")).replace(" ", ""),
            )
        )
        day = None
        for t in joined:
            parsed = parse_datetime(t)
            if parsed is not None and len(t) > 10:
                return parsed
            day = day or parsed
        return day


@dataclass(frozen=True, eq=False)
class Plane:
    """One 2D image: a classic file, or one frame of a multi-frame file."""

    instance: Instance
    frame: int
    """0-based."""
    sets: tuple[Dataset, ...]
    """Where its attributes are looked up: its own functional groups, the shared ones, the top level."""
    tile: tuple[slice, slice] | None = None
    """Which part of the frame it is, in a mosaic."""

    def value(self, keyword: str | tuple[int, int]) -> Any:
        """An attribute that holds for this plane, or None."""
        return value(self.sets, keyword)

    def number(self, keyword: str | tuple[int, int]) -> float | None:
        """An attribute as a number, or None."""
        return number(self.sets, keyword)

    def numbers(self, keyword: str, n: int) -> tuple[float, ...] | None:
        """An attribute as n finite numbers, or None."""
        found = decimals(self.sets, keyword)
        if found is None:
            return None
        try:
            values = tuple(float(v) for v in found)
        except (TypeError, ValueError, OverflowError):
            return None
        return values if len(values) == n and all(abs(v) < float("inf") for v in values) else None

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType, or the frame's FrameType."""
        found = self.value("FrameType") or self.value("ImageType") or ()
        return tuple(str(v).upper() for v in ([found] if isinstance(found, str) else found))

    @property
    def where(self) -> str:
        """For people: the file, and the frame if it has several."""
        return self.instance.name + (
            f" frame {self.frame + 1}" if number((self.instance.data,), "NumberOfFrames") else ""
        )

    @property
    def philips_scale(self) -> float | None:
        """Philips' private scale slope SS: signal = (stored RS + RI) / (RS SS) compares between slices and series.

        Reference: Chenevert et al. 2014, doi:10.1593/tlo.13811.
        """
        scale = self.number((0x2005, 0x100E))
        return scale if scale and "PHILIPS" in str(self.value((0x2005, 0x0010))).upper() else None

    @property
    def b_value(self) -> float | None:
        """Diffusion weighting in s/mm^2, from the standard's attribute or the vendors' private ones."""
        for keyword, creator in (
            ("DiffusionBValue", ""),
            ((0x0019, 0x100C), "SIEMENS"),
            ((0x2001, 0x1003), "PHILIPS"),
            ((0x0043, 0x1039), "GEMS"),
        ):
            found = self.number(keyword)
            if found is None:
                continue
            owner = str(self.value((keyword[0], 0x0010))).upper() if isinstance(keyword, tuple) else ""
            if creator in owner:
                return found % 1e9 if creator == "GEMS" else found  # GE adds 1e9 to mark a computed b-value
        if text(self.sets, "DiffusionDirectionality") == "NONE":
            return 0.0
        return None


def planes(instance: Instance) -> list[Plane]:
    """The 2D images of a file, in stored order.

    Raises
    ------
    ReadError
        If it has several frames and does not say of each where it is.
    """
    data = instance.data
    per_frame = items((data,), "PerFrameFunctionalGroupsSequence")
    frames = int(number((data,), "NumberOfFrames") or 1)
    if frames == 1 and value((data,), "PerFrameFunctionalGroupsSequence") is None:
        return [Plane(instance, 0, (data, *_macros(data)))]
    if len(per_frame) != frames:
        raise ReadError(
            f"{instance.name} has {frames} frames and says of {len(per_frame)} where they are: export it again as "
            "single images or as an enhanced object"
        )
    shared = tuple(s for item in items((data,), "SharedFunctionalGroupsSequence") for s in _macros(item))
    return [Plane(instance, i, (*_macros(item), *_philips(item), *shared, data)) for i, item in enumerate(per_frame)]


def _philips(item: Dataset) -> Iterator[Dataset]:
    """The scale slope among what Philips hides in a private sequence of each frame."""
    for inner in items((item,), (0x2005, 0x140F))[:1]:
        scale = Dataset()
        for tag in ((0x2005, 0x0010), (0x2005, 0x100E)):
            if tag in inner:
                scale[tag] = inner[tag]
        yield scale


def _macros(item: Dataset) -> Iterator[Dataset]:
    for keyword in () if item.keys().isdisjoint(_MACRO_TAGS) else _MACROS:
        for inner in items((item,), keyword)[:1]:
            yield inner
            yield from _macros(inner)


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
    others: list[str] = []
    wrapped: dict[str, list[str]] = defaultdict(list)
    for done, path in enumerate(files):
        progress(done, len(files), "reading headers")
        name = path.relative_to(folder).as_posix()
        if name == CLINICAL_NAME:
            continue
        opened = _read_header(path, name, findings, wrapped)
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


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _read_header(path: Path, name: str, findings: list[Finding], wrapped: dict[str, list[str]]) -> Opened | bool | None:
    """The header; None if the file is not DICOM; False if it is but cannot be used (a finding says why)."""
    try:
        opened = open_dicom(path, _TAGS)
        if opened is None:
            return None
        data = opened.data
        media_class = text((data.file_meta,), "MediaStorageSOPClassUID")
        if media_class == DICOMDIR:
            findings.append(Finding("a DICOMDIR", name, "not needed: the files themselves are read"))
            return False
        if not text((data,), "SOPClassUID"):
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
    return opened


def _no_class(name: str, findings: list[Finding]) -> bool:
    findings.append(Finding("no SOP Class UID", name, "export this file again", Severity.LEFT_OUT))
    return False


def read_whole(instance: Instance, sources: dict[str, str]) -> Dataset:
    """Read a file once: its data set with pixels, and its SHA-256 into `sources`.

    Raises
    ------
    ReadError
        If it cannot be parsed.
    """
    return _read_again(instance, sources, parse_dicom)


def read_pixels(instance: Instance, sources: dict[str, str]) -> Dataset:
    """As `read_whole`, but only pixels and what decodes them: of most files nothing else is parsed again."""

    def parse(content: bytes) -> Dataset:
        plain = None if instance.pixels is None else with_pixels(instance.data, content, instance.pixels)
        return parse_dicom(content) if plain is None else plain

    return _read_again(instance, sources, parse)


def _read_again(instance: Instance, sources: dict[str, str], parse: Callable[[bytes], Dataset]) -> Dataset:
    try:
        content = instance.path.read_bytes()
        data = parse(content)
    except DAMAGED as error:
        raise ReadError(
            f"{instance.name}: cannot be read ({type(error).__name__}: {error}): export it again"
        ) from error
    sources[instance.name] = hashlib.sha256(content).hexdigest()
    return data
