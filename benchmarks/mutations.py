"""Seeded damage to files: bits and bytes, lengths, VRs, absurd values, cut sequences, spoiled pixels."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from seeds import Seed

_DEFLATED = "1.2.840.10008.1.2.1.99"
_HUGE = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff", b"\0\0", b"\xfe\xff\xff\xff", b"\x01\0")
_VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV XX \0\0"
).split(b" ")
_DELIMITERS = (b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xe0\x7f\x10\x00")
_SIZES = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "SamplesPerPixel",
    "PixelRepresentation",
    "PlanarConfiguration",
)
_ABSURD: tuple[Any, ...] = (
    0,
    1,
    -1,
    65535,
    65536,
    2**31 - 1,
    2**32 - 1,
    2**40,
    1e308,
    -1e-308,
    "nan",
    "inf",
    "-inf",
    "",
    " ",
    "1e400",
    "9" * 300,
    "0x10",
    "1\\2\\3\\4\\5\\6\\7",
    "\\\\\\",
    "\0\0",
    "99999999",
    "20240230",
    "240000",
    "\xff\xfe",
    "a" * 5000,
    b"\x80\x81\x82",
    None,
    (),
    [],
    "1.2.3",
)

Bytes = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True, eq=False)
class Spoiled:
    """A seed after some damage."""

    kind: str
    what: tuple[str, ...]
    """The damage done, in order: (operation) file."""
    files: Seed


def spoil(seeds: dict[str, Seed], seed: int, number: int, only: tuple[int, ...] = ()) -> Spoiled:
    """The mutant of a number: the kinds take turns; what is done to them is drawn by `seed` and the number.

    Parameters
    ----------
    seeds : dict of str to Seed
        Valid files by kind.
    seed, number : int
        Name the mutant.
    only : tuple of int, optional
        Which of its operations to do: for finding out which one matters.
    """
    kind = list(seeds)[number % len(seeds)]
    files = dict(seeds[kind])
    rng = np.random.default_rng([seed, number])
    what = []
    for step, draw in enumerate(rng.spawn(int(rng.integers(1, 4)))):
        # mostly the object itself, sometimes what it refers to
        name = list(files)[0 if draw.random() < 0.7 else int(draw.integers(len(files)))]
        dicom = name.endswith(".dcm")
        operation = draw.choice(list(_ON_DICOM if dicom else _ON_BYTES))
        if only and step not in only:
            continue
        change = (_ON_DICOM if dicom else _ON_BYTES)[operation]
        files[name] = _packed(
            files[name],
            lambda body, change=change, draw=draw: change(body, draw),  # type: ignore[misc]
            through=bool(draw.random() < 0.8),
        )
        what.append(f"{operation}: {name}")
    return Spoiled(kind, tuple(what), files)


def _packed(content: bytes, change: Callable[[bytes], bytes], through: bool) -> bytes:
    """Damage what is inside a compressed file rather than the compressed bytes, which few mutants would survive."""
    if through and content[:2] == b"\x1f\x8b":
        try:
            return gzip.compress(change(gzip.decompress(content)), mtime=0)
        except (OSError, EOFError, zlib.error):
            return change(content)
    start = content.find(_DEFLATED.encode(), 0, 400) + len(_DEFLATED) + 1
    if through and start > len(_DEFLATED):
        end = 144 + int.from_bytes(content[140:144], "little")
        try:
            inside = zlib.decompress(content[end:], -zlib.MAX_WBITS)
        except zlib.error:
            return change(content)
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return content[:end] + packer.compress(change(inside)) + packer.flush()
    return change(content)


def _flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    spoiled = bytearray(content)
    for at in _places(content, rng, int(rng.integers(1, 9))):
        spoiled[at] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


def _set_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    spoiled = bytearray(content)
    for at in _places(content, rng, int(rng.integers(1, 9))):
        spoiled[at] = int(rng.choice([0, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
    return bytes(spoiled)


def _truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _insert(content: bytes, rng: np.random.Generator) -> bytes:
    at, n = int(rng.integers(len(content) + 1)), int(rng.integers(1, 65))
    return content[:at] + rng.bytes(n) + content[at:]


def _remove(content: bytes, rng: np.random.Generator) -> bytes:
    at, n = int(rng.integers(len(content) + 1)), int(rng.integers(1, 65))
    return content[:at] + content[at + n :]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    at, n = int(rng.integers(len(content) + 1)), int(rng.integers(1, 400))
    return content[:at] + content[at : at + n] * int(rng.integers(1, 20)) + content[at:]


def _huge_number(content: bytes, rng: np.random.Generator) -> bytes:
    at = next(iter(_places(content, rng, 1)), 0)
    value = _HUGE[int(rng.integers(len(_HUGE)))]
    return content[:at] + value + content[at + len(value) :]


def _length(content: bytes, rng: np.random.Generator) -> bytes:
    """Another length for one element, two or four bytes wide."""
    found = _elements(content)
    if not found:
        return _huge_number(content, rng)
    _, length_at, width = found[int(rng.integers(len(found)))]
    old = int.from_bytes(content[length_at : length_at + width], "little")
    new = int(rng.choice([0, 1, old + 1, old + 2, max(old - 1, 0), old * 2, 2**16 - 2, 2**31, 2**32 - 1, 2**32 - 2]))
    return content[:length_at] + (new % 2 ** (8 * width)).to_bytes(width, "little") + content[length_at + width :]


def _vr(content: bytes, rng: np.random.Generator) -> bytes:
    found = [e for e in _elements(content) if e[0] is not None]
    if not found:
        return _set_bytes(content, rng)
    at = found[int(rng.integers(len(found)))][0]
    assert at is not None
    return content[:at] + _VRS[int(rng.integers(len(_VRS)))][:2].ljust(2) + content[at + 2 :]


def _cut_sequence(content: bytes, rng: np.random.Generator) -> bytes:
    """Take out, turn or move a delimiter of items, sequences or pixel data."""
    places = [at for d in _DELIMITERS for at in _find_all(content, d)]
    if not places:
        return _truncate(content, rng)
    at = places[int(rng.integers(len(places)))]
    other = _DELIMITERS[int(rng.integers(len(_DELIMITERS)))]
    way = int(rng.integers(4))
    if way == 0:
        return content[:at] + content[at + 8 :]
    if way == 1:
        return content[:at] + other + content[at + 4 :]
    if way == 2:
        return content[:at]
    return content[:at] + (other + b"\xff\xff\xff\xff") * int(rng.integers(1, 200)) + content[at:]


def _pixels(content: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes within the pixel data, its fragments and their headers."""
    start = max(content.rfind(b"\xe0\x7f\x10\x00"), content.rfind(b"\x7f\xe0\x00\x10"))
    if start < 0 or start + 12 >= len(content):
        return _flip_bits(content, rng)
    spoiled = bytearray(content)
    for _ in range(int(rng.integers(1, 33))):
        spoiled[int(rng.integers(start + 4, len(content)))] = int(rng.integers(256))
    return bytes(spoiled)


def _absurd_value(content: bytes, rng: np.random.Generator, sizes: bool = False) -> bytes:
    """A well-formed file with an attribute that makes no sense, that is missing or that is there twice."""
    try:
        data = pydicom.dcmread(BytesIO(content), force=True)
        levels = [data]
        for level in levels:
            levels += [inner for e in level if e.VR == "SQ" for inner in e.value][: 300 - len(levels)]
        level = levels[int(rng.integers(len(levels)))] if not sizes else data
        elements = [e for e in level if e.keyword != "PixelData" and (not sizes or e.keyword in _SIZES)]
        if not elements:
            return _set_bytes(content, rng)
        element = elements[int(rng.integers(len(elements)))]
        value = _ABSURD[int(rng.integers(len(_ABSURD)))]
        if rng.random() < 0.1:
            del level[element.tag]
        elif element.VR == "SQ":
            _spoil_sequence(level, element, rng)
        else:
            element.value = value
        buffer = BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()
    except Exception:  # what pydicom will not read or write again: damaged another way
        return _huge_number(content, rng)


def _spoil_sequence(level: Dataset, element: pydicom.DataElement, rng: np.random.Generator) -> None:
    items = list(element.value)
    way = int(rng.integers(3))
    if way == 0:
        level[element.tag].value = []
    elif way == 1 and items:
        level[element.tag].value = items * int(rng.integers(2, 60))
    else:
        level[element.tag].value = [Dataset(), *items]


def _absurd_size(content: bytes, rng: np.random.Generator) -> bytes:
    return _absurd_value(content, rng, sizes=True)


def _places(content: bytes, rng: np.random.Generator, n: int) -> list[int]:
    """Where to strike: anywhere but in the preamble, which nobody reads."""
    first = 128 if content[128:132] == b"DICM" else 0
    drawn = [int(v) for v in rng.integers(first, max(len(content), first + 1), n) if v < len(content)]
    return drawn or [0][: len(content)]


def _elements(content: bytes) -> list[tuple[int | None, int, int]]:
    """Offsets of VR (None if implicit) and length, and the width of the length, of all elements pydicom finds."""
    found: list[tuple[int | None, int, int]] = []
    try:
        data = pydicom.dcmread(BytesIO(content), force=True)
    except Exception:  # spoiled before: there is nothing to find
        return found
    for raw in [*data.file_meta._dict.values(), *data._dict.values()]:
        at = getattr(raw, "value_tell", None)
        if not at or at >= len(content):
            continue
        if getattr(raw, "is_implicit_VR", False):
            found.append((None, at - 4, 4))
        elif str(getattr(raw, "VR", "")) in ("OB", "OW", "OF", "OD", "OL", "SQ", "UC", "UN", "UR", "UT"):
            found.append((at - 8, at - 4, 4))
        else:
            found.append((at - 4, at - 2, 2))
    return found


def _find_all(content: bytes, what: bytes) -> list[int]:
    places, at = [], content.find(what)
    while at >= 0:
        places.append(at)
        at = content.find(what, at + 1)
    return places


_ON_BYTES: dict[str, Bytes] = {
    "bits flipped": _flip_bits,
    "bytes set": _set_bytes,
    "truncated": _truncate,
    "bytes inserted": _insert,
    "bytes removed": _remove,
    "bytes repeated": _repeat,
    "a number made huge": _huge_number,
}
_ON_DICOM: dict[str, Bytes] = _ON_BYTES | {
    "a length changed": _length,
    "a VR changed": _vr,
    "a sequence cut": _cut_sequence,
    "pixel data spoiled": _pixels,
    "an absurd value": _absurd_value,
    "an absurd size": _absurd_size,
    "an absurd value, again": _absurd_value,
}
