"""The shipped patient: its files are what they were, and what is read from them is what they were made from."""

import hashlib
import json
from datetime import datetime

import numpy as np
import pytest

import tumortwin as tt
from tumortwin.imaging.sequence import MRSequence


@pytest.fixture(scope="module")
def patient(sample) -> tt.Patient:
    return tt.read_patient(sample)


@pytest.fixture(scope="module")
def made(truth) -> dict:
    return json.loads((truth / "truth.json").read_text())


def test_every_file_is_the_one_in_the_manifest(sample):
    listed = dict(reversed(line.split("  ", 1)) for line in (sample.parent / "SHA256SUMS").read_text().splitlines())
    present = {
        p.relative_to(sample.parent).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sample.parent.rglob("*")
        if p.is_file() and p.name not in ("SHA256SUMS", "README.md")
    }
    assert present == listed


def test_the_folder_is_small_enough_to_ship(sample):
    assert sum(p.stat().st_blocks * 512 for p in sample.parent.rglob("*")) <= 40e6


def test_six_visits_in_order_on_their_dates(patient, made):
    dates = [visit.date for visit in patient.visits]
    assert dates == sorted(dates)
    # a visit's date is its first series'; the truth notes the same
    assert dates == [datetime.fromisoformat(v["date"]) for v in made["visits"]]


def test_spacings_and_orientations(patient):
    spacings = [tuple(round(mm, 2) for mm in visit.images[MRSequence.T1GD].grid.spacing) for visit in patient.visits]
    assert spacings == [(2, 2, 2), (2, 1.5, 1.5), (2, 2, 2), (2, 2, 2), (5, 0.9, 0.9), (2, 2, 2)]
    tilts = [
        np.degrees(
            np.arccos(
                min(
                    1.0, abs(visit.images[MRSequence.T1GD].affine[2, 0]) / visit.images[MRSequence.T1GD].grid.spacing[0]
                )
            )
        )
        for visit in patient.visits
    ]
    assert [round(t) for t in tilts] == [0, 0, 0, 18, 0, 0]


def test_thirty_fractions_on_weekdays_and_nothing_assumed(patient):
    fractions = [t for t in patient.treatments if hasattr(t, "dose")]
    assert len(fractions) == 30
    assert {f.time.weekday() for f in fractions} == {0, 1, 2, 3, 4}
    assert (fractions[-1].time.date() - fractions[0].time.date()).days == 39
    assert not patient.findings


@pytest.mark.timeout(900)
def test_the_registration_is_within_a_millimetre_of_the_truth(finished_run, made):
    twin = tt.Twin.load(finished_run.stage("twin"))
    poses = {label: np.array(matrix) for label, matrix in made["transforms"].items()}
    labels = [visit["label"] for visit in made["visits"]]
    reference = np.linalg.inv(poses["planning"])
    brain = twin.domain.grid.to_world(np.argwhere(twin.domain.mask)[::97])
    for seen, label in zip(twin.observations, labels, strict=True):
        error = moved(seen.transform, brain) - moved(poses[label] @ reference, brain)
        assert np.linalg.norm(error, axis=1).mean() <= 1.0, label


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]
