"""What it costs to read a patient's folder, beside what a user would pick instead, and who of them gets it right.

    OMP_NUM_THREADS=1 python benchmarks/imaging.py [--files 12000] [--repeats 5] [--json FILE] [--write FILE]

Two patients: the sample (JPEG-LS, RLE, enhanced, with SEG and RT objects; and once more its images alone, for nobody
else reads masks, doses and plans) and one made up of 12,000 uncompressed files (25 visits of T1, T1Gd, FLAIR, diffusion
with two b-values in one series, and ADC; a folder a series, junk between).
Each tool reads them in a process of its own, as a whole: CPU time and wall time with all imports, and its peak memory.
They take turns; ratios are pairwise, the median of all turns. Before, each volume of each tool is held against pydicom
alone: its place within 0.01 mm and its values up to one scale. Ours should cost less than those Python libraries that
are right; dcm2niix, which is compiled, is there to compare with.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import finish, machine, note, parser

SAMPLE = Path(__file__).parents[1] / "sample_dicom" / "TT-0001"
Found = Iterator[tuple[NDArray[Any], NDArray[np.float64]]]
"""Arrays (z, y, x) with their affines, index to LPS mm."""


def by_tumortwin(folder: Path) -> Found:
    """What a user of ours does: everything, with masks, doses, plans, findings and hashes of all files."""
    import tumortwin

    patient = tumortwin.read_patient(folder)
    for visit in patient.visits:
        for volume in visit.images.values():
            yield volume.array, volume.affine


def images_by_tumortwin(folder: Path) -> Found:
    """All images, also those that a Patient leaves out (each b-value)."""
    from tumortwin.imaging import read_folder

    for image in read_folder(folder).images:
        yield image.volume.array, image.volume.affine


def by_simpleitk(folder: Path) -> Found:
    """The series reader of GDCM, as its documentation shows it."""
    import SimpleITK as sitk

    sitk.ProcessObject.GlobalWarningDisplayOff()
    for root, _, names in os.walk(folder):
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(root) if names else ():
            try:
                image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(root, uid))
            except RuntimeError:
                continue
            if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
                continue
            affine = np.eye(4)
            directions = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
            affine[:3, :3], affine[:3, 3] = directions[:, ::-1], image.GetOrigin()
            yield sitk.GetArrayFromImage(image), affine


def by_highdicom(folder: Path) -> Found:
    """A volume from all files of a series."""
    import highdicom
    import pydicom

    series: dict[str, list[Any]] = defaultdict(list)
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                data = pydicom.dcmread(Path(root) / name)
            except pydicom.errors.InvalidDicomError:
                continue
            if data.get("Modality") == "MR" and "PixelData" in data:
                series[data.SeriesInstanceUID].append(data)
    for members in series.values():
        try:
            if len(members) > 1:
                volume = highdicom.get_volume_from_series(members)
            else:
                volume = highdicom.Image.from_dataset(members[0], copy=False).get_volume()
        except (ValueError, RuntimeError, AttributeError):
            continue  # refused, e.g. two b-values in one series
        yield volume.array, volume.affine


def by_dcm2niix(out: Path, series: set[str]) -> Found:
    """Its NIfTI files of these series (it makes images of segmentations and doses too), 4D ones taken apart."""
    import nibabel

    for path in (p for p in sorted(out.glob("*.nii")) if any(uid in p.name for uid in series)):
        image = nibabel.load(path)
        array = np.asarray(image.dataobj)
        affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
        affine = affine @ np.eye(4)[[2, 1, 0, 3]].T
        for k in range(array.shape[3]) if array.ndim == 4 else (None,):
            yield (array if k is None else array[..., k]).T, affine


TOOLS: dict[str, Callable[[Path], Found]] = {
    "tumortwin": by_tumortwin,
    "SimpleITK": by_simpleitk,
    "highdicom": by_highdicom,
}


def by_pydicom(folder: Path, series: set[str]) -> Found:
    """The truth: slices and frames sorted along their normal, b-values apart; `series` receives the UIDs."""
    import pydicom

    planes: dict[tuple[str, str], list[tuple[Any, list[float], list[float], list[float]]]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            data = pydicom.dcmread(path)
        except pydicom.errors.InvalidDicomError:
            continue
        if data.get("Modality") != "MR" or "Storage" not in data.SOPClassUID.name or "PixelData" not in data:
            continue
        if "PerFrameFunctionalGroupsSequence" in data:
            (shared,) = data.SharedFunctionalGroupsSequence
            for frame, stored in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True):
                planes[data.SeriesInstanceUID, ""].append(
                    (
                        stored,
                        frame.PlanePositionSequence[0].ImagePositionPatient,
                        shared.PlaneOrientationSequence[0].ImageOrientationPatient,
                        shared.PixelMeasuresSequence[0].PixelSpacing,
                    )
                )
        else:
            planes[data.SeriesInstanceUID, str(data.get("DiffusionBValue", ""))].append(
                (data.pixel_array, data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing)
            )
    series.update(uid for uid, _ in planes)
    for members in planes.values():
        orientation = np.array(members[0][2], float).reshape(2, 3)
        normal = np.cross(*orientation)
        members.sort(key=lambda m: float(normal @ np.array(m[1], float)))
        positions = np.array([m[1] for m in members], float)
        affine = np.eye(4)
        affine[:3, 0] = (positions[-1] - positions[0]) / (len(members) - 1)
        affine[:3, 1] = float(members[0][3][0]) * orientation[1]
        affine[:3, 2] = float(members[0][3][1]) * orientation[0]
        affine[:3, 3] = positions[0]
        yield np.array([m[0] for m in members]), affine


@dataclass(frozen=True, eq=False)
class Summary:
    """Enough of a volume to know it again: its geometry with axes along LPS, and some voxels' values up to a scale."""

    affine: NDArray[np.float64]
    shape: tuple[int, ...]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, array: NDArray[Any], affine: NDArray[np.float64]) -> Summary:
        """Turn the axes to (S, P, L) and draw voxels."""
        affine = np.array(affine, float)
        order = [int(np.abs(affine[row, :3]).argmax()) for row in (2, 1, 0)]
        array, affine[:, :3] = np.transpose(array, order), affine[:, order]
        for axis, row in enumerate((2, 1, 0)):
            if affine[row, axis] < 0:
                affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
                affine[:, axis] *= -1
                array = np.flip(array, axis)
        index = np.random.default_rng(0).integers(array.size, size=4000)
        values = array.reshape(-1)[index].astype(float)
        return cls(affine, array.shape, values / max(np.abs(values).max(), 1e-300))

    def same(self, other: Summary) -> bool:
        """Within 0.01 mm, and all values drawn alike."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0, 0, 0, 1], [*(np.array(self.shape) - 1), 1]], float)
        off = np.abs((self.affine - other.affine) @ corners.T).max()
        return bool(off < 0.01 and np.abs(self.values - other.values).max() < 1e-4)


def right(truth: list[Summary], found: list[Summary]) -> tuple[int, int]:
    """How many volumes of the truth were found, and how many were found that are not true."""
    met = {k for k, t in enumerate(truth) if any(t.same(f) for f in found)}
    return len(met), sum(not any(t.same(f) for t in truth) for f in found)


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    cpu: float
    wall: float
    memory: float
    """Peak resident bytes."""


# a process counts the memory of the one that started it as its own: a small one has to stand between
_STARTER = """
import json, os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
wall = time.perf_counter() - begin
print(json.dumps([process.returncode, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024]))
"""


def measured(command: list[str]) -> Cost:
    """Run a process to its end."""
    done = subprocess.run([sys.executable, "-S", "-c", _STARTER, *command], capture_output=True, text=True, check=True)
    code, cpu, wall, memory = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return Cost(cpu, wall, memory)


def command(tool: str, folder: Path, out: Path) -> list[str]:
    """What reads a folder with a tool."""
    if tool != "dcm2niix":
        return [sys.executable, __file__, "--tool", tool, "--folder", str(folder)]
    import dcm2niix

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return [str(dcm2niix.bin), "-z", "n", "-b", "n", "-f", "%s_%j", "-d", "9", "-o", str(out), str(folder)]


def make_patient(folder: Path, files: int) -> None:
    """A patient of so many files: 25 visits, a folder a series, 128 x 128 pixels, uncompressed; junk between them."""
    from datetime import datetime, timedelta

    from tumortwin.imaging.sequence import MRSequence
    from tumortwin.imaging.volume import Grid, Volume
    from tumortwin.imaging.writing.header import hashed_uid, item, stamp
    from tumortwin.phantom.mr import write_series
    from tumortwin.phantom.synthetic import Encoding, SyntheticSeries

    visits = 25
    per_visit = files // visits
    slices = max(per_visit * 5 // 24, 2)
    shorter = max((per_visit - 3 * slices) // 3, 2)
    rng = np.random.default_rng(7)
    kinds = (
        (MRSequence.T1, "t1_tra", slices, None),
        (MRSequence.T1GD, "t1_tra_KM", slices, None),
        (MRSequence.FLAIR, "t2_flair_tra", slices, None),
        (MRSequence.DWI, "ep2d_diff", shorter, 0.0),
        (MRSequence.DWI, "ep2d_diff", shorter, 1000.0),
        (MRSequence.ADC, "ep2d_diff_ADC", shorter, None),
    )
    for visit in range(visits):
        when = datetime(2022, 1, 11, 9, 30) + timedelta(days=28 * visit)
        study = item(
            SpecificCharacterSet="ISO_IR 192",
            PatientName="Many^Files",
            PatientID="MANY",
            PatientBirthDate="",
            PatientSex="O",
            StudyInstanceUID=hashed_uid("many", visit),
            ReferringPhysicianName="",
            AccessionNumber="",
            StudyID=str(visit),
            StudyDescription="Synthetic",
        )
        stamp(study, when, "Study")
        tilt = np.deg2rad(rng.uniform(-12, 12))
        for number, (sequence, name, n, b_value) in enumerate(kinds):
            frame = hashed_uid("many", visit, "frame")
            grid = Grid.regular((n, 128, 128), (1.5, 1.8, 1.8), (-60.0, -110.0, -115.0), frame)
            turn = np.eye(4)
            turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
            array = rng.random(grid.shape, np.float32) * (2e-3 if sequence is MRSequence.ADC else 1.0)
            volume = Volume(
                array,
                Grid(grid.shape, turn @ grid.affine, grid.frame),
                "mm^2/s" if sequence is MRSequence.ADC else "a.u.",
            )
            below = folder / f"visit {visit:02d}" / f"{number:02d} {name}"
            below.mkdir(parents=True)
            series = SyntheticSeries(sequence, volume, name, Encoding.PLAIN, b_value)
            write_series(series, study, hashed_uid("many", visit, name), 3 if b_value else number, when, 1.0, below)
        first, second = (folder / f"visit {visit:02d}" / f"{k:02d} ep2d_diff" for k in (3, 4))
        for path in second.iterdir():  # both b-values in one series, as scanners store them
            _renumbered(path, shorter, first)
        second.rmdir()
        (folder / f"visit {visit:02d}" / "Thumbs.db").write_bytes(rng.bytes(4096))
        (folder / f"visit {visit:02d}" / "README.TXT").write_text("This CD was made for the referring physician.\n")


def _renumbered(path: Path, by: int, folder: Path) -> None:
    """Move a file into a series with instances of its own."""
    import pydicom

    from tumortwin.imaging.writing.header import hashed_uid

    data = pydicom.dcmread(path)
    data.InstanceNumber += by
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = hashed_uid(data.SOPInstanceUID, "b")
    data.save_as(folder / f"IM{data.InstanceNumber:04d}.dcm")
    path.unlink()


def compare(name: str, folder: Path, repeats: int, out: Path) -> None:
    """The rows of one patient."""
    files = sum(p.is_file() for p in folder.rglob("*"))
    series: set[str] = set()
    truth = [Summary.of(*volume) for volume in by_pydicom(folder, series)]
    tools = [*TOOLS, "dcm2niix"]
    correct = []
    for tool in tools:
        if tool == "dcm2niix":
            subprocess.run(command(tool, folder, out), check=True, capture_output=True)
            volumes = by_dcm2niix(out, series)
        else:
            volumes = images_by_tumortwin(folder) if tool == "tumortwin" else TOOLS[tool](folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [Summary.of(*volume) for volume in volumes]
        met, wrong = right(truth, found)
        all_right = met == len(truth) and not wrong
        correct += [tool] if all_right else []
        ours = tool == "tumortwin"
        note(
            f"{name}: volumes right",
            met,
            f"of {len(truth)}",
            f"{tool}, {wrong} wrong",
            "all" if ours else "",
            all_right if ours else None,
        )
    costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
    for _ in range(repeats):
        for tool in tools:
            costs[tool].append(measured(command(tool, folder, out)))
    for tool in tools:
        middle = [statistics.median(getattr(c, what) for c in costs[tool]) for what in ("cpu", "wall", "memory")]
        note(f"{name}, {files} files: CPU time", middle[0], "s", tool)
        note(f"{name}, {files} files: wall time", middle[1], "s", tool)
        note(f"{name}, {files} files: peak memory", middle[2] / 2**20, "MiB", tool)
    for tool in tools[1:]:
        for what in ("cpu", "wall"):
            ratio = statistics.median(
                getattr(theirs, what) / getattr(ours, what)
                for ours, theirs in zip(costs["tumortwin"], costs[tool], strict=True)
            )
            judged = tool in correct and tool != "dcm2niix"
            note(
                f"{name}: {'CPU' if what == 'cpu' else what} time",
                ratio,
                "x faster",
                f"{tool}, {'right' if tool in correct else 'not right'}",
                ">= 1" if judged else "",
                ratio >= 1 if judged else None,
            )


def main() -> None:
    """Run all and print the table."""
    options = parser(__doc__ or "")
    options.add_argument("--files", type=int, default=12000, help="of the made-up patient")
    options.add_argument("--repeats", type=int, default=5, help="turns")
    options.add_argument("--folder", type=Path, help="where the made-up patient is, or is to be made")
    options.add_argument("--tool", choices=TOOLS, help="only read --folder with this tool")
    arguments, begun_on = options.parse_args(), machine()
    if arguments.tool:
        for _ in TOOLS[arguments.tool](arguments.folder):
            pass
        return
    print(begun_on)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "nifti"
        compare("sample patient", SAMPLE, arguments.repeats, out)
        images = Path(temporary) / "images"
        shutil.copytree(SAMPLE, images, ignore=shutil.ignore_patterns("segmentation", "rt"))
        compare("sample patient's images", images, arguments.repeats, out)
        folder = arguments.folder or Path(temporary) / "many"
        if not folder.exists():
            make_patient(folder, arguments.files)
        compare("made-up patient", folder, arguments.repeats, out)
    finish("imaging", arguments, begun_on)


if __name__ == "__main__":
    main()
