"""The kernel against the plain NumPy reference, on any grid."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.growth import _kernel, solver
from tumortwin.growth.reference import ReferenceStepper, euler_step, face_coefficients, rkl2_step
from tumortwin.growth.scheme import stage_limit
from tumortwin.growth.stepper import KernelStepper
from tumortwin.growth.terms.laws import Moebius, Power

FLOWS = [Moebius(1.1, 0.1), Power(2.0, 0.9, 0.8)]


@st.composite
def problems(draw: st.DrawFn) -> tuple:
    shape = draw(st.tuples(*[st.integers(1, 9)] * 2, st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < draw(st.sampled_from([0.2, 0.7, 1.0]))
    mask.flat[rng.integers(mask.size)] = True
    relative = rng.random(shape) * mask * (rng.random(shape) < 0.9)
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3))
    return relative, mask, spacing, np.where(mask, rng.random(shape), 0)


@settings(deadline=None, max_examples=60)
@given(
    problem=problems(),
    stages=st.sampled_from([2, 3, 5, 7]),
    dtype=st.sampled_from([np.float32, np.float64]),
    flow=st.sampled_from(FLOWS),
    threads=st.sampled_from([1, 3]),
)
def test_steps_are_the_reference_s(problem, stages, dtype, flow, threads) -> None:
    relative, mask, spacing, density = problem
    plain = ReferenceStepper(relative, mask, spacing, 0.7, dtype)
    kernel = KernelStepper(relative, mask, spacing, 0.7, dtype, 0.0, threads)
    assert kernel.rate == pytest.approx(plain.rate, rel=1e-12)
    for stepper in (plain, kernel):
        stepper.load(density)
        tau = 0.9 * stage_limit(stages) / plain.rate if plain.rate else 1.0
        for _ in range(2):
            stepper.widen(stages)
            stepper.diffuse(tau, stages, flow)
            stepper.scale(stepper.prepare(1 - 0.5 * density))
    # rounding within RKL2's stages grows with their square (Meyer 2014)
    tolerance = stages**2 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(kernel.field(), plain.field(), rtol=0, atol=tolerance)
    assert not kernel.field()[~mask].any()
    assert kernel.lowest() == pytest.approx(plain.lowest(), abs=tolerance)


@settings(deadline=None, max_examples=40)
@given(problem=problems(), axis=st.sampled_from([0, 1, 2]))
def test_sixteen_bits_are_within_half_a_quantum(problem, axis) -> None:
    relative = problem[0]
    exact = face_coefficients(relative, (1, 1, 1))[axis]
    kept = np.zeros(relative.shape, np.uint16)
    unit = _kernel.faces(relative, axis, kept)
    assert np.abs(kept * unit - exact).max() <= 0.5 * unit * (1 + 1e-12)
    if exact.any():
        assert unit == exact.max() / 65535


@settings(deadline=None, max_examples=30)
@given(problem=problems(), data=st.data())
def test_a_box_lets_nothing_through(problem, data) -> None:
    relative, mask, spacing, density = problem
    kernel = KernelStepper(relative, mask, spacing, 0.7, np.float64, 0.0)
    kernel.load(density)
    if not kernel.field().any():
        return
    box = []
    for low, high in zip(kernel.box[::2], kernel.box[1::2], strict=True):
        begin = data.draw(st.integers(low, high - 1))
        box += [begin, data.draw(st.integers(begin + 1, high))]
    inside = np.zeros(np.array(mask.shape) + 2 * 20, bool)  # the box counts from a margin around the mask's own box
    corner = [int(np.flatnonzero(mask.any(axis=axes))[0]) + 19 for axes in ((1, 2), (0, 2), (0, 1))]
    inside[tuple(slice(c + b, c + e) for c, b, e in zip(corner, box[::2], box[1::2], strict=True))] = True
    inside = inside[20:-20, 20:-20, 20:-20]
    kernel = KernelStepper(relative, mask, spacing, 0.7, np.float64, 0.0)
    kernel.load(density * inside)
    kernel.box = tuple(box)
    before = kernel.field()
    kernel.diffuse(0.9 / kernel.rate if kernel.rate else 1.0, 3, Moebius(1.0, 0.0))
    assert not kernel.field()[~inside].any()
    assert kernel.field().sum() == pytest.approx(before.sum(), rel=1e-13)


def test_rkl2_is_second_order_and_euler_first() -> None:
    rng = np.random.default_rng(0)
    faces = face_coefficients(rng.random((4, 5, 6)), (1.0, 1.0, 2.0))
    u0 = rng.random((4, 5, 6))

    def solve(step, n: int) -> np.ndarray:
        u = u0
        for _ in range(n):
            u = step(u, 0.5 / n)
        return u

    exact = solve(lambda u, tau: rkl2_step(u, faces, tau, 9), 512)
    for step, order in [
        (lambda u, tau: euler_step(u, faces, tau), 1),
        (lambda u, tau: rkl2_step(u, faces, tau, 2), 2),
        (lambda u, tau: rkl2_step(u, faces, tau, 5), 2),
    ]:
        errors = [np.linalg.norm(solve(step, n) - exact) for n in (32, 64)]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_an_euler_step_at_its_limit_makes_no_new_extremum() -> None:
    rng = np.random.default_rng(1)
    d = rng.random((6, 7, 8)) * (rng.random((6, 7, 8)) < 0.7)
    faces = face_coefficients(d, (1.0, 3.0, 1.0))
    # the last plane of faces is 0, so rolling brings each voxel its lower face
    total = sum(face + np.roll(face, 1, axis) for axis, face in enumerate(faces))
    u = (rng.random(d.shape) < 0.5).astype(float)
    new = euler_step(u, faces, 1 / total.max())
    assert new.min() >= -1e-15
    assert new.max() <= 1 + 1e-15


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_whole_solve_is_the_reference_s(monkeypatch, dtype, treated_model) -> None:
    model, density = treated_model
    fast = solver.simulate(model, density, 0, 30, rtol=1e-3, dtype=dtype, eps=0)
    monkeypatch.setattr(solver, "KernelStepper", ReferenceStepper)
    slow = solver.simulate(model, density, 0, 30, rtol=1e-3, dtype=dtype, eps=0)
    np.testing.assert_allclose(fast.fields[-1], slow.fields[-1], rtol=0, atol=10 * np.finfo(dtype).eps)
    assert fast.steps == slow.steps


def test_the_active_box_changes_next_to_nothing_and_sweeps_less(treated_model) -> None:
    model, density = treated_model
    every, active = (solver.simulate(model, density, 0, 30, dt=1.0, dtype=np.float64, eps=eps) for eps in (0, 1e-6))
    np.testing.assert_allclose(active.fields[-1], every.fields[-1], atol=1e-5)
    voxels = [
        sum(np.prod(np.diff(step.box)[::2]) for step in itertools.chain(*run.plan.segments)) for run in (active, every)
    ]
    assert voxels[0] < voxels[1]


def test_numbers_too_small_to_be_normal_are_flushed_inside_only() -> None:
    shape = (3, 3, 34)
    u = np.zeros(shape, np.float32)
    u[1, 1, 1:-1] = 1e-40
    lo, hi = np.ones(shape[:2], np.intc), np.full(shape[:2], 33, np.intc)
    _kernel.moebius(u, lo, hi, (1, 2, 1, 2, 1, 33), 1, 2, 0.5, 0.0)
    assert not u.any()
    assert np.float32(1e-40) * np.float32(0.5) != 0  # Python's own arithmetic is as it was


def test_a_plan_for_another_grid_is_refused() -> None:
    stepper = KernelStepper(np.ones((4, 4, 4)), np.ones((4, 4, 4), bool), (1, 1, 1), 0.1, np.float32, 0.0)
    stepper.load(np.full((4, 4, 4), 0.5))
    with pytest.raises(InputError, match="make a new plan"):
        stepper.use((1, 9, 1, 5, 1, 5))
    with pytest.raises(InputError, match="make a new plan"):
        stepper.use((1, 5, 1, 5, 2, 5))
