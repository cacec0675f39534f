"""Old names of renamed values: they work until version 0.3, with a warning that gives the new name."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module whose names were changed.

    Parameters
    ----------
    module : str
        The module's ``__name__``.
    names : mapping of str to str
        New name by old name; both belong to `module`.

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
    (3.0, 'math.square_root is now math.sqrt; the old name goes in 0.3')
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is now {module}.{names[name]}; the old name goes in 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(module), names[name])

    return __getattr__
