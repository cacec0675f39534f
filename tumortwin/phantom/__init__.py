"""Patients nobody owns: synthetic longitudinal patients, written as real DICOM."""

from tumortwin.phantom.patient import SITES, VISITS, VisitPlan, make_patient

__all__ = ["SITES", "VISITS", "VisitPlan", "make_patient"]
