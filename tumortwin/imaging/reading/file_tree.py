"""The files of a folder, as people have folders: with links in them, and doors that are closed."""

from __future__ import annotations

import os
from pathlib import Path


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """All files below a folder, by path, and the folders that cannot be looked into.

    Links to folders elsewhere are followed, once each; a link to where the walk is or comes from is not.
    """
    top = Path(os.path.realpath(folder))
    followed: set[Path] = set()
    files: list[Path] = []
    closed: list[Path] = []
    for root, folders, names in os.walk(folder, followlinks=True, onerror=lambda e: closed.append(Path(e.filename))):
        files += [Path(root, name) for name in names]
        for name in [n for n in folders if Path(root, n).is_symlink()]:
            real = Path(os.path.realpath(Path(root, name)))  # Path.resolve raises where links go in circles
            if real in followed or real.is_relative_to(top) or top.is_relative_to(real):
                folders.remove(name)
            followed.add(real)
    return sorted(files, key=lambda p: p.parts), sorted(closed)
