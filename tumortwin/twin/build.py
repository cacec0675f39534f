"""From a Patient to a Twin: every visit in one pose, every image on one grid, every event on one clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.arguments import require
from tumortwin.errors import InputError
from tumortwin.geometry import Cellularity, Domain, average, resolution_findings
from tumortwin.imaging.findings import Finding, Severity, grouped, refuse_findings
from tumortwin.imaging.sequence import POSE_ORDER, TISSUE_ORDER, MRSequence, first_of
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.options import chosen
from tumortwin.patient import Patient
from tumortwin.progress import Progress, automatic, bar_in_notebooks, part, step, watched
from tumortwin.threads import one_blas_thread
from tumortwin.twin.given_poses import Given, given_poses
from tumortwin.twin.head_survey import head_steps, survey_head
from tumortwin.twin.model import Observation, Twin
from tumortwin.twin.observing import observe
from tumortwin.twin.options import BuildOptions
from tumortwin.twin.organ_survey import named_organ, organ_of, organ_steps, survey_organ
from tumortwin.twin.planning_ct import place_planning_ct
from tumortwin.twin.survey import Look, Survey, others_of, usable
from tumortwin.twin.therapy import place_therapy

LEAST_VOXELS = 8
"""An image has at least so many of the twin's voxels along its longest edge."""

MOST_VOXELS = 400e6
"""No image has more of the twin's voxels: a field of so many takes 1.5 GiB, and a fit holds dozens."""

GRID_STEPS = 3
"""Steps that are reported once every visit has its place."""


@bar_in_notebooks
@one_blas_thread()
def build_twin(
    patient: Patient,
    *,
    options: BuildOptions | None = None,
    spacing: float = BuildOptions.spacing,
    reference: int | None = BuildOptions.reference,
    organ: str | Mask | None = BuildOptions.organ,
    transforms: Given | None = BuildOptions.transforms,
    deformable: bool = BuildOptions.deformable,
    cellularity: Cellularity | str = BuildOptions.cellularity,
    strict: bool = BuildOptions.strict,
    threads: int = 1,
    progress: Progress = automatic,
) -> Twin:
    """Put a patient on one grid and one clock.

    The reference visit gives the grid's axes and, in a head, brain and tissue; the others are registered to it. Every
    mask and image is resampled once.

    Parameters
    ----------
    patient : Patient
        At least one visit with a T1, T1Gd, FLAIR or T2 image of a head, or on which an organ was outlined.
    options : BuildOptions, optional
        All options as one value, in place of the keywords from `spacing` to `strict`.
    spacing : float
        Voxel edge of the twin's cubic grid, mm.
    reference : int, optional
        Index of the visit that gives grid and tissue. Default: the visit in whose frame structures and dose lie, else
        the first with T1Gd, else the first that can.
    organ : str or Mask, optional
        Where the tumor grows, if that is not a brain that an atlas fits: the name of a mask ("breast"), or the mask. It
        counts as one tissue, and the tumor is what was drawn at each visit.
    transforms : mapping of int to (4, 4) array or path, optional
        Poses that are known, by index of the visit: a rigid matrix that takes a world point (LPS mm) of the reference
        visit to that of the visit (ITK's direction), an ITK transform file, or a DICOM Spatial Registration. They are
        used instead of a registration, and so are Spatial Registrations in the folder.
    deformable : bool
        Bend each visit to the reference after the rigid pose, coarsely and not near the tumor
        (:mod:`~tumortwin.geometry.registration.deformation`). Growth that pushes brain aside may be
        absorbed by it. Heads only.
    cellularity : Cellularity
        What cell density is taken from: the ADC inside the enhancing tumor (the default, see
        :func:`~tumortwin.geometry.density_from_adc`), the outlines, or both. A calibration compares outlines anyway
        and would count them twice: the others are for showing, and for starting a simulation from a density.
    strict : bool
        Make anything that was repaired, assumed or left out an error.
    threads : int
        Visits that are looked at at the same time; the result does not depend on it.
    progress : Progress
        Told which step of which visit begins; cancels by raising. By default a bar in notebooks, nothing elsewhere.

    Returns
    -------
    Twin
        Day 0 is the first visit. Visits that cannot be used are left out with a finding.

    Raises
    ------
    InputError
        If no visit can serve as reference, or an argument is out of range.
    StrictError
        With ``strict=True``, for findings.
    Cancelled
        If `progress` cancels.
    """
    require(patient, Patient, "build_twin takes a Patient, which read_patient makes of a folder")
    options = chosen(options, BuildOptions(spacing, reference, organ, transforms, deformable, cellularity, strict))
    spacing, reference, organ, transforms = options.spacing, options.reference, options.organ, options.transforms
    deformable, cellularity, strict = options.deformable, Cellularity(options.cellularity), options.strict
    findings = list(patient.findings)
    patient = replace(patient, visits=tuple(usable(visit, findings) for visit in patient.visits))
    _check_spacing(patient, spacing)
    asked = _visit(patient, reference)
    if organ is None:
        organ = _organ_instead(patient, findings)
    if organ is not None:
        if deformable:
            raise InputError("deformable=True bends heads: an organ's visits are registered as rigid bodies")
        home, mask = organ_of(patient, organ, asked)
    else:
        home, mask = (_reference(patient, findings) if asked is None else asked), None
    poses = given_poses(patient, home, transforms)
    others = len(others_of(patient, home))

    def work() -> Twin:
        survey = (
            survey_head(patient, home, spacing, poses, deformable=deformable, threads=threads, findings=findings)
            if mask is None
            else survey_organ(patient, home, mask, spacing, poses, findings=findings)
        )
        with part("", GRID_STEPS):
            return _on_one_grid(patient, survey, cellularity, findings)

    planned = head_steps(others, deformable=deformable) if mask is None else organ_steps(others)
    twin = watched(work, progress, "geometry", planned + GRID_STEPS)
    if strict:
        refuse_findings(findings)
    return replace(twin, findings=tuple(findings))


def _on_one_grid(patient: Patient, survey: Survey, cellularity: Cellularity, findings: list[Finding]) -> Twin:
    """All that the visits and the plan say, on the domain's grid."""
    domain, looks = survey.domain, survey.looks
    step("tumor and cell density on the grid")
    findings += resolution_findings(domain.grid, [look.tumor.whole for look in looks], "the twin's grid")
    observations = observe(looks, domain, patient, cellularity, findings)
    _warn_outside(domain, looks, observations, findings)
    step("structures and dose on the grid")
    placed = {frame: matrix for look in looks for frame, matrix in look.frames.items()}
    # structures and dose share the reference's frame even where several visits carry its UID
    placed[domain.grid.frame] = np.eye(4)
    placed |= place_planning_ct(patient, survey.images, survey.body, survey.near_tumor, placed, findings)
    structures, dose = _planned(patient, domain.grid, placed, findings)
    twin = Twin(
        patient_id=patient.id,
        reference_time=patient.visits[0].date,
        domain=domain,
        anatomy=_anatomy(survey.images, domain.grid),
        observations=observations,
        structures=structures,
        dose=dose,
        clinical=patient.clinical,
        sources=patient.sources,
        identity_removed=patient.identity_removed,
    )
    step("treatments")
    return place_therapy(twin, patient.treatments, placed, findings)


def _visit(patient: Patient, asked: int | None) -> int | None:
    """Convert the index of a visit to one from 0; None stays None."""
    count = len(patient.visits)
    if not count:
        raise InputError("the patient has no visit: nothing can be built")
    if asked is not None and not -count <= asked < count:
        raise InputError(f"there is no visit {asked}: the patient has {count}")
    return None if asked is None else asked % count


def _check_spacing(patient: Patient, spacing: float) -> None:
    """Refuse a spacing that cannot go with these images: too few voxels to model anything, or too many to hold."""
    grids = [image.grid for visit in patient.visits for image in visit.images.values()]
    extents = sorted((tuple(np.array(g.shape) * g.spacing) for g in grids), key=np.prod)
    if not extents:
        return
    if max(extents[-1]) < LEAST_VOXELS * spacing:
        raise InputError(
            f"spacing {spacing:g} mm: the largest image, {_millimeters(extents[-1])}, has less than {LEAST_VOXELS} "
            "voxels of this edge in any direction: take a smaller spacing"
        )
    count = float(np.prod(extents[0])) / spacing**3
    if count > MOST_VOXELS:
        raise InputError(
            f"spacing {spacing:g} mm: even the smallest image, {_millimeters(extents[0])}, has {count / 1e6:.0f} "
            f"million voxels of this edge, {4 * count / 2**30:.1f} GiB for each field: take a larger spacing"
        )


def _millimeters(extent: tuple[float, ...]) -> str:
    return " x ".join(f"{e:.0f}" for e in extent) + " mm"


def _organ_instead(patient: Patient, findings: list[Finding]) -> str | None:
    """Find an outlined organ and report its use, since none was named; None for a brain in images of a head."""
    name = named_organ(patient)
    head = any(first_of(TISSUE_ORDER, visit.images) is not None for visit in patient.visits)
    if name is None or (name == "brain" and head):
        return None
    findings.append(
        Finding(
            f"a mask is called {name!r}, and no organ was named",
            "the patient's masks",
            f"the tumor is taken to grow in it, as with organ={name!r}",
            Severity.ASSUMED,
        )
    )
    return name


def _reference(patient: Patient, findings: list[Finding]) -> int:
    visits = patient.visits
    able = [i for i, v in enumerate(visits) if first_of(TISSUE_ORDER, v.images) is not None]
    if not able:
        held = sorted({str(s) for v in visits for s in v.images}) or ["no image that can be used"]
        lost = "".join(f"\n  {f}" for f in grouped(findings) if f.severity is Severity.LEFT_OUT)
        raise InputError(
            "brain and tissue need a T1, T1Gd, FLAIR or T2 image, "
            f"the visits have {', '.join(held)}; or outline the organ, and name it with organ={lost}"
        )
    frames = {m.frame for m in patient.structures.values()} | ({patient.dose.frame} if patient.dose else set())
    planning = [i for i in able if {v.frame for v in visits[i].images.values()} & (frames - {None})]
    enhanced = [i for i in able if MRSequence.T1GD in visits[i].images]
    return (planning or enhanced or able)[0]


def _warn_outside(
    domain: Domain, looks: Iterable[Look], observations: Iterable[Observation], findings: list[Finding]
) -> None:
    for look, seen in zip(looks, observations, strict=True):
        share = seen.enhancing
        total = share.sum()
        if total and share[~domain.mask].sum() > 0.2 * total:
            findings.append(
                Finding(
                    f"{share[~domain.mask].sum() / total:.0%} of the enhancing tumor lies outside the tissue of the "
                    "reference visit",
                    look.where,
                    "what lies outside is not modeled: tissue may have shifted, or the "
                    "registration or the outline be wrong; look at the overlay",
                    Severity.ASSUMED,
                )
            )


def _planned(
    patient: Patient, grid: Grid, placed: Mapping[str | None, NDArray[np.float64]], findings: list[Finding]
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32] | None]:
    """Structures and dose on the grid."""
    structures = {}
    for name, mask in patient.structures.items():
        if mask.frame in placed:
            structures[name] = average(mask, grid, placed[mask.frame])
        else:
            findings.append(_unplaced(f"structure {name!r}"))
    if patient.dose is None:
        return structures, None
    if patient.dose.frame not in placed:
        findings.append(_unplaced("the planned dose"))
        return structures, None
    return structures, average(patient.dose, grid, placed[patient.dose.frame])


def _anatomy(images: Mapping[MRSequence, Volume], grid: Grid) -> Volume:
    key = first_of(POSE_ORDER, images) or next(iter(images))
    image = images[key]
    return Volume(average(image, grid), grid, image.unit, str(key), image.source)


def _unplaced(what: str) -> Finding:
    return Finding(
        f"{what} lies in a frame of reference that no visit has",
        "treatment planning",
        "left out: give the images it was planned on",
        Severity.LEFT_OUT,
    )
