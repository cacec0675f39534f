"""Where the tumor is: registration, brain, tissue and tumor, cell density, and the domain it grows in."""

from tumortwin.geometry.brain import AtlasOnHead, lay_atlas
from tumortwin.geometry.cellularity import ADC_WATER, density_from_adc, noise_of, smallest_adc
from tumortwin.geometry.consistency import hold_over_visits, smooth_over_visits
from tumortwin.geometry.deformation import Deformation, deform
from tumortwin.geometry.domain import Domain, brain_domain, organ_domain, resolution_findings
from tumortwin.geometry.drawn import drawn_tumor
from tumortwin.geometry.edges import SmallMotion, small_motion
from tumortwin.geometry.editing import Edited, Stroke
from tumortwin.geometry.head import Head, normalized, read_head
from tumortwin.geometry.hints import Hinted, segment_from_box, segment_from_click
from tumortwin.geometry.lesions import Lesion, Lesions, measure_lesions
from tumortwin.geometry.outline_density import Cellularity, Front, density_from_both, density_from_outlines
from tumortwin.geometry.plausibility import check_drawn
from tumortwin.geometry.pose import Aligned, given_pose, one_frame, pose_of
from tumortwin.geometry.refinement import Refinement, refine
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
    "Cellularity",
    "Deformation",
    "Domain",
    "Edited",
    "Front",
    "Head",
    "Hinted",
    "Lesion",
    "Lesions",
    "Normalized",
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
    "lay_atlas",
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
    "resolution_findings",
    "segment_from_box",
    "segment_from_click",
    "small_motion",
    "smallest_adc",
    "smooth_over_visits",
]
