"""A tumor in the right frontal lobe stays there, from the scanner through every reader, the twin, exports and figures.

The one thing that is trusted is the phantom's own record of where the tumor was put. What is written is read by others
(pydicom, highdicom, nibabel), what is drawn is judged by its pixels, and a mirrored image must fail.
"""

import io
import json
from dataclasses import replace

import highdicom
import matplotlib as mpl
import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation
from skimage.feature import match_template

from tumortwin.apps import ViewerApp
from tumortwin.board import BoardReport
from tumortwin.board.export import export_dicom
from tumortwin.board.overlays import save_overlays
from tumortwin.board.pdf import board_figure
from tumortwin.board.slices import OUTLINE_COLORS
from tumortwin.imaging.nifti import to_sitk
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.imaging.writing.dose import write_dose
from tumortwin.imaging.writing.parametric_map import write_map
from tumortwin.imaging.writing.plan import write_plan
from tumortwin.imaging.writing.structure_set import write_structures
from tumortwin.patient import read_patient
from tumortwin.phantom.dicom import write_patient
from tumortwin.phantom.patient import make_patient
from tumortwin.phantom.synthetic import Encoding
from tumortwin.twin import build_twin

TURN = Rotation.from_euler("zxy", (14, -9, 6), degrees=True).as_matrix()
"""How the second visit lies in the scanner besides its own pose."""
GREYER = {MRSequence.T1: -1, MRSequence.T1GD: -1, MRSequence.FLAIR: 1}
"""Whether the tumor's middle, which is necrotic, is brighter or darker than the healthy mirror side."""


def moved(grid, matrix=TURN):
    affine = np.eye(4)
    affine[:3, :3] = matrix
    return Grid(grid.shape, affine @ grid.affine, grid.frame)


def sagittal(volume):
    """The same image with its planes stored from right to left, rows to the feet and columns to the back."""
    affine = np.array(volume.affine)
    array = np.ascontiguousarray(volume.array.transpose(2, 0, 1)[:, ::-1])
    affine[:3, :3] = affine[:3, [2, 0, 1]] * (1, -1, 1)
    affine[:3, 3] = volume.grid.to_world((volume.array.shape[0] - 1, 0, 0))
    return Volume(array, Grid(array.shape, affine, volume.frame), volume.unit, volume.name)


@pytest.fixture(scope="module")
def synthetic():
    """Two visits: slices in single files and a sagittal T1; then enhanced multi-frame files of a turned head."""
    made = make_patient(110, site="right frontal", spacing=2.0, solver_spacing=3.0, visits=(0, 21))
    first, second = made.visits
    series = tuple(
        replace(s, volume=sagittal(s.volume), encoding=Encoding.PLAIN)
        if s.sequence is MRSequence.T1
        else replace(s, encoding=Encoding.PLAIN)
        for s in first.series
    )
    turned = tuple(
        replace(s, volume=replace(s.volume, grid=moved(s.volume.grid)), encoding=Encoding.ENHANCED)
        for s in second.series
        if s.sequence is not MRSequence.DWI
    )
    expert = {n: replace(m, grid=moved(m.grid)) for n, m in second.expert.items()}
    structures = {n: replace(m, grid=moved(m.grid)) for n, m in made.structures.items()}
    pose = np.eye(4)
    pose[:3, :3] = TURN
    return replace(
        made,
        visits=(replace(first, series=series), replace(second, series=turned, expert=expert)),
        structures=structures,
        dose=replace(made.dose, grid=moved(made.dose.grid)),
        truth_transforms=made.truth_transforms | {second.label: pose @ made.truth_transforms[second.label]},
    )


@pytest.fixture(scope="module")
def places(synthetic):
    """Of each visit: world points of the tumor and of its mirror image, from the seed and the pose."""
    site = np.array([*synthetic.truth["site"]["lps_mm"], 1])
    assert site[0] < -15  # LPS: the patient's right is negative x
    mirrored = site * (-1, 1, 1, 1)
    poses = [synthetic.truth_transforms[v.label] for v in synthetic.visits]
    return [((pose @ site)[:3], (pose @ mirrored)[:3]) for pose in poses]


@pytest.fixture(scope="module")
def folder(synthetic, tmp_path_factory):
    return write_patient(synthetic, tmp_path_factory.mktemp("right"))


@pytest.fixture(scope="module")
def patient(folder):
    return read_patient(folder)


@pytest.fixture(scope="module")
def twin(patient):
    return build_twin(patient, spacing=3.0)


def shown_at(volume, point, radius=7.0):
    world = volume.grid.to_world(np.moveaxis(np.indices(volume.grid.shape), 0, -1))
    return float(volume.array[np.linalg.norm(world - point, axis=-1) < radius].mean())


def on_the_right(volume, sequence, places):
    """Whether the image shows the tumor where it is, not at its mirror image."""
    here, there = (shown_at(volume, place) for place in places)
    return here > 1.1 * there if GREYER[sequence] > 0 else here < 0.95 * there


def tumor_of(synthetic, visit):
    """The true tumor as 0 and 1, in the visit's own world."""
    label = synthetic.visits[visit].label
    mask = synthetic.truth_arrays[f"{label}/mask whole"]
    grid = Grid(mask.grid.shape, synthetic.truth_transforms[label] @ mask.affine)
    return Volume(mask.array.astype(np.uint8), grid)


def mirrored(volume):
    """Stored the other way round, its affine left as it is: what a careless reader makes."""
    right = int(np.argmax(np.abs(volume.affine[0, :3])))
    return replace(volume, array=np.ascontiguousarray(np.flip(volume.array, right)))


@pytest.mark.parametrize("visit", [0, 1])
def test_dicom_images_and_a_mirrored_one(patient, places, visit):
    """Classic files, a sagittal T1, enhanced files of a turned head."""
    images = patient.visits[visit].images
    checked = [s for s in GREYER if s in images]
    assert len(checked) == 3
    for sequence in checked:
        assert on_the_right(images[sequence], sequence, places[visit]), sequence
        assert not on_the_right(mirrored(images[sequence]), sequence, places[visit]), sequence
    if visit == 0:  # the T1 really is stored in sagittal planes
        assert np.argmax(np.abs(images[MRSequence.T1].affine[:3, 0])) == 0


def stored(volume, order, code):
    """A NIfTI image by nibabel, with its array turned to an axis order like RAS or LAS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.array.T), affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(order))
    )
    image = image.as_reoriented(turn)
    assert "".join(nibabel.aff2axcodes(image.affine)) == order
    affine = image.affine.copy()
    # the form that does not count says that the patient lies elsewhere, mirrored
    wrong = np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine
    image.set_qform(affine if code == "qform" else wrong, code=1 if code == "qform" else 0)
    image.set_sform(affine if code == "sform" else wrong, code=1 if code == "sform" else 0)
    return image


def write_nrrd(volume, path):
    image = sitk.GetImageFromArray(volume.array)
    spacing = np.array(volume.grid.spacing)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    image.SetDirection((volume.affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("kind", ["RAS sform", "RAS qform", "LAS sform", "LAS qform", "nrrd"])
def test_patient_file(synthetic, places, tmp_path, kind):
    series = next(s for s in synthetic.visits[1].series if s.sequence is MRSequence.FLAIR)
    ending = "nrrd" if kind == "nrrd" else "nii.gz"
    for name, volume in (("flair", series.volume), ("whole", tumor_of(synthetic, 1))):
        volume = Volume(volume.array, volume.grid)
        if kind == "nrrd":
            write_nrrd(volume, tmp_path / f"{name}.nrrd")
        else:
            nibabel.save(stored(volume, *kind.split()), tmp_path / f"{name}.nii.gz")
    (tmp_path / "patient.json").write_text(
        json.dumps(
            {
                "patient": "P",
                "visits": [
                    {
                        "time": "2024-01-01",
                        "images": {"FLAIR": f"flair.{ending}"},
                        "masks": {"whole": f"whole.{ending}"},
                    }
                ],
            }
        )
    )
    (visit,) = read_patient(tmp_path).visits
    assert on_the_right(visit.images[MRSequence.FLAIR], MRSequence.FLAIR, places[1])
    assert shown_at(visit.masks["whole"], places[1][0]) > 0.8
    assert shown_at(visit.masks["whole"], places[1][1]) == 0


def test_bids(synthetic, places, tmp_path):
    flair = next(s.volume for s in synthetic.visits[0].series if s.sequence is MRSequence.FLAIR)
    (tmp_path / "sub-1/anat").mkdir(parents=True)
    (tmp_path / "derivatives/x/sub-1/anat").mkdir(parents=True)
    nibabel.save(stored(flair, "LAS", "sform"), tmp_path / "sub-1/anat/sub-1_FLAIR.nii.gz")
    nibabel.save(
        stored(tumor_of(synthetic, 0), "RAS", "qform"),
        tmp_path / "derivatives/x/sub-1/anat/sub-1_label-whole_mask.nii.gz",
    )
    (tmp_path / "sub-1/sub-1_scans.tsv").write_text("filename\tacq_time\nanat/sub-1_FLAIR.nii.gz\t2024-01-01\n")
    (visit,) = read_patient(tmp_path).visits
    assert on_the_right(visit.images[MRSequence.FLAIR], MRSequence.FLAIR, places[0])
    assert shown_at(visit.masks["whole"], places[0][0]) > 0.8
    assert shown_at(visit.masks["whole"], places[0][1]) == 0


def test_twin_of_turned_heads(twin, synthetic, places):
    """Each visit in a pose of its own; all tumors lie at the site of the reference visit."""
    assert len(twin.observations) == 2
    reference = next(i for i, o in enumerate(twin.observations) if np.array_equal(o.transform, np.eye(4)))
    here, there = places[reference]
    for observation in twin.observations:
        share = Volume(observation.whole, twin.domain.grid)
        assert shown_at(share, here) > 0.6
        assert shown_at(share, there) < 0.01
        # and the transform leads from there to the visit's own site
        there_seen = observation.transform @ np.array([*here, 1])
        assert np.linalg.norm(there_seen[:3] - places[observation.visit][0]) < 3
        if np.isfinite(observation.density).any():
            seen = twin.domain.grid.to_world(np.argwhere(np.isfinite(observation.density)))
            assert np.linalg.norm(seen.mean(0) - here) < np.linalg.norm(seen.mean(0) - there)
    planned = Volume(twin.structures["PTV"], twin.domain.grid)
    assert shown_at(planned, here) > 0.8
    assert shown_at(planned, there) < 0.01


def points_in(dataset):
    """World points of a multi-frame object's pixels that are not 0, by pydicom alone."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    found = []
    array = (
        dataset.pixel_array
        if "PixelData" in dataset
        else np.frombuffer(dataset.FloatPixelData, "<f4").reshape(dataset.NumberOfFrames, dataset.Rows, dataset.Columns)
    )
    for plane, frame in zip(array, dataset.PerFrameFunctionalGroupsSequence, strict=True):

        def group(name, frame=frame):
            return (frame if name in frame else shared)[name][0]

        along, down = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = map(float, group("PixelMeasuresSequence").PixelSpacing)
        start = np.array(group("PlanePositionSequence").ImagePositionPatient, float)
        row, column = np.nonzero(plane > 0.5)
        found.append(start + np.outer(column * between_columns, along) + np.outer(row * between_rows, down))
    return np.concatenate(found)


def nearer(points, places, within=15):
    here, there = (np.linalg.norm(points.mean(0) - place) for place in places)
    return here < within < there


@pytest.fixture(scope="module")
def exported(patient, twin, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    result = export_dicom(
        patient, twin, folder, out, report=BoardReport.from_twin(twin, patient=patient), identity="source"
    )
    assert result.left_out == ()
    return [pydicom.dcmread(path) for path in result.files]


def test_exported_segmentations_and_measurements(exported, patient, twin, places):
    drawn = [d for d in exported if d.Modality == "SEG"]
    assert len(drawn) == 2
    for dataset, observation in zip(drawn, twin.observations, strict=True):
        assert nearer(points_in(dataset), places[observation.visit])
        seg = highdicom.seg.Segmentation.from_dataset(dataset)
        volume = seg.get_volume(combine_segments=False)
        index = np.argwhere(volume.array.reshape(*volume.array.shape[:3], -1).any(-1))
        world = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        assert nearer(world, places[observation.visit])
    reports = [d for d in exported if d.Modality == "SR"]
    assert len(reports) == 2
    for dataset, observation in zip(reports, twin.observations, strict=True):
        ends = [np.array(item.GraphicData).reshape(-1, 3) for item in walk(dataset) if "GraphicData" in item]
        assert nearer(np.concatenate(ends), places[observation.visit])


def walk(dataset):
    yield dataset
    for item in dataset.get("ContentSequence", ()):
        yield from walk(item)


def test_structures_map_dose_and_nifti(exported, patient, twin, folder, places, tmp_path):
    reference = next(o.visit for o in twin.observations if np.array_equal(o.transform, np.eye(4)))
    image = patient.visits[reference].images[MRSequence.T1GD]
    files = [
        p
        for p in folder.rglob("*.dcm")
        if pydicom.dcmread(p, stop_before_pixels=True).get("SeriesInstanceUID") == image.source[0]
    ]
    target = {n: m for n, m in patient.structures.items() if n in ("GTV", "PTV")}
    structures = write_structures(target, files, tmp_path / "rs.dcm")
    contours = pydicom.dcmread(structures).ROIContourSequence
    for contour in contours:
        points = np.concatenate([np.array(c.ContourData, float).reshape(-1, 3) for c in contour.ContourSequence])
        assert nearer(points, places[reference])
    share = twin.observations[reference].whole
    grid = twin.domain.grid
    written = write_map(Volume(share, grid, "1", "whole"), files, tmp_path / "pm.dcm", label="whole", derivation="test")
    assert nearer(points_in(pydicom.dcmread(written)), places[reference])
    plan = write_plan(60.0, 30, structures, tmp_path / "rp.dcm", target="GTV")
    dose = pydicom.dcmread(write_dose(TotalDose(60 * share, grid), plan, tmp_path / "rd.dcm"))
    along, down = np.array(dose.ImageOrientationPatient, float).reshape(2, 3)
    plane, row, column = np.nonzero(dose.pixel_array * float(dose.DoseGridScaling) > 30)
    offsets = np.array(dose.GridFrameOffsetVector, float)[plane]
    between_rows, between_columns = map(float, dose.PixelSpacing)
    world = (
        np.array(dose.ImagePositionPatient, float)
        + np.outer(column * between_columns, along)
        + np.outer(row * between_rows, down)
        + np.outer(offsets, np.cross(along, down))
    )
    assert nearer(world, places[reference])
    sitk.WriteImage(to_sitk(Mask(share > 0.5, grid)), str(tmp_path / "whole.nii.gz"))
    read = nibabel.load(tmp_path / "whole.nii.gz")
    ras = nibabel.affines.apply_affine(read.affine, np.argwhere(np.asarray(read.dataobj) > 0))
    assert nearer(ras * (-1, -1, 1), places[reference])


def letter(text, size):
    """A picture of a letter, as figures write it."""
    with mpl.rc_context({"font.size": size}):
        figure = Figure(figsize=(0.3, 0.3), dpi=160, facecolor="black")
        figure.text(0.5, 0.5, text, color="white", ha="center", va="center", fontsize="small")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., 0].astype(float)
    rows, columns = np.nonzero(drawn > 60)
    return drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def check_picture(rgb, colors=None):
    """The outlines lie in the left half of the brain that is shown, R at the left edge, L at the right one."""
    rgb = rgb[..., :3].astype(float)
    height, width = rgb.shape[:2]
    colors = colors or [OUTLINE_COLORS["whole"], OUTLINE_COLORS["core"]]
    body = rgb[int(0.12 * height) : int(0.85 * height), : int(0.88 * width)]
    for color in colors:
        near = np.abs(body - 255 * np.array(to_rgb(color))).max(-1) < 40
        assert near.sum() > 30
        assert np.nonzero(near)[1].mean() < 0.45 * width
    grey = rgb.mean(-1)
    strip = slice(int(0.3 * height), int(0.7 * height))
    return grey[strip, : int(0.12 * width)], grey[strip, int(0.75 * width) :]


def test_overlays(twin, patient, tmp_path):
    paths = save_overlays(twin, None, None, tmp_path, patient=patient)
    assert len(paths) == 2
    for path in paths:
        left, right = check_picture(255 * plt.imread(path))
        score = {t: [match_template(s, letter(t, 9.0)).max() for s in (left, right)] for t in "RL"}
        # a part of an R looks like an L, but no part of an L like an R
        assert score["R"][0] > 0.7 > score["R"][1]
        assert score["L"][1] > 0.7


def test_secondary_captures(exported):
    captures = [d for d in exported if d.SOPClassUID.name == "Secondary Capture Image Storage"]
    assert len(captures) == 2
    for dataset in captures:
        left, right = check_picture(dataset.pixel_array)
        assert match_template(left, letter("R", 9.0)).max() > 0.7
        assert match_template(right, letter("L", 9.0)).max() > 0.7


def brighter_left(patient, place):
    """By how much the left half of the viewer's axial frame through a point is brighter than its right half."""
    app = ViewerApp(patient)
    app.image.value = MRSequence.FLAIR
    app.plane.value = "axial"
    grid = patient.visits[0].images[MRSequence.FLAIR].grid
    app.slice.value = round(float(grid.to_index(place)[0]))
    grey = plt.imread(io.BytesIO(app._picture.value))[..., :3].mean(-1)
    middle = grey.shape[1] // 2
    return float(grey[:, :middle].mean() - grey[:, -middle:].mean())


def test_the_viewer_and_a_mirrored_image(patient, places):
    first = replace(patient.visits[0], masks={})
    assert brighter_left(replace(patient, visits=(first,), structures={}), places[0][0]) > 0.01
    flipped = replace(first, images={MRSequence.FLAIR: mirrored(first.images[MRSequence.FLAIR])})
    assert brighter_left(replace(patient, visits=(flipped,), structures={}), places[0][0]) < -0.005


def test_the_board_page(twin, patient):
    report = BoardReport.from_twin(twin, patient=patient)
    figure = board_figure(report)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = np.asarray(canvas.buffer_rgba())[..., :3].astype(float)
    panels = [ax for ax in figure.axes if {"R", "L"} <= {t.get_text() for t in ax.texts}]
    assert len(panels) == 2
    for ax in panels:
        box = ax.get_window_extent()
        rows = slice(int(len(page) - box.y1), int(len(page) - box.y0))
        shown = page[rows, int(box.x0) : int(box.x1)]
        near = np.abs(shown - 255 * np.array(to_rgb(OUTLINE_COLORS["whole"]))).max(-1) < 40
        assert near.sum() > 15
        assert np.nonzero(near)[1].mean() < 0.45 * shown.shape[1]
        letters = {t.get_text(): t.get_window_extent().x0 - box.x0 for t in ax.texts}
        assert letters["R"] < 0.2 * shown.shape[1] < 0.8 * shown.shape[1] < letters["L"]
