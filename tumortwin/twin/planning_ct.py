"""A planning CT of its own frame of reference: registered to the reference visit, so that the plan finds its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.geometry import register
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.sequence import POSE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Mask, Volume
from tumortwin.patient import Patient
from tumortwin.therapy.events import Fraction

WINDOW_HU = (-200.0, 400.0)
"""Beyond lie air and the skull's core, whose size would hide the brain's contrast."""
AROUND_MM = 15.0
"""How far beyond the brain is compared: skull and skin, which CT shows best."""


def place_planning_ct(
    patient: Patient,
    images: Mapping[MRSequence, Volume],
    body: Mask,
    near_tumor: NDArray[np.bool_],
    known: Iterable[str | None],
    findings: list[Finding],
) -> dict[str | None, NDArray[np.float64]]:
    """Register the CT of each frame of reference that structures or doses lie in and no visit's MR has.

    Parameters
    ----------
    patient : Patient
        Its visits hold the CT.
    images : mapping of MRSequence to Volume
        The reference visit's.
    body : Mask
        Brain or organ there.
    near_tumor : (z, y, x) bool array
        What is not compared, on the grid of `body`.
    known : iterable of str or None
        Frames whose place is known.
    findings : list of Finding
        Says what was registered, and how well.

    Returns
    -------
    dict of frame of reference to (4, 4) array
        World of the reference visit to world of each CT.
    """
    wanted = {m.frame for m in patient.structures.values()} | ({patient.dose.frame} if patient.dose else set())
    wanted |= {
        t.dose.frame for t in patient.treatments if isinstance(t, Fraction) and not isinstance(t.dose, float | int)
    }
    placed: dict[str | None, NDArray[np.float64]] = {}
    for frame in sorted(str(f) for f in wanted - set(known) - {None}):
        found = [v.images[MRSequence.CT] for v in patient.visits if MRSequence.CT in v.images]
        ct = next((image for image in found if image.frame == frame), None)
        key = first_of(POSE_ORDER, images)
        if ct is None or key is None:
            continue
        where = f"CT {ct.name or frame}"
        around = ndimage.distance_transform_edt(~body.array, sampling=body.grid.spacing) <= AROUND_MM
        windowed = Volume(np.clip(ct.array, *WINDOW_HU), ct.grid, ct.unit, ct.name, ct.source)
        try:
            result = register(images[key], windowed, Mask(around & ~near_tumor, body.grid), where=where)
        except InputError as error:
            findings.append(Finding(str(error), where, "the plan is left out", Severity.LEFT_OUT))
            continue
        placed[frame] = result.transform
        findings += result.findings
        findings.append(
            Finding(
                "no Spatial Registration object says how it lies to the MR",
                where,
                f"registered to {key} here (normalized "
                f"mutual information {result.similarity:.3f}, residual {result.residual_mm:.1f} mm): "
                "look at the overlay",
                Severity.ASSUMED,
            )
        )
    return placed
