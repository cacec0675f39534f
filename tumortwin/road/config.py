"""Run options as a TOML file: read with every mistake named; a template that is made from the options themselves."""

from __future__ import annotations

import difflib
import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tumortwin.arguments import require_path
from tumortwin.errors import InputError, ReadError
from tumortwin.options import Group, Options, checked, declared, descriptions
from tumortwin.planning import ConstraintSet
from tumortwin.road.options import RunOptions

OWN = "run"
"""The section of the options that are of the run itself; the other sections are of its stages."""


def read_config(path: str | os.PathLike[str]) -> RunOptions:
    """Read run options from a TOML file, as ``tumortwin new-config`` writes one.

    Parameters
    ----------
    path : path-like
        The file. What it does not name keeps its default; the paths in it count from its folder.

    Raises
    ------
    ReadError
        If the file cannot be read or is not TOML.
    InputError
        If a section, a key or a value is not one that there is; names the file, the key, the value and what is allowed.
    """
    require_path(path, "read_config takes a TOML file")
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"{file} cannot be read ({error.strerror}): `tumortwin new-config {file}` makes one") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReadError(f"{file} is not TOML: {error}") from error
    sections = _sections()
    for name, keys in content.items():
        if name not in sections:
            raise InputError(f"{file}: there is no section [{name}]{_nearest(name, sections)}")
        if not isinstance(keys, dict):
            raise InputError(f"{file}: {name} is a section: write [{name}] on a line of its own, and its keys below")
    stages = {
        name: _options(kind, content.get(name, {}), f"{file}: [{name}] ", file.parent)
        for name, kind in sections.items()
        if name != OWN
    }
    return replace(_options(RunOptions, content.get(OWN, {}), f"{file}: [{OWN}] ", file.parent), **stages)


def changed(options: RunOptions, changes: Mapping[str, Any]) -> RunOptions:
    """Options with some replaced.

    Parameters
    ----------
    options : RunOptions
        The others.
    changes : mapping of str to object
        By section and name: "build.spacing", "run.seed". Tables are added to what is there.
    """
    own: dict[str, Any] = {}
    for place, value in changes.items():
        section, _, name = place.partition(".")
        if isinstance(value, Mapping):
            value = {**(getattr(options if section == OWN else getattr(options, section), name) or {}), **value}
        if section == OWN:
            own[name] = value
        else:
            own[section] = replace(own.get(section, getattr(options, section)), **{name: value})
    return replace(options, **own)


def config_template() -> str:
    """Write a TOML text that names every option with its unit and default, all commented out."""
    parts = [
        "# Options of `tumortwin run` and `tumortwin build`: give this file with --config.\n"
        "# Every option is here with its default, or with an example where the default comes from the data.\n"
        "# Take out the '#' before a key to set it; flags of the command line overrule this file.\n"
    ]
    for section, kind in _sections().items():
        summary = (kind.__doc__ or "").partition("\n")[0]
        parts.append(f"\n[{section}]\n{_comment(summary)}")
        said = descriptions(kind)
        for one in _own_options(kind):
            default = "default" if one.default is not None else "example"
            parts.append(
                f"\n{_comment(said.get(one.name, ''))}{_comment(_sentence(str(one.metadata['kind'])))}"
                f"# {one.name} = {_toml(_value(one))}  # {default}\n"
            )
    return "".join(parts)


def flag_help(place: str) -> str:
    """Describe the purpose of a command-line flag that sets an option.

    Parameters
    ----------
    place : str
        Section and name of the option: "build.spacing".
    """
    section, _, name = place.partition(".")
    kind = _sections()[section]
    one = next(one for one in _own_options(kind) if one.name == name)
    first, *more = re.split(r"(?<=\.) (?=[A-Z])", descriptions(kind).get(name, ""))
    default = [sentence for sentence in more if sentence.startswith("By default")]
    said = " ".join(default) if one.default is None else f"default: {one.default}" if one.default is not False else ""
    said = said[:1].lower() + said[1:].rstrip(".")
    return f"{first[:1].lower()}{first[1:].rstrip('.')}" + (f" ({said})" if said else "")


def _sections() -> dict[str, type[Options]]:
    """Name and class of each section, in the order of the road."""
    groups = (one for one in declared(RunOptions) if isinstance(one.metadata["kind"], Group))
    return {one.name: one.metadata["kind"].of for one in groups} | {OWN: RunOptions}


def _own_options(kind: type[Options]) -> list[Field[Any]]:
    return [one for one in declared(kind) if not isinstance(one.metadata["kind"], Group)]


def _options(kind: type[Options], keys: Mapping[str, Any], where: str, folder: Path) -> Any:
    """Build the options of one section; the message of an error names the key that is wrong."""
    known = {one.name: one for one in _own_options(kind)}
    taken = {}
    for key, value in keys.items():
        if key not in known:
            raise InputError(f"{where}there is no option {key!r}{_nearest(key, known)}")
        if key == "transforms" and isinstance(value, dict):
            value = {visit: folder / pose if isinstance(pose, str) else pose for visit, pose in value.items()}
        taken[key] = checked(known[key], value, where)
    try:
        return kind(**taken)
    except InputError as error:  # two options that do not go together
        raise InputError(f"{where}{error}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(names)}"


def _value(one: Field[Any]) -> Any:
    return one.metadata["example"] if one.default is None else one.default


def _toml(value: Any) -> str:
    if isinstance(value, ConstraintSet):
        value = value.name
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(str(value) if isinstance(value, StrEnum) else value)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, 112, break_on_hyphens=False))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
