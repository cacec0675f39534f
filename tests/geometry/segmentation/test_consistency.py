"""Labels over visits: the forward-backward algorithm against the sum over all paths, and what it does to flicker."""

from itertools import product

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.geometry import TumorMasks, hold_over_visits, smooth_over_visits
from tumortwin.geometry.segmentation.consistency import flicker
from tumortwin.imaging.volume import Grid, Mask, Volume

GRID = Grid.regular((12, 12, 12), 2.0, 0.0, "f")


def voxel(*log_odds):
    return [np.full((1, 1, 1), e, np.float32) for e in log_odds]


def test_it_is_the_sum_over_all_paths():
    log_odds, days, rate = (1.3, -0.7, 0.4, -2.1), (0, 21, 95, 110), 1 / 60
    keeps = 0.5 * (1 + np.exp(-2 * rate * np.diff(days)))
    weight = {}
    for path in product((0, 1), repeat=4):
        p = 0.5
        for state, odds in zip(path, log_odds, strict=True):
            p *= np.exp(odds) ** state
        for a, b, keep in zip(path, path[1:], keeps, strict=False):
            p *= keep if a == b else 1 - keep
        weight[path] = p
    smooth = smooth_over_visits(voxel(*log_odds), days, rate=rate).log_odds
    for i in range(4):
        inside = sum(p for path, p in weight.items() if path[i] == 1)
        expected = np.log(inside / (sum(weight.values()) - inside))
        # evidence is held in float32
        assert smooth[i].item() == pytest.approx(expected, abs=1e-4)


def test_a_faint_flicker_goes_and_strong_evidence_stays():
    faint = smooth_over_visits(voxel(5, -0.2, 5), (0, 10, 20))
    assert faint.log_odds[1].item() > 0
    assert faint.changed == (0, 1, 0)
    strong = smooth_over_visits(voxel(5, -6, 5), (0, 10, 20))
    assert strong.log_odds[1].item() < 0
    assert strong.changed == (0, 0, 0)
    # a year apart, neighbors say almost nothing
    assert smooth_over_visits(voxel(5, -0.2, 5), (0, 365, 730)).log_odds[1].item() < 0


def test_growth_and_regression_are_alike():
    growing = smooth_over_visits(voxel(-2, 0.3, 3), (0, 10, 20)).log_odds
    shrinking = smooth_over_visits(voxel(2, -0.3, -3), (0, 10, 20)).log_odds
    for a, b in zip(growing, shrinking, strict=True):
        assert a.item() == pytest.approx(-b.item(), abs=1e-5)


def test_what_a_visit_does_not_show_comes_from_the_others_and_what_is_fixed_stays():
    smooth = smooth_over_visits(voxel(4, np.nan, -1), (0, 5, 6), fixed=(False, False, True))
    assert smooth.log_odds[1].item() > 0
    assert smooth.log_odds[2].item() == -1
    assert smooth.changed[2] == 0


def test_nothing_is_carried_across_a_resection():
    smooth = smooth_over_visits(voxel(5, -0.2, 1), (0, 10, 20), breaks=(5,)).log_odds
    assert smooth[0].item() == 5
    alone = smooth_over_visits(voxel(-0.2, 1), (10, 20)).log_odds
    assert [s.item() for s in smooth[1:]] == pytest.approx([a.item() for a in alone], abs=1e-6)


@pytest.mark.parametrize(("days", "rate"), [((1, 0), 0.01), ((0, 1), 0.0), ((0, 1, 2), 0.01)])
def test_bad_arguments(days, rate):
    with pytest.raises(InputError):
        smooth_over_visits(voxel(1, 1), days, rate=rate)


def test_no_visit_at_all():
    assert smooth_over_visits([], []).log_odds == ()


def tumor(log_odds, *, segmented=True):
    nothing = Mask(np.zeros(GRID.shape, bool), GRID)
    p = 1 / (1 + np.exp(-log_odds))
    return TumorMasks(
        Mask(log_odds > 0, GRID),
        nothing,
        nothing,
        "",
        probability=Volume(p.astype(np.float32), GRID),
        segmented=segmented,
    )


def test_masks_are_made_again_and_flicker_falls():
    rng = np.random.default_rng(3)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), -1)
    true = 1.5 * (4 - np.linalg.norm(index - 5.5, axis=-1))
    # noise of the evidence that makes the edge flicker; the tumor itself stands still
    noisy = [true + rng.normal(0, 1.5, GRID.shape) for _ in range(5)]
    tumors = [tumor(e) for e in noisy]
    held, changed = hold_over_visits(tumors, [np.eye(4)] * 5, [0, 10, 20, 30, 40], GRID)

    def errors(masks):
        return sum(int((m.whole.array != (true > 0)).sum()) for m in masks)

    assert flicker([t.whole.array for t in held]) < 0.5 * flicker([t.whole.array for t in tumors])
    assert errors(held) < 0.6 * errors(tumors)
    assert all(c > 0 for c in changed)


def test_drawn_tumors_stay():
    blob = np.full(GRID.shape, -5.0)
    blob[4:8, 4:8, 4:8] = 5
    drawn = tumor(-blob, segmented=False)
    held, changed = hold_over_visits([tumor(blob), drawn, tumor(blob)], [np.eye(4)] * 3, [0, 1, 2], GRID)
    assert held[1] is drawn
    assert changed[1] == 0


def test_nothing_found_at_any_visit():
    none = tumor(np.full(GRID.shape, -6.0))
    held, changed = hold_over_visits([none, none], [np.eye(4)] * 2, [0, 1], GRID)
    assert changed == (0, 0)
    assert held == (none, none)
