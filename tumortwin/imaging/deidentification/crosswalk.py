"""Who became whom: a file for the one person who may know.

It is JSON: ``patients`` gives for each Patient ID the pseudonym and the days added to its dates, ``files`` for each
file its new name. With the key it can be made again; keep both where the patients' names are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tumortwin.imaging.identity.pseudonym import Pseudonym
from tumortwin.outputs import new_file
from tumortwin.vault import decrypt, encrypt, is_encrypted

SCHEMA = "tumortwin-crosswalk-1"


def write_crosswalk(
    path: str | os.PathLike[str],
    people: Mapping[str, Pseudonym],
    files: Mapping[str, str],
    passphrase: str | None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a crosswalk that only its owner may read, encrypted if a passphrase is given.

    Parameters
    ----------
    path : path-like
        Where to.
    people : mapping of str to Pseudonym
        By Patient ID.
    files : mapping of str to str
        Names before and after, relative to their folders.
    passphrase : str or None
        Encrypts it.
    overwrite : bool
        Replace a file that is there already.
    """
    content = {
        "schema": SCHEMA,
        "patients": {given: {"id": p.name, "shift_days": p.shift.days} for given, p in sorted(people.items())},
        "files": dict(sorted(files.items())),
    }
    text = (json.dumps(content, indent=1) + "\n").encode()
    target = Path(path)
    with new_file(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(text if passphrase is None else encrypt(text, passphrase))
    target.chmod(0o600)
    return target


def read_crosswalk(path: str | os.PathLike[str], passphrase: str | None = None) -> dict[str, dict[str, object]]:
    """Read the crosswalk that :func:`write_crosswalk` wrote.

    Raises
    ------
    VaultError
        If it is encrypted and the passphrase is wrong.
    """
    content = Path(path).read_bytes()
    if is_encrypted(content):
        content = decrypt(content, passphrase or "", f"the crosswalk {path}")
    found: dict[str, dict[str, object]] = json.loads(content)
    return found
