"""A delivered fraction as a DICOM RT Beams Treatment Record: where the dates of a course live."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTBeamsTreatmentRecordStorage
from pydicom.valuerep import DA, TM

from tumortwin.imaging.writing.header import hashed_uid, item, new_instance, reference, stamp, write_instance


def write_treatment_record(plan: Dataset, number: int, when: datetime, path: Path) -> Path:
    """Write the record of one fraction, delivered as planned.

    Parameters
    ----------
    plan : Dataset
        The RT Plan.
    number : int
        Number of the fraction, from 1.
    when : datetime
        When it was given.
    path : Path
        The file to write.
    """
    dataset = new_instance(
        plan, RTBeamsTreatmentRecordStorage, "RTRECORD", "Treatment records", when, series_number=305
    )
    dataset.SeriesInstanceUID = hashed_uid(plan.SOPInstanceUID, "records")
    dataset.SOPInstanceUID = hashed_uid(plan.SOPInstanceUID, "record", number)
    dataset.InstanceNumber = number
    # one series holds all fractions: its date is the plan's
    stamp(dataset, datetime.combine(DA(plan.RTPlanDate), TM(plan.RTPlanTime)), "Series")
    stamp(dataset, when, "Treatment")
    dataset.ReferencedRTPlanSequence = [reference(plan)]
    dataset.TreatmentMachineSequence = [
        item(
            TreatmentMachineName="NONE",
            Manufacturer=dataset.Manufacturer,
            InstitutionName="",
            ManufacturerModelName="",
            DeviceSerialNumber="",
        )
    ]
    group = plan.FractionGroupSequence[0]
    dataset.PrimaryDosimeterUnit = "MU"
    dataset.ReferencedFractionGroupNumber = group.FractionGroupNumber
    dataset.NumberOfFractionsPlanned = group.NumberOfFractionsPlanned
    dataset.TreatmentSessionBeamSequence = [
        _delivered(beam, reference_item.BeamMeterset, number, when)
        for beam, reference_item in zip(plan.BeamSequence, group.ReferencedBeamSequence, strict=True)
    ]
    return write_instance(dataset, path)


def _delivered(beam: Dataset, meterset: object, number: int, when: datetime) -> Dataset:
    first = beam.ControlPointSequence[0]
    points = [
        item(
            ReferencedControlPointIndex=index,
            TreatmentControlPointDate=DA(when.date()),
            TreatmentControlPointTime=TM(when.time()),
            SpecifiedMeterset=done,
            DeliveredMeterset=done,
            DoseRateSet=None,
            DoseRateDelivered=None,
        )
        for index, done in enumerate([0, meterset])
    ]
    points[0].NominalBeamEnergyUnit = "MV"
    for keyword in (
        "NominalBeamEnergy",
        "BeamLimitingDevicePositionSequence",
        "GantryAngle",
        "GantryRotationDirection",
        "BeamLimitingDeviceAngle",
        "BeamLimitingDeviceRotationDirection",
        "PatientSupportAngle",
        "PatientSupportRotationDirection",
        "TableTopEccentricAngle",
        "TableTopEccentricRotationDirection",
        "TableTopVerticalPosition",
        "TableTopLongitudinalPosition",
        "TableTopLateralPosition",
    ):
        points[0][keyword] = first[keyword]
    return item(
        ReferencedBeamNumber=beam.BeamNumber,
        BeamName=beam.BeamName,
        BeamType=beam.BeamType,
        RadiationType=beam.RadiationType,
        TreatmentDeliveryType=beam.TreatmentDeliveryType,
        CurrentFractionNumber=number,
        TreatmentTerminationStatus="NORMAL",
        TreatmentVerificationStatus="",
        SpecifiedPrimaryMeterset=meterset,
        DeliveredPrimaryMeterset=meterset,
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        BeamLimitingDeviceLeafPairsSequence=[
            item(RTBeamLimitingDeviceType=device.RTBeamLimitingDeviceType, NumberOfLeafJawPairs=1)
            for device in beam.BeamLimitingDeviceSequence
        ],
        NumberOfControlPoints=len(points),
        ControlPointDeliverySequence=points,
    )
