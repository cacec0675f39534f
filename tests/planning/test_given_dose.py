"""The given dose as a shape, and the largest dose that organs allow."""

from dataclasses import replace

import numpy as np
import pytest

from tumortwin.calibration import Calibration
from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity
from tumortwin.planning import BURMAN, QUANTEC, Organ
from tumortwin.planning.given_dose import BRAIN, given_dose, largest_dose, limits_of
from tumortwin.therapy import CLINICAL_SCHEDULES, bed
from tumortwin.twin import Irradiation


def test_prescription_point_is_the_targets_median(fit: Calibration) -> None:
    given = given_dose(fit.twin, QUANTEC)
    assert (given.point, given.target) == ("median dose of PTV", "PTV")
    inside = fit.twin.structures["PTV"] > 0
    assert np.median(given.shape[inside]) == pytest.approx(1, abs=1e-3)
    assert given.schedule.doses == pytest.approx([given.planned / 30] * 30)
    assert given.planned == pytest.approx(np.median(fit.twin.dose[inside]), abs=0.01)
    # the delivered course scaled by itself is itself
    again = given.irradiations(given.schedule, fit.twin)
    assert [f.day for f in again] == pytest.approx([f.day for f in fit.twin.irradiations])
    assert again[3].dose == pytest.approx(fit.twin.irradiations[3].dose, rel=1e-5)
    assert again[0].dose is again[29].dose


def test_an_interrupted_fraction_counts_in_part(fit: Calibration) -> None:
    some = list(fit.twin.irradiations)
    some[2] = Irradiation(some[2].day, some[2].dose * np.float32(0.4))
    given = given_dose(replace(fit.twin, irradiations=tuple(some)), QUANTEC)
    assert given.schedule.doses[2] == pytest.approx(0.4 * given.schedule.doses[3])
    assert given.schedule.total == pytest.approx(given.planned * 29.4 / 30)


def test_organ_effects_by_hand(fit: Calibration) -> None:
    given = given_dose(fit.twin, QUANTEC)
    schedule = CLINICAL_SCHEDULES[1].schedule(given.schedule.times[0])
    stem = next(e for e in given.effects(schedule) if e.organ is Organ.BRAINSTEM)
    shares = np.sort(given.shape[fit.twin.structures["Brainstem"] > 0])[::-1]
    share = shares[int(np.ceil(30 / fit.twin.domain.grid.voxel_volume)) - 1]  # 0.03 mL of 27 mm^3 voxels
    assert stem.near_max == pytest.approx(40 * share, rel=2e-3)
    assert stem.mean == pytest.approx(40 * shares.mean(), rel=1e-3)
    assert stem.bed == pytest.approx(bed(40 / 15 * share, 15, 2.0), rel=4e-3)
    assert stem.eqd2 == pytest.approx(stem.bed / 2)
    assert stem.checks[0].value == pytest.approx(stem.eqd2, rel=1e-6)
    assert "brainstem" in str(stem.checks[0])
    none = CLINICAL_SCHEDULES[-1].schedule(schedule.times[0])
    assert all(t.value == 0 for e in given_dose(fit.twin, BURMAN).effects(none) for t in e.checks)


@pytest.mark.parametrize("limits", [QUANTEC, BURMAN])
def test_largest_dose_is_where_the_limit_binds(fit: Calibration, limits) -> None:
    given = given_dose(fit.twin, limits)
    pairs = [(h, c, c.limit) for h in given.histograms for c in limits_of(h.structure, limits)[1]]
    for n in (5, 15, 30):
        dose = largest_dose(n, pairs, 20.0)
        reached = [c.value(h.of(lambda share, d=dose, n=n: share * d * n), n) / most for h, c, most in pairs]
        assert max(reached) == pytest.approx(1, abs=1e-4)
    assert largest_dose(30, pairs, 0.5) == 0.5
    assert largest_dose(30, [], 3.0) == 3.0


def test_without_contours_the_brain_is_the_domain(fit: Calibration) -> None:
    given = given_dose(replace(fit.twin, structures={}), QUANTEC)
    assert ([h.structure for h in given.histograms], given.target) == ([BRAIN], "")
    assert [e.organ for e in given.organs] == [Organ.BRAIN]
    assert {f.severity for f in given.findings} == {Severity.NOTE, Severity.ASSUMED}


def test_one_number_for_the_whole_brain(fit: Calibration) -> None:
    plain = replace(
        fit.twin, dose=None, structures={}, irradiations=tuple(Irradiation(f.day, 2.0) for f in fit.twin.irradiations)
    )
    given = given_dose(plain, QUANTEC)
    assert given.schedule.doses == pytest.approx([2.0] * 30)
    assert given.shape == pytest.approx(np.ones_like(given.shape))
    assert any("one number" in f.what for f in given.findings)


def test_no_radiotherapy_is_refused(fit: Calibration) -> None:
    with pytest.raises(InputError, match="no radiotherapy"):
        given_dose(replace(fit.twin, irradiations=()), QUANTEC)
    with pytest.raises(InputError, match="no dose to scale"):
        given_dose(replace(fit.twin, dose=np.zeros_like(fit.twin.dose)), QUANTEC)
