"""From a patient's folder to the files a tumor board is given, stage by stage.

Each stage is one function of the package. What a stage made is saved under ``stages/``, so that a run that was stopped
or that failed goes on where it ended.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumortwin.arguments import require, require_path
from tumortwin.board import BoardReport, QualityReport, export_dicom, save_overlays, write_forecast, write_record
from tumortwin.calibration import Calibration, Forecast, calibrate
from tumortwin.errors import InputError
from tumortwin.imaging.deidentification import deidentify as write_deidentified
from tumortwin.imaging.deidentification.messages import MessageFilter
from tumortwin.imaging.findings import finding_lines, grouped
from tumortwin.imaging.identity.words import clean_text
from tumortwin.imaging.writing.source import Identity
from tumortwin.patient import Patient, read_patient
from tumortwin.planning import GivenDose, PlanFront, given_dose, optimize_dose
from tumortwin.progress import Progress, automatic, bar_in_notebooks
from tumortwin.provenance import Log, hashes_of
from tumortwin.road.options import RunOptions
from tumortwin.road.results import Announce, Results, StageError, check_out, named_stage
from tumortwin.threads import one_blas_thread
from tumortwin.twin import Twin, build_twin


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


@bar_in_notebooks
@one_blas_thread()
def run(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: RunOptions | None = None,
    *,
    key: bytes | None = None,
    passphrase: str | None = None,
    log: Log | None = None,
    overwrite: bool = False,
    progress: Progress = automatic,
    announce: Announce = lambda line: None,
) -> RoadResult:
    """Read a patient, build and calibrate the twin, forecast, compare schedules and write the board page.

    Parameters
    ----------
    folder : path-like
        The patient: whatever :func:`tumortwin.read_patient` takes.
    out : path-like
        Where the results go. Nothing is written anywhere else, and nothing there before the first stage is done.
    options : RunOptions, optional
        What to do; the defaults if not given.
    key : bytes, optional
        Of the de-identification, if the options ask for it, and of the pseudonyms of de-identified results; see
        :func:`~tumortwin.board.export.export_dicom`.
    passphrase : str, optional
        Encrypt what is saved under ``stages/``.
    log : Log, optional
        Where a line is written with hashes of what went in and came out.
    overwrite : bool
        Replace the results of another run in `out`.
    progress : Progress
        Called with how far each stage is. By default a bar in notebooks, nothing elsewhere.
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
    InputError
        If something that was given cannot be used; said before any work where it can be known.
    OutputExistsError
        If `out` holds the results of another patient, other options or another version.
    """
    require_path(folder, "run takes the patient's folder or file")
    require_path(out, "run takes a folder for the results")
    options = RunOptions() if options is None else options
    require(options, RunOptions, "run takes RunOptions(...) as options")
    if options.deidentify and key is None:
        raise InputError("deidentify needs a key (--key-file): make one with `tumortwin new-key FILE`")
    source, target = Path(folder), Path(out)
    messages = MessageFilter(folder, (out,))
    messages.active = options.identity != Identity.SOURCE

    def say(line: str) -> None:
        announce(messages.clean(line))

    with messages.on_errors():
        check_out(target, source)
        with _deidentified(source, options, key, log, progress, say) as place:
            patient = named_stage(
                "read the patient",
                lambda: read_patient(
                    place,
                    strict=options.build.strict,
                    labels=options.labels,
                    sequences=options.sequences,
                    adc_unit=options.adc_unit,
                    progress=progress,
                    log=log,
                ),
            )
            start = patient.visits[0].date if patient.visits else None
            messages.knows(patient.id, start, identity_removed=patient.identity_removed)
            _check_visits(patient, options, folder)
            say(
                f"read {len(patient.visits)} visit(s) and {len(patient.treatments)} treatment(s) of "
                f"{'a patient who is not named here' if messages.active else patient.id}, "
                f"{len(grouped(patient.findings))} finding(s)"
            )
            results = Results(target, options, patient.sources, overwrite, passphrase)
            left_out: list[str] = []
            made = _made(patient, results, options, left_out, progress, say)
            files = _written(patient, place, target, made, options, key, left_out, progress)
    if log is not None:
        log.write(
            "run",
            inputs=patient.sources.values(),
            outputs=hashes_of(files, target),
            identity=str(options.identity),
            identity_removed=patient.identity_removed,
            options=options.record(clean_text),
        )
    for line in left_out:
        say(f"left out: {line}")
    return RoadResult(tuple(files), tuple(map(messages.clean, left_out)))


@contextmanager
def _deidentified(
    source: Path, options: RunOptions, key: bytes | None, log: Log | None, progress: Progress, say: Announce
) -> Iterator[Path]:
    """Yield the patient's folder, or for the time of the block a de-identified copy of it."""
    if not options.deidentify:
        yield source
        return
    assert key is not None
    with tempfile.TemporaryDirectory(prefix="tumortwin-") as place:
        report = named_stage(
            "de-identify the patient",
            lambda: write_deidentified(
                source,
                Path(place) / "out",
                key=key,
                keep_characteristics=options.keep_characteristics,
                log=log,
                progress=progress,
            ),
        )
        for finding in report.findings:
            say(str(finding))
        if len(report.patients) > 1:
            raise InputError(f"{source} holds {len(report.patients)} patients: give the folder of one of them")
        yield next(iter(report.patients.values()))


def _check_visits(patient: Patient, options: RunOptions, folder: str | os.PathLike[str]) -> None:
    count = len(patient.visits)
    if not count:
        raise InputError(f"{folder}: no visit with an image that can be used; `tumortwin info {folder}` says why")
    if options.visits is not None and options.visits > count:
        raise InputError(
            f"--visits {options.visits}: this patient has {count} visits that can be used: give at most {count}"
        )


def calibration_visits(twin: Twin, first: int | None) -> int:
    """How many observations to calibrate on.

    Parameters
    ----------
    twin : Twin
        Its observations are of the visits that show a tumor.
    first : int or None
        Those of so many of the patient's first visits; if None, all but the last two, but at least two.
    """
    if first is None:
        return min(len(twin.observations), max(2, len(twin.observations) - 2))
    return sum(observation.visit < first for observation in twin.observations)


@dataclass(frozen=True)
class _Made:
    """What the stages made."""

    twin: Twin
    fit: Calibration | None = None
    forecast: Forecast | None = None
    front: PlanFront | None = None
    given: GivenDose | None = None


def _made(
    patient: Patient,
    results: Results,
    options: RunOptions,
    left_out: list[str],
    progress: Progress,
    say: Announce,
) -> _Made:
    """Take every stage that this patient allows."""
    threads = options.threads or os.cpu_count() or 1
    common: Any = {"rng": options.seed, "threads": threads, "progress": progress}
    twin = results.stage(
        "build the twin",
        "twin",
        Twin,
        lambda: build_twin(patient, options=options.build, threads=threads, progress=progress),
        say,
    )
    for line in finding_lines(twin.findings):
        say(f"  {line}")
    used = calibration_visits(twin, options.visits)
    if used < 2:
        among = "" if options.visits is None else f" among the first {options.visits}"
        left_out.append(
            "calibration, forecast and plan options: they need at least two visits with a visible tumor"
            f"{among}, there are {used}"
        )
        return _Made(twin, given=_given_dose(twin, options, left_out))
    fit = results.stage(
        "calibrate",
        "calibration",
        Calibration,
        lambda: calibrate(twin, slice(0, used), options=options.calibrate, **common),
        say,
    )
    last = twin.observations[-1].day
    if used == len(twin.observations):
        last += options.forecast_days
        left_out.append(
            f"a scored forecast: no visit is held out; the forecast ends {options.forecast_days:g} days after the last"
        )
    forecast = results.stage("forecast", "forecast", Forecast, lambda: fit.forecast(until=last, **common), say)
    front = None
    if not twin.irradiations:
        left_out.append("plan options: no radiotherapy plan, dose or delivered fraction is in the folder")
    else:
        try:
            front = results.stage(
                "compare schedules",
                "plan",
                PlanFront,
                lambda: optimize_dose(fit, options=options.plan, **common),
                say,
            )
        except StageError as error:
            if not isinstance(error.__cause__, InputError):
                raise
            left_out.append(f"plan options: {error.__cause__}")  # e.g. radiotherapy was before the first scan
    given = front.given if front is not None else _given_dose(twin, options, left_out)
    return _Made(twin, fit, forecast, front, given)


def _given_dose(twin: Twin, options: RunOptions, left_out: list[str]) -> GivenDose | None:
    """Compute the given dose of a twin without compared schedules; add to `left_out` why it cannot be shown."""
    if not twin.irradiations:
        return None
    try:
        return given_dose(twin, options.plan.limits)
    except InputError as error:
        left_out.append(f"dose-volume histograms: {error}")
        return None


def _written(
    patient: Patient,
    source: Path,
    target: Path,
    made: _Made,
    options: RunOptions,
    key: bytes | None,
    left_out: list[str],
    progress: Progress,
) -> list[Path]:
    """Write every result file."""
    twin, fit, forecast, front = made.twin, made.fit, made.forecast, made.front
    how: Any = {"overwrite": True, "identity": options.identity}
    quality = named_stage("look at the geometry", lambda: QualityReport.from_twin(twin, patient=patient))
    report = named_stage("lay out the board page", lambda: _report(patient, made))
    cleaned = options.identity != Identity.SOURCE and not patient.identity_removed
    record = options.record(clean_text) if cleaned else options.record()
    writers: list[Callable[[], list[Path]]] = [
        lambda: [report.save(target / "board.pdf", **how)],
        lambda: [report.save(target / "board.html", **how)],
        lambda: [quality.save(target / "quality.pdf", **how)],
        lambda: [
            write_record(target / "twin.json", twin, fit, forecast, front, given=made.given, options=record, **how)
        ],
        lambda: save_overlays(twin, fit, forecast, target / "overlays", patient=patient, **how),
    ]
    if forecast is not None:
        writers.append(lambda: [write_forecast(target / "forecast.csv", forecast, **how)])
    if options.dicom:

        def exported() -> list[Path]:
            for stale in (target / "dicom").glob("*.dcm"):
                stale.unlink()  # of another patient, or with the identity that is now to be removed
            export = export_dicom(
                patient, twin, source, target / "dicom", forecast=forecast, front=front, report=report, key=key, **how
            )
            left_out.extend(f"DICOM of {line}" for line in export.left_out)
            return list(export.files)

        writers.append(exported)
    files: list[Path] = []
    for i, write in enumerate(writers):
        files += named_stage("write the results", write)
        progress(i + 1, len(writers), "write the results")
    return files


def _report(patient: Patient, made: _Made) -> BoardReport:
    if made.front is not None:
        return BoardReport.from_plan(made.front, forecast=made.forecast, patient=patient)
    if made.fit is not None:
        return BoardReport.from_calibration(made.fit, forecast=made.forecast, given=made.given, patient=patient)
    return BoardReport.from_twin(made.twin, given=made.given, patient=patient)
