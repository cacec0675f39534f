"""A made-up report with realistic numbers; its pictures are smooth synthetic fields."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.board import BoardReport
from tumortwin.board.cuts import Plane, reslice_grid
from tumortwin.board.values import (
    Comparison,
    DvhCurve,
    Measure,
    MethodScore,
    OptionRow,
    OrganDose,
    Panel,
    Parameter,
    PredictedVolume,
    Role,
    Scan,
    TimelineCourse,
)
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Grid, Volume
from tumortwin.planning.options import Interval

START = datetime(2024, 1, 8, 9, 30)
DAYS = (0, 21, 95, 150, 205, 260)
WHOLE = (31.2, 42.7, 36.1, 33.4, 39.8, 52.3)
CORE = (11.4, 17.9, 9.8, 10.2, 14.1, 21.6)


def date(day: float) -> datetime:
    return START + timedelta(days=day)


def role(day: float) -> Role:
    return Role.HELD_OUT if day > 150 else Role.FITTED


def volumes() -> tuple[tuple[Scan, ...], tuple[PredictedVolume, ...]]:
    scans = tuple(
        Scan(date(d), d, role(d), {"whole": w, "core": e, "necrosis": 0.1 * w})
        for d, w, e in zip(DAYS, WHOLE, CORE, strict=True)
    )
    days = np.linspace(0, 320, 81)
    bands = []
    for quantity, values in (("whole", WHOLE), ("core", CORE)):
        median = np.interp(days, (*DAYS, 320), (*values, 1.3 * values[-1])) * (1 + 0.03 * np.sin(days / 17))
        width = 0.06 + 0.22 * np.clip((days - 150) / 170, 0, None)
        bands.append(PredictedVolume(quantity, days, median, median * (1 - width), median * (1 + 1.3 * width), 150.0))
    return scans, tuple(bands)


def pictures() -> tuple[Panel, ...]:
    grid = reslice_grid(Grid.regular((90, 150, 160), 1.0, (-80, -88, -40), "1.2.3"), Plane.AXIAL, 22.0)
    _, rows, columns = grid.shape
    y, x = np.mgrid[:rows, :columns] - np.array([88, 80])[:, None, None]
    rng = np.random.default_rng(3)
    fold = ndimage.gaussian_filter(rng.standard_normal((rows, columns)), 4.0) * 14
    head = (y / 86) ** 2 + (x / 69) ** 2
    brain = (y / 78) ** 2 + (x / 61) ** 2
    anatomy = np.where(head < 1, 330.0, 10.0)
    anatomy = np.where((brain < 1.08) & (head < 1), 60.0, anatomy)
    ventricles = np.exp(-((np.abs(x) - 9) ** 2 / 40 + y**2 / 350))
    anatomy = np.where(brain < 1, 270 + 35 * np.tanh(1.5 * fold) - 120 * ventricles, anatomy)
    panels = []
    distance = np.hypot(x - 26, (y + 14) / 1.15) + 1.5 * fold
    for day, radius in zip(DAYS, (17, 21, 18, 17.5, 19, 23), strict=True):
        density = 1 / (1 + np.exp((distance - 0.7 * radius) / 3.0)) * (brain < 1)
        share = {"whole": (density > 0.25).astype(np.float32), "core": (density > 0.7).astype(np.float32)}
        image = anatomy + 150 * np.exp(-(((distance - 0.5 * radius) / 3) ** 2)) + 8 * rng.standard_normal(anatomy.shape)
        volume = Volume(image[None].astype(np.float32), grid, "a.u.", f"T1Gd of {date(day):%Y-%m-%d}")
        outlines = {name: value[None] for name, value in share.items()}
        panels.append(Panel("observed", date(day), day, role(day), volume, outlines))
    last = panels[-1]
    predicted = 1 / (1 + np.exp((distance - 0.64 * 23 + 0.1 * x) / 3.0)) * (brain < 1)
    predicted = predicted[None].astype(np.float32)
    regions = {name: (predicted > edge).astype(np.float32) for name, edge in (("whole", 0.25), ("core", 0.7))}
    panels[-1] = replace(last, predicted=regions)
    panels.append(replace(last, title="predicted", outlines={}, density=predicted, predicted=regions))
    return (panels[0], panels[2], panels[3], panels[4], panels[5], panels[6])


def options() -> tuple[OptionRow, ...]:
    rows = (
        ("no radiotherapy", "clinical", 0, 0.0, 118, (92, 151), 31, (12, 48)),
        ("25 Gy / 5", "clinical", 5, 5.0, 78, (55, 108), 96, (71, 132)),
        ("34 Gy / 10", "clinical", 10, 3.4, 66, (46, 90), 121, (94, 171)),
        ("40 Gy / 15", "clinical", 15, 8 / 3, 63, (43, 86), 128, (97, 183)),
        ("60 Gy / 30", "clinical", 30, 2.0, 52, (35, 74), 158, (118, np.inf)),
        ("as delivered", "delivered", 30, 2.0, 52, (35, 74), 158, (118, np.inf)),
        ("55.3 Gy / 19", "search", 19, 2.91, 50, (33, 72), 166, (121, np.inf)),
        ("66 Gy / 30", "search", 30, 2.2, 47, (31, 69), np.inf, (129, np.inf)),
    )
    made = []
    for name, origin, n, d, volume, (low, high), median, (early, late) in rows:
        total = n * d
        organs = tuple(
            OrganDose(organ, "Dmax (D0.03cc)", share * total * (share * d + 2) / 4, limit, True, "Mayo 2010")
            for organ, share, limit in (("brainstem", 0.78, 54.0), ("chiasm", 0.71, 54.0))
        )
        made.append(
            OptionRow(
                name,
                origin,
                n,
                d,
                total,
                total * (1 + d / 8),
                total * (d + 8) / 10,
                organs,
                {"progression_days": Interval(median, early, late), "volume_ml": Interval(volume, low, high)},
            )
        )
    return tuple(made)


def make_report() -> BoardReport:
    scans, bands = volumes()
    weekdays = tuple(float(28 + d) for d in range(42) if d % 7 < 5)
    adjuvant = tuple(float(98 + 28 * c + d) for c in range(6) for d in range(5))
    courses = (
        TimelineCourse("surgery", "Biopsy", "", (3.0,), ((3.0, 3.0),)),
        TimelineCourse("radiotherapy", "Radiotherapy", "60 Gy in 30 fractions", weekdays, ((28.0, 67.0),)),
        TimelineCourse(
            "drug", "Temozolomide", "75 mg/m² × 40", tuple(float(28 + d) for d in range(40)), ((28.0, 67.0),)
        ),
        TimelineCourse(
            "drug",
            "Temozolomide",
            "150–200 mg/m² × 30",
            adjuvant,
            tuple((98.0 + 28 * c, 102.0 + 28 * c) for c in range(6)),
        ),
    )
    dose = np.linspace(0, 64, 129)
    dvh = tuple(
        DvhCurve(name, dose, 100 / (1 + np.exp((dose - centre) / width)))
        for name, centre, width in (
            ("PTV", 60.2, 0.5),
            ("CTV", 60.6, 0.4),
            ("brainstem", 22, 7),
            ("chiasm", 31, 4),
            ("brain", 14, 9),
        )
    )
    comparisons = tuple(
        Comparison(s.date, s.day, s.role, q, s.volumes_ml[q], Interval(v, v * (1 - w), v * (1 + w)))
        for s in scans
        for q in ("whole", "core")
        for v, w in ((s.volumes_ml[q] * (0.91 if s.role is Role.HELD_OUT else 1.03), 0.2 if s.day > 150 else 0.07),)
    )
    scores = tuple(
        MethodScore(
            date(260),
            260.0,
            method,
            quantity,
            dice,
            volume,
            volume - observed,
            100 * (volume - observed) / observed,
            *((0.8 * volume, 1.23 * volume) if method == "tumortwin" else ()),
        )
        for quantity, observed, methods in (
            (
                "whole",
                52.3,
                (("tumortwin", 0.83, 48.1), ("last scan unchanged", 0.74, 33.4), ("exponential growth", None, 28.9)),
            ),
            (
                "core",
                21.6,
                (("tumortwin", 0.71, 18.7), ("last scan unchanged", 0.58, 10.2), ("exponential growth", None, 10.6)),
            ),
        )
        for method, dice, volume in methods
    )
    parameters = (
        Parameter(
            "diffusivity", "mm^2/day", 0.142, 0.094, 0.214, 0.0193, 0.518, "Harpold 2007 (doi:10.1093/x): glioma"
        ),
        Parameter(
            "proliferation_rate",
            "1/day",
            0.0261,
            0.0204,
            0.0334,
            0.0095,
            0.0949,
            "Harpold 2007 (doi:10.1093/x): glioma",
        ),
        Parameter("alpha", "1/Gy", 0.0517, 0.0391, 0.0684, 0.019, 0.19, "Qi 2006, Pedicini 2014"),
        Parameter("alpha_beta", "Gy", 8.0, None, None, None, None, "Pedicini 2014"),
        Parameter("temozolomide", "1/(mg/m2)", 0.000104, 0.000055, 0.000198, 0.0000518, 0.000193, "tight prior"),
        Parameter("clearance", "day", 23.1, 14.2, 37.4, 8.79, 45.5, "pseudoprogression fades in 12 weeks"),
        Parameter("threshold_whole", "1", 0.263, 0.19, 0.34, 0.17, 0.353, "quoted as 0.16 to 0.35"),
        Parameter("seed_radius", "mm", 12.7, 9.3, 17.2, 4.7, 47.5, "radius of the first scan's tumor"),
    )
    quality = (
        Measure("Reduced χ²", 1.12, "1", "1 is noise alone; above 1.5 the model misses something"),
        Measure("Independent voxels", 214.0, "1", "of 13 400, after spatial correlation"),
        Measure("corr(log D, log ρ)", -0.37, "1", ""),
    )
    limits = (
        "α and temozolomide are given together and cannot be told apart.",
        "Radiation effects in the first 12 weeks after radiotherapy (pseudoprogression) are not ruled out.",
        "Dose scaled from the given plan; no new plan was optimized on a linear accelerator.",
    )
    findings = (
        Finding("no treatment record for fraction 17", "rt/records", "assumed given on its weekday", Severity.ASSUMED),
        Finding("slice spacing 5 mm", "visit 2024-06-06, FLAIR", "kept; the outline is coarse there", Severity.NOTE),
        Finding("series 9 has no position", "visit 2024-04-12", "series not used", Severity.LEFT_OUT),
        Finding(
            "rescale slope differs between slices",
            "visit 2024-01-29, ADC",
            "each slice rescaled by its own",
            Severity.REPAIRED,
        ),
    )
    return BoardReport(
        patient_id="TT-0001",
        identity_removed=True,
        reference_time=START,
        version="0.1.0",
        input_hash="9f2c41d0a7e35b18" * 4,
        clinical=("glioblastoma, IDH-wildtype", "57 years", "MGMT methylated"),
        scans=scans,
        courses=courses,
        bands=bands,
        panels=pictures(),
        comparisons=comparisons,
        scores=scores,
        options=options(),
        outcome_names={"progression_days": "days to progression", "volume_ml": "core mL, day 260"},
        horizon_days=180.0,
        dvh=dvh,
        dvh_limits=(
            OrganDose("brainstem", "Dmax (D0.03cc)", 46.8, 54.0, True, "QUANTEC 2010", 54.0),
            OrganDose("chiasm", "Dmax (D0.03cc)", 42.6, 55.0, True, "QUANTEC 2010", 55.0),
        ),
        parameters=parameters,
        quality=quality,
        limits=limits,
        findings=findings,
        sources={f"visit{i}/IM{j:04d}.dcm": f"{i * 97 + j:064x}" for i in range(6) for j in range(20)},
        limit_set="QUANTEC 2010",
        definitions=(
            "Time to progression: first day the predicted T1Gd volume is 40 % above its nadir.",
            "Intervals are 5th to 95th percentile.",
            "Core: inside the T1Gd contour, necrosis included.",
            "A last definition, of nothing at all.",
        ),
    )


@pytest.fixture(scope="session")
def report() -> BoardReport:
    return make_report()
