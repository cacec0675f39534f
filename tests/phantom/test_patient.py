"""make_patient on coarse grids: the same from the same seed, the right side, dates, volumes, geometry."""

import hashlib
import json
from datetime import datetime

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid
from tumortwin.phantom import VISITS, VisitPlan, make_patient
from tumortwin.phantom.acquisition import Pose, Protocol, averaged
from tumortwin.phantom.anatomy import MNI_TO_LPS
from tumortwin.phantom.synthetic import Encoding
from tumortwin.phantom.treatment import temozolomide
from tumortwin.therapy.events import Biopsy, DrugDose, Fraction, Resection

ROUGH = {q: Protocol((4, 4, 4)) for q in (MRSequence.T1, MRSequence.T1GD, MRSequence.FLAIR, MRSequence.ADC)}
TILTED = {q: Protocol((6, 3, 3), tilt=(-18, 4, 6)) for q in ROUGH}


def coarse(seed=1, **changes):
    plans = (
        VisitPlan(0, "diagnosis", ROUGH, expert=True, keep_dwi=True),
        VisitPlan(21, "planning", ROUGH),
        VisitPlan(95, "post-RT", {**ROUGH, MRSequence.T1: Protocol((4, 4, 4), plane="sagittal")}),
        VisitPlan(205, "follow-up", TILTED),
    )
    wishes = {"visits": plans, "spacing": 3.0, "solver_spacing": 3.0, "site": "right parietal"}
    return make_patient(seed, **wishes | changes)


@pytest.fixture(scope="module")
def patient():
    return coarse()


def fingerprint(patient):
    digest = hashlib.sha256(json.dumps(patient.truth, sort_keys=True).encode())
    volumes = [s.volume for v in patient.visits for s in v.series] + list(patient.truth_arrays.values())
    for volume in [*volumes, patient.dose, *patient.structures.values()]:
        digest.update(volume.array.tobytes())
        digest.update(volume.affine.tobytes())
    return digest.hexdigest()


def test_equal_seeds_give_equal_bits_and_others_another_patient(patient):
    plans = tuple(VisitPlan(d, str(d), ROUGH) for d in (0, 21))
    first, second, other = (coarse(seed, visits=plans) for seed in (4, 4, 5))
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(first) != fingerprint(other)
    assert first.truth["parameters"] != other.truth["parameters"]
    assert first.visits[0].series[0].volume.frame != other.visits[0].series[0].volume.frame


def test_one_choice_does_not_move_the_draws_of_another(patient):
    later = coarse(visits=(VisitPlan(0, "diagnosis", ROUGH),), noise=0.0)
    assert later.truth["parameters"] == patient.truth["parameters"]
    np.testing.assert_array_equal(later.truth_transforms["diagnosis"], patient.truth_transforms["diagnosis"])


def test_a_tumor_on_the_right_shows_on_the_right(patient):
    assert patient.truth["site"]["mni_mm"][0] > 20
    assert patient.truth["site"]["lps_mm"][0] < -15
    mask = patient.visits[0].expert["enhancing"]
    pose = patient.truth_transforms["diagnosis"]
    center = mask.grid.to_world(np.argwhere(mask.array)).mean(0)
    home = np.linalg.inv(pose) @ np.append(center, 1)
    assert np.linalg.norm(home[:3] - patient.truth["site"]["lps_mm"]) < 10
    assert home[0] < -10


def test_enhancement_is_brighter_after_contrast_and_necrosis_is_not(patient):
    visit = patient.visits[1]
    images = {s.sequence: s.volume for s in visit.series}
    enhancing = ndimage.binary_erosion(patient.truth_arrays["planning/mask enhancing"].array)
    before, after = images[MRSequence.T1].array[enhancing].mean(), images[MRSequence.T1GD].array[enhancing].mean()
    assert after > 1.5 * before
    whole = patient.truth_arrays["planning/mask whole"].array & ~ndimage.binary_dilation(
        patient.truth_arrays["planning/mask enhancing"].array | patient.truth_arrays["planning/mask necrosis"].array
    )
    far = patient.structures["brain"].array & ~ndimage.binary_dilation(whole, iterations=5)
    flair, adc = images[MRSequence.FLAIR].array, images[MRSequence.ADC].array
    assert flair[whole].mean() > 1.15 * np.median(flair[far])
    assert np.median(adc[whole]) > 1.15 * np.median(adc[far])
    assert 0.6e-3 < np.median(adc[far]) < 1.1e-3


def test_volumes_respond_and_come_back(patient):
    volumes = [v["volumes_ml"] for v in patient.truth["visits"]]
    cells = [v["living_cells_ml"] for v in patient.truth["visits"]]
    assert 8 < volumes[0]["enhancing"] + volumes[0]["necrosis"] < 26
    assert volumes[0]["enhancing"] > 5
    assert volumes[1]["whole"] > volumes[0]["whole"]
    assert volumes[2]["enhancing"] < 0.6 * volumes[1]["enhancing"]
    assert volumes[3]["whole"] > volumes[2]["whole"]
    assert cells[0] < cells[1] > 4 * cells[2] < cells[3]
    assert patient.truth["onset_day"] < -60


def test_dead_cells_appear_with_radiation(patient):
    dead = [patient.truth_arrays[f"{v.label}/dead"].array.sum() for v in patient.visits]
    assert dead[0] == dead[1] == 0
    assert dead[2] > dead[3] > 0


def test_calendar(patient):
    fractions = [t.time for t in patient.treatments if isinstance(t, Fraction)]
    drugs = [t for t in patient.treatments if isinstance(t, DrugDose)]
    first = patient.visits[0].date
    assert len(fractions) == 30
    assert fractions[0].weekday() == 0
    assert (fractions[0].date() - first.date()).days == 28
    assert (fractions[-1].date() - fractions[0].date()).days == 39
    assert all(t.weekday() < 5 for t in fractions)
    together = [d for d in drugs if d.amount == 75]
    assert len(together) == 40  # weekends included
    assert (drugs[40].time.date() - fractions[-1].date()).days == 28
    assert drugs[40].amount == 150
    assert drugs[45].amount == 200
    assert [type(t) for t in patient.treatments[:1]] == [Biopsy]
    assert [round(v["day"]) for v in patient.truth["visits"]] == [0, 21, 95, 205]
    assert max(t.time for t in patient.treatments) < patient.visits[-1].date


def test_temozolomide_stops_where_it_is_told():
    until = datetime(2024, 3, 20)
    doses = temozolomide(datetime(2024, 1, 29, 10), datetime(2024, 3, 8, 10), until)
    assert doses[-1].time < until
    assert {d.amount for d in doses} == {75.0}


def test_dose_and_structures(patient):
    parts = patient.structures
    for smaller, larger in (("GTV", "CTV"), ("CTV", "PTV")):
        assert not (parts[smaller].array & ~parts[larger].array).any()
    assert np.median(patient.dose.array[parts["PTV"].array]) == pytest.approx(60, abs=0.01)
    assert np.percentile(patient.dose.array[parts["GTV"].array], 2) > 57
    outside = patient.dose.array[parts["brain"].array & ~parts["PTV"].array]
    assert outside.mean() < 25
    assert patient.dose.array.max() < 66
    planning = next(s.volume for s in patient.visits[1].series if s.sequence is MRSequence.T1GD)
    assert patient.dose.grid.matches(planning.grid)
    assert set(parts) >= {"GTV", "CTV", "PTV", "brainstem", "chiasm", "eye left", "eye right", "brain"}
    for t in patient.treatments:
        if isinstance(t, Fraction):
            np.testing.assert_allclose(t.dose.array * 30, patient.dose.array, rtol=1e-5, atol=1e-5)


def test_each_visit_has_its_own_frame_pose_and_geometry(patient):
    frames = []
    for visit in patient.visits:
        uids = {s.volume.frame for s in visit.series}
        assert len(uids) == 1
        frames += uids
        matrix = patient.truth_transforms[visit.label]
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
        assert 0 < np.linalg.norm(matrix[:3, 3]) <= 10
    assert len(set(frames)) == len(frames)
    assert all(u.startswith("2.25.") and len(u) <= 64 for u in frames)
    # rows, columns and slices make a right-handed frame, as DICOM has it
    for visit in patient.visits:
        for series in visit.series:
            axes = series.volume.affine[:3, :3]
            normal = np.cross(axes[:, 2], axes[:, 1])
            assert normal @ axes[:, 0] > 0
            assert (series.volume.array >= 0).all()
    sagittal = next(s.volume for s in patient.visits[2].series if s.sequence is MRSequence.T1)
    assert abs(sagittal.affine[0, 0]) == pytest.approx(4)


def test_the_poses_bring_the_visits_together(patient):
    # the head's outline, carried through the true transforms, is the same in an upright and in an oblique visit
    first, last = (next(s.volume for s in patient.visits[i].series if s.sequence is MRSequence.T1GD) for i in (0, 3))
    to_last = patient.truth_transforms["follow-up"] @ np.linalg.inv(patient.truth_transforms["diagnosis"])
    matrix = np.linalg.inv(last.affine) @ to_last @ first.affine
    moved = ndimage.affine_transform(last.array, matrix[:3, :3], matrix[:3, 3], output_shape=first.grid.shape, order=1)
    one, two = first.array[8:-8] > 120, moved[8:-8] > 120
    assert 2 * (one & two).sum() / (one.sum() + two.sum()) > 0.9


def test_a_resection_leaves_a_cavity():
    patient = coarse(resection=True, visits=(VisitPlan(0, "before", ROUGH), VisitPlan(21, "after", ROUGH)))
    (surgery,) = [t for t in patient.treatments if isinstance(t, Resection)]
    assert surgery.removed.volume_ml > 8
    assert not any(isinstance(t, Biopsy) for t in patient.treatments)
    cavity = patient.truth_arrays["after/mask cavity"]
    assert cavity.volume_ml == pytest.approx(surgery.removed.volume_ml, rel=0.15)
    assert not (cavity.array & ~patient.structures["GTV"].array).any()
    living = patient.truth_arrays["after/living"].array
    assert living[surgery.removed.array].max() == 0
    assert 0 < living.sum() < 0.6 * patient.truth_arrays["before/living"].array.sum()
    adc = next(s.volume for s in patient.visits[1].series if s.sequence is MRSequence.ADC)
    center = surgery.removed.grid.to_world(np.argwhere(ndimage.binary_erosion(surgery.removed.array))).T
    index = adc.grid.to_index((patient.truth_transforms["after"] @ np.vstack([center, np.ones(center.shape[1])]))[:3].T)
    assert np.median(ndimage.map_coordinates(adc.array, index.T, order=1)) > 2e-3


def test_no_radiotherapy_no_structures():
    patient = coarse(prescribed=0, visits=(VisitPlan(0, "only", ROUGH), VisitPlan(60, "later", ROUGH)))
    assert patient.dose is None
    assert not patient.structures
    assert not [t for t in patient.treatments if isinstance(t, Fraction | DrugDose)]
    cells = [v["living_cells_ml"] for v in patient.truth["visits"]]
    assert cells[1] > 1.5 * cells[0]


def test_the_default_visits_show_what_a_reader_must_cope_with():
    assert [v.day for v in VISITS] == [0, 21, 95, 150, 205, 260]
    assert any(v.keep_dwi for v in VISITS)
    assert {e for v in VISITS for e in v.encodings.values()} >= {Encoding.PLAIN, Encoding.RLE, Encoding.ENHANCED}
    assert 0 < sum(v.expert for v in VISITS) < len(VISITS)
    assert any(p.tilt != (0, 0, 0) for v in VISITS for p in v.protocols.values())
    assert any(p.voxel[0] == 5 for v in VISITS for p in v.protocols.values())


def test_partial_volume_averages_across_thick_slices(patient):
    head = patient.truth_arrays["diffusivity"].grid
    values = np.zeros(head.shape, np.float32)
    values[: head.shape[0] // 2] = 1  # half of the box, cut across z
    cut = head.to_world(np.array([head.shape[0] // 2 - 0.5, 0, 0]))[2]
    center = head.center.copy()
    center[2] = cut
    grid = Protocol((12, 6, 6)).grid(center, head.frame, (12 * 3, 24, 24))
    affine = np.array(grid.affine)
    affine[:3, 3] = center - affine[:3, :3] @ [1, 1.5, 1.5]
    grid = Grid((3, 4, 4), affine, head.frame)
    profile = averaged(values, head, grid, Pose()).mean((1, 2))
    np.testing.assert_allclose(profile, [1, 0.5, 0], atol=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visits": (3, 9)}, "start at day 0"),
        ({"visits": (0, 9, 9)}, "follow each other"),
        ({"size_ml": 200}, "0.5 to 80 mL"),
        ({"noise": -1}, "not negative"),
        ({"fractions": 0}, "at least one fraction"),
        ({"site": "toe"}, "no site 'toe'"),
    ],
)
def test_impossible_wishes_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        make_patient(1, **changes)


def test_mni_is_right_handed_the_other_way():
    np.testing.assert_array_equal(MNI_TO_LPS * [10, 20, 30], [-10, -20, 30])
