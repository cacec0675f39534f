"""How far computed volumes and diameters are from those of analytic shapes.

    OMP_NUM_THREADS=1 python benchmarks/measures.py [--shapes 40] [--json FILE] [--write docs/geometry/measures.md]

Spheres, ellipsoids, shells and capsules, on axial, sagittal, coronal, oblique and freely turned grids, with voxels of
0.5 to 2 mm in plane and slices up to 5 mm, sorted by how many voxels the shape spans along the axis where they are
fewest. Beside it what a user would do instead: count voxels, and take the longest distance of two voxels.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from shapes import Shape, shapes
from tables import finish, machine, note, parser

from tumortwin.geometry import measure
from tumortwin.imaging.volume import Mask

KINDS = ("sphere", "ellipsoid", "shell", "capsule")
WHAT = ("volume", "longest axial diameter", "perpendicular to it", "longest diameter in space")


def plain(shape: Shape) -> tuple[float, float]:
    """Relative errors of counted voxels and of the longest distance between voxels' centers."""
    mask = shape.lesion
    assert isinstance(mask, Mask)
    world = mask.grid.to_world(np.argwhere(mask.array))
    longest = pdist(world[ConvexHull(world).vertices]).max()
    return mask.volume_ml / shape.volume_ml - 1, longest / shape.longest_3d_mm - 1


def main() -> None:
    """Print the table."""
    options = parser(__doc__ or "")
    options.add_argument("--shapes", type=int, default=40, help="of each kind in each row")
    arguments = options.parse_args()
    begun_on = machine()
    for shares, across in ((False, 16), (False, 10), (False, 5), (True, 5)):
        sort = f"{'shares' if shares else 'masks'}, >= {across} voxels across"
        for kind in KINDS:
            found, simple = [], []
            for shape in shapes(kind, arguments.shapes, across, shares=shares):
                grid = None if isinstance(shape.lesion, Mask) else shape.grid
                found.append(shape.errors(measure(shape.lesion, grid)))
                simple += [] if shares else [plain(shape)]
            error = 100 * np.abs(found)
            aim = 1.0 if across >= 16 or shares else None
            for index, what in enumerate(WHAT):
                (median, most), worst = np.percentile(error[:, index], (50, 95)), error[:, index].max()
                note(
                    f"{sort}: {kind}: {what}",
                    worst,
                    "% at most",
                    f"median {median:.2g}, 95 of 100 < {most:.2g} %",
                    f"<= {aim:g}" if aim else "",
                    worst <= aim if aim else None,
                )
            if simple:
                counted, distance = 100 * np.abs(simple).max(0)
                note(f"{sort}: {kind}: volume", counted, "% at most", "counted voxels")
                note(f"{sort}: {kind}: longest diameter in space", distance, "% at most", "distance of voxel centers")
    finish("measures", arguments, begun_on)


if __name__ == "__main__":
    main()
