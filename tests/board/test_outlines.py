"""A contour that went through the twin's grid and came back as a Segmentation is as large as it was."""

from datetime import datetime

import highdicom
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.board.export import TYPES
from tumortwin.board.outlines import outline
from tumortwin.geometry.sampling import average
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.imaging.writing.header import hashed_uid, item, stamp
from tumortwin.imaging.writing.segmentation import write_segmentation
from tumortwin.phantom.mr import write_series
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries

# radius in mm, and what Dice must be: the edge of a voxel is a large part of a small ball
BALLS = {2: 0.85, 3: 0.93, 5: 0.96, 10: 0.98, 20: 0.99}


def brought_back(radius, spacing, rng):
    """A ball drawn on an image's grid, its share of the twin's 2 mm voxels after a rigid motion, and that motion."""
    shape = tuple(int(2 * (radius + 8) / s) + 2 for s in spacing)
    corner = -np.array(shape) * np.array(spacing) / 2
    grid = Grid.regular(shape, spacing, tuple(corner[::-1]), "1.2.3")
    world = grid.to_world(np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 3)).reshape(*shape, 3)
    ball = Mask(np.linalg.norm(world - rng.uniform(-1, 1, 3), axis=-1) <= radius, grid)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix()
    motion[:3, 3] = rng.uniform(-3, 3, 3)
    n = radius + 14
    twin = Grid.regular((n, n, n), (2.0, 2.0, 2.0), (0.3 - n, 0.7 - n, -0.2 - n), "1.2.4")
    return ball, Volume(average(ball, twin, motion), twin), np.linalg.inv(motion)


@pytest.mark.parametrize("radius", BALLS)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.5, 0.5)])
def test_volumes_stay(radius, spacing):
    rng = np.random.default_rng(radius)
    for _ in range(2):
        ball, share, back = brought_back(radius, spacing, rng)
        made = outline(share, ball.grid, back)
        assert made.volume_ml == pytest.approx(ball.volume_ml, rel=0.005, abs=1.01 * ball.grid.voxel_volume / 1000)
        both = 2 * (made.array & ball.array).sum() / (made.array.sum() + ball.array.sum())
        assert both > BALLS[radius]
    # cut at one half, a small ball would be smaller by far more than that
    halved = resample(share, ball.grid, back).array > 0.5
    assert halved.sum() < (1 - 1 / radius**2) * ball.array.sum()


def test_thick_slices_sample_a_small_ball_coarsely():
    """With slices of 5 mm the image knows the volume of a ball of 5 mm no better than by a twentieth."""
    rng = np.random.default_rng(1)
    for radius, most in ((5, 0.05), (10, 0.02), (20, 0.01)):
        ball, share, back = brought_back(radius, (5.0, 1.0, 1.0), rng)
        assert outline(share, ball.grid, back).volume_ml == pytest.approx(ball.volume_ml, rel=most)


def test_nothing_stays_nothing():
    grid = Grid.regular((4, 5, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "1.2.3")
    assert not outline(Volume(np.zeros(grid.shape, np.float32), grid), grid).array.any()


def test_the_segmentation_holds_that_volume(tmp_path):
    """Counted in the file by highdicom."""
    grid = Grid.regular((40, 48, 44), (1.0, 1.0, 1.0), (-22.0, -24.0, -20.0), "1.2.3.4")
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)).reshape(*grid.shape, 3)
    ball = Mask(np.linalg.norm(world, axis=-1) <= 5, grid)
    twin = Grid.regular((24, 24, 24), (2.0, 2.0, 2.0), (-23.3, -24.1, -22.9), grid.frame)
    when = datetime(2024, 1, 23, 9, 30)
    study = item(
        PatientName="Phantom",
        PatientID="TT-1",
        PatientBirthDate="",
        PatientSex="F",
        StudyID="1",
        StudyInstanceUID=hashed_uid("study"),
        ReferringPhysicianName="",
        AccessionNumber="",
    )
    stamp(study, when, "Study")
    shown = SyntheticSeries(MRSequence.T1GD, Volume(np.ones(grid.shape, np.float32), grid), "t1", Encoding.PLAIN)
    files = write_series(shown, study, hashed_uid("series"), 2, when, 1.0, tmp_path / "image")
    made = {"tumor core": outline(Volume(average(ball, twin), twin), grid)}
    path = write_segmentation(made, files, tmp_path / "seg.dcm", types=TYPES)
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    counted = (volume.array > 0).sum() * np.prod(volume.spacing) / 1000
    assert counted == pytest.approx(ball.volume_ml, rel=0.005)
