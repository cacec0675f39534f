"""Limits of organs at risk and the models behind them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.planning import (
    BURMAN,
    QUANTEC,
    Complication,
    DoseVolumeHistogram,
    Organ,
    Quantity,
    dose_volume_histogram,
    geud,
    ntcp_lkb,
    organ_named,
    tcp_poisson,
)


def uniform(dose: float) -> DoseVolumeHistogram:
    return dose_volume_histogram(np.full((2, 2, 2), dose), np.ones((2, 2, 2)), 1000.0)


@pytest.mark.parametrize(
    ("name", "organ"),
    [
        ("Brainstem", Organ.BRAINSTEM),
        ("brain stem", Organ.BRAINSTEM),
        ("Brain", Organ.BRAIN),
        ("Chiasm", Organ.CHIASM),
        ("OpticChiasm", Organ.CHIASM),
        ("OpticNrv_L", Organ.OPTIC_NERVE),
        ("optic nerve right", Organ.OPTIC_NERVE),
        ("Lens_R", Organ.LENS),
        ("Brainstem_PRV03", None),
        ("PTV", None),
        ("Brain-PTV", None),
        ("Eye_L", None),
    ],
)
def test_organs_by_name(name: str, organ: Organ | None) -> None:
    assert organ_named(name) is organ


def test_burman_gives_the_brainstem_11_percent_at_54_gy() -> None:
    (limit,) = BURMAN.of(Organ.BRAINSTEM)
    assert limit.value(uniform(54.0), 27) == pytest.approx(0.113, abs=5e-4)
    assert limit.value(uniform(65.0), 0) == 0
    # half of the patients at TD50, whatever the organ
    for one in BURMAN.constraints:
        assert one.complication is not None
        assert ntcp_lkb(uniform(one.complication.td50), one.complication) == pytest.approx(0.5)


def test_quantec_is_compared_in_2_gy_fractions() -> None:
    (stem,) = QUANTEC.of(Organ.BRAINSTEM)
    assert stem.quantity is Quantity.NEAR_MAX
    assert stem.value(uniform(54.0), 27) == pytest.approx(54.0)
    # 40 Gy in 15 at alpha/beta 2: 40 (2.667 + 2) / 4
    assert stem.value(uniform(40.0), 15) == pytest.approx(46.67, abs=0.01)
    (brain,) = QUANTEC.of(Organ.BRAIN)
    assert brain.value(uniform(25.0), 5) == pytest.approx(25 * (5 + 3) / 5)
    assert QUANTEC.of(None) == ()


@given(doses=st.lists(st.floats(0.1, 80), min_size=1, max_size=12))
def test_geud_lies_between_mean_and_maximum_and_rises_with_a(doses: list[float]) -> None:
    dvh = dose_volume_histogram(np.array(doses).reshape(1, 1, -1), np.ones((1, 1, len(doses))), 1000.0)
    assert geud(dvh, 1) == pytest.approx(dvh.mean)
    values = [geud(dvh, a) for a in (1, 2, 4, 8, 50)]
    assert all(b >= a - 1e-9 for a, b in pairwise(values))
    assert values[-1] <= dvh.maximum + 1e-9


def test_geud_of_two_halves() -> None:
    dvh = dose_volume_histogram(np.array([[[0.0, 60.0]]]), np.ones((1, 1, 2)), 1000.0)
    assert geud(dvh, 4) == pytest.approx(60 * 0.5**0.25)
    assert geud(uniform(0.0), 4) == 0
    with pytest.raises(InputError):
        geud(dvh, -10)


def test_poisson_tcp() -> None:
    # 1e9 cells, alpha .3, alpha/beta 10, 30 x 2 Gy: exp(-1e9 exp(-.3 * 72))
    assert tcp_poisson(1e9, 2.0, 30, 0.3, 10) == pytest.approx(np.exp(-1e9 * np.exp(-21.6)))
    # cells in two voxels are the product of their chances
    both = tcp_poisson([1e7, 2e7], [2.0, 1.8], 30, 0.3, 10)
    assert both == pytest.approx(tcp_poisson(1e7, 2.0, 30, 0.3, 10) * tcp_poisson(2e7, 1.8, 30, 0.3, 10))


def test_ntcp_needs_its_parameters() -> None:
    with pytest.raises(InputError, match="brainstem"):
        replace(BURMAN.of(Organ.BRAINSTEM)[0], complication=None).value(uniform(54), 27)
    assert ntcp_lkb(uniform(10), Complication(60, 0.15, 0.25)) < 1e-6
