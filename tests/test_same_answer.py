"""The same answer on every machine: calibration, forecast and plan in processes that round differently.

How a sum or an exponential is rounded depends on the processor and on the number of threads: BLAS adds in another
order, numpy and the C library have other functions for other instructions. Each child process here is told to round
like another machine.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pytest

from tumortwin.calibration import unknowns
from tumortwin.geometry import Domain
from tumortwin.growth import GrowthParameters, ellipsoid_seed, model_of, simulate
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.therapy import DoseUnit, weekday_times
from tumortwin.twin import Administration, Irradiation, Observation, Twin

SIZE, SPACING = 16, 4.0
START = datetime(2024, 1, 1, 9)
DAYS = (0.0, 21.0, 60.0, 90.0, 120.0)

CHILD = """
import json, math, sys
from pathlib import Path
from zlib import crc32

import numpy as np
import scipy.linalg  # its BLAS is another one than numpy's
from threadpoolctl import threadpool_info

from tumortwin.board import write_record
from tumortwin.calibration import calibrate
from tumortwin.planning import optimize_dose
from tumortwin.twin import Twin

folder, threads = Path(sys.argv[1]), int(sys.argv[2])
blas = lambda: [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
before = blas()
twin = Twin.load(folder / "twin.npz")
fit = calibrate(twin, slice(0, 4), threads=threads)
forecast = fit.forecast(twin.observations[-1].day, samples=6, threads=threads)
front = optimize_dose(fit, horizon_days=120, samples=3, threads=threads)
record = write_record(folder / f"{sys.argv[3]}.json", twin, fit, forecast, front)
x = np.random.default_rng(0).standard_normal((300, 300))
print(json.dumps({
    "shown": {
        "calibration": repr(fit), "calibration, HTML": fit._repr_html_(), "forecast": repr(forecast),
        "forecast, rows": forecast.rows(), "plan": repr(front), "plan, HTML": front._repr_html_(),
        "record": json.loads(record.read_text()),
    },
    "numbers": {
        "mean": fit.mean.tolist(), "covariance": fit.covariance.tolist(), "ensemble": fit.ensemble.tolist(),
        "density": forecast.fields[-1].density.ravel().tolist(),
        "progression": [o.outcome.samples.tolist() for o in front.options],
        "final": [o.outcome.volumes_ml["core"].median.tolist() for o in front.options],
    },
    "solves": fit.diagnostics.solves,
    "rounding": [float(x.ravel() @ x.ravel()), crc32(np.exp(x)), crc32(np.array([*map(math.exp, x.ravel())]))],
    "BLAS threads before and after": [before, blas()],
}))
"""


@pytest.fixture(scope="module")
def twin() -> Twin:
    """A small irradiated tumor, seen five times: two readers, density from ADC, a planned dose and structures."""
    rng = np.random.default_rng(5)
    grid = Grid.regular((SIZE,) * 3, SPACING, frame="1.2.3")
    points = (np.indices(grid.shape) - (SIZE - 1) / 2) * SPACING
    r = np.sqrt((points**2).sum(axis=0))
    domain = Domain.uniform(grid, r < 31)
    per_fraction = (3.4 / (1 + np.exp((r - 24) / 3)) * domain.mask).astype(np.float32)
    twin = Twin(
        "TT-SMALL",
        START,
        domain,
        Volume(domain.mask.astype(np.float32), grid, "a.u."),
        (),
        tuple(
            Irradiation((t - START) / timedelta(days=1), per_fraction)
            for t in weekday_times(START + timedelta(days=28), 10)
        ),
        tuple(Administration(28.0 + day, "temozolomide", 75.0, DoseUnit.MG_PER_M2) for day in range(14)),
        structures={"PTV": (r < 18).astype(np.float32), "Brainstem": (points[0] > 16).astype(np.float32) * domain.mask},
        dose=per_fraction * np.float32(10),
    )
    seed = ellipsoid_seed(domain, grid.to_world([(SIZE - 1) / 2] * 3), 6.0, shape=(0.2, -0.1, 0.1, 0, 0))
    truth = model_of(twin, GrowthParameters(diffusivity=0.15, proliferation_rate=0.03, alpha=0.02))
    run = simulate(truth, seed, -60.0, DAYS[-1], save_at=DAYS)
    looks = tuple(observed(u, day, i, rng) for i, (u, day) in enumerate(zip(run.fields, DAYS, strict=True)))
    return Twin(**{**vars(twin), "observations": looks})


def observed(density, day, index, rng) -> Observation:
    noisy = density + 0.03 * rng.standard_normal(density.shape) * (density > 0.02)
    whole, enhancing = (np.clip(0.5 + (noisy - edge) / 0.2, 0, 1).astype(np.float32) for edge in (0.25, 0.7))
    seen = (0.05 + 0.9 * density + 0.05 * rng.standard_normal(density.shape)).astype(np.float32)
    return Observation(
        day=day,
        date=START + timedelta(days=day),
        visit=index,
        density=np.where(whole > 0.5, seen, np.nan).astype(np.float32),
        sigma=0.05,
        correlation_mm=4.0,
        whole=whole,
        enhancing=enhancing,
        necrosis=np.zeros_like(whole),
        seen=np.ones(whole.shape, bool),
        volumes_ml={"whole": whole.sum() * SPACING**3 / 1000, "enhancing": enhancing.sum() * SPACING**3 / 1000},
        source="segmented" if index % 2 else "drawn",
        transform=np.eye(4),
    )


FEATURES = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))
"""What this numpy chose for this processor, beyond what it needs everywhere."""
NO_FMA = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX2_Usable,-FMA_Usable"
ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
TWO = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
HERE = "this machine as it is, one thread"
MACHINES = {
    HERE: (ONE, 1),
    "BLAS on two threads": (TWO, 1),
    "two threads, BLAS of Haswell": (ONE | {"OPENBLAS_CORETYPE": "Haswell"}, 2),
    "BLAS of Nehalem": (ONE | {"OPENBLAS_CORETYPE": "Nehalem"}, 1),
    "numpy without AVX, C library without FMA": (
        ONE | {"NPY_DISABLE_CPU_FEATURES": FEATURES, "GLIBC_TUNABLES": NO_FMA},
        1,
    ),
}
"""What a child process is told, and how many threads it is to use."""
OTHERS = [name for name in MACHINES if name != HERE]
SETTINGS = {*TWO, "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES"}


@pytest.fixture(scope="module")
def answer(twin, tmp_path_factory):
    """What a process of a name in MACHINES, or one of this machine as it is, answers."""
    folder = tmp_path_factory.mktemp("same")
    twin.save(folder / "twin.npz")

    @cache
    def answer_of(machine: str) -> dict:
        settings, threads = MACHINES[machine]
        # what the surroundings set must not reach the child
        environment = {k: v for k, v in os.environ.items() if k not in SETTINGS} | settings
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder), str(threads), machine],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return answer_of


@pytest.mark.parametrize("machine", OTHERS)
def test_every_shown_digit_is_the_same(machine, answer):
    here, there = answer(HERE), answer(machine)
    for what, shown in here["shown"].items():
        assert there["shown"][what] == shown, what
    # beneath the shown digits: a rounded unknown or draw may be off by one unit of its last decimal, where two machines
    # round to either side of a tie, and a density in single precision by what that changes
    unit = 10.0**-unknowns.DECIMALS
    for what, numbers in here["numbers"].items():
        for a, b in zip(numbers, there["numbers"][what], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1.1 * unit, err_msg=what)
    before, after = there["BLAS threads before and after"]
    assert before == after, "the number of threads that BLAS may use is not what it was"


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the settings are of OpenBLAS and glibc on x86-64",
)
def test_the_settings_change_how_numbers_are_rounded(answer):
    """Or else equal answers would mean nothing."""
    roundings = zip(*(answer(machine)["rounding"] for machine in MACHINES), strict=True)
    for what, values in zip(("BLAS", "numpy", "C library"), roundings, strict=True):
        assert len(set(values)) > 1, what
