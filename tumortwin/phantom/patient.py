"""make_patient: a synthetic glioblastoma patient, from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tumortwin.errors import InputError
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.phantom.acquisition import Pose, Scanner, frame_uid, patient_tissues
from tumortwin.phantom.anatomy import individual
from tumortwin.phantom.growth import Biology, Tumor, fiber_tensor, grow_to, smooth_noise
from tumortwin.phantom.host import Host, make_host
from tumortwin.phantom.lesion import Appearance, Habit, SyntheticLesion
from tumortwin.phantom.synthetic import SyntheticPatient, SyntheticVisit
from tumortwin.phantom.treatment import plan_radiotherapy, temozolomide, weekdays
from tumortwin.phantom.visits import VISITS, VisitPlan, scan_visit
from tumortwin.progress import Progress, silent
from tumortwin.therapy.events import Biopsy, DrugDose, Fraction, Resection, Treatment

SITES: Mapping[str, tuple[float, float, float]] = {
    "right frontal": (30, 30, 24),
    "left frontal": (-30, 30, 24),
    "right temporal": (46, -20, -10),
    "left temporal": (-46, -20, -10),
    "right parietal": (32, -44, 36),
    "left parietal": (-32, -44, 36),
    "right occipital": (30, -70, 10),
    "left occipital": (-30, -70, 10),
}
"""Named places in white matter, MNI mm (x to the right, y to the front, z up)."""


def make_patient(
    seed: int = 1,
    *,
    id: str = "TT-0001",
    site: str | tuple[float, float, float] | None = None,
    size_ml: float | None = None,
    visits: Iterable[VisitPlan | int] = VISITS,
    prescribed: float = 60.0,
    fractions: int = 30,
    radiotherapy_day: int = 28,
    chemotherapy: bool = True,
    resection: bool = False,
    noise: float = 0.025,
    biology: Biology | None = None,
    spacing: float = 1.0,
    solver_spacing: float = 1.5,
    progress: Progress = silent,
) -> SyntheticPatient:
    """Make a patient that nobody is.

    A head (Colin27, warped), a tumor that grew in it from a seed before day 0, its treatment, and what a scanner would
    show of it. Everything is drawn from `seed`; equal arguments give equal bits on one machine.

    Parameters
    ----------
    seed : int
        Draws everything that is not given.
    id : str
        Patient ID.
    site : str or (3,) tuple, optional
        Where the tumor starts: a name of ``SITES`` or a point in MNI mm; drawn if not given.
    size_ml : float, optional
        Volume of the core (enhancing and necrotic) at day 0; drawn between 14 and 22 mL if not given.
    visits : iterable of VisitPlan or int
        The visits; a number is a day, scanned with 2 mm axial slices.
    prescribed : float
        Total dose in Gy; 0 for no radiotherapy.
    fractions : int
        Fractions on consecutive weekdays.
    radiotherapy_day : int
        Day of the first fraction; the first visit is on the weekday that makes it a Monday.
    chemotherapy : bool
        Temozolomide with and after radiotherapy.
    resection : bool
        Whether most of the core is taken out a week after the first visit, leaving a cavity; else a biopsy is taken.
    noise : float
        SD of the Rician noise over the signal of white matter.
    biology : Biology, optional
        The tumor's parameters; drawn around the defaults if not given.
    spacing, solver_spacing : float
        Voxel edge in mm of the head and of the growth solver; larger ones make quick, coarse patients for tests.
    progress : Progress
        Told the day reached.

    Returns
    -------
    SyntheticPatient

    Raises
    ------
    InputError
        If the site is not in the brain, or an argument is out of range.
    """
    plans = tuple(p if isinstance(p, VisitPlan) else VisitPlan(int(p), f"day {int(p)}") for p in visits)
    _check(plans, prescribed, fractions, noise, size_ml)
    streams = _Streams(seed)
    where, site = _place(site, streams("site"))
    size_ml = float(streams("size").uniform(14, 22)) if size_ml is None else size_ml
    biology = biology or _drawn_biology(streams("biology"))
    anatomy = individual(streams("anatomy"), spacing)
    host = make_host(anatomy, site, solver_spacing)
    tissue = host.white + host.grey
    tumor, maps = _implanted(host, biology, streams("parameters"))
    habit = _drawn_habit(streams("habit"))
    looks = Appearance(host.grid, host.white, tissue, host.mask, habit, streams("look"))

    # before day 0
    last_aged = 0.0

    def large_enough(tumor: Tumor) -> bool:
        nonlocal last_aged
        if tumor.day - last_aged >= 6:
            looks.age(tumor.field(tumor.living), tumor.day - last_aged)
            last_aged = tumor.day
        progress(int(tumor.day), 0, "growing the tumor before day 0")
        return float((tumor.living >= habit.enhancing_cells).sum()) * solver_spacing**3 >= 1000 * size_ml

    onset = -grow_to(tumor, large_enough)

    # day 0 is a weekday that makes the first fraction's day a Monday
    calendar = streams("calendar")
    monday = datetime(2023, 1, 2) + timedelta(days=7 * int(calendar.integers(0, 80)))
    first = monday - timedelta(days=radiotherapy_day % 7) + timedelta(hours=9, minutes=int(calendar.integers(10, 50)))
    dates = [first + timedelta(days=p.day, minutes=int(calendar.integers(-60, 300)) if p.day else 0) for p in plans]
    end = dates[-1]
    planning = max([i for i, p in enumerate(plans) if p.day < radiotherapy_day], default=0)
    tissues = patient_tissues(streams("tissues"))
    scanner = Scanner(host.anatomy, host.grid, tissues, streams("texture"))

    treatments: list[Treatment] = []
    times: list[datetime] = []
    if prescribed > 0:
        start = (first + timedelta(days=radiotherapy_day)).replace(hour=10, minute=0)
        times = [
            t + timedelta(minutes=int(m))
            for t, m in zip(weekdays(start, fractions), calendar.integers(-20, 40, fractions), strict=True)
        ]
        if chemotherapy:
            treatments += temozolomide(times[0], times[-1], end)
    surgery = first + timedelta(days=7 if resection else 3, hours=2)
    if surgery < end and not resection:
        treatments.append(Biopsy(surgery, "phantom"))

    # everything that happens, in order; what depends on the tumor's state is made when its time comes
    events: list[tuple[datetime, str, Any]] = [(d, "visit", i) for i, d in enumerate(dates)]
    events += [(t, "fraction", None) for t in times if t < end]
    events += [(d.time, "drug", d) for d in treatments if isinstance(d, DrugDose)]
    events += [(surgery, "resection", None)] if resection and surgery < end else []
    events.sort(key=lambda e: e[0])

    made: list[SyntheticVisit] = []
    poses: list[Pose] = []
    structures: dict[str, Mask] = {}
    arrays: dict[str, Volume] = dict(maps)
    dose: TotalDose | None = None
    survival = np.ones(host.grid.shape, np.float32)
    visit_truth: list[dict[str, Any]] = []
    aged = 0.0
    total = (end - first).days
    for time, what, which in events:
        day = (time - first) / timedelta(days=1)
        tumor.advance(day)
        if day - aged >= 4 or what in ("visit", "resection"):
            looks.age(tumor.field(tumor.living + tumor.dead), day - aged)
            aged = day
        progress(int(day), total, "growing, treating and scanning the patient")
        if what == "drug":
            tumor.kill(np.exp(-biology.drug_sensitivity * which.amount))
        elif what == "resection":
            lesion = looks.look(tumor.field(tumor.living), tumor.field(tumor.dead))
            removed = _cavity(lesion, host, streams("resection"))
            tumor.resect(removed)
            looks.resect(removed)
            arrays["removed"] = Volume(removed.astype(np.uint8), host.grid, "1", "resected")
            treatments.append(Resection(time, Mask(removed, host.grid, name="removed"), "phantom"))
        elif what == "fraction":
            tumor.kill(survival[tumor.mask])
        else:
            plan = plans[which]
            lesion = looks.look(tumor.field(tumor.living), tumor.field(tumor.dead))
            pose = Pose.random(streams(f"pose {which}"))
            frame = frame_uid(seed, id, "frame", plan.label)
            visit, masks = scan_visit(plan, time, lesion, scanner, pose, frame, noise, streams(f"scan {which}"))
            made.append(visit)
            poses.append(pose)
            volumes = {n: round(m.volume_ml, 3) for n, m in masks.items()}
            visit_truth.append(
                {
                    "label": plan.label,
                    "day": day,
                    "date": time.isoformat(),
                    "frame": frame,
                    "volumes_ml": volumes,
                    "living_cells_ml": round(float(tumor.living.sum()) * solver_spacing**3 / 1000, 4),
                }
            )
            for name in ("living", "dead", "necrosis", "edema"):
                values = getattr(lesion, name) * (tumor.mask if name in ("living", "dead") else 1)
                values = np.round(values * 4096) / 4096  # small when compressed, finer than anything is compared
                arrays[f"{plan.label}/{name}"] = Volume(values.astype(np.float32), host.grid, "1", name)
            arrays.update({f"{plan.label}/mask {n}": m for n, m in masks.items()})
            if which == planning and prescribed > 0:
                structures, dose = plan_radiotherapy(masks, host.anatomy, pose, prescribed, streams("dose"))
                each = _on_host(dose, host.grid, pose) / fractions
                survival[...] = biology.survival(each, maps["alpha"].array / biology.alpha)
                per_fraction = dose.per_fraction(fractions)
                treatments += [Fraction(t, per_fraction, "phantom") for t in times if t < end]

    treatments.sort(key=lambda t: t.time)
    truth = {
        "seed": seed,
        "site": {"name": where, "mni_mm": list(map(float, site)), "lps_mm": host.site.tolist()},
        "onset_day": onset,
        "first_visit": first.isoformat(),
        "parameters": _with_units(biology),
        "appearance": asdict(habit),
        "tissues": {name: asdict(t) for name, t in tissues.items()},
        "noise": noise,
        "size_ml": size_ml,
        "visits": visit_truth,
    }
    transforms = {plan.label: pose.matrix for plan, pose in zip(plans, poses, strict=True)}
    return SyntheticPatient(
        id,
        seed,
        tuple(made),
        planning,
        structures,
        dose,
        prescribed if dose is not None else 0.0,
        tuple(treatments),
        _clinical(streams("clinical"), first),
        truth,
        arrays,
        transforms,
    )


class _Streams:
    """Independent random generators by name, so that one choice does not move the draws of another."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, name: str) -> np.random.Generator:
        word = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, word])))


def _place(
    site: str | tuple[float, float, float] | None, rng: np.random.Generator
) -> tuple[str, tuple[float, float, float]]:
    """Choose the name and MNI point of a site; a named or drawn site is moved by a few mm."""
    drawn = str(rng.choice(sorted(SITES)))
    shift = rng.uniform(-4, 4, 3)
    if site is None:
        site = drawn
    if not isinstance(site, str):
        x, y, z = site
        return "as given", (float(x), float(y), float(z))
    if site not in SITES:
        raise InputError(f"no site {site!r}: choose one of {', '.join(SITES)}, or give a point in MNI mm")
    x, y, z = np.array(SITES[site]) + shift
    return site, (float(x), float(y), float(z))


def _drawn_biology(rng: np.random.Generator) -> Biology:
    """Sample a biology that varies the default tumor by 8 to 15 per cent."""
    base = Biology()
    factor = {
        name: float(np.exp(sd * np.clip(rng.standard_normal(), -2, 2)))
        for name, sd in (
            ("diffusivity", 0.15),
            ("proliferation_rate", 0.08),
            ("alpha", 0.08),
            ("drug_sensitivity", 0.2),
            ("clearance_days", 0.12),
        )
    }
    return replace(base, **{name: getattr(base, name) * f for name, f in factor.items()})


def _drawn_habit(rng: np.random.Generator) -> Habit:
    """Sample a habit that varies the default appearance by some 10 per cent."""
    base = Habit()
    return Habit(
        **{
            name: value * float(np.exp(0.1 * np.clip(rng.standard_normal(), -2, 2)))
            for name, value in asdict(base).items()
        }
    )


def _implanted(host: Host, biology: Biology, rng: np.random.Generator) -> tuple[Tumor, dict[str, Volume]]:
    """Implant a tumor of some 30 mm^3 at the site, with rates that vary in space; return also the maps of the rates."""
    h = host.grid.spacing[0]
    vary = [
        np.exp(sd * smooth_noise(rng, host.grid.shape, 8.0 / h))
        for sd in (biology.variation, biology.variation, biology.alpha_variation)
    ]
    tensor = fiber_tensor(host.white, host.grey, host.points, biology, h, vary[0])
    rate = (biology.proliferation_rate * vary[1]).astype(np.float32)
    tumor = Tumor(tensor, rate, host.mask, h, biology.clearance_days)
    distance = ((host.points - host.site.astype(np.float32)[:, None, None, None]) ** 2).sum(0)
    tumor.living = (0.5 * np.exp(-distance[host.mask] / (2 * max(1.5, h) ** 2))).astype(np.float32)
    # three digits are enough for truth, and compress
    maps = (
        ("diffusivity", "mm^2/day", tensor[:3].mean(0)),
        ("proliferation rate", "1/day", rate),
        ("alpha", "1/Gy", biology.alpha * vary[2]),
    )
    return tumor, {
        name: Volume((values * host.mask).astype(np.float16).astype(np.float32), host.grid, unit, name)
        for name, unit, values in maps
    }


def _cavity(lesion: SyntheticLesion, host: Host, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Find what the surgeon removes: the core and some mm more, except for a remnant on one side."""
    h = host.grid.spacing[0]
    taken = ndimage.distance_transform_edt(~lesion.core, sampling=h) <= 1.5
    direction = rng.standard_normal(3)
    along = np.tensordot(direction / np.linalg.norm(direction), host.points, 1)
    taken &= along <= np.quantile(along[lesion.core], 0.93)
    return taken & (host.white + host.grey >= 0.3)


def _on_host(dose: TotalDose, grid: Grid, pose: Pose) -> NDArray[np.float32]:
    """Resample the dose to the solver's grid, through the pose of the visit it was planned on."""
    matrix = np.linalg.inv(dose.affine) @ pose.matrix @ grid.affine
    return ndimage.affine_transform(
        dose.array, matrix[:3, :3], matrix[:3, 3], output_shape=grid.shape, order=1, output=np.float32
    )


def _with_units(biology: Biology) -> dict[str, dict[str, Any]]:
    units = {
        "diffusivity": "mm^2/day",
        "proliferation_rate": "1/day",
        "alpha": "1/Gy",
        "alpha_beta": "Gy",
        "drug_sensitivity": "1/(mg/m^2)",
        "clearance_days": "day",
    }
    return {name: {"value": value, "unit": units.get(name, "1")} for name, value in asdict(biology).items()}


def _clinical(rng: np.random.Generator, first: datetime) -> dict[str, Any]:
    """Sample the clinical data that DICOM does not carry, except for drugs and surgery."""
    height = float(rng.normal(1.72, 0.08))
    dexamethasone = [(0, 8), (14, 4), (70, 2), (90, 0)]
    return {
        "diagnosis": "glioblastoma, IDH-wildtype (synthetic patient)",
        "weight_kg": round(float(np.clip(rng.normal(26, 3), 19, 36)) * height**2, 1),
        "height_m": round(height, 2),
        "age_years": int(rng.integers(46, 72)),
        "mgmt_methylated": bool(rng.random() < 0.45),
        "idh_mutant": False,
        "steroids": [
            {"from": (first + timedelta(days=d)).date().isoformat(), "dexamethasone_mg_per_day": mg}
            for d, mg in dexamethasone
        ],
    }


def _check(
    plans: tuple[VisitPlan, ...], prescribed: float, fractions: int, noise: float, size_ml: float | None
) -> None:
    days = [p.day for p in plans]
    if not plans or days[0] != 0 or sorted(set(days)) != days:
        raise InputError(f"visits start at day 0 and follow each other, not {days}")
    if len({p.label for p in plans}) != len(plans):
        raise InputError(f"visits have unlike labels, not {[p.label for p in plans]}")
    if prescribed < 0 or fractions < 1 or noise < 0:
        raise InputError(
            f"prescribed dose ({prescribed} Gy) and noise ({noise}) are not negative, and there is at "
            f"least one fraction ({fractions})"
        )
    if size_ml is not None and not 0.5 <= size_ml <= 80:
        raise InputError(f"the core's volume at day 0 is 0.5 to 80 mL, not {size_ml}")
