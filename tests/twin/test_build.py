"""build_twin against the truth of a coarse phantom, and on patients that lack things."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tumortwin.errors import Cancelled, InputError, OutputExistsError, ReadError
from tumortwin.geometry import average
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Mask
from tumortwin.patient import Patient
from tumortwin.therapy.events import Fraction, Resection
from tumortwin.twin import Twin, build_twin
from tumortwin.twin.therapy import place_therapy


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_visits_are_registered_to_the_planning_visit(twin, true_transforms):
    points = twin.domain.grid.to_world(np.argwhere(twin.domain.mask)[::50])
    np.testing.assert_array_equal(twin.observations[1].transform, np.eye(4))
    for observation, true in zip(twin.observations, true_transforms, strict=True):
        off = observation.transform - true
        assert np.linalg.norm(points @ off[:3, :3].T + off[:3, 3], axis=1).mean() < 1.0
    # how well is kept with the visit; the reference was not registered
    first, reference, last = (observation.registration for observation in twin.observations)
    assert reference is None
    for quality in (first, last):
        assert (quality.fixed, quality.moving) == ("T1Gd", "T1Gd")
        assert 1.1 < quality.similarity < 2
        assert quality.overlap > 0.95
        assert quality.residual_mm < 1


def test_the_grid_is_cubic_axis_aligned_and_fits_the_brain(twin, patient):
    grid = twin.domain.grid
    np.testing.assert_allclose(grid.affine[:3, :3], np.array([[0, 0, 2], [0, 2, 0], [2, 0, 0]]), atol=1e-9)
    assert grid.frame == patient.visits[1].images[MRSequence.T1GD].frame
    inside = np.argwhere(twin.domain.white + twin.domain.grey + twin.domain.csf > 0)
    assert (inside.min(0) >= 1).all()
    assert (np.array(grid.shape) - 1 - inside.max(0) >= 1).all()
    assert inside.min() <= 3


def test_brain_and_tissue(twin):
    domain = twin.domain
    total = domain.white + domain.grey + domain.csf
    assert total.max() <= 1 + 1e-5
    assert dice(total > 0.5, twin.structures["brain"] > 0.5) > 0.95
    assert domain.csf[domain.mask].mean() < 0.1
    assert domain.white[domain.mask].mean() > 0.25
    assert domain.grey[domain.mask].mean() > 0.25


def test_the_brain_drawn_for_the_plan_is_used(twin, patient):
    drawn = patient.structures["brain"]
    note = next(f for f in twin.findings if "the brain is that of the mask 'brain'" in f.what)
    assert note.severity is Severity.NOTE
    # the twin's voxels may reach over the drawn edge by half of their width
    assert (average(drawn, twin.domain.grid)[twin.domain.mask] > 0).mean() > 0.99


def test_the_tumor_is_where_it_is(twin, synthetic, true_transforms):
    for observation, visit, true, least in zip(
        twin.observations, synthetic.visits, true_transforms, (0.75, 0.75, 0.9), strict=True
    ):
        truth = {
            n: average(synthetic.truth_arrays[f"{visit.label}/mask {n}"], twin.domain.grid, true) > 0.5
            for n in ("whole", "enhancing")
        }
        assert dice(observation.whole > 0.5, truth["whole"]) > least
        assert dice(observation.enhancing > 0.5, truth["enhancing"]) > (0.8 if visit.label != "day 95" else 0.6)


def test_left_stays_left(twin):
    # "left frontal": x grows to the patient's left in LPS
    grid = twin.domain.grid
    tumor = grid.to_world(np.argwhere(twin.observations[0].enhancing > 0.5)).mean(0)
    brain = grid.to_world(np.argwhere(twin.domain.mask)).mean(0)
    assert tumor[0] > brain[0] + 15
    assert tumor[1] < brain[1]


def test_sources_and_volumes(twin, synthetic):
    first, second, third = twin.observations
    assert first.source == "segmented"
    assert second.source.startswith("drawn: RTSTRUCT core")
    assert third.source == "drawn: enhancing, necrosis, whole"
    assert third.volumes_ml["enhancing"] == synthetic.truth_arrays["day 95/mask enhancing"].volume_ml
    for observation in twin.observations:
        for name, volume in observation.volumes_ml.items():
            low, high = observation.intervals_ml[name]
            assert low <= volume <= high
        assert observation.cavity is None
    on_grid = first.whole.sum() * twin.domain.grid.voxel_volume / 1000
    assert on_grid == pytest.approx(first.volumes_ml["whole"], rel=0.01)
    assert any("mystery" in f.what for f in twin.findings)


def test_density_is_told_in_the_enhancing_tumor_only(twin):
    for observation in twin.observations:
        told = np.isfinite(observation.density)
        assert not (told & (observation.enhancing <= 0.5)).any()
    told = np.isfinite(twin.observations[0].density)
    assert told.sum() > 500
    assert 0.5 < np.nanmedian(twin.observations[0].density) < 1.05
    assert 0.003 < twin.observations[0].sigma < 0.1
    assert 0.3 < twin.observations[0].correlation_mm < 5


def test_clock_and_therapy(twin, patient):
    assert [o.day for o in twin.observations] == pytest.approx(
        [(v.date - patient.visits[0].date).total_seconds() / 86400 for v in patient.visits]
    )
    fractions = [t for t in patient.treatments if isinstance(t, Fraction)]
    assert len(twin.irradiations) == len(fractions) == 30
    assert [i.day for i in twin.irradiations] == pytest.approx([twin.day(f.time) for f in fractions])
    assert len({id(i.dose) for i in twin.irradiations}) == 1
    np.testing.assert_allclose(twin.irradiations[0].dose * 30, twin.dose, rtol=1e-4)
    gross = twin.structures["GTV"] > 0.9
    assert twin.dose[gross].mean() == pytest.approx(60, rel=0.05)
    assert {a.drug for a in twin.administrations} == {"temozolomide"}


def test_progress_names_every_visit_and_step(twin, reports):
    done, totals, what = zip(*reports, strict=True)
    assert len(set(totals)) == 1
    assert done[0] == 0
    assert reports[-1] == (totals[0], totals[0], "geometry")
    assert list(done) == sorted(done)
    assert all(text.startswith("geometry") for text in what)
    for text in ("atlas, rigid", "atlas, free-form", "tissue", "tumor"):
        assert f"geometry: visit 2 of 3: {text}" in what
    for visit in (1, 3):
        assert f"geometry: visit {visit} of 3: registration" in what
    for text in ("all visits together", "tumor and cell density on the grid"):
        assert f"geometry: {text}" in what


def test_cancelling_geometry_returns_at_once(patient):
    asked, within = [], "visit 2 of 3: atlas, free-form"

    def progress(done, total, what):
        if within in what:
            asked.append(time.monotonic())
            raise Cancelled(what)

    with pytest.raises(Cancelled, match=within):
        build_twin(patient, spacing=4.0, threads=2, progress=progress)
    assert time.monotonic() - asked[0] < 0.5
    # what had begun in other threads ends by itself, long before the whole would have
    while any(thread.name == "geometry" for thread in threading.enumerate()):
        assert time.monotonic() - asked[0] < 60
        time.sleep(0.1)


def test_save_and_load(twin, tmp_path):
    path = twin.save(tmp_path / "twin.npz")
    again = Twin.load(path)
    assert again.observations[2].date == twin.observations[2].date
    np.testing.assert_array_equal(again.domain.white, twin.domain.white)
    np.testing.assert_array_equal(again.observations[0].density, twin.observations[0].density)
    assert len({id(i.dose) for i in again.irradiations}) == 1
    assert again.findings == twin.findings
    assert again.sources == twin.sources
    with pytest.raises(OutputExistsError):
        twin.save(path)
    twin.save(path, overwrite=True)
    (tmp_path / "bad.npz").write_text("no")
    with pytest.raises(ReadError):
        Twin.load(tmp_path / "bad.npz")


def test_it_shows_itself(twin):
    assert "TT-0001" in repr(twin)
    assert "30 fractions" in repr(twin)
    html = twin._repr_html_()
    assert html.count("<tr>") == 5 + 1 + 3
    assert "Research use only" in html


def test_one_image_of_one_visit(patient):
    visit = patient.visits[0]
    lonely = replace(visit, images={MRSequence.T1: visit.images[MRSequence.T1]}, masks={})
    twin = build_twin(Patient("P", (lonely,)), spacing=4.0)
    assert twin.domain.grid.spacing == (4, 4, 4)
    assert 700 < twin.domain.mask.sum() * 0.064 < 2000
    assert not twin.irradiations
    assert twin.dose is None
    assert np.isnan(twin.observations[0].density).all()
    assert not twin.observations[0].whole.any()
    said = " ".join(f.what for f in twin.findings if f.severity is not Severity.NOTE)
    for lack in ("no FLAIR", "contrast agent", "no ADC", "no tumor"):
        assert lack in said


def test_what_cannot_be_built_is_said(patient):
    with pytest.raises(InputError, match="no visit"):
        build_twin(Patient("P", ()))
    visit = patient.visits[0]
    only_adc = replace(visit, images={MRSequence.ADC: visit.images[MRSequence.ADC]}, masks={})
    with pytest.raises(InputError, match="the visits have ADC"):
        build_twin(Patient("P", (only_adc,)))
    with pytest.raises(InputError, match="no visit 7"):
        build_twin(patient, reference=7)
    with pytest.raises(InputError, match="spacing"):
        build_twin(patient, spacing=0.0)


def test_resections(twin, patient):
    time = patient.visits[1].date
    identity = {twin.domain.grid.frame: np.eye(4)}
    cavity = Mask(twin.observations[1].enhancing > 0.5, twin.domain.grid)
    findings = []
    emptied = replace(twin.observations[2], cavity=twin.observations[1].enhancing)
    seen = replace(twin, observations=(*twin.observations[:2], emptied))
    (removal,) = place_therapy(seen, [Resection(time)], identity, []).removals
    np.testing.assert_array_equal(removal.removed, twin.observations[1].enhancing)
    known = place_therapy(twin, [Resection(time, cavity)], identity, findings)
    np.testing.assert_allclose(known.removals[0].removed > 0.5, cavity.array)
    assert not findings
    guessed = place_therapy(twin, [Resection(time)], identity, findings)
    assert findings[0].severity is Severity.ASSUMED
    core = twin.observations[1].enhancing + twin.observations[1].necrosis
    assert 0 < guessed.removals[0].removed.sum() <= core.sum() * 1.001
    last = replace(twin, observations=twin.observations[:1])
    assert not place_therapy(last, [Resection(patient.visits[2].date)], identity, findings).removals
    assert findings[-1].severity is Severity.LEFT_OUT


def test_a_dose_on_unknown_images_is_left_out(twin, patient):
    findings = []
    none = place_therapy(twin, patient.treatments, {"elsewhere": np.eye(4)}, findings)
    assert not none.irradiations
    assert "30 fractions" in findings[0].what


def test_density_from_outlines_and_from_both(patient, twin, surveys, monkeypatch):
    """Without its ADC a visit still has a density; both together keep the ADC's where the outlines say little."""
    # from the looks at a segmented and a drawn visit that there are: the density is taken after them
    survey = replace(surveys[0], looks=surveys[0].looks[::2])
    monkeypatch.setattr("tumortwin.twin.build.survey_head", lambda *args, **options: survey)
    built = {kind: build_twin(patient, cellularity=kind) for kind in ("outlines", "both")}
    for kind, other in built.items():
        for observation in other.observations:
            inside = other.domain.mask
            assert np.isfinite(observation.density[inside]).all(), kind
            assert np.isnan(observation.density[~inside]).all()
            core = (observation.enhancing > 0.9) & inside
            rim = (observation.whole > 0.9) & (observation.enhancing < 0.1) & (observation.necrosis < 0.1) & inside
            far = (observation.whole < 0.01) & inside
            assert observation.density[core].mean() > observation.density[rim].mean() > 0.2
            assert observation.density[far].mean() < 0.05
    with pytest.raises(InputError, match="cellularity is one of"):
        build_twin(patient, cellularity="guess")
