"""Patients nobody owns: synthetic longitudinal patients, written as real DICOM."""

from tumortwin.phantom.dicom import check_target, write_patient, write_truth
from tumortwin.phantom.patient import SITES, make_patient
from tumortwin.phantom.visits import VISITS, VisitPlan

__all__ = ["SITES", "VISITS", "VisitPlan", "check_target", "make_patient", "write_patient", "write_truth"]
