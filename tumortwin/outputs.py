"""Writing result files so that none is ever half-written or replaced unasked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tumortwin.errors import OutputExistsError


@contextmanager
def new_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        Where the finished file shall be. Its folder is made if needed.
    overwrite : bool
        Replace a file that is there already.

    Yields
    ------
    pathlib.Path
        A temporary name with the same suffixes, to write to.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is false.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} is there already: choose another name, or ask to overwrite it (--force)")
    target.parent.mkdir(parents=True, exist_ok=True)
    # all endings: writers of other libraries tell .nii.gz from .gz by the name
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix="".join(target.suffixes), dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; a result file follows the user's umask like any other
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
