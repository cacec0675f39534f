"""Density between outlines: against a spherical front that is known, and a traveling wave solved by itself."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.integrate import solve_ivp
from scipy.special import expit, logit

from tumortwin.errors import InputError
from tumortwin.geometry import density_from_both, density_from_outlines
from tumortwin.geometry.measures.ellipsoid import Ellipsoid
from tumortwin.geometry.measures.outline_density import ADC_SIGMA, distance_to_edge
from tumortwin.imaging.volume import Grid

GRID = Grid.regular((36, 40, 38), 2.0, (-37, -39, -35))
CENTER = np.array([0.7, -0.4, 0.3])


def ball(radius, center=CENTER):
    return Ellipsoid.turned(center, (radius,) * 3, np.eye(3)).on(GRID, shares=True)


def from_center(center=CENTER):
    return np.linalg.norm(GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1)) - center, axis=-1)


@pytest.mark.parametrize("radius", [7.0, 12.3, 21.0])
def test_distance_to_a_sphere_from_shares(radius):
    off = distance_to_edge(ball(radius), GRID) - (from_center() - radius)
    near = np.abs(from_center() - radius) < 10
    # corners of the surface are up to half a voxel (1 mm) from the foot of the perpendicular
    assert np.sqrt((off[near] ** 2).mean()) < 0.2
    assert np.abs(off[near]).max() < 0.8
    mask = ball(radius) >= 0.5
    staircase = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
    staircase = 2 * (staircase - 0.5 * np.sign(staircase)) - (from_center() - radius)
    assert (off[near] ** 2).mean() < 0.25 * (staircase[near] ** 2).mean()


def test_a_spherical_front_is_found_again():
    front = density_from_outlines(ball(10), ball(19), GRID)
    decay = 9 / (logit(0.7) - logit(0.25))
    assert front.decay_mm == pytest.approx(decay, rel=0.02)
    true = expit(logit(0.7) - (from_center() - 10) / decay)
    off = front.density - true
    assert np.sqrt((off[from_center() < 30] ** 2).mean()) < 0.006
    assert np.abs(off).max() < 0.03
    # the tail: far out, the relative error is that of the decay length
    tail = (from_center() > 25) & (from_center() < 33)
    assert np.log(front.density[tail] / true[tail]) == pytest.approx(0, abs=0.12)


def test_where_the_outlines_are_the_density_is_at_its_thresholds():
    # off center: the gap is 3 mm on one side and 15 on the other
    inner = CENTER + np.array([6, 0, 0])
    front = density_from_outlines(ball(10, inner), ball(19), GRID, enhancing_edge=0.8, whole_edge=0.16)
    for center, radius, edge in ((inner, 10, 0.8), (CENTER, 19, 0.16)):
        at = np.abs(from_center(center) - radius) < 0.15
        assert at.sum() > 20
        assert np.median(front.density[at]) == pytest.approx(edge, abs=0.02)


def test_the_log_odds_follow_the_slowest_wave():
    """Of u'' + c u' + u (1 - u) = 0 with c = 2: between the usual thresholds the front stays close to it."""
    # leave u = 1 along the unstable direction
    rate = -1 + np.sqrt(2)
    wave = solve_ivp(
        lambda _, y: (y[1], -2 * y[1] - y[0] * (1 - y[0])),
        (0, 40),
        (1 - 1e-6, -1e-6 * rate),
        rtol=1e-9,
        atol=1e-12,
        dense_output=True,
    )
    z = np.linspace(0, 40, 8001)
    u = wave.sol(z)[0]
    first, last = z[np.argmin(np.abs(u - 0.7))], z[np.argmin(np.abs(u - 0.25))]
    decay = (last - first) / (logit(0.7) - logit(0.25))
    line = expit(logit(0.7) - (z - first) / decay)
    seen = (z > first - 5) & (z < last + 5)
    assert np.abs(line - u)[seen].max() < 0.03
    assert np.abs(line - u)[(z > first) & (z < last)].max() < 0.015
    # a straight line in log u through the same thresholds falls far too slowly outside
    tail = (z > last) & seen
    log_decay = (last - first) / np.log(0.7 / 0.25)
    assert np.abs(line - u)[tail].max() < 0.025
    assert np.abs(0.25 * np.exp(-(z - last) / log_decay) - u)[tail].max() > 0.06


def test_dead_voxels_hold_no_cells():
    dead = ball(5)
    front = density_from_outlines(ball(10) - dead, ball(19), GRID, necrosis=dead)
    assert front.density[from_center() < 3].max() == 0
    ring = (from_center() > 7) & (from_center() < 9)
    assert front.density[ring].min() > 0.7


def test_one_outline_needs_a_length():
    nothing = np.zeros(GRID.shape, np.float32)
    with pytest.raises(InputError, match="decay_mm"):
        density_from_outlines(nothing, ball(19), GRID)
    with pytest.raises(InputError, match="decay_mm"):
        density_from_outlines(ball(10), ball(10), GRID)
    with pytest.raises(InputError, match="no edge"):
        density_from_outlines(nothing, nothing, GRID, decay_mm=3)
    with pytest.raises(InputError, match="thresholds"):
        density_from_outlines(ball(10), ball(19), GRID, whole_edge=0.9)
    front = density_from_outlines(nothing, ball(19), GRID, decay_mm=3)
    true = expit(logit(0.25) - (from_center() - 19) / 3)
    assert np.abs(front.density - true).max() < 0.05


def test_both_weigh_by_their_uncertainty():
    front = density_from_outlines(ball(10), ball(19), GRID)
    adc = np.where(from_center() < 9, 0.6, np.nan).astype(np.float32)
    both = density_from_both(adc, 0.05, front)
    unknown = ~np.isfinite(adc)
    np.testing.assert_array_equal(both.density[unknown], front.density[unknown])
    np.testing.assert_array_equal(both.sigma[unknown], front.sigma[unknown])
    known = ~unknown
    assert (both.sigma[known] < np.hypot(0.05, ADC_SIGMA)).all()
    assert (both.density[known] > 0.6).all()
    assert (both.density[known] < front.density[known]).all()
    # with much noise the outlines say it all
    noisy = density_from_both(adc, 50.0, front)
    np.testing.assert_allclose(noisy.density, front.density, atol=1e-4)
