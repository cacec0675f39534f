"""The header of a well-formed little-endian DICOM file, sooner than pydicom; anything else is left to pydicom."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from functools import cache, lru_cache
from mmap import mmap
from typing import NamedTuple

from pydicom.charset import convert_encodings, python_encoding
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tumortwin.imaging._elements import find_elements

_CLASS, _SYNTAX = 0x00020002, 0x00020010
_OFTEN = 64
"""Longer values (bytes) are not looked for among those of other files."""
_META = frozenset((_CLASS, _SYNTAX))
_shared = lru_cache(4096)(BaseTag)


@cache
def shared_tag(keyword: str | tuple[int, int]) -> BaseTag:
    """The very tag that plain headers hold: dictionaries find it without comparing, some hundred times a file."""
    return _shared(int(Tag(keyword)))


class PlainHeader(NamedTuple):
    """A data set without pixels, and where they are."""

    data: Dataset
    pixels: int
    """Offset of the element of the pixel data."""


@lru_cache(1024)
def _meta(sop_class: bytes, syntax: bytes) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class.decode("ascii").rstrip("\0 "))
    meta.TransferSyntaxUID = UID(syntax.decode("ascii").rstrip("\0 "))
    return meta


def read_plain_header(content: bytes | mmap, tags: Iterable[int]) -> PlainHeader | None:
    """Parse a file's content up to its pixels.

    Parameters
    ----------
    content : bytes or mmap
        The file, or enough of its beginning.
    tags : iterable of int
        The attributes to keep.

    Returns
    -------
    PlainHeader or None
        Elements are as pydicom keeps them, not yet converted. None for whatever is not plain: no preamble or File Meta
        Information, big-endian or deflated, elements out of order or longer than the file, private transfer syntaxes.
    """
    if content[128:140] != b"DICM\x02\0\0\0UL\x04\0":
        return None
    start = 144 + int.from_bytes(content[140:144], "little")
    meta = find_elements(content[:start], 132, False, _META)
    if meta is None or meta[1] != start:
        return None
    said = {tag: content[at : at + length] for tag, _, at, length in meta[0]}
    try:
        file_meta = _meta(said.get(_CLASS, b""), said[_SYNTAX])
    except (KeyError, UnicodeDecodeError):
        return None
    syntax = file_meta.TransferSyntaxUID
    if (
        syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
        or not syntax.is_transfer_syntax
        or (syntax.is_private)
    ):
        return None
    implicit = syntax == ImplicitVRLittleEndian
    found = find_elements(content, start, implicit, _wanted(tuple(tags)))
    if found is None:
        return None
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    for tag, vr, at, length in found[0]:
        make = _element if length <= _OFTEN else _element.__wrapped__
        element = make(tag, vr, content[at : at + length], implicit)
        elements[element.tag] = element
    data = Dataset(elements)
    encoding: str | MutableSequence[str] = "iso8859"
    charset = elements.get(shared_tag("SpecificCharacterSet"))
    if isinstance(charset, RawDataElement):
        known = python_encoding.get((charset.value or b"").decode("ascii", "replace").rstrip(" "))
        # pydicom makes sense of several terms and of misspelled ones, and says so
        encoding = [known] if known else convert_encodings(convert_raw_data_element(charset).value)
    data.set_original_encoding(implicit, True, encoding)
    data.file_meta = file_meta
    return PlainHeader(data, found[1])


@lru_cache(8192)
def _element(tag: int, vr: str | None, value: bytes, implicit: bool) -> RawDataElement:
    """One for all files that say the same: a folder says most things a thousand times."""
    return RawDataElement(_shared(tag), vr, len(value), value, 0, implicit, True)


@lru_cache(8)
def _wanted(tags: tuple[int, ...]) -> frozenset[int]:
    return frozenset(map(int, (*tags, shared_tag("SpecificCharacterSet"))))
