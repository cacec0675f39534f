"""A patient on one grid and one clock: Domain, Observations and therapy events; build_twin makes it from a Patient."""

from tumortwin.twin.build import build_twin
from tumortwin.twin.model import Administration, Irradiation, Observation, RegistrationQuality, Removal, Twin
from tumortwin.twin.options import BuildOptions

__all__ = [
    "Administration",
    "BuildOptions",
    "Irradiation",
    "Observation",
    "RegistrationQuality",
    "Removal",
    "Twin",
    "build_twin",
]
