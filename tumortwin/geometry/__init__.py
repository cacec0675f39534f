"""Where the tumor is: registration, brain, tissue and tumor, cell density, and the domain it grows in."""

from tumortwin.geometry.brain import AtlasOnHead, lay_atlas
from tumortwin.geometry.cellularity import ADC_WATER, density_from_adc, noise_of, smallest_adc
from tumortwin.geometry.deformation import Deformation, deform
from tumortwin.geometry.domain import Domain
from tumortwin.geometry.edges import SmallMotion, small_motion
from tumortwin.geometry.head import Head, normalized, read_head
from tumortwin.geometry.pose import Aligned, given_pose, one_frame, pose_of
from tumortwin.geometry.regions import Region, drawn_regions
from tumortwin.geometry.registration import Registration, register
from tumortwin.geometry.response import Response, measure
from tumortwin.geometry.sampling import average, covered
from tumortwin.geometry.tissue import Tissue, classify
from tumortwin.geometry.transform_file import read_transform
from tumortwin.geometry.tumor import Normalized, TumorMasks, find_tumor

__all__ = [
    "ADC_WATER",
    "Aligned",
    "AtlasOnHead",
    "Deformation",
    "Domain",
    "Head",
    "Normalized",
    "Region",
    "Registration",
    "Response",
    "SmallMotion",
    "Tissue",
    "TumorMasks",
    "average",
    "classify",
    "covered",
    "deform",
    "density_from_adc",
    "drawn_regions",
    "find_tumor",
    "given_pose",
    "lay_atlas",
    "measure",
    "noise_of",
    "normalized",
    "one_frame",
    "pose_of",
    "read_head",
    "read_transform",
    "register",
    "small_motion",
    "smallest_adc",
]
