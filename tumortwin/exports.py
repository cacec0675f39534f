"""Public names of a package, each imported from its module when it is first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tumortwin.deprecation import renamed


def lazy_exports(
    package: str, homes: Mapping[str, str], old_names: Mapping[str, str] | None = None
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's ``__all__``, ``__getattr__`` and ``__dir__`` (PEP 562), so that importing it imports no module.

    The package imports the same names under ``TYPE_CHECKING``, for type checkers and editors.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping of str to str
        Public names, separated by spaces, by the module that holds them (relative to the package: "brain.atlas").
    old_names : mapping of str to str, optional
        New name by old name, of names that were changed; see :func:`~tumortwin.deprecation.renamed`.

    Returns
    -------
    list of str
        ``__all__``: every public name, in the order given.
    callable
        ``__getattr__``.
    callable
        ``__dir__``.

    Examples
    --------
    >>> from tumortwin.exports import lazy_exports
    >>> names, getter, _ = lazy_exports("tumortwin", {"errors": "InputError ReadError"})
    >>> names, getter("ReadError").__module__
    (['InputError', 'ReadError'], 'tumortwin.errors')
    """
    home = {name: f"{package}.{module}" for module, names in homes.items() for name in names.split()}
    outdated = renamed(package, old_names or {}, stacklevel=3)

    def __getattr__(name: str) -> Any:
        if name not in home:
            return outdated(name)
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted(home)

    return list(home), __getattr__, __dir__
