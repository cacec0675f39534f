"""The LQ model against published worked values and its own identities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortwin.errors import InputError
from tumortwin.therapy import (
    bed,
    bed_incomplete_repair,
    bed_to_eqd2,
    dose_per_fraction_of_bed,
    eqd2,
    incomplete_repair,
    large_fraction_findings,
    lea_catcheside,
    survival,
    survival_lql,
)

doses = st.floats(0.0, 30.0)
ratios = st.floats(0.5, 20.0)


@pytest.mark.parametrize(
    ("d", "n", "alpha_beta", "expected"),
    [
        (2.0, 30, 10, 72.0),  # Fowler 1989: conventional course, early effects
        (2.0, 30, 3, 100.0),  # ... and late effects
        (1.15, 70, 10, 89.8),  # hyperfractionated head and neck, 80.5 Gy, Fowler 1989
        (1.15, 70, 3, 111.4),
        (2.0, 36, 3, 120.0),  # brain: 72 Gy is a BED of 120 Gy3 (Lawrence 2010, QUANTEC)
        (2.0, 45, 3, 150.0),  # ... and 90 Gy is 150 Gy3
    ],
)
def test_bed_published(d: float, n: int, alpha_beta: float, expected: float) -> None:
    assert bed(d, n, alpha_beta) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("d", "n", "alpha_beta", "expected"),
    [(5.0, 5, 10, 31.25), (40 / 15, 15, 10, 42.22), (3.4, 10, 10, 37.97), (2.0, 30, 3, 60.0)],
)
def test_eqd2_of_the_short_courses(d: float, n: int, alpha_beta: float, expected: float) -> None:
    assert eqd2(d, n, alpha_beta) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("m", "half_time", "interval", "expected"),
    # Joiner & van der Kogel 2009, table 9.2: h_m for 2 and 3 fractions a day
    [(1, 4, 6, 0.0), (2, 4, 6, 0.3536), (2, 1.5, 6, 0.0625), (3, 4, 6, 0.5547), (2, 4, 8, 0.25)],
)
def test_incomplete_repair_table(m: int, half_time: float, interval: float, expected: float) -> None:
    assert incomplete_repair(m, interval, half_time) == pytest.approx(expected, abs=2e-4)


def test_incomplete_repair_is_thames_closed_form() -> None:
    for m in (2, 3, 4):
        phi = 0.5 ** (6 / 4)
        closed = 2 / m * phi / (1 - phi) * (m - (1 - phi**m) / (1 - phi))
        assert incomplete_repair(m, 6, 4) == pytest.approx(closed, rel=1e-12)
    # without any time between them m fractions are one of m times the size
    assert bed_incomplete_repair(
        1.5, 2, 3, fractions_per_day=2, interval_hours=0, repair_half_time_hours=4
    ) == pytest.approx(bed(3.0, 1, 3))


def test_complete_repair_leaves_plain_bed() -> None:
    assert bed_incomplete_repair(
        1.2, 60, 3, fractions_per_day=2, interval_hours=1e4, repair_half_time_hours=1
    ) == pytest.approx(bed(1.2, 60, 3))


def test_survival_of_pedicini() -> None:
    # alpha .12, beta .015: 30 fractions of 2 Gy leave exp(-9)
    assert survival(2.0, 0.12, 0.015) ** 30 == pytest.approx(np.exp(-9.0))
    assert survival(np.zeros((2, 3)), 0.12, 0.015) == pytest.approx(np.ones((2, 3)))


@given(dose=doses, alpha=st.floats(0.01, 1.0), ratio=ratios)
def test_lql_continues_lq_smoothly_and_never_kills_more(dose: float, alpha: float, ratio: float) -> None:
    beta = alpha / ratio
    straight, curved = survival_lql(dose, alpha, beta), survival(dose, alpha, beta)
    assert straight >= curved * (1 - 1e-12)
    if dose <= 2 * ratio:
        assert straight == pytest.approx(curved, rel=1e-12)
    turn = 2 * ratio
    slope = -(np.log(survival_lql(turn + 1e-4, alpha, beta)) - np.log(survival_lql(turn, alpha, beta))) / 1e-4
    assert slope == pytest.approx(alpha + 2 * beta * turn, rel=1e-5)


@given(d=st.floats(0.1, 20), n=st.integers(1, 40), ratio=ratios)
def test_inverse_and_order(d: float, n: int, ratio: float) -> None:
    assert dose_per_fraction_of_bed(bed(d, n, ratio), n, ratio) == pytest.approx(d, rel=1e-9)
    assert eqd2(2.0, n, ratio) == pytest.approx(2.0 * n)
    assert bed(d, n, ratio) >= d * n
    # the same total in one fraction more does less
    assert bed(d * n / (n + 1), n + 1, ratio) < bed(d, n, ratio)
    assert -np.log(survival(d, 0.1, 0.1 / ratio)) * n == pytest.approx(0.1 * bed(d, n, ratio), rel=1e-9)


@given(x=st.floats(0, 200))
def test_lea_catcheside(x: float) -> None:
    factor = lea_catcheside(x, np.log(2))
    assert 0 < factor <= 1
    assert factor >= lea_catcheside(x + 1, np.log(2))


def test_lea_catcheside_values() -> None:
    assert lea_catcheside(0, 1) == 1
    assert lea_catcheside(1.0, np.log(2)) == pytest.approx(2 * np.exp(-1))
    below, above = lea_catcheside(np.array([0.99e-4, 1.01e-4]), np.log(2))
    assert below == pytest.approx(above, abs=1e-6)


def test_arrays_keep_their_shape_and_numbers_stay_numbers() -> None:
    d = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert bed(d, 5, 10).shape == (2, 2)
    assert isinstance(bed(2.0, 30, 10), float)
    assert bed_to_eqd2(72.0, 10) == pytest.approx(60.0)


@pytest.mark.parametrize(("d", "ratio"), [(-1.0, 10), (np.nan, 10), (2.0, 0), (2.0, -3)])
def test_nonsense_is_refused(d: float, ratio: float) -> None:
    with pytest.raises(InputError):
        bed(d, 30, ratio)


def test_large_fractions_are_found() -> None:
    assert large_fraction_findings([2.0, 5.9], "plan") == ()
    (finding,) = large_fraction_findings([2.0, 12.0], "boost plan")
    assert "12 Gy" in finding.what
    assert finding.where == "boost plan"
