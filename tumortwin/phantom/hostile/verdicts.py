"""What became of a hostile series in a reader's hands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import TumorTwinError
from tumortwin.imaging.folder import read_folder
from tumortwin.imaging.study import AcquiredImage
from tumortwin.phantom.hostile.specimens import Expected, Mutant, Truth

NEAR = 0.01
"""Geometry is right within this (mm)."""


class Verdict(StrEnum):
    """From good to bad."""

    RIGHT = "right"
    REPAIRED = "repaired right"
    REFUSED = "refused"
    WARNED = "wrong with a warning"
    WRONG = "silently wrong"
    CRASH = "crash"


@dataclass(frozen=True, eq=False)
class Reading:
    """An array (z, y, x) and its 4x4 affine, index to LPS mm, as some reader gives them."""

    array: NDArray[Any]
    affine: NDArray[np.float64]


def judge(volumes: Iterable[Reading], truths: Iterable[Truth]) -> tuple[Verdict, str]:
    """Hold volumes against the truth.

    A volume is wrong if its values are not those of the places that its affine gives them. A localizer that comes out
    as an image of its own is not wrong, though nobody asked for it.

    Returns
    -------
    verdict : Verdict
        RIGHT if each truth was met, REFUSED if some were not, WRONG if a volume is wrong.
    why : str
        Empty if right.
    """
    truths, volumes = tuple(truths), tuple(volumes)
    met: set[int] = set()
    for volume in volumes:
        off = [t.values_off(volume.array, volume.affine) for t in truths]
        if not off or min(off) > 1:
            return Verdict.WRONG, (
                f"values {min(off):.3g} times the tolerance off"
                if off
                else f"a volume of {volume.array.shape} where nothing can be known"
            )
        near = [
            k for k, t in enumerate(truths) if off[k] <= 1 and t.geometry_off(volume.array.shape, volume.affine) <= NEAR
        ]
        met.update(near[:1] if not set(near) - met else [min(set(near) - met)])
    if not volumes:
        return Verdict.REFUSED, "no volume"
    missed = sum(t.wanted and k not in met for k, t in enumerate(truths))
    return (Verdict.REFUSED, f"{missed} of {len(truths)} volumes not there") if missed else (Verdict.RIGHT, "")


def our_verdict(mutant: Mutant, folder: Path) -> tuple[Verdict, str]:
    """Read a mutant's folder with :func:`~tumortwin.imaging.folder.read_folder`, and judge.

    More is asked than of others: dates, what the images show, a computed ADC, and that the findings say what was done.
    """
    try:
        study = read_folder(folder)
    except TumorTwinError as error:
        text = f"{type(error).__name__}: {error}"
        unsaid = mutant.expected is Expected.REFUSED and mutant.says.lower() not in text.lower()
        return Verdict.REFUSED, f"does not say {mutant.says!r}: {text}" if unsaid else text
    except Exception as error:
        return Verdict.CRASH, f"{type(error).__name__}: {error}"
    verdict, why = judge([Reading(i.volume.array, i.volume.affine) for i in study.images], mutant.truths)
    if verdict is Verdict.RIGHT:
        lies = [lie for i in study.images if (lie := _lie(i, mutant.truths))]
        if lies:
            return Verdict.WRONG, lies[0]
        verdict = Verdict.REPAIRED if mutant.expected is Expected.REPAIRED else Verdict.RIGHT
    said = "\n".join([str(study), *map(str, study.findings)])
    if mutant.says.lower() not in said.lower():
        why = f"does not say {mutant.says!r}; {why}"
    if verdict is Verdict.REFUSED and not why.startswith("does not"):
        why += "; " + "; ".join(str(f) for f in study.findings)
    return verdict, why


def _lie(image: AcquiredImage, truths: tuple[Truth, ...]) -> str:
    """Describe what is wrong with an image's label or date; empty if nothing is."""
    fitting = [t for t in truths if t.values_off(image.volume.array, image.volume.affine) <= 1]
    shown = [t for t in fitting if t.sequence in (None, image.sequence)]
    if not shown:
        return f"taken for {image.sequence}, which it is not"
    if not any(t.date in (None, image.date) for t in shown):
        return f"dated {image.date}, not {shown[0].date}"
    return ""
