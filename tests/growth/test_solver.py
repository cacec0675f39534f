"""simulate(): events at their own time, saves, plans, reports, cancelling, bad input."""

import dataclasses

import numpy as np
import pytest

from tumortwin.errors import Cancelled, InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import (
    DeadCells,
    Exponential,
    Gompertz,
    GrowthParameters,
    Logistic,
    Model,
    Necrosis,
    StepPlan,
    TensorDiffusion,
    simulate,
    simulate_with_tangents,
    solver,
)
from tumortwin.growth.reference import ReferenceStepper
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.volume import Grid
from tumortwin.progress import CancelToken
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal


@pytest.fixture
def small() -> tuple[Domain, np.ndarray]:
    grid = Grid.regular((7, 8, 9), 2.0)
    density = np.zeros(grid.shape)
    density[2:5, 2:6, 3:6] = 0.5
    return Domain.uniform(grid), density


def test_cutting_a_solve_anywhere_changes_nothing(treated_model) -> None:
    model, density = treated_model
    through = simulate(model, density, 0, 30, save_at=(13.25,), dt=0.25, dtype=np.float64)
    first = simulate(model, density, 0, 13.25, dt=0.25, dtype=np.float64)
    second = simulate(model, first.fields[-1], 13.25, 30, dt=0.25, dtype=np.float64)
    np.testing.assert_allclose(first.at(13.25), through.at(13.25), atol=1e-9)
    np.testing.assert_allclose(second.at(30), through.at(30), atol=1e-6)  # the drug's tail falls into other steps


def test_events_act_after_start_and_up_to_stop(small) -> None:
    domain, density = small
    still = GrowthParameters(diffusivity=0, proliferation_rate=0)
    s = np.exp(-0.12 * 2 * (1 + 2 / 8))
    for day, survivors in [(-1.0, 1), (0.0, 1), (0.5, s), (1.0, s), (1.5, 1)]:
        model = Model(domain, still, irradiations=(Irradiation(day, 2.0),))
        np.testing.assert_allclose(simulate(model, density, 0, 1).fields[-1], density * survivors, rtol=1e-6)


def test_treatment_outside_of_a_solve_is_a_finding(small) -> None:
    domain, density = small
    drug = ("temozolomide", 75, DoseUnit.MG_PER_M2)
    model = Model(
        domain,
        GrowthParameters(diffusivity=1.0),
        irradiations=tuple(Irradiation(float(day), 2.0) for day in (-2, 0, 1, 5, 6)),
        administrations=tuple(Administration(float(day), *drug) for day in (-1, 3, 9)),
        removals=(Removal(7.5, np.zeros(domain.grid.shape)),),
    )
    said = [
        "2 of 5 irradiations (day -2 to 0) are not after day 0, where the solve begins",
        "1 of 5 irradiations (day 6) are after day 5, where the solve ends",
        "1 of 1 resections (day 7.5) are after day 5, where the solve ends",
        "1 of 3 drug doses (day 9) are after day 5, where the solve ends",
    ]
    run = simulate(model, density, 0, 5)
    assert [f.what for f in run.findings] == said
    assert all(f.severity is Severity.NOTE for f in run.findings)
    plan = simulate_with_tangents(model, density, 0, 5, parameters=["alpha"], plan=run.plan).simulation
    assert [f.what for f in plan.findings] == said
    assert not simulate(model, density, -3, 9).findings


def test_fields_are_saved_at_the_days_asked_for_and_at_the_last(small) -> None:
    domain, density = small
    run = simulate(Model(domain), density, -3.5, 4, save_at=(2, -3.5, 0.25, 2))
    assert run.times.tolist() == [-3.5, 0.25, 2, 4]
    np.testing.assert_array_equal(run.at(-3.5), density.astype(np.float32))
    assert run.volume_ml(0.1)[0] == pytest.approx(density.astype(bool).sum() * 0.008)
    with pytest.raises(InputError, match=r"0\.25, 2, 4.*save_at"):
        run.at(1)


def test_a_resection_takes_its_share(small) -> None:
    domain, density = small
    removed = np.zeros(domain.grid.shape, np.float32)
    removed[:3] = 0.75
    model = Model(domain, GrowthParameters(diffusivity=0, proliferation_rate=0), removals=(Removal(1.0, removed),))
    np.testing.assert_allclose(simulate(model, density, 0, 2).fields[-1], density * (1 - removed), rtol=1e-6)


@pytest.mark.parametrize("law", [Gompertz()])
def test_a_frozen_plan_repeats_a_solve(treated_model, law) -> None:
    model, density = treated_model
    model = dataclasses.replace(model, law=law)
    run = simulate(model, density, 0, 30)
    again = simulate(model, density, 0, 30, plan=run.plan)
    np.testing.assert_allclose(again.fields[-1], run.fields[-1], atol=2e-6)
    assert again.plan == run.plan
    assert again.time_error == run.time_error > 0


def test_a_plan_that_does_not_fit_is_refused(treated_model) -> None:
    model, density = treated_model
    plan = simulate(model, density, 0, 30).plan
    with pytest.raises(InputError, match="6 segments, this solve 7"):
        simulate(model, density, 0, 30, save_at=(1,), plan=plan)
    fast = dataclasses.replace(model, parameters=dataclasses.replace(model.parameters, diffusivity=3.0))
    with pytest.raises(InputError, match="make a new plan"):
        simulate(fast, density, 0, 30, plan=plan)
    with pytest.raises(InputError, match="make a new plan"):
        simulate(model, 0.1 * model.domain.mask, 0, 30, plan=plan)
    assert isinstance(plan, StepPlan)


def test_threads_change_nothing(treated_model) -> None:
    model, density = treated_model
    one, two = (simulate(model, density, 0, 30, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.fields[-1], two.fields[-1])


def test_nothing_grows_from_nothing(small) -> None:
    domain, density = small
    run = simulate(Model(domain), 0 * density, 0, 10)
    assert not run.fields[-1].any()


@pytest.mark.parametrize("shape", [(1, 1, 30), (1, 12, 9), (5, 1, 1), (1, 1, 1)])
def test_flat_grids_need_no_special_case(shape) -> None:
    density = np.zeros(shape)
    density[tuple(n // 2 for n in shape)] = 1e-3
    run = simulate(Model(Domain.uniform(Grid.regular(shape))), density, 0, 30)
    assert run.fields[-1].sum() == pytest.approx(1e-3 * np.exp(0.03 * 30), rel=0.01)


def test_progress_reaches_its_end_and_cancels(small) -> None:
    domain, density = small
    seen: list[int] = []
    simulate(Model(domain), density, 0, 10, progress=lambda done, total, what: seen.append(done / total))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled, match="growth"):
        simulate(Model(domain), density, 0, 10, progress=token)


def test_a_cancelled_solve_returns_what_it_has_where_asked(small) -> None:
    domain, density = small

    def after_day_5(done: int, total: int, what: str) -> None:
        if done > 0.5 * total:
            raise Cancelled("enough")

    whole = simulate(Model(domain), density, 0, 10, save_at=(0, 2, 4, 6), dt=0.5)
    part = simulate(
        Model(domain), density, 0, 10, save_at=(0, 2, 4, 6), dt=0.5, progress=after_day_5, keep_cancelled=True
    )
    assert part.cancelled
    assert not whole.cancelled
    assert part.times.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(part.at(4), whole.at(4))
    assert any("cancelled" in f.what and "day 4" in f.action for f in part.findings)
    with pytest.raises(Cancelled):  # nothing was saved yet
        simulate(Model(domain), density, 0, 10, dt=0.5, progress=after_day_5, keep_cancelled=True)


def test_cells_where_nothing_moves_are_a_finding(small) -> None:
    domain, density = small
    white = domain.white.copy()
    white[3] = 0
    stuck = Domain(domain.grid, domain.mask, white, domain.grey, 1 - white)
    run = simulate(Model(stuck, GrowthParameters(diffusivity=1.0, proliferation_rate=0.0)), density, 0, 5)
    assert any("12 voxels hold 33.33%" in f.what for f in run.findings)
    np.testing.assert_allclose(run.fields[-1][3], density[3], rtol=1e-6)


@pytest.mark.parametrize("companion", [DeadCells(10.0), Necrosis(0.1, 0.3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_companions_and_rates_by_voxel_are_the_reference_s(monkeypatch, treated_model, companion, dtype) -> None:
    model, density = treated_model
    factor = 0.5 + np.random.default_rng(1).random(density.shape)
    options = [{"companion": companion}] + [{"rate_factor": factor, "companion": companion}] * (
        isinstance(companion, DeadCells)
    )
    for option in options:
        extended = dataclasses.replace(model, **option)
        with monkeypatch.context() as patch:
            fast = simulate(extended, density, 0, 30, dtype=dtype, eps=0, threads=2, dt=1.0)
            patch.setattr(solver, "KernelStepper", ReferenceStepper)
            slow = simulate(extended, density, 0, 30, dtype=dtype, eps=0, dt=1.0)
        tolerance = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(fast.fields[-1], slow.fields[-1], rtol=0, atol=tolerance)
        np.testing.assert_allclose(fast.companions[-1], slow.companions[-1], rtol=0, atol=tolerance)
        assert fast.companions[-1].max() > 1e-3
        assert not fast.companions[-1][~model.domain.mask].any()


def test_a_companion_is_cut_and_cancelled_like_the_density(treated_model) -> None:
    model, density = treated_model
    dead = dataclasses.replace(model, companion=DeadCells(10.0))
    run = simulate(dead, density, 0, 30, save_at=(12, 20))
    assert len(run.companions) == len(run.visible) == 3
    np.testing.assert_array_equal(run.visible[1], run.fields[1] + run.companions[1])
    alone = simulate(model, density, 0, 30)
    np.testing.assert_array_equal(alone.visible, alone.fields)
    np.testing.assert_allclose(run.fields[-1], alone.fields[-1], atol=2e-4)


def test_a_tensor_without_direction_is_isotropic_diffusion(treated_model) -> None:
    model, density = treated_model
    domain = Domain.uniform(model.domain.grid, model.domain.mask)
    plain = dataclasses.replace(model, domain=domain)
    tensor = dataclasses.replace(plain, diffusion=TensorDiffusion(np.broadcast_to(np.eye(3), (*density.shape, 3, 3))))
    a, b = (simulate(m, density, 0, 30, dt=0.5, dtype=np.float64, eps=0).fields[-1] for m in (plain, tensor))
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_coarse_grid_is_a_finding(small) -> None:
    domain, density = small
    coarse = simulate(Model(domain, GrowthParameters(proliferation_rate=0.05)), density, 0, 1)
    assert any("rho h^2 / D = 2" in f.what for f in coarse.findings)
    assert not simulate(Model(domain, GrowthParameters(diffusivity=1.0)), density, 0, 1).findings


def test_undershoot_is_a_finding() -> None:
    grid = Grid.regular((15, 15, 15))
    density = np.zeros(grid.shape)
    density[7, 7, 7] = 1.0
    model = Model(Domain.uniform(grid), GrowthParameters(diffusivity=1.0, proliferation_rate=0.0))
    chosen = simulate(model, density, 0, 20)
    assert not chosen.findings
    # a plan lets us force one long step on rough data, which dt does not
    step = chosen.plan.segments[0][-1]
    forced = StepPlan(((dataclasses.replace(step, share=1.0, stages=13),),), 0.0)
    run = simulate(model, density, 0, 5, plan=forced)
    assert run.lowest < -1e-3
    assert any("density falls to" in f.what for f in run.findings)


def test_cells_outside_the_domain_are_a_finding(treated_model) -> None:
    model, density = treated_model
    run = simulate(model, np.where(model.domain.mask, density, 0.5), 0, 1)
    assert [f.severity for f in run.findings if "outside the domain" in f.what] == [Severity.LEFT_OUT]
    assert not run.fields[-1][~model.domain.mask].any()


CAPACITIES = {
    "logistic": {},
    "Gompertz": {"law": Gompertz()},
    "dead cells": {"companion": DeadCells(10.0)},
    "necrosis": {"companion": Necrosis(0.1, 0.3)},
    "rates": {"rate_factor": np.full((15, 22, 24), 0.5)},
}


@pytest.mark.parametrize("terms", CAPACITIES.values(), ids=CAPACITIES)
def test_capacity_is_the_scale_of_the_density(treated_model, terms) -> None:
    """u / K of any K is u of K = 1: whatever the law, companion and treatment."""
    model, density = treated_model
    model = dataclasses.replace(model, **terms)
    other = dataclasses.replace(model, parameters=dataclasses.replace(model.parameters, capacity=0.4))
    options = {"eps": 0, "dtype": np.float64, "plan": simulate(model, density, 0, 20, eps=0).plan}
    one, scaled = simulate(model, density, 0, 20, **options), simulate(other, 0.4 * density, 0, 20, **options)
    np.testing.assert_allclose(scaled.visible[-1] / 0.4, one.visible[-1], rtol=0, atol=1e-14)


def test_growth_stops_at_capacity_but_exponential_growth_does_not(small) -> None:
    domain, density = small
    quick = GrowthParameters(diffusivity=0.0, proliferation_rate=0.5, capacity=0.7)
    for law in (Logistic(), Gompertz()):
        top = simulate(Model(domain, quick, law), density, 0, 60, dtype=np.float64).fields[-1]
        np.testing.assert_allclose(top[density > 0], 0.7, rtol=1e-6)
        with pytest.raises(InputError, match=r"within 0\.\.0\.7.*capacity.*0\.5.*0\.8"):
            simulate(Model(domain, quick, law), np.where(density, 0.8, -0.5), 0, 1)
        simulate(Model(domain, quick, law), top, 60, 61)  # what a solve returns may be given to the next
    grown = simulate(Model(domain, quick, Exponential()), density, 0, 2).fields[-1]
    assert grown.max() == pytest.approx(0.5 * np.e, rel=1e-5)
    again = simulate(Model(domain, quick, Exponential()), grown, 2, 4).fields[-1]
    assert again.max() == pytest.approx(0.5 * np.e**2, rel=1e-5)


@pytest.mark.parametrize(("change", "said"), [
    (lambda u: u * np.nan, "504 values.*not finite"), (lambda u: u * 3, r"1\.5"), (lambda u: -u, r"-0\.5"),
    (lambda u: u[1:], r"\(6, 8, 9\).*\(7, 8, 9\)"), (lambda u: u * 1j, "complex128"),
    (lambda u: np.where(np.arange(9) == 4, np.inf, u), r"inf at voxel \(z, y, x\) = \(0, 0, 4\)"),
])  # fmt: skip
def test_bad_densities_are_named(small, change, said) -> None:
    domain, density = small
    with pytest.raises(InputError, match=said):
        simulate(Model(domain), change(density), 0, 1)


@pytest.mark.parametrize(("arguments", "said"), [
    ({"stop": -1}, "from 0 to -1"), ({"stop": np.nan}, "nan"), ({"save_at": (12,)}, "day 12"), ({"dt": -2}, "dt.*-2"),
    ({"dt": np.inf}, "dt.*inf"), ({"rtol": 0}, "rtol.*0"), ({"eps": 1}, "eps.*1"), ({"threads": 0}, "threads.*0"),
    ({"threads": 1.5}, r"threads.*1\.5"),
    ({"dtype": np.int16}, "int16"),
])  # fmt: skip
def test_bad_arguments_are_named(small, arguments, said) -> None:
    domain, density = small
    with pytest.raises(InputError, match=said):
        simulate(Model(domain), density, 0, **{"stop": 10, **arguments})


def test_a_solve_reports_how_coarse_its_grid_is(domain):
    model = Model(domain, GrowthParameters(diffusivity=0.2, proliferation_rate=0.05))
    run = simulate(model, np.zeros(domain.grid.shape), 0, 1)
    assert run.resolution == pytest.approx(0.05 * max(domain.grid.spacing) ** 2 / 0.2)
