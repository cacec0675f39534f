"""How a twin is built: the options of :func:`tumortwin.build_twin`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from tumortwin.arguments import described
from tumortwin.errors import InputError
from tumortwin.geometry.measures.outline_density import Cellularity
from tumortwin.geometry.registration.transform_file import rigid_matrix
from tumortwin.imaging.volume import Mask
from tumortwin.options import Choice, Clean, Flag, Kind, Number, Options, option


@dataclass(frozen=True)
class _Organ(Kind):
    """The name of a mask, or a mask."""

    def accept(self, value: Any) -> str | Mask:
        if not isinstance(value, Mask) and not (isinstance(value, str) and value.strip()):
            raise ValueError
        return value

    def as_json(self, value: Any, clean: Clean) -> str:
        if isinstance(value, str):
            return clean(value)
        return f"a mask, sha256 {hashlib.sha256(value.affine.tobytes() + value.array.tobytes()).hexdigest()}"

    def __str__(self) -> str:
        return "the name of a mask (in Python also a Mask)"


@dataclass(frozen=True)
class _Transforms(Kind):
    """The pose of a visit by its index: a rigid matrix, or a file that is there."""

    def accept(self, value: Any) -> dict[int, Any] | None:
        if not isinstance(value, Mapping):
            raise ValueError
        poses: dict[int, Any] = {}
        for visit, pose in value.items():
            number = int(visit) if isinstance(visit, str) and visit.lstrip("-").isdigit() else visit
            if isinstance(number, bool) or not isinstance(number, int):
                raise InputError(f"transforms: {described(visit)} is no index of a visit: they count from 0")
            if isinstance(pose, str | os.PathLike):
                if not Path(pose).is_file():
                    raise InputError(f"transforms: visit {number}: there is no file {os.fspath(pose)}")
                poses[number] = os.fspath(pose)
            else:
                # tuples, which can be compared and recorded
                poses[number] = tuple(map(tuple, rigid_matrix(pose, f"transforms[{visit}]").tolist()))
        return poses or None

    def as_json(self, value: Any, clean: Clean) -> dict[str, Any]:
        # a file by its content: its name may be the patient's, and what it holds may change
        return {
            str(visit): f"sha256 {hashlib.sha256(Path(pose).read_bytes()).hexdigest()}"
            if isinstance(pose, str)
            else pose
            for visit, pose in sorted(value.items())
        }

    def __str__(self) -> str:
        return "a table of visits (from 0) and their pose, each a file or a 4 x 4 matrix"


@dataclass(frozen=True)
class BuildOptions(Options):
    """How a patient's scans are brought to one grid.

    Parameters
    ----------
    spacing : float
        Voxel edge of the twin's cubic grid, mm.
    reference : int, optional
        Visit (from 0) that gives grid and tissue, and that the others are registered to. By default the one in whose
        frame structures and dose lie, else the first with T1Gd, else the first that can.
    organ : str or Mask, optional
        Name of the mask in which the tumor grows, if that is no brain. By default the brain, or an organ that was
        outlined where there is no image of a head.
    transforms : mapping of int to (4, 4) array or path, optional
        Known pose of a visit (from 0), in place of a registration: an ITK transform file or rigid matrix that takes a
        world point (LPS mm) of the reference visit to that of the visit, or a DICOM Spatial Registration.
    deformable : bool
        Bend each visit to the reference after the rigid pose, away from the tumor. Growth that pushes brain aside may
        be absorbed by it. Heads only.
    cellularity : Cellularity
        What cell density is taken from: the ADC inside the enhancing tumor, the outlines, or both.
    strict : bool
        Stop at the first finding that is more than a note: anything repaired, assumed or left out.

    Raises
    ------
    InputError
        If a value is out of its range or of another type, or a file is not there.
    """

    spacing: float = option(2.0, Number(0.5, 10.0, "mm"))
    reference: int | None = option(None, Number(whole=True), example=0)
    organ: str | Mask | None = option(None, _Organ(), example="breast")
    transforms: Mapping[int, ArrayLike | str | os.PathLike[str]] | None = option(
        None, _Transforms(), example={1: "visit1.tfm"}
    )
    deformable: bool = option(False, Flag())
    cellularity: Cellularity | str = option(Cellularity.ADC, Choice(Cellularity))
    strict: bool = option(False, Flag())

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deformable and self.organ is not None:
            raise InputError(
                "deformable=True bends heads: an organ's visits are registered as rigid bodies; leave out organ or "
                "deformable"
            )
