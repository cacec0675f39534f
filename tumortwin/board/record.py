"""Results for other programs: ``twin.json`` and ``forecast.csv``.

``twin.json`` is strict JSON (no NaN or infinity; what has no value is null) with these keys:

==================  ===================================================================================================
schema              "tumortwin-record-2"
research_use        "Research use only, not for clinical decisions"
patient_id          as given
reference_time      day 0, ISO 8601; every "day" counts from here
clinical            diagnosis, age, markers, as text
versions            of tumortwin and of what it computes with
options             what the run was told, by section: every option that the numbers depend on
inputs              "sha256" over all files' names and hashes; "files": path to SHA-256
parameters          a list of "name", "label", "unit", "value", "low" and "high" (90 % interval, null if fixed),
                    "prior_low", "prior_high", "source", "known_from" ("scans and prior", "prior only", "fixed", ...)
scans               "date", "day", "role" ("calibration", "held out", "observed"), "volumes_ml"
courses             treatments: "kind", "label", "detail", "days" of each fraction or dose, "spans"
comparisons         predicted ("median", "low", "high") beside observed volumes in mL, each scan and quantity
scores              every method on every held-out scan: "dice", "volume_ml", "error_ml", "error_percent"
schedules           options: doses in Gy, "bed", "eqd2", "organs" ("value" against "limit", "met"), "outcomes" by key
                    ("median", "low", "high"; null is beyond "horizon_days"), "met": every limit is kept
outcome_names       what the outcomes are
limit_set           whose limits the organs' doses are held against
horizon_days        how far the outcomes are looked at
given_dose          the given course's doses to organs (EQD2, Gy) against limits
quality, limits     of the calibration; what must not be read into it
findings            "severity", "where", "what", "action"
left_out            what could not be built, and why
definitions         what terms mean ("core": inside the T1Gd contour, enhancing tumor and necrosis)
==================  ===================================================================================================
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumortwin.board.composing import compose
from tumortwin.board.content import BoardContent
from tumortwin.board.identity import for_export, shift_of
from tumortwin.board.wording import RESEARCH_USE, name_of
from tumortwin.outputs import new_file

if TYPE_CHECKING:
    from tumortwin.calibration import Calibration, Forecast
    from tumortwin.planning import GivenDose, PlanFront
    from tumortwin.twin import Twin

SCHEMA = "tumortwin-record-2"
_COMPUTES_WITH = ("numpy", "scipy", "scikit-image", "SimpleITK", "pydicom", "highdicom", "lmfit", "matplotlib")


def write_record(
    path: str | os.PathLike[str],
    twin: Twin,
    fit: Calibration | None = None,
    forecast: Forecast | None = None,
    front: PlanFront | None = None,
    *,
    given: GivenDose | None = None,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    identity: str = "removed",
) -> Path:
    """Write all numbers of a twin as JSON; the keys are in :mod:`tumortwin.board.record`.

    Parameters
    ----------
    path : path-like
        Where to.
    twin, fit, forecast, front
        What there is; missing stages leave empty lists.
    given : GivenDose, optional
        The given dose, where there is no front.
    options : mapping, optional
        What the stages were told, as plain JSON values: :meth:`tumortwin.road.RunOptions.record`. Written as it is.
    overwrite : bool
        Replace a file that is there already.
    identity : str
        "removed" or "source": see :meth:`BoardReport.save`.

    Raises
    ------
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    report = for_export(compose(twin, fit, forecast, front, given=given), identity)
    text = json.dumps(record_of(report, options), indent=1, allow_nan=False, ensure_ascii=False)
    target = Path(path)
    with new_file(target, overwrite=overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def record_of(report: BoardContent, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Convert the numbers of a report, and the options of the stages, to plain JSON values."""
    return {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "patient_id": report.patient_id,
        "reference_time": report.reference_time.isoformat(),
        "clinical": list(report.clinical),
        "versions": {
            "tumortwin": report.version,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _COMPUTES_WITH},
        },
        "options": options,
        "inputs": {"sha256": report.input_hash, "files": dict(report.sources)},
        "parameters": [{"label": name_of(p.name), **_plain(p)} for p in report.parameters],
        "scans": _plain(report.scans),
        "courses": _plain(report.courses),
        "comparisons": _plain(report.comparisons),
        "scores": _plain(report.scores),
        "schedules": [{**_plain(option), "met": option.met} for option in report.options],
        "outcome_names": dict(report.outcome_names),
        "limit_set": report.limit_set,
        "horizon_days": report.horizon_days,
        "given_dose": _plain(report.dvh_limits),
        "quality": _plain(report.quality),
        "limits": list(report.limits),
        "findings": _plain(report.findings),
        "left_out": list(report.left_out),
        "definitions": list(report.definitions),
    }


def write_forecast(
    path: str | os.PathLike[str], forecast: Forecast, *, overwrite: bool = False, identity: str = "removed"
) -> Path:
    """Write a forecast's curves as CSV: day, date, quantity, and median, 5th and 95th percentile in mL.

    Parameters
    ----------
    path : path-like
        Where to.
    forecast : Forecast
        The curves.
    overwrite : bool
        Replace a file that is there already.
    identity : str
        "removed" or "source": see :meth:`BoardReport.save`.

    Raises
    ------
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    known = identity == "source" or forecast.identity_removed
    shift = timedelta() if known else shift_of(forecast.date(0.0))
    target = Path(path)
    with new_file(target, overwrite=overwrite) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("day", "date", "quantity", "median_ml", "p05_ml", "p95_ml"))
        for quantity, band in forecast.volumes.items():
            for day, *values in zip(forecast.days, band.median, band.p05, band.p95, strict=True):
                date = (forecast.date(float(day)) + shift).isoformat(timespec="minutes")
                writer.writerow((f"{day:.4f}", date, quantity, *(f"{v:.4f}" for v in values)))
    return target


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
