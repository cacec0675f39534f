"""One schedule on a calibrated twin: what the slider app asks for."""

import io

import numpy as np
import pytest
from PIL import Image

from tumortwin.board.scenarios import scenario_png
from tumortwin.errors import InputError
from tumortwin.planning import Prescription
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
    scenario = maker.simulate(maker.delivered)
    start = fit.twin.day(maker.delivered.times[0])
    assert scenario.days[0] == fit.start
    assert scenario.days[-1] == pytest.approx(start + 90.0)
    assert (np.diff(scenario.days) > 0).all()


def test_the_dose_has_a_biological_size(maker):
    scenario = maker.prescribed(Prescription("60 Gy / 30", 2.0, 30))
    assert scenario.tumor_eqd2 == pytest.approx(60.0)


def test_a_horizon_behind_us_is_refused(fit):
    with pytest.raises(InputError, match="-3"):
        ScenarioMaker(fit, horizon_days=-3.0)


def test_the_picture_changes_with_the_dose(maker):
    given = maker.simulate(maker.delivered)
    pictures = [scenario_png(maker.prescribed(Prescription("x", dose, 30)), given) for dose in (1.0, 2.5)]
    assert pictures[0] != pictures[1]
    assert Image.open(io.BytesIO(pictures[0])).size == (704, 396)
