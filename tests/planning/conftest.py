"""A calibrated twin without a fit: a small round tumor in a round brain, treated with 60 Gy in 30."""

from dataclasses import fields
from datetime import datetime, timedelta

import numpy as np
import pytest

from tumortwin.calibration import Calibration, Diagnostics
from tumortwin.calibration import unknowns as known
from tumortwin.geometry.domain import Domain
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.therapy import weekday_times
from tumortwin.twin import Irradiation, Observation, Twin

SIZE, SPACING, RADIUS = 26, 3.0, 12.0
DAY0 = datetime(2024, 1, 1, 10)


@pytest.fixture(scope="session")
def fit() -> Calibration:
    grid = Grid.regular((SIZE,) * 3, SPACING, frame="1.2.3")
    points = (np.indices(grid.shape) - (SIZE - 1) / 2) * SPACING
    r = np.linalg.norm(points, axis=0)
    domain = Domain.uniform(grid, r < 37)
    dose = (60.6 / (1 + np.exp((r - 30) / 3)) * domain.mask).astype(np.float32)
    per_fraction = dose / np.float32(30)
    empty = np.zeros(grid.shape, np.float32)
    twin = Twin(
        "TT-PLAN",
        DAY0,
        domain,
        Volume(domain.mask.astype(np.float32), grid, "a.u."),
        tuple(
            Observation(
                day,
                DAY0 + timedelta(days=day),
                i,
                empty,
                0.05,
                4.0,
                empty,
                empty,
                empty,
                domain.mask,
                {},
                "test",
                np.eye(4),
            )
            for i, day in enumerate((0.0, 21.0, 95.0))
        ),
        tuple(
            Irradiation((t - DAY0) / timedelta(days=1), per_fraction)
            for t in weekday_times(DAY0 + timedelta(days=28, hours=1), 30)
        ),
        structures={
            "GTV": (r < RADIUS).astype(np.float32),
            "PTV": (r < 20).astype(np.float32),
            "Brain": domain.mask.astype(np.float32),
            "Brainstem": (np.linalg.norm(points - np.array([-24, 12, 0]).reshape(3, 1, 1, 1), axis=0) < 8).astype(
                np.float32
            ),
        },
        dose=dose,
    )
    table = (
        known.DIFFUSIVITY,
        known.PROLIFERATION,
        known.ALPHA,
        known.TEMOZOLOMIDE,
        known.EARLY_GROWTH,
        *known.seed_unknowns(RADIUS, SPACING),
        known.WHOLE,
        known.CORE,
        known.ADC_OFFSET,
        known.ADC_SCALE,
        known.CLEARANCE,
    )
    chosen = {
        "diffusivity": 0.3,
        "proliferation_rate": 0.06,
        "alpha": 0.05,
        "threshold_core": 0.6,
        "clearance": 20.0,
    }
    mean = np.array([u.scale.forward(chosen.get(u.name, u.median)) for u in table])
    spread = np.array([0.15 * u.spread for u in table])
    # how the fit went is of no matter here
    known_diagnostics = {"solves": 1, "converged": True, "reduced_chi2": {}, "sigma": {}, "correlation_mm": (4.0,) * 3}
    return Calibration(
        twin=twin,
        visits=(0, 1, 2),
        box=((0, SIZE),) * 3,
        start=0.0,
        center=np.full(3, (SIZE - 1) / 2),
        unknowns=table,
        fitted=tuple(u.name for u in table),
        mean=mean,
        covariance=np.diag(spread**2),
        ensemble=mean + spread * np.random.default_rng(1).standard_normal((20, mean.size)),
        seed=0,
        diagnostics=Diagnostics(**{f.name: known_diagnostics.get(f.name, 1.0) for f in fields(Diagnostics)}),
    )
