"""What a caller gave: said in the words of an error message."""

from __future__ import annotations

import os
from datetime import datetime

import numpy as np

from tumortwin.errors import InputError


def require(value: object, kind: type | tuple[type, ...], takes: str) -> None:
    """Refuse an argument of another type.

    Parameters
    ----------
    value : object
        What the caller gave.
    kind : type or tuple of type
        What is allowed.
    takes : str
        What is allowed and where it comes from, as a sentence: "build_twin takes a Patient, which read_patient makes".

    Raises
    ------
    InputError
        The sentence, and what was given.
    """
    if not isinstance(value, kind):
        raise InputError(f"{takes}, not {described(value)}")


def require_path(value: object, takes: str) -> None:
    """Refuse what is no path; see :func:`require`."""
    require(value, (str, os.PathLike), takes)


def require_date(value: object, takes: str) -> None:
    """Refuse what is no datetime, or one with a time zone: all times are local times on the clock of the scans."""
    require(value, datetime, f"{takes} is a datetime, e.g. datetime(2024, 2, 5, 9, 30)")
    assert isinstance(value, datetime)
    if value.tzinfo is not None:
        raise InputError(f"{takes} is a local time without a time zone, not {value.isoformat()}: leave tzinfo out")


def require_rng(value: object) -> None:
    """Refuse what is neither a seed nor a generator; see :func:`require`."""
    require(value, (int, np.integer, np.random.Generator), "rng takes a seed or a numpy.random.Generator")


def described(value: object) -> str:
    """Describe a value in a few words: its type, and its content where that is short."""
    if value is None or isinstance(value, bool | int | float | slice):
        return repr(value)
    if isinstance(value, str):
        return f"the text {value if len(value) <= 60 else value[:57] + '...'!r}"
    if isinstance(value, os.PathLike):
        return f"the path {os.fspath(value)!r}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
