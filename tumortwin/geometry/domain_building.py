"""A domain from the brain's tissue, or from the mask of any organ."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry.brain.compartments import Compartments, Part, barrier
from tumortwin.geometry.brain.tissue import Tissue
from tumortwin.geometry.domain import Domain
from tumortwin.geometry.sampling import average
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import index_map
from tumortwin.imaging.volume import Grid, Mask, Volume

PADDING = 2
"""Voxels around what can grow on the twin's grid."""
MANY_VOXELS = 30_000_000
"""Above this a growth solve needs some 3 GB: about 100 bytes a voxel."""
TOO_MANY_VOXELS = 500_000_000
FEW_ACROSS = 4.0
"""A tumor of fewer voxels across is not resolved: its volume steps by tens of per cent with one layer of voxels."""
PIECE_SHARE = 0.01
"""Pieces smaller than this share of all are crumbs of the segmentation."""
VOLUME_ERROR = 0.02


def brain_domain(
    tissue: Tissue, spacing: float, tumor: Mask | None = None, where: str = ""
) -> tuple[Domain, list[Finding]]:
    """Build a domain of white and grey matter on a cubic, axis-aligned grid, divided by falx, tentorium and ventricles.

    Voxels that are mostly CSF hold no cells, so ventricles and sulci are walls. Where gyri of the two hemispheres, or
    the cerebrum and the cerebellum, touch on this grid, a layer of voxels is taken out between them (see
    :func:`~tumortwin.geometry.brain.compartments.barrier`); callosum, commissures and brainstem stay passages.

    Parameters
    ----------
    tissue : Tissue
        Of the reference visit.
    spacing : float
        Voxel edge, mm.
    tumor : Mask, optional
        The tumor at the reference visit, in the tissue's frame: one on both sides of a barrier is a finding.
    where : str
        The visit, for findings.

    Returns
    -------
    Domain, list of Finding

    Raises
    ------
    InputError
        If the spacing is out of range, or there is no brain tissue.
    """
    grid = cubic_grid(tissue.mask, spacing)
    findings = _size_findings(grid, where)
    white, grey, csf = (average(Volume(a, tissue.grid), grid) for a in (tissue.white, tissue.grey, tissue.csf))
    # interpolation rounds; shares sum to at most 1
    total = np.maximum(white + grey + csf, 1)
    white, grey, csf = white / total, grey / total, csf / total
    solid = white + grey > 0.5
    if tissue.compartments is None:
        findings.append(
            Finding(
                "no atlas says where falx and tentorium are",
                where,
                "no barrier but CSF: cells can cross where the hemispheres touch",
                Severity.ASSUMED,
            )
        )
    else:
        matrix = index_map(tissue.grid, grid)
        part, passage = (
            ndimage.affine_transform(
                a.astype(np.uint8), matrix[:3, :3], matrix[:3, 3], order=0, output_shape=grid.shape, mode="nearest"
            )
            for a in (tissue.compartments.part, tissue.compartments.passage)
        )
        laid = Compartments(part, passage > 0)
        solid &= ~barrier(laid, white + grey, solid, grid.spacing)
        findings += _doubts(laid, solid, None if tumor is None else average(tumor, grid) > 0.5, where)
    mask, found = _pieces(solid, grid, "brain tissue", where, largest=False)
    return Domain(grid, mask, white, grey, csf), findings + found


def organ_domain(mask: Mask, spacing: float, *, largest: bool = False, where: str = "") -> tuple[Domain, list[Finding]]:
    """Any organ (breast, prostate, liver) as one tissue, from a mask on any grid.

    A voxel is in the domain if more than half of it lies in the mask. Of an organ so thin that this would change its
    volume by over 2 per cent, the voxels with the largest shares are taken instead, as many as its volume needs.

    Parameters
    ----------
    mask : Mask
        The organ; its grid may be oblique and its voxels anisotropic.
    spacing : float
        Voxel edge of the cubic grid, mm; it is kept as the grid's spacing.
    largest : bool
        Keep the largest piece alone. Default: all pieces of at least 1 per cent of the organ.
    where : str
        The organ, for findings.

    Returns
    -------
    Domain, list of Finding
        The grid is axis-aligned in the mask's world, with two voxels around the organ.

    Raises
    ------
    InputError
        If the mask is empty or the spacing out of range.
    """
    where = where or mask.name or "organ"
    grid = cubic_grid(mask, spacing)
    findings = _size_findings(grid, where)
    share = average(mask, grid)
    volume = float(mask.array.sum()) * mask.grid.voxel_volume / grid.voxel_volume
    inside = share > 0.5
    if abs(inside.sum() - volume) > VOLUME_ERROR * volume:
        count = max(1, round(volume))
        order = np.argsort(-share, axis=None, kind="stable")[:count]
        inside = np.zeros(grid.shape, bool)
        inside.flat[order] = True
        findings.append(
            Finding(
                f"the organ is thin or small for voxels of {spacing:g} mm",
                where,
                f"voxels from a share of {share.flat[order[-1]]:.2f} on count as inside, which keeps its volume of "
                f"{mask.volume_ml:.3g} mL; choose a finer spacing",
                Severity.ASSUMED,
            )
        )
    kept, found = _pieces(inside, grid, "the organ", where, largest=largest)
    return Domain.uniform(grid, kept), findings + found


def cubic_grid(mask: Mask, spacing: float) -> Grid:
    """Build the axis-aligned grid of cubic voxels around a mask, with two voxels to spare on each side.

    Its voxels begin at the edge of the mask's outermost voxels, so a mask on a grid of the same voxels is not blurred.

    Raises
    ------
    InputError
        If the mask is empty, the spacing is not 0.1 to 20 mm, or the grid would be too large for any computer.
    """
    if not 0.1 <= spacing <= 20:
        raise InputError(f"a grid's spacing is 0.1 to 20 mm, not {spacing}")
    index = np.argwhere(mask.array)
    if len(index) == 0:
        raise InputError(f"the mask {mask.name!r} is empty: there is nothing that could be a domain")
    world = mask.grid.to_world(index)
    half = np.abs(mask.affine[:3, :3]).sum(1) / 2
    low, high = world.min(0) - half, world.max(0) + half
    # a voxel more for a rounding error would be one more slice
    size = np.ceil((high - low) / spacing - 1e-6).astype(int) + 2 * PADDING
    count = float(np.prod(size.astype(float)))
    if count > TOO_MANY_VOXELS:
        raise InputError(
            f"a grid of {spacing:g} mm around {mask.name or 'the mask'} has {count:.2g} voxels, more than "
            "memory holds: choose a larger spacing"
        )
    origin = low + (0.5 - PADDING) * spacing
    return Grid.regular((int(size[2]), int(size[1]), int(size[0])), spacing, origin, mask.frame)


def resolution_findings(grid: Grid, tumors: Iterable[Mask], where: str = "") -> list[Finding]:
    """Report the smallest tumor if a ball of its volume is fewer than four voxels in diameter.

    Parameters
    ----------
    grid : Grid
        The domain's.
    tumors : iterable of Mask
        The same tumor at several visits, or several tumors; empty ones do not count.
    where : str
        Whose, for the finding.
    """
    volumes = [float(mask.array.sum()) * mask.grid.voxel_volume for mask in tumors if mask.array.any()]
    if not volumes:
        return []
    across = (6 * min(volumes) / np.pi) ** (1 / 3)
    if across >= FEW_ACROSS * grid.spacing[0]:
        return []
    return [
        Finding(
            f"the smallest tumor ({min(volumes) / 1000:.2g} mL) is {across / grid.spacing[0]:.1f} voxels of "
            f"{grid.spacing[0]:g} mm across",
            where,
            f"its volume is uncertain by a layer of voxels: choose a spacing of {across / FEW_ACROSS:.1f} mm or less",
            Severity.NOTE,
        )
    ]


def _size_findings(grid: Grid, where: str) -> list[Finding]:
    count = int(np.prod(grid.shape))
    if count <= MANY_VOXELS:
        return []
    return [
        Finding(
            f"the grid has {count / 1e6:.0f} million voxels",
            where,
            f"used all the same: a solve will need about {count * 1e-7:.0f} GB; a larger spacing needs less",
            Severity.NOTE,
        )
    ]


def _doubts(
    compartments: Compartments, solid: NDArray[np.bool_], tumor: NDArray[np.bool_] | None, where: str
) -> list[Finding]:
    """Report signs that the atlas put the falx or the tentorium in the wrong place."""
    findings = []
    left, right = (int((solid & (compartments.part == side)).sum()) for side in (Part.LEFT, Part.RIGHT))
    if max(left, right) > 1.25 * min(left, right):
        findings.append(
            Finding(
                f"the atlas gives {left / (left + right):.0%} of the cerebrum to the left side",
                where,
                "the falx was put there all the same: look at the overlay",
                Severity.ASSUMED,
            )
        )
    if tumor is not None and tumor.any():
        beyond = sorted((tumor & (compartments.part == part)).sum() / tumor.sum() for part in Part)[-2]
        if beyond > 0.1 and not (tumor & compartments.passage & solid).any():
            findings.append(
                Finding(
                    f"the tumor lies on both sides of the falx or the tentorium ({beyond:.0%} beyond it) "
                    "and in no passage between them",
                    where,
                    "cells cannot cross there in the model: it may be displaced, or grown through",
                    Severity.NOTE,
                )
            )
    return findings


def _pieces(
    inside: NDArray[np.bool_], grid: Grid, what: str, where: str, *, largest: bool
) -> tuple[NDArray[np.bool_], list[Finding]]:
    """Drop small pieces of a mask, or all but the largest, and report what was dropped or is in several pieces."""
    labels, count = ndimage.label(inside)
    if count <= 1:
        return inside, []
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    keep = sizes == sizes.max() if largest else sizes >= PIECE_SHARE * sizes.sum()
    if largest:
        keep &= np.arange(len(keep)) == sizes.argmax()
    kept = keep[labels]
    findings = []
    if keep.sum() > 1:
        findings.append(
            Finding(
                f"{what} is in {keep.sum()} pieces that do not touch",
                where,
                "all kept: no cell passes from one to another",
                Severity.NOTE,
            )
        )
    lost = 1 - kept.sum() / inside.sum()
    if lost > PIECE_SHARE:
        findings.append(
            Finding(
                f"{what} has {count - keep.sum()} further pieces, {lost:.1%} of its volume "
                f"({(inside.sum() - kept.sum()) * grid.voxel_volume / 1000:.2g} mL)",
                where,
                "left out",
                Severity.LEFT_OUT,
            )
        )
    return kept, findings
