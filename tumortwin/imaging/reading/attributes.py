"""The attributes of DICOM data sets: their values, and what stands for a value that is missing or damaged."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

DAMAGED = Exception
"""What reading a damaged file raises: pydicom, highdicom and nibabel let out nearly everything, struct's and sqlite3's
errors included. To be caught around their calls only, and never without saying what came of it."""


PHILIPS_ITEMS = (0x2005, 0x140F)
"""A private sequence of each frame of Philips."""


@cache
def tag_of(keyword: str | tuple[int, int]) -> BaseTag:
    """Return the tag of an attribute; each is looked up once."""
    return Tag(keyword)


def value(sets: tuple[Dataset, ...] | list[Dataset], keyword: str | tuple[int, int]) -> Any:
    """Find an attribute's value in the first data set that has it; None if none has, or if it cannot be decoded."""
    tag = tag_of(keyword)
    for data in sets:
        try:
            element = data.get_item(tag)
            if element is None:
                continue
            found = element.value if isinstance(element, DataElement) else data[tag].value
        except DAMAGED:
            continue  # a value that cannot be decoded says nothing: the reader goes on as if it were not there
        if isinstance(found, Sequence) and not _may_hold_items(keyword):
            continue  # a damaged VR: whatever is made of its items may fail
        if found is not None and not (isinstance(found, str) and not found.strip()):
            return found
    return None


@cache
def _may_hold_items(keyword: str | tuple[int, int]) -> bool:
    """Whether an attribute is a sequence; of private ones only one that Philips hides scales in is."""
    return keyword == PHILIPS_ITEMS if isinstance(keyword, tuple) else dictionary_VR(tag_of(keyword)) == "SQ"


def items(sets: tuple[Dataset, ...] | list[Dataset], keyword: str | tuple[int, int]) -> tuple[Dataset, ...]:
    """Return the items of a sequence; none if it is missing, or holds something else."""
    found = value(sets, keyword)
    return tuple(i for i in found if isinstance(i, Dataset)) if isinstance(found, Sequence) else ()


def number(sets: tuple[Dataset, ...] | list[Dataset], keyword: str | tuple[int, int]) -> float | None:
    """Read the attribute as a finite float (the first, if it has several values), else return None."""
    found = value(sets, keyword)
    if found is None:
        return None
    try:
        first = float(found if isinstance(found, (int, float, str)) else found[0])
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return first if abs(first) < float("inf") else None


def text(sets: tuple[Dataset, ...] | list[Dataset], keyword: str) -> str:
    """Read the attribute as text without outer blanks, empty if it is missing."""
    found = value(sets, keyword)
    return "" if found is None else str(found).strip("\0 ")


@lru_cache(4096)  # the files of a series share theirs
def parse_datetime(given: str) -> datetime | None:
    """Parse a DICOM DT, or DA directly followed by TM, as local time (an offset from UTC is dropped), else None."""
    found = _MOMENT.fullmatch(given.strip())
    if not found:
        return None
    try:
        start = datetime.strptime(found["date"].replace(".", "").replace("-", ""), "%Y%m%d")
        hours, minutes, seconds = (int(found[k] or 0) for k in ("hour", "minute", "second"))
        if hours > 23 or minutes > 59 or seconds > 60:  # a leap second is legal in DICOM and unknown to datetime
            return None
        part = int((found["fraction"] or "0").ljust(6, "0")[:6])
        return start + timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=part)
    except ValueError:
        return None


_MOMENT = re.compile(
    r"(?P<date>\d{8}|\d{4}[.-]\d\d[.-]\d\d)\s*"
    r"(?:(?P<hour>\d\d):?(?:(?P<minute>\d\d):?(?:(?P<second>\d\d)(?:\.(?P<fraction>\d*))?)?)?)?\s*(?:[+-]\d{4})?"
)
"""YYYYMMDD and HHMMSS.F, also as ACR-NEMA wrote them (dots and colons), with or without an offset from UTC."""
