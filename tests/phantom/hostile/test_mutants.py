"""A sample of the hostile series: each loaded, repaired or refused as it should be, and said so.

All of them, and other readers beside ours: benchmarks/corpus.py.
"""

import warnings

import numpy as np
import pytest

from tumortwin.phantom.hostile.mutants import mutants
from tumortwin.phantom.hostile.specimens import Expected, specimens
from tumortwin.phantom.hostile.verdicts import Reading, Verdict, judge, our_verdict

RIGHTLY = {Expected.LOADED: Verdict.RIGHT, Expected.REPAIRED: Verdict.REPAIRED, Expected.REFUSED: Verdict.REFUSED}


@pytest.fixture(scope="module")
def sample():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom says of some that they are against the standard: they are
        return list(mutants(1, sample=True))


def test_each_is_loaded_repaired_or_refused_as_it_should_be(sample, tmp_path):
    astray = []
    for n, mutant in enumerate(sample):
        folder = tmp_path / str(n)
        mutant.write(folder)
        verdict, why = our_verdict(mutant, folder)
        if verdict is not RIGHTLY[mutant.expected] or why.startswith("does not say"):
            astray.append(f"{mutant.case}: {mutant.name}: {verdict}, expected {mutant.expected}; {why}")
    assert not astray, "\n".join(astray)
    assert len(sample) >= 150
    assert {m.expected for m in sample} == set(Expected)


def test_equal_seeds_give_equal_files(sample):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = list(mutants(1, sample=True))
    assert [m.files for m in again] == [m.files for m in sample]


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (lambda a, m: (a, m), Verdict.RIGHT),
        (lambda a, m: (a[::-1, :, ::-1], m @ np.diag([-1.0, 1, -1, 1]) + shifted(m, a.shape)), Verdict.RIGHT),
        (lambda a, m: (a[::-1], m), Verdict.WRONG),
        (lambda a, m: (a, m @ np.diag([1.01, 1, 1, 1])), Verdict.WRONG),
        (lambda a, m: (a, m + np.eye(4)[:, :1] * [0, 0, 0, 0.5]), Verdict.WRONG),
        (lambda a, m: (a * 1.01, m), Verdict.WRONG),
        (lambda a, m: (a[1:], m + shifted(m, (0, 0, 0), (1, 0, 0))), Verdict.REFUSED),
    ],
    ids=["as it is", "flipped with its affine", "flipped", "stretched", "moved", "scaled", "a slice short"],
)
def test_the_judge_sees_wrong_geometry_and_scale(spoil, verdict):
    specimen = specimens(np.random.default_rng(0))["double oblique MR"]
    array = np.stack([specimen.values(specimen.world(k)) for k in range(specimen.n)])
    given = Reading(*spoil(array, np.array(specimen.grid.affine)))
    assert judge([given], [specimen.truth()])[0] is verdict


def shifted(affine, shape, by=None):
    """What moves an affine's origin to another voxel."""
    index = np.array([shape[0] - 1, 0, shape[2] - 1]) if by is None else np.array(by)
    change = np.zeros((4, 4))
    change[:3, 3] = affine[:3, :3] @ index
    return change
