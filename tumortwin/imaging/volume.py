"""Images that know where they are: Grid, Volume, Mask and Dose.

Arrays are indexed (z, y, x). World coordinates are DICOM patient coordinates (LPS: x to the patient's left, y to the
back, z to the head) in mm. The affine maps an index (z, y, x) to a world point (x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumortwin.arguments import require
from tumortwin.errors import InputError


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image are.

    Parameters
    ----------
    shape : tuple of int
        Numbers of voxels along (z, y, x).
    affine : (4, 4) array
        Maps a voxel index ``(z, y, x, 1)`` (voxel centres at whole numbers) to ``(x, y, z, 1)`` in LPS mm.
    frame : str or None
        Frame of reference (DICOM UID). Grids of unlike frames have no known relation to each other.

    Raises
    ------
    InputError
        If the shape is not three positive numbers or the affine is singular or not finite.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    frame: str | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"a grid has three positive sizes (z, y, x), not {self.shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise InputError(f"an affine is a finite 4x4 matrix with last row 0 0 0 1, not\n{self.affine}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise InputError(f"the affine is singular (a voxel without volume):\n{affine}")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def regular(
        cls, shape: tuple[int, int, int], spacing: ArrayLike = 1.0, origin: ArrayLike = 0.0, frame: str | None = None
    ) -> Self:
        """Build an axis-aligned grid.

        Parameters
        ----------
        shape : tuple of int
            Numbers of voxels along (z, y, x).
        spacing : float or (3,) array
            Voxel edge along (z, y, x) in mm.
        origin : float or (3,) array
            World point (x, y, z) of voxel (0, 0, 0) in mm.
        frame : str, optional
            Frame of reference.
        """
        dz, dy, dx = np.broadcast_to(np.asarray(spacing, float), 3)
        affine = np.zeros((4, 4))
        affine[0, 2], affine[1, 1], affine[2, 0], affine[3, 3] = dx, dy, dz, 1
        affine[:3, 3] = origin
        return cls(shape, affine, frame)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along (z, y, x)."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm^3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def center(self) -> NDArray[np.float64]:
        """World point (x, y, z) in the middle of the grid, in mm."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """World points (..., 3) as (x, y, z) in LPS mm of indices (..., 3) as (z, y, x)."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Fractional indices (..., 3) as (z, y, x) of world points (..., 3) as (x, y, z) in LPS mm."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(world, float) @ inverse[:3, :3].T + inverse[:3, 3]

    def cropped(self, box: tuple[slice, slice, slice]) -> Self:
        """Crop the grid to a box of slices without steps."""
        bounds = [s.indices(n) for s, n in zip(box, self.shape, strict=True)]
        if any(step != 1 for _, _, step in bounds):
            raise InputError(f"a grid is cropped by slices without a step, not {box}")
        affine = np.array(self.affine)
        affine[:3, 3] = self.to_world([start for start, _, _ in bounds])
        z, y, x = (stop - start for start, stop, _ in bounds)
        return replace(self, shape=(z, y, x), affine=affine)

    def matches(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both have the same frame and shape, and voxel centres within `tolerance` mm."""
        if self.shape != other.shape or self.frame != other.frame:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.matches(other, 0.0)

    def __hash__(self) -> int:
        return hash((self.shape, self.frame, self.affine.tobytes()))

    def __repr__(self) -> str:
        z, y, x = self.shape
        dz, dy, dx = self.spacing
        return f"Grid({z} x {y} x {x} voxels of {dz:.3g} x {dy:.3g} x {dx:.3g} mm, (z, y, x))"


@dataclass(frozen=True, eq=False)
class Volume:
    """An image: an array, where it lies, and what its numbers mean.

    Parameters
    ----------
    array : (z, y, x) array
        The values. Kept C-contiguous; not copied if it is so already.
    grid : Grid
        Where the voxels are.
    unit : str
        Unit of the values: "1", "mm^2/s", "Gy", "a.u." (signal without physical unit).
    name : str
        For people: series description, ROI name.
    source : tuple of str
        Where the values come from: DICOM SOP or series UIDs, or file names.
    """

    array: NDArray[Any]
    grid: Grid
    unit: str = "1"
    name: str = ""
    source: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        require(self.grid, Grid, f"a {type(self).__name__} takes a Grid that says where its voxels are")
        array = np.ascontiguousarray(self.array)
        if array.shape != self.grid.shape:
            raise InputError(f"{self.name or 'volume'}: array shape {array.shape} is not the grid's {self.grid.shape}")
        object.__setattr__(self, "array", array)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Index (z, y, x) to LPS mm: the grid's affine."""
        return self.grid.affine

    @property
    def frame(self) -> str | None:
        """Frame of reference UID: the grid's."""
        return self.grid.frame

    def cropped(self, box: tuple[slice, slice, slice]) -> Self:
        """Crop to a box of slices, at the same place in the world."""
        return replace(self, array=self.array[box], grid=self.grid.cropped(box))

    def with_array(self, array: NDArray[Any], **changes: Any) -> Self:
        """Return a volume on the same grid with other values."""
        return replace(self, array=array, **changes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name or 'unnamed'!r}, {self.array.dtype}, {self.unit}, {self.grid!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Mask(Volume):
    """A region: a boolean image."""

    def __post_init__(self) -> None:
        if np.asarray(self.array).dtype != bool:
            raise InputError(f"a mask is boolean, not {np.asarray(self.array).dtype}: compare with a threshold first")
        super().__post_init__()

    @property
    def volume_ml(self) -> float:
        """Volume in mL: voxels inside times voxel volume."""
        return float(self.array.sum()) * self.grid.voxel_volume / 1000


@dataclass(frozen=True, eq=False, repr=False)
class Dose(Volume):
    """A physical dose map in Gy. Use :class:`TotalDose` or :class:`FractionDose`: the type says which it is."""

    unit: str = "Gy"

    def __post_init__(self) -> None:
        if self.unit != "Gy":
            raise InputError(f"a dose is in Gy, not {self.unit!r}")
        super().__post_init__()


@dataclass(frozen=True, eq=False, repr=False)
class FractionDose(Dose):
    """Dose of one fraction in Gy."""


@dataclass(frozen=True, eq=False, repr=False)
class TotalDose(Dose):
    """Dose of a whole course in Gy."""

    def per_fraction(self, fractions: int) -> FractionDose:
        """Compute the dose of each of `fractions` equal fractions."""
        if fractions < 1:
            raise InputError(f"a course has at least one fraction, not {fractions}")
        return FractionDose(self.array / np.float32(fractions), self.grid, name=self.name, source=self.source)
