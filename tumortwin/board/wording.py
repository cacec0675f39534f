"""Numbers as people read them. Every writer of the board page prints these strings, so all formats show the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tumortwin.board.cuts import cut_at
from tumortwin.board.values import MethodScore, OptionRow, OrganDose, Panel, Parameter, Role
from tumortwin.imaging.findings import grouped
from tumortwin.planning.options import Interval

if TYPE_CHECKING:
    from tumortwin.board.content import BoardContent

Line = Literal["solid", "dashed"]

RESEARCH_USE = "Research use only, not for clinical decisions"

MAIN_PARAMETERS = ("diffusivity", "proliferation_rate", "alpha", "alpha_beta", "temozolomide", "clearance")
"""What the one page shows of the parameters; the HTML page and the record list all."""

_NAMES = {
    "whole": "whole tumor (FLAIR)",
    "core": "core (T1Gd)",
    "diffusivity": "Diffusivity, white matter",
    "proliferation_rate": "Proliferation rate",
    "alpha": "Radiosensitivity α",
    "alpha_beta": "Tumor α/β",
    "grey_ratio": "Diffusivity, grey to white",
    "temozolomide": "Temozolomide log-kill",
    "early_growth": "Early growth q",
    "clearance": "Clearance half-time",
    "threshold_whole": "Density at FLAIR edge",
    "threshold_core": "Density at T1Gd edge",
    "adc_offset": "ADC density offset",
    "adc_scale": "ADC density factor",
}


def name_of(name: str) -> str:
    """Return the readable name of a quantity or parameter."""
    return _NAMES.get(name, name.replace("_", " "))


def number(value: float) -> str:
    """Three significant digits, never in exponents from 0.001 up; "n/a" if it is not a number."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if "e" in text and abs(value) >= 1e-6:
        text = f"{value:.{2 - math.floor(math.log10(abs(value)))}f}".rstrip("0")
    return text.replace("-", "−") if "e" not in text else text


def interval(value: Interval, horizon: float | None = None) -> str:
    """Median and 90 % interval, ``41.2 (34–50.1)``; of times up to a horizon whole days, ``158 (118 to >365)``."""

    def end(x: float) -> str:
        if horizon is None:
            return number(x)
        return f">{horizon:.0f}" if math.isinf(x) else f"{x:.0f}"

    dash = " to " if math.isinf(value.high) else "–"
    return f"{end(value.median)} ({end(value.low)}{dash}{end(value.high)})"


def span(low: float, high: float) -> str:
    """From low to high, ``34–50.1``; in words where a sign would meet the dash."""
    return f"{number(low)}{' to ' if low < 0 else '–'}{number(high)}"


def parameter_value(p: Parameter) -> str:
    """Format a parameter's value and interval, or state that it is fixed."""
    if p.low is None or p.high is None:
        return f"{number(p.value)} (fixed)"
    return f"{number(p.value)} ({span(p.low, p.high)})"


def unit_of(unit: str) -> str:
    """Format a unit with superscript exponents; empty for the unit 1."""
    return "" if unit == "1" else unit.replace("^2", "²").replace("^3", "³")


def organ(dose: OrganDose) -> str:
    """Format a dose beside its limit, ``48.2 / 54``; an exclamation mark shows a broken limit, also in gray prints."""
    if dose.limit is None:
        return organ_value(dose)
    return f"{organ_value(dose)} / {number(dose.limit)}{'' if dose.met else ' !'}"


def organ_value(dose: OrganDose) -> str:
    """Format the value that is compared with the limit; probabilities below 0.01 % are all shown as ``<0.01``."""
    return "<0.01" if "%" in dose.metric and 0 < dose.value < 0.01 else number(dose.value)


def schedule(option: OptionRow) -> str:
    """``30 x 2 Gy`` or a dash without radiotherapy."""
    return f"{option.fractions} × {number(option.dose_per_fraction)}" if option.fractions else "–"


@dataclass(frozen=True)
class Table:
    """A table of strings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def identity(report: BoardContent) -> tuple[tuple[str, str], ...]:
    """Who, which scans, which model: label and text."""
    dates = ", ".join(
        f"{scan.date:%Y-%m-%d}{' (held out)' if scan.role is Role.HELD_OUT else ''}" for scan in report.scans
    )
    return (
        ("Patient", " · ".join((report.patient_id, *report.clinical))),
        ("Scans", dates or "none"),
        ("Model", f"tumortwin {report.version} · {len(report.sources)} input files, sha256 {report.input_hash[:16]}"),
    )


def caption(panel: Panel) -> str:
    """Describe a picture as observed, held out or predicted."""
    return "held out" if (panel.role, panel.title) == (Role.HELD_OUT, "observed") else panel.title


def outline_key(panels: Iterable[Panel]) -> tuple[tuple[str, Line, str], ...]:
    """Region, line style and words for each kind of outline in the pictures."""
    panels = tuple(panels)
    names = dict.fromkeys(name for panel in panels for name in panel.outlines)
    predicted = dict.fromkeys(name for panel in panels for name in panel.predicted)
    return (
        *((name, "solid", name_of(name)) for name in names),
        *((name, "dashed", f"{name_of(name)}, predicted") for name in predicted),
    )


def picture_note(report: BoardContent) -> str:
    """Where the pictures are cut and what they are drawn over."""
    if not report.panels:
        return ""
    names = list(dict.fromkeys(panel.anatomy.name for panel in report.panels))
    over = f"all over the {names[0]}" if len(names) == 1 else "each over its own scan"
    return f"{cut_at(report.panels[0].anatomy.grid).position_text}, {over}"


def headline(report: BoardContent) -> str:
    """Summarize the report in one or two sentences that quote its numbers."""
    ours = [s for s in last_scores(report) if s.method == OWN_METHOD]
    if ours:
        first = next((s for s in ours if s.quantity == "whole"), ours[0])
        rivals = [s for s in last_scores(report) if s.method != OWN_METHOD and s.quantity == first.quantity]
        text = (
            f"Held-out scan of {first.date:%Y-%m-%d} (day {first.day:.0f}): {name_of(first.quantity)} "
            f"{predicted_ml(first)} mL predicted, {number(observed_ml(first))} mL observed"
        )
        text += f", Dice {first.dice:.2f}" if first.dice is not None else ""
        if rivals:
            best = min(rivals, key=lambda s: abs(s.error_ml))
            text += f". {best.method.capitalize()}: {number(best.volume_ml)} mL"
            text += f", Dice {best.dice:.2f}" if best.dice is not None else ""
        return text + "."
    if report.scans:
        last = report.scans[-1]
        volumes = ", ".join(f"{name_of(q)} {number(v)} mL" for q, v in last.volumes_ml.items() if q in _NAMES)
        return f"Last scan, {last.date:%Y-%m-%d} (day {last.day:.0f}): {volumes}. {unscored(report)}"
    return "No scan shows a tumor."


def unscored(report: BoardContent) -> str:
    """Why the page has no score of a forecast."""
    roles = {scan.role for scan in report.scans}
    if not report.bands:
        return "Not calibrated: no forecast." if roles <= {Role.OBSERVED} else "This page was made without a forecast."
    return "The forecast is not scored." if Role.HELD_OUT in roles else "No held-out scan: the forecast is not scored."


def no_dose(report: BoardContent) -> str:
    """Why the page has no dose-volume histogram."""
    irradiated = any(course.kind == "radiotherapy" for course in report.courses)
    return "This page was made without the given dose." if irradiated else "No radiotherapy is known."


OWN_METHOD = "tumortwin"


def observed_ml(score: MethodScore) -> float:
    """Compute the observed volume in mL from a score's prediction and error."""
    return score.volume_ml - score.error_ml


def predicted_ml(score: MethodScore) -> str:
    """Format the predicted volume, with its interval if it has one."""
    if score.low_ml is None or score.high_ml is None:
        return number(score.volume_ml)
    return interval(Interval(score.volume_ml, score.low_ml, score.high_ml))


def last_scores(report: BoardContent) -> tuple[MethodScore, ...]:
    """Return the scores of the latest held-out scan."""
    last = max((s.day for s in report.scores), default=0.0)
    return tuple(s for s in report.scores if s.day == last)


def score_cells(score: MethodScore) -> tuple[str, str, str, str]:
    """Format the method, Dice, volume (with its interval) and relative error of a score."""
    return (
        score.method,
        "–" if score.dice is None else f"{score.dice:.2f}",
        predicted_ml(score),
        "–" if score.error_percent is None else _error(score.error_percent),
    )


def _error(percent: float) -> str:
    return "> +999 %" if percent > 999 else f"{percent:+.0f} %".replace("-", "−")


def score_table(report: BoardContent) -> Table:
    """Every method's prediction of the held-out scans."""
    rows = tuple(
        (f"{s.date:%Y-%m-%d}", name_of(s.quantity), number(observed_ml(s)), *score_cells(s)) for s in report.scores
    )
    return Table(
        "Forecast against the held-out scan",
        ("scan", "region", "observed mL", "method", "Dice", "predicted mL", "error"),
        rows,
    )


def plan_table(report: BoardContent, most_organs: int | None = None) -> Table:
    """Every schedule: dose, BED, EQD2, organs against their limits (the tightest, if not all), outcomes, intervals."""
    organs = list(dict.fromkeys(o.organ for option in report.options for o in option.organs))
    if most_organs is not None and len(organs) > most_organs:
        tightest = {
            name: max(
                o.value / o.limit if o.limit else 0.0
                for option in report.options
                for o in option.organs
                if o.organ == name
            )
            for name in organs
        }
        kept = sorted(organs, key=lambda name: -tightest[name])[:most_organs]
        organs = [name for name in organs if name in kept]
    rows = []
    for option in report.options:
        by_organ = {o.organ: organ(o) for o in option.organs}
        rows.append(
            (
                option.name,
                schedule(option),
                number(option.total),
                number(option.bed),
                number(option.eqd2),
                *(by_organ.get(o, "–") for o in organs),
                *(
                    interval(option.outcomes[key], report.horizon_days if key.endswith("days") else None)
                    for key in report.outcome_names
                ),
            )
        )
    return Table(
        "Plan options",
        ("schedule", "fractions × Gy", "total Gy", "BED Gy", "EQD2 Gy", *organs, *report.outcome_names.values()),
        tuple(rows),
    )


def organ_note(report: BoardContent) -> str:
    """Explain the columns of the organs' doses; empty if there are none."""
    metrics = dict.fromkeys(o.metric for option in report.options for o in option.organs)
    return f"organs: {', '.join(metrics)} / limit, {report.limit_set}; ! not met" if metrics else ""


def parameter_table(report: BoardContent, *, main: bool = False) -> Table:
    """Every parameter (or the main ones): value, interval, prior, source."""
    rows = tuple(
        (
            name_of(p.name),
            parameter_value(p),
            unit_of(p.unit),
            p.known_from,
            "–" if p.prior_low is None or p.prior_high is None else span(p.prior_low, p.prior_high),
            p.source,
        )
        for p in (main_parameters(report) if main else report.parameters)
    )
    columns = ("parameter", "value (90 %)", "unit", "known from", "prior 90 %", "source of the prior or value")
    return Table("Parameters", columns, rows)


def short_source(source: str) -> str:
    """Remove the DOI from a source."""
    return re.sub(r"\s*\(doi:[^\s)]+\)|,?\s*doi:[^\s)]+", "", source)


def main_parameters(report: BoardContent) -> tuple[Parameter, ...]:
    """Return the parameters that the page shows, in the page's order."""
    by_name = {p.name: p for p in report.parameters}
    return tuple(by_name[name] for name in MAIN_PARAMETERS if name in by_name)


def volume_table(report: BoardContent) -> Table:
    """Every scan's date and measured volumes."""
    quantities = list(dict.fromkeys(q for scan in report.scans for q in scan.volumes_ml))
    rows = tuple(
        (
            f"{s.date:%Y-%m-%d}",
            f"{s.day:.0f}",
            str(s.role),
            *(number(s.volumes_ml[q]) if q in s.volumes_ml else "–" for q in quantities),
        )
        for s in report.scans
    )
    return Table("Scans", ("date", "day", "use", *(f"{name_of(q)} mL" for q in quantities)), rows)


def limit_table(report: BoardContent) -> Table:
    """Build a table of the given dose against its constraints."""
    rows = tuple(
        (
            o.organ,
            o.metric,
            organ_value(o),
            "–" if o.limit is None else number(o.limit),
            {True: "met", False: "not met", None: "no limit"}[o.met],
            o.source,
        )
        for o in report.dvh_limits
    )
    return Table("Given dose against constraints", ("structure", "metric", "value", "limit", "", "source"), rows)


def quality_lines(report: BoardContent) -> tuple[str, ...]:
    """List the limits of what the page shows and the quality of the calibration, a line each."""
    return report.limits + tuple(
        f"{m.what}: {number(m.value)}{' ' + unit_of(m.unit) if unit_of(m.unit) else ''}"
        f"{' (' + m.meaning + ')' if m.meaning else ''}"
        for m in report.quality
    )


def finding_lines(report: BoardContent) -> tuple[str, ...]:
    """List what was left out, assumed or repaired, the most severe findings first."""
    facts = grouped(report.findings)
    return (*report.left_out, *(f"{f.severity.capitalize()}: {f.what} ({f.where}); {f.action}" for f in facts))
