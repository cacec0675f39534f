"""The terms that not every model has: tensors, rates by voxel, dead cells, necrosis."""

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tumortwin.geometry.domain import Domain
from tumortwin.growth import DeadCells, GrowthParameters, Model, Necrosis, TensorDiffusion, simulate
from tumortwin.imaging.volume import Grid
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation

SPACINGS = pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)], ids=["isotropic", "3x1x1 mm"])
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# fibers oblique to all axes, (z, y, x): 12 times as diffusive along as across
ALONG = np.array([1.0, 2.0, 1.5]) / np.linalg.norm([1.0, 2.0, 1.5])
FIBER = 0.08 * np.eye(3) + 0.92 * np.outer(ALONG, ALONG)
DECAY = np.log(2) / (1.8 / 24)  # temozolomide's, 1/day: a half-life of 1.8 h
ORACLE = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}


def only(d: float, rho: float = 0.0, **more: object) -> GrowthParameters:
    return GrowthParameters(diffusivity=d, proliferation_rate=rho, **more)


def label(spacing: tuple[float, ...]) -> str:
    return "x".join(f"{h:g}" for h in spacing) + " mm"


@SPACINGS
def test_second_moments_of_a_tensor(verify, spacing) -> None:
    shape = tuple(int(39 / h) // 2 * 2 + 1 for h in spacing)
    offsets = np.moveaxis((np.indices(shape).T - (np.array(shape) - 1) / 2).T, 0, -1) * spacing
    u0 = np.exp(-np.sum(offsets**2, axis=-1) / (2 * 2.0**2))
    diffusion = TensorDiffusion(np.broadcast_to(FIBER, (*shape, 3, 3)))
    model = Model(Domain.uniform(Grid.regular(shape, spacing)), only(0.5), diffusion=diffusion)
    u = simulate(model, u0, 0, 3, rtol=1e-4, dtype=np.float64).fields[-1]

    def moments(v: np.ndarray) -> np.ndarray:
        points = offsets.reshape(-1, 3)
        return points.T @ (points * v.reshape(-1, 1)) / v.sum()

    gained = moments(u) - moments(u0)
    for a, b in itertools.combinations_with_replacement(range(3), 2):
        verify(
            f"covariance {'zyx'[a]}{'zyx'[b]} gained under an oblique tensor in 3 days, {label(spacing)}",
            expected=2 * 0.5 * 3 * FIBER[a, b],
            got=gained[a, b],
            tolerance=1e-3,
            source="2 D t",
        )


@SPACINGS
@BOTH
def test_tensors_lose_nothing_and_make_no_extremum(verify, spacing, dtype) -> None:
    rng = np.random.default_rng(4)
    shape = (10, 12, 13)
    mask = rng.random(shape) < 0.8
    directions = rng.standard_normal((*shape, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    tensor = 0.05 * np.eye(3) + 0.95 * directions[..., :, None] * directions[..., None, :]
    model = Model(Domain.uniform(Grid.regular(shape, spacing), mask), only(1.0), diffusion=TensorDiffusion(tensor))
    u0 = np.where(mask, rng.random(shape) < 0.3, 0).astype(float)
    name = f"random fibers 20:1 in a random mask, {label(spacing)}, {np.dtype(dtype).name}"
    long = simulate(model, u0, 0, 20, rtol=1e-2, dtype=dtype)
    assert not long.fields[-1][~mask].any()
    left = long.fields[-1].sum(dtype=float) / u0.sum()
    verify(
        f"cells after 20 days over those before: {name}",
        expected=1,
        got=left,
        tolerance=2e-6 if dtype is np.float32 else 1e-13,
        source="conservation",
    )
    rate = model.diffusion.coupling(model.domain).sum(axis=1).max()
    short = simulate(model, u0, 0, 5 / rate, dt=0.85 / rate, dtype=dtype)
    verify(
        f"lowest density after short steps: {name}",
        expected=0,
        got=short.lowest,
        tolerance=1e-7 if dtype is np.float32 else 1e-15,
        source="weights are not negative",
    )


@BOTH
def test_rates_by_voxel(verify, dtype) -> None:
    shape = (4, 5, 60)
    factor = np.random.default_rng(0).random(shape) * 3
    doses = tuple(Administration(day, "temozolomide", 75, DoseUnit.MG_PER_M2) for day in (0.5, 3.0))
    p = only(0.0, 0.08, drug_sensitivity={"temozolomide": 2e-3})
    model = Model(
        Domain.uniform(Grid.regular(shape)),
        p,
        rate_factor=factor,
        irradiations=(Irradiation(4.0, 2.0),),
        administrations=doses,
    )
    got = simulate(model, np.full(shape, 0.2), 0, 8, dtype=dtype, dt=0.5).fields[-1]
    u = np.full(shape, 0.2).ravel()
    for t0, t1, survivors in [(0, 0.5, 1), (0.5, 3, 1), (3, 4, np.exp(-0.12 * 2 * 1.25)), (4, 8, 1)]:

        def slope(t: float, u: np.ndarray, t1: float = t1) -> np.ndarray:
            kill = 2e-3 * 75 * DECAY * sum(np.exp(-DECAY * (t - d)) for d in (0.5, 3.0) if d <= t and d < t1)
            return (0.08 * factor.ravel() * (1 - u) - kill) * u

        u = solve_ivp(slope, (t0, t1), u, **ORACLE).y[:, -1] * survivors
    verify(
        f"logistic growth at each voxel's own rate, largest error, {np.dtype(dtype).name}",
        expected=0,
        got=np.abs(got.ravel() - u).max(),
        tolerance=1e-5,
        source="SciPy DOP853 at 1e-12",
    )


def test_dead_cells_clear(verify) -> None:
    grid = Grid.regular((1, 1, 1))
    model = Model(
        Domain.uniform(grid),
        only(0.0),
        irradiations=(Irradiation(2.0, 2.0), Irradiation(5.0, 2.0)),
        companion=DeadCells(4.0),
    )
    run = simulate(model, np.full(grid.shape, 0.5), 0, 9, dtype=np.float64)
    s = np.exp(-0.12 * 2 * 1.25)
    dead = 0.5 * (1 - s) * (0.5 ** (7 / 4) + s * 0.5 ** (4 / 4))
    verify(
        "dead cells after two fractions",
        expected=dead,
        got=run.companions[-1][0, 0, 0],
        tolerance=1e-12,
        source="closed form",
    )
    verify(
        "living and dead cells seen after two fractions",
        expected=0.5 * s * s + dead,
        got=run.visible[-1][0, 0, 0],
        tolerance=1e-12,
        source="closed form",
    )


def test_dead_cells_of_a_drug(verify) -> None:
    grid = Grid.regular((1, 1, 1))
    days = (0.3, 2.1, 3.5)
    doses = tuple(Administration(day, "temozolomide", 75, DoseUnit.MG_PER_M2) for day in days)
    model = Model(
        Domain.uniform(grid),
        only(0.0, 0.1, drug_sensitivity={"temozolomide": 3e-3}),
        administrations=doses,
        companion=DeadCells(5.0),
    )
    got = {}
    for dt in (0.5, 0.25):
        run = simulate(model, np.full(grid.shape, 0.4), 0, 6, dtype=np.float64, dt=dt)
        got[dt] = run.companions[-1][0, 0, 0]

    def slope(t: float, y: np.ndarray, t1: float) -> list[float]:
        kill = 3e-3 * 75 * DECAY * sum(np.exp(-DECAY * (t - d)) for d in days if d <= t and d < t1)
        return [(0.1 * (1 - y[0]) - kill) * y[0], kill * y[0] - np.log(2) / 5 * y[1]]

    y = np.array([0.4, 0.0])
    for t0, t1 in itertools.pairwise([0, *days, 6]):
        y = solve_ivp(slope, (t0, t1), y, args=(t1,), **ORACLE).y[:, -1]
    verify(
        "dead cells of three drug doses, steps of 0.25 days",
        expected=y[1],
        got=got[0.25],
        tolerance=5e-3,
        relative=True,
        source="SciPy DOP853 at 1e-12",
    )


@BOTH
def test_necrosis(verify, dtype) -> None:
    grid = Grid.regular((1, 1, 1))
    necrosis = Necrosis(rate=0.2, threshold=0.5)
    model = Model(Domain.uniform(grid), only(0.0, 0.15), companion=necrosis)
    runs = [simulate(model, np.full(grid.shape, 0.3), 0, 30, dtype=dtype, dt=dt) for dt in (0.25, 0.125, 0.0625)]

    def slope(t: float, y: np.ndarray) -> list[float]:
        s = np.clip((y.sum() - 0.5) / 0.5, 0, 1)
        death = 0.2 * s * s * (3 - 2 * s) * y[0]
        return [0.15 * y[0] * (1 - y.sum()) - death, death * (1 - y[1])]

    exact = solve_ivp(slope, (0, 30), [0.3, 0.0], **ORACLE).y[:, -1]
    for name, k, fields in (("living", 0, "fields"), ("necrotic", 1, "companions")):
        verify(
            f"{name} cells where density stays high, {np.dtype(dtype).name}",
            expected=exact[k],
            got=getattr(runs[-1], fields)[-1][0, 0, 0],
            tolerance=1e-4,
            source="SciPy DOP853 at 1e-12",
        )
    if dtype is np.float64:
        errors = [abs(run.companions[-1][0, 0, 0] - exact[1]) for run in runs]
        verify(
            "order in time with necrosis",
            expected=2,
            got=np.log2(errors[0] / errors[1]),
            tolerance=0.15,
            source="second order in time",
        )
