"""Drawn masks that agree or disagree with the image below them."""

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.geometry import Normalized, Region, check_drawn
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask

GRID = Grid.regular((40, 48, 50), 2.0, 0.0, "f")


def ball(center, radius):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), -1)
    return np.linalg.norm((index - center) * 2.0, axis=-1) < radius


# x of the index grows to the patient's left; the brain's middle is at 24.5
EDEMA, CORE = ball((20, 24, 36), 16), ball((20, 24, 36), 9)


@pytest.fixture(scope="module")
def view():
    rng = np.random.default_rng(0)
    brain = np.zeros(GRID.shape, np.float32)
    brain[3:-3, 3:-3, 3:-3] = 1
    images = {
        MRSequence.T1: brain - 0.2 * EDEMA,
        MRSequence.T1GD: brain - 0.2 * EDEMA + 0.7 * CORE,
        MRSequence.FLAIR: brain + 0.4 * EDEMA,
    }
    noisy = {
        s: (ndimage.gaussian_filter(i, 0.4) + 0.04 * rng.standard_normal(GRID.shape)).astype(np.float32)
        for s, i in images.items()
    }
    return Normalized(GRID, noisy, brain, brain, 0 * brain)


def said(view, drawn):
    return " | ".join(f.what for f in check_drawn(view, {r: Mask(a, GRID) for r, a in drawn.items()}, "visit"))


def test_masks_that_fit_raise_nothing(view):
    assert said(view, {Region.ENHANCING: CORE, Region.WHOLE: EDEMA}) == ""
    assert said(view, {Region.ENHANCING: CORE, Region.EDEMA: EDEMA & ~CORE}) == ""
    assert check_drawn(view, {}) == []


def test_a_flipped_mask_is_suspected(view):
    text = said(view, {Region.ENHANCING: CORE[:, :, ::-1], Region.WHOLE: EDEMA[:, :, ::-1]})
    assert text.count("flipped left and right") == 2


def test_a_mask_on_normal_tissue(view):
    elsewhere = ball((20, 12, 24), 8)
    text = said(view, {Region.ENHANCING: elsewhere, Region.WHOLE: elsewhere})
    assert "T1Gd minus T1 is not brighter in the enhancing mask" in text
    assert "FLAIR is not brighter in the whole mask" in text
    assert "flipped" not in text


def test_an_enhancing_mask_on_edema_alone(view):
    assert "T1Gd minus T1" in said(view, {Region.ENHANCING: EDEMA & ~ndimage.binary_dilation(CORE, iterations=2)})


def test_outside_the_brain(view):
    shifted = np.zeros_like(CORE)
    shifted[:, :, -5:] = ball((20, 24, 47), 9)[:, :, -5:]
    assert "outside the brain" in said(view, {Region.CORE: shifted})


def test_a_mask_beyond_the_image_counts_as_outside(view):
    far = Grid.regular((4, 4, 4), 2.0, 500.0, "f")
    found = check_drawn(view, {Region.CORE: Mask(np.ones(far.shape, bool), far)}, "visit 2")
    assert [f.where for f in found] == ["visit 2"]
    assert "100% of the core mask" in found[0].what


def test_a_volume_that_no_tumor_has(view):
    huge = np.zeros_like(CORE)
    huge[3:-3, 3:-3, 3:-3] = True
    # 34 x 42 x 44 voxels of 8 mm^3
    assert "503 mL" in said(view, {Region.CORE: huge})


def test_parts_that_exclude_each_other(view):
    assert "overlap" in said(view, {Region.ENHANCING: CORE, Region.NECROSIS: CORE})
    assert "overlap" in said(view, {Region.CAVITY: CORE, Region.WHOLE: EDEMA})
