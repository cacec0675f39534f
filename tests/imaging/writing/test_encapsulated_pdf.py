import subprocess
from pathlib import Path
from shutil import which

import pydicom
import pytest
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from tumortwin.errors import InputError
from tumortwin.imaging.writing.encapsulated_pdf import write_pdf


@pytest.fixture
def document(tmp_path: Path) -> bytes:
    figure = Figure()
    figure.text(0.1, 0.5, "tumor of 42.7 mL")
    with PdfPages(tmp_path / "page.pdf", metadata={"CreationDate": None}) as pages:
        pages.savefig(figure)
    content = (tmp_path / "page.pdf").read_bytes()
    return content if len(content) % 2 else content + b"\n"  # of odd length, which DICOM does not know


def test_the_document_comes_back(document, image_files, dicom_errors, tmp_path):
    path = write_pdf(document, image_files, tmp_path / "board.dcm", title="Tumor board")
    assert dicom_errors(path) == []
    dataset = pydicom.dcmread(path)
    assert len(dataset.EncapsulatedDocument) % 2 == 0
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == document
    assert dataset.DocumentTitle == "Tumor board, research use only"
    first = pydicom.dcmread(image_files[0])
    assert dataset.StudyInstanceUID == first.StudyInstanceUID
    assert dataset.SourceInstanceSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID


@pytest.mark.skipif(which("pdftotext") is None, reason="needs pdftotext: apt install poppler-utils")
def test_pdftotext_reads_it(document, image_files, tmp_path):
    dataset = pydicom.dcmread(write_pdf(document, image_files[0], tmp_path / "board.dcm", title="Tumor board"))
    run = subprocess.run(["pdftotext", "-", "-"], input=dataset.EncapsulatedDocument, capture_output=True, check=True)
    assert run.stdout.decode().strip() == "tumor of 42.7 mL"


def test_equal_input_gives_equal_bytes(document, image_files, tmp_path):
    one, two = (write_pdf(document, image_files, tmp_path / name, title="Page") for name in ("a.dcm", "b.dcm"))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_no_pdf_is_refused(image_files, tmp_path):
    with pytest.raises(InputError, match="no PDF: it begins with b'<!DOCTYP'"):
        write_pdf(b"<!DOCTYPE html>", image_files, tmp_path / "x.dcm", title="Page")
