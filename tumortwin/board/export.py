"""Results as DICOM, beside the images they were made from: for a PACS, a planning system, or another program."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from tumortwin.arguments import require, require_path
from tumortwin.board.identity import for_export
from tumortwin.board.image_series import ImageSeries
from tumortwin.board.outlines import outline
from tumortwin.board.overlays import picture
from tumortwin.board.report import BoardReport
from tumortwin.calibration.observation import contour_share
from tumortwin.errors import InputError
from tumortwin.geometry import measure
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import POSE_ORDER, first_of
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.header import MANUFACTURER
from tumortwin.imaging.writing.parametric_map import write_map
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.secondary_capture import write_captures
from tumortwin.imaging.writing.segmentation import SEGMENT_TYPES, write_segmentation
from tumortwin.imaging.writing.source import DicomSource, Identity
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.imaging.writing.structured_report import Measured, write_measurements
from tumortwin.planning import Schedule, Source
from tumortwin.version import __version__

if TYPE_CHECKING:
    from tumortwin.calibration import Forecast
    from tumortwin.patient import Patient
    from tumortwin.planning import GivenDose, PlanFront
    from tumortwin.twin import Observation, Twin

NEOPLASM = SEGMENT_TYPES["whole tumor"]
SEGMENTS: Mapping[str, str] = {"whole": "whole tumor", "core": "tumor core"}
"""Contours by what the twin calls them, and their segments. The core is inside the T1Gd contour, necrosis included."""
TYPES: Mapping[str, Code] = dict.fromkeys(SEGMENTS.values(), NEOPLASM)
LEAST_PROBABILITY = 0.5
"""A predicted contour holds what is more likely inside than not."""
SEGMENTING = AlgorithmIdentificationSequence(
    f"{MANUFACTURER} segmentation", codes.cid7162.MultispectralProcessing, __version__
)
FORECASTING = AlgorithmIdentificationSequence(
    f"{MANUFACTURER} forecast",
    Code("reaction-diffusion", "99TUMORTWIN", "Calibrated reaction-diffusion model"),
    __version__,
)
METHOD = (
    "Volumes of the segments: the outlines that the twin was built from, brought back to the image's grid. "
    "Diameters in axial planes: the longest, and the longest perpendicular to it (RANO)"
)


@dataclass(frozen=True)
class DicomExport:
    """What was written.

    Parameters
    ----------
    files : tuple of Path
        The DICOM files, in the order they were written.
    left_out : tuple of str
        What could not be written, and why.
    """

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def export_dicom(
    patient: Patient,
    twin: Twin,
    images: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    forecast: Forecast | None = None,
    front: PlanFront | None = None,
    report: BoardReport | None = None,
    identity: Identity | str = Identity.REMOVED,
    key: bytes | None = None,
    overwrite: bool = False,
) -> DicomExport:
    """Write results as DICOM objects that refer to the images they were made from.

    Of each scan a Segmentation and a Structured Report with its volumes and diameters, in the study of that scan. In
    the study of the reference scan, whose frame of reference the twin has: of each predicted day a Parametric Map of
    the cell density and a Segmentation of the contours; a Structure Set of the planning structures and the last
    predicted contours; of each schedule that the search found an RT Plan and its RT Dose; the page as Encapsulated PDF
    and its pictures as Secondary Captures.

    Parameters
    ----------
    patient : Patient
        Whose images they are.
    twin : Twin
        Its scans are exported.
    images : path-like
        The folder the patient was read from.
    out : path-like
        The folder to write to.
    forecast, front, report : optional
        What else there is.
    identity : Identity
        "source" keeps name, dates and identifiers, for the PACS the images came from; "removed" (the default) makes
        de-identified studies under a pseudonym.
    key : bytes, optional
        Of the pseudonym. With the key that the images are de-identified with, references lead to those images. Without
        it a key is made from the images' hashes: nobody can guess it who does not have the images.
    overwrite : bool
        Replace files that are there already.

    Returns
    -------
    DicomExport
        The files, and what was left out. Equal input gives equal bytes.

    Raises
    ------
    InputError
        If the folder does not hold the twin's images, or patient and twin are not the same patient's.
    OutputExistsError
        If a file exists and `overwrite` is false.
    """
    from tumortwin.patient import Patient
    from tumortwin.twin import Twin

    require(patient, Patient, "export_dicom takes a Patient, which read_patient makes")
    require(twin, Twin, "export_dicom takes a Twin, which build_twin makes")
    require_path(images, "images takes the folder that the patient was read from")
    require_path(out, "out takes a folder to write to")
    if patient.id != twin.patient_id:
        raise InputError(
            f"the twin is of {twin.patient_id!r}, the patient is {patient.id!r}: give those that belong together"
        )
    secret = key or hashlib.sha256(json.dumps(sorted(twin.sources.items())).encode()).digest()
    export = _Export(patient, twin, ImageSeries(Path(images), Identity(identity), secret), Path(out), overwrite)
    for observation in twin.observations:
        export.attempt(f"the scan of {observation.date:%Y-%m-%d}", partial(export.scan, observation))
    if forecast is not None:
        export.attempt("the forecast", lambda: export.forecast(forecast))
    if front is not None or forecast is not None:
        export.attempt("structures and plans", lambda: export.radiotherapy(forecast, front))
    if report is not None:
        export.attempt("the page", lambda: export.page(report))
    return DicomExport(tuple(export.files), tuple(export.left_out))


@dataclass
class _Export:
    """One run of :func:`export_dicom`."""

    patient: Patient
    twin: Twin
    series: ImageSeries
    out: Path
    overwrite: bool
    files: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def attempt(self, what: str, write: Callable[[], None]) -> None:
        """Write something; what cannot be written does not keep the rest from it, and is said."""
        try:
            write()
        except InputError as error:
            self.left_out.append(f"{what}: {error}")

    def scan(self, observation: Observation) -> None:
        """Write what is observed at a visit: the segments and their size measurements."""
        image, source = self._image(observation.visit)
        inverse = np.asarray(np.linalg.inv(observation.transform), np.float64)
        shares = {SEGMENTS[q]: Volume(contour_share(observation, q), self.twin.domain.grid) for q in SEGMENTS}
        masks = {name: outline(share, image.grid, inverse) for name, share in shares.items()}
        masks = {name: mask for name, mask in masks.items() if mask.array.any()}
        if not masks:
            raise InputError("no tumor was seen")
        day = _day(source, observation.date)
        drawn = write_segmentation(
            masks,
            source,
            self._path("tumor", day),
            description=f"Tumor {day}",
            types=TYPES,
            overwrite=self.overwrite,
            derivation=f"As the twin sees it ({observation.source})",
            algorithm=SEGMENTING if observation.source.startswith("segmented") else None,
        )
        sizes = []
        for name, mask in masks.items():
            size = measure(mask)
            sizes.append(Measured(name, mask.volume_ml, size.longest_ends, size.perpendicular_ends))
        self.files += [
            drawn,
            write_measurements(
                sizes,
                drawn,
                source,
                self._path("measurements", day),
                method=METHOD,
                description=f"Tumor size {day}",
                time_point=day,
                overwrite=self.overwrite,
            ),
        ]

    def forecast(self, forecast: Forecast) -> None:
        """Write the predictions: the density on the twin's grid, and the contours on the image's grid."""
        image, source = self._image(self._reference)
        known = forecast.history[-1].date
        for predicted in forecast.fields:
            day = _day(source, forecast.date(predicted.day))
            said = (
                f"For {day}, from scans up to {_day(source, known)}: median over {forecast.samples} samples of a "
                "calibrated reaction-diffusion model"
            )
            density = Volume(predicted.density, forecast.grid, "1", "predicted cell density")
            self.files.append(
                write_map(
                    density,
                    source,
                    self._path("forecast-density", day),
                    label="cell density",
                    window=(0.0, 1.0),
                    derivation=f"{said}; cells that images show, as a fraction of the carrying capacity",
                    description=f"Forecast {day}, cell density",
                    when=known,
                    overwrite=self.overwrite,
                )
            )
            masks = self._predicted(predicted.probability, image.grid)
            if masks:
                self.files.append(
                    write_segmentation(
                        masks,
                        source,
                        self._path("forecast-contours", day),
                        description=f"Forecast {day}",
                        types=TYPES,
                        derivation=f"{said}; where tumor is more likely than not",
                        algorithm=FORECASTING,
                        when=known,
                        overwrite=self.overwrite,
                    )
                )

    def radiotherapy(self, forecast: Forecast | None, front: PlanFront | None) -> None:
        """Structures with the last predicted contours, and the schedules that the search found."""
        image, source = self._image(self._reference)
        masks = {
            source.exported_name(name): mask if mask.grid.matches(image.grid) else resample(mask, image.grid)
            for name, mask in self.patient.structures.items()
            if mask.frame == image.frame
        }
        masks = {name: mask for name, mask in masks.items() if mask.array.any()}
        types = {}
        if forecast is not None and forecast.fields:
            last = forecast.fields[-1]
            for name, mask in self._predicted(last.probability, image.grid).items():
                roi = f"forecast {name} {_day(source, forecast.date(last.day))}"
                masks[roi], types[roi] = mask, ""  # neither a target nor an organ until somebody says so
        if not masks:
            raise InputError("there is no structure in the frame of reference of the images")
        structures = write_structures(
            masks,
            source,
            self._path("structures"),
            label="tumortwin",
            types=types,
            derivation="Planning structures as read, and predicted contours",
            overwrite=self.overwrite,
        )
        self.files.append(structures)
        found = () if front is None else [o.schedule for o in front.options if o.source is Source.SEARCH]
        if front is None or not found:
            return
        if front.given is None:
            raise InputError(
                "the schedules were saved by a version that did not keep the given dose: compare them again"
            )
        target = source.exported_name(front.given.target)
        if target not in masks:
            raise InputError("no target volume (PTV, CTV, GTV) is contoured that a plan could prescribe to")
        for schedule in found:
            self._plan(schedule, front.given, replace(masks[target], name=target), source.followed_by(structures))

    def _plan(self, schedule: Schedule, given: GivenDose, target: Mask, structures: DicomSource) -> None:
        name = f"{schedule.total:g} Gy / {len(schedule.doses)}"
        limits = f"the limits of its organs ({given.limits.name})"
        chosen = f"Found by search among schedules of the given dose's shape, within {limits}"
        middle = target.grid.to_world(np.argwhere(target.array).mean(axis=0))
        plan = write_plan(
            schedule.total,
            len(schedule.doses),
            structures,
            self._path("plan", name),
            target=target.name,
            label=name,
            isocenter=np.round(middle, 1).tolist(),
            when=schedule.times[0],
            derivation=f"{chosen}; prescribed as the dose of the given course was",
            overwrite=self.overwrite,
        )
        total = TotalDose(np.float32(schedule.total) * given.shape, self.twin.domain.grid, name=name)
        self.files += [
            plan,
            write_dose(
                total,
                structures.followed_by(plan),
                self._path("dose", name),
                description=f"Total dose {name}",
                when=schedule.times[0],
                derivation="Given dose, scaled to the schedule",
                overwrite=self.overwrite,
            ),
        ]

    def page(self, report: BoardReport) -> None:
        """Write the board page and its pictures."""
        # what the page says of dates is as it is shown: nothing to shift
        source = self._image(self._reference)[1]
        report = for_export(report, self.series.identity, source.pseudonym)
        source = replace(source, pseudonym=None)
        self.files.append(report.save(self._path("board"), source=source, overwrite=self.overwrite))
        if report.panels:
            pictures = {f"picture-{i:02d}": picture(report, panel) for i, panel in enumerate(report.panels, 1)}
            self.files += write_captures(
                pictures,
                source,
                self.out,
                description="Tumor board pictures",
                derivation="An axial slice of the scans with outlines, and of the forecast",
                when=report.last_date,
                overwrite=self.overwrite,
            )

    @property
    def _reference(self) -> int:
        """The visit whose frame of reference the twin has."""
        for o in self.twin.observations:
            if np.array_equal(o.transform, np.eye(4)):
                return o.visit
        frame = self.twin.domain.grid.frame
        for i, visit in enumerate(self.patient.visits):
            if frame in {image.frame for image in visit.images.values()}:
                return i
        raise InputError(f"no visit of {self.patient.id} has the twin's frame of reference {frame}")

    def _image(self, visit: int) -> tuple[Volume, DicomSource]:
        """Return the image in the pose of a visit, and the DICOM series that it comes from."""
        images = self.patient.visits[visit].images
        key = first_of(POSE_ORDER, images)
        if key is None:
            raise InputError("the visit has no image")
        return images[key], self.series.source(images[key])

    def _predicted(self, probability: Mapping[str, NDArray[np.float32]], grid: Grid) -> dict[str, Mask]:
        """Build masks, on the grid of an image, of the voxels more likely inside a region than not."""
        likely = {SEGMENTS[q]: resample(Volume(p, self.twin.domain.grid), grid) for q, p in probability.items()}
        masks = {name: Mask(volume.array > LEAST_PROBABILITY, grid) for name, volume in likely.items()}
        return {name: mask for name, mask in masks.items() if mask.array.any()}

    def _path(self, what: str, which: str = "") -> Path:
        plain = "-".join("".join(c if c.isalnum() or c in "-." else " " for c in which).split())
        return self.out / f"{what}{'-' + plain if plain else ''}.dcm"


def _day(source: DicomSource, when: datetime) -> str:
    return f"{source.time(when):%Y-%m-%d}"
