"""Private elements that a reader needs: those that cannot hold an identifier stay, of others what is needed stays."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tumortwin.imaging.reading.attributes import DAMAGED
from tumortwin.imaging.reading.mosaic import parse_csa

# (group, creator) to the low byte of the element, its VR, how many values it has and what they are below.
# These are rows of PS3.15 table E.3.10-1 that hold numbers:
LISTED: dict[tuple[int, str], dict[int, tuple[str, int, float]]] = {
    (0x0019, "SIEMENS MR HEADER"): {0x0C: ("IS", 1, 1e5), 0x0E: ("FD", 3, 1.01), 0x27: ("FD", 6, 1e5)},
    (0x2001, "Philips Imaging DD 001"): {0x03: ("FL", 1, 1e5), 0x0A: ("IS", 1, 1e4), 0x18: ("SL", 1, 1e4)},
    (0x2005, "Philips MR Imaging DD 001"): {0x0D: ("FL", 1, 1e7), 0x0E: ("FL", 1, 1e7)},
    (0x0043, "GEMS_PARM_01"): {0x39: ("IS", 4, 1e5)},
    (0x7053, "Philips PET Private Group"): {0x00: ("DS", 1, 1e7), 0x09: ("DS", 1, 1e7)},
}  # fmt: skip
# These are not in the table, but cannot identify anybody: a count of slices, and the components of unit vectors.
UNLISTED: dict[tuple[int, str], dict[int, tuple[str, int, float]]] = {
    (0x0019, "SIEMENS MR HEADER"): {0x0A: ("US", 1, 1e4)},
    (0x2005, "Philips MR Imaging DD 001"): {0xB0: ("FL", 1, 1.01), 0xB1: ("FL", 1, 1.01), 0xB2: ("FL", 1, 1.01)},
    (0x0019, "GEMS_ACQU_01"): {0xBB: ("DS", 1, 1.01), 0xBC: ("DS", 1, 1.01), 0xBD: ("DS", 1, 1.01)},
}
_CSA = (0x0029, "SIEMENS CSA HEADER", 0x10)
_PHILIPS_FRAME = (0x2005, "Philips MR Imaging DD 005", 0x0F)
_GE_B_VALUE = (0x0043, "GEMS_PARM_01", 0x39)


def is_creator(element: DataElement) -> bool:
    """Whether a private element names whose a block is."""
    return bool(element.tag.is_private and 0x10 <= element.tag.element <= 0xFF)


def kept(element: DataElement, data: Dataset) -> Any:
    """Return what may be kept of a private element: its value, a value with less information, or None.

    A creator stays if anything of its block does. Of a Siemens mosaic's CSA header, which is full of names and dates,
    only how many slices there are, which way they are stacked and the size of the matrix, in a header made anew. Of the
    private sequence in which Philips hides the scale of each frame, the scale.

    Parameters
    ----------
    element : DataElement
        Private.
    data : Dataset
        What it is an element of.
    """
    tag = element.tag
    if is_creator(element):
        # iterating a data set yields elements, and decodes them
        block = [t for t in data.keys() if t.group == tag.group and t.element >> 8 == tag.element]  # noqa: SIM118
        return element.value if any(_stays(data, t) for t in block) else None
    creator = data.get((tag.group, tag.element >> 8))
    owner = "" if creator is None else str(creator.value).strip()
    place = (tag.group, owner, tag.element & 0xFF)
    if place == _CSA:
        return _stacking_only(element.value, data)
    if place == _PHILIPS_FRAME:
        return _private_only(element.value)
    for table in (LISTED, UNLISTED):
        if place[2] in table.get(place[:2], {}):
            return element.value if _is_number(element, place, *table[place[:2]][place[2]]) else None
    return None


def _stays(data: Dataset, tag: Any) -> bool:
    try:
        return kept(data[tag], data) is not None
    except DAMAGED:
        return False


def _is_number(element: DataElement, place: tuple[int, str, int], vr: str, count: int, bound: float) -> bool:
    values: list[Any] = list(element.value or ()) if element.VM > 1 else [element.value]
    if vr != element.VR or len(values) != count:
        return False
    sizes = [abs(v) for v in values]
    if place == _GE_B_VALUE and sizes[0] >= 1e9:
        sizes[0] -= 1e9  # marks a b-value that was computed
    return all(size < bound for size in sizes)


def _private_only(value: Any) -> Sequence | None:
    """Items with nothing in them but the private elements that stay."""
    if not isinstance(value, Sequence):
        return None
    items = []
    for given in value:
        item = Dataset()
        for tag in [t for t in given.keys() if t.is_private and _stays(given, t)]:  # noqa: SIM118
            item.add_new(tag, given[tag].VR, kept(given[tag], given))
        items.append(item)
    return Sequence(items) if any(len(item) for item in items) else None


def _stacking_only(value: Any, data: Dataset) -> bytes | None:
    """Build a CSA header that holds only a mosaic's number of slices, stacking direction and matrix size."""
    if not isinstance(value, bytes) or "MOSAIC" not in (data.get("ImageType") or ()):
        return None
    csa = parse_csa(value)
    try:
        count = int(float((csa.get("NumberOfImagesInMosaic") or ["0"])[0]))
        given = np.array([float(v) for v in csa["SliceNormalVector"][:3]])
        across, down = np.array([float(v) for v in data.ImageOrientationPatient]).reshape(2, 3)
    except (KeyError, ValueError, OverflowError, AttributeError, TypeError):
        return None
    with np.errstate(all="ignore"):
        normal = np.cross(across, down)
        normal *= np.sign(normal @ given)
    # the normal is written as the image's orientation has it: the digits of the header's own go
    if not (0 <= count < 1e4 and given.shape == (3,) and np.abs(given - normal).max() < 1e-4):
        return None
    tags = {"NumberOfImagesInMosaic": ("US", [str(count)]), "SliceNormalVector": ("FD", [f"{v:.8f}" for v in normal])}
    matrix = "".join(csa.get("AcquisitionMatrixText", [])[:1])
    if re.fullmatch(r"\d{1,4}[a-z]?\*\d{1,4}[a-z]?", matrix):  # without it nibabel takes no image for a mosaic
        tags["AcquisitionMatrixText"] = ("SH", [matrix])
    return _csa_header(tags)


def _csa_header(tags: dict[str, tuple[str, list[str]]]) -> bytes:
    """Build a Siemens CSA header of version 2, as nibabel documents it (nipy.org/nibabel/dicom/siemens_csa.html)."""
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, (vr, values) in tags.items():
        content += struct.pack("<64si4siii", name.encode(), len(values), vr.encode(), 0, 6, 77)
        for value in [*values, *[""] * (6 - len(values))]:
            text = value.encode() + b"\0" if value else b""
            content += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return content + b"\0" * (len(content) % 2)
