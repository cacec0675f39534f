"""Where the tumor is: registration, brain, tissue and tumor, cell density, and the domain it grows in."""

from typing import TYPE_CHECKING

from tumortwin.exports import lazy_exports

if TYPE_CHECKING:
    from tumortwin.geometry.brain.atlas import AtlasOnHead as AtlasOnHead
    from tumortwin.geometry.brain.atlas import register_atlas as register_atlas
    from tumortwin.geometry.brain.tissue import Tissue as Tissue
    from tumortwin.geometry.brain.tissue import classify as classify
    from tumortwin.geometry.displacement import Deformation as Deformation
    from tumortwin.geometry.domain import Domain as Domain
    from tumortwin.geometry.domain_building import brain_domain as brain_domain
    from tumortwin.geometry.domain_building import organ_domain as organ_domain
    from tumortwin.geometry.domain_building import resolution_findings as resolution_findings
    from tumortwin.geometry.editing.hints import Hinted as Hinted
    from tumortwin.geometry.editing.hints import segment_from_box as segment_from_box
    from tumortwin.geometry.editing.hints import segment_from_click as segment_from_click
    from tumortwin.geometry.editing.history import Edited as Edited
    from tumortwin.geometry.editing.refinement import Refinement as Refinement
    from tumortwin.geometry.editing.refinement import refine as refine
    from tumortwin.geometry.editing.strokes import Stroke as Stroke
    from tumortwin.geometry.head import Head as Head
    from tumortwin.geometry.head import normalized as normalized
    from tumortwin.geometry.head import read_head as read_head
    from tumortwin.geometry.measures.cellularity import ADC_WATER as ADC_WATER
    from tumortwin.geometry.measures.cellularity import density_from_adc as density_from_adc
    from tumortwin.geometry.measures.cellularity import noise_of as noise_of
    from tumortwin.geometry.measures.cellularity import smallest_adc as smallest_adc
    from tumortwin.geometry.measures.lesions import Lesion as Lesion
    from tumortwin.geometry.measures.lesions import Lesions as Lesions
    from tumortwin.geometry.measures.lesions import measure_lesions as measure_lesions
    from tumortwin.geometry.measures.outline_density import Cellularity as Cellularity
    from tumortwin.geometry.measures.outline_density import OutlineDensity as OutlineDensity
    from tumortwin.geometry.measures.outline_density import density_from_both as density_from_both
    from tumortwin.geometry.measures.outline_density import density_from_outlines as density_from_outlines
    from tumortwin.geometry.measures.response import Response as Response
    from tumortwin.geometry.measures.response import measure as measure
    from tumortwin.geometry.pose import Aligned as Aligned
    from tumortwin.geometry.pose import given_pose as given_pose
    from tumortwin.geometry.pose import one_frame as one_frame
    from tumortwin.geometry.pose import pose_of as pose_of
    from tumortwin.geometry.registration.deformation import deform as deform
    from tumortwin.geometry.registration.rigid import Registration as Registration
    from tumortwin.geometry.registration.rigid import register as register
    from tumortwin.geometry.registration.small_motion import SmallMotion as SmallMotion
    from tumortwin.geometry.registration.small_motion import small_motion as small_motion
    from tumortwin.geometry.registration.transform_file import read_transform as read_transform
    from tumortwin.geometry.sampling import average as average
    from tumortwin.geometry.sampling import covered as covered
    from tumortwin.geometry.segmentation.consistency import hold_over_visits as hold_over_visits
    from tumortwin.geometry.segmentation.consistency import smooth_over_visits as smooth_over_visits
    from tumortwin.geometry.segmentation.drawn import drawn_tumor as drawn_tumor
    from tumortwin.geometry.segmentation.plausibility import check_drawn as check_drawn
    from tumortwin.geometry.segmentation.regions import Region as Region
    from tumortwin.geometry.segmentation.regions import drawn_regions as drawn_regions
    from tumortwin.geometry.segmentation.tumor import Normalized as Normalized
    from tumortwin.geometry.segmentation.tumor import TumorMasks as TumorMasks
    from tumortwin.geometry.segmentation.tumor import find_tumor as find_tumor
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "brain.atlas": "AtlasOnHead register_atlas",
            "brain.tissue": "Tissue classify",
            "displacement": "Deformation",
            "domain": "Domain",
            "domain_building": "brain_domain organ_domain resolution_findings",
            "editing.hints": "Hinted segment_from_box segment_from_click",
            "editing.refinement": "Refinement refine",
            "editing.history": "Edited",
            "editing.strokes": "Stroke",
            "head": "Head normalized read_head",
            "measures.cellularity": "ADC_WATER density_from_adc noise_of smallest_adc",
            "measures.lesions": "Lesion Lesions measure_lesions",
            "measures.outline_density": "Cellularity OutlineDensity density_from_both density_from_outlines",
            "measures.response": "Response measure",
            "pose": "Aligned given_pose one_frame pose_of",
            "registration.deformation": "deform",
            "registration.rigid": "Registration register",
            "registration.small_motion": "SmallMotion small_motion",
            "registration.transform_file": "read_transform",
            "sampling": "average covered",
            "segmentation.consistency": "hold_over_visits smooth_over_visits",
            "segmentation.drawn": "drawn_tumor",
            "segmentation.plausibility": "check_drawn",
            "segmentation.regions": "Region drawn_regions",
            "segmentation.tumor": "Normalized TumorMasks find_tumor",
        },
        {"Front": "OutlineDensity", "lay_atlas": "register_atlas"},
    )
