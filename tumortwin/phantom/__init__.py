"""Patients nobody owns: synthetic longitudinal patients, written as real DICOM."""
