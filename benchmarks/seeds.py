"""Small valid files of every kind that is read: what fuzzing starts from."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    SpatialRegistrationStorage,
)

from tumortwin.imaging.nifti import write_nifti
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.header import hashed_uid, item, new_instance, stamp, write_instance
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries
from tumortwin.phantom.treatment_record import write_treatment_record

WHEN = datetime(2024, 1, 23, 9, 30)
GRID = Grid.regular((4, 9, 8), (4.0, 1.5, 1.25), (-20.25, -31.7, 18.9), hashed_uid("seeds", "frame"))

Seed = dict[str, bytes]
"""What lies in a folder, by name; the first file is the one that is spoiled most."""


def make_seeds(folder: Path) -> dict[str, Seed]:
    """Write them below an empty folder, and return their bytes by kind."""
    study = item(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Fuzz^One",
        PatientID="F1",
        PatientBirthDate="",
        PatientSex="F",
        StudyInstanceUID=hashed_uid("seeds", "study"),
        ReferringPhysicianName="",
        AccessionNumber="",
        StudyID="1",
        StudyDescription="Synthetic",
    )
    stamp(study, WHEN, "Study")
    rng = np.random.default_rng(1)

    def series(
        encoding: Encoding,
        sequence: MRSequence = MRSequence.T1GD,
        name: str = "t1_mprage_tra_KM",
        b_value: float | None = None,
    ) -> list[Path]:
        below = folder / f"{sequence} {encoding.name} {b_value}"
        below.mkdir()
        unit, scale = ("mm^2/s", 1e-3) if sequence is MRSequence.ADC else ("a.u.", 1.0)
        signal = (rng.random(GRID.shape) * scale).astype(np.float32)
        made = SyntheticSeries(sequence, Volume(signal, GRID, unit), name, encoding, b_value)
        return write_series(made, study, hashed_uid("seeds", below.name), 2, WHEN, 1.0, below)

    plain, enhanced = series(Encoding.PLAIN), series(Encoding.ENHANCED)
    seeds = {
        "MR, plain": _read(plain),
        "MR, RLE": _read(series(Encoding.RLE)),
        "MR, JPEG-LS": _read(series(Encoding.JPEG_LS)),
        "MR, JPEG 2000": {f: _jpeg2000(c) for f, c in _read(plain).items()},
        "MR, enhanced": _read(enhanced),
        "ADC, plain": _read(series(Encoding.PLAIN, MRSequence.ADC, "ep2d_diff_ADC")),
        "ADC from b-values": _read(
            series(Encoding.PLAIN, MRSequence.DWI, "ep2d_diff_b0", 0.0)
            + series(Encoding.PLAIN, MRSequence.DWI, "ep2d_diff_b1000", 1000.0)
        ),
    }
    for name, syntax in (
        ("implicit", ImplicitVRLittleEndian),
        ("big-endian", ExplicitVRBigEndian),
        ("deflated", DeflatedExplicitVRLittleEndian),
    ):
        seeds[f"MR, {name}"] = {f: _stored(c, syntax) for f, c in _read(plain).items()}
    inside = np.zeros(GRID.shape, bool)
    inside[1:3, 2:7, 2:6] = True
    inside[1, 4, 4] = False
    masks = {"PTV": Mask(inside, GRID)}
    tumor = {"whole tumor": Mask(inside, GRID)}
    for name, files in (("plain", plain), ("enhanced", enhanced)):
        seeds[f"SEG on {name}"] = _read([write_segmentation(tumor, files, folder / f"seg {name}.dcm"), *files])
    structures = write_structures(masks, plain, folder / "struct.dcm")
    plan = write_plan(60.0, 2, structures, folder / "plan.dcm")
    dose = write_dose(TotalDose((inside * 60.0).astype(np.float32), GRID), plan, folder / "dose.dcm")
    wide = write_dose(TotalDose((inside * 60.0).astype(np.float32), GRID), plan, folder / "dose 32.dcm", bits=32)
    header = pydicom.dcmread(plan)
    records = [write_treatment_record(header, k, datetime(2024, 2, k), folder / f"record {k}.dcm") for k in (1, 2)]
    registration = _registration(pydicom.dcmread(plain[0]), folder / "registration.dcm")
    seeds |= {
        "RTSTRUCT": _read([structures, *plain]),
        "RTDOSE, 16 bits": _read([dose, plan]),
        "RTDOSE, 32 bits": _read([wide, plan]),
        "RTPLAN": _read([plan, structures, *records, *plain]),
        "treatment record": _read([*records, plan]),
        "REG": _read([registration, structures, *plain]),
    }
    volume = Volume(rng.random(GRID.shape).astype(np.float32), GRID, "a.u.")
    nifti = write_nifti(volume, folder / "image.nii").read_bytes()
    mask = write_nifti(masks["PTV"], folder / "mask.nii").read_bytes()
    first = nibabel.load(folder / "image.nii")
    nifti2 = nibabel.Nifti2Image(np.asanyarray(first.dataobj), first.affine).to_bytes()
    seeds |= {
        "NIfTI": {"image.nii": nifti},
        "NIfTI, gzip": {"image.nii.gz": gzip.compress(nifti, mtime=0)},
        "NIfTI-2": {"image.nii": nifti2},
        "NIfTI mask": {"mask.nii": mask},
    }
    return seeds


def _read(paths: list[Path]) -> Seed:
    return {f"{k:02d} {path.name}": path.read_bytes() for k, path in enumerate(paths)}


def _saved(data: Dataset) -> bytes:
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _stored(content: bytes, syntax: str) -> bytes:
    """The same in another uncompressed transfer syntax."""
    data = pydicom.dcmread(BytesIO(content))
    data.decode()
    data.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    fresh = Dataset()
    fresh.update(data)
    fresh.file_meta = data.file_meta
    return _saved(fresh)


def _jpeg2000(content: bytes) -> bytes:
    data = pydicom.dcmread(BytesIO(content))
    buffer = BytesIO()
    Image.fromarray(data.pixel_array).save(buffer, "JPEG2000", irreversible=False, no_jp2=True, num_resolutions=1)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return _saved(data)


def _registration(image: Dataset, path: Path) -> Path:
    """A planning CT's frame of reference turned onto the image's."""
    data = new_instance(image, SpatialRegistrationStorage, "REG", "Registration", WHEN, series_number=310)
    data.SeriesInstanceUID, data.SOPInstanceUID = hashed_uid("seeds", "reg"), hashed_uid("seeds", "reg", 1)
    data.FrameOfReferenceUID = image.FrameOfReferenceUID
    stamp(data, WHEN, "Content")
    data.ContentLabel, data.ContentDescription, data.InstanceNumber = "REGISTRATION", "", 1

    def registered(frame: str, matrix: Callable[[], list[float]]) -> Dataset:
        steps = [
            item(
                MatrixSequence=[
                    item(
                        FrameOfReferenceTransformationMatrixType="RIGID", FrameOfReferenceTransformationMatrix=matrix()
                    )
                ]
            )
        ]
        return item(FrameOfReferenceUID=frame, MatrixRegistrationSequence=steps)

    shift = np.eye(4)
    shift[:3, 3] = (1.0, 2.0, 3.0)
    data.RegistrationSequence = [
        registered(str(image.FrameOfReferenceUID), lambda: np.eye(4).ravel().tolist()),
        registered(str(hashed_uid("seeds", "planning CT")), lambda: shift.ravel().tolist()),
    ]
    return write_instance(data, path)
