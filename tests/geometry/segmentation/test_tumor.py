"""Segmentation of synthetic lesions, and drawn masks in all combinations."""

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.geometry import Normalized, Region, find_tumor
from tumortwin.imaging.sequence import MRSequence
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
        MRSequence.T1: white + 0.75 * grey - 0.15 * EDEMA,
        MRSequence.T1GD: white + 0.75 * grey - 0.15 * EDEMA + 0.8 * (CORE & ~NECROSIS),
        MRSequence.FLAIR: white + 1.15 * grey + 0.6 * EDEMA,
    }
    noisy = {
        s: (ndimage.gaussian_filter(i, 0.4) + 0.03 * rng.standard_normal(GRID.shape)).astype(np.float32)
        for s, i in images.items()
    }
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
    found = find_tumor(only(view, MRSequence.T1, MRSequence.FLAIR), {}, "visit 3")
    assert dice(found.whole, EDEMA) > 0.95
    assert not found.enhancing.array.any()
    assert [f.where for f in found.findings] == ["visit 3"]


def test_without_flair_the_core_stands_for_the_whole(view):
    found = find_tumor(only(view, MRSequence.T1, MRSequence.T1GD), {})
    assert dice(found.whole, CORE) > 0.9
    assert any("FLAIR" in f.what for f in found.findings)


def test_nothing_there_is_said(view):
    quiet = {
        s: np.where(view.brain > 0, 1 + 0.02 * np.random.default_rng(1).standard_normal(GRID.shape), 0).astype(
            np.float32
        )
        for s in (MRSequence.T1, MRSequence.T1GD, MRSequence.FLAIR)
    }
    found = find_tumor(Normalized(GRID, quiet, view.brain, view.brain, 0 * view.brain), {})
    assert not found.whole.array.any()
    assert any("no tumor" in f.what for f in found.findings)


def test_drawn_masks_win(view):
    drawn = {
        Region.ENHANCING: Mask(CORE & ~NECROSIS, GRID),
        Region.NECROSIS: Mask(NECROSIS, GRID),
        Region.EDEMA: Mask(EDEMA & ~CORE, GRID),
    }
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


# awkward ones


def seen(
    lesions,
    *,
    spacing=(2.0, 2.0, 2.0),
    shape=(40, 48, 44),
    sequences=("T1", "T1Gd", "FLAIR", "ADC"),
    noise=0.03,
    edge=None,
):
    """A head of stripes of white and grey matter with a ventricle, and its lesions.

    `lesions` maps "edema", "rim", "necrosis", "cavity" to functions of world points (..., 3). Returns the view and the
    masks of those, on a grid of the size and spacing given.
    """
    rng = np.random.default_rng(7)
    grid = Grid.regular(shape, spacing, 0.0, "f")
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    world = grid.to_world(index)
    brain = np.zeros(grid.shape, np.float32)
    brain[2:-2, 3:-3, 3:-3] = 1
    ventricle = (np.abs(world - [60, 60, 40]) < [8, 10, 12]).all(-1)
    tissue = brain * ~ventricle
    stripes = (world[..., 0] // 12 % 2 == 0).astype(np.float32)
    white, grey = tissue * stripes, tissue * (1 - stripes)
    where = {n: f(world) & (tissue > 0) for n, f in lesions.items()}
    # white, grey, CSF; then edema, rim, necrosis, cavity
    signals = {
        "T1": (1, 0.75, 0.35, 0.75, 0.7, 0.5, 0.35),
        "T1Gd": (1, 0.75, 0.35, 0.75, 1.5, 0.5, 0.35),
        "FLAIR": (1, 1.1, 0.3, 1.5, 1.45, 1.3, 0.3),
        "T2": (1, 1.2, 2.6, 1.9, 1.8, 2.3, 2.6),
        "ADC": (0.75e-3, 0.85e-3, 3e-3, 1.3e-3, 1.1e-3, 2.1e-3, 3e-3),
    }
    images = {}
    for name in sequences:
        w, g, c, *rest = signals[name]
        image = white * w + grey * g + (brain - tissue) * c
        for part, level in zip(("edema", "rim", "necrosis", "cavity"), rest, strict=True):
            if part in where:
                image[where[part]] = level
        image = ndimage.gaussian_filter(image, [0.8 / s for s in grid.spacing])
        images[MRSequence(name)] = (image + noise * w * rng.standard_normal(grid.shape)).astype(np.float32)
    return Normalized(grid, images, brain, white.astype(np.float32), grey.astype(np.float32)), where


def sphere(center, radius):
    return lambda world: np.linalg.norm(world - center, axis=-1) < radius


def overlap(mask, truth):
    return 2 * (mask.array & truth).sum() / (mask.array.sum() + truth.sum())


LEFT, RIGHT = (62, 34, 40), (20, 62, 44)


def test_two_foci():
    both = {"edema": lambda w: sphere(LEFT, 12)(w) | sphere(RIGHT, 11)(w)}
    view, truth = seen(both)
    assert overlap(find_tumor(view, {}).whole, truth["edema"]) > 0.93


def test_a_lesion_at_the_brain_s_edge():
    view, truth = seen({"edema": sphere((76, 48, 40), 14), "rim": sphere((76, 48, 40), 8)})
    found = find_tumor(view, {})
    assert overlap(found.whole, truth["edema"] | truth["rim"]) > 0.9
    assert overlap(found.enhancing, truth["rim"]) > 0.85


def test_t2_only():
    view, truth = seen({"edema": sphere(LEFT, 14)}, sequences=("T2",))
    found = find_tumor(view, {})
    assert overlap(found.whole, truth["edema"]) > 0.9
    # CSF is as bright
    assert not (found.whole.array & (view.white + view.grey < 0.5)).any()
    assert any("no FLAIR" in f.what for f in found.findings)


def test_t1gd_only():
    view, truth = seen({"rim": sphere(LEFT, 10)}, sequences=("T1Gd",))
    found = find_tumor(view, {})
    assert overlap(found.enhancing, truth["rim"]) > 0.9
    assert {f.what.split(" image")[0] for f in found.findings} >= {"no FLAIR and no T2", "no T1"}


def test_thick_slices():
    view, truth = seen(
        {"edema": sphere(LEFT, 16), "rim": sphere(LEFT, 10)}, spacing=(5.0, 1.0, 1.0), shape=(16, 96, 88)
    )
    found = find_tumor(view, {})
    assert overlap(found.whole, truth["edema"] | truth["rim"]) > 0.93
    assert overlap(found.enhancing, truth["rim"]) > 0.9


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_empty_flair_is_left_out_and_t2_serves(value):
    view, truth = seen({"edema": sphere(LEFT, 14)}, sequences=("T1", "FLAIR", "T2"))
    view.images[MRSequence.FLAIR][...] = value
    found = find_tumor(view, {}, "visit 2")
    assert overlap(found.whole, truth["edema"]) > 0.9
    assert any("FLAIR image shows nothing" in f.what and f.where == "visit 2" for f in found.findings)


def test_adc_that_does_not_reach_all_of_the_tumor():
    view, truth = seen({"edema": sphere(LEFT, 14)})
    view.images[MRSequence.ADC][20:] = np.nan
    assert overlap(find_tumor(view, {}).whole, truth["edema"]) > 0.93


def test_several_images_beat_one_in_noise():
    view, truth = seen({"edema": sphere(LEFT, 14)}, noise=0.12)
    alone = find_tumor(only(view, MRSequence.FLAIR), {}).whole
    joint = find_tumor(view, {}).whole
    assert overlap(joint, truth["edema"]) > max(overlap(alone, truth["edema"]), 0.9)


def test_necrosis_without_a_rim():
    view, truth = seen({"edema": sphere(LEFT, 16), "necrosis": sphere(LEFT, 8)})
    found = find_tumor(view, {})
    assert overlap(found.necrosis, truth["necrosis"]) > 0.9
    assert not found.enhancing.array.any()
    assert overlap(found.whole, truth["edema"]) > 0.93


def test_plain_edema_holds_no_necrosis():
    view, _ = seen({"edema": sphere(LEFT, 16)})
    assert find_tumor(view, {}).necrosis.volume_ml < 0.1


def test_a_cavity_is_no_tumor_and_no_ventricle():
    parts = {"edema": sphere(LEFT, 16), "rim": sphere(LEFT, 12), "cavity": sphere(LEFT, 10)}
    view, truth = seen(parts)
    found = find_tumor(view, {}, after_resection=True)
    assert overlap(found.cavity, truth["cavity"]) > 0.95
    assert not (found.whole.array & found.cavity.array).any()
    assert overlap(found.whole, (truth["edema"] | truth["rim"]) & ~truth["cavity"]) > 0.9
    # a rim of 2 mm on voxels of 2 mm
    assert overlap(found.enhancing, truth["rim"] & ~truth["cavity"]) > 0.6
    assert found.necrosis.volume_ml < 0.3
    assert find_tumor(view, {}).cavity is None


def test_a_cavity_that_the_tissue_map_knows_as_csf():
    view, truth = seen({"edema": sphere(LEFT, 16), "cavity": sphere(LEFT, 10)})
    usual = view.white + view.grey
    known = Normalized(
        view.grid, view.images, view.brain, view.white * ~truth["cavity"], view.grey * ~truth["cavity"], usual
    )
    assert overlap(find_tumor(known, {}, after_resection=True).cavity, truth["cavity"]) > 0.9


def test_no_cavity_is_made_up():
    view, _ = seen({"edema": sphere(LEFT, 14), "rim": sphere(LEFT, 8)})
    found = find_tumor(view, {}, "visit 2", after_resection=True)
    assert not found.cavity.array.any()
    assert any("no resection cavity" in f.what for f in found.findings)


def test_a_drawn_cavity_is_taken():
    view, truth = seen({"edema": sphere(LEFT, 16), "cavity": sphere(LEFT, 10)})
    drawn = Mask(truth["cavity"], view.grid)
    found = find_tumor(view, {Region.CAVITY: drawn})
    assert (found.cavity.array == truth["cavity"]).all()
    assert not (found.whole.array & truth["cavity"]).any()


def test_probability_and_intervals():
    view, truth = seen({"edema": sphere(LEFT, 14), "rim": sphere(LEFT, 8)})
    whole = truth["edema"]
    found = find_tumor(view, {})
    p = found.probability.array
    assert found.probability.grid == view.grid
    assert p[ndimage.binary_erosion(whole, iterations=2)].min() > 0.95
    assert p[~ndimage.binary_dilation(whole, iterations=3)].max() < 0.3
    for region, mask in ((Region.WHOLE, whole), (Region.ENHANCING, truth["rim"])):
        low, high = found.intervals_ml[region]
        assert low - 1e-9 <= mask.sum() * 0.008 <= high + 1e-9
        assert high - low < 0.7 * mask.sum() * 0.008
    assert found.segmented
    given = find_tumor(view, {Region.WHOLE: Mask(whole, view.grid)})
    assert not given.segmented
    np.testing.assert_array_equal(given.probability.array > 0.5, whole)


def test_a_fading_lesion_is_outlined_by_its_full_signal():
    view, _ = seen({"edema": sphere(LEFT, 14)})
    levels = find_tumor(view, {}).levels
    rest = Normalized(view.grid, dict(view.images), view.brain, view.white, view.grey)
    normal, _ = seen({})
    fading = 0.3
    for s in rest.images:
        rest.images[s] = (fading * view.images[s] + (1 - fading) * normal.images[s]).astype(np.float32)
    assert find_tumor(rest, {}, levels=levels).whole.volume_ml < 0.2 * find_tumor(rest, {}).whole.volume_ml


def test_necrosis_that_is_most_of_the_lesion():
    view, truth = seen({"edema": sphere(LEFT, 14), "necrosis": sphere(LEFT, 12)})
    assert overlap(find_tumor(view, {}).necrosis, truth["necrosis"]) > 0.9


def test_a_gtv_over_the_cavity_makes_it_no_necrosis():
    view, truth = seen({"edema": sphere(LEFT, 16), "rim": sphere(LEFT, 13), "cavity": sphere(LEFT, 9)})
    drawn = {Region.CORE: Mask(truth["rim"], view.grid)}
    found = find_tumor(view, drawn, after_resection=True)
    assert overlap(found.cavity, truth["cavity"]) > 0.93
    assert found.necrosis.volume_ml < 0.2 * found.cavity.volume_ml
    assert not (found.necrosis.array & found.cavity.array).any()
