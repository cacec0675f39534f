"""Care that follows a simulated tumor: what is resected and irradiated is what is seen on that day."""

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.geometry import Domain
from tumortwin.growth import DeadCells, GrowthParameters, Model, ellipsoid_seed, simulate
from tumortwin.imaging.volume import Grid
from tumortwin.planning import Prescription, StandardCare, with_care
from tumortwin.twin import Irradiation


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid.regular((1, 60, 50), (3.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def model(grid) -> Model:
    return Model(Domain.uniform(grid), GrowthParameters(diffusivity=0.2, proliferation_rate=0.05, alpha=0.06))


@pytest.fixture(scope="module")
def seed(model, grid):
    return ellipsoid_seed(model.domain, grid.center, 7.0)


def test_what_enhances_is_gone(model, seed):
    cared, findings = with_care(model, seed, 0, StandardCare(resection_day=40.0))
    before = simulate(model, seed, 0, 40).fields[-1]
    after = simulate(cared, seed, 0, 40).fields[-1]
    assert findings == ()
    assert before.max() > 0.9
    np.testing.assert_array_equal(after, np.where(before > 0.7, 0, before))


def test_the_dose_covers_the_target_and_its_margin(model, seed, grid):
    cared, _ = with_care(model, seed, 0, StandardCare(radiotherapy_day=30.0, margin=10.0, penumbra=4.0))
    dose = cared.irradiations[0].dose
    core = simulate(model, seed, 0, 30).fields[-1] > 0.7
    points = grid.to_world(np.argwhere(core))
    everywhere = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)).reshape(-1, 1, 3)
    distance = np.linalg.norm(everywhere - points, axis=-1).min(1).reshape(grid.shape)
    np.testing.assert_allclose(dose[distance <= 10], 2)
    far = distance > 10
    np.testing.assert_allclose(dose[far], 2 * np.exp(-((distance[far] - 10) ** 2) / 32), atol=1e-6)


def test_fractions_are_given_on_weekdays_and_share_a_map(model, seed):
    cared, _ = with_care(model, seed, 0, StandardCare(radiotherapy_day=30.0))
    days = [fraction.day for fraction in cared.irradiations]
    assert days == [30.0 + 7 * week + day for week in range(6) for day in range(5)]
    assert len({id(fraction.dose) for fraction in cared.irradiations}) == 1


def test_radiotherapy_after_a_resection_aims_at_the_cavity(model, seed):
    both = StandardCare(resection_day=30.0, radiotherapy_day=33.0, margin=0.0, penumbra=0.1)
    cared, findings = with_care(model, seed, 0, both)
    cavity = cared.removals[0].removed > 0
    assert findings == ()
    assert cavity.any()
    np.testing.assert_array_equal(cared.irradiations[0].dose == 2, cavity)


def test_what_the_model_had_before_is_kept(model, seed):
    own = Model(model.domain, model.parameters, irradiations=(Irradiation(5.0, 1.0),), companion=DeadCells(10.0))
    cared, _ = with_care(own, seed, 0, StandardCare(radiotherapy_day=20.0, prescription=Prescription("one", 8.0, 1)))
    assert [(f.day, np.max(f.dose)) for f in cared.irradiations] == [(5.0, 1.0), (20.0, 8.0)]
    assert cared.companion is own.companion


def test_dead_cells_are_seen_and_aimed_at(model, seed):
    # one large fraction kills all, but what it killed is still on the scan
    struck = Model(model.domain, model.parameters, irradiations=(Irradiation(5.0, 40.0),), companion=DeadCells(50.0))
    assert with_care(struck, seed, 0, StandardCare(radiotherapy_day=8.0))[1] == ()
    bare = Model(model.domain, model.parameters, irradiations=(Irradiation(5.0, 40.0),))
    assert with_care(bare, seed, 0, StandardCare(radiotherapy_day=8.0))[1]


def test_nothing_seen_is_left_out_and_said(model, seed):
    cared, findings = with_care(model, 0.01 * seed, 0, StandardCare(resection_day=5.0, radiotherapy_day=8.0))
    assert (cared.removals, cared.irradiations) == ((), ())
    assert [f.where for f in findings] == ["resection", "radiotherapy"]
    assert "no density is above 0.7" in findings[0].what


@pytest.mark.parametrize(
    ("care", "message"),
    [
        ({"resection_day": 30.0, "radiotherapy_day": 30.0}, "after the resection at day 30.0"),
        ({"resection_day": np.nan}, "resection_day is a finite day or None, not nan"),
        ({"margin": -1.0}, "margin >= 0 mm"),
        ({"penumbra": 0.0}, "penumbra > 0 mm"),
        ({"edge": 1.0}, "edge within 0 < u < 1"),
    ],
)
def test_impossible_care_is_refused(care, message):
    with pytest.raises(InputError, match=message):
        StandardCare(**care)


def test_care_before_the_solve_is_refused(model, seed):
    with pytest.raises(InputError, match="care begins after day 10, when the solve starts, not at day 5"):
        with_care(model, seed, 10, StandardCare(resection_day=5.0))
