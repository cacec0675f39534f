"""The phantom's own solver against closed forms."""

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.phantom.growth import Biology, Tumor, diffusion_matrix, fiber_tensor, grow_to


def constant_tensor(shape, matrix):
    xx, yy, zz, xy, xz, yz = (np.full(shape, matrix[i][j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    return np.stack([xx, yy, zz, xy, xz, yz])


TENSOR = np.array([[0.30, 0.06, -0.04], [0.06, 0.20, 0.05], [-0.04, 0.05, 0.12]])


def test_matrix_is_symmetric_keeps_mass_and_takes_energy_away():
    rng = np.random.default_rng(0)
    mask = rng.random((9, 10, 11)) < 0.7
    tensor = constant_tensor((int(mask.sum()),), TENSOR)
    matrix = diffusion_matrix(tensor, mask, 1.5).toarray().astype(float)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-7)
    np.testing.assert_allclose(matrix.sum(0), 0, atol=1e-6)
    assert np.linalg.eigvalsh(matrix).max() < 1e-6


@pytest.mark.parametrize("spacing", [1.0, 1.5])
def test_second_moments_of_a_gaussian_grow_by_twice_the_tensor(spacing):
    shape = (41, 43, 45)
    mask = np.ones(shape, bool)
    tumor = Tumor(constant_tensor(shape, TENSOR), np.zeros(shape), mask, spacing, dtype=np.float64)
    z, y, x = np.indices(shape, float)
    points = np.stack([x - 22, y - 21, z - 20]).reshape(3, -1) * spacing
    tumor.living = np.exp(-(points**2).sum(0) / (2 * (2.5 * spacing) ** 2))

    def moments():
        weight = tumor.living / tumor.living.sum()
        return (points * weight) @ points.T

    before, mass = moments(), tumor.living.sum()
    tumor.advance(12.0, longest=1.0)
    np.testing.assert_allclose(moments() - before, 2 * 12.0 * TENSOR, atol=2e-3 * 24 * 0.3)
    assert tumor.living.sum() == pytest.approx(mass, rel=1e-6)


def test_without_diffusion_growth_is_logistic_and_dead_cells_clear():
    mask = np.ones((2, 2, 2), bool)
    tumor = Tumor(np.zeros((6, 2, 2, 2)), np.full((2, 2, 2), 0.05), mask, 1.0, 30.0, np.float64)
    tumor.living[:] = 0.1
    tumor.advance(40.0)
    expected = 0.1 * np.exp(2.0) / (1 + 0.1 * (np.exp(2.0) - 1))
    np.testing.assert_allclose(tumor.living, expected, rtol=1e-12)
    tumor.kill(0.0)
    np.testing.assert_allclose(tumor.dead, expected, rtol=1e-12)
    tumor.advance(70.0)
    np.testing.assert_allclose(tumor.dead, expected / 2, rtol=1e-12)
    assert tumor.living.max() == 0


def test_dead_cells_leave_less_room():
    mask = np.ones((1, 1, 1), bool)
    tumor = Tumor(np.zeros((6, 1, 1, 1)), np.full((1, 1, 1), 0.1), mask, 1.0, np.inf, np.float64)
    tumor.living[:], tumor.dead[:] = 0.1, 0.4
    tumor.advance(500.0)
    np.testing.assert_allclose(tumor.living, 0.6, rtol=1e-9)


def test_linear_quadratic_kill():
    biology = Biology(alpha=0.1, alpha_beta=10.0)
    assert biology.survival(2.0) == pytest.approx(np.exp(-0.1 * 2 - 0.01 * 4))
    assert biology.survival(2.0, 0.5) == pytest.approx(np.exp(-0.05 * 2 - 0.005 * 4))


def test_time_error_falls_with_the_square_of_the_step():
    shape = (1, 1, 40)
    x = np.arange(40.0)
    start = np.exp(-((x - 10) ** 2) / 8) * 0.5
    results = {}
    for longest in (4.0, 2.0, 1.0, 0.125):
        tensor = constant_tensor(shape, np.diag([0.3, 0, 0]))
        tumor = Tumor(tensor, np.full(shape, 0.06), np.ones(shape, bool), 1.0, dtype=np.float64)
        tumor.living = start.copy()
        tumor.advance(40.0, longest)
        results[longest] = tumor.living
    errors = [np.abs(results[step] - results[0.125]).max() for step in (4.0, 2.0, 1.0)]
    assert 3.4 < errors[0] / errors[1] < 4.6
    assert 3.4 < errors[1] / errors[2] < 4.6


def test_resection_takes_cells_out_and_keeps_the_rest():
    shape = (6, 6, 6)
    tensor = constant_tensor(shape, np.eye(3) * 0.1)
    tumor = Tumor(tensor, np.full(shape, 0.03), np.ones(shape, bool), 1.0, dtype=np.float64)
    tumor.living[:] = 0.5
    removed = np.zeros(shape, bool)
    removed[:3] = True
    tumor.resect(removed)
    assert tumor.field(tumor.living)[:3].max() == 0
    np.testing.assert_allclose(tumor.field(tumor.living)[3:], 0.5)
    tumor.advance(10.0)
    assert tumor.field(tumor.living)[:3].max() == 0


def test_fiber_tensor_is_positive_with_the_mean_and_ratio_asked_for():
    rng = np.random.default_rng(3)
    shape = (12, 12, 12)
    white = np.ones(shape, np.float32)
    points = rng.uniform(-30, 30, (3, *shape)).astype(np.float32)
    biology = Biology(diffusivity=0.1, anisotropy=3.0)
    xx, yy, zz, xy, xz, yz = fiber_tensor(white, 0 * white, points, biology, 1.5, np.ones(shape, np.float32))
    matrix = np.moveaxis(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]), (0, 1), (-2, -1))
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(values.mean(-1), 0.1, rtol=1e-4)
    np.testing.assert_allclose(values[..., 2] / values[..., 0], 3.0, rtol=1e-3)


def test_a_tumor_that_never_gets_there_and_time_that_runs_back_are_refused():
    mask = np.ones((2, 2, 2), bool)
    tumor = Tumor(np.zeros((6, 2, 2, 2)), np.zeros((2, 2, 2)), mask, 1.0)
    with pytest.raises(InputError, match="does not reach"):
        grow_to(tumor, lambda t: False, limit=10)
    with pytest.raises(InputError, match="back in time"):
        tumor.advance(tumor.day - 1)
