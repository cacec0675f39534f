"""Make anatomy.npz from the Colin27 head: run once, offline; nothing at run time needs its input.

    python make_anatomy.py ch2.nii.gz ch2bet.nii.gz anatomy.npz

The inputs are the Colin27 average (Holmes et al. 1998, J Comput Assist Tomogr 22:324) as Debian's package mricron-data
ships it, whole head and brain. NOTICE.txt beside this file holds the terms under which it may be passed on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

LEVELS = 15  # fractions are kept in fifteenths: finer than the classification is worth, and small when compressed


def read_lps(path: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Read an axis-aligned image as (z, y, x), x to the left, y back, z up, and the (x, y, z) of its first voxel."""
    image = sitk.DICOMOrient(sitk.ReadImage(path), "LPS")
    if not np.allclose(image.GetDirection(), np.eye(3).ravel()) or not np.allclose(image.GetSpacing(), 1):
        raise SystemExit(f"{path}: expected an axis-aligned image of 1 mm voxels")
    return sitk.GetArrayFromImage(image).astype(np.float32), np.array(image.GetOrigin())


def ball(radius: int) -> NDArray[np.bool_]:
    """Build a ball of voxels."""
    z, y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    return z * z + y * y + x * x <= radius * radius


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Its largest connected piece."""
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    return labels == 1 + int(np.argmax(sizes))


def grown(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Dilated by a distance in voxels (negative: eroded)."""
    if radius < 0:
        return ndimage.distance_transform_edt(mask) > -radius
    return ndimage.distance_transform_edt(~mask) <= radius


def class_means(values: NDArray[np.float32], start: tuple[float, ...]) -> tuple[NDArray, NDArray]:
    """Means and standard deviations of a Gaussian mixture of the values, by expectation-maximization."""
    level, count = np.unique(np.round(values), return_counts=True)
    mean, sd, share = np.array(start), np.full(len(start), 10.0), np.full(len(start), 1 / len(start))
    for _ in range(200):
        weight = share / sd * np.exp(-0.5 * ((level[:, None] - mean) / sd) ** 2)
        weight *= (count / weight.sum(1))[:, None]
        total = weight.sum(0)
        mean = (weight * level[:, None]).sum(0) / total
        sd = np.sqrt((weight * (level[:, None] - mean) ** 2).sum(0) / total)
        share = total / total.sum()
    return mean, sd


def ramp(values: NDArray, low: float, high: float) -> NDArray:
    """0 at `low`, 1 at `high`, linear between."""
    return np.clip((values - low) / (high - low), 0, 1)


def main(head_path: str, brain_path: str, out: str) -> None:
    """Write the anatomy of a head image and of its brain."""
    head, origin = read_lps(head_path)
    bet, bet_origin = read_lps(brain_path)
    if head.shape != bet.shape or not np.allclose(origin, bet_origin):
        raise SystemExit("the head and the brain are not on one grid")
    z, y, x = (np.arange(n) + o for n, o in zip(head.shape, origin[::-1], strict=True))
    z, y, x = z[:, None, None], -y[None, :, None], -x[None, None, :]  # from here on MNI: right, anterior, superior

    # the extracted brain carries pieces of the orbits and of the skull base: cut them off
    brain = bet > 0
    brain &= ~((z < -20) & (y > 18 - 1.2 * (z + 20)) & (np.abs(x) > 6) | (z < -22) & (y > 20))
    brain &= ~((z < -44) & (y > -12))
    brain = grown(largest(grown(brain, -2.1)), 2.6) & (bet > 0)
    # the medulla, cut short by the extraction
    stem = (z < -45) & ((x / 11) ** 2 + ((y + 42 + 0.12 * (z + 50)) / 9) ** 2 < 1)
    brain |= stem & (head > 60)

    (csf, grey, white), sd = class_means(bet[grown(brain, -1)], (35.0, 85.0, 113.0))
    print(f"T1 of CSF {csf:.0f} +- {sd[0]:.0f}, grey {grey:.0f} +- {sd[1]:.0f}, white {white:.0f} +- {sd[2]:.0f}")
    csf = min(csf, 38.0)  # sulci and veins draw the class upward; in the ventricles pure CSF is darker
    covered = np.maximum(ndimage.gaussian_filter(brain * 1.0, 0.5), 0.3)
    signal = ndimage.gaussian_filter(np.where(brain, head, 0), 0.5) / covered
    is_white = ramp(signal, grey + 0.25 * (white - grey), white - 0.25 * (white - grey)) * brain
    is_csf = ramp(signal, grey - 0.3 * (grey - csf), csf) * brain
    is_grey = brain - is_white - is_csf

    # dark on T1 inside the skull is CSF; bone is as dark, so the inside is what a closing of the brain encloses
    inside = grown(grown(brain, 9), -8) | brain
    inside = ndimage.binary_fill_holes(inside & (z > -60) | brain)
    rest = inside & ~brain
    is_csf = is_csf + rest
    deep = (np.abs(x) < 30) & (y > -55) & (y < 40) & (z > -18) & (z < 34)
    ventricles = largest(grown(brain, -1) & deep & (is_csf > 0.5))

    outside = ~inside
    fat = ramp(head, 85, 190) * outside
    soft = ramp(head, 25, 70) * outside * (1 - fat)

    # defaced: nothing outside the skull base is kept below a plane from the brow to the neck
    face = (y * np.cos(0.85) - z * np.sin(0.85) > 58) & ~grown(inside, 7)
    fat, soft = fat * ~face, soft * ~face

    fractions = {"white": is_white, "grey": is_grey, "csf": is_csf, "fat": fat, "soft": soft}
    arrays = {k: np.round(v * LEVELS).astype(np.uint8) for k, v in fractions.items()}
    arrays["ventricles"] = ventricles.astype(np.uint8)
    np.savez_compressed(out, origin=origin, levels=LEVELS, **arrays)
    print({k: f"{v.sum() / 1000:.0f} mL" for k, v in fractions.items()}, f"{Path(out).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
