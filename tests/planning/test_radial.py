"""The cheap model: conservation, exact growth, and a round tumor against the 3-D model."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from tumortwin.calibration import Calibration
from tumortwin.growth import DrugKill
from tumortwin.planning.radial import Ball, ball_of, calendar, radial_volumes
from tumortwin.therapy import Schedule
from tumortwin.twin import Irradiation

STILL = {"diffusivity": 0.0, "proliferation_rate": 0.0, "alpha": 0.1, "clearance": 20.0, "threshold_core": 0.5}
NO_DRUGS = DrugKill((), {}, {})


def volumes(ball: Ball, values: dict[str, float], doses: list[list[float]]) -> np.ndarray:
    return radial_volumes(ball, values, 10.0, np.array(doses, float), NO_DRUGS, 0.0)


def step_ball(n: int = 40, radius: int = 10, density: float = 1.0, dose: float = 1.0) -> Ball:
    return Ball(np.where(np.arange(n) < radius, density, 0.0), np.full(n, dose), np.ones(n))


def test_nothing_happens_without_growth_or_dose() -> None:
    found = volumes(step_ball(), STILL, [[0.0] * 30])
    # the edge of the contour lies within half a shell of 10 mm
    assert found == pytest.approx(np.full((1, 31), found[0, 0]))
    assert 4 / 3 * np.pi * 9.5**3 / 1000 < found[0, 0] < 4 / 3 * np.pi * 10.5**3 / 1000


def test_equal_schedules_have_equal_volumes() -> None:
    """To the last bit: of equally good schedules the search takes the shorter, not the one that rounding prefers."""
    found = volumes(step_ball(n=43, radius=15, density=0.6), STILL, [[2.0] + [0.0] * 20] * 11)
    assert (found == found[0]).all()
    assert found[0, 0] > found[0, -1] > 0


def test_logistic_growth_crosses_the_threshold_on_its_day() -> None:
    # from .2 to .5 at rho .1 takes ln(4) / .1 = 13.9 days
    found = volumes(step_ball(density=0.2), STILL | {"proliferation_rate": 0.1}, [[0.0] * 20])
    assert found[0, 13] == 0
    assert found[0, 14] > 3


def test_killed_cells_stay_visible_and_clear() -> None:
    # 7 Gy leave exp(-.1 * 7 * 1.7) = .304 living; visible .304 + .696 2^(-t/20) is below .5 after 36.6 days
    found = volumes(step_ball(), STILL, [[7.0] + [0.0] * 49, [0.0] * 50])
    assert found[0, 36] > 3
    assert found[0, 37] == 0
    assert found[1, 49] > 3
    spared = volumes(step_ball(dose=0.0), STILL, [[7.0] + [0.0] * 49])
    assert spared[0, 49] > 3


def test_a_ball_keeps_cells_and_volumes(fit: Calibration) -> None:
    rng = np.random.default_rng(3)
    shape, voxel = (20, 22, 24), 8.0
    mask = rng.random(shape) < 0.9
    density = rng.random(shape) ** 3 * mask
    ball = ball_of(density, 1 - density, np.ones(shape), mask, voxel)
    edges = np.arange(ball.density.size + 1.0)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    assert (np.diff(ball.density) <= 1e-12).all()
    # the last shell is not full
    assert shells[:-1] @ ball.density[:-1] == pytest.approx(density[mask].sum() * voxel, rel=0.02)
    assert ball.dose == pytest.approx(1 - ball.density)
    assert ball.mobility == pytest.approx(np.ones(ball.density.size))


def test_a_round_tumor_agrees_with_the_3d_model(fit: Calibration) -> None:
    values, days = fit.values, 60
    course = fit.trajectory([27.0], irradiations=())
    whole = np.ones(fit.twin.domain.grid.shape, np.float32)
    ball = ball_of(course.living[0], whole, whole, fit.twin.domain.mask, fit.twin.domain.grid.voxel_volume)
    doses = np.zeros((2, days))
    doses[1, :5] = 5.0
    cheap = radial_volumes(ball, values, fit.parameters.alpha_beta, doses, NO_DRUGS, 27.0)
    for row, fractions in zip(cheap, ((), tuple(Irradiation(27.01 + k, 5.0) for k in range(5))), strict=True):
        dear = fit.trajectory([57.0, 87.0], irradiations=fractions)
        expected = fit.visible_ml(dear)["core"]
        # a voxel of the 3-D model is 3 mm: contours are told to about a third of that
        for got, want in zip(row[[30, 60]], expected, strict=True):
            assert np.cbrt(got) == pytest.approx(np.cbrt(want), abs=np.cbrt(3 / 4 / np.pi) * 0.35)


def test_calendar_puts_fractions_on_their_day() -> None:
    noon = datetime(2024, 2, 5, 12)
    # the second fraction is given earlier in the day than the first, the third six hours after it
    times = (noon, noon + timedelta(hours=20), noon + timedelta(hours=26), noon + timedelta(days=9))
    table = calendar([Schedule("a", times, (2.0, 1.0, 1.5, 2.0)), Schedule("none")], noon.date(), 3)
    assert table.tolist() == [[2.0, 2.5, 0.0], [0.0, 0.0, 0.0]]
