"""Tumors that were found in real scans, beside what others drew there.

The scans come with two packages on PyPI, as test data in their source distributions; neither is a dependency, and
nothing is downloaded here. Get them once, anywhere, and name the files::

    pip download --no-deps --no-binary :all: qtim_tools==0.1.12 pyradiomics==3.0.1
    python benchmarks/real_images.py qtim_tools-0.1.12.tar.gz pyradiomics-3.0.1.tar.gz --picture real.png

(pip runs their setup.py for that, and pyradiomics' needs numpy and setuptools < 65 where it runs: with both in the
environment, add ``--no-build-isolation``.) All are contrast-enhanced T1 alone: no FLAIR, no T1, so this is not what the
segmentation is made for, but what happens to it. What they show and may be used for: docs/geometry/real_images.md.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage
from tables import finish, machine, note, parser

from tumortwin.board.slices import Plane, best_slice, show_slice
from tumortwin.board.wording import RESEARCH_USE
from tumortwin.geometry import Head, average, read_head
from tumortwin.geometry.editing.hints import segment_from_box, segment_from_click
from tumortwin.geometry.segmentation.regions import united
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume

QTIM = "qtim_tools/test_data/test_data_features"
HEAD = 0.15  # inches, of the picture's key
COLORS = {"drawn": "#f0e442", "found": "#f5a300", "brain": "#2fe0a5", "box": "#56c4f5"}


@dataclass(frozen=True)
class Case:
    """A scan in a package: the ends of its files' paths there, and the value of the tumor's label."""

    name: str
    image: str
    label: str
    value: int


CASES = (
    Case(
        "MRBrainTumor1",
        f"{QTIM}/MR_Tumor_Shape/MR_BrainTumor_ShapeTest.nii.gz",
        f"{QTIM}/MR_Tumor_Shape/MR_BrainTumor_ShapeTest-label.nii.gz",
        9,
    ),
    Case("MRBrainTumor2", f"{QTIM}/MRBrainTumor2.nii.gz", f"{QTIM}/MRBrainTumor2-label.nii.gz", 1),
    Case("brain1", "data/brain1_image.nrrd", "data/brain1_label.nrrd", 1),
    Case("brain2", "data/brain2_image.nrrd", "data/brain2_label.nrrd", 1),
)


def read(archive: tarfile.TarFile, member: str, frame: str) -> Volume:
    """An image in an archive."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / Path(member).name
        content = archive.extractfile(member)
        assert content is not None
        path.write_bytes(content.read())
        image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image)
    return Volume(array, Grid(array.shape, affine, frame), "a.u.", frame)


def cases_in(archives: list[Path]) -> list[tuple[Case, Volume, Mask]]:
    """The cases that the archives hold."""
    found = []
    for path in archives:
        with tarfile.open(path) as archive:
            names = archive.getnames()
            for case in CASES:
                ends = [next((n for n in names if n.endswith("/" + end)), None) for end in (case.image, case.label)]
                if ends[0] is None or ends[1] is None:
                    continue
                image, label = (read(archive, end, case.name) for end in ends if end is not None)
                image = image.with_array(image.array.astype(np.float32))
                found.append((case, image, Mask(label.array == case.value, label.grid)))
    return sorted(found, key=lambda entry: CASES.index(entry[0]))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks, 0..1."""
    return 2 * float((one & other).sum()) / max(1, int(one.sum() + other.sum()))


def compare(case: Case, label: Mask, head: Head) -> Mask:
    """One case's rows; returns what was found, on the label's grid."""
    core = united(head.tumor.enhancing, head.tumor.necrosis)
    found = resample(core, label.grid) if core.array.any() else label.with_array(np.zeros_like(label.array))
    overlap = dice(found.array, label.array)
    # the wrong place and the wrong size are different faults
    hit = float((found.array & label.array).sum()) / label.array.sum()
    note(f"{case.name}: Dice of the tumor, found without a hint", overlap, "1", "drawn by others")
    note(f"{case.name}: share of the drawn tumor that was found", 100 * hit, "%", f"{label.volume_ml:.1f} mL drawn")
    note(f"{case.name}: volume found", found.volume_ml, "mL", f"{label.volume_ml:.1f} mL drawn")
    note(
        f"{case.name}: brain",
        head.tissue.brain.sum() * head.tissue.grid.voxel_volume / 1000,
        "mL",
        "1000 to 1700 in adults",
    )
    return found


def hinted(case: Case, image: Volume, label: Mask) -> Mask:
    """The rows of a click in the middle of the drawn tumor and of a box around it; returns what the box gave."""
    depth = ndimage.distance_transform_edt(label.array, sampling=label.grid.spacing)
    middle = label.grid.to_world(np.unravel_index(int(np.argmax(depth)), depth.shape))
    inside = np.argwhere(label.array)
    corners = [label.grid.to_world(end) for end in (inside.min(0) - 0.5, inside.max(0) + 0.5)]
    click, box = segment_from_click(image, middle).mask, segment_from_box(image, *corners).mask
    for what, mask in (("one click in its middle", click), ("a box around it", box)):
        note(
            f"{case.name}: Dice of the tumor, from {what}",
            dice(mask.array, label.array),
            "1",
            f"{mask.volume_ml:.1f} of {label.volume_ml:.1f} mL",
        )
    return box


def picture(results: list[tuple[Case, Volume, Mask, Head, Mask, Mask]]) -> bytes:
    """A row a case: the slice with most of the drawn tumor, and the one with most of the found."""
    height = 3.3 * len(results)
    figure = Figure(figsize=(9.2, height + HEAD))
    for row, (case, image, label, head, found, box) in enumerate(results):
        brain = average(Mask(head.tissue.brain, head.tissue.grid), image.grid)
        views = (
            ("most of what was drawn", label, Plane.AXIAL),
            ("most of what was found", found, Plane.AXIAL),
            ("coronal", label, Plane.CORONAL),
        )
        for column, (what, region, plane) in enumerate(views):
            ax = figure.add_axes(
                (
                    0.005 + column / 3,
                    3.3 * (len(results) - row - 0.995) / (height + HEAD),
                    0.323,
                    0.9 * 3.3 / (height + HEAD),
                )
            )
            shown = region if region.array.any() else label
            cut = best_slice(image.grid, shown.array, plane=plane)
            show_slice(
                ax,
                image,
                cut,
                outlines={"brain": brain, "found": found.array, "drawn": label.array},
                dashed={"box": box.array},
                colors=COLORS,
            )
            ax.set_title(
                f"{case.name}, {what}" + ("" if region.array.any() else " (nothing)"), fontsize=7, loc="left", pad=2
            )
    figure.text(
        0.005,
        1,
        "yellow: drawn by others; orange: found; blue, dashed: from a box around what was drawn; "
        f"green: brain that was found. {RESEARCH_USE}",
        fontsize=7,
        va="top",
    )
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("archives", nargs="+", type=Path, help="source distributions of the packages")
    options.add_argument("--picture", type=Path, help="where to draw what was found")
    arguments = options.parse_args()
    begun_on = machine()
    cases = cases_in(arguments.archives)
    if not cases:
        raise SystemExit(f"none of {', '.join(c.name for c in CASES)} is in {', '.join(map(str, arguments.archives))}")
    results = []
    for case, image, label in cases:
        head = read_head({MRSequence.T1GD: image}, {}, case.name)
        results.append((case, image, label, head, compare(case, label, head), hinted(case, image, label)))
        if arguments.picture:
            arguments.picture.write_bytes(picture(results))
    values = [dice(found.array, label.array) for _, _, label, _, found, _ in results]
    note("median Dice without a hint", float(np.median(values)), "1", f"{len(values)} scans")
    note("worst Dice without a hint", min(values), "1", f"{len(values)} scans")
    finish("real images", arguments, begun_on)


if __name__ == "__main__":
    main()
