"""Stacks: planes that make one volume, in what order and on what grid, and when they make none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.attributes import text
from tumortwin.imaging.reading.plane import Plane
from tumortwin.imaging.volume import Grid

SAME_PLACE = 0.01
"""Planes closer than this (mm) are at one position."""
SIDEWAYS = 0.05
"""Planes may scatter sideways by this much (mm), beyond a steady tilt."""
UPRIGHT = np.deg2rad(0.2)
"""A stack that leans by less is kept as it is: its affine leans with it."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes that make one volume, or the reason why they do not.

    Parameters
    ----------
    planes : tuple of Plane
        Along the normal (rows x columns), duplicates dropped.
    part : str
        Which part of its series this is; empty for the whole series.
    grid : Grid or None
        Where the volume's voxels are; None if refused.
    leaning : Grid or None
        The sheared grid of the stored planes, when `grid` is the upright one to resample on.
    at : (n,) array or None
        For planes that are not evenly spaced: the fractional plane index of each slice of the volume.
    refused : str
        Why there is no volume, and the remedy; empty if there is one.
    findings : tuple of Finding
        What was repaired.
    times : int
        How many time points its series has.
    weighted : bool
        Whether any stack of its series has a b-value above 0.
    """

    planes: tuple[Plane, ...]
    part: str = ""
    grid: Grid | None = None
    leaning: Grid | None = None
    at: NDArray[np.float64] | None = None
    refused: str = ""
    findings: tuple[Finding, ...] = ()
    times: int = 1
    weighted: bool = False

    @property
    def first(self) -> Plane:
        """Speaks for the stack."""
        return self.planes[0]

    @property
    def where(self) -> str:
        """For people: which series (and part) this is."""
        data = self.first.instance
        name = data.text("SeriesDescription") or data.text("SeriesInstanceUID")
        return f"series {name!r} in {data.path.parent.name}" + (f" ({self.part})" if self.part else "")

    @property
    def plane(self) -> str:
        """The anatomical plane, "axial", "coronal" or "sagittal", with the angle if oblique."""
        orientation = self.first.numbers("ImageOrientationPatient", 6)
        if orientation is None:
            return ""
        normal = np.abs(np.cross(orientation[:3], orientation[3:]))
        angle = np.rad2deg(np.arccos(np.clip(normal.max(), 0, 1)))
        name = ("sagittal", "coronal", "axial")[int(normal.argmax())]
        return name if angle < 0.5 else f"oblique {name} {angle:.0f} deg"

    @property
    def size(self) -> str:
        """Columns x rows x slices and spacing."""
        if self.grid is None:
            columns, rows = self.first.number("Columns"), self.first.number("Rows")
            return f"{columns:g} x {rows:g} x {len(self.planes)}" if columns and rows else ""
        (z, y, x), (dz, dy, dx) = self.grid.shape, self.grid.spacing
        return f"{x} x {y} x {z}, {dx:.3g} x {dy:.3g} x {dz:.3g} mm"


def is_measured(plane: Plane) -> bool:
    """Whether the pixels are values of one quantity, not colors."""
    meaning = text(plane.sets, "PhotometricInterpretation")
    return plane.number("SamplesPerPixel") in (None, 1) and meaning in ("", "MONOCHROME1", "MONOCHROME2")


_PLACE = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6))
_AGAIN = "export the series again"


def without(stack: Stack, lost: set[int]) -> Stack:
    """Remove planes (by index) from a stack: isolated inner ones are interpolated, more are refused."""
    if len(lost) > max(1, 0.1 * len(stack.planes)):
        return replace(stack, refused=f"{len(lost)} of {len(stack.planes)} slices cannot be used")
    left = tuple(p for k, p in enumerate(stack.planes) if k not in lost)
    return placed(replace(stack, planes=left, findings=(), grid=None, leaning=None, at=None))


def placed(stack: Stack) -> Stack:
    """Sort along the normal and find the grid, or say why there is none."""
    if stack.refused:
        return stack
    try:
        return _with_grid(stack)
    except ReadError as refusal:
        return replace(stack, refused=str(refusal))


def _with_grid(stack: Stack) -> Stack:
    first = stack.first
    spacing = first.numbers("PixelSpacing", 2)
    if not is_measured(first):
        meaning = text(first.sets, "PhotometricInterpretation")
        raise ReadError(f"{meaning} pixels are not measured values ({first.where}): leave it out")
    if not first.number("Rows") or not first.number("Columns"):
        raise ReadError(f"no rows or columns ({first.where}): {_AGAIN}")
    if spacing is None or min(spacing) <= 0:
        raise ReadError(f"no valid pixel spacing ({first.where}): {_AGAIN}")
    lacking = [p for p in stack.planes for k, n in _PLACE if p.numbers(k, n) is None]
    if lacking:
        raise ReadError(f"no valid image position or orientation ({lacking[0].where}): {_AGAIN} as original images")
    row, column, normal = axes_of(first)
    if len(stack.planes) < 2:
        raise ReadError(f"one slice only ({first.where}): a volume needs two or more")

    positions = np.array([p.numbers("ImagePositionPatient", 3) for p in stack.planes])
    order = np.argsort(positions @ normal, kind="stable")
    planes, positions = tuple(stack.planes[i] for i in order), positions[order]
    depths = (positions - positions[0]) @ normal
    sideways = positions - positions[0] - depths[:, None] * normal
    lean = depths @ sideways / (depths @ depths)
    scatter = np.linalg.norm(sideways - depths[:, None] * lean, axis=1)
    if scatter.max() > SIDEWAYS:
        where = planes[int(scatter.argmax())].where
        raise ReadError(
            f"slices lie up to {scatter.max():.3g} mm off a straight line ({where}): {_AGAIN}, one acquisition a series"
        )
    step, at, repair = _evenly(depths, planes)
    findings = list(stack.findings)
    if first.tile is not None:
        findings.append(Finding(f"a Siemens mosaic of {len(planes)} slices", "", "unfolded", Severity.REPAIRED))
    if repair:
        findings.append(Finding(*repair, Severity.REPAIRED))
    findings += _never_sent(stack)
    stated = first.number("SpacingBetweenSlices")
    if stated is not None and abs(abs(stated) - step) > max(0.02 * step, 0.01):
        what = f"SpacingBetweenSlices says {stated:g} mm, the positions {step:.4g} mm"
        findings.append(Finding(what, "", "the positions count", Severity.REPAIRED))

    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = step * (normal + lean), spacing[0] * column, spacing[1] * row
    affine[:3, 3] = positions[0]
    shape = (len(planes) if at is None else len(at), int(first.number("Rows") or 0), int(first.number("Columns") or 0))
    grid, leaning = Grid(shape, affine, frame_of(first)), None
    tilt = float(np.arctan(np.linalg.norm(lean)))
    if tilt > UPRIGHT:
        leaning, grid = grid, _upright(grid, normal * step)
        what = f"the slices lean by {np.rad2deg(tilt):.1f} deg (gantry tilt)"
        findings.append(Finding(what, "", "sheared back by linear interpolation", Severity.REPAIRED))
    return replace(stack, planes=planes, grid=grid, leaning=leaning, at=at, findings=tuple(findings))


def _never_sent(stack: Stack) -> list[Finding]:
    """Slices missing at an end leave one trace: instance numbers of a whole series that do not begin at 1."""
    numbers = [p.number("InstanceNumber") for p in stack.planes]
    known = sorted({int(n) for n in numbers if n is not None})
    if stack.part or len(known) != len(numbers) or known[0] <= 1 or stack.first.frame or stack.first.tile:
        return []
    what = f"instance numbers begin at {known[0]}"
    return [Finding(what, "", "read as it is: slices at an end of the volume may not have been sent")]


def axes_of(plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute unit vectors along rows, along columns, and the normal, with rounding of the file taken out.

    Raises
    ------
    ReadError
        If there is no orientation, or it is not two unit vectors at right angles.
    """
    orientation = np.array(plane.numbers("ImageOrientationPatient", 6) or np.zeros(6))
    row, column = orientation.reshape(2, 3)
    if max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1), abs(row @ column)) > 1e-2:
        raise ReadError(
            f"the orientation {orientation.tolist()} is not two unit vectors at right angles ({plane.where}): {_AGAIN}"
        )
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)


def _evenly(
    depths: NDArray[np.float64], planes: tuple[Plane, ...]
) -> tuple[float, NDArray[np.float64] | None, tuple[str, str, str] | None]:
    """Slice spacing in mm; for planes that are not evenly spaced also where to interpolate, and the finding's text."""
    steps, n = np.diff(depths), len(depths)
    even = float(depths[-1] / (n - 1))
    if np.abs(depths - even * np.arange(n)).max() <= max(SAME_PLACE, 0.01 * even):
        return even, None, None
    widest = int(steps.argmax())
    gap = f"{steps[widest]:.4g} mm between {planes[widest].where} and {planes[widest + 1].where}"
    counts = np.round(steps / steps.min())
    holes = np.abs(steps / steps.min() - counts).max() < 0.05
    step = float(np.median(steps / counts if holes else steps))
    if steps.max() > 2.05 * step:
        raise ReadError(
            f"slices are missing: a gap of {gap}, where the others are {step:.4g} mm apart: {_AGAIN}, complete"
        )
    n_slices = int(depths[-1] / step + 0.05) + 1
    at = np.interp(step * np.arange(n_slices), depths, np.arange(n, dtype=float))
    if not holes:
        what = f"slices are unevenly spaced, {steps.min():.4g} to {steps.max():.4g} mm"
        return step, at, (what, "", f"interpolated linearly to one slice every {step:.4g} mm")
    missing = n_slices - n
    if missing > max(1, 0.1 * n_slices):
        raise ReadError(f"{missing} of {n_slices} slices are missing, e.g. a gap of {gap}: {_AGAIN}, complete")
    at = np.where(np.abs(at - np.round(at)) < 0.1, np.round(at), at)
    return step, at, (f"{missing} slice(s) missing ({gap})", "", "each is the mean of its two neighbors")


def _upright(leaning: Grid, step: NDArray[np.float64]) -> Grid:
    """Build the grid that covers a sheared grid and has its slices square to the planes."""
    affine = np.array(leaning.affine)
    affine[:3, 0] = step
    upright = Grid(leaning.shape, affine, leaning.frame)
    far = upright.to_index(leaning.to_world((leaning.shape[0] - 1, 0, 0)))
    low = np.floor(np.minimum(far, 0) + 1e-6)
    more = np.ceil(np.abs(far) - 1e-6).astype(int)
    affine[:3, 3] = upright.to_world((0, low[1], low[2]))
    z, y, x = leaning.shape
    return Grid((z, y + int(more[1]), x + int(more[2])), affine, leaning.frame)


def frame_of(plane: Plane) -> str:
    """Frame of reference UID. Without one, the series is a frame of its own: its relation to others is not known."""
    return text(plane.sets, "FrameOfReferenceUID") or f"of series {text(plane.sets, 'SeriesInstanceUID')}"
