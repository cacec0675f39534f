"""A synthetic patient as a folder of DICOM files, and its truth beside it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from tumortwin import archive
from tumortwin.arguments import require_path
from tumortwin.errors import InputError, OutputExistsError
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.outputs import new_file
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import SyntheticPatient, SyntheticVisit
from tumortwin.phantom.treatment_record import write_treatment_record
from tumortwin.progress import Progress, silent
from tumortwin.therapy.events import Biopsy, DrugDose, Fraction, Resection

SERIES_INTERVAL = timedelta(minutes=5)
"""From the start of one series of a visit to the next."""

NOTICE = "ANATOMY-NOTICE.txt"
"""Name of the licence notice beside a patient's folder: one that no other file is likely to have."""


def write_patient(
    synthetic: SyntheticPatient, folder: str | os.PathLike[str], *, overwrite: bool = False, progress: Progress = silent
) -> Path:
    """Write a patient as DICOM, as a scanner, an expert and a planning system would have.

    ``<folder>/<id>/<visit>/<series>/IM0001.dcm`` ... are the MR series, with an expert's SEG where there is one;
    ``<folder>/<id>/rt`` holds RTSTRUCT, RTPLAN, RTDOSE and one treatment record for each fraction;
    ``<folder>/<id>/clinical.json`` what DICOM does not carry. The licence notice of the anatomy lies in `folder`. Equal
    patients give equal bytes.

    Parameters
    ----------
    synthetic : SyntheticPatient
        What to write. Structures that are empty are left out.
    folder : path-like
        Where the patient's folder is made.
    overwrite : bool
        Replace the patient's folder if it is there already.
    progress : Progress
        Told of each series.

    Returns
    -------
    Path
        The patient's folder.

    Raises
    ------
    InputError
        If something cannot be written as DICOM.
    OutputExistsError
        If the patient's folder exists and `overwrite` is false.
    """
    target = Path(folder) / synthetic.id
    total = sum(len(visit.series) for visit in synthetic.visits) + 1
    root = _fingerprint(synthetic)
    with _new_folder(target, overwrite=overwrite) as temporary:
        done = 0
        planning: list[Path] = []
        for index, visit in enumerate(synthetic.visits):
            study = _study(synthetic, visit, root)
            place = temporary / _file_name(f"{index}-{visit.label}")
            written: dict[MRSequence, list[Path]] = {}
            for number, series in enumerate(visit.series, 1):
                progress(done, total, "writing DICOM")
                brightest = max(float(s.volume.array.max()) for s in visit.series if s.sequence is series.sequence)
                written[series.sequence] = write_series(
                    series,
                    study,
                    hashed_uid(root, index, number),
                    number,
                    visit.date + (number - 1) * SERIES_INTERVAL,
                    brightest,
                    place / _file_name(f"{number:02d}-{series.description}"),
                )
                done += 1
            if visit.expert:
                write_segmentation(
                    visit.expert,
                    written[MRSequence.T1GD],
                    place / "segmentation" / "SEG.dcm",
                    description="Expert segmentation (synthetic)",
                )
            if index == synthetic.planning_visit:
                planning = written[MRSequence.T1GD]
        progress(done, total, "writing DICOM")
        _write_radiotherapy(synthetic, planning, temporary / "rt")
        with new_file(temporary / "clinical.json") as file:
            content = {**clinical_json(synthetic), "identity_removed": True}  # nobody's
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if not (Path(folder) / NOTICE).exists():
        with new_file(Path(folder) / NOTICE) as file:
            file.write_text(
                files("tumortwin.phantom").joinpath("data", "NOTICE.txt").read_text(encoding="utf-8"), encoding="utf-8"
            )
    progress(total, total, "writing DICOM")
    return target


def write_truth(synthetic: SyntheticPatient, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write what a fit should find, to ``<folder>/truth/<id>``.

    ``truth.json`` holds the numbers and the transforms; each density field, mask or map is one ``<name>.npz`` for
    :func:`tumortwin.archive.load` (a Volume or Mask; fields in half precision).

    Raises
    ------
    OutputExistsError
        If the folder exists and `overwrite` is false.
    """
    target = Path(folder) / "truth" / synthetic.id
    numbers = {
        **synthetic.truth,
        "transforms": {label: np.asarray(m).tolist() for label, m in synthetic.truth_transforms.items()},
    }
    with _new_folder(target, overwrite=overwrite) as temporary:
        with new_file(temporary / "truth.json") as file:
            file.write_text(json.dumps(numbers, indent=1, default=str) + "\n", encoding="utf-8")
        for name, volume in synthetic.truth_arrays.items():
            archive.save(_compact(volume), temporary / f"{_file_name(name)}.npz")
    return target


def clinical_json(synthetic: SyntheticPatient) -> dict[str, Any]:
    """Build the content of ``clinical.json``: the clinical numbers, surgery, and drugs grouped by dose."""
    drugs: dict[tuple[str, float, str], list[str]] = {}
    surgery = []
    for event in synthetic.treatments:
        if isinstance(event, DrugDose):
            drugs.setdefault((event.drug, event.amount, str(event.unit)), []).append(event.time.isoformat())
        elif isinstance(event, Biopsy | Resection):
            surgery.append({"time": event.time.isoformat(), "kind": type(event).__name__.lower()})
    return {
        "schema": "tumortwin-clinical-1",
        "patient_id": synthetic.id,
        **synthetic.clinical,
        "surgery": surgery,
        "drugs": [
            {"drug": drug, "amount": amount, "unit": unit, "times": times}
            for (drug, amount, unit), times in drugs.items()
        ],
    }


def _fingerprint(synthetic: SyntheticPatient) -> str:
    """Compute a hash of everything that is written; all identifiers are made from it, so unlike patients share none."""
    digest = hashlib.sha256(json.dumps([synthetic.id, synthetic.seed, clinical_json(synthetic)]).encode())
    volumes = [s.volume for visit in synthetic.visits for s in visit.series]
    volumes += [mask for visit in synthetic.visits for mask in visit.expert.values()]
    volumes += [*synthetic.structures.values(), *([synthetic.dose] if synthetic.dose else [])]
    for volume in volumes:
        digest.update(volume.array.tobytes())
        digest.update(volume.affine.tobytes())
    digest.update(repr([(visit.date, visit.label) for visit in synthetic.visits]).encode())
    return digest.hexdigest()


def _study(synthetic: SyntheticPatient, visit: SyntheticVisit, root: str) -> Dataset:
    """Patient and study attributes of one visit."""
    clinical = synthetic.clinical
    study = item(
        SpecificCharacterSet="ISO_IR 192",
        PatientName=f"Phantom^{synthetic.id}",
        PatientID=synthetic.id,
        PatientBirthDate="",
        PatientSex="O",
        PatientComments="Synthetic patient: nobody's data. Research use only.",
        StudyInstanceUID=hashed_uid(root, visit.label, visit.date),
        ReferringPhysicianName="",
        AccessionNumber="",
        StudyID=visit.label[:16],
        StudyDescription=f"Synthetic glioblastoma, {visit.label}, research use only"[:64],
    )
    stamp(study, visit.date, "Study")
    if "age_years" in clinical:
        study.PatientAge = f"{int(clinical['age_years']):03d}Y"
    if "weight_kg" in clinical:
        study.PatientWeight = clinical["weight_kg"]
    if "height_m" in clinical:
        study.PatientSize = clinical["height_m"]
    return study


def _write_radiotherapy(synthetic: SyntheticPatient, images: list[Path], folder: Path) -> None:
    """Structures, plan, dose and treatment records, all in the study of the planning visit."""
    structures = {name: mask for name, mask in synthetic.structures.items() if mask.array.any()}
    fractions = sorted(e.time for e in synthetic.treatments if isinstance(e, Fraction))
    if not structures:
        if fractions or synthetic.dose:
            raise InputError("a course of radiotherapy needs structures to be planned on")
        return
    drawn = synthetic.visits[synthetic.planning_visit].date + timedelta(days=2)
    struct = write_structures(structures, images, folder / "RTSTRUCT.dcm", label="MR-only planning", when=drawn)
    if not fractions:
        return
    target = next((name for name in ("PTV", "CTV", "GTV") if name in structures), next(iter(structures)))
    plan = write_plan(
        synthetic.prescribed,
        len(fractions),
        struct,
        folder / "RTPLAN.dcm",
        target=target,
        label=f"{synthetic.prescribed:g} Gy / {len(fractions)}",
        isocenter=_middle(structures[target]),
        when=drawn + timedelta(days=1),
    )
    if synthetic.dose:
        write_dose(synthetic.dose, plan, folder / "RTDOSE.dcm", description="Planned dose")
    header = pydicom.dcmread(plan)
    for number, time in enumerate(fractions, 1):
        write_treatment_record(header, number, time, folder / "records" / f"RT{number:04d}.dcm")


def _middle(mask: Mask) -> list[float]:
    """World point of a mask's center of mass, to a tenth of a mm."""
    return [round(float(v), 1) for v in mask.grid.to_world(np.argwhere(mask.array).mean(axis=0))]


def _compact(volume: Volume) -> Volume:
    """Convert a volume of numbers to half precision where they fit; keep masks and whole numbers as they are."""
    if not np.issubdtype(volume.array.dtype, np.floating):
        return volume
    if float(np.abs(volume.array).max()) > float(np.finfo(np.float16).max):
        return volume.with_array(volume.array.astype(np.float32))
    return volume.with_array(volume.array.astype(np.float16))


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def check_target(folder: str | os.PathLike[str], id: str, *, overwrite: bool = False) -> None:
    """Refuse a place that a patient cannot be written to, before the patient is made. Nothing is left there.

    Parameters
    ----------
    folder : path-like
        Where the patient's folder is made, and that of its truth.
    id : str
        Patient ID.
    overwrite : bool
        Replace what a phantom wrote there.

    Raises
    ------
    InputError
        If the ID cannot name a folder, or `folder` cannot be written.
    OutputExistsError
        If a patient or truth of this ID is there and `overwrite` is false, or holds other files.
    """
    require_path(folder, "a phantom takes a folder to write to")
    if not isinstance(id, str) or not re.fullmatch(r"[^\W_][\w .-]{0,63}", id) or id != id.strip():
        raise InputError(
            f"the patient ID {id!r} names a folder: give letters, digits, '-', '_', '.' and spaces, at most 64"
        )
    for target in (Path(folder) / id, Path(folder) / "truth" / id):
        _check_new(target, overwrite)
    there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".phantom-", dir=there):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): name a folder elsewhere") from error


def _check_new(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise OutputExistsError(f"{target} is there already: choose another folder, or ask to overwrite (--force)")
    strange = [p for p in target.rglob("*") if p.is_file() and p.suffix not in (".dcm", ".json", ".npz")]
    if not target.is_dir() or strange:
        raise OutputExistsError(f"{target} holds {len(strange)} files that no phantom wrote: delete it by hand")


@contextmanager
def _new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends without an error."""
    _check_new(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
