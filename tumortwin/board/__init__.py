"""What people decide from: charts, slices, and one report in several formats."""

from tumortwin.board.export import DicomExport, export_dicom
from tumortwin.board.overlays import save_overlays
from tumortwin.board.quality.report import QualityReport
from tumortwin.board.record import record_of, write_forecast, write_record
from tumortwin.board.report import BoardReport

__all__ = [
    "BoardReport",
    "DicomExport",
    "QualityReport",
    "export_dicom",
    "record_of",
    "save_overlays",
    "write_forecast",
    "write_record",
]
