"""What derivatives of a solve cost, in solves.

    OMP_NUM_THREADS=1 python benchmarks/sensitivities.py [--json FILE] [--write FILE] [--quick]

Ratios are taken pairwise in one run, the median of five; times are of one thread, CPU time of the process. A solve is
one with the same frozen plan, so without the steps that an adaptive solve takes twice to measure its error.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from growth import brain, course, pairwise, seed
from tables import finish, machine, note, parser

from tumortwin.growth import DeadCells, Necrosis, TensorDiffusion, simulate
from tumortwin.growth.derivatives.adjoint import simulate_with_gradient
from tumortwin.growth.derivatives.tangent import simulate_with_tangents

NAMES = ("diffusivity", "proliferation_rate", "alpha", "temozolomide", "grey_ratio", "alpha_beta")
DAYS = 120.0


def jacobian(spacing: float, counts: tuple[int, ...], treated: bool, d: float = 0.1, rho: float = 0.05) -> None:
    """Cost of p tangent columns, in solves; beyond six, numbers of the seed."""
    domain = brain(spacing)
    model, density = course(domain, treated, d, rho), seed(domain)
    solve = partial(simulate, model, density, 0, DAYS)
    plan = solve().plan
    seeds = {f"seed {k}": density * (1 - density) * np.cos(k) for k in range(max(counts))}
    what = f"{spacing:g} mm, D {d:g}, {'fractions + drug' if treated else 'untreated'}"
    for p in counts:
        names = NAMES[:p]
        extra = dict(list(seeds.items())[: p - len(names)])
        both = partial(
            simulate_with_tangents, model, density, 0, DAYS, parameters=names, initial_tangents=extra, plan=plan
        )
        ratio, own = pairwise(partial(solve, plan=plan), both)
        if p == counts[0]:
            note(f"a solve with a frozen plan, {what}", own, "s", f"{plan.steps} steps")
        limit = 0.8 * p + 1
        note(
            f"density and {p} derivatives, {what}",
            ratio,
            "solves",
            f"{p + 1} solves by differences",
            f"<= {limit:g}",
            ratio <= limit,
        )


def gradient(spacing: float, memory_mb: float) -> None:
    """Cost of the adjoint, in solves."""
    domain = brain(spacing)
    model, density = course(domain, True), seed(domain)
    plan = simulate(model, density, 0, DAYS).plan
    ours = partial(
        simulate_with_gradient, model, density, 0, DAYS, lambda run: (0.0, run.fields), plan=plan, memory_mb=memory_mb
    )
    run = ours()
    ratio, _ = pairwise(partial(simulate, model, density, 0, DAYS, plan=plan), ours)
    voxels = np.count_nonzero(domain.mask)
    note(
        f"gradient by {voxels} voxels, {spacing:g} mm, {memory_mb:g} MB kept",
        ratio,
        "solves",
        f"{run.repeated} of {run.simulation.sweeps} sweeps again",
    )


def terms(spacing: float, count: int = 4) -> None:
    """Cost of tangents and adjoint with the terms that not every model has."""
    domain = brain(spacing)
    plain, density = course(domain, True), seed(domain)
    z, y, x = (np.linspace(-1, 1, n) for n in domain.grid.shape)
    fiber = np.diag([1.0, 0.5, 0.3])
    for what, extra in {
        "rates by voxel": {"rate_factor": 1 + 0.5 * np.multiply.outer(z, np.add.outer(y, x)).clip(-1, 1)},
        "dead cells": {"companion": DeadCells(10.0)},
        "necrosis": {"companion": Necrosis()},
        "tensor": {"diffusion": TensorDiffusion(np.broadcast_to(fiber, (*domain.grid.shape, 3, 3)))},
    }.items():
        model = replace(plain, **extra)
        plan = simulate(model, density, 0, DAYS).plan
        solve = partial(simulate, model, density, 0, DAYS, plan=plan)
        both = partial(simulate_with_tangents, model, density, 0, DAYS, parameters=NAMES[:count], plan=plan)
        back = partial(simulate_with_gradient, model, density, 0, DAYS, lambda run: (0.0, run.fields), plan=plan)
        ratio, own = pairwise(solve, both)
        note(f"a solve with {what}, {spacing:g} mm", own, "s", f"{plan.steps} steps")
        note(
            f"density and {count} derivatives, {what}",
            ratio,
            "solves",
            f"{count + 1} solves by differences",
            f"<= {0.8 * count + 1:g}",
            ratio <= 0.8 * count + 1,
        )
        note(f"gradient by the initial density, {what}", pairwise(solve, back)[0], "solves")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--quick", action="store_true", help="2 mm only")
    arguments, begun_on = options.parse_args(), machine()
    print(begun_on)
    jacobian(2.0, (1, 2, 4, 6, 12), treated=True)
    jacobian(2.0, (2,), treated=False)
    gradient(2.0, 1024.0)
    gradient(2.0, 10.0)
    terms(2.0)
    if not arguments.quick:
        jacobian(1.0, (2, 6), treated=True)
        jacobian(1.0, (2, 6), treated=True, d=0.5, rho=0.03)
        gradient(1.0, 1024.0)
    finish("sensitivities", arguments, begun_on)


if __name__ == "__main__":
    main()
