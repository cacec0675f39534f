"""Radiological convention as data: what lands where in the picture, for any orientation of the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tumortwin.board.cuts import Plane, best_slice, cut_at, reslice_grid
from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid

LEFT, BACK, HEAD = np.eye(3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any rotation (within 40 degrees of some axis order), flips, spacings and odd shapes."""
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    axis = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 3))) + 1e-3
    turn = Rotation.from_rotvec(np.radians(draw(st.floats(0, 40))) * axis / np.linalg.norm(axis)).as_matrix()
    spacing = draw(st.tuples(*[st.floats(0.5, 5)] * 3))
    affine = np.eye(4)
    affine[:3, :3] = turn @ (np.eye(3)[:, order] * signs) * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    return Grid(draw(st.tuples(*[st.integers(5, 12)] * 3)), affine)


def place(grid: Grid, cut, direction: np.ndarray) -> tuple[float, float]:
    """Where (row, column, as shares of the picture) a point lies that is off the middle in a patient direction."""
    index = grid.to_index(grid.center + 1e-3 * direction)
    row, column = cut.pixel(index)
    rows, columns = cut.picture(np.zeros(grid.shape)).shape
    return row / (rows - 1), column / (columns - 1)


@settings(max_examples=60, deadline=None)
@given(grids())
def test_patients_left_is_on_the_right_half_of_the_picture(grid: Grid) -> None:
    for plane, down, right in ((Plane.AXIAL, BACK, LEFT), (Plane.CORONAL, -HEAD, LEFT), (Plane.SAGITTAL, -HEAD, BACK)):
        cut = cut_at(grid, plane)
        # along the picture's own axes: those array axes that were matched to the anatomical ones
        columns = grid.affine[:3, cut.axes[2]] * np.sign(grid.affine[:3, cut.axes[2]] @ right)
        rows = grid.affine[:3, cut.axes[1]] * np.sign(grid.affine[:3, cut.axes[1]] @ down)
        assert columns @ right > 0
        assert place(grid, cut, columns)[1] > 0.5 > place(grid, cut, -columns)[1]
        assert place(grid, cut, rows)[0] > 0.5 > place(grid, cut, -rows)[0]


@settings(max_examples=40, deadline=None)
@given(grids(), st.integers(0, 10_000))
def test_the_picture_holds_the_voxel_where_pixel_says(grid: Grid, seed: int) -> None:
    index = tuple(np.random.default_rng(seed).integers(0, grid.shape))
    marked = np.zeros(grid.shape)
    marked[index] = 1
    for plane in Plane:
        cut = best_slice(grid, marked, plane=plane)
        picture = cut.picture(marked)
        row, column = cut.pixel(index)
        assert picture[int(row), int(column)] == 1
        assert picture.sum() == 1


@pytest.mark.parametrize(
    ("plane", "letters"),
    [
        (Plane.AXIAL, {"left": "R", "right": "L", "top": "A", "bottom": "P"}),
        (Plane.CORONAL, {"left": "R", "right": "L", "top": "S", "bottom": "I"}),
        (Plane.SAGITTAL, {"left": "A", "right": "P", "top": "S", "bottom": "I"}),
    ],
)
@settings(max_examples=20, deadline=None)
@given(grid=grids())
def test_letters(plane: Plane, letters: dict[str, str], grid: Grid) -> None:
    cut = cut_at(grid, plane)
    if np.abs(cut._directions[1:]).max(axis=1).min() > 0.75:  # below, a row's main direction is another one
        assert cut.letters == letters


def test_cut_position_and_text() -> None:
    grid = Grid.regular((11, 8, 8), 2.0, (0, 0, -30))
    cut = cut_at(grid, "axial", -24.2)
    assert cut.index == 3
    assert cut.position_text == "axial I 24 mm"
    assert cut_at(grid, "axial").position == pytest.approx(-20)
    with pytest.raises(InputError, match="does not reach"):
        cut_at(grid, "axial", 20.0)
    with pytest.raises(InputError, match="axial, coronal, sagittal"):
        cut_at(grid, "transverse")


def test_oblique_slices_say_so() -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", 25, degrees=True).as_matrix()
    grid = Grid((5, 6, 7), turn @ Grid.regular((5, 6, 7)).affine)
    assert "25° oblique" in cut_at(grid, "axial").position_text


def test_best_slice_and_nothing_to_show() -> None:
    grid = Grid.regular((9, 8, 7))
    region = np.zeros(grid.shape)
    region[6, 2:5, 2:5] = 1
    region[2, 3, 3] = 1
    assert best_slice(grid, region).index == 6
    with pytest.raises(InputError, match="cut_at"):
        best_slice(grid, np.zeros(grid.shape))


@settings(max_examples=30, deadline=None)
@given(grids(), st.sampled_from(list(Plane)))
def test_a_resliced_grid_is_in_its_plane_and_covers_the_grid(grid: Grid, plane: Plane) -> None:
    axis = {Plane.AXIAL: 2, Plane.CORONAL: 1, Plane.SAGITTAL: 0}[plane]
    flat = reslice_grid(grid, plane, float(grid.center[axis]))
    cut = cut_at(flat, plane)
    assert cut.obliquity == pytest.approx(0, abs=1e-6)
    assert cut.position == pytest.approx(grid.center[axis])
    assert not any(cut.flips)
    corners = grid.to_world(np.stack(np.meshgrid(*[(0, n - 1) for n in grid.shape]), -1).reshape(-1, 3))
    index = flat.to_index(corners)[:, 1:]
    assert (index > -0.5 - 1e-9).all()
    assert (index < np.array(flat.shape[1:]) - 0.5 + 1e-9).all()
