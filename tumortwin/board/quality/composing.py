"""Gathering what the quality pages show: each visit's images beside the reference visit's, in one plane and gray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumortwin.board.cuts import Plane, best_slice, cut_at, reslice_grid
from tumortwin.board.quality.content import Picture, QualityContent, VisitQuality
from tumortwin.geometry import covered
from tumortwin.imaging.findings import Finding, grouped
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import POSE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.twin import RegistrationQuality
from tumortwin.version import __version__

if TYPE_CHECKING:
    from tumortwin.patient import Patient, Visit
    from tumortwin.twin import Observation, Twin

PLANES = (Plane.AXIAL, Plane.CORONAL)
TILE_MM = 20.0
MARGIN_MM = 10.0
"""How far around the brain the pictures reach: to the skin, where a wrong registration shows first."""
GRAY_PERCENTILES = (2.0, 98.0)
ENOUGH_PIXELS = 500
"""Of normal brain in a slice to fit a slow field to."""
SHOWN = ((MRSequence.T1GD, MRSequence.T1), (MRSequence.FLAIR, MRSequence.T2))
"""Images that the tumor's outlines are drawn on: the first of each that a visit has."""


def compose(twin: Twin, patient: Patient | None = None) -> QualityContent:
    """Gather the pages of a twin.

    Every picture is a slice through the visit's tumor in the reference visit's world, the visit's image resampled by
    the transform that the twin holds: what the twin was made of is what is looked at.

    Parameters
    ----------
    twin : Twin
        Whose geometry is looked at.
    patient : Patient, optional
        See :meth:`tumortwin.board.QualityReport.from_twin`.

    Returns
    -------
    QualityContent
    """
    looks = {o.visit: o for o in twin.observations}
    reference = next(
        (o for o in twin.observations if o.registration is None and np.array_equal(o.transform, np.eye(4))), None
    )
    seen = _Reference(twin, None if reference is None or patient is None else patient.visits[reference.visit])
    rows = []
    others = list(twin.findings)
    for i in sorted(looks) if patient is None else range(len(patient.visits)):
        look = looks.get(i)
        visit = None if patient is None else patient.visits[i]
        if look is None and visit is not None and set(visit.images) <= {MRSequence.CT}:
            continue  # no look at the tumor: see build_twin
        date = look.date if look is not None else visit.date  # type: ignore[union-attr]
        mine = [f for f in others if _is_of(f, f"{date:%Y-%m-%d}", visit.label if visit is not None else None)]
        others = [f for f in others if f not in mine]
        if look is None:
            assert visit is not None
            rows.append(
                VisitQuality(
                    visit.date,
                    twin.day(visit.date),
                    "left out",
                    _unplaced(visit),
                    missing=("Not registered: shown in its own world.",),
                    findings=grouped(mine),
                )
            )
            continue
        pictures, missing = _pictures(seen, look, visit, look is reference)
        rows.append(
            VisitQuality(
                look.date,
                look.day,
                "reference" if look is reference else "registered",
                pictures,
                look.registration,
                dict(look.volumes_ml),
                look.sigma if np.isfinite(look.density).any() else None,
                look.source,
                missing,
                grouped(mine),
            )
        )
    return QualityContent(
        patient_id=twin.patient_id,
        reference_time=twin.reference_time,
        version=__version__,
        input_hash=hashlib.sha256(json.dumps(sorted(twin.sources.items())).encode()).hexdigest(),
        files=len(twin.sources),
        visits=tuple(rows),
        findings=grouped(others),
        identity_removed=twin.identity_removed,
    )


def regions_of(look: Observation) -> dict[str, NDArray[np.float32]]:
    """Return the tumor's regions, and a resection's cavity, by name."""
    regions = {"whole": look.whole, "enhancing": look.enhancing, "necrosis": look.necrosis}
    return regions if look.cavity is None else regions | {"cavity": look.cavity}


def checkerboard(first: NDArray[np.floating], second: NDArray[np.floating], tile: int) -> NDArray[np.float32]:
    """Two pictures in turn, in square tiles of `tile` pixels; the top left one shows the first.

    Parameters
    ----------
    first, second : (rows, columns) arrays
        Of one shape.
    tile : int
        Pixels.
    """
    row, column = np.ogrid[: first.shape[-2], : first.shape[-1]]
    return np.where((row // tile + column // tile) % 2 == 0, first, second).astype(np.float32)


def evened(values: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Gray values with the 2nd percentile of those inside a mask at 0 and the 98th at 1; None if they are alike."""
    if not inside.any():
        return None
    low, high = np.percentile(values[inside], GRAY_PERCENTILES)
    return ((values - low) / (high - low)).astype(np.float32) if high > low else None


def leveled(values: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values over the quadratic that fits those inside a mask best: scans' receive fields differ, and tiles with them.

    Parameters
    ----------
    values : (..., rows, columns) array
        A picture.
    inside : bool array of the same shape
        What is fitted.
    """
    if inside.sum() < ENOUGH_PIXELS:
        return values.astype(np.float32)
    row, column = (
        np.broadcast_to(np.linspace(-1, 1, n).reshape(shape), values.shape)
        for n, shape in ((values.shape[-2], (-1, 1)), (values.shape[-1], (-1,)))
    )
    terms = np.stack([np.ones(values.shape), row, column, row * column, row**2, column**2], -1)
    weights, *_ = np.linalg.lstsq(terms[inside], values[inside].astype(float), rcond=None)
    mean = float(values[inside].mean())
    # bounded: beyond the mask a quadratic runs away
    field = np.clip(terms @ weights, *np.sort((0.5 * mean, 1.5 * mean)))
    return (values * mean / field).astype(np.float32) if mean else values.astype(np.float32)


def _is_of(finding: Finding, date: str, label: str | None) -> bool:
    """Whether a finding is about the visit of a date (and of a label, where that is known)."""
    if date not in finding.where:
        return False
    # two visits of one day are told apart by their label
    return not label or f"({label})" in finding.where or f"visit of {date} (" not in finding.where


class _Reference:
    """The reference visit: its brain and its images, on slices."""

    def __init__(self, twin: Twin, visit: Visit | None) -> None:
        self.twin = twin
        self.images: Mapping[MRSequence, Volume] = {} if visit is None else visit.images
        grid = twin.domain.grid
        pad = int(np.ceil(MARGIN_MM / min(grid.spacing)))
        affine = np.array(grid.affine)
        affine[:3, 3] = grid.to_world((-pad, -pad, -pad))
        z, y, x = (n + 2 * pad for n in grid.shape)
        self.around = Grid((z, y, x), affine, grid.frame)
        domain = twin.domain
        self.brain = np.clip(domain.white + domain.grey + domain.csf, 0, 1).astype(np.float32)
        self.tumor = np.maximum.reduce([o.whole for o in twin.observations]) if twin.observations else 0 * self.brain

    def slice_through(self, look: Observation, plane: Plane) -> Grid:
        """Build the grid of a 1 mm slice through a visit's tumor, else any visit's, else the middle of the brain."""
        shown = next(r for r in (look.whole, self.tumor, self.brain) if (r > 0).any())
        cut = best_slice(self.twin.domain.grid, shown, plane=plane)
        return reslice_grid(self.around, plane, cut.position)

    def flat(self, field: NDArray[np.floating], grid: Grid) -> NDArray[np.float32]:
        """Resample a field of the twin's grid to a slice."""
        return resample(Volume(np.asarray(field, np.float32), self.twin.domain.grid), grid).array

    def image(self, sequence: str) -> Volume:
        """Return the reference visit's image of a sequence, else the twin's anatomy image."""
        known = {str(s): v for s, v in self.images.items()}
        return known.get(sequence, self.twin.anatomy)


def _pictures(
    reference: _Reference, look: Observation, visit: Visit | None, is_reference: bool
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Build the pictures of a visit, and state what could not be shown."""
    key = None if visit is None else first_of(POSE_ORDER, visit.images)
    # the twin holds one transform a visit: images in another frame of reference are placed by none
    images = (
        {}
        if visit is None or key is None
        else {s: v for s, v in visit.images.items() if v.frame == visit.images[key].frame}
    )
    pictures, missing = [], []
    grids = {plane: reference.slice_through(look, plane) for plane in PLANES}
    if is_reference or not images:
        title = reference.twin.anatomy.name or "reference"
        for plane, grid in grids.items():
            picture = _plain(reference, reference.image(title), grid, np.eye(4))
            if is_reference and picture is not None:
                pictures.append(
                    Picture(
                        f"{title} and its outline", plane, *picture, {"brain": reference.flat(reference.brain, grid)}
                    )
                )
        if not is_reference:
            missing.append("No image of this visit was given: no checkerboard; outlines over the reference visit's.")
    else:
        fixed, moving = _compared(look.registration, images, reference)
        for plane, grid in grids.items():
            board = _board(reference, fixed, images[moving], grid, look)
            if board is None:
                missing.append(f"No {plane} checkerboard: {moving} does not show what is compared there.")
            else:
                pair = moving if str(moving) == fixed else f"{fixed} and {moving}"
                pictures.append(
                    Picture(f"checkerboard, {pair}", plane, board, {"brain": reference.flat(reference.brain, grid)})
                )
    grid = grids[Plane.AXIAL]
    outlines = {name: reference.flat(region, grid) for name, region in regions_of(look).items()}
    shown = {s: images[s] for s in (first_of(order, images) for order in SHOWN) if s is not None}
    if not shown and key is not None and key in images:
        shown = {key: images[key]}
    for sequence, image in shown.items():
        picture = _plain(reference, image, grid, look.transform)
        if picture is None:
            missing.append(f"{sequence} does not show what is compared in this slice.")
        else:
            pictures.append(Picture(f"{sequence} and regions", Plane.AXIAL, *picture, outlines))
    if not shown:
        picture = _plain(reference, reference.twin.anatomy, grid, np.eye(4))
        if picture is not None:
            pictures.append(Picture("reference visit and regions", Plane.AXIAL, *picture, outlines))
    if not any((region > 0).any() for region in regions_of(look).values()):
        missing.append("No tumor is seen at this visit: the slices show where others are.")
    return tuple(pictures), tuple(missing)


def _compared(
    registration: RegistrationQuality | None, images: Mapping[MRSequence, Volume], reference: _Reference
) -> tuple[str, MRSequence]:
    """Which of the reference's images and which of the visit's to lay side by side: those that were registered."""
    if registration is not None and registration.moving in map(str, images):
        return registration.fixed, MRSequence(registration.moving)
    moving = (
        first_of(POSE_ORDER, {s: v for s, v in images.items() if s in reference.images})
        or first_of(POSE_ORDER, images)
        or next(iter(images))
    )
    return str(moving), moving


def _plain(reference: _Reference, image: Volume, grid: Grid, transform: NDArray[np.float64]) -> tuple[Volume] | None:
    """Resample an image to a slice, with gray levels that are comparable between images."""
    values = resample(image, grid, transform).array
    gray = evened(values, _normal(reference, grid) & covered(image.grid, grid, transform))
    return None if gray is None else (Volume(gray, grid),)


def _board(reference: _Reference, fixed: str, moving: Volume, grid: Grid, look: Observation) -> Volume | None:
    still = reference.image(fixed)
    # one set of pixels for both, without their slow fields: their grays are comparable where their contrast is
    inside = _normal(reference, grid) & covered(moving.grid, grid, look.transform)
    inside &= covered(still.grid, grid, np.eye(4))
    first, second = (
        evened(leveled(resample(image, grid, transform).array, inside), inside)
        for image, transform in ((still, np.eye(4)), (moving, look.transform))
    )
    if first is None or second is None:
        return None
    return Volume(checkerboard(first[0], second[0], round(TILE_MM))[None], grid)


def _normal(reference: _Reference, grid: Grid) -> NDArray[np.bool_]:
    """Brain without any visit's tumor on a slice."""
    return (reference.flat(reference.brain, grid) > 0.5) & (reference.flat(reference.tumor, grid) < 0.1)


def _unplaced(visit: Visit) -> tuple[Picture, ...]:
    """Build pictures of the middle slices of a visit that is not registered to the reference visit."""
    key = first_of(POSE_ORDER, visit.images)
    if key is None:
        return ()
    image = visit.images[key]
    pictures = []
    for plane in PLANES:
        grid = reslice_grid(image.grid, plane, cut_at(image.grid, plane).position)
        values = resample(image, grid, np.eye(4)).array
        gray = evened(values, values > values.mean())
        if gray is not None:
            pictures.append(Picture(f"{key}, not registered", plane, Volume(gray, grid)))
    return tuple(pictures)
