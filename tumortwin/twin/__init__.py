"""A patient on one grid and one clock: Domain, Observations and therapy events; build_twin makes it from a Patient."""

from typing import TYPE_CHECKING

from tumortwin.exports import lazy_exports

if TYPE_CHECKING:
    from tumortwin.twin.build import build_twin as build_twin
    from tumortwin.twin.model import Administration as Administration
    from tumortwin.twin.model import Irradiation as Irradiation
    from tumortwin.twin.model import Observation as Observation
    from tumortwin.twin.model import RegistrationQuality as RegistrationQuality
    from tumortwin.twin.model import Removal as Removal
    from tumortwin.twin.model import Twin as Twin
    from tumortwin.twin.options import BuildOptions as BuildOptions
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "build": "build_twin",
            "model": "Administration Irradiation Observation RegistrationQuality Removal Twin",
            "options": "BuildOptions",
        },
    )
