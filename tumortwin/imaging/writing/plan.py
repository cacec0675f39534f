"""A course of radiotherapy as a DICOM RT Plan that other objects can refer to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage

from tumortwin.errors import InputError
from tumortwin.imaging.writing.header import (
    RESEARCH_USE,
    decimal,
    derived,
    hashed_uid,
    item,
    new_instance,
    reference,
    stamp,
    write_instance,
)
from tumortwin.imaging.writing.source import DicomSource, Source

METERSET_PER_GY = 100.0
"""Monitor units per Gy of the placeholder beam: the usual calibration at depth of maximum dose."""


def write_plan(
    prescribed: float,
    fractions: int,
    structures: DicomSource | Source,
    path: str | os.PathLike[str],
    *,
    target: str = "PTV",
    label: str = "Plan",
    derivation: str = "",
    isocenter: Sequence[float] = (0.0, 0.0, 0.0),
    when: datetime | None = None,
    series_number: int = 303,
    overwrite: bool = False,
) -> Path:
    """Write the skeleton of a plan: prescription, fractions, and one placeholder beam that nobody could deliver.

    Parameters
    ----------
    prescribed : float
        Prescribed total dose in Gy.
    fractions : int
        Number of fractions planned.
    structures : DicomSource, file or header
        The RT Structure Set the plan is made on; a file keeps its identity.
    path : path-like
        The file to write.
    target : str
        Name of the ROI the dose is prescribed to.
    label : str
        RT plan label (cut to 16 characters) and series description.
    derivation : str
        How the course was chosen, for people.
    isocenter : (3,) sequence
        Isocenter (x, y, z) in LPS mm.
    when : datetime, optional
        When it was made; without it, the time of the structure set.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If dose or fractions are not positive, or the structure set has no ROI of the target's name.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    if not prescribed > 0 or fractions < 1:
        raise InputError(f"a plan has a positive dose in one fraction or more, not {prescribed} Gy in {fractions}")
    origin = DicomSource.of(structures)
    header, moment = origin.first, origin.time(when)
    rois = {roi.ROIName: roi.ROINumber for roi in header.get("StructureSetROISequence", ())}
    if target not in rois:
        raise InputError(f"the structure set has no ROI {target!r}: choose the target among {sorted(rois)}")

    dataset = new_instance(header, RTPlanStorage, "RTPLAN", label, moment, series_number=series_number)
    dataset.FrameOfReferenceUID = header.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = ""
    dataset.RTPlanLabel = label[:16]
    dataset.RTPlanDescription = f"Skeleton with a placeholder beam, {RESEARCH_USE}"
    if derivation:
        dataset.RTPlanDescription = derived(f"{derivation}; skeleton with a placeholder beam")
    stamp(dataset, moment, "RTPlan")
    dataset.PlanIntent = "RESEARCH"
    dataset.RTPlanGeometry = "PATIENT"
    dataset.ReferencedStructureSetSequence = [reference(header)]
    dataset.DoseReferenceSequence = [
        item(
            DoseReferenceNumber=1,
            DoseReferenceUID=hashed_uid("dose reference", header.SOPInstanceUID, target),
            DoseReferenceStructureType="VOLUME",
            ReferencedROINumber=rois[target],
            DoseReferenceDescription=target,
            DoseReferenceType="TARGET",
            TargetPrescriptionDose=decimal(prescribed),
        )
    ]
    dose = prescribed / fractions
    dataset.FractionGroupSequence = [
        item(
            FractionGroupNumber=1,
            NumberOfFractionsPlanned=fractions,
            NumberOfBeams=1,
            NumberOfBrachyApplicationSetups=0,
            ReferencedDoseReferenceSequence=[
                item(
                    ReferencedDoseReferenceNumber=1,
                    TargetPrescriptionDose=decimal(prescribed),
                )
            ],
            ReferencedBeamSequence=[
                item(
                    ReferencedBeamNumber=1,
                    BeamDose=decimal(dose),
                    BeamMeterset=decimal(dose * METERSET_PER_GY),
                )
            ],
        )
    ]
    dataset.PatientSetupSequence = [item(PatientSetupNumber=1, PatientPosition="HFS")]
    dataset.BeamSequence = [_placeholder_beam(isocenter)]
    return write_instance(dataset, path, overwrite=overwrite)


def _placeholder_beam(isocenter: Sequence[float]) -> Dataset:
    jaws = [item(RTBeamLimitingDeviceType=kind, NumberOfLeafJawPairs=1) for kind in ("X", "Y")]
    first = item(
        ControlPointIndex=0,
        CumulativeMetersetWeight=0,
        NominalBeamEnergy=6,
        GantryAngle=0,
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle=0,
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle=0,
        PatientSupportRotationDirection="NONE",
        TableTopEccentricAngle=0,
        TableTopEccentricRotationDirection="NONE",
        TableTopVerticalPosition=None,
        TableTopLongitudinalPosition=None,
        TableTopLateralPosition=None,
        IsocenterPosition=[decimal(v) for v in isocenter],
        BeamLimitingDevicePositionSequence=[
            item(RTBeamLimitingDeviceType=kind, LeafJawPositions=[-50, 50]) for kind in ("X", "Y")
        ],
    )
    return item(
        BeamNumber=1,
        BeamName="placeholder",
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentMachineName="NONE",
        PrimaryDosimeterUnit="MU",
        SourceAxisDistance=1000,
        BeamLimitingDeviceSequence=jaws,
        TreatmentDeliveryType="TREATMENT",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        FinalCumulativeMetersetWeight=1,
        NumberOfControlPoints=2,
        ReferencedPatientSetupNumber=1,
        ControlPointSequence=[first, item(ControlPointIndex=1, CumulativeMetersetWeight=1)],
    )
