"""A value as a JSON tree and the arrays it names, and back again.

Nodes are numbers, strings, true, false, null, or an object with one of these sets of keys: ``dataclass`` and
``fields``; ``enum`` and ``is``; ``tuple``; ``mapping`` (pairs); ``array`` (its key in the file); ``datetime``;
``float`` ("nan", "inf", "-inf"). Classes have the names of :mod:`tumortwin.archive.names`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from tumortwin.archive.names import class_of, name_of
from tumortwin.errors import InputError

Arrays = dict[str, np.ndarray]


class TreeError(Exception):
    """A tree that does not describe a value, and where in it."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where} {what}")
        self.depth = len(where)


def encode(value: Any, arrays: Arrays) -> Any:
    """Convert a value to its tree of JSON values, and collect its arrays.

    Parameters
    ----------
    value : dataclass instance
        What is to be stored.
    arrays : dict of str to array
        Gets the value's arrays; one that occurs twice is stored once.

    Raises
    ------
    InputError
        If something in the value cannot be stored, or is not what its field's annotation says.
    """
    where = type(value).__name__
    tree = _encode(value, arrays, {}, where)
    try:
        check(tree, type(value), arrays, where)
    except TreeError as error:
        raise InputError(f"{error}: it cannot be saved so") from error
    return tree


def _encode(value: Any, arrays: Arrays, seen: dict[int, str], where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return {"enum": _name(type(value), where), "is": value.value}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str):  # pydicom's UIDs are strings, its IS are integers
        return int(value) if isinstance(value, int) else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise InputError(f"{where} is an array of {value.dtype}, which cannot be saved")
        # fraction doses and the like share one array: store it once
        if id(value) not in seen:
            seen[id(value)] = f"a{len(arrays)}"
            arrays[seen[id(value)]] = value
        return {"array": seen[id(value)]}
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {name: _encode(getattr(value, name), arrays, seen, f"{where}.{name}") for name in _fields(type(value))}
        return {"dataclass": _name(type(value), where), "fields": fields}
    if isinstance(value, Mapping):
        return {
            "mapping": [
                [_encode(k, arrays, seen, where), _encode(v, arrays, seen, f"{where}[{k!r}]")] for k, v in value.items()
            ]
        }
    if isinstance(value, tuple | list):
        return {"tuple": [_encode(v, arrays, seen, f"{where}[{i}]") for i, v in enumerate(value)]}
    raise InputError(f"{where} is a {type(value).__name__}, which cannot be saved")


def _name(kind: type, where: str) -> str:
    name = name_of(kind)
    if name is None:
        raise InputError(
            f"{where} is a {kind.__module__}:{kind.__qualname__}, which has no row in tumortwin/archive/names.py and "
            "cannot be saved: add a row, with a short name that will never change"
        )
    return name


def build(node: Any, arrays: Arrays) -> Any:
    """Build the value of a tree that was checked.

    Raises
    ------
    TreeError
        If a class refuses its fields.
    """
    match node:
        case {"array": name}:
            return arrays[name]
        case {"float": text}:
            return float(text)
        case {"datetime": text}:
            return datetime.fromisoformat(text)
        case {"enum": name, "is": value}:
            return _class(name, name)(value)
        case {"tuple": items}:
            return tuple(build(item, arrays) for item in items)
        case {"mapping": pairs}:
            return {build(key, arrays): build(value, arrays) for key, value in pairs}
        case {"dataclass": name, "fields": fields}:
            values = {key: build(value, arrays) for key, value in fields.items()}
            try:
                return _class(name, name)(**values)
            except Exception as error:  # whatever a class says to values it was not made for
                raise TreeError(f"a {name}", f"cannot be made of what is stored: {error}") from error
    return node


def check(node: Any, hint: Any, arrays: Arrays, where: str) -> None:
    """Make sure that a tree describes a value of a type; nothing is made of it yet.

    Parameters
    ----------
    node : JSON value
        The tree.
    hint : type or annotation
        What it is to describe: that of a field, or a class.
    arrays : dict of str to array
        The arrays that it may name.
    where : str
        What the node is, for the error.

    Raises
    ------
    TreeError
        If it does not.
    """
    if type(node) is hint:  # most nodes are plain
        return
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        _check_union(node, arguments, arrays, where)
    elif origin is np.ndarray:
        _check_array(node, get_args(arguments[1])[0], arrays, where)
    elif origin is tuple:
        items = _content(node, "tuple", list, where)
        hints = (arguments[0],) * len(items) if arguments[-1] is Ellipsis else arguments
        if len(items) != len(hints):
            raise TreeError(where, f"has {len(items)} entries, not {len(hints)}")
        for i, (item, each) in enumerate(zip(items, hints, strict=True)):
            check(item, each, arrays, f"{where}[{i}]")
    elif origin is not None and issubclass(origin, Mapping):
        for pair in _content(node, "mapping", list, where):
            if not isinstance(pair, list) or len(pair) != 2:
                raise TreeError(where, "is not a mapping from keys to values")
            check(pair[0], arguments[0], arrays, f"a key of {where}")
            check(pair[1], arguments[1], arrays, f"{where}[{pair[0]!r}]")
    elif isinstance(hint, type) and issubclass(hint, Enum):
        _check_enum(node, hint, where)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        _check_dataclass(node, hint, arrays, where)
    elif not _stands_for(node, hint, where):
        raise TreeError(where, f"is {_kind(node)}, not {hint.__name__}")


def _stands_for(node: Any, hint: Any, where: str) -> bool:
    """Whether what is not of a type by itself stands for it: a whole number, an enum that is a string, a date."""
    if hint in (NoneType, bool, int):
        return False
    if hint is float:
        return type(node) is int or node in ({"float": "nan"}, {"float": "inf"}, {"float": "-inf"})
    if hint is str:
        if not isinstance(node, dict) or "enum" not in node:
            return False
        _check_enum(node, str, where)
        return True
    if hint is datetime:
        try:
            datetime.fromisoformat(_content(node, "datetime", str, where))
        except ValueError as error:
            raise TreeError(where, f"is no date: {error}") from error
        return True
    raise TypeError(f"{where}: the archive cannot save what is annotated as {hint}; teach tumortwin.archive.tree to")


def _check_union(node: Any, hints: tuple[Any, ...], arrays: Arrays, where: str) -> None:
    """Any of several types; the error is that of the one that fits furthest."""
    errors = []
    for hint in hints:
        try:
            return check(node, hint, arrays, where)
        except TreeError as error:
            errors.append(error)
    raise max(errors, key=lambda error: error.depth)


def _check_array(node: Any, scalar: Any, arrays: Arrays, where: str) -> None:
    name = _content(node, "array", str, where)
    if name not in arrays:
        raise TreeError(where, f"is the array {name}, which the file does not hold")
    kind = arrays[name].dtype
    if scalar is not Any and not np.can_cast(kind, scalar, "same_kind"):
        raise TreeError(where, f"is an array of {kind}, not of {np.dtype(scalar)}")


def _check_enum(node: Any, hint: type, where: str) -> None:
    name = _content(node, "enum", str, where, "is")
    kind = _class(name, where)
    if not issubclass(kind, hint):
        raise TreeError(where, f"is a {name}, not a {hint.__name__}")
    if node["is"] not in [member.value for member in kind]:
        raise TreeError(where, f"is {node['is']!r}, which is none of {', '.join(str(m.value) for m in kind)}")


def _check_dataclass(node: Any, hint: type, arrays: Arrays, where: str) -> None:
    name = _content(node, "dataclass", str, where, "fields")
    kind = _class(name, where)
    if not issubclass(kind, hint):
        raise TreeError(where, f"is a {name}, not a {hint.__name__}")
    given, fields = node["fields"], _fields(kind)
    if not isinstance(given, dict):
        raise TreeError(where, "is a malformed dataclass")
    if unknown := sorted(given.keys() - fields.keys()):
        raise TreeError(where, f"has a field {unknown[0]!r}, which a {kind.__name__} does not have")
    if missing := [key for key, (_, needed) in fields.items() if needed and key not in given]:
        raise TreeError(where, f"lacks its field {missing[0]!r}")
    for key, value in given.items():
        check(value, fields[key][0], arrays, f"{where}.{key}")


@cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """Return the fields of a dataclass that are stored: their type, and whether they have no default."""
    hints = get_type_hints(kind)
    return {
        f.name: (hints[f.name], f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(kind)
        if f.init
    }


def _class(name: str, where: str) -> Any:
    kind = class_of(name)
    if kind is None:
        raise TreeError(where, f"is a {name!r}, which is nothing that tumortwin saves")
    return kind


def _content(node: Any, key: str, kind: type, where: str, *others: str) -> Any:
    """Return the content of a node of one sort after checking that it is well formed."""
    if not isinstance(node, dict) or key not in node:
        raise TreeError(where, f"is {_kind(node)}, not {key}")
    if node.keys() != {key, *others} or not isinstance(node[key], kind):
        raise TreeError(where, f"is a malformed {key}")
    return node[key]


def _kind(node: Any) -> str:
    """Return the sort of a node as text for messages, without the patient's data."""
    if isinstance(node, dict):
        return next(iter(node), "empty")
    return "empty" if node is None else type(node).__name__
