"""Segmentation of synthetic lesions, and drawn masks in all combinations."""

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.geometry import Normalized, Region, find_tumor
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Grid, Mask

GRID = Grid.regular((40, 48, 44), 2.0, 0.0, "f")
CENTER = GRID.to_world((20, 22, 26))


def radius(scale=(1.0, 1.0, 1.0)):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), -1)
    return np.linalg.norm((GRID.to_world(index) - CENTER) / scale, axis=-1)


EDEMA = radius((1.0, 1.3, 0.9)) < 20
CORE = radius() < 11
NECROSIS = radius() < 6


@pytest.fixture(scope="module")
def view():
    rng = np.random.default_rng(0)
    brain = np.zeros(GRID.shape, np.float32)
    brain[3:-3, 3:-3, 3:-3] = 1
    stripes = (np.indices(GRID.shape)[2] // 6 % 2 == 0).astype(np.float32)
    white, grey = brain * stripes, brain * (1 - stripes)
    images = {
        Sequence.T1: white + 0.75 * grey - 0.15 * EDEMA,
        Sequence.T1GD: white + 0.75 * grey - 0.15 * EDEMA + 0.8 * (CORE & ~NECROSIS),
        Sequence.FLAIR: white + 1.15 * grey + 0.6 * EDEMA,
    }
    noisy = {s: (ndimage.gaussian_filter(i, 0.4) + 0.03 * rng.standard_normal(GRID.shape)).astype(np.float32)
             for s, i in images.items()}
    return Normalized(GRID, noisy, brain, white, grey)


def dice(mask, truth):
    assert mask.grid == GRID
    return 2 * (mask.array & truth).sum() / (mask.array.sum() + truth.sum())


def only(view, *sequences):
    return Normalized(view.grid, {s: view.images[s] for s in sequences}, view.brain, view.white, view.grey)


def test_all_three_regions(view):
    found = find_tumor(view, {})
    assert dice(found.whole, EDEMA) > 0.95
    assert dice(found.enhancing, CORE & ~NECROSIS) > 0.93
    assert dice(found.necrosis, NECROSIS) > 0.85
    assert found.source == "segmented"
    assert not found.findings


def test_without_contrast_agent_the_whole_is_still_found(view):
    found = find_tumor(only(view, Sequence.T1, Sequence.FLAIR), {}, "visit 3")
    assert dice(found.whole, EDEMA) > 0.95
    assert not found.enhancing.array.any()
    assert [f.where for f in found.findings] == ["visit 3"]


def test_without_flair_the_core_stands_for_the_whole(view):
    found = find_tumor(only(view, Sequence.T1, Sequence.T1GD), {})
    assert dice(found.whole, CORE) > 0.9
    assert any("FLAIR" in f.what for f in found.findings)


def test_nothing_there_is_said(view):
    quiet = {s: np.where(view.brain > 0, 1 + 0.02 * np.random.default_rng(1).standard_normal(GRID.shape), 0).astype(
        np.float32) for s in (Sequence.T1, Sequence.T1GD, Sequence.FLAIR)}
    found = find_tumor(Normalized(GRID, quiet, view.brain, view.brain, 0 * view.brain), {})
    assert not found.whole.array.any()
    assert any("no tumor" in f.what for f in found.findings)


def test_drawn_masks_win(view):
    drawn = {Region.ENHANCING: Mask(CORE & ~NECROSIS, GRID), Region.NECROSIS: Mask(NECROSIS, GRID),
             Region.EDEMA: Mask(EDEMA & ~CORE, GRID)}
    found = find_tumor(view, drawn)
    assert (found.whole.array == EDEMA | CORE).all()
    assert (found.enhancing.array == CORE & ~NECROSIS).all()
    assert found.source == "drawn: enhancing, necrosis, edema"


def test_edema_drawn_without_enhancement_means_none(view):
    found = find_tumor(view, {Region.EDEMA: Mask(EDEMA, GRID)})
    assert not found.enhancing.array.any()
    assert (found.whole.array == EDEMA).all()


def test_a_gtv_is_parted_by_the_image(view):
    found = find_tumor(view, {Region.CORE: Mask(CORE, GRID)})
    assert dice(found.enhancing, CORE & ~NECROSIS) > 0.93
    assert (found.enhancing.array | found.necrosis.array)[CORE].all()
    assert not (found.enhancing.array & found.necrosis.array).any()
    assert dice(found.whole, EDEMA) > 0.95
    assert "segmented" in found.source
