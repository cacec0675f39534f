"""A document as a DICOM Encapsulated PDF."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from pydicom.uid import EncapsulatedPDFStorage
from pydicom.valuerep import DT

from tumortwin.errors import InputError
from tumortwin.imaging.writing.header import new_instance, reference, stamp, write_instance
from tumortwin.imaging.writing.source import DicomSource, Source


def write_pdf(
    document: bytes,
    source: DicomSource | Source,
    path: str | os.PathLike[str],
    *,
    title: str,
    when: datetime | None = None,
    series_number: int = 308,
    overwrite: bool = False,
) -> Path:
    """Write a PDF into the study of its source.

    Parameters
    ----------
    document : bytes
        The PDF. What it shows is not looked at: a page for a de-identified study must not name the patient.
    source : DicomSource, file or header
        An image (or images) of the study; a file keeps its identity.
    path : path-like
        The file to write.
    title : str
        Document title, and series description.
    when : datetime, optional
        When it was made; without it, the time of the latest source.
    series_number : int
        Number of the new series.
    overwrite : bool
        Replace a file that is there already.

    Raises
    ------
    InputError
        If the document is no PDF.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    if not document.startswith(b"%PDF-"):
        raise InputError(f"the document is no PDF: it begins with {document[:8]!r}")
    origin = DicomSource.of(source)
    moment = origin.time(when)
    dataset = new_instance(origin.first, EncapsulatedPDFStorage, "DOC", title, moment, series_number=series_number)
    del dataset.OperatorsName
    stamp(dataset, moment, "Content")
    dataset.AcquisitionDateTime = DT(moment)
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.DocumentTitle = dataset.SeriesDescription
    dataset.ConceptNameCodeSequence = []
    sources = [reference(header) for header in origin.headers if "SOPInstanceUID" in header]
    if sources:
        dataset.SourceInstanceSequence = sources
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return write_instance(dataset, path, overwrite=overwrite)
