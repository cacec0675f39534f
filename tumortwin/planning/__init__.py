"""What could be done: doses to organs, schedules compared, and a search among them."""

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

__all__ = [
    "BURMAN",
    "QUANTEC",
    "Complication",
    "Constraint",
    "ConstraintSet",
    "DoseVolumeHistogram",
    "Organ",
    "Quantity",
    "dose_volume_histogram",
    "geud",
    "ntcp_lkb",
    "organ_named",
    "tcp_poisson",
]
