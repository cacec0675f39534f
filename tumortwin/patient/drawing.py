"""A patient's timeline as text and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from tumortwin.therapy.events import Biopsy, DrugDose, Fraction, Treatment

GAP = timedelta(days=10)
"""A longer pause between treatments of a kind starts a new course on the timeline."""

NOTICE = "Research use only, not for clinical decisions."


@dataclass(frozen=True)
class TreatmentRun:
    """Treatments of one kind that follow each other."""

    row: str
    label: str
    times: tuple[datetime, ...]

    @property
    def dates(self) -> str:
        """First and last date, or the only one."""
        first, last = f"{self.times[0]:%Y-%m-%d}", f"{self.times[-1]:%Y-%m-%d}"
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True)
class DrawnVisit:
    """A visit as the timeline shows it: when, its label (may be empty), and what there is of it."""

    date: datetime
    label: str
    contents: str


@dataclass(frozen=True)
class Timeline:
    """What is shown of a patient.

    Parameters
    ----------
    patient_id : str
        As given.
    visits : tuple of DrawnVisit
        By date.
    treatments : tuple of Treatment
        All of them.
    planned : str
        The planned course of radiotherapy, "60 Gy in 30"; empty if it is not known.
    steroids : tuple of (datetime, float)
        Dexamethasone in mg a day, from each date on.
    structures, findings : int
        How many there are.
    """

    patient_id: str
    visits: tuple[DrawnVisit, ...]
    treatments: tuple[Treatment, ...]
    planned: str
    steroids: tuple[tuple[datetime, float], ...]
    structures: int
    findings: int


def courses(treatments: Iterable[Treatment]) -> tuple[TreatmentRun, ...]:
    """Group treatments by kind and amount, and split them where they pause for more than ten days; by first time."""
    groups: dict[tuple[str, str], list[list[datetime]]] = {}
    for t in sorted(treatments, key=lambda t: t.time):
        if isinstance(t, Fraction):
            kind = ("radiotherapy", "fraction")
        elif isinstance(t, DrugDose):
            kind = (t.drug, f"{t.amount:g} {t.unit}")
        else:
            kind = ("surgery", "biopsy" if isinstance(t, Biopsy) else "resection")
        runs = groups.setdefault(kind, [])
        if runs and t.time - runs[-1][-1] <= GAP:
            runs[-1].append(t.time)
        else:
            runs.append([t.time])
    found = []
    for (row, what), runs in groups.items():
        for run in runs:
            n = len(run)
            label = (
                f"{n} {what}{'s' if n != 1 else ''}"
                if row == "radiotherapy"
                else what
                if row == "surgery"
                else f"{what} x {n}"
            )
            found.append(TreatmentRun(row, label, tuple(run)))
    return tuple(sorted(found, key=lambda c: c.times[0]))


def text_timeline(timeline: Timeline) -> str:
    """Format the timeline as lines of text, in time order."""
    lines: list[tuple[datetime, str]] = []
    for i, visit in enumerate(timeline.visits):
        label = f" ({visit.label})" if visit.label else ""
        lines.append((visit.date, f"{visit.date:%Y-%m-%d}  visit {i}{label}: {visit.contents}"))
    for course in courses(timeline.treatments):
        extra = _planned(timeline) if course.row == "radiotherapy" else ""
        lines.append((course.times[0], f"{course.dates}  {course.row}: {course.label}{extra}"))
    head = (
        f"Patient {timeline.patient_id}: {len(timeline.visits)} visit(s), {len(timeline.treatments)} treatment(s), "
        f"{timeline.structures} structure(s), {timeline.findings} finding(s)"
    )
    return "\n".join([head, *(f"  {line}" for _, line in sorted(lines))])


def _planned(timeline: Timeline) -> str:
    return f" (planned: {timeline.planned})" if timeline.planned else ""


WIDTH, LEFT, RIGHT, TOP, ROW = 820, 130, 24, 12, 34
COLORS = {"visits": "#1f3b57", "radiotherapy": "#c2571a", "surgery": "#7a2048", "steroids": "#6b6b6b"}
DRUG_COLORS = ("#2a7f62", "#3f6fb5", "#8a6d1c")


def html_timeline(timeline: Timeline) -> str:
    """Draw the timeline as inline SVG: a row of visits, one of fractions, one for each drug, one of surgery."""
    found = courses(timeline.treatments)
    times = [v.date for v in timeline.visits] + [t for c in found for t in c.times]
    if not times:
        return f"<p>Patient {escape(timeline.patient_id)}: no visits, no treatments.</p>"
    first, last = min(times), max(times)
    pixels = (WIDTH - LEFT - RIGHT) / max((last - first) / timedelta(days=1), 1.0)

    def x(time: datetime) -> float:
        return LEFT + (time - first) / timedelta(days=1) * pixels

    drugs = list(dict.fromkeys(c.row for c in found if c.row not in COLORS))
    colors = COLORS | {drug: DRUG_COLORS[i % len(DRUG_COLORS)] for i, drug in enumerate(drugs)}
    shown = ["visits", *(r for r in ("radiotherapy", *drugs, "surgery") if any(c.row == r for c in found))]
    steroids = timeline.steroids
    if steroids:
        shown.append("steroids")
    middle = {row: TOP + ROW * i + ROW / 2 + 8 for i, row in enumerate(shown)}
    bottom = TOP + ROW * len(shown) + 10
    marks = _axis(first, last, x, bottom)
    for row in shown:
        y = middle[row]
        marks.append(
            f'<text x="{LEFT - 14}" y="{y + 4:.1f}" text-anchor="end" fill="{colors[row]}" font-weight="600">'
            f"{escape(row)}</text>"
        )
        marks.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
    for course in found:
        marks += _course(course, x, middle[course.row], colors[course.row], pixels)
    for row in shown[1:]:
        named = [((x(c.times[0]) + x(c.times[-1])) / 2, c.label) for c in found if c.row == row]
        marks += _labels(named, middle[row] - 9)
    names = [visit.label or f"visit {i}" for i, visit in enumerate(timeline.visits)]
    marks += _labels([(x(v.date), name) for v, name in zip(timeline.visits, names, strict=True)], middle["visits"] - 11)
    for visit, text in zip(timeline.visits, names, strict=True):
        at, y = x(visit.date), middle["visits"]
        marks.append(
            f'<circle cx="{at:.1f}" cy="{y:.1f}" r="6" fill="{colors["visits"]}"><title>{visit.date:%Y-%m-%d} '
            f"{escape(text)}: {escape(visit.contents)}</title></circle>"
        )
    for i, (time, amount) in enumerate(steroids):
        until = steroids[i + 1][0] if i + 1 < len(steroids) else last
        begin, end = max(x(time), LEFT), min(x(until), WIDTH - RIGHT)
        if end > begin and amount > 0:
            marks.append(
                _bar(
                    begin,
                    end,
                    middle["steroids"],
                    colors["steroids"],
                    f"dexamethasone {amount:g} mg a day",
                    0.2 + 0.4 * amount / max(a for _, a in steroids),
                )
            )
            marks += _labels([((begin + end) / 2, f"{amount:g} mg/d")], middle["steroids"] - 9)
    height = bottom + 26
    notes = f"{timeline.findings} finding(s). {NOTICE}"
    return (
        f'<div><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'style="max-width:100%;height:auto;font:11px sans-serif;background:#fff" role="img" '
        f'aria-label="Timeline of {escape(timeline.patient_id)}">{"".join(marks)}</svg>'
        f'<div style="font:11px sans-serif;color:#555">Patient {escape(timeline.patient_id)}'
        f"{escape(_planned(timeline))}. "
        f"{notes}</div></div>"
    )


def _axis(first: datetime, last: datetime, x: Callable[[datetime], float], bottom: float) -> list[str]:
    """Month marks, thinned until their labels fit."""
    months = (last.year - first.year) * 12 + last.month - first.month
    step = next(s for s in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if months / s <= 12)
    marks = []
    for k in range(1, months + 1):
        month = first.month - 1 + k
        time = datetime(first.year + month // 12, month % 12 + 1, 1)
        if (month % 12) % min(step, 12) == 0 and (time.year % max(step // 12, 1) == 0):
            marks.append(f'<line x1="{x(time):.1f}" x2="{x(time):.1f}" y1="{TOP}" y2="{bottom:.1f}" stroke="#efefef"/>')
            marks.append(
                f'<text x="{x(time):.1f}" y="{bottom + 14:.1f}" text-anchor="middle" fill="#555">{time:%Y-%m}</text>'
            )
    marks.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom:.1f}" y2="{bottom:.1f}" stroke="#999"/>')
    return marks


def _course(course: TreatmentRun, x: Callable[[datetime], float], y: float, color: str, pixels: float) -> list[str]:
    title = f"{course.dates} {course.row}: {course.label}"
    begin, end = x(course.times[0]), x(course.times[-1])
    if course.row == "surgery":
        points = f"{begin - 6:.1f},{y - 6:.1f} {begin + 6:.1f},{y - 6:.1f} {begin:.1f},{y + 6:.1f}"
        shape = [f'<polygon points="{points}" fill="{color}"><title>{escape(title)}</title></polygon>']
    else:
        shape = [_bar(begin, end + pixels, y, color, title, 0.28)]
        shape += [
            f'<rect x="{x(t):.1f}" y="{y - 6:.1f}" width="{max(min(pixels * 0.6, 3), 0.6):.2f}" height="12" '
            f'fill="{color}"/>'
            for t in course.times
        ]
    return shape


def _bar(begin: float, end: float, y: float, color: str, title: str, opacity: float) -> str:
    return (
        f'<rect x="{begin:.1f}" y="{y - 6:.1f}" width="{max(end - begin, 1):.1f}" height="12" fill="{color}" '
        f'opacity="{opacity}"><title>{escape(title)}</title></rect>'
    )


def _labels(centered: list[tuple[float, str]], y: float) -> list[str]:
    """Labels of a row (six pixels a letter), moved a little so that they do not touch; the rest is in the tooltips."""
    marks, free, before = [], float("-inf"), ""
    for center, text in centered:
        half = 3 * len(text)
        begin = min(max(center - half, LEFT - 10), WIDTH - 2 * half - 4)
        if text != before and free - begin < 22:
            begin = max(begin, free)
            marks.append(f'<text x="{begin:.1f}" y="{y:.1f}" fill="#333">{escape(text)}</text>')
            free, before = begin + 2 * half + 2, text
    return marks
