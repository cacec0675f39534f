"""Closed planar contours to masks: filled slice by slice, or, drawn on planes of their own, plane by plane."""

from __future__ import annotations

from collections.abc import Sequence as Several
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Grid, Mask

IN_SLICE = 0.25
"""Contours this near (in slices) to an image's slices were drawn on them."""
OFF_SLICE = 0.4
"""Farther off, rounding could put two planes in one slice."""
FLAT_MM = 0.2
"""Points of one contour scatter about its plane by less."""
NESTED = 0.9
"""Of two overlapping contours, the smaller is a hole if this share of it lies in the larger."""


class Contour(NamedTuple):
    """One closed planar contour.

    Parameters
    ----------
    points : (n, 3) array
        LPS mm.
    xor : bool
        Whether it was declared as one whose overlaps cancel (CLOSEDPLANAR_XOR).
    """

    points: NDArray[np.float64]
    xor: bool = False


def fill(
    name: str, frame: str, contours: Several[Contour], grids: Several[Grid], source: str
) -> tuple[Mask, list[Finding]]:
    """Fill contours on the grid of an image.

    On the image's own slices, a voxel is inside if its center is inside an odd number of the slice's contours; this
    keeps holes (a contour in a contour, or a keyhole) and islands. Contours that cross are united. Contours on planes
    of their own (a finer image, another orientation) are filled there, each standing for half a step to either side.

    Parameters
    ----------
    name, frame : str
        Of the region, and its frame of reference.
    contours : sequence of Contour
        At least one.
    grids : sequence of Grid
        Candidates, best first: the first of the region's frame whose slices the contours lie in is used, else the
        first of its frame.
    source : str
        SOP Instance UID of the structure set.

    Returns
    -------
    mask : Mask
        Its grid is one of `grids`.
    findings : list of Finding
        What was assumed.

    Raises
    ------
    ReadError
        If no grid is of the region's frame, or the contours are not parallel planes at even distances.
    """
    same_frame = [g for g in grids if g.frame == frame]
    if not same_frame:
        raise ReadError(
            f"ROI {name!r}: no image of its frame of reference {frame} is in the folder: add the series it was drawn on"
        )
    findings: list[Finding] = []
    contours = _once(name, contours, findings)
    # rounded, so that points meant to be on a voxel's center are
    tried = [(grid, [np.round(grid.to_index(c.points), 6) for c in contours]) for grid in same_frame]
    offs = [_off_slice(indices) for _, indices in tried]
    best = next(
        (k for k, off in enumerate(offs) if off <= IN_SLICE),
        next((k for k, off in enumerate(offs) if off <= OFF_SLICE), None),
    )
    if best is None:
        grid = same_frame[0]
        array = _on_own_planes(name, contours, grid, findings)
    else:
        grid = tried[best][0]
        if offs[best] > 0.1:
            findings.append(
                Finding(
                    f"ROI {name!r}: contours up to {offs[best]:.2g} slices off the image's",
                    name,
                    "put in the nearest slice",
                    Severity.ASSUMED,
                )
            )
        array = _on_slices(name, tried[best][1], [c.xor for c in contours], grid, findings)
    points = grid.to_index(np.concatenate([c.points for c in contours]))
    # the file's decimals round, and contours on planes of their own may end half a slice farther out
    slack = np.array([1.0 if best is None else 0.5, 0.5, 0.5]) + 1e-3
    if (points < -slack).any() or (points > np.array(grid.shape) - 1 + slack).any():
        findings.append(
            Finding(f"ROI {name!r} reaches beyond the image", name, "cut at the image's border", Severity.ASSUMED)
        )
    return Mask(array, grid, name=name, source=(source,)), findings


def _once(name: str, contours: Several[Contour], findings: list[Finding]) -> list[Contour]:
    """Contours without second copies: two of a kind would cancel."""
    known: dict[tuple[bytes, bool], Contour] = {}
    for contour in contours:
        points = np.round(contour.points, 3) + 0.0
        known.setdefault((points[np.lexsort(points.T)].tobytes(), contour.xor), contour)
    if len(known) < len(contours):
        findings.append(
            Finding(
                f"ROI {name!r}: {len(contours) - len(known)} contour(s) drawn twice",
                name,
                "counted once",
                Severity.REPAIRED,
            )
        )
    return list(known.values())


def _off_slice(indices: list[NDArray[np.float64]]) -> float:
    """How far, in slices, points lie from the slice of their contour; infinite if two planes would share a slice."""
    means = np.array([i[:, 0].mean() for i in indices])
    for k in np.unique(np.round(means)):
        if np.ptp(means[np.round(means) == k]) > 0.1:
            return np.inf
    return max(float(np.abs(i[:, 0] - np.round(m)).max()) for i, m in zip(indices, means, strict=True))


def _on_slices(
    name: str, indices: list[NDArray[np.float64]], xor: list[bool], grid: Grid, findings: list[Finding]
) -> NDArray[np.bool_]:
    slices = np.array([round(float(i[:, 0].mean())) for i in indices])
    array = np.zeros(grid.shape, bool)
    crossed = 0
    for k in np.unique(slices):
        if 0 <= k < grid.shape[0]:
            here = [n for n, at in enumerate(slices) if at == k]
            array[k], crosses = _fill_plane([indices[n][:, 1:] for n in here], [xor[n] for n in here], grid.shape[1:])
            crossed += crosses
    if crossed:
        findings.append(_crossing(name, crossed))
    _bridge(name, array, np.unique(slices[(slices >= 0) & (slices < grid.shape[0])]), grid, findings)
    return array


def _crossing(name: str, planes: int) -> Finding:
    return Finding(
        f"ROI {name!r}: contours cross each other on {planes} slice(s)", name, "taken together", Severity.ASSUMED
    )


def _fill_plane(
    polygons: list[NDArray[np.float64]], xor: list[bool], shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], bool]:
    """Fill a plane's contours; return their inside, and whether some crossed and were united."""
    low, high = (np.array([f(p, axis=0) for p in polygons]) for f in (np.min, np.max))
    meet = ((low[:, None] <= high[None]) & (high[:, None] >= low[None])).all(-1) & ~np.eye(len(polygons), dtype=bool)
    # most contours stand alone, or are holes and islands that cancel as they should
    if not meet[np.ix_(~np.array(xor), ~np.array(xor))].any():
        return even_odd(polygons, shape), False
    parts = [even_odd([p], shape) for p in polygons]
    region = list(range(len(polygons)))  # which contours are one region
    largest_first = np.argsort([-int(p.sum()) for p in parts], kind="stable")
    for place, n in enumerate(largest_first):
        for m in largest_first[:place]:
            if meet[n, m] and not xor[n] and not xor[m] and _cross(parts[n], parts[m]):
                region = [region[m] if r == region[n] else r for r in region]
    inside = np.zeros(shape, bool)
    for r in set(region):
        inside ^= np.logical_or.reduce([p for p, own in zip(parts, region, strict=True) if own == r])
    return inside, len(set(region)) < len(polygons)


def _cross(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    common = (a & b).sum()
    return bool(0 < common < NESTED * min(a.sum(), b.sum()))


def _bridge(name: str, array: NDArray[np.bool_], drawn: NDArray[np.int64], grid: Grid, findings: list[Finding]) -> None:
    """Fill slices without a contour between two that show the same part.

    One slice alone was overlooked; a regular interval is how planning systems thin out. Parts that do not overlap are
    islands, and longer gaps here and there are left alone.
    """
    steps = np.diff(drawn)
    regular = len(steps) > 1 and bool((steps == steps[0]).all())
    before = array.sum()
    filled, apart, left = 0, 0, 0
    for low, high in pairwise(drawn):
        if high - low < 2:
            continue
        below, above = _touching(array[low], array[high]), _touching(array[high], array[low])
        if not below.any():
            apart += high - low - 1
        elif regular or high - low == 2:
            inner = [_depth(part, grid) for part in (below, above)]
            for k in range(low + 1, high):
                share = (k - low) / (high - low)
                array[k] = (1 - share) * inner[0] + share * inner[1] > 0
            filled += high - low - 1
        else:
            left += high - low - 1
    where = "between its ends"
    if filled:
        volumes = f"{before * grid.voxel_volume / 1000:.3g} mL became {array.sum() * grid.voxel_volume / 1000:.3g} mL"
        findings.append(
            Finding(
                f"ROI {name!r}: no contour on {filled} slice(s) {where}",
                name,
                f"interpolated from the contours on both sides: {volumes}",
                Severity.ASSUMED,
            )
        )
    if left:
        findings.append(
            Finding(
                f"ROI {name!r}: no contour on {left} slice(s) {where}",
                name,
                "left empty there: draw them if they belong to it",
                Severity.ASSUMED,
            )
        )
    if apart:
        findings.append(
            Finding(
                f"ROI {name!r}: no contour on {apart} slice(s) {where}",
                name,
                "left empty there: the parts on both sides do not overlap",
            )
        )


def _touching(part: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Select the connected parts of one slice that overlap another."""
    from scipy import ndimage  # slow to import, and seldom needed

    labels, _ = ndimage.label(part)
    return np.isin(labels, np.setdiff1d(labels[other], 0))


def _depth(part: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Signed distance to the edge in mm, positive inside (Raya and Udupa 1990, doi:10.1109/42.52980)."""
    from scipy import ndimage

    spacing = grid.spacing[1:]
    return ndimage.distance_transform_edt(part, spacing) - ndimage.distance_transform_edt(~part, spacing)


def _on_own_planes(name: str, contours: list[Contour], grid: Grid, findings: list[Finding]) -> NDArray[np.bool_]:
    """Contours that do not lie in the image's slices: each voxel asks the plane nearest to it."""
    remedy = "add the series it was drawn on"
    largest = max((c.points for c in contours), key=lambda p: float(np.linalg.norm(np.ptp(p, axis=0))))
    normal = np.linalg.svd(largest - largest.mean(0))[2][2]
    depths = np.array([float((c.points @ normal).mean()) for c in contours])
    scatter = max(float(np.abs(c.points @ normal - d).max()) for c, d in zip(contours, depths, strict=True))
    planes = np.sort(depths)
    planes = planes[np.concatenate([[True], np.diff(planes) > FLAT_MM])]
    off = "its contours do not lie in the image's slices"
    if scatter > FLAT_MM:
        raise ReadError(f"ROI {name!r}: {off}, nor in parallel planes (off by {scatter:.2g} mm): {remedy}")
    if len(planes) < 2:
        raise ReadError(f"ROI {name!r}: {off}, and one plane alone has no thickness: {remedy}")
    gaps = np.diff(planes)
    counts = np.round(gaps / gaps.min())
    step = float(np.median(gaps / counts))
    if np.abs(gaps - step * counts).max() > 0.1 * step:
        raise ReadError(
            f"ROI {name!r}: {off}, and its planes are {gaps.min():.3g} to {gaps.max():.3g} mm apart: {remedy}"
        )
    across = np.cross(normal, np.eye(3)[int(np.abs(normal).argmin())])
    axes = np.array([across / np.linalg.norm(across), np.cross(normal, across / np.linalg.norm(across))])
    fine = min(grid.spacing) / 4
    voxels = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    depth = voxels @ normal
    array = np.zeros(grid.shape, bool)
    crossed = 0
    for plane in planes:
        here = [c for c, d in zip(contours, depths, strict=True) if abs(d - plane) <= FLAT_MM]
        flat = [c.points @ axes.T for c in here]
        low = np.min([f.min(0) for f in flat], axis=0) - fine
        size = np.ceil((np.max([f.max(0) for f in flat], axis=0) - low) / fine).astype(int) + 2
        inside, crosses = _fill_plane([(f - low) / fine for f in flat], [c.xor for c in here], (size[0], size[1]))
        crossed += crosses
        near = (depth >= plane - step / 2) & (depth < plane + step / 2)
        at = np.round((voxels[near] @ axes.T - low) / fine).astype(int)
        within = ((at >= 0) & (at < size)).all(1)
        found = np.zeros(len(at), bool)
        found[within] = inside[tuple(at[within].T)]
        array[near] = found
    if crossed:
        findings.append(_crossing(name, crossed))
    missing = round((planes[-1] - planes[0]) / step) + 1 - len(planes)
    tilt = np.rad2deg(
        np.arccos(
            min(1.0, abs(float(normal @ np.cross(*grid.affine[:3, 1:3].T))) / (grid.spacing[1] * grid.spacing[2]))
        )
    )
    findings.append(
        Finding(
            f"ROI {name!r} was drawn on planes {step:.3g} mm apart, {tilt:.0f} deg to the image's slices",
            name,
            "filled there and brought to the image's voxels"
            + (f"; {missing} planes between are empty" if missing > 0 else ""),
            Severity.ASSUMED,
        )
    )
    return array


def even_odd(polygons: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centers are inside an odd number of polygons.

    Parameters
    ----------
    polygons : list of (n, 2) arrays
        Closed, as (row, column) in pixels.
    shape : (rows, columns)
        Of the picture.

    Notes
    -----
    Along each row, each polygon edge that crosses it flips everything to its right; an edge owns its upper end and
    not its lower one, so that no vertex is counted twice and the two banks of a keyhole cancel exactly.
    """
    rows, columns = shape
    start = np.concatenate(polygons)
    stop = np.concatenate([np.roll(p, -1, axis=0) for p in polygons])
    # a fixed direction, so that the same edge walked both ways crosses at bit-identical places
    swap = (start[:, 0] > stop[:, 0])[:, None]
    low, high = np.where(swap, stop, start), np.where(swap, start, stop)
    first = np.clip(np.ceil(low[:, 0]), 0, rows).astype(int)
    last = np.clip(np.ceil(high[:, 0]), 0, rows).astype(int)
    counts = last - first
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (row - low[edge, 0]) / (high[edge, 0] - low[edge, 0])
    crossing = low[edge, 1] + share * (high[edge, 1] - low[edge, 1])
    column = np.clip(np.ceil(crossing), 0, columns).astype(int)
    flips = np.zeros((rows, columns + 1), np.int64)
    np.add.at(flips, (row, column), 1)
    return np.asarray(np.cumsum(flips, axis=1)[:, :columns] % 2 == 1)
