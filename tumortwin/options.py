"""How options are declared: frozen dataclasses whose fields know their unit, their range and what is written of them.

A field's description is its entry in the class's docstring. Defaults, help texts, the template of a configuration file
and the record of a run are all made from the declaration; there is no second list.
"""

from __future__ import annotations

import inspect
import math
import numbers
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from tumortwin.arguments import described, require
from tumortwin.errors import InputError

Clean = Callable[[str], str]
"""Takes out of a text what may say who a patient is."""


class Kind:
    """What an option may be; ``str`` says it in words."""

    def accept(self, value: Any) -> Any:
        """Return the value as it is kept; raise ValueError if it is not allowed."""
        raise NotImplementedError

    def as_json(self, value: Any, clean: Clean) -> Any:
        """Return the value as JSON has it, with `clean` done to names from the patient's files."""
        return value


@dataclass(frozen=True)
class Number(Kind):
    """A finite number from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    whole: bool = False

    def accept(self, value: Any) -> Any:
        """Return an int or a float."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError
        number = operator.index(value) if self.whole else float(value)  # type: ignore[arg-type] # it may refuse
        if not (math.isfinite(number) and self.low <= number <= self.high):
            raise ValueError
        return number

    def __str__(self) -> str:
        words = ["a whole number" if self.whole else "a number"]
        if math.isfinite(self.low):
            words.append(
                f"from {self.low:g} to {self.high:.10g}" if math.isfinite(self.high) else f"of at least {self.low:g}"
            )
        return " ".join([*words, self.unit]).strip()


@dataclass(frozen=True)
class Flag(Kind):
    """True or false."""

    def accept(self, value: Any) -> Any:
        """Return a bool."""
        if not isinstance(value, bool):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Choice(Kind):
    """One value of an enumeration, in upper or lower case."""

    of: type[StrEnum]

    def accept(self, value: Any) -> Any:
        """Return a member of the enumeration."""
        return {str(one).lower(): one for one in self.of}[str(value).lower()]

    def as_json(self, value: Any, clean: Clean) -> Any:
        """Return the member's value."""
        return str(value)

    def __str__(self) -> str:
        return f"one of {', '.join(self.of)}"


@dataclass(frozen=True)
class Group(Kind):
    """Options of another class."""

    of: type[Options]

    def accept(self, value: Any) -> Any:
        """Return options of that class."""
        if not isinstance(value, self.of):
            raise ValueError
        return value

    def as_json(self, value: Any, clean: Clean) -> Any:
        """Return their record."""
        return value.record(clean)

    def __str__(self) -> str:
        return f"{self.of.__name__}(...)"


def option(default: Any, kind: Kind, *, example: Any = None, result: bool = True) -> Any:
    """Declare an option.

    Parameters
    ----------
    default : object
        The default; None if the value then comes from the data, and None is allowed.
    kind : Kind
        What it may be.
    example : object
        A value for the template, where the default is None.
    result : bool
        Whether the numbers of a result depend on it. Only such options are recorded.
    """
    metadata = {"kind": kind, "example": example, "result": result}
    if isinstance(kind, Group):
        return field(default_factory=kind.of, metadata=metadata)
    return field(default=default, metadata=metadata)


class Options:
    """Base of all options: checks its fields, and says what they are."""

    def __post_init__(self) -> None:
        for one in declared(type(self)):
            object.__setattr__(self, one.name, checked(one, getattr(self, one.name)))

    def record(self, clean: Clean = str) -> dict[str, Any]:
        """Return the options that the results depend on, as JSON values.

        Parameters
        ----------
        clean : callable
            Done to the texts that come from a patient's files (names of masks, descriptions of series).
        """
        return {
            one.name: None if (value := getattr(self, one.name)) is None else one.metadata["kind"].as_json(value, clean)
            for one in declared(type(self))
            if one.metadata["result"]
        }


def declared(kind: type[Options]) -> Iterator[Field[Any]]:
    """Yield the declared fields of options, in order."""
    yield from fields(kind)  # type: ignore[arg-type]


def checked(one: Field[Any], value: Any, where: str = "") -> Any:
    """Convert a value to the form that the option keeps, after checking that it is allowed.

    Raises
    ------
    InputError
        If it is not allowed: names the option, the value and what is allowed; `where` goes before it.
    """
    if value is None and one.default is None:
        return None
    kind = one.metadata["kind"]
    try:
        return kind.accept(value)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        if isinstance(error, InputError):  # a value inside it, said already
            raise InputError(f"{where}{error}") from None
        raise InputError(f"{where}{one.name} is {kind}, not {described(value)}") from None


def descriptions(kind: type[Options]) -> dict[str, str]:
    """Extract from the docstring of a class the description of each parameter, as one line."""
    _, _, body = (inspect.getdoc(kind) or "").partition("Parameters\n----------\n")
    found = re.findall(r"^(\w+) : .*\n((?: {4}.*\n?)+)", body + "\n", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


T = TypeVar("T", bound=Options)


def chosen(options: T | None, keywords: T) -> T:
    """Return the options that a function was given, as a value or as keywords.

    Parameters
    ----------
    options : Options or None
        What was given as ``options=``.
    keywords : Options
        Made from the function's keyword arguments.

    Raises
    ------
    InputError
        If both were given, or `options` is something else.
    """
    if options is None:
        return keywords
    kind = type(keywords).__name__
    require(options, type(keywords), f"options= takes {kind}(...)")
    beside = [one.name for one in declared(type(keywords)) if getattr(keywords, one.name) != one.default]
    if beside:
        raise InputError(
            f"{', '.join(beside)} beside options={kind}(...): give one or the other, e.g. "
            f"dataclasses.replace(options, {beside[0]}=...)"
        )
    return options


def plain_rows(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a record of options: those of groups stand beside the others, as in "build.spacing"."""
    rows: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and not prefix:
            rows |= plain_rows(value, f"{name}.")
        else:
            rows[prefix + name] = value
    return rows
