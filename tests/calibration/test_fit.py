import dataclasses

import numpy as np
import pytest

from tumortwin.calibration import Calibration, calibrate
from tumortwin.calibration import fit as fitting
from tumortwin.calibration.problem import Problem
from tumortwin.errors import Cancelled, InputError
from tumortwin.progress import CancelToken


def test_recovers_another_solvers_tumor(fit, truth):
    """Other scheme, grid and initial state, correlated noise: rates within their intervals or a few per cent."""
    assert fit.diagnostics.converged
    for name, tolerance in (("proliferation_rate", 0.2), ("alpha", 0.25), ("clearance", 0.4)):
        e = fit.estimate(name)
        assert e.value == pytest.approx(truth[name], rel=tolerance), name
        assert e.moved, name
    d = fit.estimate("diffusivity")
    assert d.low <= truth["diffusivity"] <= d.high
    speed = np.sqrt(d.value * fit.values["proliferation_rate"])
    assert speed == pytest.approx(np.sqrt(truth["diffusivity"] * truth["proliferation_rate"]), rel=0.25)
    assert not fit.estimate("temozolomide").fitted


def test_derivative_is_that_of_central_differences(twin, monkeypatch):
    problems = []

    class Kept(Problem):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            problems.append(self)

    monkeypatch.setattr(fitting, "Problem", Kept)
    calibrate(twin, slice(0, 4), max_solves=1)
    problem = problems[0]
    theta = problem.prior_mean
    ours = np.concatenate(problem.jacobian(theta))
    plans = problem.trajectory(theta).plans
    for k, u in enumerate(problem.varied):
        sides = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[k] += sign * u.step
            there = problem.course.solve(problem.values(moved), problem.days, plans=plans)
            sides.append(np.concatenate(problem._compare(there, moved)))
        central = (sides[0] - sides[1]) / (2 * u.step)
        error = np.linalg.norm(ours[:, k] - central) / np.linalg.norm(central)
        assert error < 0.1, u.name


def test_equal_input_gives_equal_results(twin):
    a, b = (calibrate(twin, slice(0, 2), rng=3, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.covariance, b.covariance)
    assert a.sample(3) == b.sample(3)
    assert a.sample(3) != a.sample(3, rng=4)


def test_one_visit_keeps_the_rates_at_their_priors(twin):
    fit = calibrate(twin, [0])
    for name in ("diffusivity", "proliferation_rate", "alpha", "clearance"):
        e, u = fit.estimate(name), next(u for u in fit.unknowns if u.name == name)
        assert not e.fitted
        assert (e.value, e.low, e.high) == pytest.approx((u.median, *u.interval()))
        assert any(name in f.what for f in fit.findings)
    assert fit.estimate("seed_radius").moved


def test_a_missing_treatment_shows_in_the_misfit(twin, fit):
    """Spoiled: the same scans, but the twin knows of no radiotherapy. The fit must not look as good."""
    untreated = calibrate(dataclasses.replace(twin, irradiations=()), slice(0, 4))
    assert untreated.diagnostics.sigma["whole"] > 1.5 * fit.diagnostics.sigma["whole"]
    assert not untreated.estimate("alpha").fitted


def test_visits_are_chosen_as_asked(twin):
    assert fitting._chosen(twin.observations, None) == twin.observations
    assert fitting._chosen(twin.observations, [3, 0, -1]) == tuple(twin.observations[i] for i in (0, 3, 4))
    for wrong in ([7], slice(9, 12), []):
        with pytest.raises(InputError, match="visits"):
            calibrate(twin, wrong)


def test_a_scan_without_tumor_is_refused(twin):
    zero = np.zeros_like(twin.observations[0].whole)
    empty = dataclasses.replace(twin.observations[0], whole=zero, enhancing=zero, necrosis=zero)
    with pytest.raises(InputError, match="shows a tumor"):
        calibrate(dataclasses.replace(twin, observations=(empty,)))


def test_cancelled_and_limited(twin):
    token = CancelToken()
    seen = []

    def progress(done, total, what):
        seen.append((done, total, what))
        if done == 5:
            token.cancel()
        token(done, total, what)

    with pytest.raises(Cancelled):
        calibrate(twin, slice(0, 2), progress=progress)
    assert seen[-1] == (5, 300, "calibrate")
    short = calibrate(twin, slice(0, 2), max_solves=20)
    assert any("not converged" in f.what for f in short.findings)


def test_round_trip_and_reading(fit, tmp_path):
    again = Calibration.load(fit.save(tmp_path / "fit.npz"))
    assert again.estimates == fit.estimates
    assert again.findings == fit.findings
    assert again.sample(2) == fit.sample(2)
    np.testing.assert_array_equal(again.initial_state(), fit.initial_state())
    assert "proliferation_rate" in repr(fit)
    assert "<td>alpha</td>" in fit._repr_html_()


def test_scenarios(fit, twin):
    """More dose, less tumor; the box is as good as the grid."""
    treated = fit.trajectory([150.0])
    untreated = fit.trajectory([150.0], irradiations=())
    assert untreated.living.sum() > 2 * treated.living.sum()
    assert fit.embedded(treated.living[0]).shape == twin.domain.grid.shape
    assert fit.embedded(treated.living[0]).sum() == pytest.approx(treated.living.sum(), rel=1e-5)
    assert len(fit.simulate(100.0).days) >= 20
    with pytest.raises(InputError, match="before the first scan"):
        fit.trajectory([-3.0])
