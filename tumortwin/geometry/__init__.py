"""Where the tumor is: registration, brain, tissue and tumor, cell density, and the domain it grows in."""

from tumortwin.geometry.brain import AtlasOnHead, lay_atlas
from tumortwin.geometry.cellularity import ADC_WATER, density_from_adc, noise_of, smallest_adc
from tumortwin.geometry.domain import Domain
from tumortwin.geometry.head import Head, normalized, pose_of, read_head
from tumortwin.geometry.lesions import Lesion, Lesions, measure_lesions
from tumortwin.geometry.outlines import Cellularity, Front, density_from_both, density_from_outlines
from tumortwin.geometry.regions import Region, drawn_regions
from tumortwin.geometry.registration import Registration, register
from tumortwin.geometry.response import Response, measure
from tumortwin.geometry.sampling import average, covered
from tumortwin.geometry.tissue import Tissue, classify
from tumortwin.geometry.tumor import Normalized, TumorMasks, find_tumor

__all__ = [
    "ADC_WATER",
    "AtlasOnHead",
    "Cellularity",
    "Domain",
    "Front",
    "Head",
    "Lesion",
    "Lesions",
    "Normalized",
    "Region",
    "Registration",
    "Response",
    "Tissue",
    "TumorMasks",
    "average",
    "classify",
    "covered",
    "density_from_adc",
    "density_from_both",
    "density_from_outlines",
    "drawn_regions",
    "find_tumor",
    "lay_atlas",
    "measure",
    "measure_lesions",
    "noise_of",
    "normalized",
    "pose_of",
    "read_head",
    "register",
    "smallest_adc",
]
