"""The editor without a browser: a hand changes the volume, steps go back, and what is saved is what is seen."""

import io
import re
import shutil
import sys
import time
from datetime import datetime
from statistics import median

import numpy as np
import pydicom
import pytest
from PIL import Image

import tumortwin as tt
from tumortwin.apps import EditorApp
from tumortwin.errors import InputError
from tumortwin.geometry.editing.strokes import Stroke
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit

FRAME = "1.2.3"


def turned(shape=(24, 60, 50), spacing=(6.0, 3.0, 3.0), flips=(1, -1, 1), degrees=0.0) -> Grid:
    axes = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float) * flips
    a = np.deg2rad(degrees)
    lean = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    affine = np.eye(4)
    affine[:3, :3] = lean @ axes * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, FRAME)


def near(grid: Grid, place, radius=20.0) -> np.ndarray:
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.linalg.norm(world - np.array(place), axis=-1) < radius


def scan(grid: Grid, name: str) -> Volume:
    signal = np.where(near(grid, (20, 10, 0)), 100.0, 40.0) + np.random.default_rng(0).normal(0, 4, grid.shape)
    return Volume(signal.astype(np.float32), grid, "a.u.", name=name)


def patient(grid: Grid, masks=None) -> Patient:
    other = turned((40, 40, 40), (4, 4, 4), (1, 1, 1))
    images = {MRSequence.T1GD: scan(grid, "t1"), MRSequence.FLAIR: scan(other, "flair")}
    return Patient("P", tuple(Visit(datetime(2024, 1, day), images, masks or {}) for day in (1, 2)))


@pytest.fixture(params=[turned(), turned(degrees=25.0)], ids=["plain", "oblique"])
def app(request) -> EditorApp:
    return EditorApp(patient(request.param))


def shown_ml(app: EditorApp) -> float:
    return float(re.search(r": (\d+\.\d+) mL", app._numbers.value)[1])


def picture(app: EditorApp) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(app.canvas.frame)).convert("RGB"), int)


def draw(app: EditorApp, *points, number=1, done=True) -> None:
    app.canvas.fire({"kind": "stroke", "id": number, "points": [list(p) for p in points], "done": done})


def at(app: EditorApp, world) -> list[float]:
    """Where in the picture a place is, after turning to its slice."""
    cut = app._picture.cut
    index = app.sheet.grid.to_index(world)
    app.slice.value = round(index[cut.axes[0]])
    row, column = app._picture.cut.pixel(index)
    shape = app.sheet.grid.shape
    return [(column + 0.5) / shape[cut.axes[2]], (row + 0.5) / shape[cut.axes[1]]]


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_stroke_is_drawn_where_the_hand_was(app, plane):
    app.plane.value = plane
    app.brush.value = 12.0
    before, start = picture(app), shown_ml(app)
    draw(app, (0.3, 0.4), (0.4, 0.4))
    assert start == 0 < shown_ml(app) == pytest.approx(app.mask.volume_ml, abs=0.005)
    # what changed in the picture is where the stroke went, and as large as the brush
    changed = np.argwhere((picture(app) != before).any(-1)) / picture(app).shape[:2]
    _, width, height, _ = app._picture.cut.extent
    low, high = changed.min(0), changed.max(0)
    # to within the outline's voxel
    voxel = 1.2 * max(app.sheet.grid.spacing)
    np.testing.assert_allclose(low * (height, width), (0.4 * height - 6, 0.3 * width - 6), atol=voxel)
    np.testing.assert_allclose(high * (height, width), (0.4 * height + 6, 0.4 * width + 6), atol=voxel)
    # in the world, too
    stroke = Stroke([app._picture.place(0.3, 0.4), app._picture.place(0.4, 0.4)], 6.0, app._picture.cut.axes[0])
    np.testing.assert_array_equal(app.mask.array, stroke.voxels(app.sheet.grid))


def test_undo_redo_erase_and_the_ball(app):
    app.brush.value = 20.0
    draw(app, (0.5, 0.5))
    one = shown_ml(app)
    draw(app, (0.6, 0.5), number=2)
    two = shown_ml(app)
    assert two > one
    app.undo.click()
    assert shown_ml(app) == one
    app.canvas.fire({"kind": "key", "key": "z"})
    assert shown_ml(app) == 0
    assert app.undo.disabled
    app.redo.click()
    app.canvas.fire({"kind": "key", "key": "Z"})
    assert shown_ml(app) == two
    app.tool.value = "erase"
    draw(app, (0.6, 0.5), number=3)
    assert 0 < shown_ml(app) < one
    app.tool.value, app.ball.value = "paint", True
    draw(app, (0.5, 0.5), number=4)
    assert np.flatnonzero(app.mask.array.any((1, 2))).size > 1
    assert app._message.value == ""


def test_the_parts_of_a_stroke_are_one_step(app):
    app.brush.value = 10.0
    draw(app, (0.5, 0.5), number=1)
    kept = app.mask.array.copy()
    # begins inside what is drawn: its first part changes nothing, and may not be joined to the step before
    draw(app, (0.5, 0.5), number=2, done=False)
    draw(app, (0.5, 0.5), (0.7, 0.5), number=2, done=False)
    draw(app, (0.7, 0.5), (0.7, 0.7), number=2)
    assert app.mask.array.sum() > 2 * kept.sum()
    app.undo.click()
    np.testing.assert_array_equal(app.mask.array, kept)
    app.undo.click()
    assert not app.mask.array.any()


@pytest.mark.parametrize("image", ["T1Gd", "FLAIR"])
def test_hints_growing_and_refining_find_the_lesion(app, image):
    app.image.value = image
    truth = near(app.sheet.grid, (20, 10, 0))

    def dice() -> float:
        return 2 * (app.mask.array & truth).sum() / (app.mask.array.sum() + truth.sum())

    app.tool.value = "click"
    app.canvas.fire({"kind": "click", "at": at(app, (18, 8, 2))})
    app.wait()
    assert dice() > 0.9
    assert "mL" in app._message.value
    app.undo.click()
    assert not app.mask.array.any()

    app.tool.value = "box"
    x, y = at(app, (20, 10, 0))
    _, width, height, _ = app._picture.cut.extent
    app.canvas.fire(
        {"kind": "box", "start": [x - 26 / width, y - 26 / height], "end": [x + 26 / width, y + 26 / height]}
    )
    app.wait()
    assert dice() > 0.9
    app.undo.click()

    app.tool.value, app.tolerance.value, app.ball.value = "grow", 4.0, True
    app.canvas.fire({"kind": "click", "at": at(app, (20, 10, 0))})
    grown = dice()
    assert grown > 0.8
    app.refine.click()
    app.wait()
    assert dice() > 0.88
    app.tool.value = "remove"
    app.canvas.fire({"kind": "click", "at": at(app, (20, 10, 0))})
    assert not app.mask.array.any()


def test_slices_are_filled_between_drawn_ones():
    app = EditorApp(scan(turned((30, 50, 50), (2, 3, 3)), "one"), region="whole")
    app.brush.value = 30.0
    for k in (5, 11, 17):
        app.slice.value = k
        draw(app, (0.5, 0.5), number=k)
    drawn = app.mask.volume_ml
    app.interpolate.click()
    assert app.mask.volume_ml == pytest.approx(drawn / 3 * 13)
    app.brush.value = 3.0
    draw(app, (0.05, 0.05), number=30)
    app.clean.click()
    app.fill.click()
    assert app.mask.volume_ml == pytest.approx(drawn / 3 * 13)


def test_wheel_keys_and_choices_only_look():
    grid = turned()
    app = EditorApp(patient(grid, {"enhancing": Mask(near(grid, (20, 10, 0)), grid)}))
    volume, first = app.mask.volume_ml, app.canvas.frame
    assert volume == pytest.approx(33.5, rel=0.1)
    where = app.slice.value
    app.canvas.fire({"kind": "wheel", "steps": 2})
    app.canvas.fire({"kind": "key", "key": "ArrowUp"})
    assert app.slice.value == where + 3
    app.canvas.fire({"kind": "wheel", "steps": -99})
    assert app.slice.value == 0
    app.canvas.fire({"kind": "key", "key": "]"})
    assert app.brush.value == 9.0
    assert app.canvas.brush == pytest.approx(4.5 / 150)
    app.image.value = "FLAIR"
    app.plane.value = "coronal"
    app.window.value = (0.0, 30.0)
    assert app.canvas.frame != first
    assert app.mask.volume_ml == volume
    app.region.value = "whole"
    assert shown_ml(app) == 0
    assert "enhancing 3" in app._numbers.value
    # each visit is drawn by itself
    draw(app, (0.5, 0.5))
    app.visit.value = 1
    assert shown_ml(app) == 0
    assert set(app.masks) == {"enhancing"}
    app.visit.value = 0
    assert set(app.masks) == {"enhancing", "whole tumor"}


def test_what_cannot_be_done_is_said_in_the_app(app):
    for act, said in ((app.interpolate.click, "two or more slices"), (app.save.click, "source=FOLDER")):
        act()
        assert said in app._message.value
    app.refine.click()
    app.wait()
    assert "the mask is empty" in app._message.value
    app.tool.value = "remove"
    app.canvas.fire({"kind": "click", "at": [0.5, 0.5]})
    assert "no piece of the mask" in app._message.value
    app.tool.value = "click"
    app.canvas.fire({"kind": "click", "at": [1.5, 0.5]})
    app.wait()
    assert "outside the image" in app._message.value
    app.canvas.fire({"kind": "wheel", "steps": 1})
    assert app._message.value == ""


def test_a_computation_can_be_cancelled_and_keeps_the_hand_off(app, monkeypatch):
    import threading

    from tumortwin.apps import editor

    begun, go = threading.Event(), threading.Event()
    right = editor.segment_from_click

    def slow(image, point, progress):
        begun.set()
        assert go.wait(30)
        return right(image, point, progress=progress)

    monkeypatch.setattr(editor, "segment_from_click", slow)
    app.tool.value = "click"
    app.canvas.fire({"kind": "click", "at": at(app, (20, 10, 0))})
    assert begun.wait(30)
    app.tool.value = "paint"
    draw(app, (0.5, 0.5))
    assert "wait until it is computed" in app._message.value
    app.cancel.click()
    go.set()
    app.wait()
    assert not app.mask.array.any()
    assert "cancelled" in app._message.value
    assert app.cancel.disabled
    draw(app, (0.5, 0.5), number=2)
    assert app.mask.array.any()


def test_a_redraw_is_soon():
    app = EditorApp(patient(turned((90, 110, 94), (2, 2, 2))))
    app.brush.value = 16.0
    took = []
    for k in range(10):
        begin = time.perf_counter()
        draw(app, (0.3 + 0.03 * k, 0.5), (0.33 + 0.03 * k, 0.5), number=1, done=False)
        took.append(time.perf_counter() - begin)
    assert median(took) < 1.0  # 0.05 s on a quiet machine


def test_masks_and_images_of_another_frame_are_left_out_and_said():
    grid = turned()
    there = Grid(grid.shape, grid.affine, "9.9")
    visit = Visit(
        datetime(2024, 1, 1),
        {MRSequence.T1GD: scan(grid, "a"), MRSequence.T2: scan(there, "b")},
        {"enhancing": Mask(near(there, (0, 0, 0)), there), "odd": Mask(near(grid, (0, 0, 0)), grid)},
    )
    app = EditorApp(visit)
    assert app.image.options == ("T1Gd",)
    assert not app.mask.array.any()
    assert "T2" in app._message.value
    assert "odd" in app._message.value
    assert EditorApp(scan(grid, "a"))._message.value == ""


def test_without_an_image_or_anywidget_there_is_no_editor(monkeypatch):
    with pytest.raises(InputError, match="no image"):
        EditorApp(Patient("P", ()))
    with pytest.raises(InputError, match="no image"):
        EditorApp({})
    with pytest.raises(InputError, match="a region is one of"):
        EditorApp(scan(turned(), "a"), region="tumour")
    with pytest.raises(InputError, match="give one visit"):
        EditorApp(patient(turned()), masks={})
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "tumortwin.apps.canvas", raising=False)
    with pytest.raises(InputError, match=r"pip install 'tumortwin\[lab\]'"):
        EditorApp(scan(turned(), "a"))


@pytest.fixture(scope="module")
def read(sample) -> Patient:
    return tt.read_patient(sample)


def test_what_is_saved_is_what_was_drawn(read, sample, tmp_path, dicom_errors):
    path = tmp_path / "drawn.dcm"
    app = EditorApp(read, source=sample, file=path)
    # the masks that come with the patient are opened
    opened = {name: mask.array.copy() for name, mask in app.masks.items()}
    assert set(opened) == {"enhancing", "necrosis", "edema"}
    draw(app, (0.5, 0.5), (0.55, 0.5))
    app.region.value = "cavity"
    draw(app, (0.4, 0.4), number=2)
    app.save.click()
    app.wait()
    assert "written" in app._message.value
    assert dicom_errors(path) == []
    written = pydicom.dcmread(path)
    labels = [str(s.SegmentLabel) for s in written.SegmentSequence]
    assert labels == ["enhancing", "necrosis", "edema", "resection cavity"]
    assert written.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"

    import highdicom

    segmentation = highdicom.seg.segread(path)
    for number, name in enumerate(labels, 1):
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
        mask = app.masks[name]
        assert float(volume.array.sum()) == mask.array.sum()
        # the same places, whichever box highdicom gives
        points = np.argwhere(volume.array[..., 0])
        world = points @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        assert mask.array[tuple(np.round(mask.grid.to_index(world)).astype(int).T)].all()
    assert (app.masks["necrosis"].array == opened["necrosis"]).all()

    # a file that is there stays, unless asked
    kept = path.read_bytes()
    draw(app, (0.3, 0.3), number=3)
    app.save.click()
    app.wait()
    assert "written" not in app._message.value
    assert str(path) in app._message.value
    assert path.read_bytes() == kept
    app.overwrite.value = True
    app.save.click()
    app.wait()
    assert path.read_bytes() != kept


def test_what_was_saved_beside_its_images_is_read_again_and_opened(sample, tmp_path):
    folder = tmp_path / "visit"
    shutil.copytree(sample / "0-diagnosis", folder)
    for path in folder.rglob("*.dcm"):
        if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SEG":
            path.unlink()
    app = EditorApp(tt.read_patient(folder), source=folder, file=folder / "drawn.dcm", region="cavity")
    assert app.masks == {}
    for number, region in enumerate(("cavity", "whole")):
        app.region.value = region
        draw(app, (0.3, 0.3 + 0.1 * number), (0.4, 0.3), number=number)
    app.save.click()
    app.wait()
    again = EditorApp(tt.read_patient(folder))
    assert list(again.masks) == ["whole tumor", "resection cavity"]
    for name, mask in app.masks.items():
        np.testing.assert_array_equal(again.masks[name].array, mask.array)


def test_an_empty_drawing_is_not_saved(read, sample, tmp_path):
    app = EditorApp(read.visits[1], source=sample, file=tmp_path / "none.dcm")
    app.save.click()
    app.wait()
    assert "nothing" in app._message.value
    assert not list(tmp_path.iterdir())
