"""How fast the growth engine is, beside what a user would pick instead.

    OMP_NUM_THREADS=1 python benchmarks/growth.py [--json FILE] [--quick]

Ratios are taken pairwise in one run, the median of five; times are of one thread, CPU time of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import cg

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
rows: list[dict[str, object]] = []


def note(name: str, value: float, unit: str, against: str = "", target: str = "", holds: bool | None = None) -> None:
    """One row of the table."""
    rows.append({"name": name, "value": value, "unit": unit, "against": against, "target": target, "holds": holds})
    verdict = {None: "", True: "holds", False: "MISSED"}[holds]
    print(f"{name:62} {value:10.4g} {unit:10} {against:34} {target:12} {verdict}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def pairwise(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Median of theirs / ours taken in turns, and our median seconds."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
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
        matrix += sp.csr_array((np.concatenate([w, w, -w, -w]),
                                (np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j]))), (n, n))
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
        ratio, own = pairwise(lambda model=model, density=density: simulate(model, density, 0, stop),
                              lambda model=model, density=density, n=steps: crank_nicolson(model, density, stop, n))
        note(f"error of a solve: {name}", ours, "rel. L2", "", "<= 1e-3", ours <= 1e-3)
        note(f"whole solve, {name}", own, "s")
        note(f"whole solve, {name}", ratio, "x faster", f"Crank-Nicolson, {steps} steps", "> 1", ratio > 1)


def clinical(spacing: float, stop: float, target: float | None, **rates: float) -> None:
    """A year or less of a whole brain, untreated and with a full course of treatment."""
    domain = brain(spacing)
    density = seed(domain)
    for treated in (False, True):
        model = course(domain, treated, **rates)
        run = simulate(model, density, 0, stop)
        took = statistics.median(seconds(lambda model=model: simulate(model, density, 0, stop)) for _ in range(5))
        name = f"{stop:g} days, {spacing:g} mm, D {rates['d']}, {'fractions + drug' if treated else 'untreated'}"
        holds = None if target is None or treated else took <= target
        note(name, took, "s", f"{run.steps} steps, {run.sweeps} sweeps", f"<= {target} s" if holds is not None else "",
             holds)


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="2 mm only")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, numpy {np.__version__}")
    sweeps(2.0)
    at_equal_error(2.0, 180.0)
    clinical(2.0, 260.0, None, d=0.1, rho=0.05)
    if not arguments.quick:
        sweeps(1.0)
        clinical(1.0, 260.0, None, d=0.1, rho=0.05)
        clinical(1.0, 365.0, 1.0, d=0.1, rho=0.05)
        clinical(1.0, 365.0, 2.5, d=0.5, rho=0.03)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
