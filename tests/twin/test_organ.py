"""An organ other than the brain: its outline is the domain, the tumor is what was drawn."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.errors import InputError, StrictError
from tumortwin.growth import simulate
from tumortwin.growth.model import model_of
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.twin import build_twin

START = datetime(2024, 3, 1, 9)
CENTER = np.array([60.0, -20.0, 15.0])
TUMOR = CENTER + np.array([8.0, 5.0, -6.0])
RADII = (10.0, 12.0)
"""The tumor's radius at each visit, mm."""


def scan(frame: str, motion: np.ndarray, radius: float, spacing=(3.0, 1.4, 1.4), seed=0) -> Visit:
    """Half an ellipsoid of gland and fat with a ball in it, as scanned after a motion."""
    shape = tuple(int(n / s) for n, s in zip((120, 130, 130), spacing, strict=True))
    grid = Grid.regular(shape, spacing, CENTER - (65, 65, 60), frame)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    home = grid.to_world(index) @ np.linalg.inv(motion)[:3, :3].T + np.linalg.inv(motion)[:3, 3]
    organ = (((home - CENTER) / (42, 50, 38)) ** 2).sum(-1) <= 1
    ball = np.linalg.norm(home - TUMOR, axis=-1) <= radius
    texture = np.random.default_rng(7)
    world = Grid.regular((60, 60, 60), 2.5, CENTER - 74)
    gland = ndimage.gaussian_filter(texture.standard_normal(world.shape), 2.5)
    there = ndimage.map_coordinates(gland / gland.std(), np.moveaxis(world.to_index(home), -1, 0), order=1)
    noise = np.random.default_rng(seed)
    t1 = 40 + organ * (260 + 60 * there) + 250 * ball + 12 * noise.standard_normal(shape)
    adc = np.where(ball, 1.0e-3, 1.8e-3 + 0.05e-3 * there) * organ + 0.03e-3 * noise.standard_normal(shape)
    images = {
        MRSequence.T1GD: Volume(np.abs(t1).astype(np.float32), grid, "a.u.", "T1Gd"),
        MRSequence.ADC: Volume(np.abs(adc).astype(np.float32), grid, "mm^2/s", "ADC"),
    }
    masks = {"Breast": Mask(organ, grid, name="Breast"), "enhancing": Mask(ball, grid, name="enhancing")}
    return Visit(START, images, masks)


@pytest.fixture(scope="module")
def motion() -> np.ndarray:
    matrix = np.eye(4)
    turn = Rotation.from_euler("xyz", (4, -3, 6), True).as_matrix()
    matrix[:3, :3] = turn
    matrix[:3, 3] = CENTER - turn @ CENTER + (5, -4, 7)
    return matrix


@pytest.fixture(scope="module")
def patient(motion) -> Patient:
    first = scan("a", np.eye(4), RADII[0])
    second = scan("b", motion, RADII[1], spacing=(2.0, 2.0, 2.0), seed=1)
    second = replace(second, date=START + timedelta(days=30), masks={"enhancing": second.masks["enhancing"]})
    return Patient("B-1", (first, second))


@pytest.fixture(scope="module")
def twin(patient):
    return build_twin(patient, organ="breast", spacing=2.0)


def test_the_outline_is_the_domain(twin, patient):
    volume = twin.domain.mask.sum() * twin.domain.grid.voxel_volume / 1000
    assert volume == pytest.approx(patient.visits[0].masks["Breast"].volume_ml, rel=0.02)
    np.testing.assert_array_equal(twin.domain.white > 0, twin.domain.mask)
    assert twin.domain.grid.frame == "a"


def test_visits_are_registered_inside_it(twin, motion):
    points = twin.domain.grid.to_world(np.argwhere(twin.domain.mask)[::50])
    off = twin.observations[1].transform - motion
    assert np.linalg.norm(points @ off[:3, :3].T + off[:3, 3], axis=1).mean() < 1.0
    assert any("soft organs deform" in f.action for f in twin.findings)


def test_the_tumor_is_what_was_drawn(twin):
    for seen, radius in zip(twin.observations, RADII, strict=True):
        assert seen.volumes_ml["enhancing"] == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.02)
        world = twin.domain.grid.to_world(np.argwhere(seen.enhancing > 0.5))
        np.testing.assert_allclose(world.mean(0), TUMOR, atol=1.0)
        low, high = seen.intervals_ml["enhancing"]
        assert low < seen.volumes_ml["enhancing"] < high
        assert "drawn: enhancing" in seen.source
    assert 0.8 < np.nanmedian(twin.observations[0].density) < 1.05


def test_it_can_be_simulated(twin):
    start = np.nan_to_num(twin.observations[0].density).clip(0, 1).astype(np.float32) * twin.domain.mask
    later = simulate(model_of(twin), start, 0.0, 30.0)
    grown = later.at(30.0)
    assert grown.sum() > start.sum()
    assert not grown[~twin.domain.mask].any()


def test_an_organ_that_nobody_named_is_said(patient):
    twin = build_twin(replace(patient, visits=patient.visits[:1]), spacing=3.0)
    assert any("organ='breast'" in f.action for f in twin.findings)


def test_strict_makes_lacks_an_error(patient):
    first = patient.visits[0]
    without = replace(first, images={MRSequence.T1GD: first.images[MRSequence.T1GD]})
    with pytest.raises(StrictError, match="no ADC"):
        build_twin(replace(patient, visits=(without,)), organ="breast", spacing=4.0, strict=True)


def test_a_mask_will_do(patient):
    first = patient.visits[0]
    twin = build_twin(
        replace(patient, visits=(replace(first, masks={"GTV": first.masks["enhancing"]}),)),
        organ=first.masks["Breast"],
        spacing=3.0,
    )
    assert twin.observations[0].enhancing.sum() > 50


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"organ": "liver"}, "no mask is called 'liver'.*Breast"),
        ({"organ": "breast", "reference": 1}, "not outlined on visit 1"),
        ({"organ": "breast", "deformable": True}, "deformable"),
        ({"cellularity": "eyes"}, "cellularity is one of"),
    ],
)
def test_what_cannot_be_is_said(patient, options, said):
    with pytest.raises(InputError, match=said):
        build_twin(patient, **options)


def test_a_visit_without_drawing_shows_no_tumor(patient):
    first, second = patient.visits
    same = replace(second, images=first.images, masks={})
    twin = build_twin(replace(patient, visits=(first, same)), organ="breast", spacing=3.0)
    assert not twin.observations[1].whole.any()
    text = " ".join(f"{f.what} {f.action}" for f in twin.findings)
    assert "nothing is segmented outside of heads" in text
    assert "taken as aligned" in text


def with_adc(patient: Patient, index: int, factor: float, unit: str = "mm^2/s") -> Patient:
    visits = list(patient.visits)
    adc = visits[index].images[MRSequence.ADC]
    other = replace(adc, array=adc.array * np.float32(factor), unit=unit, name="adc of visit 2")
    visits[index] = replace(visits[index], images={**visits[index].images, MRSequence.ADC: other})
    return replace(patient, visits=tuple(visits))


def test_a_map_without_a_unit_costs_its_visit_the_density_alone(patient, twin):
    built = build_twin(with_adc(patient, 1, 30e3, "1"), organ="breast", spacing=2.0)
    np.testing.assert_allclose(built.observations[0].density, twin.observations[0].density, rtol=0.01)
    assert np.isnan(built.observations[1].density).all()
    np.testing.assert_array_equal(built.observations[1].enhancing, twin.observations[1].enhancing)
    (finding,) = [f for f in built.findings if "no cell density at this visit" in f.action]
    assert "'adc of visit 2'" in finding.what
    assert "adc_unit=" in finding.action


def test_a_map_that_is_too_slow_does_not_scale_the_others(patient, twin):
    built = build_twin(with_adc(patient, 1, 0.03), organ="breast", spacing=2.0)
    (finding,) = [f for f in built.findings if "median of 3" in f.what]
    assert "tumors have 0.0003 to 0.003 mm^2/s" in finding.what
    assert "adc_unit=" in finding.action
    alone = build_twin(replace(patient, visits=patient.visits[:1]), organ="breast", spacing=2.0)
    np.testing.assert_array_equal(built.observations[0].density, alone.observations[0].density)


def test_maps_without_a_value_in_the_tumor_are_no_error(patient):
    emptied = with_adc(with_adc(patient, 0, -1.0), 1, -1.0)
    built = build_twin(emptied, organ="breast", spacing=2.0)
    assert all(np.isnan(o.density).all() for o in built.observations)
    assert any("no visit has both an ADC map and enhancing tumor" in f.what for f in built.findings)


def test_no_message_says_who_the_patient_is(patient, twin):
    named = replace(patient, id="DOE^JANE")
    texts = [str(f) for f in build_twin(replace(named, visits=patient.visits[:1]), spacing=3.0).findings]
    nothing = replace(patient.visits[0], images={}, masks={})
    for visits, organ in ((patient.visits, "liver"), ((), None), ((nothing,), None)):
        with pytest.raises(InputError) as refused:
            build_twin(replace(named, visits=visits), organ=organ)
        texts.append(str(refused.value))
    assert len(texts) > 4
    assert not any("DOE" in text for text in texts)
