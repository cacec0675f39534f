"""Where the tumor is: registration, brain, tissue and tumor, cell density, and the domain it grows in."""

from tumortwin.deprecation import renamed
from tumortwin.geometry.brain.atlas import AtlasOnHead, register_atlas
from tumortwin.geometry.brain.tissue import Tissue, classify
from tumortwin.geometry.displacement import Deformation
from tumortwin.geometry.domain import Domain, brain_domain, organ_domain, resolution_findings
from tumortwin.geometry.editing.hints import Hinted, segment_from_box, segment_from_click
from tumortwin.geometry.editing.history import Edited
from tumortwin.geometry.editing.refinement import Refinement, refine
from tumortwin.geometry.editing.strokes import Stroke
from tumortwin.geometry.head import Head, normalized, read_head
from tumortwin.geometry.measures.cellularity import ADC_WATER, density_from_adc, noise_of, smallest_adc
from tumortwin.geometry.measures.lesions import Lesion, Lesions, measure_lesions
from tumortwin.geometry.measures.outline_density import (
    Cellularity,
    OutlineDensity,
    density_from_both,
    density_from_outlines,
)
from tumortwin.geometry.measures.response import Response, measure
from tumortwin.geometry.pose import Aligned, given_pose, one_frame, pose_of
from tumortwin.geometry.registration.deformation import deform
from tumortwin.geometry.registration.rigid import Registration, register
from tumortwin.geometry.registration.small_motion import SmallMotion, small_motion
from tumortwin.geometry.registration.transform_file import read_transform
from tumortwin.geometry.sampling import average, covered
from tumortwin.geometry.segmentation.consistency import hold_over_visits, smooth_over_visits
from tumortwin.geometry.segmentation.drawn import drawn_tumor
from tumortwin.geometry.segmentation.plausibility import check_drawn
from tumortwin.geometry.segmentation.regions import Region, drawn_regions
from tumortwin.geometry.segmentation.tumor import Normalized, TumorMasks, find_tumor

__all__ = [
    "ADC_WATER",
    "Aligned",
    "AtlasOnHead",
    "Cellularity",
    "Deformation",
    "Domain",
    "Edited",
    "Head",
    "Hinted",
    "Lesion",
    "Lesions",
    "Normalized",
    "OutlineDensity",
    "Refinement",
    "Region",
    "Registration",
    "Response",
    "SmallMotion",
    "Stroke",
    "Tissue",
    "TumorMasks",
    "average",
    "brain_domain",
    "check_drawn",
    "classify",
    "covered",
    "deform",
    "density_from_adc",
    "density_from_both",
    "density_from_outlines",
    "drawn_regions",
    "drawn_tumor",
    "find_tumor",
    "given_pose",
    "hold_over_visits",
    "measure",
    "measure_lesions",
    "noise_of",
    "normalized",
    "one_frame",
    "organ_domain",
    "pose_of",
    "read_head",
    "read_transform",
    "refine",
    "register",
    "register_atlas",
    "resolution_findings",
    "segment_from_box",
    "segment_from_click",
    "small_motion",
    "smallest_adc",
    "smooth_over_visits",
]

__getattr__ = renamed(__name__, {"Front": "OutlineDensity", "lay_atlas": "register_atlas"})
