"""Who was scanned and treated, and when: the patient's timeline."""

from tumortwin.patient.clinical import ClinicalFile, read_clinical
from tumortwin.patient.intake import scan_patient
from tumortwin.patient.reading import patient_of, read_patient
from tumortwin.patient.timeline import Clinical, Patient, Visit

__all__ = [
    "Clinical",
    "ClinicalFile",
    "Patient",
    "Visit",
    "patient_of",
    "read_clinical",
    "read_patient",
    "scan_patient",
]
