"""Descriptions without identifiers: what is not in a list of harmless words is dropped.

A name, a hospital or a date hidden in free text cannot be spotted for certain, so nothing is spotted: only words of
``data/words.txt`` stay, and short numbers where such a word or a unit gives them a meaning.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from tumortwin.imaging.identity.profile import read_lines

_UNITS = frozenset("mm cm ms s gy cgy mg ml cc t kv kvp mv mev ma d fx fractions deg w wk iso".split())  # noqa: SIM905
_NUMBERED = frozenset("b te tr ti gtv ctv ptv itv prv pgtv boost".split())  # noqa: SIM905
_PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_CAMEL = re.compile(r"\d+(?:\.\d+)?|[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]")


@cache
def words() -> frozenset[str]:
    """Read the words that may stay in a text."""
    return frozenset(word for line in read_lines("words.txt") for word in line.split())


@cache
def equipment() -> frozenset[str]:
    """Makers and models that may stay, as whole values."""
    return read_lines("equipment.txt")


@cache
def terms() -> frozenset[str]:
    """Values of coded strings that may stay."""
    return read_lines("terms.txt")


def clean_text(text: str, names: Collection[str] = ()) -> str:
    """Keep only the words and numbers of a text that may stay, and drop all others.

    Parameters
    ----------
    text : str
        A description, label or comment.
    names : collection of str
        Lower-case words that are dropped although they are in the list: the patient is called so.

    Returns
    -------
    str
        The words that stay, with their separators where they were neighbors; may be empty.
    """
    if re.fullmatch(r"\d{1,2}", text):
        return text
    kept: list[tuple[int, int, str, bool]] = []  # start, end, chunk, whether it is a bare number
    for match in re.finditer(r"[^\W_]+(?:\.\d+[^\W_]*)?", text):
        chunk = match.group()
        bare = chunk.isdigit() and chunk.isascii()
        if bare or _may_stay(chunk, names):
            kept.append((match.start(), match.end(), chunk, bare))
    out = ""
    end: int | None = None
    for i, (start, stop, chunk, bare) in enumerate(kept):
        if bare and not _number_may_stay(text, kept, i, end):
            continue
        between = text[end:start] if end is not None else ""
        if end is not None:
            out += between if len(between) <= 3 and re.fullmatch(r" ?[_\-+*/., ] ?", between) else " "
        out += chunk
        end = stop
    return out


def clean_code(value: str, names: Collection[str] = ()) -> bool:
    """Whether a coded string (CS) may stay: a defined term, one letter, or harmless words."""
    value = value.strip("\0 ")
    return (
        value in terms()
        or len(value) < 2
        or re.fullmatch(r"\d{1,2}", value) is not None
        or (len(value) <= 16 and clean_text(value, names) == value)
    )


def _may_stay(chunk: str, names: Collection[str]) -> bool:
    """Whether a run of letters and digits is a known word, or known words and short numbers run together."""
    low = chunk.lower()
    if not chunk.isascii() or low in names:
        return False
    if low in words():
        return True
    return any(
        "".join(parts) == chunk and len(parts) > 1 and _parts_may_stay([p.lower() for p in parts], names)
        for parts in (_PART.findall(chunk), _CAMEL.findall(chunk))
    )


def _parts_may_stay(parts: list[str], names: Collection[str]) -> bool:
    return sum(p[0].isdigit() for p in parts) in range(min(3, len(parts))) and all(
        part in words() | _UNITS | {"b"} and part not in names
        if part[0].isalpha()
        else _attached_may_stay(part, parts[i - 1] if i else "", parts[i + 1] if i + 1 < len(parts) else "")
        for i, part in enumerate(parts)
    )


def _attached_may_stay(number: str, before: str, after: str) -> bool:
    """Check if a number in a word may stay: short, or round and next to a unit or a word that such numbers go with."""
    whole = number.split(".")[0]
    if len(whole) <= 2:
        return True
    measured = after in _UNITS or before in _NUMBERED
    return (
        len(whole) <= 4
        and not whole.startswith("0")
        and int(whole) % 5 == 0
        and measured
        and (not 1900 <= int(whole) <= 2100 or before == "b" or after in _UNITS)
    )


def _number_may_stay(text: str, kept: list[tuple[int, int, str, bool]], i: int, end: int | None) -> bool:
    """Check if a bare number may stay: at most two digits (four before a unit), beside a kept word and no number."""
    start, stop, chunk, _ = kept[i]
    before = text[end:start] if end is not None else None
    follows = kept[i + 1] if i + 1 < len(kept) else None
    gap = text[stop : follows[0]] if follows else None
    beside_number = any(
        re.search(r"\d", text[a:b]) for a, b in ((max(0, start - 2), start), (stop, min(len(text), stop + 2)))
    )
    if beside_number:
        return False
    unit = follows is not None and follows[2].lower() in _UNITS and gap in ("", " ")
    if unit:
        return len(chunk) <= 4
    return len(chunk) <= 2 and before is not None and len(before) == 1 and before in " _-#"
