"""Make ``icbm152_2mm.npz`` from the ICBM 152 2009a templates: run once, offline, needs nibabel.

    python -m tumortwin.geometry.brain.data.make_atlas T1.nii.gz GM.nii.gz WM.nii.gz icbm152_2mm.npz

The templates are the symmetric nonlinear ones (1 mm, T1 skull-stripped), for example the files
``mni_icbm152_{t1,gm,wm}_tal_nlin_sym_09a_converted.nii.gz`` inside the nilearn wheel.
"""

from __future__ import annotations

import argparse

import nibabel
import numpy as np
from numpy.typing import NDArray


def read_lps(path: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read a NIfTI image as a (z, y, x) array with x to the left, y to the back, z up, and its affine to LPS mm."""
    image = nibabel.as_closest_canonical(nibabel.load(path))  # index (x, y, z) along right, anterior, superior
    array = np.asarray(image.dataobj, np.float32)[::-1, ::-1, :].transpose(2, 1, 0)
    ras = image.affine
    if not np.allclose(ras[:3, :3], np.eye(3)):
        raise SystemExit(f"{path}: the templates are axis-aligned at 1 mm, this one has affine\n{ras}")
    first = -(ras[0, 3] + image.shape[0] - 1), -(ras[1, 3] + image.shape[1] - 1), ras[2, 3]
    affine = np.array([[0, 0, 1, first[0]], [0, 1, 0, first[1]], [1, 0, 0, first[2]], [0, 0, 0, 1]], float)
    return array, affine


def halve(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over blocks of 2 x 2 x 2 voxels; an odd last plane is dropped (it is empty in the templates)."""
    z, y, x = (n // 2 for n in array.shape)
    return array[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean((1, 3, 5))


def main() -> None:
    """Read the three templates, halve them, crop them to the brain and write the atlas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("t1", "gm", "wm", "out"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    arrays: dict[str, NDArray[np.float32]] = {}
    for name in ("t1", "gm", "wm"):
        full, affine = read_lps(getattr(arguments, name))
        arrays[name] = halve(full)
    affine[:3, 3] = (affine @ (0.5, 0.5, 0.5, 1))[:3]  # centre of the first block
    affine[:3, :3] *= 2
    inside = np.argwhere(arrays["t1"] > 0)
    # 3 voxels of nothing around the brain: registration looks at its edge
    low, high = np.maximum(inside.min(0) - 3, 0), np.minimum(inside.max(0) + 4, arrays["t1"].shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine[:3, 3] = (affine @ (*low, 1))[:3]
    t1, gm, wm = (np.rint(arrays[name][box]).astype(np.uint8) for name in ("t1", "gm", "wm"))
    np.savez_compressed(arguments.out, affine=affine, t1=t1, gm=gm, wm=wm)


if __name__ == "__main__":
    main()
