"""A patient made by another scheme than the product's: explicit Euler on a grid twice as fine, killed cells that clear,
correlated noise, masks from noisy thresholds, density off by a factor and a constant."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.calibration import calibrate
from tumortwin.geometry.domain import Domain
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.twin import Irradiation, Observation, Twin

SPACING = 3.0
SIZE = 30
DAYS = (0.0, 21.0, 95.0, 150.0, 205.0)
FRACTIONS = tuple(28.0 + 7 * week + day for week in range(6) for day in range(5))
TRUTH = {
    "diffusivity": 0.3,
    "proliferation_rate": 0.03,
    "alpha": 0.04,
    "clearance": 25.0,
    "threshold_whole": 0.25,
    "threshold_core": 0.7,
}


def correlated_noise(rng, shape, length):
    """Unit variance, correlation exp(-d^2 / (2 length^2)), lengths in voxels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), length / np.sqrt(2), mode="wrap")
    return noise / noise.std()


def euler(u, mask, diffusivity, rate, hours_step, start, days, fractions, alpha, beta, clearance, spacing):
    """Explicit Euler with no-flux walls; yields visible density (living and killed) at each of `days`."""
    dead = np.zeros_like(u)
    faces = []
    for axis in range(3):
        lower = np.take(mask, range(mask.shape[axis] - 1), axis) & np.take(mask, range(1, mask.shape[axis]), axis)
        faces.append(lower * diffusivity / spacing**2)
    events = sorted([(d, "visit") for d in days] + [(d, "fraction") for d in fractions])
    out, now = [], start
    for day, what in events:
        steps = max(1, int(np.ceil((day - now) / hours_step)))
        dt = (day - now) / steps
        for _ in range(steps if day > now else 0):
            change = rate * u * (1 - u)
            for axis in range(3):
                flux = faces[axis] * np.diff(u, axis=axis)
                pad = [(0, 0)] * 3
                pad[axis] = (1, 1)
                change += np.diff(np.pad(flux, pad), axis=axis)
            u = u + dt * change
        dead *= 0.5 ** ((day - now) / clearance)
        now = day
        if what == "fraction":
            survival = np.exp(-alpha * 2 - beta * 4)
            dead += u * (1 - survival)
            u = u * survival
        else:
            out.append(u + dead)
    return out


def observed(visible, day, index, rng, spacing=SPACING):
    """One visit as the twin holds it, from a field on a grid twice as fine."""
    fine = spacing / 2
    noisy = visible + 0.04 * correlated_noise(rng, visible.shape, 3.0 / fine) * (visible > 0.02)
    whole = noisy > TRUTH["threshold_whole"]
    core = noisy > TRUTH["threshold_core"]
    necrosis = core & (ndimage.distance_transform_edt(core) * fine > 6)

    def coarse(a):
        z, y, x = a.shape
        return a.reshape(z // 2, 2, y // 2, 2, x // 2, 2).mean((1, 3, 5)).astype(np.float32)

    share = coarse(whole.astype(float))
    density = 0.05 + 0.9 * coarse(visible) + 0.05 * correlated_noise(rng, share.shape, 4.0 / spacing)
    density[share < 0.5] = np.nan
    ml = {
        name: float(m.sum()) * fine**3 / 1000
        for name, m in (("whole", whole), ("enhancing", core & ~necrosis), ("necrosis", necrosis))
    }
    return Observation(
        day=day,
        date=datetime(2024, 1, 1, 9) + timedelta(days=day),
        visit=index,
        density=density.astype(np.float32),
        sigma=0.05,
        correlation_mm=4.0,
        whole=share,
        enhancing=coarse((core & ~necrosis).astype(float)),
        necrosis=coarse(necrosis.astype(float)),
        seen=np.ones(share.shape, bool),
        volumes_ml=ml,
        source="test",
        transform=np.eye(4),
    )


@pytest.fixture(scope="session")
def visible():
    """The true visible density at each visit, on a 1.5 mm grid."""
    n = 2 * SIZE
    zyx = np.indices((n, n, n)) * (SPACING / 2)
    center = (n - 1) / 2 * SPACING / 2
    mask = ((zyx - center) ** 2).sum(0) < (center - 1) ** 2
    z, y, x = zyx - center - np.array([2.0, -3.0, 1.0])[:, None, None, None]
    along, across = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
    seed = 0.8 * np.exp(-((along / 9) ** 2 + (across / 6) ** 2 + (z / 7) ** 2)) * mask
    return euler(
        seed,
        mask,
        TRUTH["diffusivity"],
        TRUTH["proliferation_rate"],
        1.0,
        -110.0,
        DAYS,
        FRACTIONS,
        TRUTH["alpha"],
        TRUTH["alpha"] / 10,
        TRUTH["clearance"],
        SPACING / 2,
    )


def twin_of(visible, seed=0, days=DAYS):
    rng = np.random.default_rng(seed)
    grid = Grid.regular((SIZE, SIZE, SIZE), SPACING, frame="1.2.3")
    zyx = np.indices(grid.shape) * SPACING
    center = (SIZE - 1) / 2 * SPACING
    mask = ((zyx - center) ** 2).sum(0) < (center - 0.5) ** 2
    return Twin(
        "TEST",
        datetime(2024, 1, 1, 9),
        Domain.uniform(grid, mask),
        Volume(mask.astype(np.float32), grid, "a.u."),
        tuple(observed(v, d, i, rng) for i, (v, d) in enumerate(zip(visible, days, strict=True))),
        tuple(Irradiation(d, 2.0) for d in FRACTIONS),
    )


@pytest.fixture(scope="session")
def twin(visible):
    return twin_of(visible)


@pytest.fixture(scope="session")
def make_twin(visible):
    """A twin of the same tumor with other noise."""
    return lambda seed: twin_of(visible, seed)


@pytest.fixture(scope="session")
def truth():
    return TRUTH


@pytest.fixture(scope="session")
def fit(twin):
    """Calibrated on all but the last visit."""
    return calibrate(twin, slice(0, 4))


@pytest.fixture(scope="session")
def forecast(fit, twin):
    return fit.forecast(twin.observations[-1].date, samples=12)
