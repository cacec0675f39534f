"""What a reader needs of private elements stays, and nothing else of them does."""

import gzip
import struct
import subprocess
import warnings
from io import BytesIO
from pathlib import Path

import dcm2niix
import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.nicom import csareader, dicomwrappers
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tumortwin.imaging.deidentification import deidentify
from tumortwin.imaging.deidentification.cleaning import Cleaner, Person
from tumortwin.imaging.deidentification.private import LISTED, UNLISTED
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.phantom.hostile import files, geometry, multiframe, values
from tumortwin.phantom.hostile.multiframe import csa_header, mosaic
from tumortwin.phantom.hostile.specimens import Expected, specimens

KEY = bytes(range(32))
REAL = Path(nibabel.__file__).parent / "nicom/tests/data/siemens_dwi_1000.dcm.gz"
NAMES = ("Weatherby", "40718833", "19410917")


def same(before, after):
    """Volumes bit by bit, where they are within 0.01 mm, what they show, and all days moved by as much."""

    def ordered(study):
        return sorted(study.images, key=lambda i: (str(i.sequence), i.volume.array.shape, i.volume.array.sum()))

    pairs = list(zip(ordered(before), ordered(after), strict=True))
    for a, b in pairs:
        np.testing.assert_array_equal(a.volume.array, b.volume.array)
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.volume.array.shape])).reshape(3, -1).T
        np.testing.assert_allclose(b.volume.grid.to_world(corners), a.volume.grid.to_world(corners), atol=0.01)
        assert (a.sequence, a.volume.unit) == (b.sequence, b.volume.unit)
    assert len({a.date - b.date for a, b in pairs}) == 1
    return len(pairs)


SPOILED = {
    "mosaics": multiframe.mosaics,
    "Philips, by frame": multiframe.enhanced_philips,
    "Philips": values.philips_scales,
    "b-values": geometry.several_b_values,
    "one UID for all": geometry.repeated_uid,
    "gzip": files.gzipped,
    "numbers as text": files.bad_vr,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_what_can_be_read_is_the_same_after(spoil, tmp_path):
    made = 0
    for n, mutant in enumerate(spoil(specimens(np.random.default_rng(3))["double oblique MR"])):
        if mutant.expected is Expected.REFUSED:
            continue
        mutant.write(tmp_path / f"{n}")
        deidentify(tmp_path / f"{n}", tmp_path / f"{n}-out", key=KEY)
        made += same(read_folder(tmp_path / f"{n}"), read_folder(tmp_path / f"{n}-out"))
    assert made


def test_compressed_frames_without_a_stated_syntax_stay_readable(tmp_path):
    made = list(files.no_meta(specimens(np.random.default_rng(3))["axial MR"]))
    bare = [m for m in made if m.case == "missing transfer syntax" and m.expected is not Expected.REFUSED]
    assert len(bare) >= 4
    for n, mutant in enumerate(bare):
        mutant.write(tmp_path / f"{n}")
        deidentify(tmp_path / f"{n}", tmp_path / f"{n}-out", key=KEY)
        same(read_folder(tmp_path / f"{n}"), read_folder(tmp_path / f"{n}-out"))


def planted_mosaic(descending: bool) -> Dataset:
    """A mosaic whose CSA header is full of names: in tags, in the tags that are needed, behind the last one."""
    data = mosaic(specimens(np.random.default_rng(3))["double oblique MR"], descending=descending)
    csa = data[0x00291010]
    needed = csareader.read(csa.value)["tags"]
    normal = [str(v) for v in needed["SliceNormalVector"]["items"]]
    count = [str(v) for v in needed["NumberOfImagesInMosaic"]["items"]]
    csa.value = (
        csa_header(
            PatientName=[NAMES[0]],
            NumberOfImagesInMosaic=[*count, NAMES[1]],
            SliceNormalVector=[*normal, NAMES[0]],
            AcquisitionDate=[NAMES[2]],
            Weatherby=["1"],
            AcquisitionMatrixText=["64*64 " + NAMES[0]],
        )
        + NAMES[0].encode()
        + NAMES[1].encode()
    )
    block = data.private_block(0x0029, "SIEMENS CSA HEADER")
    block.add_new(0x20, "OB", csa_header(PatientName=[NAMES[0]]))
    block.add_new(0x09, "LO", NAMES[1])
    return data


@pytest.mark.parametrize("descending", [False, True])
def test_a_mosaic_keeps_its_order_and_loses_its_names(descending, tmp_path, dicom_errors):
    data = planted_mosaic(descending)
    (tmp_path / "in").mkdir()
    data.save_as(tmp_path / "in" / "a.dcm", implicit_vr=False)
    assert all(name.encode() in (tmp_path / "in" / "a.dcm").read_bytes() for name in NAMES)
    report = deidentify(tmp_path / "in", tmp_path / "out", key=KEY)
    assert same(read_folder(tmp_path / "in"), read_folder(tmp_path / "out")) == 1
    (path,) = report.folder.rglob("*.dcm")
    assert not [name for name in NAMES if name.encode() in path.read_bytes()]
    assert set(dicom_errors(path)) <= set(dicom_errors(tmp_path / "in" / "a.dcm"))
    clean = pydicom.dcmread(path)
    assert [str(e.tag) for e in clean if e.tag.is_private] == [
        "(0019,0010)",
        "(0019,100A)",
        "(0029,0010)",
        "(0029,1010)",
    ]
    said = csareader.read(clean[0x00291010].value)["tags"]
    assert set(said) == {"NumberOfImagesInMosaic", "SliceNormalVector"}
    assert ("113111", "Retain Safe Private Option") in report.codes
    # again: the same bytes
    again = deidentify(tmp_path / "in", tmp_path / "again", key=KEY)
    assert next(again.folder.rglob("*.dcm")).read_bytes() == path.read_bytes()


def test_a_real_mosaic_lies_where_it_did_for_others_too(tmp_path):
    """nibabel and dcm2niix make of a real mosaic what they made of it before."""
    (tmp_path / "in").mkdir()
    content = pydicom.dcmread(BytesIO(gzip.decompress(REAL.read_bytes())))
    content.PatientID = "40718833"  # it has none, and would be left out
    content.save_as(tmp_path / "in" / "a.dcm")
    report = deidentify(tmp_path / "in", tmp_path / "out", key=KEY)
    assert same(read_folder(tmp_path / "in"), read_folder(tmp_path / "out")) == 1
    (path,) = report.folder.rglob("*.dcm")
    assert len(pydicom.dcmread(path)[0x00291010].value) < 700 < len(content[0x00291010].value)
    before, after = (dicomwrappers.wrapper_from_file(p) for p in (tmp_path / "in" / "a.dcm", path))
    np.testing.assert_array_equal(before.get_data(), after.get_data())
    corners = np.array([(0, 0, 0, 1), (127, 127, 47, 1)])
    np.testing.assert_allclose(corners @ after.affine.T, corners @ before.affine.T, atol=0.01)
    images = []
    for name, folder in (("before", tmp_path / "in"), ("after", path.parent)):
        command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", name, "-o", tmp_path, folder]
        subprocess.run(command, check=True, capture_output=True)
        images.append(nibabel.load(tmp_path / f"{name}.nii"))
    np.testing.assert_array_equal(images[0].dataobj, images[1].dataobj)
    np.testing.assert_allclose(corners @ images[1].affine.T, corners @ images[0].affine.T, atol=0.01)


@pytest.mark.parametrize(
    "csa",
    [
        csa_header(NumberOfImagesInMosaic=["12"]),
        csa_header(NumberOfImagesInMosaic=["12"], SliceNormalVector=["0.6", "0.8", "0"]),
        csa_header(NumberOfImagesInMosaic=["12"], SliceNormalVector=["nan", "0", "1"]),
        csa_header(NumberOfImagesInMosaic=["40718833"], SliceNormalVector=["0", "0", "1"]),
        csa_header(NumberOfImagesInMosaic=["Weatherby"], SliceNormalVector=["0", "0", "1"]),
        b"SV10" + NAMES[0].encode() * 20,
        struct.pack("<I", 2) + NAMES[0].encode(),
        b"",
    ],
    ids=["no normal", "oblique", "nan", "a number of a person", "a name", "no header", "cut", "empty"],
)
def test_a_csa_header_that_does_not_fit_goes(csa):
    data = planted_mosaic(False)
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data[0x00291010].value = csa
    Cleaner(Person(Pseudonym(KEY, "P"))).clean(data)
    assert Tag(0x00291010) not in data
    assert Tag(0x00290010) not in data


def test_a_csa_header_of_a_single_slice_goes():
    data = planted_mosaic(False)
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    Cleaner(Person(Pseudonym(KEY, "P"))).clean(data)
    assert Tag(0x00291010) not in data


def test_the_scale_of_a_frame_stays_and_its_neighbors_go():
    (mutant,) = multiframe.enhanced_philips(specimens(np.random.default_rng(3))["axial MR"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(pydicom.filebase.DicomBytesIO(next(iter(mutant.files.values()))))
    for group in data.PerFrameFunctionalGroupsSequence:
        inner = group[0x2005, 0x140F].value[0]
        inner.PatientName, inner.SOPInstanceUID = NAMES[0], "1.2.3"
        inner.private_block(0x2005, "Philips MR Imaging DD 001").add_new(0x18, "LO", NAMES[0])
    Cleaner(Person(Pseudonym(KEY, "P"))).clean(data)
    left = {str(e.tag) for g in data.PerFrameFunctionalGroupsSequence for e in g[0x2005, 0x140F].value[0]}
    assert left == {"(2005,0010)", "(2005,100E)"}


def test_the_code_is_written_only_where_something_stays(tmp_path):
    """Siemens' block with nothing in it that a reader needs is no reason to say that private elements stay."""
    for n, low in enumerate((0x08, 0x0C)):
        data = specimens(np.random.default_rng(3))["axial MR"].slice(0)
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(low, "IS", "4")
        (tmp_path / f"{n}").mkdir()
        data.save_as(tmp_path / f"{n}" / "a.dcm", implicit_vr=False)
        codes = [code for code, _ in deidentify(tmp_path / f"{n}", tmp_path / f"{n}-out", key=KEY).codes]
        assert ("113111" in codes) == (low == 0x0C)


@pytest.mark.parametrize(
    ("group", "creator", "low", "vr", "value"),
    [
        (0x0043, "GEMS_PARM_01", 0x39, "IS", ["2000000800", "8", "0", "0"]),
        (0x0043, "GEMS_PARM_01", 0x39, "IS", ["800", "1000000008", "0", "0"]),
        (0x7053, "Philips PET Private Group", 0x00, "DS", "40718833000000000"),
        (0x0019, "GEMS_ACQU_01", 0xBB, "DS", "40718833000000000"),
        (0x0019, "SIEMENS MR HEADER", 0x0E, "FD", [4.0718833e16, 0.0, 0.0]),
        (0x0019, "SIEMENS MR HEADER", 0x0E, "FD", [float("nan"), 0.0, 0.0]),
        (0x0019, "SIEMENS MR HEADER", 0x0E, "FD", []),
        (0x0019, "SIEMENS MR HEADER", 0x0C, "LO", "1000"),
        (0x0019, "Siemens", 0x0C, "IS", "1000"),
    ],
)
def test_numbers_beyond_their_bounds_go(group, creator, low, vr, value):
    data = Dataset()
    with pydicom.config.disable_value_validation():
        data.private_block(group, creator, create=True).add_new(low, vr, value)
        Cleaner(Person(Pseudonym(KEY, "P"))).clean(data)
    assert not list(data)


def test_what_stays_is_what_pydicom_says_it_is():
    """VR and number of values of every private element that stays, against pydicom's private dictionary."""
    from pydicom.datadict import private_dictionary_VM, private_dictionary_VR

    for table in (LISTED, UNLISTED):
        for (group, creator), elements in table.items():
            for low, (vr, count, _) in elements.items():
                tag = Tag(group, 0x1000 + low)
                assert (private_dictionary_VR(tag, creator), private_dictionary_VM(tag, creator)) == (vr, str(count))
