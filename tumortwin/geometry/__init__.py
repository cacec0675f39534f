"""Where the tumor is: registration, brain, tissue and tumor, cell density, and the domain it grows in."""

from tumortwin.geometry.brain import AtlasOnHead, lay_atlas
from tumortwin.geometry.cellularity import ADC_WATER, density_from_adc, noise_of, smallest_adc
from tumortwin.geometry.consistency import hold_over_visits, smooth_over_visits
from tumortwin.geometry.domain import Domain
from tumortwin.geometry.head import Head, normalized, pose_of, read_head
from tumortwin.geometry.plausibility import check_drawn
from tumortwin.geometry.regions import Region, drawn_regions
from tumortwin.geometry.registration import Registration, register
from tumortwin.geometry.response import Response, measure
from tumortwin.geometry.sampling import average, covered
from tumortwin.geometry.tissue import Tissue, classify
from tumortwin.geometry.tumor import Normalized, TumorMasks, find_tumor

__all__ = [
    "ADC_WATER",
    "AtlasOnHead",
    "Domain",
    "Head",
    "Normalized",
    "Region",
    "Registration",
    "Response",
    "Tissue",
    "TumorMasks",
    "average",
    "check_drawn",
    "classify",
    "covered",
    "density_from_adc",
    "drawn_regions",
    "find_tumor",
    "hold_over_visits",
    "lay_atlas",
    "measure",
    "noise_of",
    "normalized",
    "pose_of",
    "read_head",
    "register",
    "smallest_adc",
    "smooth_over_visits",
]
