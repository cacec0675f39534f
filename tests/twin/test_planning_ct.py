"""Structures and dose planned on a CT of its own frame of reference."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.geometry import average
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, TotalDose, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.phantom.anatomy import individual
from tumortwin.phantom.patient import _Streams
from tumortwin.therapy.events import Fraction
from tumortwin.twin import build_twin

HU = {"white": 30.0, "grey": 38.0, "csf": 8.0, "fat": -90.0, "soft": 50.0}


@pytest.fixture(scope="module")
def motion(synthetic):
    """World of the planning MR to world of the CT: the head lies 6 cm off and turned."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (6, -4, 9), degrees=True).as_matrix()
    matrix[:3, 3] = (20, -45, 35)
    return matrix


@pytest.fixture(scope="module")
def ct(synthetic, motion):
    """The same head as CT: bone is bright, soft tissues nearly alike, noise of 12 HU."""
    anatomy = individual(_Streams(1)("anatomy"), 2.0)
    shares = {name: anatomy.tissues[name] for name in HU}
    tissue = sum(shares.values())
    # what is left is bone or air; bone lies inside the head
    head = np.array([ndimage.binary_fill_holes(ndimage.binary_closing(s, iterations=4)) for s in tissue > 0.4])
    bone = np.clip(1 - tissue, 0, 1) * head
    hu = sum(HU[n] * s for n, s in shares.items()) + 900 * bone - 1000 * (1 - np.clip(tissue + bone, 0, 1))
    to_ct = motion @ synthetic.truth_transforms["day 21"]
    grid = Grid.regular((75, 125, 125), (3.0, 2.0, 2.0), to_ct[:3, 3] + (-124, -110, -95), "ct")
    back = np.linalg.inv(to_ct) @ grid.affine
    index = np.linalg.inv(anatomy.grid.affine) @ back
    array = ndimage.affine_transform(
        hu.astype(np.float32), index[:3, :3], index[:3, 3], output_shape=grid.shape, order=1, cval=-1000
    )
    array += np.random.default_rng(0).normal(0, 12, array.shape).astype(np.float32)
    return Volume(array, grid, "HU", "planning CT")


@pytest.fixture(scope="module")
def planned(patient, ct, motion):
    """The patient whose plan lies on the CT: the same voxels in the CT's world."""

    def on_ct(volume):
        return replace(volume, grid=replace(volume.grid, affine=motion @ volume.affine, frame="ct"))

    assert patient.dose is not None
    dose = on_ct(patient.dose)
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    map_ = on_ct(fractions[0].dose)
    visit = Visit(patient.visits[1].date + timedelta(days=1), {MRSequence.CT: ct})
    return Patient(
        patient.id,
        (patient.visits[1], visit),
        tuple(replace(f, dose=map_) for f in fractions),
        {"PTV": on_ct(patient.structures["PTV"])},
        dose,
    )


def test_the_plan_is_placed_by_registering_the_ct(planned, patient):
    twin = build_twin(planned, reference=0)
    here = [f for f in twin.findings if "no Spatial Registration object" in f.what]
    assert [f.severity for f in here] == [Severity.ASSUMED]
    assert not any("image that could be registered" in f.what for f in twin.findings)
    assert len(twin.observations) == 1
    ptv = average(patient.structures["PTV"], twin.domain.grid) > 0.5
    got = twin.structures["PTV"] > 0.5
    assert 2 * (got & ptv).sum() / (got.sum() + ptv.sum()) > 0.93
    assert isinstance(planned.dose, TotalDose)
    true = average(patient.dose, twin.domain.grid)
    assert np.abs(twin.dose - true)[twin.domain.mask].mean() < 0.02 * true.max()
    assert len(twin.irradiations) == len(planned.treatments)
