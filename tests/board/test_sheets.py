"""What can be drawn on: the voxels that masks lie on, and what is left out is said."""

from datetime import datetime

import numpy as np
import pytest

from tumortwin.board.cuts import Plane
from tumortwin.board.live import MaskPicture
from tumortwin.board.sheets import Sheet, sheets_of
from tumortwin.errors import InputError
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit

FINE = Grid.regular((20, 30, 40), (3, 2, 1), frame="1.2")
COARSE = Grid.regular((15, 15, 10), 4.0, frame="1.2")


def image(grid: Grid) -> Volume:
    return Volume(np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape), grid)


def block(grid: Grid) -> Mask:
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return Mask((np.abs(world - (18, 28, 28)) < 9).all(-1), grid)


def test_masks_choose_the_image_they_lie_on():
    images = {"T1Gd": image(COARSE), "FLAIR": image(FINE)}
    assert Sheet.of("x", images, {}).own == "T1Gd"
    assert Sheet.of("x", images, {"edema": block(FINE)}).own == "FLAIR"
    sheet = Sheet.of("x", {"T1Gd": image(COARSE)}, {"edema": block(FINE), "Resection cavity": block(COARSE)})
    assert set(sheet.drawn) == {"edema", "cavity"}
    assert sheet.start("edema").volume_ml == pytest.approx(block(FINE).volume_ml, rel=0.25)
    assert sheet.start("edema").grid == COARSE
    assert not sheet.start("whole").array.any()


def test_a_patient_has_a_sheet_a_visit():
    visits = tuple(
        Visit(datetime(2024, 1, day), {MRSequence.T1GD: image(FINE)} if day < 3 else {}) for day in (1, 2, 3)
    )
    assert [sheet.title for sheet in sheets_of(Patient("P", visits))] == ["1: 2024-01-01", "2: 2024-01-02"]
    with pytest.raises(InputError, match="no image to draw on"):
        sheets_of(Patient("P", visits[2:]))


@pytest.mark.parametrize("plane", list(Plane))
def test_a_place_in_the_picture_is_a_place_in_the_slice(plane):
    flipped = FINE.affine.copy()
    flipped[:3, :3] *= -1
    for grid in (FINE, COARSE, Grid(FINE.shape, flipped, "1.2")):
        picture = MaskPicture(grid, plane, {"whole": "#ffffff"})
        picture.show(image(grid), 3, (0, 1), {}, "whole")
        cut = picture.cut
        for index in np.argwhere(np.ones(grid.shape, bool))[::977]:
            index[cut.axes[0]] = 3
            row, column = cut.pixel(index)
            np.testing.assert_allclose(cut.place(row, column), grid.to_world(index))
            np.testing.assert_allclose(
                picture.place((column + 0.5) / grid.shape[cut.axes[2]], (row + 0.5) / grid.shape[cut.axes[1]]),
                grid.to_world(index),
            )


def test_an_image_on_other_voxels_is_shown_where_it_lies():
    import io

    from PIL import Image

    def picture(shown: Volume) -> np.ndarray:
        png = MaskPicture(FINE, "axial", {"whole": "#ff0000"}).show(shown, 9, (0, 1), {"whole": block(FINE)}, "whole")
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)

    def mark(grid: Grid) -> Volume:
        return Volume(block(grid).array.astype(np.float32), grid)

    own, other = picture(mark(FINE)), picture(mark(COARSE))
    # but for a rim of at most one coarse voxel
    assert (np.abs(own - other).max(-1) > 100).mean() < 0.2
    assert np.corrcoef(own.ravel(), other.ravel())[0, 1] > 0.8
    # red where the mask is, grey elsewhere
    assert ((own[..., 0] - own[..., 1]) > 50).mean() == pytest.approx(block(FINE).array[9].mean(), rel=0.15)
