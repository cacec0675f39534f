"""Saving the values that stages pass to each other: one .npz file, readable without pickle.

A frozen dataclass is stored as a JSON tree under the key ``tree`` (:mod:`tumortwin.archive.tree`); every array in it is
stored under its own key, so that ``numpy.load`` in any later version, or another program, can read it. Classes have
short names from one table (:mod:`tumortwin.archive.names`), so that moving one breaks no file, and no file can have
anything else imported. Older formats are read through the renames since then (:mod:`tumortwin.archive.renames`). The
file ends in a checksum (:mod:`tumortwin.archive.container`). Neither pickle nor code is ever read from a file.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tumortwin.archive import container, tree
from tumortwin.archive.names import class_of
from tumortwin.archive.renames import FORMAT, upgraded
from tumortwin.errors import InputError, ReadError
from tumortwin.outputs import new_file
from tumortwin.vault import VaultError, decrypt, encrypt, is_encrypted

T = TypeVar("T")


def save(value: Any, path: str | os.PathLike[str], *, overwrite: bool = False, passphrase: str | None = None) -> Path:
    """Write a dataclass of tumortwin to one compressed .npz file.

    Parameters
    ----------
    value : dataclass instance
        Made of numbers, strings, dates, enums, arrays of numbers, tuples, mappings and other dataclasses of tumortwin.
        Its class and theirs have rows in :mod:`tumortwin.archive.names`.
    path : path-like
        Where to; the suffix is ``.npz``.
    overwrite : bool
        Replace a file that is there already.
    passphrase : str, optional
        Encrypt the file (see :mod:`tumortwin.vault`); the plain content never reaches the disk.

    Raises
    ------
    InputError
        If the value holds something that cannot be stored.
    OutputExistsError
        If the file exists and `overwrite` is false.
    """
    arrays: tree.Arrays = {}
    content = json.dumps({"format": FORMAT, "value": tree.encode(value, arrays)})
    arrays["tree"] = np.frombuffer(content.encode(), dtype=np.uint8)
    target = Path(path)
    if target.suffix != ".npz":
        raise InputError(f"{target}: saved values have the suffix .npz")
    with new_file(target, overwrite=overwrite) as temporary:
        try:
            if passphrase is None:
                with temporary.open("w+b") as file:
                    container.write(file, arrays)
            else:
                container.write(buffer := io.BytesIO(), arrays)
                temporary.write_bytes(encrypt(buffer.getvalue(), passphrase))
        except container.ContainerError as error:
            raise InputError(f"{target} cannot be saved: {error}") from error
    return target


def load(path: str | os.PathLike[str], kind: type[T], *, passphrase: str | None = None) -> T:
    """Read what :func:`save` wrote, in this or an older version.

    Parameters
    ----------
    path : path-like
        The .npz file.
    kind : type
        What it must hold.
    passphrase : str, optional
        Of an encrypted file.

    Raises
    ------
    VaultError
        If the file is encrypted and the passphrase is wrong or missing.
    ReadError
        If the file is missing, damaged, of a newer format or holds something else.
    """
    path = Path(path)
    try:
        arrays, sealed = container.read(_content(path, passphrase))
    except container.ContainerError as error:
        raise _damaged(path, error) from error
    if "tree" not in arrays:
        raise ReadError(f"{path} holds arrays, but no value saved by tumortwin: name another file")
    try:
        stored = json.loads(arrays.pop("tree").tobytes())
        version, node = stored["format"], stored["value"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"its tree cannot be read ({error})") from error
    if not isinstance(version, int) or version < 1:
        raise _damaged(path, f"its format is {version!r}")
    if version > FORMAT:
        raise ReadError(f"{path} is of a newer format ({version}; this version reads up to {FORMAT}): update tumortwin")
    if version > 1 and not sealed:
        raise _damaged(path, "its checksum is missing")
    try:
        node = upgraded(node, version)
        _require(path, node, kind)
        tree.check(node, kind, arrays, kind.__name__)
        value: T = tree.build(node, arrays)
    except (tree.TreeError, RecursionError) as error:
        raise ReadError(
            f"{path} does not describe a valid {kind.__name__}: {error}; load a backup, or run the stage again"
        ) from error
    return value


def _content(path: Path, passphrase: str | None) -> bytes:
    """Read the content of a file, decrypted if it is encrypted."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from error
    if not is_encrypted(content):
        return content
    if passphrase is None:
        raise VaultError(f"{path} is encrypted: give its passphrase")
    return decrypt(content, passphrase, str(path))


def _damaged(path: Path, what: object) -> ReadError:
    return ReadError(
        f"{path} is damaged, or no value saved by tumortwin: {what}; load a backup, or run the stage again"
    )


def _require(path: Path, node: Any, kind: type) -> None:
    """Refuse another kind of value, and say how it is loaded."""
    held = class_of(node["dataclass"]) if isinstance(node, dict) and isinstance(node.get("dataclass"), str) else None
    if held is not None and not issubclass(held, kind):
        way = f"{held.__name__}.load" if hasattr(held, "load") else f"tumortwin.archive.load(path, {held.__name__})"
        raise ReadError(f"{path} holds a {held.__name__}, not a {kind.__name__}: use {way}")
