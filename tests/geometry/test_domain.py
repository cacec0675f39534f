"""The domain: what it refuses, a part of it, barriers in the brain, and organs on any grid."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError
from tumortwin.geometry import Domain, Tissue, brain_domain, organ_domain, resolution_findings
from tumortwin.geometry.brain.compartments import Compartments, Part
from tumortwin.geometry.domain_building import cubic_grid
from tumortwin.growth import GrowthParameters, Model, ellipsoid_seed, simulate
from tumortwin.imaging.volume import Grid, Mask

BOX = (slice(2, 3), slice(1, None), slice(0, 4))


@pytest.fixture
def domain() -> Domain:
    rng = np.random.default_rng(1)
    grid = Grid.regular((4, 5, 6), (3.0, 1.0, 2.0), (10.0, 20.0, 30.0))
    mask = rng.random(grid.shape) < 0.8
    white = mask * rng.random(grid.shape)
    return Domain(grid, mask, white, mask * 0.5 * (1 - white), mask * 0.3 * (1 - white))


def test_a_part_is_at_the_same_place(domain):
    part = domain.cropped(BOX)
    assert part.grid.shape == (1, 4, 4)
    np.testing.assert_array_equal(part.grid.to_world([0, 0, 0]), domain.grid.to_world([2, 1, 0]))
    for name in ("mask", "white", "grey", "csf"):
        np.testing.assert_array_equal(getattr(part, name), getattr(domain, name)[BOX])


def test_a_part_without_tissue_is_refused():
    grid = Grid.regular((3, 4, 4))
    mask = np.zeros(grid.shape, bool)
    mask[0] = True
    with pytest.raises(InputError, match="nothing can grow anywhere"):
        Domain.uniform(grid, mask).cropped((slice(1, 2), slice(None), slice(None)))


def brain(touching: int = 2) -> Tissue:
    """Two hemispheres that touch at the midline x = 0, and a callosum between z = 20 and 28 through a gap elsewhere."""
    grid = Grid.regular((30, 30, 40), 2.0, (-39.0, -29.0, 1.0), "f")
    z, _, x = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    solid = np.ones(grid.shape, bool)
    solid[[0, -1]] = solid[:, [0, -1]] = solid[:, :, [0, -1]] = False
    # the fissure: fluid in every other row, gyri touch in the others
    fissure = np.zeros(grid.shape, bool)
    fissure[14:, ::touching, 20] = True
    solid &= ~fissure
    part = np.where(x >= 20, Part.LEFT, Part.RIGHT).astype(np.uint8)
    return Tissue(
        grid,
        solid | fissure,
        solid.astype(np.float32),
        np.zeros(grid.shape, np.float32),
        fissure.astype(np.float32),
        Compartments(part, z < 14),
    )


def joined(domain: Domain, above: float) -> bool:
    """Whether a path of faces above a height joins left and right."""
    height = domain.grid.to_world([[k, 0, 0] for k in range(domain.grid.shape[0])])[:, 2]
    mask = domain.mask & (height > above)[:, None, None]
    labels, _ = ndimage.label(mask)
    side = domain.grid.to_world([[0, 0, i] for i in range(domain.grid.shape[2])])[:, 0]
    left, right = (set(np.unique(labels[:, :, s])) - {0} for s in (side > 20, side < -20))
    return bool(left & right)


def test_no_path_of_faces_crosses_the_falx_but_below_it():
    tissue = brain()
    bare, found = brain_domain(replace(tissue, compartments=None), 2.0)
    assert joined(bare, 32)
    assert "no atlas" in found[0].what
    parted, findings = brain_domain(tissue, 2.0)
    assert findings == []
    assert not joined(parted, 32)
    assert joined(parted, 0)
    # one layer of voxels at most
    assert 0 < (bare.mask & ~parted.mask).sum() <= 16 * 30
    assert not (parted.mask & ~bare.mask).any()


def test_a_tumor_does_not_jump_the_falx():
    tissue = brain()
    mass = {}
    for name, with_falx in (("bare", False), ("parted", True)):
        domain, _ = brain_domain(tissue if with_falx else replace(tissue, compartments=None), 2.0)
        model = Model(domain, GrowthParameters(diffusivity=0.1, proliferation_rate=0.05))
        # high on the left, near the midline; its front travels some 14 mm, the way around is 40 mm
        field = simulate(model, ellipsoid_seed(domain, (10.0, 0.0, 50.0), 4.0, width=0.7), 0, 100).fields[-1]
        x = domain.grid.to_world([[0, 0, i] for i in range(domain.grid.shape[2])])[:, 0]
        high = domain.grid.to_world([[k, 0, 0] for k in range(domain.grid.shape[0])])[:, 2] > 42
        mass[name] = field[high][:, :, x < -2].sum() / field[high].sum()
    assert mass["bare"] > 0.01
    assert mass["parted"] < 0.02 * mass["bare"]
    # the tumor itself grew
    assert field.sum() > 300


def test_the_callosum_stays_open():
    domain, _ = brain_domain(brain(), 2.0)
    model = Model(domain, GrowthParameters(diffusivity=0.3, proliferation_rate=0.08))
    field = simulate(model, ellipsoid_seed(domain, (8.0, 0.0, 20.0), 4.0), 0, 100).fields[-1]
    x = domain.grid.to_world([[0, 0, i] for i in range(domain.grid.shape[2])])[:, 0]
    assert field[:, :, x < -2].sum() > 0.1 * field.sum()


def test_a_tumor_on_both_sides_of_the_falx_is_a_finding():
    tissue = brain()
    both = np.zeros(tissue.grid.shape, bool)
    both[22:26, 10:16, 16:24] = True
    _, findings = brain_domain(tissue, 2.0, Mask(both, tissue.grid))
    assert "both sides of the falx" in findings[0].what
    one = both.copy()
    one[:, :, :21] = False
    assert brain_domain(tissue, 2.0, Mask(one, tissue.grid))[1] == []


def test_on_a_real_head_the_hemispheres_part_above_the_callosum(known_head):
    tissue = known_head.tissue
    bare, _ = brain_domain(replace(tissue, compartments=None), 2.0)
    parted, findings = brain_domain(tissue, 2.0)
    assert findings == []
    # the true midline, by the phantom's own warp; its callosum ends at z = 31 in MNI
    world = parted.grid.to_world(np.moveaxis(np.indices(parted.grid.shape), 0, -1))
    x, _, z = np.moveaxis(known_head.anatomy.warp.to_atlas(world) * (-1, -1, 1), -1, 0)
    high = z > 40
    for domain, wanted in ((bare, True), (parted, False)):
        labels, _ = ndimage.label(domain.mask & high)
        left, right = (set(np.unique(labels[s & high])) - {0} for s in ((x < -15), (x > 15)))
        assert bool(left & right) is wanted
    # one connected brain, by callosum and brainstem, that lost 2 per cent at most
    assert ndimage.label(parted.mask)[1] == 1
    assert (bare.mask & ~parted.mask).sum() < 0.02 * bare.mask.sum()
    np.testing.assert_allclose(parted.white.sum() * 8, tissue.white.sum() * tissue.grid.voxel_volume, rtol=0.005)


def turned_box(size, spacing, angles, grid_size=(40, 40, 40)):
    """A box of `size` mm along the axes of a turned, anisotropic grid."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, True).as_matrix()[:, ::-1] * spacing
    grid = Grid(grid_size, affine, "f")
    array = np.zeros(grid_size, bool)
    count = [max(1, round(s / h)) for s, h in zip(size, spacing, strict=True)]
    start = [(n - c) // 2 for n, c in zip(grid_size, count, strict=True)]
    array[tuple(slice(a, a + c) for a, c in zip(start, count, strict=True))] = True
    return Mask(array, grid, name="organ")


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(*[st.floats(4, 36)] * 3),
    spacing=st.tuples(*[st.sampled_from((1.0, 1.5, 3.0))] * 3),
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    h=st.sampled_from((1.0, 2.0, 3.0)),
)
def test_an_organ_keeps_its_volume_on_any_grid(size, spacing, angles, h):
    mask = turned_box(size, spacing, angles)
    domain, _ = organ_domain(mask, h)
    voxel = domain.grid.voxel_volume / 1000
    assert domain.grid.spacing == pytest.approx((h, h, h))
    assert domain.mask.sum() * voxel == pytest.approx(mask.volume_ml, abs=0.025 * mask.volume_ml + voxel)
    # invariants of every domain
    assert domain.grid.frame == mask.frame
    np.testing.assert_array_equal(domain.white, domain.mask)
    assert domain.csf.max() == domain.grey.max() == 0
    edge = domain.mask.copy()
    edge[1:-1, 1:-1, 1:-1] = False
    assert not edge.any()
    center = domain.grid.to_world(np.argwhere(domain.mask)).mean(0)
    true = mask.grid.to_world(np.argwhere(mask.array)).mean(0)
    np.testing.assert_allclose(center, true, atol=0.75 * h)  # equal shares are taken in the order of the grid


def test_a_thin_organ_keeps_its_volume_and_says_so():
    mask = turned_box((30, 30, 1.0), (1.0, 1.0, 1.0), (20, 10, 5))
    domain, findings = organ_domain(mask, 3.0)
    assert domain.mask.sum() * 27 == pytest.approx(mask.array.sum(), rel=0.1)
    assert "thin or small" in findings[0].what


def test_pieces_are_kept_and_crumbs_are_not():
    grid = Grid.regular((30, 30, 40), 1.0, 0.0, "f")
    array = np.zeros(grid.shape, bool)
    array[5:25, 5:25, 3:15] = array[5:25, 5:25, 22:34] = True
    array[2, 2, 37] = True
    both, findings = organ_domain(Mask(array, grid), 1.0)
    assert ndimage.label(both.mask)[1] == 2
    assert "2 pieces" in findings[0].what
    one, findings = organ_domain(Mask(array, grid), 1.0, largest=True)
    assert one.mask.sum() == 20 * 20 * 12
    assert any("left out" in f.action for f in findings)


def test_a_mask_on_the_grids_own_voxels_is_not_blurred():
    rng = np.random.default_rng(0)
    grid = Grid.regular((8, 9, 10), 2.0, (3.0, -5.0, 7.0), "f")
    mask = Mask(ndimage.binary_opening(rng.random(grid.shape) < 0.9), grid)
    domain, _ = organ_domain(mask, 2.0)
    np.testing.assert_array_equal(
        np.sort(domain.grid.to_world(np.argwhere(domain.mask)), 0), np.sort(grid.to_world(np.argwhere(mask.array)), 0)
    )


def test_grids_that_make_no_sense_are_refused():
    mask = turned_box((20, 20, 20), (1.0, 1.0, 1.0), (0, 0, 0))
    with pytest.raises(InputError, match=r"0\.1 to 20 mm"):
        organ_domain(mask, 0.01)
    with pytest.raises(InputError, match="empty"):
        organ_domain(mask.with_array(np.zeros_like(mask.array)), 2.0)
    with pytest.raises(InputError, match="larger spacing"):
        cubic_grid(turned_box((390, 390, 390), (10.0, 10.0, 10.0), (0, 0, 0)), 0.1)
    with pytest.raises(InputError, match="sum to at most 1"):
        Domain(Grid.regular((1, 1, 1)), np.ones((1, 1, 1), bool), *[np.full((1, 1, 1), 0.6)] * 3)


def test_a_tumor_too_small_for_the_grid_is_a_finding():
    mask = turned_box((6, 6, 6), (1.0, 1.0, 1.0), (0, 0, 0))
    grid = Grid.regular((9, 9, 9), 2.0)
    empty = mask.with_array(np.zeros_like(mask.array))
    (finding,) = resolution_findings(grid, [mask, empty])
    assert "3.7 voxels" in finding.what  # a ball of 216 mm^3 is 7.4 mm across
    assert "1.9 mm" in finding.action
    assert resolution_findings(Grid.regular((9, 9, 9), 1.5), [mask]) == []
    assert resolution_findings(grid, []) == []
