"""What a folder of DICOM files holds, after reading: Study and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from tumortwin.imaging.findings import Finding, finding_lines, refuse_findings
from tumortwin.imaging.frame_links import FrameLink
from tumortwin.imaging.plan import DeliveryRecord, PlanRecord
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, TotalDose, Volume


@dataclass(frozen=True)
class SeriesInfo:
    """One line of what is in a folder: a series, or one part of a series (one b-value, echo, orientation).

    Parameters
    ----------
    uid : str
        Series Instance UID.
    study_uid : str
        Study Instance UID.
    description : str
        Series description as given.
    modality : str
        DICOM modality.
    sequence : MRSequence or None
        What the images show; None for objects that are not images.
    date : datetime or None
        When it was acquired (or drawn, planned, delivered).
    frame : str or None
        Frame of reference UID.
    n_files : int
        Files that belong to it.
    part : str
        Which part of the series, e.g. "b 1000"; empty for a whole series.
    size : str
        Columns x rows x slices, and the voxel's size in mm, e.g. "256 x 256 x 40, 1 x 1 x 5 mm".
    plane : str
        "axial", "oblique axial 12 deg", ...
    transfer_syntax : str
        How pixels are stored.
    used : bool
        Whether it is (or would be) loaded.
    why : str
        Why it is taken for what it is, or why it is not used.
    """

    uid: str
    study_uid: str
    description: str
    modality: str
    sequence: MRSequence | None
    date: datetime | None
    frame: str | None
    n_files: int
    part: str = ""
    size: str = ""
    plane: str = ""
    transfer_syntax: str = ""
    used: bool = True
    why: str = ""


@dataclass(frozen=True, eq=False)
class AcquiredImage:
    """An image and when it was acquired.

    Parameters
    ----------
    volume : Volume
        float32; unit "a.u." (MR signal), "mm^2/s" (ADC) or "HU" (CT).
    sequence : MRSequence
        What it shows.
    date : datetime
        Acquisition time of its first slice.
    series_uid, study_uid : str
        Where it belongs.
    b_value : float or None
        Diffusion weighting in s/mm^2.
    aligned : bool or None
        Whether it was brought to one space with the others of its frame of reference: False as scanned, None if that is
        told by its voxels.
    """

    volume: Volume
    sequence: MRSequence
    date: datetime
    series_uid: str
    study_uid: str
    b_value: float | None = None
    aligned: bool | None = False


@dataclass(frozen=True, eq=False)
class AcquiredMask:
    """A segment of a SEG or a structure of an RTSTRUCT, on the grid of the image it was drawn on.

    Parameters
    ----------
    mask : Mask
        Its name is the segment label or ROI name as given.
    date : datetime or None
        When the image it was drawn on was acquired; when it was drawn, if that image is not in the folder.
    series_uid : str
        The series of the SEG or RTSTRUCT.
    referenced_series : str or None
        The image series it was drawn on.
    kind : str
        Segmented property type (SEG) or RT ROI interpreted type (RTSTRUCT), as given.
    algorithm : str
        How it was drawn: "MANUAL", "SEMIAUTOMATIC" or "AUTOMATIC"; empty if the file does not say.
    """

    mask: Mask
    date: datetime | None
    series_uid: str
    referenced_series: str | None
    kind: str = ""
    algorithm: str = ""


@dataclass(frozen=True)
class AcquiredPoint:
    """A point of an RTSTRUCT: an isocenter, a marker.

    Parameters
    ----------
    name : str
        ROI name as given.
    position : tuple of float
        LPS mm.
    frame : str
        Frame of reference UID.
    series_uid : str
        The series of the RTSTRUCT.
    """

    name: str
    position: tuple[float, float, float]
    frame: str
    series_uid: str


@dataclass(frozen=True, eq=False)
class Study:
    """Everything in a folder of one patient's DICOM files.

    Parameters
    ----------
    folder : str
        Where it was read from.
    patients : tuple of str
        Patient IDs found: one.
    series : tuple of SeriesInfo
        What is there, used or not, by date.
    images : tuple of AcquiredImage
        Loaded images, by date. Empty after :func:`~tumortwin.imaging.folder.scan_folder`, like all that follow.
    segmentations : tuple of AcquiredMask
        Segments of DICOM SEG objects.
    structures : tuple of AcquiredMask
        ROIs of RT Structure Sets.
    doses : tuple of TotalDose
        Planned total doses on their own grids; ``source`` holds the dose's and the plan's SOP Instance UIDs.
    plans : tuple of PlanRecord
        RT Plans.
    deliveries : tuple of DeliveryRecord
        Fractions as delivered, by time.
    findings : tuple of Finding
        What was repaired, assumed or left out.
    sources : mapping of str to str
        Path relative to the folder of each file that was used, and its SHA-256.
    points : tuple of AcquiredPoint
        Points of RT Structure Sets.
    links : tuple of FrameLink
        Rigid motions between frames of reference, of Spatial Registration objects.
    identity_removed : bool
        All files say that the patient's identity was removed.
    born : date or None
        The birth date that the files give first.
    """

    folder: str
    patients: tuple[str, ...]
    series: tuple[SeriesInfo, ...]
    images: tuple[AcquiredImage, ...] = ()
    segmentations: tuple[AcquiredMask, ...] = ()
    structures: tuple[AcquiredMask, ...] = ()
    doses: tuple[TotalDose, ...] = ()
    plans: tuple[PlanRecord, ...] = ()
    deliveries: tuple[DeliveryRecord, ...] = ()
    findings: tuple[Finding, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    points: tuple[AcquiredPoint, ...] = ()
    links: tuple[FrameLink, ...] = ()
    identity_removed: bool = False
    born: date | None = None

    def refuse_findings(self) -> None:
        """Raise :class:`~tumortwin.errors.StrictError` if anything was repaired, assumed or left out."""
        refuse_findings(self.findings)

    def table(self) -> str:
        """Format the series and the findings as text for a terminal."""
        head = ("date", "modality", "shows", "description", "part", "size", "plane", "files", "stored", "used", "why")
        rows = [head] + [
            (
                f"{s.date:%Y-%m-%d %H:%M}" if s.date else "no date",
                s.modality,
                s.sequence or "",
                s.description,
                s.part,
                s.size,
                s.plane,
                str(s.n_files),
                s.transfer_syntax,
                "yes" if s.used else "no",
                s.why,
            )
            for s in self.series
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines.append("")
        lines += finding_lines(self.findings) or ["no findings"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"Patient {self.patients[0] or '(no ID)'} in {self.folder}: {len(self.series)} series\n{self.table()}"

    def __repr__(self) -> str:
        return (
            f"Study({self.patients[0]!r}, {len(self.images)} images, {len(self.segmentations)} segments, "
            f"{len(self.structures)} structures, {len(self.doses)} doses, {len(self.deliveries)} deliveries, "
            f"{len(self.findings)} findings)"
        )
