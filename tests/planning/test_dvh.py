"""Dose-volume histograms against analytic spheres and their own definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tumortwin.errors import InputError
from tumortwin.planning import dose_volume_histogram

RADIUS, STEP = 20.0, 2.0


@pytest.fixture(scope="module")
def sphere() -> tuple[np.ndarray, np.ndarray]:
    """Shares of voxels inside a sphere (from 5^3 points each), and the voxel centres (x and radius) in mm."""
    n = 24
    fine = (np.arange(5 * n) + 0.5) * STEP / 5 - n * STEP / 2
    z, y, x = np.meshgrid(fine, fine, fine, indexing="ij", sparse=True)
    share = (z**2 + y**2 + x**2 <= RADIUS**2).reshape(n, 5, n, 5, n, 5).mean((1, 3, 5))
    centers = (np.arange(n) + 0.5) * STEP - n * STEP / 2
    return share, np.stack(np.meshgrid(centers, centers, centers, indexing="ij"))


def test_linear_dose_over_a_sphere_is_its_caps(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    share, points = sphere
    # dose rises by 1 Gy/mm along x, 30 Gy in the middle
    dvh = dose_volume_histogram(30 + points[2], share, STEP**3, "sphere")
    total = 4 / 3 * np.pi * RADIUS**3 / 1000
    assert dvh.total_ml == pytest.approx(total, rel=2e-3)
    assert dvh.mean == pytest.approx(30, abs=1e-6)
    for x in (-14, -6, 0, 6, 14):  # between two planes of voxels, where a staircase is exact
        h = RADIUS - x
        assert dvh.volume_at(30 + x) == pytest.approx(np.pi * h**2 * (3 * RADIUS - h) / 3 / 1000, rel=5e-3)
    for x in (-15, 1, 15):  # on a plane, which then counts whole
        assert dvh.volume_at(30 + x) == pytest.approx(dvh.volume_at(30 + x - STEP / 2), abs=1e-9)
    assert dvh.dose_to_percent(50) == pytest.approx(30, abs=STEP / 2)


def test_radial_dose_over_a_sphere(sphere: tuple[np.ndarray, np.ndarray]) -> None:
    share, points = sphere
    dvh = dose_volume_histogram(60 - np.linalg.norm(points, axis=0), share, STEP**3)
    # volume with dose >= 60 - r is that of a sphere of radius r; the mean depth of a ball is 3 R / 4
    assert dvh.mean == pytest.approx(60 - 0.75 * RADIUS, abs=0.05)
    for r in (5.0, 10.0, 15.0):
        assert dvh.volume_at(60 - r) / dvh.total_ml == pytest.approx((r / RADIUS) ** 3, abs=0.01)
    for percent in (2, 20, 50, 80, 98):
        expected = 60 - RADIUS * (percent / 100) ** (1 / 3)
        assert dvh.dose_to_percent(percent) == pytest.approx(expected, abs=0.5)


def test_uniform_dose_is_exact() -> None:
    dvh = dose_volume_histogram(np.full((3, 4, 5), 2.3), np.ones((3, 4, 5), bool), 8.0)
    assert (dvh.total_ml, dvh.mean, dvh.maximum) == pytest.approx((0.48, 2.3, 2.3))
    assert dvh.dose_to_percent(100) == dvh.dose_to_ml(0.03) == pytest.approx(2.3)
    assert dvh.volume_at(2.29) == pytest.approx(0.48)
    assert dvh.volume_at(2.31) == 0
    assert dvh.curve([0, 2.2, 5]) == pytest.approx([100, 100, 0])


def test_shares_count_in_part() -> None:
    dvh = dose_volume_histogram(np.array([[[10.0, 20.0, 30.0]]]), np.array([[[1.0, 0.5, 0.0]]]), 1000.0)
    assert dvh.total_ml == pytest.approx(1.5)
    assert dvh.maximum == 20
    assert dvh.mean == pytest.approx(20 / 1.5)
    assert dvh.dose_to_ml(0.5) == 20
    assert dvh.dose_to_ml(0.51) == 10


@given(
    dose=arrays(float, (2, 3, 4), elements=st.floats(0, 80)),
    share=arrays(float, (2, 3, 4), elements=st.floats(0, 1)),
    volume=st.floats(1e-4, 0.3),
    level=st.floats(0, 90),
)
def test_definitions_hold_for_any_dose(dose: np.ndarray, share: np.ndarray, volume: float, level: float) -> None:
    share = np.where(share < 1e-3, 0, share)
    share[0, 0, 0] = 1
    dvh = dose_volume_histogram(dose, share, 8.0)
    weights = share * 8 / 1000
    assert dvh.total_ml == pytest.approx(weights.sum())
    assert dvh.mean == pytest.approx((weights * dose).sum() / weights.sum(), abs=1e-9)
    assert (np.diff(dvh.dose) < 0).all()
    # 0.01 Gy is the resolution: exact on either side of it
    assert weights[dose >= level + 0.011].sum() - 1e-12 <= dvh.volume_at(level)
    assert dvh.volume_at(level) <= weights[dose >= level - 0.011].sum() + 1e-12
    if volume <= dvh.total_ml:
        assert dvh.volume_at(dvh.dose_to_ml(volume)) >= volume * (1 - 1e-6)
    doubled = dvh.of(lambda d: 2 * d)
    assert doubled.mean == pytest.approx(2 * dvh.mean)
    assert doubled.dose_to_ml(volume) == 2 * dvh.dose_to_ml(volume)


@pytest.mark.parametrize(
    ("dose", "share", "message"),
    [
        (np.ones((1, 1, 2)), np.ones((1, 1, 3)), "shape"),
        (np.ones((1, 1, 2)), np.zeros((1, 1, 2)), "no volume"),
        (-np.ones((1, 1, 2)), np.ones((1, 1, 2)), ">= 0 Gy"),
        (np.full((1, 1, 2), np.nan), np.ones((1, 1, 2)), "finite"),
    ],
)
def test_nonsense_is_refused(dose: np.ndarray, share: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dose_volume_histogram(dose, share, 8.0)
