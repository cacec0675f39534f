"""The options of building: what they hold, and what they refuse."""

from datetime import datetime

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit
from tumortwin.twin import BuildOptions, build_twin


def patient_of(edge_mm: float) -> Patient:
    """Ten voxels of an edge in each direction."""
    grid = Grid.regular((10, 10, 10), edge_mm)
    return Patient(
        "P", (Visit(datetime(2024, 1, 1), {MRSequence.T1: Volume(np.arange(1000.0).reshape(grid.shape), grid)}),)
    )


@pytest.mark.parametrize(
    ("edge_mm", "spacing", "said"),
    [
        (2.0, 5.0, "the largest image, 20 x 20 x 20 mm, has less than 8 voxels of this edge in any direction"),
        (90.0, 0.5, "even the smallest image, 900 x 900 x 900 mm, has 5832 million voxels of this edge, 21.7 GiB"),
    ],
)
def test_a_spacing_that_cannot_go_with_the_images(edge_mm, spacing, said):
    with pytest.raises(InputError, match=said):
        build_twin(patient_of(edge_mm), spacing=spacing)


def test_a_pose_is_kept_as_numbers_and_a_file_recorded_by_its_content(tmp_path):
    file = tmp_path / "Smith.tfm"
    file.write_text("one")
    options = BuildOptions(transforms={"1": np.eye(4), 2: file})
    assert options.transforms == {1: tuple(map(tuple, np.eye(4).tolist())), 2: str(file)}
    assert options == BuildOptions(transforms=options.transforms)
    first = options.record()["transforms"]
    assert "Smith" not in str(first)
    file.write_text("two")
    assert options.record()["transforms"]["2"] != first["2"]


def test_a_mask_is_recorded_by_its_content():
    grid = Grid.regular((2, 2, 2))
    one, other = (BuildOptions(organ=Mask(np.full(grid.shape, full), grid)).record() for full in (True, False))
    assert one["organ"].startswith("a mask, sha256 ")
    assert one["organ"] != other["organ"]


def test_a_matrix_that_is_no_rigid_motion_is_refused_at_once():
    with pytest.raises(InputError, match=r"transforms\[1\]: it scales or shears"):
        BuildOptions(transforms={1: np.diag([2.0, 1, 1, 1])})
