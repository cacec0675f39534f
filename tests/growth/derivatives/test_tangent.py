"""Tangent-linear columns against differences, closed forms and each other."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin.errors import Cancelled, InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import (
    Exponential,
    Gompertz,
    GrowthParameters,
    Logistic,
    Model,
    UniformDiffusion,
    VoxelDiffusion,
    ellipsoid_seed,
    simulate,
)
from tumortwin.growth.derivatives.flow import flow_derivatives
from tumortwin.growth.derivatives.tangent import simulate_with_tangents
from tumortwin.growth.terms.treatment import DrugKill
from tumortwin.imaging.volume import Grid
from tumortwin.progress import CancelToken
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal

NAMES = ("diffusivity", "grey_ratio", "proliferation_rate", "capacity", "alpha", "alpha_beta", "temozolomide")
SAVES = (0.0, 13.0, 18.0)
LAWS = [Logistic(), Gompertz(), Exponential()]
DOUBLE = {"dtype": np.float64, "save_at": SAVES}


def moved(model: Model, **by: float) -> Model:
    """The model with parameters moved."""
    p = model.parameters
    drugs = {drug: value + by.pop(drug, 0.0) for drug, value in p.drug_sensitivity.items()}
    changed = {name: getattr(p, name) + step for name, step in by.items()}
    return dataclasses.replace(model, parameters=dataclasses.replace(p, drug_sensitivity=drugs, **changed))


def value(model: Model, name: str) -> float:
    p = model.parameters
    return p.drug_sensitivity[name] if name in p.drug_sensitivity else getattr(p, name)


def far(a: np.ndarray, b: np.ndarray) -> float:
    """Distance over size."""
    return float(np.linalg.norm(np.subtract(a, b, dtype=np.float64)) / max(np.linalg.norm(b), 1e-300))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Model, np.ndarray]:
    """Any grid, also of one or two dimensions, any mask, also along the border; every kind of event."""
    shape = draw(st.sampled_from([(1, 1, 19), (1, 7, 9), (6, 1, 8), (4, 6, 5)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < draw(st.sampled_from([0.6, 1.0]))
    mask.flat[rng.integers(mask.size)] = True
    grid = Grid.regular(shape, draw(st.tuples(*[st.sampled_from([1.0, 2.0, 3.0])] * 3)))
    white = rng.random(shape) * mask * (rng.random(shape) < 0.8)
    domain = Domain(grid, mask, white, (mask - white) * (rng.random(shape) < 0.8), np.zeros(shape))
    density = np.where(mask, 0.05 + 0.6 * rng.random(shape), 0)
    doses = [rng.uniform(0, 3, shape).astype(np.float32), 2.0]
    return Model(
        domain,
        GrowthParameters(0.3, 0.06, capacity=0.9),
        draw(st.sampled_from(LAWS)),
        irradiations=tuple(Irradiation(day, doses[day > 3]) for day in (1.0, 2.0, 2.25, 4.0)),
        administrations=tuple(Administration(day, "temozolomide", 75, DoseUnit.MG_PER_M2) for day in (1.5, 3.0, 3.9)),
        removals=(Removal(3.0, rng.random(shape).astype(np.float32)),),
    ), density


@pytest.mark.parametrize("law", LAWS)
def test_derivatives_are_those_of_the_solver(treated_model, law) -> None:
    model, density = treated_model
    rate = 0.02 if law == Gompertz() else 0.08
    model = moved(dataclasses.replace(model, law=law), proliferation_rate=rate - 0.08)
    plan = simulate(model, density, 0, 20, eps=0, **DOUBLE).plan
    again = simulate(model, density, 0, 20, eps=0, plan=plan, **DOUBLE)
    got = simulate_with_tangents(model, density, 0, 20, parameters=NAMES, plan=plan, **DOUBLE)
    for ours, theirs in zip(got.simulation.fields, again.fields, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)
    assert got.simulation.sweeps == again.sweeps
    assert got.simulation.lowest == pytest.approx(again.lowest, abs=1e-14)
    for name in NAMES:
        h = 1e-4 * value(model, name)
        up, down = (
            simulate(moved(model, **{name: step}), density, 0, 20, eps=0, plan=plan, **DOUBLE).fields
            for step in (h, -h)
        )
        for i in range(1, 4):
            assert far(got.tangents[name][i], (up[i] - down[i]) / (2 * h)) < 1e-6, (name, i)
        assert not got.tangents[name][0].any()
        assert not got.tangents[name][-1][~model.domain.mask].any()


@pytest.mark.parametrize("law", LAWS)
def test_taylor_remainders_fall_with_the_square(treated_model, law) -> None:
    model, density = treated_model
    model = moved(dataclasses.replace(model, law=law), proliferation_rate=-0.06)
    plan = simulate(model, density, 0, 20, eps=0, **DOUBLE).plan
    rng = np.random.default_rng(1)
    change = rng.uniform(-0.3, 0.3, density.shape) * density
    got = simulate_with_tangents(
        model, density, 0, 20, parameters=NAMES, initial_tangents={"seed": change}, plan=plan, **DOUBLE
    )
    share = dict(zip(NAMES, rng.uniform(-0.5, 0.5, len(NAMES)), strict=True))
    slope = got.tangents["seed"][-1] + sum(share[n] * value(model, n) * got.tangents[n][-1] for n in NAMES)
    remainders = []
    for h in (0.02, 0.01, 0.005):
        other = moved(model, **{n: h * share[n] * value(model, n) for n in NAMES})
        there = simulate(other, density + h * change, 0, 20, eps=0, plan=plan, **DOUBLE)
        remainders.append(np.linalg.norm(there.fields[-1] - got.simulation.fields[-1] - h * slope))
    slopes = [np.log2(a / b) for a, b in itertools.pairwise(remainders)]
    assert slopes == pytest.approx([2, 2], abs=0.1)


@settings(deadline=None, max_examples=25)
@given(problem=problems(), name=st.sampled_from(NAMES))
def test_derivatives_on_any_grid(problem, name) -> None:
    model, density = problem
    plan = simulate(model, density, 0, 5, eps=0, dtype=np.float64).plan
    got = simulate_with_tangents(model, density, 0, 5, parameters=[name], plan=plan, dtype=np.float64)
    h = 1e-4 * value(model, name)
    up, down = (
        simulate(moved(model, **{name: s}), density, 0, 5, eps=0, plan=plan, dtype=np.float64).fields[-1]
        for s in (h, -h)
    )
    difference = (up - down) / (2 * h)
    # a voxel that crosses Gompertz' floor between the two has no difference to compare with
    scale = max(float(np.abs(difference).max()), 1e-9 / h)
    np.testing.assert_allclose(got.tangents[name][-1], difference, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("law", LAWS)
def test_single_precision_serves(treated_model, law) -> None:
    model, density = treated_model
    model = moved(dataclasses.replace(model, law=law), proliferation_rate=-0.06)
    plan = simulate(model, density, 0, 20, save_at=SAVES).plan
    single, double = (
        simulate_with_tangents(model, density, 0, 20, parameters=NAMES, plan=plan, save_at=SAVES, dtype=dtype)
        for dtype in (np.float32, np.float64)
    )
    for name in NAMES:
        assert single.tangents[name][-1].dtype == np.float32
        assert far(single.tangents[name][-1], double.tangents[name][-1]) < 1e-3, name


def test_cells_counted_in_closed_form() -> None:
    """Without a limit to growth and with one dose everywhere, the number of cells has a formula."""
    grid = Grid.regular((5, 6, 7), (1.0, 2.0, 3.0))
    domain = Domain.uniform(grid, np.random.default_rng(2).random(grid.shape) < 0.8)
    density = 0.3 * domain.mask
    density[2:] = 0
    doses = tuple(Administration(day, "temozolomide", 100.0, DoseUnit.MG_PER_M2) for day in (-3.0, -2.0))
    p = GrowthParameters(0.4, 0.05, drug_sensitivity={"temozolomide": 1e-3})
    fractions = tuple(Irradiation(day, 2.0) for day in (1.0, 1.25, 3.0))
    model = Model(domain, p, Exponential(), UniformDiffusion(), fractions, doses, decay_rates={"temozolomide": 0.5})
    got = simulate_with_tangents(model, density, 0, 10, parameters=NAMES, dtype=np.float64)
    cells = got.simulation.fields[-1].sum()
    acting = 100 * sum(np.exp(0.5 * dose.day) - np.exp(0.5 * (dose.day - 10)) for dose in doses)
    expected = {
        "diffusivity": 0,
        "grey_ratio": 0,
        "proliferation_rate": 10,
        "alpha": -3 * 2 * (1 + 2 / 8),
        "alpha_beta": 3 * 0.12 * 4 / 64,
        "temozolomide": -acting,
    }
    for name, share in expected.items():
        assert got.tangents[name][-1].sum() / cells == pytest.approx(share, rel=1e-12, abs=1e-12), name


def test_numbers_of_the_initial_density(domain) -> None:
    model = Model(domain, GrowthParameters(proliferation_rate=0.02))
    center = domain.grid.center

    def seed(radius: float) -> np.ndarray:
        return ellipsoid_seed(domain, center, radius)

    by_radius = (seed(8.001) - seed(7.999)) / 0.002
    plan = simulate(model, seed(8.0), 0, 20, eps=0, dtype=np.float64).plan
    got = simulate_with_tangents(
        model,
        seed(8.0),
        0,
        20,
        parameters=["diffusivity"],
        plan=plan,
        dtype=np.float64,
        initial_tangents={"radius": by_radius, "diffusivity": 2 * by_radius},
    )
    up, down = (simulate(model, seed(r), 0, 20, eps=0, plan=plan, dtype=np.float64).fields[-1] for r in (8.001, 7.999))
    assert list(got.tangents) == ["diffusivity", "radius"]
    assert far(got.tangents["radius"][-1], (up - down) / 0.002) < 1e-6
    alone = simulate_with_tangents(model, seed(8.0), 0, 20, parameters=["diffusivity"], plan=plan, dtype=np.float64)
    both = alone.tangents["diffusivity"][-1] + 2 * got.tangents["radius"][-1]
    np.testing.assert_allclose(got.tangents["diffusivity"][-1], both, atol=1e-14)


@pytest.mark.parametrize("name", ["temozolomide", "grey_ratio", "diffusivity"])
def test_derivatives_at_zero_are_one_sided(treated_model, name) -> None:
    model, density = treated_model
    plan = simulate(model, density, 0, 20, dtype=np.float64, eps=0).plan
    at_zero = moved(model, **{name: -value(model, name)})
    got = simulate_with_tangents(at_zero, density, 0, 20, parameters=[name], plan=plan, dtype=np.float64)
    h = 1e-5 * value(model, name)
    there = simulate(moved(at_zero, **{name: h}), density, 0, 20, plan=plan, dtype=np.float64, eps=0)
    assert far(got.tangents[name][-1], (there.fields[-1] - got.simulation.fields[-1]) / h) < 1e-3


def test_no_quadratic_term_and_no_tissue(treated_model) -> None:
    model, density = treated_model
    linear = dataclasses.replace(
        model, parameters=GrowthParameters(alpha_beta=np.inf), diffusion=VoxelDiffusion(model.domain.mask.astype(float))
    )
    got = simulate_with_tangents(linear, density, 0, 20, parameters=["alpha_beta", "grey_ratio", "alpha"])
    assert not got.tangents["alpha_beta"][-1].any()
    assert not got.tangents["grey_ratio"][-1].any()
    assert got.tangents["alpha"][-1].any()


def test_a_plan_is_found_if_none_is_given(treated_model) -> None:
    model, density = treated_model
    got = simulate_with_tangents(model, density, 0, 20, parameters=["alpha"], save_at=SAVES)
    run = simulate(model, density, 0, 20, save_at=SAVES)
    assert got.simulation.plan == run.plan
    assert got.simulation.times.tolist() == run.times.tolist()
    assert got.simulation.time_error == run.time_error
    assert far(got.simulation.fields[-1], run.fields[-1]) < 1e-5


@settings(deadline=None, max_examples=40)
@given(
    law=st.sampled_from(LAWS),
    rate=st.sampled_from([0.0, 0.01, 0.3]),
    span=st.sampled_from([0.01, 1.0, 25.0]),
    capacity=st.sampled_from([0.7, 1.0, 3.0]),
    seed=st.integers(0, 1000),
)
def test_derivatives_of_flows(law, rate, span, capacity, seed) -> None:
    if law == Gompertz() and rate == 0:
        rate = 0.1  # at 0, where it has no lower neighbor, the two branches of its flow are one
    rng = np.random.default_rng(seed)
    doses = [Administration(day, drug, 100.0, DoseUnit.MG) for drug in ("a", "b") for day in rng.uniform(-2, span, 3)]
    decay = {"a": 9.24, "b": 0.7}
    sensitivity = {"a": 2e-3, "b": 1e-3}
    alone = {drug: DrugKill([d for d in doses if d.drug == drug], {drug: 1.0}, decay) for drug in decay}

    def flow(**by: float) -> tuple[float, ...]:
        given = {drug: s + by.get(drug, 0.0) for drug, s in sensitivity.items()}
        return law.flow(
            rate + by.get("proliferation_rate", 0.0),
            0.0,
            span,
            DrugKill(doses, given, decay),
            capacity + by.get("capacity", 0.0),
        )

    exact, pushes = flow_derivatives(law, rate, 0.0, span, DrugKill(doses, sensitivity, decay), alone, capacity)
    assert set(pushes) == {"proliferation_rate", "capacity", "a", "b"}
    assert exact == flow()
    u = np.array([1e-7, 0.02, 0.5, 0.9])
    for name, (first, second, third) in pushes.items():
        h = 1e-7 if name in alone else 1e-6
        above, below = (type(exact)(*flow(**{name: s}))(u) for s in (h, -h))
        if isinstance(law, Gompertz):
            grown = exact.factor * u**exact.exponent
            power = grown < exact.linear * u
            got = np.where(power, second * grown + third * grown * np.log(u), first * u)
        else:
            got = (first * u + second * u**2) / (1 + exact.crowding * u) ** 2
        np.testing.assert_allclose(got, (above - below) / (2 * h), rtol=1e-3, atol=1e-5 * np.abs(got).max() + 1e-10)


def test_progress_cancels(treated_model) -> None:
    model, density = treated_model
    plan = simulate(model, density, 0, 20).plan
    seen: list[float] = []
    simulate_with_tangents(
        model, density, 0, 20, plan=plan, progress=lambda done, total, what: seen.append(done / total)
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled, match="derivatives"):
        simulate_with_tangents(model, density, 0, 20, plan=plan, progress=token)


@pytest.mark.parametrize(("arguments", "said"), [
    ({"parameters": ["beta"]}, "'beta'.*alpha_beta.*temozolomide"), ({"parameters": ["alpha", "alpha"]}, "twice"),
    ({"initial_tangents": {"r": np.ones(3)}}, r"by r.*\(3,\)"), ({"dtype": np.int32}, "int32"),
    ({"initial_tangents": {"r": np.full((15, 22, 24), np.nan)}}, "7920.*by r"), ({"save_at": (99,)}, "day 99"),
])  # fmt: skip
def test_bad_arguments_are_named(treated_model, arguments, said) -> None:
    model, density = treated_model
    with pytest.raises(InputError, match=said):
        simulate_with_tangents(model, density, 0, 20, **arguments)


def test_plans_that_do_not_fit_are_refused(treated_model) -> None:
    model, density = treated_model
    plan = simulate(model, density, 0, 20).plan
    cases = [
        (moved(model, diffusivity=3.0), density, {}),
        (model, 0.1 * model.domain.mask, {}),
        (model, density, {"save_at": (1.0,)}),
        (Model(Domain.uniform(Grid.regular((6, 7, 8)))), np.zeros((6, 7, 8)), {}),
        (
            dataclasses.replace(
                model,
                domain=Domain.uniform(Grid.regular((9, 9, 9))),
                irradiations=(),
                removals=(Removal(5.5, np.zeros((9, 9, 9))),),
            ),
            np.zeros((9, 9, 9)),
            {"save_at": (12, 13, 13.25, 16)},
        ),
    ]
    for other, start, arguments in cases:
        with pytest.raises(InputError, match=r"make a (new )?plan"):
            simulate_with_tangents(other, start, 0, 20, plan=plan, **arguments)
