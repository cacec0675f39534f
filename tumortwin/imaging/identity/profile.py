"""What PS3.15 says is to be done with each attribute: table E.1-1, as data, and the sets its options name."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from pydicom.tag import BaseTag, Tag

EDITION = "PS3.15 2026c"

BASIC = ("113100", "Basic Application Confidentiality Profile")
CLEAN_DESCRIPTORS = ("113105", "Clean Descriptors Option")
MODIFIED_DATES = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")
CHARACTERISTICS = ("113108", "Retain Patient Characteristics Option")
SAFE_PRIVATE = ("113111", "Retain Safe Private Option")
CLEANED_PIXELS = ("113101", "Clean Pixel Data Option")
DEFACED = ("113102", "Clean Recognizable Visual Features Option")


def read_lines(name: str) -> frozenset[str]:
    """Lines of a file in ``data``, without comments."""
    text = (files("tumortwin.imaging.identity.data") / name).read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


@cache
def _profile() -> dict[str, dict[BaseTag, str] | frozenset[BaseTag]]:
    text = (files("tumortwin.imaging.identity.data") / "profile.json").read_text(encoding="utf-8")
    content = json.loads(text)
    sets = {
        name: frozenset(Tag(int(tag, 16)) for tag in content[name])
        for name in ("clean_descriptors", "modified_dates", "characteristics")
    }
    return {"actions": {Tag(int(tag, 16)): action for tag, action in content["actions"].items()}, **sets}


def listed() -> list[BaseTag]:
    """All attributes of the table."""
    actions = _profile()["actions"]
    assert isinstance(actions, dict)
    return list(actions)


def basic_action(tag: BaseTag) -> str | None:
    """Return the basic profile's action: combinations of X (remove), Z (empty), D (dummy), U (another UID), or None."""
    actions = _profile()["actions"]
    assert isinstance(actions, dict)
    return actions.get(tag)


def is_descriptor(tag: BaseTag) -> bool:
    """Whether Clean Descriptors keeps this attribute, cleaned."""
    return tag in _profile()["clean_descriptors"]


def is_shifted(tag: BaseTag) -> bool:
    """Whether Modified Dates keeps this attribute, shifted."""
    return tag in _profile()["modified_dates"]


def is_characteristic(tag: BaseTag) -> bool:
    """Whether Retain Patient Characteristics keeps this attribute."""
    return tag in _profile()["characteristics"]
