"""Pictures that follow a slider: quick redraws show the same as a full drawing."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from tumortwin.board.cuts import cut_at
from tumortwin.board.live import DensityPicture, FrontPicture
from tumortwin.imaging.volume import Grid, Volume

EDGES = {"whole": 0.25, "core": 0.7}


@pytest.fixture
def anatomy() -> Volume:
    grid = Grid.regular((1, 50, 40), (3.0, 2.0, 2.0))
    return Volume(np.random.default_rng(0).random(grid.shape), grid)


def blob(anatomy: Volume, radius: float) -> np.ndarray:
    grid = anatomy.grid
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - (grid.center - np.array([10, 5, 0]))
    return 1 / (1 + np.exp((np.linalg.norm(points, axis=-1) - radius) / 2))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


def drawn_in_full(picture) -> np.ndarray:
    canvas = FigureCanvasAgg(picture.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), int)[..., :3]


def differing(png: bytes, picture) -> float:
    """Share of the pixels that a full drawing has otherwise."""
    return float((pixels(png) != drawn_in_full(picture)).any(-1).mean())


def test_a_redraw_is_a_full_drawing(anatomy):
    picture = DensityPicture(anatomy, cut_at(anatomy.grid), EDGES)
    picture.show(blob(anatomy, 25.0), "before")
    assert differing(picture.show(blob(anatomy, 12.0), "day 5"), picture) == 0


def test_the_picture_returns_to_what_it_was(anatomy):
    picture = DensityPicture(anatomy, cut_at(anatomy.grid), EDGES)
    first = picture.show(blob(anatomy, 12.0), "day 5")
    assert picture.show(blob(anatomy, 20.0), "day 9") != first
    assert picture.show(blob(anatomy, 12.0), "day 5") == first
    artists = len(picture.figure.axes[0].get_children())
    for radius in (5.0, 9.0, 0.0):
        picture.show(blob(anatomy, radius), "")
    assert len(picture.figure.axes[0].get_children()) == artists


def test_the_edges_lie_where_the_density_crosses_them(anatomy):
    picture = DensityPicture(anatomy, cut_at(anatomy.grid), EDGES)
    picture.show(blob(anatomy, 20.0), "")
    left, right, bottom, _ = cut_at(anatomy.grid).extent
    center = np.array([(left + right) / 2 - 10, bottom / 2 - 5])
    for name, edge in EDGES.items():
        (line,) = picture._lines[name].get_segments()
        distance = np.linalg.norm(line - center, axis=1)
        np.testing.assert_allclose(distance, 20 + 2 * np.log(1 / edge - 1), atol=0.3)


def test_faint_densities_are_not_drawn(anatomy):
    picture = DensityPicture(anatomy, cut_at(anatomy.grid), EDGES, faintest=0.05)
    empty = picture.show(np.zeros(anatomy.grid.shape), "")
    assert picture.show(np.full(anatomy.grid.shape, 0.049), "") == empty
    assert picture.show(np.full(anatomy.grid.shape, 0.051), "") != empty


def test_the_front_picture_shows_what_it_is_given():
    days = np.arange(0.0, 101, 5)
    picture = FrontPicture(days, 50.0, EDGES)
    radii = {"whole": 5 + 0.2 * days, "core": 0.2 * days}
    plain = picture.show(radii, {}, 0.2, 50.0, None, None)
    assert pixels(plain).shape == (550, 550, 3)
    # only where a curve meets the axes' lines, another may be on top
    assert differing(plain, picture) < 1e-3
    treated = picture.show(radii, {name: r + 3 for name, r in radii.items()}, 0.2, 50.0, (20.0, 60.0), 10.0)
    assert differing(treated, picture) < 2e-3 < differing(plain, picture)
    # theory starts where the outermost edge does
    np.testing.assert_allclose(picture._theory.get_ydata(), [5, 25])
    assert picture.show(radii, {}, 0.2, 50.0, None, None) == plain
