"""Patients that lack things or bring bad ones: what can be built is built, and what is wrong is said."""

from dataclasses import replace

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.twin import Twin, build_twin


def build(patient: Patient, *visits: Visit, **options) -> Twin:
    bare = replace(patient, visits=visits, structures={}, dose=None, treatments=())
    return build_twin(bare, spacing=3.0, **options)


def said(twin: Twin, above: Severity = Severity.NOTE) -> str:
    return " | ".join(f"{f.where}: {f.what}: {f.action}" for f in twin.findings if f.severity is not above)


def without(visit: Visit, *sequences: Sequence) -> Visit:
    return replace(visit, images={s: v for s, v in visit.images.items() if s not in sequences}, masks={})


def with_image(visit: Visit, sequence: Sequence, image: Volume) -> Visit:
    return replace(visit, images={**visit.images, sequence: image}, masks={})


def moved(image: Volume, mm: float) -> Volume:
    affine = np.array(image.affine)
    affine[:3, 3] += mm
    return Volume(image.array, Grid(image.grid.shape, affine, image.frame), image.unit, image.name)


def test_no_contrast_agent(patient):
    twin = build(patient, without(patient.visits[0], Sequence.T1GD), without(patient.visits[1], Sequence.T1GD))
    assert len(twin.observations) == 2
    assert all(o.whole.sum() > 100 and not o.enhancing.any() for o in twin.observations)
    assert "no T1 image with contrast agent" in said(twin)
    assert "no cell density" in said(twin)


def test_no_flair(patient):
    twin = build(patient, without(patient.visits[0], Sequence.FLAIR))
    assert twin.observations[0].enhancing.sum() > 20
    assert "no FLAIR and no T2" in said(twin)


@pytest.mark.parametrize("only", [Sequence.FLAIR, Sequence.T1GD])
def test_one_sequence(patient, only):
    visit = patient.visits[0]
    twin = build(patient, without(visit, *(set(visit.images) - {only})))
    assert 700 < twin.domain.mask.sum() * 0.027 < 2000
    assert "tissue is told from" in said(twin)
    assert twin.observations[0].whole.any()


def test_a_visit_of_another_place(patient):
    first, second = patient.visits[:2]
    away = replace(second, images={s: moved(Volume(np.random.default_rng(0).random(v.array.shape, np.float32), v.grid,
                                                   v.unit), 700.0) for s, v in second.images.items()}, masks={})
    twin = build(patient, without(first), away, reference=0)
    assert [o.visit for o in twin.observations] == [0]
    assert "the visit is left out" in said(twin)


def test_an_image_without_signal(patient):
    first, second = patient.visits[:2]
    zero = second.images[Sequence.FLAIR].with_array(np.zeros_like(second.images[Sequence.FLAIR].array))
    twin = build(patient, without(first), with_image(second, Sequence.FLAIR, zero), reference=0)
    text = said(twin)
    assert "FLAIR" in text
    assert "no signal" in text
    # the rest of the visit still speaks
    assert [o.visit for o in twin.observations] == [0, 1]
    assert twin.observations[1].enhancing.sum() > 10


def test_a_reference_without_signal(patient):
    visit = patient.visits[0]
    zeros = {s: v.with_array(np.zeros_like(v.array)) for s, v in visit.images.items()}
    with pytest.raises(InputError, match="no signal"):
        build(patient, replace(visit, images=zeros, masks={}))


def test_values_that_are_not_finite(patient):
    visit = patient.visits[0]
    flair = visit.images[Sequence.FLAIR]
    broken = flair.array.copy()
    broken[5:9] = np.nan
    twin = build(patient, with_image(visit, Sequence.FLAIR, flair.with_array(broken)))
    assert "not finite" in said(twin)
    assert twin.observations[0].enhancing.sum() > 10
    assert all(np.isfinite(getattr(twin.observations[0], n)).all() for n in ("whole", "enhancing", "necrosis"))


def test_a_mask_of_another_frame(patient):
    visit = patient.visits[0]
    elsewhere = Mask(np.ones((4, 4, 4), bool), Grid.regular((4, 4, 4), 5.0, 0.0, "1.2.3"), name="whole tumor")
    twin = build(patient, replace(visit, masks={"whole tumor": elsewhere}))
    assert "another frame of reference" in said(twin)
    assert twin.observations[0].source == "segmented"
    assert twin.observations[0].whole.sum() < 3000
