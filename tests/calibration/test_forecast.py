import csv
import io

import numpy as np
import pytest

from tumortwin.calibration import Forecast
from tumortwin.errors import InputError


def test_bands_are_ordered_and_cover_the_scans_used(forecast, twin):
    for band in forecast.volumes.values():
        assert (band.p05 <= band.median).all()
        assert (band.median <= band.p95).all()
        assert band.p95[-1] > band.p05[-1]
    whole = forecast.volumes["whole"]
    for o in twin.observations[:4]:
        at = np.argmin(np.abs(forecast.days - o.day))
        assert whole.median[at] == pytest.approx(o.volumes_ml["whole"], rel=0.25)


def test_forecasts_a_scan_better_than_no_change(forecast, twin):
    scores = forecast.score(twin.observations[4])
    whole = scores["whole"]
    assert whole.dice > 0.8 > whole.last_scan_dice
    assert abs(whole.volume_error_percent) < 30 < abs(whole.last_scan_volume_error_percent)
    assert whole.beats_last_scan


def test_score_by_hand(forecast, twin):
    o = twin.observations[4]
    s = forecast.score(o)["core"]
    observed = o.enhancing + o.necrosis
    predicted = forecast.field(o.day).probability["core"] > 0.5
    assert s.dice == pytest.approx(2 * observed[predicted].sum() / (observed.sum() + predicted.sum()), rel=1e-5)
    band = forecast.volumes["core"]
    ml = o.volumes_ml["enhancing"] + o.volumes_ml["necrosis"]
    assert s.observed_ml == pytest.approx(ml)
    assert s.volume_error_percent == pytest.approx(100 * (band.median[-1] / ml - 1))
    assert s.covered == (band.p05[-1] <= ml <= band.p95[-1])
    last = twin.observations[3]
    whole = forecast.score(o)["whole"]
    assert whole.last_scan_volume_error_percent == pytest.approx(
        100 * (last.volumes_ml["whole"] / o.volumes_ml["whole"] - 1)
    )


def test_fields(forecast, twin):
    field = forecast.field(twin.observations[4].day)
    assert field.density.shape == twin.domain.grid.shape
    assert not field.density[~twin.domain.mask].any()
    assert (field.living <= field.density + 1e-6).all()
    for p in field.probability.values():
        assert p.min() >= 0
        assert p.max() <= 1
    # the core is inside the whole tumor
    assert (field.probability["core"] <= field.probability["whole"] + 1e-6).all()


def test_treatment_is_seen(fit):
    treated = fit.forecast(155.0, samples=4)
    untreated = fit.forecast(155.0, samples=4, irradiations=iter(()))
    assert untreated.volumes["whole"].p05[-1] > 2 * treated.volumes["whole"].p95[-1]


def test_it_carries_the_scores_of_held_out_scans(fit, forecast, twin):
    assert forecast.scores == tuple(forecast.score(twin.observations[4]).values())
    assert fit.forecast(155.0, samples=2).scores == ()
    # what was observed under one treatment says nothing of a forecast of another
    assert fit.forecast(twin.observations[4].day, samples=2, irradiations=()).scores == ()


def test_refuses_what_it_cannot_answer(fit, forecast, twin):
    with pytest.raises(InputError, match="not after those used"):
        forecast.score(twin.observations[1])
    with pytest.raises(InputError, match="no field at day"):
        forecast.field(180.0)
    with pytest.raises(InputError, match="after the last scan"):
        fit.forecast(100.0)
    with pytest.raises(InputError, match="at least 2 samples"):
        fit.forecast(300.0, samples=1)


def test_equal_seeds_equal_bands(fit):
    a, b, c = (fit.forecast(170.0, samples=3, rng=rng) for rng in (7, 7, 8))
    np.testing.assert_array_equal(a.volumes["whole"].p95, b.volumes["whole"].p95)
    assert (a.volumes["whole"].p95 != c.volumes["whole"].p95).any()


def test_round_trip_and_rows(forecast, tmp_path, twin):
    again = Forecast.load(forecast.save(tmp_path / "forecast.npz"))
    assert again.score(twin.observations[4]) == forecast.score(twin.observations[4])
    assert again.scores == forecast.scores
    rows = forecast.rows()
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    assert len(rows) == len(forecast.days)
    assert rows[0]["forecast"] == "no"
    assert rows[-1]["forecast"] == "yes"
    assert rows[-1]["whole_median_ml"] == pytest.approx(forecast.volumes["whole"].median[-1], abs=1e-3)
