"""What is done to a synthetic patient and when: calendars, target volumes and a dose map."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.imaging.volume import Grid, Mask, TotalDose
from tumortwin.phantom.acquisition import HEALTHY, Pose, averaged
from tumortwin.phantom.anatomy import Anatomy
from tumortwin.therapy.events import DoseUnit, DrugDose


def weekdays(first: datetime, count: int) -> list[datetime]:
    """`count` times on consecutive weekdays from `first` on, at its time of day."""
    out: list[datetime] = []
    day = first
    while len(out) < count:
        if day.weekday() < 5:
            out.append(day)
        day += timedelta(days=1)
    return out


def temozolomide(first: datetime, last: datetime, until: datetime, *, pause_days: int = 28) -> list[DrugDose]:
    """Build the temozolomide calendar of Stupp et al. 2005 (doi:10.1056/NEJMoa043330).

    75 mg/m^2 every day from the first to the last radiotherapy day, weekends included; from four weeks later up to six
    cycles of days 1-5 of 28, the first at 150, the others at 200 mg/m^2, as far as `until`.
    """

    def doses(start: datetime, days: int, amount: float) -> list[DrugDose]:
        hour = start.replace(hour=8, minute=0, second=0, microsecond=0)
        return [DrugDose(hour + timedelta(days=k), "temozolomide", amount, DoseUnit.MG_PER_M2) for k in range(days)]

    out = doses(first, (last.date() - first.date()).days + 1, 75.0)
    for cycle in range(6):
        out += doses(last + timedelta(days=pause_days + 28 * cycle), 5, 150.0 if cycle == 0 else 200.0)
    return [dose for dose in out if dose.time < until]


def expanded(region: NDArray[np.bool_], grid: Grid, mm: float) -> NDArray[np.bool_]:
    """Expand a region by some mm."""
    return ndimage.distance_transform_edt(~region, sampling=grid.spacing) <= mm


def targets(
    gross: Mask, brain: NDArray[np.bool_], *, clinical_mm: float = 15.0, planning_mm: float = 3.0
) -> dict[str, Mask]:
    """GTV, CTV (15 mm more, within the brain) and PTV (3 mm more)."""
    grid = gross.grid
    clinical = expanded(gross.array, grid, clinical_mm) & brain | gross.array
    arrays = {"GTV": gross.array, "CTV": clinical, "PTV": expanded(clinical, grid, planning_mm)}
    return {name: Mask(array, grid, name=name) for name, array in arrays.items()}


def dose_map(
    target: Mask, body: NDArray[np.bool_], spare: NDArray[np.bool_], prescribed: float, rng: np.random.Generator
) -> TotalDose:
    """Build a dose such as a rotational plan gives, on the target's grid.

    Conformal to the target with a penumbra, on a bath of low dose where beams from all around enter and leave, with a
    few per cent of unevenness; organs to spare take some less where they are outside the target. The target's median is
    the prescribed dose. A made-up dose, not a computed one.

    Parameters
    ----------
    target : Mask
        PTV.
    body, spare : (z, y, x) bool arrays
        Head, and organs to spare.
    prescribed : float
        Total dose in Gy.
    rng : numpy.random.Generator
        For the unevenness.
    """
    grid = target.grid
    coarse = 4.0  # mm: the bath is smooth
    factors = np.array(grid.spacing) / coarse
    small = ndimage.zoom(target.array.astype(np.float32), factors, order=1, grid_mode=True, mode="nearest")
    side = int(np.ceil(np.hypot(*small.shape[1:])))
    pads = [((side - n) // 2, side - n - (side - n) // 2) for n in small.shape[1:]]
    square = np.pad(small, [(0, 0), *pads])
    depth = np.exp(-0.004 * coarse * np.arange(side, dtype=np.float32))[None, :, None]  # attenuation on the way in
    bath = np.zeros_like(square)
    for angle in np.arange(0, 360, 20):
        turned = ndimage.rotate(square, angle, axes=(1, 2), reshape=False, order=1)
        beam = np.broadcast_to(turned.max(1, keepdims=True) * depth, square.shape)
        bath += ndimage.rotate(beam, -angle, axes=(1, 2), reshape=False, order=1)
    bath = bath[:, pads[0][0] : side - pads[0][1], pads[1][0] : side - pads[1][1]]
    bath = ndimage.zoom(bath, np.array(grid.shape) / bath.shape, order=1, grid_mode=True, mode="nearest")
    bath = ndimage.gaussian_filter(bath, 4.0 / np.array(grid.spacing))
    bath /= np.median(bath[target.array])

    distance = ndimage.distance_transform_edt(~target.array, sampling=grid.spacing)
    distance -= ndimage.distance_transform_edt(target.array, sampling=grid.spacing)
    conformal = 0.5 * (1 - np.tanh((distance - 3.0) / 5.0))  # 95 % of it at the PTV's edge
    dose = 0.92 * conformal + 0.5 * bath * (1 - conformal) + 0.08 * bath * conformal
    uneven = ndimage.gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), 9.0 / np.array(grid.spacing))
    dose *= 1 + 0.012 * uneven / uneven.std()
    shield = ndimage.gaussian_filter((spare & ~target.array).astype(np.float32), 2.0 / np.array(grid.spacing))
    dose *= (1 - 0.25 * shield) * body
    dose *= prescribed / np.median(dose[target.array])
    return TotalDose(dose.astype(np.float32), grid, name="planned dose")


def _at_head(points_of: Grid, pose: Pose) -> NDArray[np.float32]:
    """Points (3, z, y, x) of the head's world that the voxels of a visit's grid show."""
    matrix = np.linalg.inv(pose.matrix) @ points_of.affine
    index = np.stack(np.meshgrid(*map(np.arange, points_of.shape), indexing="ij"), -1).astype(np.float32)
    return np.moveaxis(index @ matrix[:3, :3].T.astype(np.float32) + matrix[:3, 3].astype(np.float32), -1, 0)


def plan_radiotherapy(
    masks: Mapping[str, Mask], anatomy: Anatomy, pose: Pose, prescribed: float, rng: np.random.Generator
) -> tuple[dict[str, Mask], TotalDose]:
    """Structures and dose on the planning T1Gd's grid. The GTV is what enhances, necrosis, and a resection's cavity."""
    grid = masks["enhancing"].grid
    points = _at_head(grid, pose)
    shares = {name: averaged(anatomy.tissues[name], anatomy.grid, grid, pose) for name in HEALTHY}
    brain = shares["white"] + shares["grey"]
    head = brain + shares["csf"]
    soft = head + shares["fat"] + shares["soft"] > 0.3
    body = np.stack([ndimage.binary_fill_holes(s) for s in soft])
    gross = masks["enhancing"].array | masks["necrosis"].array
    if "cavity" in masks:
        gross |= masks["cavity"].array
    gross = ndimage.binary_closing(gross, iterations=2) | gross
    out = targets(Mask(gross, grid, name="GTV"), brain >= 0.5)
    for name in ("brainstem", "chiasm", "eye left", "eye right", "optic nerve left", "optic nerve right"):
        out[name] = Mask(anatomy.organ(name, points), grid, name=name)
    out["brain"] = Mask(ndimage.binary_opening(head >= 0.5), grid, name="brain")
    spare = out["brainstem"].array | out["chiasm"].array
    return out, dose_map(out["PTV"], body, spare, prescribed, rng)
