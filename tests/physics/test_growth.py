"""The growth engine against closed forms, conservation laws and orders of accuracy."""

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar

from tumortwin.geometry.domain import Domain
from tumortwin.growth import (
    Exponential,
    Gompertz,
    GrowthParameters,
    Logistic,
    Model,
    UniformDiffusion,
    VoxelDiffusion,
    simulate,
)  # fmt: skip
from tumortwin.imaging.volume import Grid
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal

BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
ROUND = {np.float32: 2e-6, np.float64: 1e-13}
ISOTROPIC, SLICES = (1.0, 1.0, 1.0), (3.0, 1.0, 1.0)
SPACINGS = pytest.mark.parametrize("spacing", [ISOTROPIC, SLICES], ids=["isotropic", "3x1x1 mm"])


def name_of(dtype: type) -> str:
    return np.dtype(dtype).name


def size(u: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(u, float)))


def only(d: float, rho: float = 0.0, **more: object) -> GrowthParameters:
    return GrowthParameters(diffusivity=d, proliferation_rate=rho, **more)


def line(n: int, h: float, model: dict | None = None, **parameters: float) -> tuple[Model, np.ndarray]:
    grid = Grid.regular((1, 1, n), (1.0, 1.0, h))
    return Model(Domain.uniform(grid), only(**parameters), **(model or {})), (np.arange(n) + 0.5) * h


# Reaction and treatment at one place: closed forms


@BOTH
def test_logistic_with_fractions(verify, dtype) -> None:
    grid = Grid.regular((1, 1, 1))
    fractions = (Irradiation(3.0, 2.0), Irradiation(3.25, 1.5), Irradiation(7.5, 2.0))
    parameters = only(0.0, 0.2, alpha=0.1, alpha_beta=10.0)
    model = Model(Domain.uniform(grid), parameters, irradiations=fractions)
    got = simulate(model, np.full(grid.shape, 0.3), 0, 10, dtype=dtype).fields[-1][0, 0, 0]
    # v = 1/u - 1 decays by exp(-rho t); a fraction takes u to S u
    u, t = 0.3, 0.0
    for day, dose in [(3.0, 2.0), (3.25, 1.5), (7.5, 2.0), (10.0, 0.0)]:
        u = 1 / (1 + (1 / u - 1) * np.exp(-0.2 * (day - t))) * np.exp(-0.1 * dose - 0.01 * dose**2)
        t = day
    verify(
        f"logistic growth with three fractions, two on one day, {name_of(dtype)}",
        expected=u,
        got=got,
        tolerance=ROUND[dtype],
        source="closed form",
    )


@pytest.mark.parametrize("law", [Logistic(), Exponential(), Gompertz(floor=1e-3)], ids=lambda law: type(law).__name__)
def test_growth_under_a_drug(verify, law) -> None:
    grid = Grid.regular((1, 1, 1))
    doses = tuple(Administration(day, "temozolomide", 75.0, DoseUnit.MG_PER_M2) for day in (-0.05, 0.5, 1.5, 1.7, 4.1))
    model = Model(
        Domain.uniform(grid), only(0.0, 0.15, drug_sensitivity={"temozolomide": 6e-3}), law, administrations=doses
    )
    got = simulate(model, np.full(grid.shape, 0.2), 0, 6, dtype=np.float64).fields[-1][0, 0, 0]

    def slope(t: float, u: np.ndarray) -> np.ndarray:
        decay = np.log(2) / (1.8 / 24)  # 1/day: a half-life of 1.8 h
        kill = 6e-3 * 75 * decay * sum(np.exp(-decay * (t - d.day)) for d in doses if t >= d.day)
        growth = {Logistic: 1 - u, Exponential: 1.0, Gompertz: -np.log(np.maximum(u, 1e-3))}[type(law)]
        return (0.15 * growth - kill) * u

    u = np.array([0.2])
    for t0, t1 in itertools.pairwise([0, 0.5, 1.5, 1.7, 4.1, 6]):  # the oracle stops where the kill rate jumps
        u = solve_ivp(slope, (t0, t1 - 1e-13), u, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    verify(
        f"{type(law).__name__} growth under five drug doses, one before the start",
        expected=u[0],
        got=got,
        tolerance=1e-9,
        relative=True,
        source="SciPy DOP853 at 1e-12",
    )


# Diffusion: eigenmodes, moments, conservation, symmetry


@BOTH
@SPACINGS
def test_cosine_mode(verify, dtype, spacing) -> None:
    shape, modes, d, t = (8, 15, 20), (1, 2, 3), 0.4, 6.0
    wave = np.ones(shape)
    rate = 0.0
    for axis, (n, k, h) in enumerate(zip(shape, modes, spacing, strict=True)):
        along = np.cos(np.pi * k * (np.arange(n) + 0.5) / n)
        wave *= along.reshape([-1 if a == axis else 1 for a in range(3)])
        rate += 4 * d / h**2 * np.sin(np.pi * k / (2 * n)) ** 2
    model = Model(Domain.uniform(Grid.regular(shape, spacing)), only(d))
    u = simulate(model, 0.5 + 0.4 * wave, 0, t, dt=0.02, dtype=dtype).fields[-1]
    got = np.sum((u - 0.5) * wave, dtype=float) / np.sum(wave**2) / 0.4
    verify(
        f"decay of a cosine mode, {'x'.join(f'{h:g}' for h in spacing)} mm, {name_of(dtype)}",
        expected=np.exp(-rate * t),
        got=got,
        tolerance=2e-5,
        source="discrete eigenvalue",
    )


@SPACINGS
def test_second_moments(verify, spacing) -> None:
    shape = (31, 33, 35)
    grid = Grid.regular(shape, spacing)
    offsets = np.moveaxis((np.indices(shape).T - (np.array(shape) - 1) / 2).T, 0, -1) * spacing
    u0 = np.exp(-np.sum(offsets**2 / (2 * np.array([2.0, 1.2, 1.4]) ** 2 * np.array(spacing) ** 0.5), axis=-1))
    model = Model(Domain.uniform(grid), only(0.5))
    u = simulate(model, u0, 0, 3, dtype=np.float64, eps=0).fields[-1]
    for axis, letter in enumerate("zyx"):

        def moment(v: np.ndarray, axis: int = axis) -> float:
            return float(np.sum(v * offsets[..., axis] ** 2) / np.sum(v))

        verify(
            f"variance gained by a Gaussian in 3 days along {letter}, {'x'.join(f'{h:g}' for h in spacing)} mm",
            expected=2 * 0.5 * 3,
            got=moment(u) - moment(u0),
            tolerance=1e-5,
            source="2 D t",
        )


@BOTH
def test_mass_is_conserved(verify, dtype) -> None:
    rng = np.random.default_rng(7)
    shape = (14, 17, 19)
    mask = rng.random(shape) < 0.7
    model = Model(
        Domain.uniform(Grid.regular(shape, (3, 1, 2)), mask),
        only(0.8),
        diffusion=VoxelDiffusion(rng.random(shape) ** 3),
    )
    u0 = np.where(mask, rng.random(shape), 0)
    u = simulate(model, u0, 0, 40, rtol=1e-2, dtype=dtype, eps=0).fields[-1]
    assert np.all(u[~mask] == 0)
    verify(
        f"cells after 40 days of diffusion in a random mask with random D, over those before, {name_of(dtype)}",
        expected=1,
        got=u.sum(dtype=float) / u0.sum(),
        tolerance=ROUND[dtype],
        source="conservation",
    )


def test_no_new_extremum(verify) -> None:
    rng = np.random.default_rng(3)
    shape = (12, 13, 14)
    mask = rng.random(shape) < 0.8
    u0 = np.where(mask, rng.random(shape) < 0.2, 0).astype(float)
    model = Model(Domain.uniform(Grid.regular(shape), mask), only(1.0), diffusion=UniformDiffusion())
    # rate 6: steps of 0.15 days are Heun's at its limit
    lowest = simulate(model, u0, 0, 3, dt=0.15, dtype=np.float64).lowest
    verify(
        "lowest density after short steps from a random mask",
        expected=0,
        got=lowest,
        tolerance=1e-15,
        source="Heun's method is strong-stability preserving",
    )


@pytest.mark.parametrize("rtol", [1e-2, 1e-3])
def test_undershoot_is_bounded(verify, rtol) -> None:
    grid = Grid.regular((25, 25, 25))
    u0 = np.zeros(grid.shape)
    u0[12, 12, 12] = 1.0
    lowest = simulate(Model(Domain.uniform(grid), only(1.0)), u0, 0, 60, rtol=rtol, dtype=np.float64).lowest
    verify(
        f"lowest density from one full voxel, steps chosen for rtol {rtol:g}",
        expected=0,
        got=lowest,
        tolerance=1e-4,
        source="maximum principle",
    )


def test_flips_and_permutations(verify) -> None:
    rng = np.random.default_rng(11)
    shape, spacing = (9, 11, 12), (1.0, 2.0, 1.5)
    mask = rng.random(shape) < 0.8
    d, u0 = rng.random(shape), np.where(mask, rng.random(shape), 0)

    def solve(turn, h: tuple[float, ...]) -> np.ndarray:
        grid = Grid.regular(turn(mask).shape, h)
        model = Model(Domain.uniform(grid, turn(mask)), only(0.3, 0.05), diffusion=VoxelDiffusion(turn(d)))
        return simulate(model, turn(u0), 0, 10, dt=1.0, dtype=np.float64).fields[-1]

    plain, worst = solve(lambda a: a, spacing), 0.0
    for axes in itertools.permutations(range(3)):
        turned = solve(lambda a, axes=axes: a.transpose(axes)[::-1, :, ::-1], tuple(spacing[a] for a in axes))
        worst = max(worst, np.abs(turned - plain.transpose(axes)[::-1, :, ::-1]).max())
    verify(
        "largest change by flips and permutations of the axes",
        expected=0,
        got=worst,
        tolerance=1e-14,
        source="symmetry",
    )


def test_mass_through_a_tissue_interface(verify) -> None:
    # white matter full of cells on the left, empty grey matter on the right
    n, d, ratio, t = 800, 0.2, 0.1, 60.0
    factor = np.where(np.arange(n) < n // 2, 1.0, ratio).reshape(1, 1, n)
    model, _ = line(n, 0.25, {"diffusion": VoxelDiffusion(factor)}, d=d)
    u0 = (factor == 1.0).astype(float)
    got = simulate(model, u0, 0, t, rtol=1e-4, dtype=np.float64).fields[-1][factor < 1].sum() * 0.25
    surface = np.sqrt(1.0) / (np.sqrt(1.0) + np.sqrt(ratio))
    passed = 2 * surface * np.sqrt(d * ratio * t / np.pi)
    verify(
        "cells passed from white to grey matter in 60 days, mm",
        expected=passed,
        got=got,
        tolerance=0.01,
        relative=True,
        source="Carslaw & Jaeger 1959, composite medium",
    )


def test_rkl2_at_its_limit_is_stable(verify) -> None:
    rng = np.random.default_rng(5)
    grid = Grid.regular((10, 10, 10))
    u0 = 0.5 + 0.5 * (-1.0) ** np.indices(grid.shape).sum(0) * rng.random(grid.shape)
    # rate 6; 31 stages reach 248 = 6 * 41 days, in one step
    u = simulate(Model(Domain.uniform(grid), only(1.0)), u0, 0, 37, dt=37.0, dtype=np.float64).fields[-1]
    verify(
        "deviation left of a rough field after one step of 31 stages",
        expected=0,
        got=size(u - u.mean()) / size(u0 - u0.mean()),
        tolerance=0.02,
        source="stability, Meyer 2014",
    )


# Growth and diffusion together


def test_traveling_wave_and_order_in_space(verify) -> None:
    d, rho, t = 0.5, 0.1, 40.0
    errors = {}
    for h in (2.0, 1.0, 0.5):
        model, x = line(int(200 / h), h, d=d, rho=rho)

        def wave(time: float, x: np.ndarray = x) -> np.ndarray:
            return (1 + np.exp(np.sqrt(rho / (6 * d)) * (x - 60 - 5 * np.sqrt(d * rho / 6) * time))) ** -2.0

        u = simulate(model, wave(0.0).reshape(1, 1, -1), 0, t, rtol=1e-6, dtype=np.float64, eps=0).fields[-1].ravel()
        errors[h] = size(u - wave(t)) / size(wave(t))
    source = "Ablowitz & Zeppetella 1979"
    verify(
        "traveling wave after 40 days, 0.5 mm, relative L2 error",
        expected=0,
        got=errors[0.5],
        tolerance=2e-4,
        source=source,
    )
    verify(
        "order of accuracy in space", expected=2, got=np.log2(errors[2.0] / errors[1.0]), tolerance=0.1, source=source
    )
    verify(
        "order of accuracy in space, finer",
        expected=2,
        got=np.log2(errors[1.0] / errors[0.5]),
        tolerance=0.05,
        source=source,
    )


def test_front_speed_on_the_lattice(verify) -> None:
    d, rho, h = 0.1, 0.05, 1.0
    speed = minimize_scalar(
        lambda k: (2 * d / h**2 * (np.cosh(k * h) - 1) + rho) / k, bounds=(0.05, 3), method="bounded"
    )
    model, x = line(700, h, d=d, rho=rho)
    u0 = (x < 10).astype(float).reshape(1, 1, -1)
    t0, t1 = 1500.0, 3000.0
    run = simulate(model, u0, 0, t1, save_at=(t0,), rtol=1e-4, dtype=np.float64, eps=0)
    reached = [np.interp(-0.5, -u.ravel(), x) for u in run.fields]
    lag = 1.5 / speed.x * np.log(t1 / t0) / (t1 - t0)  # Bramson 1983, with the lattice front's own decay rate
    verify(
        "front speed between days 1500 and 3000, mm/day",
        expected=speed.fun - lag,
        got=(reached[1] - reached[0]) / (t1 - t0),
        tolerance=0.003,
        relative=True,
        source="lattice dispersion relation, Bramson's lag",
    )


def brain_like() -> tuple[Domain, np.ndarray]:
    rng = np.random.default_rng(2)
    grid = Grid.regular((18, 20, 22), 2.0)
    offsets = (np.indices(grid.shape).T - (np.array(grid.shape) - 1) / 2).T
    mask = (offsets**2).sum(0) < 10**2
    white = np.where(mask, rng.random(grid.shape) > 0.4, 0).astype(np.float32)
    distance = np.sqrt(((offsets + 2) ** 2).sum(0))
    return Domain(grid, mask, white, mask - white, np.zeros(grid.shape)), mask / (1 + np.exp((distance - 4) / 0.7))


@pytest.mark.parametrize("treated", [False, True])
def test_order_in_time(verify, treated) -> None:
    domain, u0 = brain_like()
    dose = np.linspace(0, 3, domain.mask.size).reshape(domain.grid.shape)
    # where a dose falls within a step changes the error's constant, so all fall alike
    drugs = tuple(Administration(d, "temozolomide", 75, DoseUnit.MG_PER_M2) for d in range(0, 20, 2))
    fractions = tuple(Irradiation(d, dose) for d in (8.0, 16.0, 16.0, 24.0))
    events = {"irradiations": fractions, "administrations": drugs}
    parameters = only(0.2, 0.06, drug_sensitivity={"temozolomide": 1e-3})
    model = Model(domain, parameters, **events if treated else {})
    u = [simulate(model, u0, 0, 32, dt=dt, dtype=np.float64, eps=0).fields[-1] for dt in (2.0, 1.0, 0.5, 0.25)]
    ratio = size(u[1] - u[2]) / size(u[2] - u[3])
    verify(
        f"change by halving the step, over that by halving again, {'with' if treated else 'no'} treatment",
        expected=4,
        got=ratio,
        tolerance=0.3,
        source="second order in time",
    )


def test_single_against_double_precision(verify) -> None:
    domain, u0 = brain_like()
    model = Model(domain, only(0.2, 0.06), irradiations=tuple(Irradiation(float(d), 2.0) for d in range(10, 40)))
    single, double = (simulate(model, u0, 0, 90, dt=1.0, dtype=t, eps=0).fields[-1] for t in (np.float32, np.float64))
    verify(
        "float32 against float64 after 90 days with 30 fractions, relative L2",
        expected=0,
        got=size(single - double) / size(double),
        tolerance=1e-5,
        source="rounding",
    )


@pytest.mark.parametrize(
    ("d", "rho", "days", "treated"),
    [
        (0.1, 0.05, 120, False),
        (0.1, 0.05, 120, True),
        (0.5, 0.03, 120, True),
        (0.02, 0.1, 60, False),
        (1.0, 0.01, 90, False),
    ],
)
def test_the_time_error_is_what_was_asked_for(verify, d, rho, days, treated) -> None:
    domain, u0 = brain_like()
    removed = np.zeros(domain.grid.shape, np.float32)
    removed[:8] = 0.9
    events = (
        {
            "irradiations": tuple(Irradiation(20.0 + i + i // 5 * 2, 2.0) for i in range(30)),
            "removals": (Removal(12.0, removed),),
        }
        if treated
        else {}
    )
    model = Model(domain, only(d, rho, alpha=0.04), **events)
    exact = simulate(model, u0, 0, days, dt=0.1, dtype=np.float64, eps=0).fields[-1]
    case = f"D {d}, rho {rho}, {days} days, {'a resection and 30 fractions' if treated else 'untreated'}"
    for rtol in (1e-2, 1e-3):
        run = simulate(model, u0, 0, days, rtol=rtol)
        error = size(run.fields[-1] - exact) / size(exact)
        verify(
            f"time error over rtol {rtol:g}: {case}", expected=0, got=error / rtol, tolerance=1.0, source="dt 0.1 days"
        )
        assert 0.25 * error < run.time_error < 2 * rtol


def test_a_frozen_plan_makes_a_smooth_function(verify) -> None:
    domain, u0 = brain_like()
    base = only(0.1, 0.05)
    events = {"irradiations": tuple(Irradiation(float(d), 2.0) for d in range(20, 30))}
    plan = simulate(Model(domain, base, **events), u0, 0, 60).plan

    def volume(change: float) -> float:
        p = only(0.1 * np.exp(change), 0.05 * np.exp(0.5 * change), alpha=0.12 * np.exp(-change))
        return size(simulate(Model(domain, p, **events), u0, 0, 60, dtype=np.float64, plan=plan).fields[-1])

    slope = (volume(1e-4) - volume(-1e-4)) / 2e-4
    left = [abs(volume(e) - volume(0) - e * slope) for e in (0.04, 0.02, 0.01)]
    verify(
        "Taylor remainder's slope with frozen steps",
        expected=2,
        got=np.log2(left[1] / left[2]),
        tolerance=0.1,
        source="differentiability",
    )
    assert left[0] > left[1] > left[2]
