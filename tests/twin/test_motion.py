"""Motion between the series of a visit, on scans of the phantom's scanner whose true motion is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.geometry import average, one_frame
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


def moved_within(image, motion):
    """The same voxels, in which the head lies where a motion took it: as of an image that was resampled there."""
    return image.with_array(average(image, image.grid, np.linalg.inv(motion)))


@pytest.mark.parametrize(
    ("sequence", "aligned", "moves"),
    [
        (MRSequence.T1, None, False),
        (MRSequence.T1, True, False),
        (MRSequence.T1, False, True),  # two series of one prescription, as a scanner acquires them
        (MRSequence.ADC, None, False),
        (MRSequence.ADC, False, False),  # no scanner acquires a diffusion map on a T1's voxels
    ],
)
def test_images_on_one_grid_are_not_moved(images, places, sequence, aligned, moves):
    true = motion_of(5.0, 2.0, places.mean(0))
    other = moved_within(images[sequence], true)
    found = one_frame({**images, sequence: other}, "visit 1", aligned=aligned)
    if sequence is MRSequence.T1:  # on a coarse ADC map the motion may not be clear enough to be said
        (finding,) = found.findings
        assert f"{sequence} lies" in finding.what
    if moves:
        off = np.linalg.inv(found.motions[sequence]) @ true
        assert np.linalg.norm(places @ off[:3, :3].T + off[:3, 3] - places, axis=1).mean() < 0.6
    else:
        np.testing.assert_array_equal(found.motions[sequence], np.eye(4))
        assert found.images[sequence] is other
        assert all(finding.severity is Severity.ASSUMED for finding in found.findings)
        assert all("the files have both in one space; not moved" in str(finding) for finding in found.findings)


def test_images_of_a_declared_space_are_not_moved_whatever_their_voxels(images, places):
    true = motion_of(5.0, 2.0, places.mean(0))
    other = after(true, images[MRSequence.FLAIR])
    found = one_frame({**images, MRSequence.FLAIR: other}, "visit 1", aligned=True)
    assert found.images[MRSequence.FLAIR] is other
    assert "not moved" in found.findings[0].action


@pytest.mark.parametrize("margin_mm", [0, 8, 16])
@pytest.mark.parametrize("own_voxels", [False, True])
def test_a_map_of_the_tumor_alone_is_not_moved(images, synthetic, margin_mm, own_voxels):
    """Its edges are those of the region it was cut to: an estimate from them went 7 to 30 mm astray."""
    tumor = synthetic.truth_arrays["day 0/mask whole"]
    adc = images[MRSequence.ADC]
    near = ndimage.distance_transform_edt(~(average(tumor, adc.grid) > 0.5), sampling=adc.grid.spacing) <= margin_mm
    cut = adc.with_array(np.where(near, adc.array, 0))
    if own_voxels:
        cut = cut.cropped((slice(1, -1), slice(None), slice(None)))
    found = one_frame({**images, MRSequence.ADC: cut}, "visit 1")
    np.testing.assert_array_equal(found.motions[MRSequence.ADC], np.eye(4))
    assert all("hardly agree better" in f.what and "not moved" in f.action for f in found.findings)
    assert own_voxels or not found.findings
