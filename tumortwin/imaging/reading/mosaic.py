"""Siemens mosaics: the slices of a volume as tiles of one square image."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tumortwin.errors import ReadError
from tumortwin.imaging.reading.attributes import DAMAGED, number, value
from tumortwin.imaging.reading.dicom_file import open_dicom
from tumortwin.imaging.reading.plane import Plane

_SIEMENS, _COUNT, _CSA_OWNER, _CSA = (0x0019, 0x0010), (0x0019, 0x100A), (0x0029, 0x0010), (0x0029, 0x1010)
_INSTEAD = "export it as enhanced MR or without mosaics"


def unfold(whole: Plane) -> list[Plane]:
    """Split a mosaic into its slices, each a plane of its own.

    The stated position is that of one slice as large as the mosaic around the same centre. The CSA header tells how
    many tiles hold slices and which way they are stacked.

    Raises
    ------
    ReadError
        If the headers do not tell where the slices are.
    """
    instance = whole.instance
    count, normal = _stacking(whole)
    rows, columns = int(whole.number("Rows") or 0), int(whole.number("Columns") or 0)
    spacing, step = whole.numbers("PixelSpacing", 2), whole.number("SpacingBetweenSlices")
    orientation, corner = whole.numbers("ImageOrientationPatient", 6), whole.numbers("ImagePositionPatient", 3)
    if orientation is None or corner is None or spacing is None or not step:
        raise ReadError(f"{instance.name}: a mosaic without position, orientation or spacing: {_INSTEAD}")
    across = int(np.ceil(np.sqrt(count)))
    if count < 2 or rows % across or columns % across:
        raise ReadError(f"{instance.name}: a mosaic of {rows} x {columns} cannot hold {count} slices: {_INSTEAD}")
    height, width = rows // across, columns // across
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    if abs(np.cross(row, column) @ normal) < 0.99:
        raise ReadError(f"{instance.name}: a mosaic whose slices are not stacked along their normal: {_INSTEAD}")
    first = np.array(corner) + row * spacing[1] * (columns - width) / 2 + column * spacing[0] * (rows - height) / 2
    found = []
    for k in range(count):
        own = Dataset()
        own.ImagePositionPatient = [float(v) for v in first + k * abs(step) * normal]
        own.Rows, own.Columns = height, width
        down, right = divmod(k, across)
        tile = (slice(down * height, (down + 1) * height), slice(right * width, (right + 1) * width))
        found.append(Plane(instance, 0, (own, *whole.sets), tile))
    return found


def _stacking(whole: Plane) -> tuple[int, NDArray[np.float64]]:
    """How many slices there are, and the unit vector from each to the next."""
    name = whole.instance.name
    try:
        opened = open_dicom(whole.instance.path, [Tag(t) for t in (_SIEMENS, _COUNT, _CSA_OWNER, _CSA)])
    except DAMAGED as error:
        raise ReadError(f"{name}: the header cannot be read again ({type(error).__name__}: {error})") from error
    private = (opened.data,) if opened is not None else ()
    content = value(private, _CSA)
    csa = parse_csa(content) if isinstance(content, bytes) else {}
    try:
        normal = np.array([float(v) for v in csa["SliceNormalVector"][:3]])
        count = int(float((csa.get("NumberOfImagesInMosaic") or ["0"])[0])) or int(number(private, _COUNT) or 0)
    except (KeyError, ValueError, IndexError) as error:
        raise ReadError(
            f"{name}: a Siemens mosaic whose CSA header is missing or damaged, so the order of its slices is not "
            f"known: {_INSTEAD}"
        ) from error
    if normal.shape != (3,) or not 0.99 < np.linalg.norm(normal) < 1.01:
        raise ReadError(f"{name}: a mosaic stacked along {normal.tolist()}, which is no unit vector: {_INSTEAD}")
    return count, normal


def parse_csa(content: bytes) -> dict[str, list[str]]:
    """Parse the tags of a Siemens CSA header, version 1 or 2 (SV10), as text; of a damaged one, what can be read.

    The layout is that which nibabel documents (nipy.org/nibabel/dicom/siemens_csa.html).
    """
    at = 8 if content.startswith(b"SV10") else 0
    tags: dict[str, list[str]] = {}
    try:
        n_tags = struct.unpack_from("<I", content, at)[0]
        at += 8
        for _ in range(min(n_tags, 1000)):
            name, _, _, _, n_items, _ = struct.unpack_from("<64si4siii", content, at)
            at += 84
            values = []
            for _ in range(n_items):
                length = struct.unpack_from("<4i", content, at)[1]
                at += 16
                if not 0 <= length <= len(content) - at:
                    return tags
                values.append(content[at : at + length].split(b"\0")[0].decode("latin-1").strip())
                at += length + -length % 4
            tags[name.split(b"\0")[0].decode("latin-1")] = [v for v in values if v]
    except struct.error:
        return tags
    return tags
