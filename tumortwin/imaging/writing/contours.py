"""A plane of a mask as closed polygons, holes joined to their surroundings by keyholes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

Polygon = NDArray[np.float64]


def contours(plane: NDArray[np.bool_]) -> list[Polygon]:
    """Polygons whose insides are the pixels of a plane.

    The lines run midway between pixels inside and outside, so that a program that asks of each pixel center whether
    it is inside gets the plane back. DICOM contours know no holes: a hole is joined to what lies above it by a
    keyhole, a line that is walked there and back (DICOM PS3.3 C.8.8.6.3).

    Parameters
    ----------
    plane : (y, x) bool array
        The mask in one plane.

    Returns
    -------
    list of (n, 2) arrays
        One closed polygon (last point not repeated, n >= 4) as (y, x) indices for each part; parts touch by sides.
    """
    # a frame of outside pixels closes parts that touch the border; "low": inside pixels do not connect by corners
    padded = np.pad(plane, 1)
    lines = [
        line[:-1]
        for line in find_contours(padded.astype(np.float32), 0.5, fully_connected="low", positive_orientation="low")
    ]
    outlines = [line for line in lines if _area(line) > 0]
    # from the lowest to the highest, each beginning at its top: a hole hangs from something that comes later
    holes = [np.roll(line, -int(line[:, 0].argmin()), axis=0) for line in lines if _area(line) <= 0]
    holes.sort(key=lambda hole: -hole[0, 0])
    hosts = [*holes, *outlines]
    # every point lies midway between an inside and an outside pixel, on one line only
    owner = {tuple(point): (h, i) for h, host in enumerate(hosts) for i, point in enumerate((2 * host).astype(int))}
    guests: list[dict[int, Polygon]] = [{} for _ in hosts]
    for h, hole in enumerate(holes):
        y, x = int(hole[0, 0] - 0.5), int(hole[0, 1])
        while padded[y, x]:
            y -= 1
        host, point = owner[2 * y + 1, 2 * x]
        guests[host][point] = _with_guests(hole, guests[h])
    return [
        _without_straight_points(_with_guests(outline, guests[len(holes) + n])) - 1
        for n, outline in enumerate(outlines)
    ]


def _area(polygon: Polygon) -> float:
    """Signed area; its sign tells an outline from a hole."""
    y, x = polygon.T
    return float(np.sum(np.roll(y, -1) * x - y * np.roll(x, -1)) / 2)


def _with_guests(line: Polygon, guests: dict[int, Polygon]) -> Polygon:
    """Insert holes into a line: at each of the given points it goes once around a hole and returns to the point."""
    pieces, start = [], 0
    for point, guest in sorted(guests.items()):
        pieces += [line[start : point + 1], guest, guest[:1]]
        start = point
    return np.concatenate([*pieces, line[start:]])


def _without_straight_points(polygon: Polygon) -> Polygon:
    """Leave out points in the middle of straight lines; the tip of a keyhole, where the line turns back, stays."""
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    straight = (np.abs(cross) < 1e-9) & (np.sum(before * after, axis=1) > 0)
    return polygon[~straight]
