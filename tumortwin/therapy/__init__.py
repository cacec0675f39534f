"""What treatment does: dated radiotherapy, drugs and surgery, and their effects."""

from tumortwin.therapy.drugs import (
    DRUGS,
    Drug,
    SurfaceFormula,
    body_surface_area,
    convert_amount,
    drug_named,
    stupp_temozolomide,
)
from tumortwin.therapy.events import Biopsy, DoseUnit, DrugDose, Fraction, Resection, Treatment
from tumortwin.therapy.linear_quadratic import (
    LARGE_FRACTION_GY,
    bed,
    bed_incomplete_repair,
    bed_to_eqd2,
    dose_per_fraction_of_bed,
    eqd2,
    incomplete_repair,
    large_fraction_findings,
    lea_catcheside,
    survival,
    survival_lql,
)
from tumortwin.therapy.schedule import CLINICAL_SCHEDULES, Prescription, Schedule, weekday_times

__all__ = [
    "CLINICAL_SCHEDULES",
    "DRUGS",
    "LARGE_FRACTION_GY",
    "Biopsy",
    "DoseUnit",
    "Drug",
    "DrugDose",
    "Fraction",
    "Prescription",
    "Resection",
    "Schedule",
    "SurfaceFormula",
    "Treatment",
    "bed",
    "bed_incomplete_repair",
    "bed_to_eqd2",
    "body_surface_area",
    "convert_amount",
    "dose_per_fraction_of_bed",
    "drug_named",
    "eqd2",
    "incomplete_repair",
    "large_fraction_findings",
    "lea_catcheside",
    "stupp_temozolomide",
    "survival",
    "survival_lql",
    "weekday_times",
]
