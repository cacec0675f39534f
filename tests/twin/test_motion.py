"""Motion between the series of a visit, on scans of the phantom's scanner whose true motion is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tumortwin.geometry import one_frame
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask


def motion_of(mm, degrees, center):
    """A turn about an oblique axis through a point, and a shift."""
    axis, way = np.array([0.6, -0.48, 0.64]), np.array([-0.36, 0.8, 0.48])
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()
    motion[:3, 3] = center - motion[:3, :3] @ center + mm * way
    return motion


@pytest.fixture(scope="module")
def images(patient):
    return patient.visits[0].images


@pytest.fixture(scope="module")
def places(patient, synthetic):
    """World points in the brain of the first visit."""
    visit = synthetic.truth_transforms["day 0"] @ np.linalg.inv(synthetic.truth_transforms["day 21"])
    brain = patient.structures["brain"]
    points = brain.grid.to_world(np.argwhere(brain.array)[::200])
    return points @ visit[:3, :3].T + visit[:3, 3]


def after(motion, volume):
    return replace(volume, grid=replace(volume.grid, affine=motion @ volume.affine))


@pytest.mark.parametrize("sequence", [MRSequence.T1, MRSequence.FLAIR, MRSequence.ADC])
@pytest.mark.parametrize(("mm", "degrees"), [(0.3, 0.0), (1.5, 1.0), (4.0, 3.0)])
def test_a_known_motion_is_undone(images, places, sequence, mm, degrees):
    true = motion_of(mm, degrees, places.mean(0))
    aligned = one_frame({**images, sequence: after(true, images[sequence])}, "visit 1")
    off = np.linalg.inv(aligned.motions[sequence]) @ true
    error = np.linalg.norm(places @ off[:3, :3].T + off[:3, 3] - places, axis=1).mean()
    # half a voxel: 1 mm, along the slices of the ADC 1.5 mm
    assert error < (1.0 if sequence is MRSequence.ADC else 0.4)
    if mm > 1:
        (finding,) = aligned.findings
        assert finding.severity is Severity.REPAIRED
        assert f"{sequence} lies" in finding.what
    # only that one was moved, and no voxel was interpolated
    for other in set(images) - {sequence}:
        np.testing.assert_array_equal(aligned.images[other].affine, images[other].affine)
    assert aligned.images[sequence].array is images[sequence].array


def test_what_did_not_move_stays_where_the_file_has_it(patient):
    for visit in patient.visits:
        aligned = one_frame(visit.images, "visit")
        assert not aligned.findings
        for sequence, image in visit.images.items():
            assert aligned.images[sequence].grid == image.grid


def test_a_mask_moves_with_the_image_it_was_drawn_on(images, places):
    true = motion_of(3.0, 2.0, places.mean(0))
    thick = images[MRSequence.FLAIR].cropped((slice(2, -2), slice(None), slice(None)))
    moved = {**images, MRSequence.FLAIR: after(true, thick)}
    drawn = after(true, patient_mask(thick))
    aligned = one_frame(moved, "visit 1")
    back = aligned.moved(drawn, moved)
    assert back.grid.matches(aligned.images[MRSequence.FLAIR].grid)
    assert np.linalg.norm(back.grid.center - thick.grid.center) < 0.4
    on_t1gd = patient_mask(images[MRSequence.T1GD])
    assert aligned.moved(on_t1gd, moved) is on_t1gd


def patient_mask(image):
    return Mask(image.array > image.array.mean(), image.grid)


def test_a_large_motion_is_doubtful(images, places):
    true = motion_of(9.0, 6.0, places.mean(0))
    aligned = one_frame({**images, MRSequence.T1: after(true, images[MRSequence.T1])}, "visit 1")
    (finding,) = aligned.findings
    assert finding.severity is Severity.ASSUMED
    assert "doubtful" in finding.what
    off = np.linalg.inv(aligned.motions[MRSequence.T1]) @ true
    assert np.linalg.norm(places @ off[:3, :3].T + off[:3, 3] - places, axis=1).mean() < 1.0


def test_another_frame_is_registered(images, places):
    true = motion_of(15.0, 8.0, places.mean(0))
    other = after(true, images[MRSequence.FLAIR])
    other = replace(other, grid=replace(other.grid, frame="another"))
    aligned = one_frame({**images, MRSequence.FLAIR: other}, "visit 1")
    assert aligned.images[MRSequence.FLAIR].frame == images[MRSequence.T1GD].frame
    assert "another frame of reference" in aligned.findings[0].what
    off = np.linalg.inv(aligned.motions[MRSequence.FLAIR]) @ true
    assert np.linalg.norm(places @ off[:3, :3].T + off[:3, 3] - places, axis=1).mean() < 1.0
