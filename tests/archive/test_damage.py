"""Whatever byte of a saved file is changed or lost: an error that names the file, never another value."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tumortwin import archive, vault
from tumortwin.archive import container
from tumortwin.calibration import Calibration
from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding
from tumortwin.twin import Twin

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def saved(format_1, tmp_path_factory) -> dict[str, tuple[Path, type]]:
    """A twin, a calibration and an encrypted twin of today's format."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault, "LOG2_N", 10)
        twin = Twin.load(format_1 / "twin.npz")
        return {
            "twin": (twin.save(folder / "twin.npz"), Twin),
            "encrypted": (twin.save(folder / "encrypted.npz", passphrase=PASSPHRASE), Twin),
            "calibration": (
                Calibration.load(format_1 / "calibration.npz").save(folder / "calibration.npz"),
                Calibration,
            ),
        }


def refused(path: Path, kind: type) -> None:
    with pytest.raises(ReadError) as caught:  # of which VaultError is one
        archive.load(path, kind, passphrase=PASSPHRASE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["twin", "calibration", "encrypted"])
def test_a_changed_byte_is_noticed_wherever_it_is(saved, tmp_path, name):
    path, kind = saved[name]
    archive.load(path, kind, passphrase=PASSPHRASE)
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    # at random places, and throughout the head and the end, where no checksum of the zip file's reaches
    places = [*rng.integers(0, len(content), 200), *range(60), *range(len(content) - 120, len(content))]
    for place, change in zip(places, rng.integers(1, 256, len(places)), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= int(change)
        (tmp_path / "damaged.npz").write_bytes(damaged)
        refused(tmp_path / "damaged.npz", kind)


@pytest.mark.parametrize("name", ["twin", "calibration", "encrypted"])
def test_a_file_cut_short_or_with_more_at_its_end_is_noticed(saved, tmp_path, name):
    path, kind = saved[name]
    content = path.read_bytes()
    lengths = [0, 1, 7, *np.random.default_rng(6).integers(8, len(content), 20), len(content) - 1]
    for length in lengths:
        (tmp_path / "cut.npz").write_bytes(content[:length])
        refused(tmp_path / "cut.npz", kind)
    for more in (b"\0", b"more", content):
        (tmp_path / "cut.npz").write_bytes(content + more)
        refused(tmp_path / "cut.npz", kind)


def test_a_changed_byte_of_format_1_never_gives_another_value(format_1, tmp_path):
    """Without a checksum, what the zip file does not need can change; nothing that is read from it."""
    content = (format_1 / "twin.npz").read_bytes()
    twin = Twin.load(format_1 / "twin.npz")
    good = twin.save(tmp_path / "good.npz").read_bytes()
    rng = np.random.default_rng(7)
    unnoticed = 0
    for place, change in zip(rng.integers(0, len(content), 200), rng.integers(1, 256, 200), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= int(change)
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            back = Twin.load(tmp_path / "damaged.npz")
        except ReadError:
            continue
        unnoticed += 1
        assert back.save(tmp_path / "back.npz", overwrite=True).read_bytes() == good
    assert unnoticed < 100


def zip_of(**members: bytes) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    np.save(buffer := io.BytesIO(), array)
    return buffer.getvalue()


def tree_of(text: bytes) -> bytes:
    return zip_of(tree_npy=npy(np.frombuffer(text, np.uint8)))


def header(shape: str, descr: str = "'|u1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


DAMAGED = "is damaged, or no value saved by tumortwin: "
FOREIGN = {
    "empty": (b"", DAMAGED + "File is not a zip file"),
    "text": (b"no archive", DAMAGED + "File is not a zip file"),
    "cut off": (b"PK\x03\x04 cut off", DAMAGED),
    "empty zip": (zip_of(), "holds arrays, but no value saved by tumortwin"),
    "document": (zip_of(word_xml=b"<w/>"), DAMAGED),
    "npz without tree": (zip_of(a0_npy=npy(np.eye(2))), "holds arrays, but no value saved by tumortwin"),
    "no json": (tree_of(b"{format"), DAMAGED + "its tree cannot be read"),
    "no text": (tree_of(b"\xff\xfe"), DAMAGED + "its tree cannot be read"),
    "list": (tree_of(b"[1, 2]"), DAMAGED + "its tree cannot be read"),
    "no format": (tree_of(b'{"value": 1}'), DAMAGED + "its tree cannot be read"),
    "no value": (tree_of(b'{"format": 1}'), DAMAGED + "its tree cannot be read"),
    "nested": (tree_of(b"[" * 100_000), DAMAGED + "its tree cannot be read"),
    "format 0": (tree_of(b'{"format": 0, "value": 1}'), DAMAGED + "its format is 0"),
    "format in words": (tree_of(b'{"format": "1", "value": 1}'), DAMAGED + "its format is '1'"),
    "no checksum": (tree_of(b'{"format": 2, "value": 1}'), DAMAGED + "its checksum is missing"),
    "newer": (
        tree_of(b'{"format": 99, "value": 1}'),
        "is of a newer format (99; this version reads up to 2): update tumortwin",
    ),
    "pickle": (zip_of(tree_npy=npy(np.array([{1}, "a"], object))), DAMAGED + "tree.npy holds object, not numbers"),
    "strings": (zip_of(tree_npy=npy(np.array(["a"]))), DAMAGED + "tree.npy holds <U1, not numbers"),
    "bomb in the header": (zip_of(tree_npy=header("(1000000000000000,)")), "tree.npy is not as long as it says"),
    "negative": (zip_of(tree_npy=header("(-1, -8)") + b"12345678"), "tree.npy is not as long as it says"),
    "no shape": (zip_of(tree_npy=header("'a'") + b"1"), DAMAGED),
    "brackets": (zip_of(tree_npy=header("(" * 60)), DAMAGED),
    "no header": (zip_of(tree_npy=b"\x93NUMPY\x01\x00"), DAMAGED),
    "newer numpy": (zip_of(tree_npy=b"\x93NUMPY\x09\x00"), DAMAGED + "tree.npy is of another version"),
}


@pytest.mark.parametrize(("content", "said"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_saved_value_is_refused(tmp_path, content, said):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        archive.load(path, Finding)
    assert str(caught.value).startswith(f"{path} ")
    assert said in str(caught.value)


def test_a_file_that_declares_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("tree.npy", b"\0" * 1000)
        file.infolist()[0].file_size = 1 << 40
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(ReadError, match=r"bomb\.npz .* declares 1024\.0 GiB, more than the 8\.0 GiB"):
        archive.load(path, Finding)


def test_two_members_of_one_name_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tree.npy", npy(np.zeros(1, np.uint8)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("tree.npy", npy(np.zeros(1, np.uint8)))
    with pytest.raises(ReadError, match="two arrays of one name"):
        archive.load(path, Finding)


def test_a_member_that_needs_a_password_or_another_compression_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    content = bytearray(tree_of(b'{"format": 1, "value": 1}'))
    for at in (content.find(b"PK\x03\x04") + 6, content.find(b"PK\x01\x02") + 8):
        content[at] |= 1  # the flag of an encrypted member
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"x\.npz is damaged"):
        archive.load(path, Finding)


def test_the_checksum_is_that_of_the_bytes_before_it(saved):
    import hashlib

    content = saved["twin"][0].read_bytes()
    assert content[-81:-64] == b"tumortwin sha256 "
    assert hashlib.sha256(content[:-64]).hexdigest().encode() == content[-64:]
    assert container.read(content)[1]
