"""The head: warp, sides, organs, package data."""

from importlib.resources import files

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid
from tumortwin.phantom.anatomy import MNI_TO_LPS, TISSUES, individual, load_atlas, random_warp
from tumortwin.phantom.host import make_host, world_points


@pytest.fixture(scope="module")
def head():
    return individual(np.random.default_rng(5), 3.0)


def test_the_packaged_head_is_small_and_brings_its_notice():
    folder = files("tumortwin.phantom") / "data"
    assert (folder / "anatomy.npz").stat().st_size < 4e6
    assert "McConnell Brain Imaging Centre" in (folder / "NOTICE.txt").read_text()


def test_tissue_shares_of_the_atlas_are_shares():
    tissues = load_atlas().tissues
    total = sum(tissues[name] for name in TISSUES)
    assert total.min() >= 0
    assert total.max() < 1.07  # three shares are rounded to fifteenths
    # a brain of a man: 1.6 litres of tissue in this stretched space, more grey than white
    assert 400 < tissues["white"].sum() / 1000 < 750 < tissues["grey"].sum() / 1000 < 1200


@pytest.mark.parametrize("seed", range(8))
def test_the_warp_does_not_fold_and_can_be_inverted(seed):
    warp = random_warp(np.random.default_rng(seed))
    atlas = load_atlas().grid
    grid = Grid.regular((45, 54, 45), 4.0, atlas.to_world([0, 0, 0]))
    jacobian = warp.jacobian(grid)
    assert 0.3 < jacobian.min() < jacobian.max() < 2
    points = np.random.default_rng(1).uniform(-70, 70, (50, 3))
    there = warp.to_atlas(points)
    np.testing.assert_allclose(warp.from_atlas(there), points, atol=1e-4)
    assert np.linalg.norm(there - points, axis=1).mean() > 1  # nobody's exact anatomy


def test_both_ways_to_warp_agree():
    warp = random_warp(np.random.default_rng(2))
    grid = Grid.regular((6, 7, 8), 20.0, [-70.0, -60.0, -50.0])
    points = np.moveaxis(world_points(grid), 0, -1)
    np.testing.assert_allclose(np.moveaxis(warp.on_grid(grid), 0, -1), warp.to_atlas(points), atol=1e-3)


def test_the_left_eye_is_on_the_left_and_in_front(head):
    points = world_points(head.grid)
    for name, sign in (("eye left", 1), ("eye right", -1)):
        inside = head.organ(name, points)
        assert 4 < inside.sum() * 27 / 1000 < 11
        center = points[:, inside].mean(1)
        assert sign * center[0] > 20  # LPS: x to the left
        assert center[1] < -40  # and y to the back
    assert 15 < head.organ("brainstem", points).sum() * 27 / 1000 < 35


def test_the_face_is_gone(head):
    # in front of the skull base and below the brow nothing gives signal, wherever the warp moved it
    z, y, x = np.meshgrid(np.arange(-70, -30, 4), np.arange(60, 85, 4), np.arange(-50, 51, 4), indexing="ij")
    atlas = np.stack([x, y, z], -1).reshape(-1, 3) * MNI_TO_LPS
    points = head.warp.from_atlas(atlas).T
    assert sum(head.share(name, points) for name in TISSUES).max() < 0.05


def test_a_site_on_the_right_is_on_the_right(head):
    host = make_host(head, (30.0, 30.0, 24.0), 3.0)
    assert host.site[0] < -15
    assert host.site[1] < -10
    seed = tuple(np.round(host.grid.to_index(host.site)).astype(int))
    assert host.mask[seed]
    assert host.white[seed] > 0.7


def test_cells_do_not_cross_the_falx(head):
    host = make_host(head, (30.0, 30.0, 40.0), 3.0)
    atlas = head.warp.to_atlas(np.moveaxis(host.points, 0, -1)) * MNI_TO_LPS
    high = (atlas[..., 2] > 45) & (np.abs(atlas[..., 0]) < 1)
    assert high.any()
    assert not (host.mask & high).any()


def test_a_site_outside_the_brain_and_an_unknown_organ_are_refused(head):
    with pytest.raises(InputError, match="no white matter"):
        make_host(head, (0.0, 120.0, 0.0), 3.0)
    with pytest.raises(InputError, match="brainstem"):
        head.organ("spleen", np.zeros((3, 1)))
