"""Patients that lack things or bring bad ones: what can be built is built, and what is wrong is said."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.twin import Twin, build_twin

ELSEWHERE = Mask(np.ones((4, 4, 4), bool), Grid.regular((4, 4, 4), 5.0, 0.0, "1.2.3"), name="whole tumor")
AWAY = np.eye(4)
AWAY[0, 3] = 6.0


def without(visit: Visit, *sequences: MRSequence) -> Visit:
    return replace(visit, images={s: v for s, v in visit.images.items() if s not in sequences})


def with_image(visit: Visit, sequence: MRSequence, array: np.ndarray) -> Visit:
    return replace(visit, images={**visit.images, sequence: visit.images[sequence].with_array(array)})


def elsewhere(visit: Visit) -> Visit:
    """Noise, 700 mm away: no scan of this head."""
    images = {}
    for sequence, image in visit.images.items():
        affine = np.array(image.affine)
        affine[:3, 3] += 700
        grid = Grid(image.grid.shape, affine, image.frame)
        images[sequence] = Volume(np.random.default_rng(0).random(grid.shape, np.float32), grid, image.unit)
    return replace(visit, images=images)


@pytest.fixture(scope="module")
def cases(patient) -> dict[str, Visit]:
    """One visit of one head after the other, each with something wrong; all of the day on which the tumor is large."""
    good = replace(patient.visits[0], masks={})
    flair = good.images[MRSequence.FLAIR].array
    holes = flair.copy()
    holes[5:9] = np.nan
    wrong = {
        "good": good,
        "no T1Gd": without(good, MRSequence.T1GD),
        "FLAIR alone": without(good, MRSequence.T1, MRSequence.T1GD, MRSequence.ADC),
        "zero FLAIR": with_image(good, MRSequence.FLAIR, np.zeros_like(flair)),
        "holes in FLAIR": with_image(good, MRSequence.FLAIR, holes),
        "mask elsewhere": replace(good, masks={"whole tumor": ELSEWHERE}),
        "given wrongly": good,
        "another place": elsewhere(good),
        "no image": replace(good, images={}),
    }
    return {
        name: replace(visit, label=name, date=visit.date + timedelta(days=k))
        for k, (name, visit) in enumerate(wrong.items())
    }


@pytest.fixture(scope="module")
def twin(cases, patient) -> Twin:
    transforms = {list(cases).index("given wrongly"): AWAY}
    return build_twin(Patient(patient.id, tuple(cases.values())), spacing=3.0, reference=0, transforms=transforms)


@pytest.fixture
def seen(twin, cases):
    return {list(cases)[o.visit]: o for o in twin.observations}


@pytest.fixture
def said(twin, cases):
    return {
        name: " | ".join(f"{f.what}: {f.action}" for f in twin.findings if f"({name})" in f.where) for name in cases
    }


def test_without_contrast_agent_the_whole_tumor_is_known(seen, said):
    assert seen["no T1Gd"].whole.sum() > 100
    assert not seen["no T1Gd"].enhancing.any()
    assert "no T1 image with contrast agent" in said["no T1Gd"]


def test_without_flair_the_core_is_known(seen, said):
    """A FLAIR without signal is left out: from then on it is as if there were none."""
    assert "no signal" in said["zero FLAIR"]
    assert "the image is left out" in said["zero FLAIR"]
    assert "no FLAIR and no T2" in said["zero FLAIR"]
    assert seen["zero FLAIR"].enhancing.sum() > 0.7 * seen["good"].enhancing.sum()


def test_one_sequence(seen, said):
    assert seen["FLAIR alone"].whole.sum() > 0.7 * seen["good"].whole.sum()
    assert not seen["FLAIR alone"].enhancing.any()
    assert "no ADC map" in said["FLAIR alone"]


def test_values_that_are_not_finite_are_no_signal(seen, said):
    assert "not finite" in said["holes in FLAIR"]
    assert seen["holes in FLAIR"].whole.sum() > 0.5 * seen["good"].whole.sum()
    for region in ("whole", "enhancing", "necrosis"):
        assert np.isfinite(getattr(seen["holes in FLAIR"], region)).all()


def test_a_mask_of_another_frame_is_left_out(seen, said):
    assert "another frame of reference" in said["mask elsewhere"]
    assert seen["mask elsewhere"].source == "segmented"
    assert seen["mask elsewhere"].whole.sum() < 1.5 * seen["good"].whole.sum()


def test_a_wrong_pose_that_was_given_is_used_and_said(seen, said, twin):
    np.testing.assert_array_equal(seen["given wrongly"].transform, AWAY)
    assert "the pose is given by the caller" in said["given wrongly"]
    assert "doubtful" in said["given wrongly"]
    (finding,) = [f for f in twin.findings if "the pose is given" in f.what]
    assert finding.severity is Severity.ASSUMED


@pytest.mark.parametrize("name", ["another place"])
def test_a_visit_that_does_not_show_the_head_is_left_out(seen, said, name):
    assert name not in seen
    assert "the visit is left out" in said[name]
    assert "transforms=" in said[name]


def test_a_visit_without_images_has_no_place(seen):
    assert "no image" not in seen


def test_the_rest_is_as_good_as_ever(seen, cases):
    assert set(seen) == set(cases) - {"another place", "no image"}
    assert seen["good"].whole.sum() > 500


@pytest.mark.parametrize("only", [MRSequence.FLAIR, pytest.param(MRSequence.T1GD, marks=pytest.mark.slow)])
def test_a_reference_of_one_sequence(patient, only):
    visit = replace(patient.visits[0], masks={})
    twin = build_twin(Patient("P", (without(visit, *(set(visit.images) - {only})),)), spacing=4.0)
    assert 700 < twin.domain.mask.sum() * 0.064 < 2000
    assert any("tissue is told from" in f.what for f in twin.findings)
    assert twin.observations[0].whole.any()


def test_a_patient_without_signal(patient):
    visit = patient.visits[0]
    zeros = {s: v.with_array(np.zeros_like(v.array)) for s, v in visit.images.items()}
    with pytest.raises(InputError, match="no signal"):
        build_twin(Patient("P", (replace(visit, images=zeros),)))
