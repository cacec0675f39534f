"""One schedule on a calibrated twin: what the slider app asks for."""

import io

import numpy as np
import pytest
from PIL import Image

from tumortwin.apps import DoseApp
from tumortwin.board.scenarios import scenario_png
from tumortwin.errors import InputError
from tumortwin.planning import BURMAN, Prescription, given_dose, scenario
from tumortwin.planning.scenario import ScenarioMaker


@pytest.fixture(scope="module")
def maker(fit):
    return ScenarioMaker(fit, horizon_days=90.0)


def test_more_dose_leaves_less_tumor(maker):
    asked = [Prescription("none", 0.0, 0), Prescription("low", 1.0, 30), Prescription("full", 2.0, 30)]
    # over the whole time: at the end this small domain is full whatever was given
    means = [maker.prescribed(prescription).volumes_ml["whole"].mean() for prescription in asked]
    assert means[0] > means[1] > means[2]


def test_the_curve_begins_at_the_first_scan_and_ends_at_the_horizon(maker, fit):
    course = maker.simulate(maker.delivered)
    start = fit.twin.day(maker.delivered.times[0])
    assert course.days[0] == fit.start
    assert course.days[-1] == pytest.approx(start + 90.0)
    assert (np.diff(course.days) > 0).all()


def test_the_dose_has_a_biological_size(maker):
    course = maker.prescribed(Prescription("60 Gy / 30", 2.0, 30))
    assert course.tumor_eqd2 == pytest.approx(60.0)


def test_the_given_dose_of_a_front_is_used_as_it_is(fit, monkeypatch):
    given = given_dose(fit.twin, BURMAN)
    monkeypatch.setattr(scenario, "given_dose", None)
    app = DoseApp(fit, horizon_days=30.0, given=given)
    assert app.scenario.organs == given.effects(app.scenario.schedule)
    assert {str(c.constraint.quantity) for organ in app.scenario.organs for c in organ.checks} == {"NTCP"}


def test_a_horizon_behind_us_is_refused(fit):
    with pytest.raises(InputError, match="-3"):
        ScenarioMaker(fit, horizon_days=-3.0)


def test_the_picture_changes_with_the_dose(maker):
    given = maker.simulate(maker.delivered)
    pictures = [scenario_png(maker.prescribed(Prescription("x", dose, 30)), given) for dose in (1.0, 2.5)]
    assert pictures[0] != pictures[1]
    assert Image.open(io.BytesIO(pictures[0])).size == (704, 396)
