"""Image files other than DICOM while a patient is read: images, masks and doses, each with its finding and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.labels import LabelScheme
from tumortwin.imaging.nifti import read_dose_map, read_image, read_labels, read_mask
from tumortwin.imaging.reading.diffusion import AdcUnit, in_mm2_per_s
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.study import AcquiredImage, AcquiredMask, SeriesInfo, Study
from tumortwin.imaging.volume import Dose, Mask, TotalDose, Volume

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """When and in what frame of reference files were acquired.

    Parameters
    ----------
    name : str
        Of the session, unique within the patient.
    frame : str
        Frame of reference: these formats name none.
    date : datetime or None
        When; None for planning objects.
    aligned : bool or None
        Whether its images were brought to one space: True if the files declare it, None if their voxels tell it.
    """

    name: str
    frame: str
    date: datetime | None
    aligned: bool | None = None


@dataclass(eq=False)
class ImageFiles:
    """What has been read so far.

    Parameters
    ----------
    folder : Path
        Names are relative to it.
    fatal : type of ReadError, optional
        A file that raises one ends the reading. One that raises another is left out, with a finding and a line that say
        why; without it every such file is.
    """

    folder: Path
    fatal: type[ReadError] | None = None
    findings: list[Finding] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    lines: list[SeriesInfo] = field(default_factory=list)
    images: list[AcquiredImage] = field(default_factory=list)
    masks: list[AcquiredMask] = field(default_factory=list)
    structures: list[AcquiredMask] = field(default_factory=list)
    doses: list[TotalDose] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """Return a file's path, relative to the folder if it lies below it."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.as_posix()

    def digest(self, path: Path) -> str:
        """SHA-256 of a file; it counts as used from now on.

        Raises
        ------
        ReadError
            If it cannot be read.
        """
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ReadError(f"{path} cannot be read ({error.strerror}): give the file, or correct its path") from error
        self.sources[self.name(path)] = found
        return found

    def add_image(
        self, path: Path, sequence: MRSequence, session: Session, why: str, adc_unit: AdcUnit | None = None
    ) -> AcquiredImage | None:
        """Read an image; an ADC map is brought to mm^2/s by its stated unit, else by the one that fits.

        A map without a possible unit is kept as it is: the visit loses its cell density, and no more.
        """
        assert session.date is not None

        def read(found: list[Finding]) -> Volume:
            unit = {MRSequence.CT: "HU", MRSequence.ADC: "1"}.get(sequence, "a.u.")
            volume = read_image(path, unit=unit, frame=session.frame, findings=found)
            if sequence is MRSequence.ADC:
                try:
                    volume, said = in_mm2_per_s(volume, adc_unit, self.name(path))
                except ReadError as error:
                    why_not = str(error).removeprefix(f"{self.name(path)}: ")
                    said = [Finding(why_not, self.name(path), "no cell density at this visit", Severity.LEFT_OUT)]
                found += said
            return volume

        volume = self._read(path, session, read)
        if volume is None:
            return None
        volume = replace(volume, name=self.name(path), source=(self.name(path),))
        image = AcquiredImage(volume, sequence, session.date, self.name(path), session.name, aligned=session.aligned)
        self.images.append(image)
        self._line(path, sequence, session, volume, why)
        return image

    def add_mask(self, path: Path, name: str, session: Session, of: str | None, why: str) -> Mask | None:
        """Read a mask drawn on a session, and on one image of it if that is known."""
        mask = self._read(path, session, lambda found: read_mask(path, frame=session.frame, findings=found))
        if mask is not None:
            self._add(path, {name: mask}, session, of, why)
        return mask

    def add_labels(
        self, path: Path, labels: LabelScheme | Mapping[int, str], session: Session, of: str | None, why: str
    ) -> None:
        """Read a file of several labels, named by a scheme or a table."""
        masks = self._read(path, session, lambda found: read_labels(path, labels, frame=session.frame, findings=found))
        if masks is None:
            return
        if not masks:
            self.findings.append(Finding("all labels are empty", self.name(path), "nothing is drawn"))
        self._add(path, masks, session, of, why)

    def add_dose(self, path: Path, kind: type[Dose], session: Session, why: str) -> Dose | None:
        """Read a dose map; it is not yet one of the doses, which are totals."""
        dose = self._read(path, session, lambda found: read_dose_map(path, kind, frame=session.frame, findings=found))
        if dose is None:
            return None
        self._line(path, None, session, dose, why)
        return replace(dose, name=self.name(path), source=(self.name(path),))

    def leave_out(self, path: Path, session: Session, why: str, *, say: bool = True) -> None:
        """Note that a file is not used."""
        if say:
            self.findings.append(Finding(why, self.name(path), "left out", Severity.LEFT_OUT))
        self._line(path, None, session, None, why)

    def take_back_mask(self, why: str) -> None:
        """Do not use the mask that was added last."""
        self.masks.pop()
        self.lines[-1] = replace(self.lines[-1], used=False, why=why)

    def study(self, patient: str) -> Study:
        """All that was read, as if it came from a DICOM folder."""
        order = sorted(self.lines, key=lambda line: (line.date or datetime.max, line.uid))
        return Study(
            str(self.folder),
            (patient,),
            tuple(order),
            tuple(sorted(self.images, key=lambda i: i.date)),
            tuple(self.masks),
            tuple(self.structures),
            tuple(self.doses),
            findings=tuple(self.findings),
            sources=dict(sorted(self.sources.items())),
        )

    def _add(self, path: Path, masks: Mapping[str, Mask], session: Session, of: str | None, why: str) -> None:
        for name, mask in masks.items():
            named = replace(mask, name=name, source=(self.name(path),))
            drawn = AcquiredMask(named, session.date, self.name(path), of)
            (self.structures if session.date is None else self.masks).append(drawn)
        first = next(iter(masks.values()), None)
        self._line(path, None, session, first, f"{why}: {', '.join(masks) or 'nothing drawn'}")

    def _read(self, path: Path, session: Session, read: Callable[[list[Finding]], T]) -> T | None:
        """Call `read` on a file and note its findings; return None if the file cannot be used and is left out."""
        found: list[Finding] = []
        try:
            made = read(found)
            self.digest(path)
        except ReadError as error:
            if self.fatal is not None and isinstance(error, self.fatal):
                raise
            self.leave_out(path, session, str(error))
            return None
        self.findings += [replace(f, where=self.name(path)) for f in found]
        return made

    def _line(self, path: Path, sequence: MRSequence | None, session: Session, volume: Volume | None, why: str) -> None:
        size = ""
        if volume is not None:
            (z, y, x), (dz, dy, dx) = volume.grid.shape, volume.grid.spacing
            size = f"{x} x {y} x {z}, {dx:.3g} x {dy:.3g} x {dz:.3g} mm"
        stored = "NIfTI" if ".nii" in path.name.lower() else path.suffix[1:].upper()
        modality = "" if sequence is None else "CT" if sequence is MRSequence.CT else "MR"
        self.lines.append(
            SeriesInfo(
                self.name(path),
                session.name,
                self.name(path),
                modality,
                sequence,
                session.date,
                session.frame,
                1,
                size=size,
                transfer_syntax=stored,
                used=volume is not None,
                why=why,
            )
        )
