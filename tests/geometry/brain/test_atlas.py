"""The atlas on a head whose brain is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError
from tumortwin.geometry import classify, read_head, register_atlas
from tumortwin.geometry.brain.check import check_brain
from tumortwin.geometry.brain.compartments import Part
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume


def true_brain(head):
    """Parenchyma and the CSF within its closed outline, the largest piece."""
    solid = ndimage.binary_opening(head.true("white") + head.true("grey") >= 0.5)
    labels, _ = ndimage.label(solid)
    solid = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    closed = ndimage.binary_closing(np.pad(solid, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    total = head.true("white") + head.true("grey") + head.true("csf")
    return ndimage.binary_fill_holes(closed) & (total >= 0.5)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_brain_is_found(known_head):
    assert dice(known_head.tissue.brain, true_brain(known_head)) > 0.96


def test_a_strong_field_and_a_turned_head_change_little(known_head):
    image = known_head.image
    grid = image.grid
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.center
    # two surface coils without the scanner's own correction: the signal varies by a factor of more than 3
    coils = sum(1 / (((world - place) ** 2).sum(-1) + 60**2) for place in ([90, -60, 10], [-20, 60, 90]))
    coils /= np.median(coils)
    brain = np.zeros(grid.shape, bool)
    start = np.rint(grid.to_index(known_head.tissue.grid.to_world([0, 0, 0]))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, known_head.tissue.grid.shape, strict=True))
    brain[box] = known_head.tissue.brain
    assert np.ptp(np.log(coils[brain])) > np.log(3)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (12, -8, 10), True).as_matrix()
    turn[:3, 3] = (20, -15, 10)
    shaded = Volume((image.array * coils).astype(np.float32), Grid(grid.shape, turn @ grid.affine), name="T1")
    prior = register_atlas(shaded)
    found = classify(shaded, prior)
    there = np.rint(shaded.grid.to_index(found.grid.to_world([0, 0, 0]))).astype(int)
    again = np.zeros(grid.shape, bool)
    again[tuple(slice(a, a + n) for a, n in zip(there, found.grid.shape, strict=True))] = found.brain
    assert dice(again, brain) > 0.97


def test_left_is_left_and_the_cerebellum_is_below(known_head):
    laid = known_head.prior.compartments
    world = known_head.prior.grid.to_world(np.moveaxis(np.indices(laid.part.shape), 0, -1))
    inside = known_head.tissue.brain
    centers = {part: world[inside & (laid.part == part)].mean(0) for part in Part}
    assert centers[Part.LEFT][0] > 20 > -20 > centers[Part.RIGHT][0]  # LPS: x to the left
    assert centers[Part.BELOW][2] < min(centers[Part.LEFT][2], centers[Part.RIGHT][2]) - 40
    assert centers[Part.BELOW][1] > centers[Part.LEFT][1] + 10  # y to the back
    volumes = [(inside & (laid.part == part)).sum() for part in Part]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.1)
    assert 0.07 < volumes[2] / sum(volumes) < 0.17  # cerebellum and brainstem are some 11 per cent of the brain


def test_the_same_image_gives_the_same_brain(known_head):
    again = register_atlas(known_head.image)
    np.testing.assert_array_equal(again.brain, known_head.prior.brain)
    np.testing.assert_array_equal(again.compartments.part, known_head.prior.compartments.part)


def test_an_image_without_brain_is_refused(known_head):
    empty = known_head.image.with_array(np.zeros_like(known_head.image.array))
    with pytest.raises(InputError, match="no signal"):
        classify(empty, known_head.prior)


def dressed(head, *, bone, marrow, scalp, thick=1):
    """The head with bone of so many mm, marrow in it and a scalp of such signals, a neck, and thick slices.

    Returns the image and the true brain on its grid, 2 mm in plane.
    """
    tissues = {name: share.copy() for name, share in head.anatomy.tissues.items()}
    inner = known_inner(tissues)
    depth = 2 * ndimage.distance_transform_edt(~inner)
    brain = {"white": 1.0, "grey": 0.85, "csf": 0.35}  # little contrast, as after gadolinium with short echoes
    image = sum(np.where(inner, tissues[name], 0) * np.float32(level) for name, level in brain.items())
    image = np.where((depth > bone) & (depth <= bone + 10), np.float32(scalp), image)
    image = np.where((depth > bone / 2 - 1) & (depth <= bone / 2 + 1), np.float32(marrow), image)
    # the neck: muscle and a cord that goes on
    neck = np.repeat(np.where(image[:1] > 0, np.float32(0.9), 0), 15, axis=0)
    image, truth = np.concatenate([neck, image]), np.pad(inner, ((15, 0), (0, 0), (0, 0)))
    grid = Grid(image.shape, moved(head.anatomy.grid, -15), head.anatomy.grid.frame)
    if thick > 1:
        n = len(image) // thick * thick
        image, truth = (a[:n].reshape(-1, thick, *a.shape[1:]).mean(1) for a in (image, truth))
        affine = moved(grid, (thick - 1) / 2)
        affine[:3, 0] *= thick
        grid = Grid(image.shape, affine, head.anatomy.grid.frame)
    noise = np.random.default_rng(0).standard_normal(image.shape)
    return Volume(np.abs(image + 0.03 * noise).astype(np.float32), grid, name="T1Gd"), truth > 0.5


def moved(grid, slices):
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world([slices, 0, 0])
    return affine


def known_inner(tissues):
    """All within the closed outline of white and grey matter."""
    solid = ndimage.binary_opening(tissues["white"] + tissues["grey"] >= 0.5)
    labels, _ = ndimage.label(solid)
    solid = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    closed = ndimage.binary_closing(np.pad(solid, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    return ndimage.binary_fill_holes(closed)


def on_image(tissue, image):
    start = np.rint(image.grid.to_index(tissue.grid.to_world([0, 0, 0]))).astype(int)
    full = np.zeros(image.grid.shape, bool)
    full[tuple(slice(a, a + n) for a, n in zip(start, tissue.grid.shape, strict=True))] = tissue.brain
    return full


def test_scalp_is_not_brain(known_head):
    image, truth = dressed(known_head, bone=5, marrow=0.2, scalp=6.0, thick=3)
    prior = register_atlas(image)
    found = classify(image, prior)
    # 0.85 without a scalp on the atlas
    assert dice(on_image(found, image), truth) > 0.95
    assert check_brain(image, found, prior, np.zeros(found.grid.shape, bool)) == []


def test_a_brain_with_scalp_is_a_finding(known_head):
    image, truth = dressed(known_head, bone=5, marrow=0.2, scalp=4.0)
    there = np.rint(image.grid.to_index(known_head.tissue.grid.to_world([0, 0, 0]))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(there, known_head.tissue.grid.shape, strict=True))
    wide = ndimage.binary_dilation(truth, iterations=5)[box]
    wrong = replace(known_head.tissue, brain=wide)
    (finding,) = check_brain(image, wrong, known_head.prior, np.zeros(wide.shape, bool), "here")
    assert finding.severity is Severity.ASSUMED
    assert "mask called 'brain'" in finding.action
    assert "mL" in finding.what
    assert "brighter than white matter" in finding.what
    half = wide & (known_head.prior.compartments.part == 1)
    (finding,) = check_brain(image, replace(wrong, brain=half), known_head.prior, ~half)
    assert "100% of its hemispheres is on the left" in finding.what


def test_a_known_brain_is_taken_as_it_is(known_head):
    start = np.rint(known_head.image.grid.to_index(known_head.prior.grid.to_world([0, 0, 0]))).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, known_head.prior.grid.shape, strict=True))
    inner = known_inner(known_head.anatomy.tissues)[box]
    found = classify(known_head.image, known_head.prior, brain=inner)
    np.testing.assert_array_equal(found.brain, inner)
    np.testing.assert_allclose(found.white + found.grey + found.csf, inner, atol=1e-5)
    solid = (known_head.true("white") + known_head.true("grey") > 0.5) & inner
    assert dice(found.white + found.grey > 0.5, solid) > 0.93


def test_an_empty_brain_is_refused(known_head):
    nothing = Mask(np.zeros(known_head.image.grid.shape, bool), known_head.image.grid, name="Brain")
    with pytest.raises(InputError, match="'Brain' is empty"):
        read_head({MRSequence.T1: known_head.image}, {}, "here", brain=nothing)
