"""What becomes of DICOM that went wrong: our reader beside SimpleITK, highdicom and dcm2niix, on the same files.

The hostile series are those of tumortwin.phantom.hostile.mutants, each with known truth. The real files are all that
ship with pydicom, pydicom-data and nibabel; nobody knows their truth, so readers are held against each other. A
converter's volume is right if its values are those of the places that its affine gives them. `--write docs/imaging.md`
puts the tables there; `--list` names every case that did not go as it should.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import dcm2niix
import highdicom
import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import CTImageStorage, MRImageStorage
from tables import machine, note, parser, rows

from tumortwin.errors import TumorTwinError
from tumortwin.imaging.folder import read_folder
from tumortwin.phantom.hostile.mutants import mutants
from tumortwin.phantom.hostile.specimens import Expected, Mutant
from tumortwin.phantom.hostile.verdicts import NEAR, Reading, Verdict, judge, our_verdict

LPS = np.diag([-1.0, -1, 1, 1])  # from and to RAS
ZYX = np.eye(4)[[2, 1, 0, 3]]  # from and to (x, y, z)


@dataclass(frozen=True)
class Outcome:
    """What a tool gave: volumes, what it complained of, and whether it fell over."""

    volumes: tuple[Reading, ...] = ()
    complaints: str = ""
    crashed: bool = False


class _Heard(sitk.LoggerBase):
    """Keeps what ITK says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def _keep(self, line: str) -> None:
        self.lines.append(line.strip())

    DisplayText = DisplayErrorText = DisplayWarningText = DisplayGenericOutputText = DisplayDebugText = _keep


def simpleitk(folder: Path) -> Outcome:
    """Its series reader, for each series that it finds, folder by folder."""
    heard = _Heard()
    before = heard.SetAsGlobalITKLogger()
    volumes = []
    try:
        for place in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
            try:
                found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(place))
            except RuntimeError as error:
                heard.lines.append(f"refused: {error}")
                continue
            for series in found:
                names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place), series)
                try:
                    image = sitk.ReadImage(names)
                except RuntimeError as error:
                    heard.lines.append(f"refused: {error}")
                    continue
                if image.GetDimension() == 3 and image.GetNumberOfComponentsPerPixel() == 1:
                    affine = np.eye(4)
                    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
                    affine[:3, 3] = image.GetOrigin()
                    volumes.append(Reading(sitk.GetArrayFromImage(image), affine @ ZYX))
    finally:
        before.SetAsGlobalITKLogger()
    return Outcome(tuple(volumes), "\n".join(line for line in heard.lines if line))


def by_highdicom(folder: Path) -> Outcome:
    """Its volumes from classic series and from multi-frame images."""
    series = defaultdict(list)
    complaints: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            data = pydicom.dcmread(path)
        except Exception as error:
            complaints.append(str(error))
            continue
        series[str(data.get("SeriesInstanceUID"))].append(data)
    volumes = []
    for members in series.values():
        try:
            if len(members) == 1 and "NumberOfFrames" in members[0]:
                volume = highdicom.Image.from_dataset(members[0]).get_volume(apply_presentation_lut=False)
            else:
                volume = highdicom.get_volume_from_series(members, apply_presentation_lut=False)
        except Exception as error:
            complaints.append(str(error))
            continue
        if np.ndim(volume.array) == 3:
            volumes.append(Reading(np.asarray(volume.array), np.asarray(volume.affine)))
    return Outcome(tuple(volumes), "\n".join(complaints))


def by_dcm2niix(folder: Path) -> Outcome:
    """Its NIfTI files, volumes of a 4D file one by one."""
    with tempfile.TemporaryDirectory() as out:
        try:
            done = subprocess.run(
                [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "%s_%d_%p", "-o", out, str(folder)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(crashed=True, complaints="more than a minute")
        said = "\n".join(
            line
            for line in (done.stdout + done.stderr).splitlines()
            if re.search("warn|error|unable|not |missing", line, re.IGNORECASE) and "determine manufacturer" not in line
        )  # said of sound files as well
        volumes = []
        for path in sorted(Path(out).rglob("*.nii")):
            image = nibabel.load(path)
            if image.ndim in (3, 4) and image.get_data_dtype().fields is None:  # not color
                array = image.get_fdata()
                flat = array[..., None] if array.ndim == 3 else array
                volumes += [Reading(flat[..., k].T, LPS @ image.affine @ ZYX) for k in range(flat.shape[-1])]
    return Outcome(tuple(volumes), said, done.returncode < 0)


TOOLS: dict[str, Callable[[Path], Outcome]] = {
    "SimpleITK": simpleitk,
    "highdicom": by_highdicom,
    "dcm2niix": by_dcm2niix,
}


@contextmanager
def written(mutant: Mutant) -> Iterator[Path]:
    """A mutant's folder."""
    with tempfile.TemporaryDirectory() as folder:
        mutant.write(Path(folder) / "dicom")
        yield Path(folder) / "dicom"


def verdict_of(outcome: Outcome, mutant: Mutant) -> Verdict:
    """A converter's verdict; what only we compute is not asked of it."""
    if outcome.crashed:
        return Verdict.CRASH
    verdict, _ = judge(outcome.volumes, [t for t in mutant.truths if not t.computed])
    if verdict is Verdict.WRONG and outcome.complaints:
        return Verdict.WARNED
    return Verdict.REPAIRED if verdict is Verdict.RIGHT and mutant.expected is Expected.REPAIRED else verdict


GOOD = (Verdict.RIGHT, Verdict.REPAIRED)
Tables = dict[str, dict[str, Counter[Verdict]]]


def study_mutants(seed: int, tools: dict[str, Callable[[Path], Outcome]], listing: bool) -> Tables:
    """Verdicts by case and reader."""
    table: Tables = defaultdict(lambda: defaultdict(Counter))
    astray = shared = agree = repairable = repaired = total = 0
    for mutant in mutants(seed):
        total += 1
        with written(mutant) as folder:
            ours, why = our_verdict(mutant, folder)
            others = {name: read(folder) for name, read in tools.items()}
        table[mutant.case]["tumortwin"][ours] += 1
        for name, outcome in others.items():
            table[mutant.case][name][verdict_of(outcome, mutant)] += 1
        wanted = dict(zip(Expected, (Verdict.RIGHT, Verdict.REPAIRED, Verdict.REFUSED), strict=True))
        good = ours is wanted[mutant.expected] and not why.startswith("does not say")
        astray += not good
        repairable += mutant.expected is Expected.REPAIRED
        repaired += ours is Verdict.REPAIRED
        if listing and not good:
            print(f"  {ours}, expected {mutant.expected}: {mutant.case}: {mutant.name}: {why}", flush=True)
        for name in {"highdicom", "dcm2niix"} & set(others):
            if mutant.expected is not Expected.REFUSED and verdict_of(others[name], mutant) in GOOD:
                shared += 1
                agree += ours in GOOD
    counts = sum((found["tumortwin"] for found in table.values()), Counter())
    note("hostile series", total, "", target=">= 150", holds=total >= 150)
    note("  crashes", counts[Verdict.CRASH], "", target="0", holds=not counts[Verdict.CRASH])
    note("  silently wrong geometry or scale", counts[Verdict.WRONG], "", target="0", holds=not counts[Verdict.WRONG])
    note(
        "  of the repairable, repaired right",
        100 * repaired / repairable,
        "%",
        target="100 %",
        holds=repaired == repairable,
    )
    note("  not as expected, or not said", astray, "", target="0", holds=not astray)
    if tools:
        note(
            "  right within 0.01 mm where highdicom or dcm2niix is",
            100 * agree / max(shared, 1),
            "%",
            against=f"{shared} comparisons",
        )
    for name in tools:
        of_tool = sum((found[name] for found in table.values()), Counter())
        for verdict in (Verdict.WRONG, Verdict.WARNED, Verdict.CRASH):
            note(f"  {verdict}", of_tool[verdict], "", against=name)
    return table


def real_files() -> Iterator[tuple[str, Path]]:
    """Every file that ships with pydicom, pydicom-data and nibabel, and the folders that are a patient's."""
    roots = {
        "pydicom": Path(pydicom.__file__).parent / "data",
        "nibabel": Path(nibabel.__file__).parent / "nicom/tests/data",
    }
    extra = find_spec("data_store")
    if extra is not None and extra.submodule_search_locations:
        roots["pydicom-data"] = Path(extra.submodule_search_locations[0]) / "data"
    for package, root in roots.items():
        for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".md")):
            yield package, path
        for folder in sorted({p.parent for p in root.rglob("*") if p.is_file()} | {root}):
            if not folder.name.startswith("__"):
                yield f"{package}, folders", folder


def same(ours: Reading, other: Reading) -> bool | None:
    """Whether two volumes hold the same values at the same places (0.01 mm); None if they are not of one size."""
    if sorted(ours.array.shape) != sorted(other.array.shape):
        return None
    index = np.moveaxis(np.indices(ours.array.shape), 0, -1).reshape(-1, 3)
    world = index @ ours.affine[:3, :3].T + ours.affine[:3, 3]
    if abs(np.linalg.det(other.affine[:3, :3])) < 1e-9:
        return False
    place = (world - other.affine[:3, 3]) @ np.linalg.inv(other.affine[:3, :3]).T
    nearest = np.round(place).astype(int)
    apart = np.abs((place - nearest) @ other.affine[:3, :3].T).max()
    if apart > NEAR or nearest.min() < 0 or (nearest >= other.array.shape).any():
        return False
    there = np.asarray(other.array, float)[tuple(nearest.T)]
    here = np.asarray(ours.array, float).ravel()
    return bool(np.abs(here - there).max() <= 1e-4 * max(1.0, np.abs(there).max()))


def tripled(path: Path, folder: Path) -> bool:
    """Three copies of a single CT or MR image, a slice apart, with its header and its encoding; False if it is none."""
    try:
        data = pydicom.dcmread(path)
        if data.SOPClassUID not in (CTImageStorage, MRImageStorage) or "NumberOfFrames" in data:
            return False
        orientation = np.array(data.ImageOrientationPatient, float)
        normal = np.cross(orientation[:3], orientation[3:])
        start, step = np.array(data.ImagePositionPatient, float), float(data.get("SpacingBetweenSlices") or 3.0)
        for k in range(3):
            data.ImagePositionPatient = [f"{v:.9g}" for v in start + k * abs(step) * normal]
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"2.25.{k + 1}"
            data.InstanceNumber = k + 1
            data.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    except Exception:
        for made in folder.iterdir():
            made.unlink()
        return False  # without a place, or damaged: nothing to be tripled
    return True


def unpacked(path: Path, folder: Path) -> Path:
    """A folder with this file only, out of its gzip."""
    if path.suffix == ".gz":
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    else:
        (folder / path.name).symlink_to(path)
    return folder


def fate(folder: Path, tools: dict[str, Callable[[Path], Outcome]]) -> tuple[str, str]:
    """What becomes of a folder whose truth nobody knows, and why."""
    try:
        study = read_folder(folder)
    except TumorTwinError as error:
        return "refused", str(error).splitlines()[0]
    except Exception as error:
        return "crash", f"{type(error).__name__}: {error}"
    ours = [Reading(i.volume.array, i.volume.affine) for i in study.images if not i.volume.name.startswith("ADC from")]
    if not ours:
        if study.structures or study.doses or study.plans or study.segmentations or study.deliveries:
            return "radiotherapy or segmentation", ""
        return "refused", "; ".join(s.why for s in study.series)
    others = [v for read in tools.values() for v in read(folder).volumes]
    agreed = [{same(mine, v) for v in others} for mine in ours]
    if all(True in a for a in agreed):
        return "as another reader", ""
    if any(False in a and True not in a for a in agreed):
        return "unlike all others", "; ".join(map(str, study.images))
    return "nobody else reads it", ""


def study_files(tools: dict[str, Callable[[Path], Outcome]], listing: bool) -> dict[str, Counter[str]]:
    """What becomes of real files, by package; of single images also when three of them make a volume."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for package, path in real_files():
        kinds = ["", ", single images tripled"] if path.is_file() else [""]
        for kind in kinds:
            with tempfile.TemporaryDirectory() as temporary:
                folder = path if path.is_dir() else Path(temporary)
                if kind:
                    if not tripled(path, folder):
                        continue
                elif path.is_file():
                    unpacked(path, folder)
                what, why = fate(folder, tools)
            table[package + kind][what] += 1
            if what in ("crash", "unlike all others") or (listing and what != "as another reader"):
                print(f"  {what}: {path.name}{kind}: {why[:300]}", flush=True)
    counts = sum(table.values(), Counter())
    note("real files and folders", sum(counts.values()), "")
    note("  crashes", counts["crash"], "", target="0", holds=not counts["crash"])
    note("  loaded as another reader does", counts["as another reader"], "")
    note(
        "  loaded unlike all others", counts["unlike all others"], "", target="0", holds=not counts["unlike all others"]
    )
    return table


def page(mutant_table: Tables, file_table: dict[str, Counter[str]], tools: list[str], begun_on: str) -> str:
    """The tables for a page of the documentation."""
    readers = ["tumortwin", *tools]
    lines = [
        f"Machine: {begun_on}; SimpleITK {sitk.Version_VersionString()}, highdicom {highdicom.__version__}, "
        f"dcm2niix {_version()}.",
        "",
        "| case | series | " + " | ".join(readers) + " |",
        "|---|---|" + "---|" * len(readers),
    ]
    for case, found in mutant_table.items():
        cells = [", ".join(f"{found[r][v]} {v}" for v in Verdict if found[r][v]) for r in readers]
        lines.append(f"| {case} | {sum(found['tumortwin'].values())} | " + " | ".join(cells) + " |")
    totals = [sum((found[r] for found in mutant_table.values()), Counter()) for r in readers]
    cells = [", ".join(f"{t[v]} {v}" for v in Verdict if t[v]) for t in totals]
    lines.append(f"| **all** | {sum(totals[0].values())} | " + " | ".join(cells) + " |")
    kinds = list(dict.fromkeys(kind for found in file_table.values() for kind in found))
    lines += ["", "| files of | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]
    lines += [
        f"| {package} | " + " | ".join(str(found[k]) for k in kinds) + " |" for package, found in file_table.items()
    ]
    return "\n".join(["", *lines, ""])


def _version() -> str:
    said = subprocess.run([dcm2niix.bin, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v\d\S*", said)
    return found.group() if found else "not found"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--ours", action="store_true", help="leave the other readers out")
    options.add_argument("--list", action="store_true", help="name what did not go as it should")
    arguments = options.parse_args()
    begun_on = machine()
    tools = {} if arguments.ours else TOOLS
    warnings.simplefilter("ignore")
    mutant_table = study_mutants(arguments.seed, tools, arguments.list)
    file_table = study_files(tools, arguments.list) if tools else {}
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.write:
        parts = arguments.write.read_text().split("<!-- corpus -->")
        if len(parts) != 3:
            raise SystemExit(f"{arguments.write} needs the mark <!-- corpus --> twice: before and after the tables")
        parts[1] = page(mutant_table, file_table, list(tools), begun_on)
        arguments.write.write_text("<!-- corpus -->".join(parts))
    if any(row["holds"] is False for row in rows):
        raise SystemExit("targets were missed")


if __name__ == "__main__":
    main()
