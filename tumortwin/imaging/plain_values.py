"""Values that are written to the letter of the standard, sooner than pydicom; all others are left to pydicom."""

from __future__ import annotations

import re
from functools import cache
from struct import unpack
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

_TEXT = {
    "CS": re.compile(rb"[A-Z0-9_][A-Z0-9_ ]{0,15}(?:\\[A-Z0-9_ ]{0,16})*"),
    "UI": re.compile(rb"(?=.{1,64}\Z)[0-9]+(?:\.[0-9]+)*\0?", re.S),
    "DA": re.compile(rb"[0-9]{8}"),
    "TM": re.compile(rb"[0-9]{2,6}(?:\.[0-9]{1,6})? ?"),
    "DT": re.compile(rb"[0-9]{8,14}(?:\.[0-9]{1,6})? ?"),
    # what all character sets have in common
    "LO": re.compile(rb"[!-\[\]-}][ -\[\]-}]{0,63}"),
    "SH": re.compile(rb"[!-\[\]-}][ -\[\]-}]{0,15}"),
}
_WHOLE = re.compile(rb"(?:-?[1-9][0-9]{0,8}|0) ?")
_DECIMALS = re.compile(rb"[0-9+\-.eE ]{1,16}(?:\\[0-9+\-.eE ]{1,16})*")
_BINARY = {"US": ("H", 2), "SS": ("h", 2), "UL": ("I", 4), "SL": ("i", 4), "FL": ("f", 4), "FD": ("d", 8)}


@cache
def _vr(tag: BaseTag) -> str:
    """Of an attribute whose file leaves it out; empty if nobody knows."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def plain_value(raw: RawDataElement) -> Any:
    """The value of an element that pydicom has not converted yet, equal to what pydicom would give.

    Returns
    -------
    str, int, float, list or None
        None if the value is empty, is no number or text, has decimals, or has a form that asks for pydicom's leniency.
    """
    content, vr = raw.value, raw.VR or _vr(raw.tag)
    if not content:
        return None
    form = _TEXT.get(vr)
    if form is not None:
        if not form.fullmatch(content):
            return None
        written = content.decode("ascii").rstrip(" \0")
        return written.split("\\") if vr == "CS" and "\\" in written else written
    if vr == "IS":
        return int(content) if _WHOLE.fullmatch(content) else None
    found = _binary(content, vr, raw)
    return None if found is None else found[0] if len(found) == 1 else list(found)


def plain_numbers(raw: RawDataElement) -> tuple[float, ...] | None:
    """Its numbers, decimals too; None as for :func:`plain_value`."""
    content, vr = raw.value, raw.VR or _vr(raw.tag)
    if not content:
        return None
    if vr == "DS":
        content = content.rstrip(b" ")
        if not _DECIMALS.fullmatch(content):
            return None
        try:
            return tuple(map(float, content.split(b"\\")))
        except ValueError:
            return None
    if vr == "IS":
        return (float(content),) if _WHOLE.fullmatch(content) else None
    return _binary(content, vr, raw)


def _binary(content: bytes, vr: str, raw: RawDataElement) -> tuple[Any, ...] | None:
    form = _BINARY.get(vr)
    if form is None or len(content) % form[1] or not raw.is_little_endian:
        return None
    return unpack(f"<{len(content) // form[1]}{form[0]}", content)
