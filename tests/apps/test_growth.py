"""The growth app without a browser: controls lead to solves, numbers and pictures; bad input is refused."""

import re
import time
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tumortwin.apps import GrowthApp
from tumortwin.errors import InputError
from tumortwin.geometry import Domain
from tumortwin.growth import GrowthParameters, ellipsoid_seed, front_of, simulate
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.planning import StandardCare


@pytest.fixture(scope="module")
def slab() -> Domain:
    """A disk of white matter with a rim of grey, 120 mm wide, of one slice."""
    grid = Grid.regular((1, 130, 130), (3.0, 1.0, 1.0))
    distance = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.center, axis=-1)
    mask = distance < 60
    white = mask & (distance < 45)
    return Domain(grid, mask, white, mask & ~white, np.zeros(grid.shape))


@pytest.fixture(scope="module")
def anatomy(slab) -> Volume:
    return Volume(slab.white + 0.6 * slab.grey, slab.grid)


@pytest.fixture(scope="module")
def seed(slab):
    return ellipsoid_seed(slab, slab.grid.center, 6.0)


@pytest.fixture
def app(slab, anatomy, seed) -> GrowthApp:
    return GrowthApp(slab, anatomy, seed)


def numbers(app: GrowthApp) -> dict[str, float]:
    """The readout's first number of each row."""
    rows = re.findall(r"<tr><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td></tr>", app._readout.value)
    return {name: float(re.search(r"[-−]?\d+\.?\d*", value)[0].replace("−", "-")) for name, value in rows}


def test_what_is_shown_is_a_solve_of_the_package(app, slab, seed):
    app.diffusivity.value, app.proliferation_rate.value = 0.2, 0.04
    own = simulate(app.model, seed, 0, 360, save_at=[180], rtol=1e-4)
    assert (app.model.parameters.diffusivity, app.model.parameters.proliferation_rate) == (0.2, 0.04)
    area = np.count_nonzero(own.at(180) > 0.25) / 100
    shown = numbers(app)
    assert shown["whole tumor (FLAIR), above 25 %"] == pytest.approx(area, rel=0.02)
    assert shown["theory, 2 √(D ρ), white matter"] == pytest.approx(2 * np.sqrt(0.2 * 0.04), abs=5e-4)
    excess = front_of(0.2, 0.04, 1.0).speed / front_of(0.2, 0.04).speed - 1
    assert f"{100 * excess:.1f} % too fast" in app._readout.value
    # a disk's front is somewhat slower than a straight one
    assert 0.75 < shown["front, last 30 days"] / 0.179 < 1


def test_the_day_moves_the_picture_without_a_solve(app):
    run, before = app.run, (app._slice.value, app._curve.value, app._readout.value)
    app.day.value = 300
    assert app.run is run
    assert all(
        new != old for new, old in zip((app._slice.value, app._curve.value, app._readout.value), before, strict=True)
    )
    app.day.value = 180
    assert (app._slice.value, app._curve.value, app._readout.value) == before


def test_treatment_does_what_it_says(app):
    volumes = {}
    for kind in app.treatment.options:
        app.treatment.value = kind
        volumes[kind] = app.run.fields[72].sum()
        assert bool(app.model.removals) == ("resection" in kind)
        assert len(app.model.irradiations) == (30 if "radiotherapy" in kind else 0)
    none, surgery, radiotherapy, both = volumes.values()
    assert radiotherapy < surgery < none
    assert both < surgery


def test_dead_cells_can_be_shown_after_radiotherapy_only(app):
    assert app.shown.disabled
    app.treatment.value = app.treatment.options[2]
    assert not app.shown.disabled
    app.day.value = 120
    living = numbers(app)
    app.shown.value = app.shown.options[1]
    seen = numbers(app)
    assert seen["core (T1Gd), above 70 %"] >= living["core (T1Gd), above 70 %"]
    assert seen["whole tumor (FLAIR), above 25 %"] > living["whole tumor (FLAIR), above 25 %"]
    app.treatment.value = app.treatment.options[0]
    assert app.shown.disabled
    assert "day 120, living cells" in app._readout.value


def test_a_coarse_grid_is_said(app):
    assert "above 0.5" not in app._findings.value
    app.diffusivity.value, app.proliferation_rate.value = 0.01, 0.1
    assert "rho h^2 / D = 10 is above 0.5" in app._findings.value


def test_the_sliders_ends_work(app):
    for d in (0.01, 1.0):
        for rho in (0.005, 0.1):
            app.diffusivity.value, app.proliferation_rate.value = d, rho
            for kind in app.treatment.options:
                app.treatment.value = kind
                assert np.isfinite(app.run.fields[-1]).all()
    # cells that spread and hardly divide are not seen any more when treatment is due
    app.proliferation_rate.value, app.treatment.value = 0.005, app.treatment.options[3]
    assert "there is nothing to aim at" in app._findings.value


def test_no_figure_is_left_to_pyplot(slab, anatomy, seed):
    before = plt.get_fignums()
    app = GrowthApp(slab, anatomy, seed)
    app.day.value = 20
    assert plt.get_fignums() == before


def test_a_move_of_the_day_costs_less_than_a_full_drawing(app):
    def seconds(work) -> float:
        times = []
        for i in range(7):
            start = time.perf_counter()
            work(i)
            times.append(time.perf_counter() - start)
        return median(times)

    def full(i: int) -> None:
        for picture in (app._density, app._front):
            picture.figure.canvas.draw()

    def quick(i: int) -> None:
        app.day.value = 10 * i

    # a redraw also makes the readout and two PNG files
    assert seconds(quick) < 0.9 * seconds(full)


def test_coronal_slices_are_shown_upright(slab, anatomy, seed):
    grid = Grid.regular((130, 1, 130), (1.0, 3.0, 1.0))
    turned = [np.moveaxis(a, 0, 1) for a in (slab.mask, slab.white, slab.grey, slab.csf)]
    domain = Domain(grid, *turned)
    app = GrowthApp(domain, Volume(np.moveaxis(anatomy.array, 0, 1), grid), np.moveaxis(seed, 0, 1))
    assert app._density._cut.plane == "coronal"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": 90}, "after the first day of radiotherapy"),
        ({"days": 362}, "multiple of 5"),
        ({"parameters": GrowthParameters(diffusivity=3.0)}, "diffusivity goes from 0.01 to 1.0, not to 3.0"),
        (
            {"parameters": GrowthParameters(proliferation_rate=0.5)},
            "proliferation_rate goes from 0.005 to 0.1, not to 0.5",
        ),
        ({"care": StandardCare(resection_day=30.0)}, "needs a resection_day and a radiotherapy_day"),
    ],
)
def test_what_it_cannot_show_is_refused(slab, anatomy, seed, changes, message):
    with pytest.raises(InputError, match=message):
        GrowthApp(slab, anatomy, seed, **changes)


def test_a_volume_is_refused_and_a_slice_of_it_taken():
    grid = Grid.regular((5, 100, 100), 1.5)
    domain, anatomy = Domain.uniform(grid), Volume(np.ones(grid.shape), grid)
    seed = ellipsoid_seed(domain, grid.center, 8.0)
    with pytest.raises(InputError, match=r"one slice, not a domain of \(5, 100, 100\).*cropped"):
        GrowthApp(domain, anatomy, seed)
    box = (slice(2, 3), slice(None), slice(None))
    with pytest.raises(InputError, match="crop both by the same box"):
        GrowthApp(domain.cropped(box), anatomy, seed[box])
    app = GrowthApp(domain.cropped(box), anatomy.cropped(box), seed[box])
    assert app.run.fields[0].shape == (1, 100, 100)
