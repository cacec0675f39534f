"""How fast the growth engine is, beside what a user would pick instead.

    OMP_NUM_THREADS=1 python benchmarks/growth.py [--json FILE] [--write FILE] [--plot FILE] [--quick]

Ratios are taken pairwise in one run, the median of seven; times are of one thread, CPU time of the process. The C
stencil and the STREAM triad (stencil.c) are compiled by `cc` in the run; py-pde and numba are the extra `bench`. What
is missing is skipped, and said.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import cg
from tables import finish, machine, note, parser

from tumortwin.geometry.domain import Domain
from tumortwin.growth import GrowthParameters, Logistic, Model, TissueDiffusion, ellipsoid_seed, simulate
from tumortwin.growth.reference import euler_step, face_coefficients, rkl2_step
from tumortwin.growth.stepper import KernelStepper
from tumortwin.growth.terms.laws import Moebius
from tumortwin.growth.terms.treatment import DrugKill
from tumortwin.imaging.volume import Grid
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation

STILL = Moebius(1.0, 0.0)


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def steady(work: Callable[[], object]) -> float:
    """CPU time of one of many calls in a row, as within a solve: a processor needs 10 ms to reach its speed."""
    begin = time.process_time()
    while time.process_time() - begin < 0.05:
        work()
    begin, calls = time.process_time(), 0
    while time.process_time() - begin < 0.1:
        work()
        calls += 1
    return (time.process_time() - begin) / calls


def pairwise(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 7) -> tuple[float, float]:
    """Median of theirs / ours taken in turns, and our median seconds."""
    pairs = [(steady(ours), steady(theirs)) for _ in range(repeats)]
    return statistics.median(b / a for a, b in pairs), statistics.median(a for a, _ in pairs)


def brain(spacing: float) -> Domain:
    """An ellipsoid of a brain's size with ventricles, of white and grey matter mixed at 3 mm."""
    shape = tuple(int(n / spacing) for n in (136, 174, 141))
    grid = Grid.regular(shape, spacing)
    z, y, x = (np.linspace(-1, 1, n).reshape([-1 if k == a else 1 for k in range(3)]) for a, n in enumerate(shape))
    r2 = z**2 + y**2 + x**2
    mask = (r2 < 1) & (r2 > 0.06)
    white = mask & (gaussian_filter(np.random.default_rng(0).standard_normal(shape), 3 / spacing) > 0)
    return Domain(grid, mask, white, mask & ~white, np.zeros(shape))


def seed(domain: Domain) -> NDArray[np.float64]:
    """A tumor of 16 mm across in one hemisphere."""
    return ellipsoid_seed(domain, domain.grid.to_world(np.array(domain.grid.shape) * (0.6, 0.7, 0.65)), 8.0)


def course(domain: Domain, treated: bool, d: float = 0.1, rho: float = 0.05) -> Model:
    """A model, with 30 fractions of a dose map and a year of temozolomide if `treated`."""
    z, y, _ = np.indices(domain.grid.shape, np.float32)
    dose = 2 * np.exp(-((z - z.max() * 0.6) ** 2 + (y - y.max() * 0.7) ** 2) / (0.1 * domain.mask.size ** (2 / 3)))
    fractions = tuple(Irradiation(28.0 + 7 * week + day, dose) for week in range(6) for day in range(5))
    days = [*range(28, 68), *(98 + 28 * cycle + day for cycle in range(6) for day in range(5))]
    drugs = tuple(Administration(day - 0.1, "temozolomide", 75, DoseUnit.MG_PER_M2) for day in days)
    parameters = GrowthParameters(diffusivity=d, proliferation_rate=rho, alpha=0.03, alpha_beta=10.0)
    return Model(domain, parameters, irradiations=fractions * treated, administrations=drugs * treated)


def sweeps(spacing: float) -> None:
    """One explicit sweep and one RKL2 stage of the whole brain, against NumPy."""
    domain = brain(spacing)
    relative = TissueDiffusion().relative(domain, GrowthParameters())
    voxels = np.count_nonzero(domain.mask)
    for dtype in (np.float32, np.float64):
        kernel = KernelStepper(relative, domain.mask, domain.grid.spacing, 0.1, dtype, 0.0)
        u = np.where(domain.mask, 0.5, 0).astype(dtype)
        kernel.load(u)
        faces = tuple(face.astype(dtype) for face in face_coefficients(relative * 0.1, domain.grid.spacing))
        where = f"{np.dtype(dtype).name}, {spacing:g} mm, {voxels / 1e6:.2f} M voxels"
        for name, stages, ours, theirs in (
            ("explicit sweep", 1, partial(kernel.euler, 0.1), partial(euler_step, u, faces, 0.1)),
            ("RKL2 stage", 3, partial(kernel.diffuse, 0.1, 3, STILL), partial(rkl2_step, u, faces, 0.1, 3)),
        ):
            ratio, own = pairwise(ours, theirs)
            note(f"{name}, {where}", voxels * stages / own / 1e6, "Mvoxel/s")
            target = ">= 9" if stages == 1 else ""
            note(f"{name}, {where}", ratio, "x faster", "NumPy reference", target, ratio >= 9 if target else None)


def compiled() -> ctypes.CDLL | None:
    """stencil.c, for this very CPU."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("the C stencil and the triad are skipped: no C compiler (cc)")
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "stencil.so"
        source = Path(__file__).with_name("stencil.c")
        subprocess.run([compiler, "-O3", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True)
        return ctypes.CDLL(str(library))


def roofline(spacing: float) -> None:
    """The explicit sweep against the same in plain C and against memory's bandwidth; the stages against the sweep."""
    domain = brain(spacing)
    relative = TissueDiffusion().relative(domain, GrowthParameters())
    voxels = np.count_nonzero(domain.mask)
    kernel = KernelStepper(relative, domain.mask, domain.grid.spacing, 0.1, np.float32, 0.0)
    kernel.load(np.where(domain.mask, 0.5, 0))
    sweep = partial(kernel.euler, 0.1)
    where = f"float32, {spacing:g} mm"
    library = compiled()
    if library is not None:
        inside = np.pad(domain.mask, 1)
        lo = np.argmax(inside, axis=2).astype(np.intc)
        hi = np.where(inside.any(axis=2), inside.shape[2] - np.argmax(inside[..., ::-1], axis=2), 0).astype(np.intc)
        u, out = (np.pad(np.where(domain.mask, 0.5, 0).astype(np.float32), 1) for _ in range(2))
        faces = [f.astype(np.float32) for f in face_coefficients(np.pad(relative * 0.1, 1), domain.grid.spacing)]
        sizes = [ctypes.c_ssize_t(n) for n in inside.shape]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (u, out, *faces, lo, hi)]
        ratio, own = pairwise(sweep, lambda: library.euler(*sizes, *pointers, ctypes.c_float(0.1)))
        note(
            f"time of an explicit sweep, {where}",
            1 / ratio,
            "of theirs",
            "plain C, stored float32 faces",
            "<= 1.3",
            1 / ratio <= 1.3,
        )
        n = 8_000_000
        a, b, c = (np.ones(n) for _ in range(3))
        triad = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, c)]
        ratio, own = pairwise(sweep, lambda: library.triad(ctypes.c_ssize_t(n), *triad, ctypes.c_double(0.5)))
        # counted as STREAM does: 24 bytes a number; u, out and three 16-bit coefficients are 14 bytes a voxel
        share = voxels * 14 / own / (n * 24 / (own * ratio))
        note("STREAM triad", n * 24 / (own * ratio) / 1e9, "GB/s")
        note(f"bandwidth of an explicit sweep, {where}", share, "of triad's", "STREAM triad", ">= 0.6", share >= 0.6)
    ratio, _ = pairwise(sweep, partial(kernel.diffuse, 0.1, 7, STILL))
    note(f"time of an RKL2 stage of seven, {where}", ratio / 7, "sweeps", "explicit sweep", "<= 1.3", ratio / 7 <= 1.3)
    two = KernelStepper(relative, domain.mask, domain.grid.spacing, 0.1, np.float32, 0.0, 2)
    two.load(np.where(domain.mask, 0.5, 0))
    walls = []
    for _ in range(7):
        took = []
        for stepper in (two, kernel):
            for calls in (10, 30):  # the first are not timed
                begin = time.perf_counter()
                for _ in range(calls):
                    stepper.diffuse(0.1, 7, STILL)
            took.append(time.perf_counter() - begin)
        walls.append(took[1] / took[0])
    ratio = statistics.median(walls)
    note(
        f"two threads, {where}, wall time",
        ratio,
        "x faster",
        f"one; load {os.getloadavg()[0]:.1f}",
        ">= 1.7",
        ratio >= 1.7,
    )


def memory(spacing: float) -> None:
    """Bytes per voxel of the box at the highest, beyond the density that is given and the one that is saved."""
    domain = brain(spacing)
    density = seed(domain)
    model = course(domain, False)
    tracemalloc.start()
    run = simulate(model, density, 0, 30)
    peak = tracemalloc.get_traced_memory()[1] - run.fields[0].nbytes
    tracemalloc.stop()
    note("memory of a solve, float32", peak / domain.mask.size, "B/voxel", "", "<= 32", peak / domain.mask.size <= 32)


def against_py_pde(n: int, days: float) -> None:
    """An unmasked box against py-pde's fourth-order Runge-Kutta solver, compiled by numba, at equal error."""
    try:
        import pde
    except ImportError:
        print("py-pde is skipped: install the extra `bench`")
        return
    domain = Domain.uniform(Grid.regular((n, n, n)))
    model = Model(domain, GrowthParameters(diffusivity=0.1, proliferation_rate=0.05))
    density = ellipsoid_seed(domain, domain.grid.center, n / 5)
    exact = simulate(model, density, 0, days, dt=0.1, dtype=np.float64, eps=0).fields[-1]

    def error(u: NDArray[np.floating]) -> float:
        return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))

    ours = error(simulate(model, density, 0, days).fields[-1])
    grid = pde.CartesianGrid([[0, n]] * 3, [n] * 3)
    start = pde.ScalarField(grid, density)
    equation = pde.PDE({"u": "0.1 * laplace(u) + 0.05 * u * (1 - u)"}, bc="neumann")
    solver = pde.RungeKuttaSolver(equation, backend="numba")

    def stepper(steps: int) -> Callable[..., object]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step = solver.make_stepper(start, dt=days / steps)
        step(start.copy(), 0.0, days)  # compiles
        return step

    for steps in (90, 180, 360, 720, 1440):
        step, state = stepper(steps), start.copy()
        step(state, 0.0, days)
        if error(state.data) <= ours:  # not where it is unstable
            break

    def theirs() -> None:
        step(start.copy(), 0.0, days)

    ratio, own = pairwise(lambda: simulate(model, density, 0, days), theirs)
    name = f"whole solve, unmasked box of {n}^3, {days:g} days"
    note(name, own, "s", f"error {ours:.1e}")
    note(name, ratio, "x faster", f"py-pde, numba, {steps} steps", "> 1", ratio > 1)


def scaling(plot: Path | None, finest: float) -> None:
    """Cost of a solve against the number of voxels and against days, with exponents."""
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained", sharey=True)
    curves = []
    points = []
    for spacing in (h for h in (4.0, 3.0, 2.0, 1.4, 1.0) if h >= finest):
        domain = brain(spacing)
        model, density = course(domain, False), seed(domain)
        points.append(
            (
                np.count_nonzero(domain.mask) / 1e6,
                min(seconds(lambda m=model, u=density: simulate(m, u, 0, 180.0)) for _ in range(3)),
            )
        )
    curves.append((points, "voxels in the brain, millions", "180 days, by voxel size"))
    domain = brain(2.0)
    model, density = course(domain, False), seed(domain)
    curves.append(
        (
            [
                (days, min(seconds(lambda t=days: simulate(model, density, 0, t)) for _ in range(3)))
                for days in (45.0, 90.0, 180.0, 360.0, 720.0)
            ],
            "days",
            "2 mm, by length",
        )
    )
    for ax, (points, label, title) in zip(axes, curves, strict=True):
        x, y = np.array(points).T
        slope, offset = np.polyfit(np.log(x), np.log(y), 1)
        note(f"exponent of the cost: {title}", slope, "", f"{len(points)} points, D 0.1, rho 0.05")
        ax.loglog(x, y, "o")
        ax.loglog(x, np.exp(offset) * x**slope, "-", lw=1, label=f"exponent {slope:.2f}")
        ax.set(xlabel=label, title=title)
        ax.set_xticks(x, [f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in x])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    axes[0].set_ylabel("s, one thread")
    if plot:
        fig.savefig(plot, dpi=120)


def crank_nicolson(model: Model, density: NDArray[np.float64], stop: float, steps: int) -> NDArray[np.float64]:
    """Strang splitting with Crank-Nicolson by scipy.sparse and conjugate gradients: what one writes in an afternoon."""
    domain, p = model.domain, model.parameters
    relative = model.diffusion.relative(domain, p)
    faces = face_coefficients(relative * p.diffusivity, domain.grid.spacing)
    index = np.full(domain.grid.shape, -1)
    index[domain.mask] = np.arange(np.count_nonzero(domain.mask))
    n = int(index.max()) + 1
    matrix = sp.csr_array((n, n))
    for axis, face in enumerate(faces):
        low = np.moveaxis(index, axis, 0)[:-1]
        high = np.moveaxis(index, axis, 0)[1:]
        weight = np.moveaxis(face, axis, 0)[:-1]
        used = (low >= 0) & (high >= 0) & (weight > 0)
        i, j, w = low[used], high[used], weight[used]
        matrix += sp.csr_array(
            (np.concatenate([w, w, -w, -w]), (np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j]))), (n, n)
        )
    tau = stop / steps
    implicit = (sp.eye_array(n) - tau / 2 * matrix).tocsr()
    explicit = (sp.eye_array(n) + tau / 2 * matrix).tocsr()
    half = Logistic().flow(p.proliferation_rate, 0, tau / 2, DrugKill((), {}, {}))
    u = density[domain.mask]
    for _ in range(steps):
        u = half(u)
        u, failed = cg(implicit, explicit @ u, x0=u, rtol=1e-7)
        assert not failed
        u = half(u)
    out = np.zeros(domain.grid.shape)
    out[domain.mask] = u
    return out


def at_equal_error(spacing: float, stop: float) -> None:
    """An untreated solve against Crank-Nicolson with as large an error."""
    domain = brain(spacing)
    for d, rho in ((0.1, 0.05), (0.5, 0.03)):
        model, density = course(domain, False, d, rho), seed(domain)
        exact = simulate(model, density, 0, stop, dt=0.25, dtype=np.float64, eps=0).fields[-1]

        def error(u: NDArray[np.floating], exact: NDArray[np.floating] = exact) -> float:
            return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))

        ours = error(simulate(model, density, 0, stop).fields[-1])
        steps = 8
        while error(crank_nicolson(model, density, stop, steps)) > ours:
            steps = round(steps * 1.4)
        name = f"{stop:g} days, {spacing:g} mm, D {d}, rho {rho}"
        ratio, own = pairwise(
            lambda model=model, density=density: simulate(model, density, 0, stop),
            lambda model=model, density=density, n=steps: crank_nicolson(model, density, stop, n),
        )
        note(f"error of a solve: {name}", ours, "rel. L2", "", "<= 1e-3", ours <= 1e-3)
        note(f"whole solve, {name}", own, "s")
        note(f"whole solve, {name}", ratio, "x faster", f"Crank-Nicolson, {steps} steps", "> 1", ratio > 1)


def clinical(spacing: float, stop: float, target: float | None, **rates: float) -> None:
    """A year or less of a whole brain, untreated and with a full course of treatment; the year's true error in time."""
    domain = brain(spacing)
    density = seed(domain)
    for treated in (False, True):
        model = course(domain, treated, **rates)
        run = simulate(model, density, 0, stop)
        took = statistics.median(seconds(lambda model=model: simulate(model, density, 0, stop)) for _ in range(5))
        name = f"{stop:g} days, {spacing:g} mm, D {rates['d']}, {'fractions + drug' if treated else 'untreated'}"
        holds = None if target is None or treated else took <= target
        note(
            name,
            took,
            "s",
            f"{run.steps} steps, {run.sweeps} sweeps",
            f"<= {target} s" if holds is not None else "",
            holds,
        )
        if target is not None:
            exact = simulate(model, density, 0, stop, dt=0.25, dtype=np.float64, eps=0).fields[-1]
            error = float(np.linalg.norm(run.fields[-1] - exact) / np.linalg.norm(exact))
            note(f"error of it: {name}", error, "rel. L2", f"estimated {run.time_error:.1e}", "<= 1e-3", error <= 1e-3)


def main() -> None:
    """Run all and print the table."""
    options = parser(__doc__ or "")
    options.add_argument("--plot", type=Path, help="draw the cost against size and days")
    options.add_argument("--quick", action="store_true", help="2 mm only")
    arguments, begun_on = options.parse_args(), machine()
    print(begun_on)
    sweeps(2.0)
    roofline(2.0)
    memory(2.0)
    against_py_pde(48, 180.0)
    scaling(arguments.plot, 2.0 if arguments.quick else 1.0)
    at_equal_error(2.0, 180.0)
    clinical(2.0, 260.0, None, d=0.1, rho=0.05)
    if not arguments.quick:
        sweeps(1.0)
        roofline(1.0)
        clinical(1.0, 260.0, None, d=0.1, rho=0.05)
        clinical(1.0, 365.0, 1.0, d=0.1, rho=0.05)
        clinical(1.0, 365.0, 2.5, d=0.5, rho=0.03)
    finish("growth", arguments, begun_on)


if __name__ == "__main__":
    main()
