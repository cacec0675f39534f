import numpy as np
import pydicom
import pytest

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid
from tumortwin.imaging.writing.header import hashed_uid
from tumortwin.imaging.writing.planes import images_of_planes, planes_of
from tumortwin.phantom.synthetic import Encoding


def test_planes_of_an_axial_grid():
    planes = planes_of(Grid.regular((3, 4, 5), (6.0, 2.0, 1.5), (10.0, 20.0, -30.0)))
    np.testing.assert_allclose(planes.orientation, [1, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(planes.positions, [[10, 20, -30], [10, 20, -24], [10, 20, -18]])
    assert planes.pixel_spacing == (2.0, 1.5)
    assert planes.spacing == 6.0
    assert planes.rising


def test_a_sheared_grid_is_refused():
    affine = np.array(Grid.regular((3, 4, 5)).affine)
    affine[1, 0] = 0.3
    with pytest.raises(InputError, match="right angles"):
        planes_of(Grid((3, 4, 5), affine))


@pytest.mark.parametrize("encoding", [Encoding.PLAIN, Encoding.ENHANCED])
def test_each_plane_finds_its_image_whatever_the_order(encoding, image_grid, mr_series, tmp_path):
    headers = [pydicom.dcmread(file) for file in mr_series(image_grid, tmp_path, encoding)]
    found = images_of_planes(image_grid, headers[::-1])
    if encoding is Encoding.ENHANCED:
        assert found == [(headers[0], n) for n in range(1, image_grid.shape[0] + 1)]
    else:
        assert [header.SOPInstanceUID for header, _ in found] == [header.SOPInstanceUID for header in headers]
        assert {frame for _, frame in found} == {None}


def test_images_that_do_not_show_the_grid_are_refused(image_grid, image_files):
    headers = [pydicom.dcmread(file) for file in image_files]
    elsewhere = np.array(image_grid.affine)
    elsewhere[0, 3] += 0.5
    coarse = np.array(image_grid.affine)
    coarse[:3, 1] *= 1.01
    nearer = Grid((image_grid.shape[0] - 1, *image_grid.shape[1:]), image_grid.affine, image_grid.frame)
    assert len(images_of_planes(nearer, headers)) == len(headers) - 1
    for grid, message in [
        (Grid(image_grid.shape, elsewhere, image_grid.frame), "none of the 11 source images"),
        (Grid(image_grid.shape, coarse, image_grid.frame), "none of the 11 source images"),
        (Grid(image_grid.shape, image_grid.affine, hashed_uid("other")), "frame of reference"),
        (Grid((11, 33, 27), image_grid.affine, image_grid.frame), "rows, columns"),
    ]:
        with pytest.raises(InputError, match=message):
            images_of_planes(grid, headers)
