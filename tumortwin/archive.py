"""Saving the values that stages pass to each other: one .npz file, readable without pickle.

A frozen dataclass is stored as a JSON tree under the key ``tree``; every array in it is stored under its own key, so
that ``numpy.load`` in any later version, or another program, can read it.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tumortwin.errors import InputError, ReadError
from tumortwin.outputs import new_file
from tumortwin.vault import VaultError, decrypt, encrypt, is_encrypted

FORMAT = 1

T = TypeVar("T")


def save(value: Any, path: str | os.PathLike[str], *, overwrite: bool = False, passphrase: str | None = None) -> Path:
    """Write a dataclass of tumortwin to one compressed .npz file.

    Parameters
    ----------
    value : dataclass instance
        Made of numbers, strings, dates, enums, arrays, tuples, mappings with string keys and other dataclasses of
        tumortwin.
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
    arrays: dict[str, np.ndarray] = {}
    tree = {"format": FORMAT, "value": _encode(value, arrays, {}, type(value).__name__)}
    arrays["tree"] = np.frombuffer(json.dumps(tree).encode(), dtype=np.uint8)
    target = Path(path)
    if target.suffix != ".npz":
        raise InputError(f"{target}: saved values have the suffix .npz")
    with new_file(target, overwrite=overwrite) as temporary:
        if passphrase is None:
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
        else:
            np.savez_compressed(buffer := io.BytesIO(), **arrays)  # type: ignore[arg-type]
            temporary.write_bytes(encrypt(buffer.getvalue(), passphrase))
    return target


def load(path: str | os.PathLike[str], kind: type[T], *, passphrase: str | None = None) -> T:
    """Read what :func:`save` wrote.

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
    try:
        with np.load(_opened(Path(path), passphrase), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        tree = json.loads(arrays.pop("tree").tobytes())
    except ReadError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ReadError(f"{path} cannot be read as a saved {kind.__name__}: {error}") from error
    if tree["format"] > FORMAT:
        raise ReadError(f"{path} was written by a newer tumortwin (format {tree['format']}): update tumortwin")
    value = _decode(tree["value"], arrays, Path(path))
    if not isinstance(value, kind):
        raise ReadError(f"{path} holds a {type(value).__name__}, not a {kind.__name__}")
    return value


def _opened(path: Path, passphrase: str | None) -> Path | io.BytesIO:
    """What numpy is to read: the file, or its decrypted content."""
    with path.open("rb") as file:
        if not is_encrypted(file.read(16)):
            return path
    if passphrase is None:
        raise VaultError(f"{path} is encrypted: give its passphrase")
    return io.BytesIO(decrypt(path.read_bytes(), passphrase, str(path)))


def _encode(value: Any, arrays: dict[str, np.ndarray], seen: dict[int, str], where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        return {"enum": _name(type(value)), "is": value.value}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray):
        # fraction doses and the like share one array: store it once
        if id(value) not in seen:
            seen[id(value)] = f"a{len(arrays)}"
            arrays[seen[id(value)]] = value
        return {"array": seen[id(value)]}
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _encode(getattr(value, f.name), arrays, seen, f"{where}.{f.name}")
            for f in dataclasses.fields(value)
            if f.init
        }
        return {"dataclass": _name(type(value)), "fields": fields}
    if isinstance(value, Mapping):
        return {
            "mapping": [
                [_encode(k, arrays, seen, where), _encode(v, arrays, seen, f"{where}[{k!r}]")] for k, v in value.items()
            ]
        }
    if isinstance(value, tuple | list):
        return {"tuple": [_encode(v, arrays, seen, f"{where}[{i}]") for i, v in enumerate(value)]}
    raise InputError(f"{where} is a {type(value).__name__}, which cannot be saved")


def _decode(tree: Any, arrays: dict[str, np.ndarray], path: Path) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "float" in tree:
        return float(tree["float"])
    if "datetime" in tree:
        return datetime.fromisoformat(tree["datetime"])
    if "enum" in tree:
        return _class(tree["enum"], path)(tree["is"])
    if "tuple" in tree:
        return tuple(_decode(v, arrays, path) for v in tree["tuple"])
    if "mapping" in tree:
        return {_decode(k, arrays, path): _decode(v, arrays, path) for k, v in tree["mapping"]}
    kind = _class(tree["dataclass"], path)
    return kind(**{name: _decode(v, arrays, path) for name, v in tree["fields"].items()})


def _name(kind: type) -> str:
    if not kind.__module__.startswith("tumortwin."):
        raise InputError(f"{kind.__module__}.{kind.__qualname__} is not a value of tumortwin and cannot be saved")
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str, path: Path) -> Any:
    """The class of a stored name: only dataclasses and enums of this package, whatever the file says."""
    module, _, qualname = name.partition(":")
    try:
        if not module.startswith("tumortwin."):
            raise AttributeError(name)
        kind = getattr(importlib.import_module(module), qualname)
        if not (isinstance(kind, type) and (dataclasses.is_dataclass(kind) or issubclass(kind, Enum))):
            raise AttributeError(name)
    except (ImportError, AttributeError) as error:
        raise ReadError(f"{path} names {name}, which this version of tumortwin does not know") from error
    return kind
