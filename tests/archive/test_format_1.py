"""Files of format 1, written by v0.1.0, hold what v0.1.0 said of them (``tests/data/format1/make.py``)."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from tumortwin import archive
from tumortwin.archive import container, renames
from tumortwin.errors import ReadError
from tumortwin.imaging.volume import Dose
from tumortwin.vault import VaultError

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def values(format_1, kinds):
    return {name: archive.load(format_1 / f"{name}.npz", kind) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def numbers(format_1):
    """What v0.1.0 printed."""
    return json.loads((format_1 / "numbers.json").read_text())


def flat(value) -> list:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, list) else [value]


def same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        # equal but for the last digits: some of the numbers are computed
        expect = [pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for v in flat(value)]
        assert flat(actual[name]) == expect, name


def test_patient(values, numbers):
    patient = values["patient"]
    same(
        {
            "visits": len(patient.visits),
            "GTV mL": patient.structures["GTV"].volume_ml,
            "mean dose Gy": float(patient.dose.array.mean()),
            "prescribed Gy": patient.plan.prescribed,
        },
        numbers["patient"],
    )
    assert [str(s) for s in patient.visits[0].images] == ["T1Gd", "T1"]


def test_twin(values, numbers):
    twin = values["twin"]
    same(
        {
            "tissue mL": float(twin.domain.mask.sum()) * twin.domain.grid.voxel_volume / 1000,
            "whole mL": [o.volumes_ml["whole"] for o in twin.observations],
            "similarity": [o.registration.similarity for o in twin.observations[1:]],
            "displacement mm": [float(o.displacement.vectors.max()) for o in twin.observations[1:]],
            "largest dose Gy": float(twin.dose.max()),
            "sum of fractions Gy": float(sum(i.dose.max() for i in twin.irradiations)),
            "temozolomide mg/m2": sum(a.amount for a in twin.administrations),
            "weight kg": twin.clinical.weight_kg,
        },
        numbers["twin"],
    )


def test_calibration(values, numbers):
    fit = values["calibration"]
    same(
        {
            "estimates": [[e.value, e.low, e.high] for e in fit.estimates],
            "ensemble": fit.ensemble,
            "effective voxels per sample": fit.diagnostics.voxels_per_sample,
            "solves": fit.diagnostics.solves,
            "sigma of the whole tumor": fit.diagnostics.sigma["whole"],
        },
        numbers["calibration"],
    )


def test_forecast(values, numbers):
    forecast = values["forecast"]
    same(
        {
            "whole mL": forecast.volumes["whole"].median,
            "core mL": forecast.volumes["core"].median,
            "core's 95th percentile mL": forecast.volumes["core"].p95,
            "core's threshold": forecast.thresholds["core"],
            "core's probability": float(forecast.fields[0].probability["core"].astype(float).sum()),
            "dice": forecast.score(values["twin"].observations[-1])["whole"].dice,
        },
        numbers["forecast"],
    )


def test_plan(values, numbers):
    front = values["plan"]
    stem = next(o for o in front.delivered.organs if o.structure == "BrainStem")
    same(
        {
            "schedules": [o.name for o in front.options],
            "total Gy": [o.schedule.total for o in front.options],
            "progression days": [
                [o.outcome.progression.median, o.outcome.progression.low, o.outcome.progression.high]
                for o in front.options
            ],
            "limits": front.constraint_set,
            "brainstem checks": [[c.value, c.constraint.limit, c.met] for c in stem.checks],
            "core mL": front.delivered.outcome.volumes_ml["core"].median,
            "rank agreement": front.rank_agreement,
            "volumes mL": [float(h.volume_ml[0]) for h in front.histograms],
        },
        numbers["plan"],
    )


def test_board(values, numbers):
    report = values["board"]
    same(
        {
            "scan days": [s.day for s in report.scans],
            "roles": [str(s.role) for s in report.scans],
            "whole mL": [float(b.median[-1]) for b in report.bands if b.quantity == "whole"],
            "dice": [s.dice for s in report.scores],
            "EQD2 Gy": [o.eqd2 for o in report.options],
            "limits kept": [o.met for o in report.options],
            "parameters": [p.value for p in report.parameters],
        },
        numbers["board"],
    )


def test_quality(values, numbers):
    report = values["quality"]
    picture = report.visits[0].pictures[0]
    same(
        {
            "roles": [v.role for v in report.visits],
            "similarity": report.visits[1].registration.similarity,
            "plane": str(picture.plane),
            "mean gray value": float(picture.image.array.astype(float).mean()),
        },
        numbers["quality"],
    )


def test_encrypted(format_1, numbers):
    path = format_1 / "encrypted.npz"
    dose = archive.load(path, Dose, passphrase=PASSPHRASE)
    assert float(dose.array.sum()) == numbers["dose"]["sum"]
    with pytest.raises(VaultError, match=r"encrypted\.npz is encrypted: give its passphrase"):
        archive.load(path, Dose)


def leaves(node) -> Counter:
    """Numbers and dates of a tree, whatever the fields are called."""
    match node:
        case {"dataclass": _, "fields": fields}:
            return sum(map(leaves, fields.values()), Counter())
        case {"tuple": items}:
            return sum(map(leaves, items), Counter())
        case {"mapping": pairs}:
            return sum((leaves(value) for _, value in pairs), Counter())
        case {"float": text} | {"datetime": text}:
            return Counter([text])
        case bool() | int() | float():
            return Counter([node])
    return Counter()


def test_nothing_is_lost(values, format_1, tmp_path):
    for name, value in values.items():
        (old, sealed), (new, _) = (
            container.read(path.read_bytes())
            for path in (format_1 / f"{name}.npz", archive.save(value, tmp_path / f"{name}.npz"))
        )
        assert not sealed
        one, two = (json.loads(arrays.pop("tree").tobytes())["value"] for arrays in (old, new))
        assert leaves(one)
        assert not leaves(one) - leaves(two), name
        there = {(a.dtype, a.shape, a.tobytes()) for a in new.values()}
        assert {(a.dtype, a.shape, a.tobytes()) for a in old.values()} <= there, name


def test_every_class_of_format_1_occurs_in_a_file(format_1, kinds):
    names = set()
    for name in kinds:
        tree = container.read((format_1 / f"{name}.npz").read_bytes())[0]["tree"].tobytes().decode()
        names |= set(re.findall(r'"(?:dataclass|enum)": "([^"]+)"', tree))
    assert names == set(renames.FORMAT_1_CLASSES)


def test_a_class_that_v010_did_not_save_is_refused(write_tree):
    node = {"dataclass": "tumortwin.imaging.volume:Grids", "fields": {}}
    with pytest.raises(ReadError, match=r"'tumortwin\.imaging\.volume:Grids', which is nothing that tumortwin saves"):
        archive.load(write_tree(node, 1), Dose)
