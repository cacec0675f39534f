"""Whether what a record says of treatments, dates and sizes can be true.

What cannot be is an error; what hardly can is used, with a finding that says what is usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import numpy as np

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import FractionDose
from tumortwin.patient.timeline import Clinical, Visit
from tumortwin.therapy.drug_doses import implausible_dose
from tumortwin.therapy.drugs import body_surface_area
from tumortwin.therapy.events import Biopsy, DrugDose, Fraction, Resection, Treatment

FRACTION_GY = (0.5, 25.0)
"""Largest fraction of a course; 1.2 to 8 Gy are usual, single fractions reach 24 Gy. Limits assumed."""
MOST_FRACTIONS = 75
"""60 twice-daily ones are the most in a published course; assumed."""
COURSE_GY = 100.0
"""Total dose; 20 to 81 Gy are usual. Assumed."""
NEAR_SCANS = timedelta(days=3653)
"""A treatment that the scans can tell of lies within ten years of them; assumed."""
AHEAD = timedelta(days=366)
"""Treatment is planned at most a year ahead; assumed."""
OLDEST_YEARS, SINCE_DIAGNOSIS_YEARS = 130, 30
"""An age is that at diagnosis, which may lie so long before the first scan."""
DEXAMETHASONE_MG = 40.0
"""A day; 2 to 16 mg are usual (Ryken 2010, doi:10.1007/s11060-009-0057-4), the limit is assumed."""
BODY_MASS_INDEX = (10.0, 70.0)
"""kg/m2, and what one of them alone can be in an adult; assumed."""
ADULT_KG, ADULT_M = (30.0, 250.0), (1.2, 2.2)

DATES = "correct the date, or leave the entry out"


def check_record(
    visits: Sequence[Visit],
    treatments: Sequence[Treatment],
    clinical: Clinical,
    *,
    born: date | None = None,
    today: date | None = None,
) -> list[Finding]:
    """Compare a patient's treatments and sizes with what is usual, and their dates with the scans'.

    Parameters
    ----------
    visits : sequence of Visit
        By date.
    treatments : sequence of Treatment
        Their sources name file and field.
    clinical : Clinical
        Sizes and age.
    born : date, optional
        The patient's birth date.
    today : date, optional
        By default the present day.

    Raises
    ------
    ReadError
        For what happened before birth or has not happened yet.
    """
    findings = _check_sizes(clinical)
    findings += _check_dates(visits, treatments, clinical, born, today or datetime.now().date())
    findings += _check_fractions([t for t in treatments if isinstance(t, Fraction)])
    known = clinical.height_m is not None and clinical.weight_kg is not None
    surface = body_surface_area(clinical.height_m, clinical.weight_kg) if known else None
    for dose in treatments:
        if isinstance(dose, DrugDose):
            usual = implausible_dose(dose, surface_m2=surface, weight_kg=clinical.weight_kg)
            if usual:
                findings.append(
                    _unusual(f"{dose.amount:g} {dose.unit} of {dose.drug} at one time", dose.source, "amount", usual)
                )
    return findings


def _unusual(what: str, source: str, field: str, usual: str, remedy: str = "check number and unit") -> Finding:
    where = f"{source}.{field}" if source.endswith("]") else source
    return Finding(what, where, f"used as given, but {usual}: {remedy}", Severity.ASSUMED)


def _check_dates(
    visits: Sequence[Visit], treatments: Iterable[Treatment], clinical: Clinical, born: date | None, today: date
) -> list[Finding]:
    if not visits:
        return []
    findings = []
    first, last = visits[0].date.date(), visits[-1].date.date()
    if born is not None and born > first:
        findings.append(
            Finding(
                "the birth date in the images is later than the first scan",
                "PatientBirthDate",
                "taken for a dummy, and not used",
                Severity.ASSUMED,
            )
        )
        born = None
    whence = "PatientBirthDate in the images"
    if born is None:
        years, whence = float(OLDEST_YEARS), f"nobody is older than {OLDEST_YEARS} years"
        if clinical.age_years is not None and clinical.age_years + SINCE_DIAGNOSIS_YEARS < OLDEST_YEARS:
            years, whence = clinical.age_years + SINCE_DIAGNOSIS_YEARS, "age_years in clinical.json"
        born = date.fromordinal(max(1, first.toordinal() - int(366 * (years + 1))))
    if last > today:
        findings.append(
            Finding(
                "scans of days to come",
                f"visit of {last:%Y-%m-%d}",
                "taken for dates that were shifted: treatments are compared with the scans only",
                Severity.ASSUMED,
            )
        )
        today = date.max
    for when, what, source, done in _events(treatments, clinical):
        if when < born:
            raise ReadError(f"{source}: {what} on {when:%Y-%m-%d} is before the patient was born ({whence}): {DATES}")
        if when > today and (done or when - today > AHEAD):
            raise ReadError(f"{source}: {what} on {when:%Y-%m-%d} has not been yet: {DATES}")
        if when > today:
            findings.append(
                Finding(f"{what} on {when:%Y-%m-%d} is still to come", source, "taken as planned", Severity.ASSUMED)
            )
        off = max(first - when, when - last)
        if off > NEAR_SCANS:
            side = "before the first" if when < first else "after the last"
            usual = f"treatment lies within {NEAR_SCANS.days // 365} years of the scans (assumed)"
            findings.append(
                _unusual(
                    f"{what} on {when:%Y-%m-%d}, {off.days / 365.25:.0f} years {side} scan", source, "", usual, DATES
                )
            )
    return findings


def _events(treatments: Iterable[Treatment], clinical: Clinical) -> list[tuple[date, str, str, bool]]:
    """Day, name and source of all that was done, and whether it cannot lie ahead."""
    names = {Fraction: "radiotherapy", Resection: "a resection", Biopsy: "a biopsy"}
    events = []
    for treatment in treatments:
        what = treatment.drug if isinstance(treatment, DrugDose) else names[type(treatment)]
        done = isinstance(treatment, Resection | Biopsy)
        events.append((treatment.time.date(), what, treatment.source or "treatments", done))
    events += [(start.date(), "dexamethasone", "clinical.json, steroids", False) for start, _ in clinical.steroids]
    return events


def _check_fractions(fractions: Sequence[Fraction]) -> list[Finding]:
    if not fractions:
        return []
    # thirty fractions share one map
    distinct = {id(f.dose): f.dose for f in fractions}
    highest = {k: float(d.array.max()) if isinstance(d, FractionDose) else d for k, d in distinct.items()}
    doses = [highest[id(f.dose)] for f in fractions]
    largest = int(np.argmax(doses))
    where, findings = fractions[largest].source or "radiotherapy", []
    if not FRACTION_GY[0] <= doses[largest] <= FRACTION_GY[1]:
        usual = "fractions are of 1.2 to 8 Gy, single ones of up to 24 Gy"
        remedy = "check that it is in Gy, not cGy, and not the dose of the course"
        findings.append(_unusual(f"a largest fraction of {doses[largest]:.3g} Gy", where, "dose", usual, remedy))
    if len(doses) > MOST_FRACTIONS:
        usual = f"courses have up to 45 fractions, twice a day up to {MOST_FRACTIONS} (assumed)"
        findings.append(_unusual(f"{len(doses)} fractions", "radiotherapy", "", usual, "check for entries given twice"))
    if sum(doses) > COURSE_GY:
        usual = "courses are of 20 to 81 Gy"
        findings.append(_unusual(f"{sum(doses):.4g} Gy in all", "radiotherapy", "", usual))
    return findings


def _check_sizes(clinical: Clinical) -> list[Finding]:
    """Weight, height, age and steroids of ``clinical.json``, whose own limits have been kept already."""
    findings = []
    weight, height, age = clinical.weight_kg, clinical.height_m, clinical.age_years

    def unusual(what: str, field: str, usual: str) -> None:
        findings.append(_unusual(what, f"clinical.json, {field}", "", f"{usual} (assumed)"))

    if weight is not None and height is not None:
        index = weight / height**2
        if not BODY_MASS_INDEX[0] <= index <= BODY_MASS_INDEX[1]:
            usual = f"the body mass index is {BODY_MASS_INDEX[0]:g} to {BODY_MASS_INDEX[1]:g} kg/m2, not {index:.0f}"
            unusual(f"{weight:g} kg at {height:g} m", "weight_kg and height_m", usual)
    if age is None or age >= 18:
        for value, name, (low, high), unit in (
            (weight, "weight_kg", ADULT_KG, "kg"),
            (height, "height_m", ADULT_M, "m"),
        ):
            if value is not None and not low <= value <= high:
                unusual(f"{value:g} {unit}", name, f"adults have {low:g} to {high:g} {unit}")
    if age is not None and age > 100:
        unusual(f"an age of {age:g} years", "age_years", "patients are 0 to 100 years old")
    for start, daily in clinical.steroids:
        if daily > DEXAMETHASONE_MG:
            unusual(f"{daily:g} mg of dexamethasone a day from {start:%Y-%m-%d}", "steroids", "2 to 16 mg are given")
    return findings
