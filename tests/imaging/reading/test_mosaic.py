"""Siemens mosaics, held against dcm2niix and nibabel on real files and on made ones."""

import gzip
import subprocess
from io import BytesIO
from pathlib import Path

import dcm2niix
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.nicom import csareader, dicomwrappers

from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.reading.mosaic import parse_csa
from tumortwin.phantom.hostile.multiframe import csa_header

REAL = Path(nibabel.__file__).parent / "nicom/tests/data/siemens_dwi_1000.dcm.gz"


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosaic")
    (folder / "a.dcm").write_bytes(gzip.decompress(REAL.read_bytes()))
    study = read_folder(folder)
    assert any("a Siemens mosaic of 48 slices" in f.what for f in study.findings)
    return folder, study.images[0].volume


def test_a_real_mosaic_lies_where_nibabel_says(unfolded):
    folder, volume = unfolded
    wrapper = dicomwrappers.wrapper_from_file(folder / "a.dcm")
    data, affine = wrapper.get_data(), wrapper.affine  # (row, column, slice) to RAS
    np.testing.assert_array_equal(volume.array, np.transpose(data, (2, 0, 1)))
    corners = np.array([(0, 0, 0), (0, 127, 0), (0, 0, 127), (47, 127, 127)])
    # nibabel's DICOM affines are in the patient's LPS
    theirs = corners[:, [1, 2, 0]] @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(volume.grid.to_world(corners), theirs, atol=0.01)


def test_a_real_mosaic_lies_where_dcm2niix_says(unfolded, tmp_path):
    folder, volume = unfolded
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "a", "-o", tmp_path, folder]
    subprocess.run(command, check=True, capture_output=True)
    image = nibabel.load(tmp_path / "a.nii")
    affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
    index = np.round(
        (volume.grid.to_world([(0, 0, 0), (47, 127, 127)]) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T, 3
    )
    whole = np.round(index).astype(int)
    assert np.abs((index - whole) @ affine[:3, :3].T).max() < 0.01
    for place, value in zip(whole, (volume.array[0, 0, 0], volume.array[47, 127, 127]), strict=True):
        assert image.dataobj[tuple(place)] == value
    assert sorted(image.shape[:3]) == sorted(volume.array.shape)


def test_csa_headers_are_read_as_nibabel_reads_them():
    content = pydicom.dcmread(BytesIO(gzip.decompress(REAL.read_bytes())))[0x00291010].value
    ours, theirs = parse_csa(content), csareader.read(content)["tags"]
    assert set(ours) == set(theirs)
    for name in ("SliceNormalVector", "NumberOfImagesInMosaic", "B_value", "ImagePositionPatient"):
        assert [float(v) for v in ours[name]] == [float(v) for v in theirs[name]["items"]]


@given(st.binary(max_size=300), st.integers(0, 200))
def test_a_damaged_csa_header_gives_what_it_can(noise, at):
    whole = csa_header(SliceNormalVector=["0", "0", "1"], NumberOfImagesInMosaic=["12"])
    assert parse_csa(whole) == {"SliceNormalVector": ["0", "0", "1"], "NumberOfImagesInMosaic": ["12"]}
    assert isinstance(parse_csa(whole[:at] + noise), dict)
