"""What was renamed since a format, so that older files are read.

A format is a version of what files hold. Whoever renames a field, an enum value or a word (a key such as "enhancing",
a name such as "threshold_enhancing") adds one line to the last entry of `RENAMES` as long as no version of tumortwin
was released that writes the format after it; else a new entry, which makes a new format. A renamed or moved class needs
only its row in :mod:`tumortwin.archive.names`. A new field of a saved class has a default, which older files get.
``tests/archive`` reads files of every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Renames:
    """What a format calls otherwise than the next one; classes and fields are named here as in the next one.

    Parameters
    ----------
    classes : mapping of str to str
        New name by old name.
    fields : mapping of str to str or None
        New name by "class.old name"; None for a field that is gone.
    values : mapping of str to mapping
        By enum: new value by old value.
    words : mapping of str to mapping
        By "class.field": new word by old word. Every string of the field that equals the old word is replaced, in
        tuples and mappings too (keys included), but not in the dataclasses that it holds.
    """

    classes: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str | None] = field(default_factory=dict)
    values: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


FORMAT_1_CLASSES = {
    "tumortwin.board.quality:Picture": "picture",
    "tumortwin.board.quality:QualityReport": "quality_report",
    "tumortwin.board.quality:VisitQuality": "visit_quality",
    "tumortwin.board.report:BoardReport": "board_report",
    "tumortwin.board.slices:Plane": "plane",
    "tumortwin.board.values:Band": "predicted_volume",
    "tumortwin.board.values:Comparison": "comparison",
    "tumortwin.board.values:Course": "timeline_course",
    "tumortwin.board.values:DvhCurve": "dvh_curve",
    "tumortwin.board.values:Interval": "interval",
    "tumortwin.board.values:Measure": "measure",
    "tumortwin.board.values:OrganDose": "organ_dose",
    "tumortwin.board.values:Panel": "panel",
    "tumortwin.board.values:Parameter": "parameter",
    "tumortwin.board.values:PlanOption": "option_row",
    "tumortwin.board.values:Role": "scan_role",
    "tumortwin.board.values:Scan": "scan",
    "tumortwin.board.values:Score": "method_score",
    "tumortwin.calibration.calibration:Calibration": "calibration",
    "tumortwin.calibration.calibration:Diagnostics": "diagnostics",
    "tumortwin.calibration.forecast:Band": "band",
    "tumortwin.calibration.forecast:Forecast": "forecast",
    "tumortwin.calibration.forecast:ForecastField": "forecast_field",
    "tumortwin.calibration.unknowns:Scale": "scale",
    "tumortwin.calibration.unknowns:Unknown": "unknown",
    "tumortwin.geometry.deformation:Deformation": "deformation",
    "tumortwin.geometry.domain:Domain": "domain",
    "tumortwin.imaging.findings:Finding": "finding",
    "tumortwin.imaging.findings:Severity": "severity",
    "tumortwin.imaging.plan:PlanRecord": "plan_record",
    "tumortwin.imaging.sequence:Sequence": "mr_sequence",
    "tumortwin.imaging.spatial_registration:FrameLink": "frame_link",
    "tumortwin.imaging.volume:Dose": "dose",
    "tumortwin.imaging.volume:FractionDose": "fraction_dose",
    "tumortwin.imaging.volume:Grid": "grid",
    "tumortwin.imaging.volume:Mask": "mask",
    "tumortwin.imaging.volume:TotalDose": "total_dose",
    "tumortwin.imaging.volume:Volume": "volume",
    "tumortwin.patient.timeline:Clinical": "clinical",
    "tumortwin.patient.timeline:Patient": "patient",
    "tumortwin.patient.timeline:Visit": "visit",
    "tumortwin.planning.constraints:Complication": "complication",
    "tumortwin.planning.constraints:Constraint": "constraint",
    "tumortwin.planning.constraints:Organ": "organ",
    "tumortwin.planning.constraints:Quantity": "limited_quantity",
    "tumortwin.planning.dvh:DoseVolumeHistogram": "dose_volume_histogram",
    "tumortwin.planning.options:Interval": "interval",
    "tumortwin.planning.options:OrganEffect": "organ_effect",
    "tumortwin.planning.options:Outcome": "outcome",
    "tumortwin.planning.options:PlanFront": "plan_front",
    "tumortwin.planning.options:PlanOption": "plan_option",
    "tumortwin.planning.options:Source": "option_source",
    "tumortwin.planning.options:Tick": "constraint_check",
    "tumortwin.therapy.events:Biopsy": "biopsy",
    "tumortwin.therapy.events:DoseUnit": "dose_unit",
    "tumortwin.therapy.events:DrugDose": "drug_dose",
    "tumortwin.therapy.events:Fraction": "fraction",
    "tumortwin.therapy.events:Resection": "resection",
    "tumortwin.therapy.schedule:Schedule": "schedule",
    "tumortwin.twin.model:Administration": "administration",
    "tumortwin.twin.model:Irradiation": "irradiation",
    "tumortwin.twin.model:Observation": "observation",
    "tumortwin.twin.model:RegistrationQuality": "registration_quality",
    "tumortwin.twin.model:Removal": "removal",
    "tumortwin.twin.model:Twin": "twin",
}
"""What 0.1.0 called the classes that it could save: their places at that time. Never changes."""

RENAMES: tuple[Renames, ...] = (
    # format 1, written by 0.1.0
    Renames(
        classes=FORMAT_1_CLASSES,
        fields={"diagnostics.kappa": "voxels_per_sample", "organ_effect.ticks": "checks"},
        words={
            **{
                place: {"enhancing": "core"}
                for place in (
                    "forecast.volumes",
                    "forecast.thresholds",
                    "forecast_field.probability",
                    "outcome.volumes_ml",
                    "diagnostics.sigma",
                    "diagnostics.reduced_chi2",
                    "scan.volumes_ml",
                    "panel.outlines",
                    "panel.predicted",
                    "predicted_volume.quantity",
                    "comparison.quantity",
                    "method_score.quantity",
                )
            },
            **{
                place: {"threshold_enhancing": "threshold_core", "reader_enhancing": "reader_core"}
                for place in ("unknown.name", "calibration.fitted", "parameter.name")
            },
        },
    ),
)
"""From each format to the next, the oldest first."""

FORMAT = len(RENAMES) + 1
"""The format that is written now."""


def upgraded(tree: Any, version: int) -> Any:
    """Convert a tree of an older format to the current format.

    Parameters
    ----------
    tree : JSON value
        What a file holds; malformed parts stay as they are.
    version : int
        Its format, 1 to `FORMAT`.
    """
    for step in RENAMES[version - 1 :]:
        tree = _renamed(tree, step)
    return tree


def _renamed(node: Any, step: Renames) -> Any:
    match node:
        case {"dataclass": str(name), "fields": dict(old)}:
            name, new = step.classes.get(name, name), {}
            for key, value in old.items():
                field_name = step.fields.get(f"{name}.{key}", key)
                if field_name is not None:
                    words = step.words.get(f"{name}.{field_name}", {})
                    new[field_name] = _reworded(_renamed(value, step), words)
            return {"dataclass": name, "fields": new}
        case {"enum": str(name), "is": str() | int() as value}:
            name = step.classes.get(name, name)
            return {"enum": name, "is": step.values.get(name, {}).get(value, value)}
        case {"tuple": content} | {"mapping": content}:
            return {next(iter(node)): _renamed(content, step)}
        case list():
            return [_renamed(item, step) for item in node]
    return node


def _reworded(node: Any, words: Mapping[str, str]) -> Any:
    match node:
        case str():
            return words.get(node, node)
        case {"tuple": content} | {"mapping": content}:
            return {next(iter(node)): _reworded(content, words)}
        case list():
            return [_reworded(item, words) for item in node]
    return node
