"""The whole road in one call: from a patient's folder to the files a tumor board is given.

Each stage is one function of the package. What a stage made is saved under ``stages/``, so that a run that was stopped
or that failed goes on where it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tumortwin import __version__, archive
from tumortwin.board import BoardReport, QualityReport, export_dicom, save_overlays, write_forecast, write_record
from tumortwin.calibration import Calibration, Forecast, calibrate
from tumortwin.errors import InputError, OutputExistsError, TumorTwinError
from tumortwin.imaging.deidentification import deidentify as write_deidentified
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.writing.source import Identity
from tumortwin.outputs import new_file
from tumortwin.patient import Patient, read_patient
from tumortwin.planning import PlanFront, optimize_dose
from tumortwin.profiling import stage
from tumortwin.progress import Progress, silent
from tumortwin.provenance import Log, hashes_of
from tumortwin.twin import Twin, build_twin

Announce = Callable[[str], None]
T = TypeVar("T")


class StageError(TumorTwinError):
    """A stage of the road failed; what the stages before it wrote is kept."""


@dataclass(frozen=True)
class RoadResult:
    """What a run made.

    Parameters
    ----------
    files : tuple of Path
        The result files, in the order they were written.
    left_out : tuple of str
        What could not be built from this patient, and why.
    """

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def run(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    visits: int | None = None,
    strict: bool = False,
    seed: int = 0,
    threads: int = 1,
    identity: Identity | str = Identity.REMOVED,
    dicom: bool = False,
    key: bytes | None = None,
    deidentify: bool = False,
    keep_characteristics: bool = False,
    passphrase: str | None = None,
    log: Log | None = None,
    overwrite: bool = False,
    labels: str | None = None,
    sequences: Mapping[str, MRSequence] | None = None,
    adc_unit: float | None = None,
    spacing: float = 2.0,
    organ: str | None = None,
    progress: Progress = silent,
    announce: Announce = lambda line: None,
) -> RoadResult:
    """Read a patient, build and calibrate the twin, forecast, compare schedules and write the board page.

    Parameters
    ----------
    folder : path-like
        The patient: whatever :func:`tumortwin.read_patient` takes.
    out : path-like
        Where the results go. Nothing is written anywhere else.
    visits : int, optional
        How many of the first visits to calibrate on; the rest are held out and forecast. By default all but the last
        two, but at least two.
    strict : bool
        Turn findings other than notes into an error.
    seed : int
        Of everything random.
    threads : int
        Threads for registration and simulations; the results do not depend on it.
    identity : Identity
        "removed": pages, pictures and records say neither ID nor dates nor names, unless the patient is de-identified.
        "source": they say them as given. What is saved under ``stages/`` is as read in either case.
    dicom : bool
        Write the results as DICOM too, to ``dicom/``: with `identity` "source" as the patient's, else de-identified.
    key : bytes, optional
        Of the pseudonyms of de-identified results; see :func:`~tumortwin.board.export.export_dicom`.
        With `deidentify`, of the de-identification.
    deidentify : bool
        De-identify the patient first (DICOM only), with `key`: nothing that is written says who it is.
    keep_characteristics : bool
        With `deidentify`: keep age, weight and height.
    passphrase : str, optional
        Encrypt what is saved under ``stages/``.
    log : Log, optional
        Where a line is written with hashes of what went in and came out.
    overwrite : bool
        Replace the results of another run in `out`.
    sequences : mapping of str to MRSequence, optional
        What a series shows, by its UID or a pattern for its description; overrules recognition.
    adc_unit : float, optional
        mm^2/s per stored unit of the ADC maps; overrules what the files say.
    labels : str, optional
        Name of the scheme of label files that have no table.
    spacing : float
        Voxel edge of the twin's grid, mm.
    organ : str, optional
        Name of the mask in which the tumor grows, where that is no brain.
    progress : Progress
        Told how far each stage is.
    announce : callable
        Given one line for each stage and its outcome.

    Returns
    -------
    RoadResult
        The files, and what was left out.

    Raises
    ------
    StageError
        If a stage fails; it names the stage, and a rerun goes on from there.
    OutputExistsError
        If `out` holds the results of another patient, other options or another version.
    """
    target = Path(out)
    if target.exists() and not target.is_dir():
        raise InputError(f"--out {target} is a file: name a folder")
    if deidentify:
        if key is None:
            raise InputError("deidentify=True needs a key (--key-file): make one with `tumortwin new-key FILE`")
        with tempfile.TemporaryDirectory(prefix="tumortwin-") as place:
            copy = _deidentified(Path(folder), Path(place) / "out", key, keep_characteristics, log, progress, announce)
            return run(
                copy,
                out,
                visits=visits,
                strict=strict,
                seed=seed,
                threads=threads,
                identity=identity,
                dicom=dicom,
                key=key,
                passphrase=passphrase,
                log=log,
                overwrite=overwrite,
                labels=labels,
                sequences=sequences,
                adc_unit=adc_unit,
                spacing=spacing,
                organ=organ,
                progress=progress,
                announce=announce,
            )
    patient = _stage(
        "read the patient",
        lambda: read_patient(
            folder, strict=strict, labels=labels, sequences=sequences, adc_unit=adc_unit, progress=progress, log=log
        ),
    )
    whose = patient.id if identity == "source" or patient.identity_removed else "a patient who is not named here"
    announce(
        f"read {len(patient.visits)} visit(s) and {len(patient.treatments)} treatment(s) of {whose}, "
        f"{len(patient.findings)} finding(s)"
    )
    if not patient.visits:
        raise InputError(f"{folder}: no visit with an image that can be used; `tumortwin info {folder}` says why")
    if visits is not None:
        calibration_visits(len(patient.visits), visits)  # what cannot be is said before the work, not after it
    said = sorted((sequences or {}).items())
    results = _Results(
        target, _key(patient, visits, strict, seed, labels, said, adc_unit, spacing, organ), overwrite, passphrase
    )
    left_out: list[str] = []

    twin = results.stage(
        "build the twin",
        "twin",
        Twin,
        lambda: build_twin(patient, spacing=spacing, organ=organ, strict=strict, threads=threads, progress=progress),
        announce,
    )

    fit, forecast, front = None, None, None
    used = calibration_visits(len(twin.observations), visits)
    if used < 2:
        left_out.append(
            "calibration, forecast and plan options: they need at least two visits with a visible tumor, "
            f"there are {len(twin.observations)}"
        )
    else:
        fit = results.stage(
            "calibrate",
            "calibration",
            Calibration,
            lambda: calibrate(twin, visits=slice(0, used), rng=seed, threads=threads, progress=progress),
            announce,
        )
        last = twin.observations[-1].day
        if used == len(twin.observations):
            left_out.append("a scored forecast: no visit is held out")
        forecast = results.stage(
            "forecast",
            "forecast",
            Forecast,
            lambda: fit.forecast(until=last, rng=seed, threads=threads, progress=progress),
            announce,
        )
        if twin.irradiations:
            front = results.stage(
                "compare schedules",
                "plan",
                PlanFront,
                lambda: optimize_dose(fit, rng=seed, threads=threads, progress=progress),
                announce,
            )
        else:
            left_out.append("plan options: no radiotherapy plan, dose or delivered fraction is in the folder")

    quality = _stage("look at the geometry", lambda: QualityReport.from_twin(twin, patient=patient))
    report = _stage("lay out the board page", lambda: _report(patient, twin, fit, forecast, front))
    writers: list[Callable[[], list[Path]]] = [
        lambda: [report.save(target / "board.pdf", overwrite=True, identity=identity)],
        lambda: [report.save(target / "board.html", overwrite=True, identity=identity)],
        lambda: [quality.save(target / "quality.pdf", overwrite=True, identity=identity)],
        lambda: [write_record(target / "twin.json", twin, fit, forecast, front, overwrite=True, identity=identity)],
        lambda: save_overlays(
            twin, fit, forecast, target / "overlays", patient=patient, overwrite=True, identity=identity
        ),
    ]
    if forecast is not None:
        writers.append(lambda: [write_forecast(target / "forecast.csv", forecast, overwrite=True, identity=identity)])
    if dicom:

        def exported() -> list[Path]:
            for stale in (target / "dicom").glob("*.dcm"):
                stale.unlink()  # of another patient, or with the identity that is now to be removed
            made = export_dicom(
                patient,
                twin,
                folder,
                target / "dicom",
                forecast=forecast,
                front=front,
                report=report,
                identity=identity,
                key=key,
                overwrite=True,
            )
            left_out.extend(f"DICOM of {line}" for line in made.left_out)
            return list(made.files)

        writers.append(exported)
    files: list[Path] = []
    for i, write in enumerate(writers):
        files += _stage("write the results", write)
        progress(i + 1, len(writers), "write the results")
    if log is not None:
        log.write(
            "run",
            inputs=patient.sources.values(),
            outputs=hashes_of(files, target),
            identity=str(identity),
            identity_removed=patient.identity_removed,
            visits=visits,
            strict=strict,
            seed=seed,
        )
    for line in left_out:
        announce(f"left out: {line}")
    return RoadResult(tuple(files), tuple(left_out))


def _deidentified(
    folder: Path,
    place: Path,
    key: bytes,
    keep_characteristics: bool,
    log: Log | None,
    progress: Progress,
    announce: Announce,
) -> Path:
    """A de-identified copy of the one patient in a folder; what was left out is announced."""
    report = _stage(
        "de-identify the patient",
        lambda: write_deidentified(
            folder, place, key=key, keep_characteristics=keep_characteristics, log=log, progress=progress
        ),
    )
    for finding in report.findings:
        announce(str(finding))
    if len(report.patients) > 1:
        raise InputError(f"{folder} holds {len(report.patients)} patients: give the folder of one of them")
    return next(iter(report.patients.values()))


def calibration_visits(available: int, asked: int | None) -> int:
    """How many of the first visits to calibrate on: as asked, else all but the last two, but at least two.

    Raises
    ------
    InputError
        If more are asked for than there are, or fewer than two.
    """
    if asked is None:
        return min(available, max(2, available - 2))
    if not 2 <= asked <= available:
        raise InputError(
            f"--visits {asked}: this patient has {available} visits that can be used, and a calibration "
            "needs at least 2 of them"
        )
    return asked


def _report(
    patient: Patient, twin: Twin, fit: Calibration | None, forecast: Forecast | None, front: PlanFront | None
) -> BoardReport:
    if front is not None:
        return BoardReport.from_plan(front, forecast=forecast, patient=patient)
    if fit is not None:
        return BoardReport.from_calibration(fit, forecast=forecast, patient=patient)
    return BoardReport.from_twin(twin, patient=patient)


def _stage(name: str, work: Callable[[], T]) -> T:
    """Run one stage; an error of ours is passed on with the stage's name, any other is a bug and stays as it is."""
    try:
        with stage(name):
            return work()
    except (OutputExistsError, StageError):
        raise
    except TumorTwinError as error:
        raise StageError(f"could not {name}: {error}") from error


def _key(patient: Patient, *options: Any) -> str:
    """What a run's results depend on: the files' contents, the options and the version."""
    text = json.dumps([__version__, sorted(patient.sources.items()), *options])
    return hashlib.sha256(text.encode()).hexdigest()


class _Results:
    """The output folder of one run: which stages are there already, and whether they are this run's."""

    def __init__(self, folder: Path, key: str, overwrite: bool, passphrase: str | None) -> None:
        self._passphrase = passphrase
        self._stages = folder / "stages"
        note = self._stages / "run.json"
        known = json.loads(note.read_text())["key"] if note.is_file() else None
        self._resume = known == key and not overwrite
        if not self._resume:
            foreign = folder.is_dir() and any(folder.iterdir())
            if foreign and not overwrite:
                raise OutputExistsError(
                    f"{folder} holds other files or the results of another run (other input, options or version): "
                    "name another --out, or replace them with --force"
                )
            for stale in self._stages.glob("*.npz"):
                stale.unlink()
            with new_file(note, overwrite=True) as temporary:
                temporary.write_text(json.dumps({"key": key, "version": __version__}) + "\n")

    def stage(self, name: str, stem: str, kind: type[T], work: Callable[[], T], announce: Announce) -> T:
        path = self._stages / f"{stem}.npz"
        if self._resume and path.is_file():
            announce(f"{name}: taken from {path}")
            return archive.load(path, kind, passphrase=self._passphrase)
        value = _stage(name, work)
        archive.save(value, path, overwrite=True, passphrase=self._passphrase)
        announce(f"{name}: done")
        return value
