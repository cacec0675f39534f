"""Diameters and volumes against analytic shapes, on anisotropic, oblique and sagittal grids."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.geometry import measure
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
    assert found.perpendicular_mm == pytest.approx(26, rel=0.015)
    assert found.product_mm2 == pytest.approx(44 * 26, rel=0.02)
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
    assert found.perpendicular_mm == pytest.approx(36, rel=0.02)


def test_a_sagittal_image_is_measured_in_axial_planes():
    affine = np.eye(4)
    affine[:3, :3] = np.array([(-1, 0, 0), (0, 0, -1), (0, 1, 0)]).T
    grid = Grid((60, 80, 70), affine)
    # long along z: an axial plane does not see it
    found = measure(ellipsoid(grid, grid.center, (12, 18, 30)))
    assert found.longest_mm == pytest.approx(36, rel=0.02)
    assert found.perpendicular_mm == pytest.approx(24, rel=0.03)


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
