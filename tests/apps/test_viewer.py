"""The viewer without a browser: what is chosen is drawn, left is right, and nothing is drawn where it may not lie."""

import io
import time
from datetime import datetime
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tumortwin.apps import ViewerApp
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.patient import Patient, Visit

SHAPE = (24, 60, 50)
FRAME = "1.2.3"


def turned(flips=(1, 1, 1), degrees=0.0) -> Grid:
    """A head-sized grid around the origin; its axes may run the other way, and lean."""
    axes = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float) * flips  # columns: steps along z, y, x
    a = np.deg2rad(degrees)
    lean = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    affine = np.eye(4)
    affine[:3, :3] = lean @ axes * (6.0, 3.0, 3.0)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return Grid(SHAPE, affine, FRAME)


def near(grid: Grid, place, radius=20.0) -> np.ndarray:
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.linalg.norm(world - np.array(place), axis=-1) < radius


def patient(*grids: Grid, **more) -> Patient:
    """One visit a grid, with a bright mark on the patient's left, at the front."""
    visits = []
    for k, grid in enumerate(grids):
        mark = near(grid, (40.0, -40.0, 0.0))
        image = Volume(np.where(mark, 100.0, 10.0).astype(np.float32), grid, "a.u.", name="t1")
        masks = {"enhancing": Mask(mark, grid), "odd name <b>": Mask(near(grid, (0, 0, 0)), grid)}
        visits.append(Visit(datetime(2024, 1, 1 + k), {MRSequence.T1GD: image, MRSequence.FLAIR: image}, masks))
    return Patient("P", tuple(visits), **more)


def picture(app: ViewerApp) -> np.ndarray:
    """Brightness of the picture, 0..1."""
    return plt.imread(io.BytesIO(app._picture.value))[..., :3].mean(axis=-1)


@pytest.mark.parametrize(
    "grid",
    [turned(), turned((-1, -1, -1)), turned((1, 1, -1)), turned(degrees=20.0)],
    ids=["plain", "all flipped", "x flipped", "oblique"],
)
def test_the_patients_left_is_on_the_right(grid):
    app = ViewerApp(patient(grid))
    app.masks.value = ()
    for plane in ("axial", "coronal"):
        app.plane.value = plane
        lit = []
        for k in range(0, app.slice.max + 1, 5):
            app.slice.value = k
            shown = picture(app)
            body = shown[40:-40]  # without letters and scale bar
            lit.append((np.argwhere((body > 0.9) & (np.arange(body.shape[1]) > 20)), body.shape[1]))
        where, width = max(lit, key=lambda found: len(found[0]))
        assert len(where) > 500
        assert where[:, 1].mean() > 0.55 * width


def test_choices_change_the_picture_and_the_place_is_kept():
    app = ViewerApp(patient(turned(), turned((1, -1, 1))))
    assert app.masks.value == ("enhancing", "odd name <b>")
    first = app._picture.value
    app.masks.value = ()
    bare = app._picture.value
    assert bare != first
    app.window.value = (0.0, 30.0)
    assert app._picture.value != bare
    app.plane.value = "sagittal"
    app.slice.value = 40
    app.plane.value = "axial"
    app.plane.value = "sagittal"
    assert app.slice.value == 40
    # the other visit's rows run the other way; the place is the same
    app.plane.value = "coronal"
    app.slice.value = 10
    app.visit.value = 1
    assert app.slice.value == SHAPE[1] - 1 - 10


def test_a_move_costs_one_drawing():
    app = ViewerApp(patient(turned()))
    drawn = []
    app._picture.observe(lambda change: drawn.append(1), "value")
    app.visit.value, app.plane.value = 0, "coronal"
    assert len(drawn) == 1
    app.slice.value = 3
    assert len(drawn) == 2
    took = []
    for k in range(8):
        begin = time.perf_counter()
        app.slice.value = 10 + k
        took.append(time.perf_counter() - begin)
    assert median(took) < 2  # 0.1 s on a quiet machine


def test_a_dose_in_another_frame_is_said_not_drawn():
    there = Grid(SHAPE, turned().affine, "9.9")
    planned = patient(turned(), dose=TotalDose(60.0 * near(there, (0, 0, 0)).astype(np.float32), there, name="plan"))
    app = ViewerApp(planned)
    without = app._picture.value
    app.dose.value = True
    assert app._picture.value == without
    assert "another frame of reference: plan" in app._about.value


def test_findings_are_listed_gravest_first_and_escaped():
    found = (Finding("a", "<series>", "b", Severity.NOTE), Finding("c", "d", "e", Severity.LEFT_OUT))
    app = ViewerApp(patient(turned(), findings=found))
    assert app._findings.value.index("left out") < app._findings.value.index("note")
    assert "&lt;series&gt;" in app._findings.value


@pytest.mark.parametrize(
    "values",
    [np.zeros(SHAPE), np.full(SHAPE, np.nan), np.where(np.indices(SHAPE)[0] == 3, np.inf, 1)],
    ids=["zeros", "nan", "inf"],
)
def test_images_without_contrast_are_shown(values):
    made = patient(turned())
    image = Volume(values, turned(), "a.u.")
    app = ViewerApp(Patient("P", (Visit(made.visits[0].date, {MRSequence.T1: image}),)))
    app.slice.value = 3
    assert picture(app).shape[0] > 100


def test_one_slice_is_enough():
    grid = turned().cropped((slice(5, 6), slice(None), slice(None)))
    app = ViewerApp(patient(grid))
    assert app.slice.disabled
    assert picture(app).size


def test_without_an_image_there_is_nothing_to_view():
    with pytest.raises(InputError, match="no image"):
        ViewerApp(Patient("P", ()))
