"""Label schemes: what the numbers in a segmentation file mean. They are named by the user, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tumortwin.errors import InputError


class LabelScheme(StrEnum):
    """Schemes that segmentation programs and challenges use."""

    BRATS_2021 = "BraTS 2021"
    """And the years before: there is no 3."""
    BRATS_2023 = "BraTS 2023"
    BRATS_2024 = "BraTS 2024"
    """Glioma after treatment: 4 is the resection cavity."""


LABELS: Mapping[LabelScheme, Mapping[int, str]] = {
    LabelScheme.BRATS_2021: {1: "necrosis", 2: "edema", 4: "enhancing"},
    LabelScheme.BRATS_2023: {1: "necrosis", 2: "edema", 3: "enhancing"},
    LabelScheme.BRATS_2024: {1: "non-enhancing core", 2: "edema", 3: "enhancing", 4: "resection cavity"},
}
"""Name of each label by scheme (Baid et al. 2021, arXiv:2107.02314; de Verdier et al. 2024, arXiv:2405.18368)."""


def scheme_named(name: str) -> LabelScheme:
    """Find the label scheme of a name.

    Raises
    ------
    InputError
        If there is none: the message lists those there are.
    """
    for scheme in LabelScheme:
        if name.strip().lower() == scheme.value.lower():
            return scheme
    raise InputError(
        f"no label scheme is called {name!r}: there are {', '.join(LabelScheme)}, or give a table of label and name"
    )
