"""The gradient by the initial density: transposes, remainders, checkpoints."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin.errors import Cancelled, InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import Exponential, Gompertz, GrowthParameters, Logistic, Model, simulate
from tumortwin.growth.derivatives.adjoint import first_part, simulate_with_gradient
from tumortwin.growth.derivatives.tangent import simulate_with_tangents
from tumortwin.imaging.volume import Grid
from tumortwin.progress import CancelToken
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal

NAMES = ("diffusivity", "grey_ratio", "proliferation_rate", "capacity", "alpha", "alpha_beta", "temozolomide")
SAVES = (0.0, 13.0, 18.0)
LAWS = [Logistic(), Gompertz(), Exponential()]


def weighted(weights: list) -> object:
    """A linear loss."""
    return lambda run: (sum(float((f * w).sum()) for f, w in zip(run.fields, weights, strict=True)), weights)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Model, np.ndarray, np.random.Generator]:
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
    return (
        Model(
            domain,
            GrowthParameters(0.3, 0.06, capacity=0.9),
            draw(st.sampled_from(LAWS)),
            irradiations=tuple(Irradiation(day, doses[day > 3]) for day in (1.0, 2.0, 2.25, 4.0)),
            administrations=tuple(
                Administration(day, "temozolomide", 75, DoseUnit.MG_PER_M2) for day in (1.5, 3.0, 3.9)
            ),
            removals=(Removal(3.0, rng.random(shape).astype(np.float32)),),
        ),
        density,
        rng,
    )


@settings(deadline=None, max_examples=25)
@given(problem=problems())
def test_the_adjoint_is_the_tangents_transpose(problem) -> None:
    model, density, rng = problem
    shape = density.shape
    plan = simulate(model, density, 0, 5, save_at=(0, 2), eps=0, dtype=np.float64).plan
    change = rng.standard_normal(shape) * model.domain.mask
    weights = [rng.standard_normal(shape) for _ in range(3)]
    same = {"parameters": NAMES, "save_at": (0, 2), "plan": plan, "dtype": np.float64}
    forward = simulate_with_tangents(model, density, 0, 5, initial_tangents={"seed": change}, **same)
    back = simulate_with_gradient(model, density, 0, 5, weighted(weights), **same)
    for ours, theirs in zip(back.simulation.fields, forward.simulation.fields, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name, fields in forward.tangents.items():
        size = sum(float(np.abs(f * w).sum()) for f, w in zip(fields, weights, strict=True))
        there = sum(float((f * w).sum()) for f, w in zip(fields, weights, strict=True))
        here = float((back.initial * change).sum()) if name == "seed" else back.parameters[name]
        assert here == pytest.approx(there, rel=0, abs=1e-13 * size), name
    assert not back.initial[~model.domain.mask].any()


@pytest.mark.parametrize("law", LAWS)
def test_taylor_remainders_fall_with_the_square(treated_model, law) -> None:
    model, density = treated_model
    slow = dataclasses.replace(model.parameters, proliferation_rate=0.02)
    model = dataclasses.replace(model, law=law, parameters=slow)
    plan = simulate(model, density, 0, 20, save_at=SAVES, eps=0, dtype=np.float64).plan
    target = np.random.default_rng(5).random(density.shape)

    def misfit(run) -> tuple[float, list]:
        rest = [f - target for f in run.fields]
        return 0.5 * sum(float((r**2).sum()) for r in rest), rest

    got = simulate_with_gradient(model, density, 0, 20, misfit, save_at=SAVES, plan=plan, dtype=np.float64)
    assert got.loss == misfit(got.simulation)[0]
    change = np.random.default_rng(6).uniform(-1, 1, density.shape) * density
    slope = float((got.initial * change).sum())
    remainders = []
    for h in (0.1, 0.05, 0.025):
        there = simulate(model, density + h * change, 0, 20, save_at=SAVES, plan=plan, eps=0, dtype=np.float64)
        remainders.append(abs(misfit(there)[0] - got.loss - h * slope))
    slopes = [np.log2(a / b) for a, b in itertools.pairwise(remainders)]
    assert slopes == pytest.approx([2, 2], abs=0.1)


def test_few_checkpoints_change_no_bit(treated_model) -> None:
    model, density = treated_model
    plan = simulate(model, density, 0, 20).plan
    loss = weighted([np.random.default_rng(7).random(density.shape)])
    runs = [
        simulate_with_gradient(model, density, 0, 20, loss, parameters=NAMES, plan=plan, memory_mb=mb)
        for mb in (1000, 0.2, 0.1, 1e-9)
    ]
    repeated = [run.repeated for run in runs]
    assert repeated[0] == 0
    assert repeated == sorted(set(repeated))
    for run in runs[1:]:
        np.testing.assert_array_equal(run.initial, runs[0].initial)
        assert run.parameters == runs[0].parameters
        assert run.simulation.sweeps == runs[0].simulation.sweeps


@functools.cache
def fewest(pieces: int, checkpoints: int) -> int:
    """Pieces to be run on the way to each piece, at best, by trying every place for the next checkpoint."""
    if checkpoints == 0 or pieces == 1:
        return pieces * (pieces - 1) // 2
    return min(m + fewest(pieces - m, checkpoints - 1) + fewest(m, checkpoints) for m in range(1, pieces))


def test_checkpoints_are_where_they_repeat_least() -> None:
    def ours(pieces: int, checkpoints: int) -> int:
        if checkpoints == 0 or pieces == 1:
            return pieces * (pieces - 1) // 2
        m = first_part(pieces, checkpoints)
        return m + ours(pieces - m, checkpoints - 1) + ours(m, checkpoints)

    for pieces in range(1, 40):
        for checkpoints in range(6):
            assert ours(pieces, checkpoints) == fewest(pieces, checkpoints), (pieces, checkpoints)


def test_single_precision_serves(treated_model) -> None:
    model, density = treated_model
    plan = simulate(model, density, 0, 20).plan
    loss = weighted([np.random.default_rng(7).random(density.shape)])
    single, double = (
        simulate_with_gradient(model, density, 0, 20, loss, parameters=NAMES, plan=plan, dtype=dtype)
        for dtype in (np.float32, np.float64)
    )
    assert single.initial.dtype == np.float32
    assert np.linalg.norm(single.initial - double.initial) < 1e-4 * np.linalg.norm(double.initial)
    for name in NAMES:
        assert single.parameters[name] == pytest.approx(double.parameters[name], rel=1e-3)


def test_the_seed_of_a_tumor_is_found_again() -> None:
    """What the gradient is for: the density at the beginning from that at the end."""
    grid = Grid.regular((1, 24, 24), 2.0)
    model = Model(Domain.uniform(grid), GrowthParameters(0.2, 0.03))
    y, x = np.indices((24, 24))
    truth = 0.8 * np.exp(-((y - 10) ** 2 + (x - 13) ** 2) / 8)[None]
    guess = 0.3 * np.exp(-((y - 12) ** 2 + (x - 12) ** 2) / 20)[None]
    plan = simulate(model, np.maximum(truth, guess), 0, 10, eps=0, dtype=np.float64).plan
    seen = simulate(model, truth, 0, 10, plan=plan, eps=0, dtype=np.float64).fields[-1]

    def misfit(run) -> tuple[float, list]:
        return 0.5 * float(((run.fields[-1] - seen) ** 2).sum()), [run.fields[-1] - seen]

    u, losses = guess, []
    for _ in range(30):
        got = simulate_with_gradient(model, u, 0, 10, misfit, plan=plan, dtype=np.float64)
        losses.append(got.loss)
        u = np.clip(u - 0.6 * got.initial, 0, 1)
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.01 * losses[0]
    assert np.linalg.norm(u - truth) < 0.35 * np.linalg.norm(guess - truth)


def test_a_loss_may_leave_fields_out_and_progress_cancels(treated_model) -> None:
    model, density = treated_model
    one = np.random.default_rng(7).random(density.shape)
    some, zeros = (
        simulate_with_gradient(model, density, 0, 20, lambda run, w=w: (1.5, w), save_at=SAVES)
        for w in ([None, one, None, None], [0 * one, one, 0 * one, 0 * one])
    )
    np.testing.assert_array_equal(some.initial, zeros.initial)
    assert some.loss == 1.5
    seen: list[tuple[float, str]] = []
    simulate_with_gradient(
        model,
        density,
        0,
        20,
        weighted([one]),
        plan=simulate(model, density, 0, 20).plan,
        progress=lambda done, total, what: seen.append((done / total, what)),
    )
    assert [what for _, what in seen] == sorted((what for _, what in seen), reverse=True)  # growth, gradient
    assert seen[-1][0] == 1
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        simulate_with_gradient(model, density, 0, 20, weighted([one]), progress=token)


@pytest.mark.parametrize(("loss", "arguments", "said"), [
    (weighted([]), {"memory_mb": 0}, "memory_mb.*0"), (weighted([]), {"parameters": ["D"]}, "'D'"),
    (lambda run: (0.0, []), {}, "0 derivatives.*1 saved"), (lambda run: (0.0, [np.ones(3)]), {}, r"day 20.*\(3,\)"),
    (lambda run: (0.0, [np.nan * run.fields[0]]), {}, "day 20 is finite"),
])  # fmt: skip
def test_bad_arguments_are_named(treated_model, loss, arguments, said) -> None:
    model, density = treated_model
    with pytest.raises(InputError, match=said):
        simulate_with_gradient(model, density, 0, 20, loss, **arguments)
