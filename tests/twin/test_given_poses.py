"""Poses that the caller or a Spatial Registration gives, and the optional deformable step."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
import SimpleITK as sitk

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.frame_links import FrameLink
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.twin import build_twin
from tumortwin.twin.given_poses import given_poses

SHIFT = np.eye(4)
SHIFT[:3, 3] = (3.0, -2.0, 1.0)


def three_visits(*links):
    visits = tuple(
        Visit(
            datetime(2024, 1, 1) + timedelta(30 * i),
            {MRSequence.T1GD: Volume(np.ones((2, 3, 4), np.float32), Grid.regular((2, 3, 4), frame=frame))},
        )
        for i, frame in enumerate("abc")
    )
    return Patient("P", visits, links=links)


def test_registrations_in_the_folder_link_visits_either_way():
    links = FrameLink("b", "a", SHIFT, "reg.dcm"), FrameLink("c", "a", SHIFT, "other.dcm")
    poses = given_poses(three_visits(*links), 1, None)
    np.testing.assert_allclose(poses[0][0], SHIFT)
    np.testing.assert_allclose(poses[2][0], np.eye(4), atol=1e-12)  # b to a to c
    assert "reg.dcm" in poses[0][1]
    assert not given_poses(three_visits(), 1, None)


def test_the_caller_comes_first(tmp_path):
    patient = three_visits(FrameLink("b", "a", np.eye(4), "reg.dcm"))
    sitk.WriteTransform(sitk.TranslationTransform(3, (3.0, -2.0, 1.0)), str(tmp_path / "t.tfm"))
    poses = given_poses(patient, 1, {0: SHIFT.tolist(), -1: tmp_path / "t.tfm"})
    np.testing.assert_allclose(poses[0][0], SHIFT)
    np.testing.assert_allclose(poses[2][0], SHIFT)
    assert poses[0][1] == "the caller"
    assert "t.tfm" in poses[2][1]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({3: np.eye(4)}, InputError, "no visit 3"),
        ({1: np.eye(4)}, InputError, "is the reference"),
        ({0: np.diag([-1.0, 1, 1, 1])}, InputError, r"transforms\[0\]: it mirrors"),
        ({0: "none.tfm"}, ReadError, "no such file"),
    ],
)
def test_what_cannot_be_used_is_said(given, error, said):
    with pytest.raises(error, match=said):
        given_poses(three_visits(), 1, given)


@pytest.fixture(scope="module")
def twin(patient, true_transforms):
    """The first visit's pose is given by a link, and it may bend."""
    first, reference = patient.visits[:2]
    frames = [v.images[MRSequence.T1GD].frame for v in (first, reference)]
    link = FrameLink(frames[0], frames[1], np.linalg.inv(true_transforms[0]), "reg.dcm")
    linked = replace(patient, visits=(first, reference), links=(link,))
    with pytest.MonkeyPatch.context() as patch:
        # how well a bend is found is tested beside deform
        patch.setattr("tumortwin.geometry.registration.deformation.ROUNDS", 3)
        return build_twin(linked, spacing=3.0, deformable=True)


def test_a_given_pose_is_used_and_checked(twin, true_transforms):
    np.testing.assert_allclose(twin.observations[0].transform, true_transforms[0], atol=1e-9)
    (said,) = [f for f in twin.findings if "the pose is given" in f.what]
    assert said.severity is Severity.NOTE
    assert "Spatial Registration reg.dcm" in said.what


def test_a_bend_is_kept_and_said(twin, tmp_path):
    first, reference = twin.observations
    assert reference.displacement is None
    assert first.displacement is not None
    assert any("bent to the reference visit" in f.what and "absorbed" in f.action for f in twin.findings)
    # this head did not deform: what is found there is the spline's noise
    inside = twin.domain.grid.to_world(np.argwhere(twin.domain.mask)[::50])
    assert np.linalg.norm(first.displacement.at(inside), axis=1).mean() < 1.0
    on_grid = first.whole.sum() * twin.domain.grid.voxel_volume / 1000
    assert on_grid == pytest.approx(first.volumes_ml["whole"], rel=0.03)
    again = type(twin).load(twin.save(tmp_path / "twin.npz"))
    np.testing.assert_array_equal(again.observations[0].displacement.vectors, first.displacement.vectors)
