"""What parts the brain for a growing tumor: the falx between the hemispheres, the tentorium above the cerebellum."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.segmentation import watershed

from tumortwin.imaging.volume import Volume

BAND_MM = 6.0
"""The atlas' borders are trusted to this distance; within it the image decides."""

_ACROSS = (
    (6, -13),
    (24, -8),
    (34, -6),
    (38, 3),
    (36, 13),
    (28, 22),
    (16, 28),
    (2, 31),
    (-8, 32),
    (-22, 31),
    (-34, 27),
    (-43, 22),
    (-46, 14),
    (-44, 4),
    (-44, -80),
    (6, -80),
)
"""Outline (y to the front, z up; MNI mm) of what crosses the midline: callosum, 2 mm around it, and all below."""
_NOTCH = ((0.0, -27.0), (22.0, 21.0))
"""Center and half axes (x, y; MNI mm) of the tentorial notch, through which the midbrain passes."""


class Part(IntEnum):
    """A compartment of the brain."""

    LEFT = 1
    RIGHT = 2
    BELOW = 3
    """Cerebellum and brainstem, under the tentorium."""


@dataclass(frozen=True, eq=False)
class Compartments:
    """The brain's compartments on one grid, as the atlas has them.

    Parameters
    ----------
    part : (z, y, x) uint8 array
        A :class:`Part` for every voxel, also outside the brain (that of the nearest brain).
    passage : (z, y, x) bool array
        Where compartments are joined: callosum and commissures, diencephalon, brainstem.
    """

    part: NDArray[np.uint8]
    passage: NDArray[np.bool_]


def compartments_of(t1: Volume) -> Compartments:
    """Divide the MNI atlas into compartments of the brain.

    The midline is x = 0. The tentorium is where floods from the cerebellum and from the cerebrum meet in the dark gap
    between them (a watershed on the T1 signal). What crosses the midline was outlined on the atlas' own midline.

    Parameters
    ----------
    t1 : Volume
        The skull-stripped T1 template in MNI space.

    Returns
    -------
    Compartments
        On the template's grid.
    """
    grid = t1.grid
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    x, y, z = -world[..., 0], -world[..., 1], world[..., 2]
    side = np.abs(x)
    stem = (side < 14) & (y > -48) & (y < -8)
    above = (z > 14) | ((z > -8) & (y < -50) & (side > 16)) | ((z > -4) & (y < -84)) | ((y > -20) & ~stem)
    above |= ((z > -4) & (y > -20)) | (side > 58)
    below = ((z < -30) & (y < -42) & (side < 42)) | ((z < -22) & stem)
    below |= (y < -50) & (y > -72) & (side < 6) & (z < -8 + 0.5 * (y + 50))
    inside = ndimage.binary_fill_holes(t1.array > 40)
    floods = watershed(-ndimage.gaussian_filter(t1.array, 0.6), above + 2 * (below & ~above), mask=inside)
    nearest = ndimage.distance_transform_edt(floods == 0, return_distances=False, return_indices=True)
    under = floods[tuple(nearest)] == 2
    part = np.where(under, Part.BELOW, np.where(x < 0, Part.LEFT, Part.RIGHT)).astype(np.uint8)
    plane = polygon2mask((grid.shape[0], grid.shape[1]), np.array([_plane_index(y, z, point) for point in _ACROSS]))
    (cx, cy), (rx, ry) = _NOTCH
    notch = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    # the outline is about the midline; the notch about the tentorium
    return Compartments(part, np.where(under | ndimage.binary_dilation(under), notch, plane[..., None]))


def _plane_index(y: NDArray[np.float64], z: NDArray[np.float64], point: tuple[float, float]) -> tuple[float, float]:
    """Fractional index (z, y) of a point (y, z) of the midline."""
    return (point[1] - z[0, 0, 0]) / (z[1, 0, 0] - z[0, 0, 0]), (point[0] - y[0, 0, 0]) / (y[0, 1, 0] - y[0, 0, 0])


def barrier(
    compartments: Compartments,
    tissue: NDArray[np.float32],
    mask: NDArray[np.bool_],
    spacing: tuple[float, float, float],
) -> NDArray[np.bool_]:
    """Voxels to take out of a mask so that no face joins two compartments except in a passage.

    The atlas places falx and tentorium to some mm. Within :data:`BAND_MM` of its borders they are moved to where there
    is least tissue: floods from both sides meet there (a watershed; Vincent and Soille 1991, doi:10.1109/34.87344).
    Of two voxels with a border between them, the one with less tissue goes.

    Parameters
    ----------
    compartments : Compartments
        On the mask's grid.
    tissue : (z, y, x) array
        Share of white and grey matter.
    mask : (z, y, x) bool array
        Where cells could be.
    spacing : (3,) tuple
        Voxel edges in mm.
    """
    sure = np.zeros(mask.shape, np.int32)
    for part in Part:
        deep = ndimage.distance_transform_edt(compartments.part == part, sampling=spacing) > BAND_MM
        sure[deep & mask] = part
    part = watershed(1 - tissue, sure, mask=mask)
    gone = np.zeros(mask.shape, bool)
    for axis in range(3):
        ahead = tuple(slice(1, None) if k == axis else slice(None) for k in range(3))
        back = tuple(slice(None, -1) if k == axis else slice(None) for k in range(3))
        border = (part[back] != part[ahead]) & (part[back] > 0) & (part[ahead] > 0)
        border &= ~(compartments.passage[back] & compartments.passage[ahead])
        border &= ~(gone[back] | gone[ahead])
        first = tissue[back] <= tissue[ahead]
        gone[back] |= border & first
        gone[ahead] |= border & ~first
    return gone
