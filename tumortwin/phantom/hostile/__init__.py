"""Malformed DICOM series with known truth: how each is made, and what a reader's answer to it is worth."""
