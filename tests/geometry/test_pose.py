"""Visits that need no registration."""

import numpy as np
import pytest

from tumortwin.geometry.head import Head
from tumortwin.geometry.pose import pose_of
from tumortwin.imaging.findings import Severity
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Volume


def image(frame: str = "f", origin: float = 0.0) -> Volume:
    grid = Grid.regular((4, 5, 6), 2.0, origin, frame)
    return Volume(np.random.default_rng(0).random((4, 5, 6), np.float32), grid)


@pytest.fixture
def head() -> Head:
    return Head({MRSequence.T1GD: image(), MRSequence.ADC: image()}, None, None, None, ())  # type: ignore[arg-type]


def test_diffusion_maps_on_the_references_voxels_are_taken_as_aligned(head: Head) -> None:
    pose = pose_of(head, {MRSequence.ADC: image()}, "visit 2")
    np.testing.assert_array_equal(pose.transform, np.eye(4))
    (finding,) = pose.findings
    assert finding.severity is Severity.ASSUMED
    assert "not registered" in finding.action


@pytest.mark.parametrize(
    "images",
    [
        {MRSequence.ADC: image("g")},
        {MRSequence.ADC: image(origin=1.0)},
        {MRSequence.T1GD: image(), MRSequence.ADC: image()},
    ],
)
def test_all_others_are_registered(head: Head, images: dict[MRSequence, Volume]) -> None:
    with pytest.raises(AttributeError):  # the tissue, which this head lacks, would be looked at
        pose_of(head, images)
