"""Diameters and volumes against analytic shapes, on anisotropic, oblique and sagittal grids."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.geometry import measure
from tumortwin.geometry.measures.ellipsoid import Ellipsoid
from tumortwin.imaging.volume import Grid, Mask


def ellipsoid(grid, center, radii, turn_z_degrees=0.0):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    local = (grid.to_world(index) - center) @ Rotation.from_euler("z", turn_z_degrees, True).as_matrix()
    return Mask(((local / radii) ** 2).sum(-1) <= 1, grid)


def oblique(degrees, spacing, shape=(60, 90, 90)):
    affine = np.eye(4)
    axes = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]).T
    affine[:3, :3] = Rotation.from_euler("x", degrees, True).as_matrix() @ axes * spacing
    return Grid(shape, affine)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 0.8, 1.1)])
def test_ellipsoid_turned_in_plane(spacing):
    grid = Grid.regular((60, 90, 90), spacing, (-40, -40, -40))
    radii = np.array([22.0, 13.0, 15.0])
    found = measure(ellipsoid(grid, grid.center, radii, 33))
    assert found.longest_mm == pytest.approx(44, rel=0.01)
    assert found.perpendicular_mm == pytest.approx(26, rel=0.01)
    assert found.product_mm2 == pytest.approx(44 * 26, rel=0.01)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * radii.prod() / 1000, rel=0.01)
    ends = np.array(found.longest_ends)
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(found.longest_mm)
    along = (ends[1] - ends[0]) / found.longest_mm
    across = np.subtract(*found.perpendicular_ends)
    assert abs(along @ across) < 0.01 * found.perpendicular_mm
    assert abs(along @ Rotation.from_euler("z", 33, True).as_matrix()[:, 0]) > 0.99


def test_sphere_on_an_oblique_grid():
    grid = oblique(20, (1.0, 0.9, 0.9))
    found = measure(ellipsoid(grid, grid.center, (18, 18, 18)))
    assert found.longest_mm == pytest.approx(36, rel=0.01)
    assert found.perpendicular_mm == pytest.approx(36, rel=0.01)


def test_a_sagittal_image_is_measured_in_axial_planes():
    affine = np.eye(4)
    affine[:3, :3] = np.array([(-1, 0, 0), (0, 0, -1), (0, 1, 0)]).T
    grid = Grid((60, 80, 70), affine)
    # long along z: an axial plane does not see it
    found = measure(ellipsoid(grid, grid.center, (12, 18, 30)))
    assert found.longest_mm == pytest.approx(36, rel=0.01)
    assert found.perpendicular_mm == pytest.approx(24, rel=0.01)


def test_shares_count_by_part_and_nothing_is_zero():
    grid = Grid.regular((3, 8, 8), 2.0)
    share = np.zeros(grid.shape, np.float32)
    share[1, 3, 2:6] = 0.75
    found = measure(share, grid)
    assert found.volume_ml == pytest.approx(4 * 0.75 * 8 / 1000)
    assert 6 < found.longest_mm < 10
    assert measure(np.zeros(grid.shape, np.float32), grid).product_mm2 == 0


def test_shares_need_their_grid():
    with pytest.raises(ValueError, match="grid"):
        measure(np.zeros((2, 2, 2), np.float32))


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    from shapes import shapes

    return shapes


@pytest.mark.parametrize("kind", ["sphere", "ellipsoid", "shell"])
@pytest.mark.parametrize(("shares", "across"), [(False, 16), (True, 5)])
def test_analytic_shapes_within_one_per_cent(shapes, kind, shares, across):
    """Five poses: axial, sagittal, coronal, oblique, any. The whole sweep is benchmarks/measures.py."""
    for shape in shapes(kind, 5, across, shares=shares, seed=12):
        found = measure(shape.lesion, shape.grid if shares else None)
        assert np.abs(shape.errors(found)).max() < 0.01, (shape.kind, shape.pose, shape.grid)
        ends = np.array(found.longest_ends)
        assert np.ptp(ends[:, 2]) < 1e-6  # in an axial plane
        assert np.linalg.norm(np.subtract(*ends)) == pytest.approx(found.longest_mm)


def test_the_axial_section_of_an_oblique_ellipsoid():
    """Against the longest chord of many sections of a cloud of surface points."""
    body = Ellipsoid.turned((1, 2, 3), (5, 9, 15), Rotation.from_euler("xyz", (30, 50, 10), True).as_matrix())
    values, vectors = np.linalg.eigh(body.shape)
    normal = np.array([0, 0, 1])
    # the section through the center, in a basis of its plane, by brute force over directions
    angle = np.linspace(0, np.pi, 20001)
    way = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    chord = 2 / np.sqrt(np.einsum("ni,ij,nj->n", way, np.linalg.inv(body.shape), way))
    assert body.axial_mm == pytest.approx((chord.max(), chord.min()), rel=1e-6)
    assert body.longest_mm == pytest.approx(30)
    assert body.volume_ml == pytest.approx(4 / 3 * np.pi * 5 * 9 * 15 / 1000)
    # half its height: the farthest point along the normal
    top = vectors @ (np.sqrt(values) * (vectors.T @ normal) * np.sqrt(values)) / np.sqrt(normal @ body.shape @ normal)
    assert top[2] == pytest.approx(np.sqrt(body.shape[2, 2]))


def test_the_interval_is_the_edge_times_the_surface():
    grid = Grid.regular((40, 44, 44), 1.0)
    mask = ellipsoid(grid, grid.center, (14, 14, 14))
    found = measure(mask, edge_mm=0.5)
    low, high = found.interval_ml
    assert (high - low) / 2 == pytest.approx(1.645 * 0.5 * 4 * np.pi * 14**2 / 1000, rel=0.02)
    assert (low + high) / 2 == pytest.approx(found.volume_ml)
    assert found.counted_ml == mask.volume_ml
    exact = measure(mask, edge_mm=0)
    assert exact.interval_ml == pytest.approx((exact.volume_ml, exact.volume_ml))
    # the least that a mask leaves open holds the truth
    low, high = measure(mask).interval_ml
    assert low < 4 / 3 * np.pi * 14**3 / 1000 < high


def test_the_interval_of_a_probability():
    grid = Grid.regular((40, 44, 44), 1.0)
    away = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.center, axis=-1)
    probability = np.clip(0.5 - (away - 14) / 4, 0, 1).astype(np.float32)
    found = measure(Mask(probability >= 0.5, grid), probability=probability)
    assert found.interval_ml == pytest.approx(tuple(4 / 3 * np.pi * r**3 / 1000 for r in (12.2, 15.8)), rel=0.03)
    with pytest.raises(ValueError, match="probabilities"):
        measure(Mask(probability >= 0.5, grid), probability=probability[1:])
    with pytest.raises(ValueError, match="0 mm"):
        measure(Mask(probability >= 0.5, grid), edge_mm=-1)


def test_a_shape_that_is_no_ellipsoid_is_hardly_corrected(shapes):
    for shape in shapes("capsule", 3, 16, shares=True, seed=12):
        found = measure(shape.lesion, shape.grid)
        assert np.abs(shape.errors(found)).max() < 0.04
    assert {f.name for f in fields(found)} >= {"interval_ml", "counted_ml", "longest_3d_mm"}
