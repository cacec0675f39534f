"""What could be done: doses to organs, schedules compared, and a search among them."""

from tumortwin.deprecation import renamed
from tumortwin.planning.constraints import (
    BURMAN,
    QUANTEC,
    Complication,
    Constraint,
    ConstraintSet,
    Organ,
    Quantity,
    geud,
    ntcp_lkb,
    organ_named,
    tcp_poisson,
)
from tumortwin.planning.dvh import DoseVolumeHistogram, dose_volume_histogram
from tumortwin.planning.effects import ConstraintCheck, OrganEffect
from tumortwin.planning.given_dose import GivenDose, given_dose
from tumortwin.planning.options import (
    DEFINITIONS,
    Interval,
    Outcome,
    PlanFront,
    PlanOption,
    Source,
    time_to_progression,
)
from tumortwin.planning.plan_front import optimize_dose
from tumortwin.planning.plan_options import PlanOptions
from tumortwin.planning.standard_care import StandardCare, with_care
from tumortwin.therapy.schedule import CLINICAL_SCHEDULES, Prescription, Schedule

__all__ = [
    "BURMAN",
    "CLINICAL_SCHEDULES",
    "DEFINITIONS",
    "QUANTEC",
    "Complication",
    "Constraint",
    "ConstraintCheck",
    "ConstraintSet",
    "DoseVolumeHistogram",
    "GivenDose",
    "Interval",
    "Organ",
    "OrganEffect",
    "Outcome",
    "PlanFront",
    "PlanOption",
    "PlanOptions",
    "Prescription",
    "Quantity",
    "Schedule",
    "Source",
    "StandardCare",
    "dose_volume_histogram",
    "geud",
    "given_dose",
    "ntcp_lkb",
    "optimize_dose",
    "organ_named",
    "tcp_poisson",
    "time_to_progression",
    "with_care",
]

__getattr__ = renamed(__name__, {"Tick": "ConstraintCheck"})
