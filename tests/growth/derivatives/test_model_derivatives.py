"""Derivatives of every model that simulate takes: rates by voxel, companions and tensors beside the plain ones."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import (
    DeadCells,
    Exponential,
    Gompertz,
    GrowthParameters,
    Logistic,
    Model,
    Necrosis,
    TensorDiffusion,
    TissueDiffusion,
    UniformDiffusion,
    VoxelDiffusion,
    simulate,
    simulate_with_gradient,
    simulate_with_tangents,
)
from tumortwin.imaging.volume import Grid
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal

NAMES = ("diffusivity", "grey_ratio", "proliferation_rate", "capacity", "alpha", "alpha_beta", "temozolomide", "other")
OF_COMPANIONS = {"half_time": "half_time", "necrosis_rate": "rate", "necrosis_threshold": "threshold"}
LAWS = [Logistic(), Gompertz(), Exponential()]
SAVES = (0.0, 13.0, 18.0)


def names_of(model: Model) -> tuple[str, ...]:
    return (*NAMES, *(model.companion.numbers if model.companion else ()))


def value(model: Model, name: str) -> float:
    if name in OF_COMPANIONS:
        return getattr(model.companion, OF_COMPANIONS[name])
    return model.parameters.drug_sensitivity.get(name) or getattr(model.parameters, name, 0.0)


def moved(model: Model, **by: float) -> Model:
    """The model with numbers moved."""
    p = model.parameters
    drugs = {drug: value + by.pop(drug, 0.0) for drug, value in p.drug_sensitivity.items()}
    own = {OF_COMPANIONS[name]: value(model, name) + by.pop(name) for name in OF_COMPANIONS if name in by}
    changed = {name: getattr(p, name) + step for name, step in by.items()}
    return dataclasses.replace(
        model,
        parameters=dataclasses.replace(p, drug_sensitivity=drugs, **changed),
        companion=dataclasses.replace(model.companion, **own) if own else model.companion,
    )


def random_tensors(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    root = rng.standard_normal((*shape, 3, 3)) * [1.0, 0.5, 0.3]
    moving = rng.random(shape) < 0.8
    return moving[..., None, None] * (root @ np.swapaxes(root, -1, -2) + 0.05 * np.eye(3))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Model, np.ndarray, np.random.Generator]:
    """Any model on any grid, also of one or two dimensions, any mask, also along the border; every kind of event."""
    shape = draw(st.sampled_from([(1, 1, 19), (1, 7, 9), (6, 1, 8), (4, 6, 5)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < draw(st.sampled_from([0.6, 1.0]))
    mask.flat[rng.integers(mask.size)] = True
    grid = Grid.regular(shape, draw(st.tuples(*[st.sampled_from([1.0, 2.0, 3.0])] * 3)))
    white = rng.random(shape) * mask * (rng.random(shape) < 0.8)
    domain = Domain(grid, mask, white, (mask - white) * (rng.random(shape) < 0.8), np.zeros(shape))
    diffusion = draw(st.sampled_from(["uniform", "tissue", "voxel", "tensor"]))
    law = draw(st.sampled_from(LAWS))
    rates = rng.uniform(0.2, 2.0, shape) if draw(st.booleans()) and law != Gompertz() else None
    companions = [None, DeadCells(rng.uniform(1, 10))]
    if law == Logistic() and rates is None:
        companions.append(Necrosis(rng.uniform(0.05, 0.5), rng.uniform(0.1, 0.5)))
    doses = [rng.uniform(0, 3, shape).astype(np.float32), 2.0]
    parameters = GrowthParameters(0.3, 0.06, capacity=0.9, drug_sensitivity={"temozolomide": 2e-3, "other": 5e-3})
    return (
        Model(
            domain,
            parameters,
            law,
            {
                "uniform": UniformDiffusion(),
                "tissue": TissueDiffusion(),
                "voxel": VoxelDiffusion(rng.random(shape)),
                "tensor": TensorDiffusion(random_tensors(rng, shape)),
            }[diffusion],
            irradiations=tuple(Irradiation(day, doses[day > 3]) for day in (1.0, 2.0, 2.25, 4.0)),
            administrations=tuple(
                Administration(day, drug, 75, DoseUnit.MG)
                for day, drug in [
                    (0.3, "other"),
                    (1.5, "temozolomide"),
                    (3.0, "temozolomide"),
                    (3.1, "other"),
                    (4.7, "temozolomide"),
                ]
            ),
            removals=(Removal(3.0, rng.random(shape).astype(np.float32)),),
            decay_rates={"temozolomide": 9.24, "other": 0.7},
            rate_factor=rates,
            companion=draw(st.sampled_from(companions)),
        ),
        np.where(mask, 0.05 + 0.6 * rng.random(shape), 0),
        rng,
    )


@settings(deadline=None, max_examples=25)
@given(problem=problems(), data=st.data())
def test_tangents_are_the_solver_s_differences(problem, data) -> None:
    model, density, _ = problem
    name = data.draw(st.sampled_from(names_of(model)))
    frozen = {"plan": simulate(model, density, 0, 5, eps=0, dtype=np.float64).plan, "dtype": np.float64}
    got = simulate_with_tangents(model, density, 0, 5, parameters=[name], **frozen)
    again = simulate(model, density, 0, 5, eps=0, **frozen)
    for ours, theirs in ((got.simulation.fields, again.fields), (got.simulation.companions, again.companions)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)
    h = 1e-4 * value(model, name)
    up, down = (simulate(moved(model, **{name: s}), density, 0, 5, eps=0, **frozen) for s in (h, -h))
    pairs = [(got.tangents, up.fields, down.fields), (got.visible_tangents, up.visible, down.visible)]
    for tangents, above, below in pairs:
        difference = (above[-1] - below[-1]) / (2 * h)
        # a voxel that crosses Gompertz' floor between the two has no difference to compare with
        scale = max(float(np.abs(difference).max()), 1e-9 / h)
        np.testing.assert_allclose(tangents[name][-1], difference, rtol=0, atol=1e-6 * scale)


@settings(deadline=None, max_examples=25)
@given(problem=problems())
def test_the_adjoint_is_the_tangents_transpose(problem) -> None:
    model, density, rng = problem
    names, shape = names_of(model), density.shape
    plan = simulate(model, density, 0, 5, save_at=(0, 2), eps=0, dtype=np.float64).plan
    change = rng.standard_normal(shape) * model.domain.mask
    weights = [[rng.standard_normal(shape) for _ in range(3)] for _ in range(2 if model.companion else 1)]

    def loss(run) -> tuple:
        saved = [run.fields, run.companions][: len(weights)]
        return sum(float(np.multiply(f, w).sum()) for f, w in zip(saved, weights, strict=True)), *weights

    same = {"parameters": names, "save_at": (0, 2), "plan": plan, "dtype": np.float64}
    forward = simulate_with_tangents(model, density, 0, 5, initial_tangents={"seed": change}, **same)
    back = simulate_with_gradient(model, density, 0, 5, loss, **same)
    np.testing.assert_array_equal(back.simulation.visible, forward.simulation.visible)
    for name in (*names, "seed"):
        products = [
            np.multiply(columns[name], w)
            for columns, w in zip((forward.tangents, forward.companion_tangents), weights, strict=False)
        ]
        here = float((back.initial * change).sum()) if name == "seed" else back.parameters[name]
        assert here == pytest.approx(np.sum(products), rel=0, abs=1e-13 * np.abs(products).sum()), name
    assert not back.initial[~model.domain.mask].any()


MODELS = {
    "rates": {"rate_factor": np.linspace(0.3, 1.6, 15 * 22 * 24).reshape(15, 22, 24)},
    "dead cells": {"companion": DeadCells(6.0)},
    "dead cells, rates": {"companion": DeadCells(6.0), "rate_factor": np.linspace(0, 2, 7920).reshape(15, 22, 24)},
    "dead cells, Gompertz": {"companion": DeadCells(6.0), "law": Gompertz()},
    "necrosis": {"companion": Necrosis(0.3, 0.2)},
    "tensor": {"diffusion": TensorDiffusion(random_tensors(np.random.default_rng(0), (15, 22, 24)))},
    "tensor, necrosis": {
        "companion": Necrosis(0.3, 0.2),
        "diffusion": TensorDiffusion(random_tensors(np.random.default_rng(0), (15, 22, 24))),
    },
}


@pytest.fixture(params=MODELS)
def extended(request, treated_model) -> tuple[Model, np.ndarray]:
    """A treated model with a term beyond the kernel's own, slow enough for derivatives that matter at its end."""
    model, density = treated_model
    parameters = GrowthParameters(0.15, 0.02, drug_sensitivity={"temozolomide": 4e-4, "other": 3e-4})
    others = tuple(Administration(day, "other", 60, DoseUnit.MG) for day in (4.0, 8.0, 15.0))
    return dataclasses.replace(
        model,
        parameters=parameters,
        administrations=(*model.administrations, *others),
        decay_rates={"temozolomide": 9.24, "other": 0.7},
        **MODELS[request.param],
    ), density


def test_taylor_remainders_fall_with_the_square(extended) -> None:
    model, density = extended
    frozen = {
        "save_at": SAVES,
        "dtype": np.float64,
        "plan": simulate(model, density, 0, 20, save_at=SAVES, eps=0, dtype=np.float64).plan,
    }
    rng, names = np.random.default_rng(1), names_of(model)
    change = rng.uniform(-0.3, 0.3, density.shape) * density
    weights = rng.random((2, *density.shape))
    share = dict(zip(names, rng.uniform(-0.5, 0.5, len(names)), strict=True))
    got = simulate_with_tangents(model, density, 0, 20, parameters=names, initial_tangents={"seed": change}, **frozen)
    slope = got.visible_tangents["seed"][-1] + sum(
        share[n] * value(model, n) * got.visible_tangents[n][-1] for n in names
    )

    def misfit(run) -> tuple:
        fields = [run.fields, run.companions] if run.companions else [run.fields]
        rests = [[f - w for f in saved] for saved, w in zip(fields, weights, strict=False)]
        return 0.5 * sum(float((r**2).sum()) for rest in rests for r in rest), *rests

    back = simulate_with_gradient(model, density, 0, 20, misfit, parameters=names, **frozen)
    along = float((back.initial * change).sum()) + sum(share[n] * value(model, n) * back.parameters[n] for n in names)
    of_fields, of_loss = [], []
    for h in (0.02, 0.01, 0.005):
        other = moved(model, **{n: h * share[n] * value(model, n) for n in names})
        there = simulate(other, density + h * change, 0, 20, eps=0, **frozen)
        of_fields.append(np.linalg.norm(there.visible[-1] - got.simulation.visible[-1] - h * slope))
        of_loss.append(abs(misfit(there)[0] - back.loss - h * along))
    for remainders in (of_fields, of_loss):
        slopes = [np.log2(a / b) for a, b in itertools.pairwise(remainders)]
        assert slopes == pytest.approx([2, 2], abs=0.1)


def test_single_precision_serves(extended) -> None:
    model, density = extended
    plan, names = simulate(model, density, 0, 20).plan, names_of(model)
    weights = np.random.default_rng(7).random((2, *density.shape))

    def loss(run) -> tuple:
        used = [run.fields, run.companions] if run.companions else [run.fields]
        return 0.0, *([w] for w, _ in zip(weights, used, strict=False))

    tangents, gradients = (
        [solve(dtype) for dtype in (np.float32, np.float64)]
        for solve in (
            lambda dtype: simulate_with_tangents(model, density, 0, 20, parameters=names, plan=plan, dtype=dtype),
            lambda dtype: simulate_with_gradient(model, density, 0, 20, loss, parameters=names, plan=plan, dtype=dtype),
        )
    )
    for name in names:
        single, double = (run.visible_tangents[name][-1] for run in tangents)
        assert single.dtype == np.float32
        assert np.linalg.norm(single - double) <= 1e-4 * np.linalg.norm(double), name
        assert gradients[0].parameters[name] == pytest.approx(gradients[1].parameters[name], rel=1e-3, abs=1e-6), name
    single, double = (run.initial for run in gradients)
    assert np.linalg.norm(single - double) < 1e-4 * np.linalg.norm(double)


def test_few_checkpoints_change_no_bit(extended) -> None:
    model, density = extended
    plan, weights = simulate(model, density, 0, 20).plan, np.random.default_rng(7).random(density.shape)
    many, few = (
        simulate_with_gradient(
            model, density, 0, 20, lambda run: (0.0, [weights]), plan=plan, memory_mb=mb, parameters=names_of(model)
        )
        for mb in (1000, 0.3)
    )
    assert few.repeated > many.repeated == 0
    np.testing.assert_array_equal(few.initial, many.initial)
    assert few.parameters == many.parameters


@pytest.mark.parametrize("companion", [DeadCells(6.0), Necrosis(0.3, 0.2)])
@pytest.mark.parametrize("at_zero", [("temozolomide",), ("temozolomide", "other")])
def test_a_drug_without_an_effect_has_the_derivative_from_above(treated_model, companion, at_zero) -> None:
    model, density = treated_model
    sensitivity = {"temozolomide": 4e-4, "other": 3e-4} | dict.fromkeys(at_zero, 0.0)
    others = tuple(Administration(day, "other", 60, DoseUnit.MG) for day in (11.2, 12.7))
    model = dataclasses.replace(
        model,
        companion=companion,
        administrations=(*model.administrations, *others),
        decay_rates={"temozolomide": 9.24, "other": 0.7},
        parameters=dataclasses.replace(model.parameters, drug_sensitivity=sensitivity),
    )
    frozen = {"plan": simulate(model, density, 0, 20, eps=0, dtype=np.float64).plan, "dtype": np.float64}
    got = simulate_with_tangents(model, density, 0, 20, parameters=at_zero, **frozen)
    for name in at_zero:
        h = 1e-8
        there = simulate(moved(model, **{name: h}), density, 0, 20, eps=0, **frozen)
        for ours, theirs, before in (
            (got.tangents, there.fields, got.simulation.fields),
            (got.companion_tangents, there.companions, got.simulation.companions),
        ):
            difference = (theirs[-1] - before[-1]) / h
            assert np.linalg.norm(ours[name][-1] - difference) < 1e-4 * np.linalg.norm(difference)


def test_losses_that_do_not_fit_the_model_are_refused(treated_model) -> None:
    model, density = treated_model
    one = np.ones(density.shape)
    for changed, loss, said in [
        (model, lambda run: (0.0, [one], [one]), "saved field, not 3 values"),
        (dataclasses.replace(model, companion=DeadCells(5.0)), lambda run: (0.0, [one], []), "saved companions"),
        (dataclasses.replace(model, companion=DeadCells(5.0)), lambda run: (0.0, [one], [one[1:]]), "by the companion"),
        (dataclasses.replace(model, companion=DeadCells(5.0)), lambda run: (0.0,), "saved companion, not 1 values"),
    ]:
        with pytest.raises(InputError, match=said):
            simulate_with_gradient(changed, density, 0, 20, loss)
    with pytest.raises(InputError, match=r"'half_time'.*choose from"):
        simulate_with_tangents(model, density, 0, 20, parameters=["half_time"])
