"""The names under which values are saved: one table, the only classes that a file can bring in.

A name never changes and is never used again for something else. When a class moves or is renamed, its row here gets the
new place and nothing else changes. A new class that is saved gets a row. Fields, enum values and words that are renamed
are recorded in :mod:`tumortwin.archive.renames`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    # images
    "grid": "tumortwin.imaging.volume:Grid",
    "volume": "tumortwin.imaging.volume:Volume",
    "mask": "tumortwin.imaging.volume:Mask",
    "dose": "tumortwin.imaging.volume:Dose",
    "fraction_dose": "tumortwin.imaging.volume:FractionDose",
    "total_dose": "tumortwin.imaging.volume:TotalDose",
    "mr_sequence": "tumortwin.imaging.sequence:MRSequence",
    "finding": "tumortwin.imaging.findings:Finding",
    "severity": "tumortwin.imaging.findings:Severity",
    "frame_link": "tumortwin.imaging.frame_links:FrameLink",
    "plan_record": "tumortwin.imaging.plan:PlanRecord",
    # patient
    "patient": "tumortwin.patient.timeline:Patient",
    "visit": "tumortwin.patient.timeline:Visit",
    "clinical": "tumortwin.patient.timeline:Clinical",
    "fraction": "tumortwin.therapy.events:Fraction",
    "drug_dose": "tumortwin.therapy.events:DrugDose",
    "dose_unit": "tumortwin.therapy.events:DoseUnit",
    "resection": "tumortwin.therapy.events:Resection",
    "biopsy": "tumortwin.therapy.events:Biopsy",
    "schedule": "tumortwin.therapy.schedule:Schedule",
    # twin
    "twin": "tumortwin.twin.model:Twin",
    "observation": "tumortwin.twin.model:Observation",
    "registration_quality": "tumortwin.twin.model:RegistrationQuality",
    "irradiation": "tumortwin.twin.model:Irradiation",
    "administration": "tumortwin.twin.model:Administration",
    "removal": "tumortwin.twin.model:Removal",
    "domain": "tumortwin.geometry.domain:Domain",
    "deformation": "tumortwin.geometry.displacement:Deformation",
    # calibration and forecast
    "calibration": "tumortwin.calibration.calibration:Calibration",
    "diagnostics": "tumortwin.calibration.calibration:Diagnostics",
    "unknown": "tumortwin.calibration.unknowns:Unknown",
    "scale": "tumortwin.calibration.unknowns:Scale",
    "forecast": "tumortwin.calibration.forecast:Forecast",
    "forecast_field": "tumortwin.calibration.forecast:ForecastField",
    "band": "tumortwin.calibration.forecast:Band",
    "score": "tumortwin.calibration.forecast:Score",
    # plan
    "plan_front": "tumortwin.planning.options:PlanFront",
    "plan_option": "tumortwin.planning.options:PlanOption",
    "option_source": "tumortwin.planning.options:Source",
    "outcome": "tumortwin.planning.options:Outcome",
    "interval": "tumortwin.planning.options:Interval",
    "given_dose": "tumortwin.planning.given_dose:GivenDose",
    "organ_effect": "tumortwin.planning.effects:OrganEffect",
    "constraint_check": "tumortwin.planning.effects:ConstraintCheck",
    "constraint": "tumortwin.planning.constraints:Constraint",
    "constraint_set": "tumortwin.planning.constraints:ConstraintSet",
    "complication": "tumortwin.planning.constraints:Complication",
    "organ": "tumortwin.planning.constraints:Organ",
    "limited_quantity": "tumortwin.planning.constraints:Quantity",
    "dose_volume_histogram": "tumortwin.planning.dvh:DoseVolumeHistogram",
    # board and quality pages
    "board_report": "tumortwin.board.report:BoardReport",
    "scan": "tumortwin.board.values:Scan",
    "scan_role": "tumortwin.board.values:Role",
    "timeline_course": "tumortwin.board.values:TimelineCourse",
    "predicted_volume": "tumortwin.board.values:PredictedVolume",
    "panel": "tumortwin.board.values:Panel",
    "comparison": "tumortwin.board.values:Comparison",
    "method_score": "tumortwin.board.values:MethodScore",
    "option_row": "tumortwin.board.values:OptionRow",
    "organ_dose": "tumortwin.board.values:OrganDose",
    "dvh_curve": "tumortwin.board.values:DvhCurve",
    "parameter": "tumortwin.board.values:Parameter",
    "measure": "tumortwin.board.values:Measure",
    "quality_report": "tumortwin.board.quality.report:QualityReport",
    "visit_quality": "tumortwin.board.quality.content:VisitQuality",
    "picture": "tumortwin.board.quality.content:Picture",
    "plane": "tumortwin.board.cuts:Plane",
}
"""Module and class of each name. Strings, because nothing that is saved may be imported by what saves it."""

_NAME_OF = {place: name for name, place in NAMES.items()}


def name_of(kind: type) -> str | None:
    """Return the stored name of a dataclass or enum; None if it has no row."""
    return _NAME_OF.get(f"{kind.__module__}:{kind.__qualname__}")


def class_of(name: str) -> type | None:
    """Return the dataclass or enum of a stored name, importing its module if needed; None if there is no such row."""
    if name not in NAMES:
        return None
    module, _, qualname = NAMES[name].partition(":")
    kind: type = getattr(importlib.import_module(module), qualname)
    return kind
