"""Old names of renamed values: they work until version 0.3.0, with a warning that gives the new name."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

REMOVED_IN = "0.3.0"


def renamed(module: str, names: Mapping[str, str], *, stacklevel: int = 2) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module whose names were changed.

    Parameters
    ----------
    module : str
        The module's ``__name__``.
    names : mapping of str to str
        New name by old name; both belong to `module`.
    stacklevel : int
        Frames between the warning and the line that used the old name.

    Returns
    -------
    callable
        Returns the value of the new name, with a `DeprecationWarning`.

    Examples
    --------
    >>> from tumortwin.deprecation import renamed
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     square_root = renamed("math", {"square_root": "sqrt"})("square_root")
    >>> square_root(9.0), str(caught[0].message)
    (3.0, 'math.square_root is now math.sqrt; the old name goes in version 0.3.0')
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is now {module}.{names[name]}; the old name goes in version {REMOVED_IN}",
            DeprecationWarning,
            stacklevel=stacklevel,
        )
        return getattr(importlib.import_module(module), names[name])

    return __getattr__
