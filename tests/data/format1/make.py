"""Write the format-1 files of this folder and numbers.json with the code of v0.1.0.

They were made, and can be made again, with

    git worktree add ../v0.1.0 v0.1.0 && (cd ../v0.1.0 && python setup.py build_ext --inplace)
    PYTHONPATH=../v0.1.0 python tests/data/format1/make.py

The patient is made up: a small round tumor in a round brain, so that the files stay small. numbers.json holds what
v0.1.0 says of the values; the tests compare it with what the files hold when they are read today. Every class that
v0.1.0 could write occurs in at least one file.
"""

# ruff: noqa: I001 (modules of v0.1.0 that are elsewhere today)

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from tumortwin import archive
from tumortwin.board import BoardReport, QualityReport
from tumortwin.calibration import Calibration, Diagnostics
from tumortwin.calibration import unknowns as known
from tumortwin.geometry.deformation import Deformation
from tumortwin.geometry.domain import Domain
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.plan import PlanRecord
from tumortwin.imaging.sequence import Sequence
from tumortwin.imaging.spatial_registration import FrameLink
from tumortwin.imaging.volume import Dose, FractionDose, Grid, Mask, TotalDose, Volume
from tumortwin.patient import Clinical, Patient, Visit
from tumortwin.planning import BURMAN, optimize_dose
from tumortwin.therapy import weekday_times
from tumortwin.therapy.events import Biopsy, DoseUnit, DrugDose, Fraction, Resection
from tumortwin.twin import Administration, Irradiation, Observation, RegistrationQuality, Removal, Twin

FOLDER = Path(__file__).parent
PASSPHRASE = "correct horse"
DAY0 = datetime(2024, 1, 1, 10)
SHAPE, SPACING, ORIGIN = (14, 16, 15), 5.0, (-35.0, -37.5, -32.5)
TUMOR = (10.0, -5.0, 5.0)
DAYS = (0.0, 21.0, 95.0, 150.0)
RADII = (14.0, 16.0, 13.0, 17.0)


def distances(grid: Grid, place: tuple[float, float, float]) -> np.ndarray:
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    return np.linalg.norm(grid.to_world(index) - np.array(place), axis=-1)


def coarse(values: np.ndarray) -> np.ndarray:
    """Few different values, so that the files are small."""
    return (np.round(16 * values) / 16).astype(np.float32)


def make_twin() -> Twin:
    grid = Grid.regular(SHAPE, SPACING, ORIGIN, "1.2.3")
    r = distances(grid, TUMOR)
    brain = distances(grid, (0, 0, 0)) < 34
    white = coarse(0.75 * brain)
    domain = Domain(grid, brain, white, coarse(0.25 * brain), np.zeros(SHAPE, np.float32))

    def ball(radius: float) -> np.ndarray:
        return coarse(np.clip((radius - r) / SPACING + 0.5, 0, 1) * brain)

    observations = []
    for i, (day, radius) in enumerate(zip(DAYS, RADII, strict=True)):
        whole, core, dead = ball(radius), ball(0.6 * radius), ball(0.3 * radius)
        regions = {"whole": whole, "enhancing": core - dead, "necrosis": dead}
        shift = np.eye(4)
        shift[0, 3] = 1.5 * i
        later = {} if i == 0 else {
            "registration": RegistrationQuality("T1Gd", "T1Gd", 1.25 + 0.01 * i, 0.97, 0.4),
            "cavity": ball(4.0),
            "intervals_ml": {"whole": (8.5 + i, 14.5 + i)},
            "displacement": Deformation(
                Grid.regular((2, 2, 2), 60.0, ORIGIN, "1.2.3"), np.full((2, 2, 2, 3), 0.5 * i, np.float32), (0.9, 1.1)
            ),
        }  # fmt: skip
        observations.append(
            Observation(
                day=day, date=DAY0 + timedelta(days=day), visit=i,
                density=np.where(whole > 0.5, np.float32(0.625), np.float32(np.nan)), sigma=0.05, correlation_mm=4.0,
                **regions, seen=brain,
                volumes_ml={name: float(f.sum()) * grid.voxel_volume / 1000 for name, f in regions.items()},
                source="segmented", transform=shift, **later,
            )
        )  # fmt: skip
    dose = coarse(60.0 / (1 + np.exp((r - 26) / 4)) * brain)
    fraction = dose / np.float32(30)
    return Twin(
        patient_id="TT-F1",
        reference_time=DAY0,
        domain=domain,
        anatomy=Volume(coarse(brain + ball(10)), grid, "a.u.", "T1Gd"),
        observations=tuple(observations),
        irradiations=(
            *(
                Irradiation((t - DAY0) / timedelta(days=1), fraction)
                for t in weekday_times(DAY0 + timedelta(days=28, hours=1), 30)
            ),
        ),
        administrations=tuple(Administration(28.0 + d, "temozolomide", 75.0, DoseUnit.MG_PER_M2) for d in range(40)),
        removals=(Removal(7.0, ball(4.0)),),
        structures={
            "GTV": ball(12),
            "PTV": ball(18),
            "Brain": brain.astype(np.float32),
            "BrainStem": (distances(grid, (0, 12, -20)) < 9).astype(np.float32),
            "Chiasm": (distances(grid, (0, -8, -12)) < 6).astype(np.float32),
        },
        dose=dose,
        clinical=Clinical(72.5, 1.78, 61.0, True, False, "glioblastoma", ((DAY0, 4.0), (DAY0 + timedelta(7), 0.5))),
        findings=(Finding("slices 5 mm apart", "visit of 2024-01-22", "kept", Severity.ASSUMED),),
        sources={"a.dcm": "00ff" * 16},
        identity_removed=True,
    )


def make_calibration(twin: Twin) -> Calibration:
    table = (
        known.DIFFUSIVITY, known.PROLIFERATION, known.ALPHA, known.TEMOZOLOMIDE, known.EARLY_GROWTH,
        *known.seed_unknowns(12.0, SPACING), known.WHOLE, known.ENHANCING, known.ADC_OFFSET, known.ADC_SCALE,
        known.CLEARANCE,
    )  # fmt: skip
    chosen = {"diffusivity": 0.3, "proliferation_rate": 0.06, "alpha": 0.05, "threshold_enhancing": 0.6}
    mean = np.array([u.scale.forward(chosen.get(u.name, u.median)) for u in table])
    spread = np.array([0.15 * u.spread for u in table])
    return Calibration(
        twin=twin,
        visits=(0, 1, 2),
        box=tuple((0, n) for n in SHAPE),
        start=0.0,
        center=np.array([7.5, 6.5, 8.5]),
        unknowns=table,
        fitted=tuple(u.name for u in table[:-1]),
        mean=mean,
        covariance=np.diag(spread**2),
        seed=3,
        diagnostics=Diagnostics(
            solves=57,
            converged=True,
            reduced_chi2={"whole": 1.02, "enhancing": 0.97, "density": 1.1},
            sigma={"whole": 0.21, "enhancing": 0.19, "density": 0.08},
            correlation_mm=(4.0, 4.5, 5.0),
            kappa=61.5,
            wall_density=0.002,
            accepted=0.875,
        ),
        findings=(Finding("two scans after radiotherapy", "calibration", "more would narrow the intervals"),),
        ensemble=mean + spread * np.random.default_rng(1).standard_normal((4, mean.size)),
    )


def make_patient(twin: Twin) -> Patient:
    fine = Grid.regular((18, 20, 18), 4.0, (-34.0, -38.0, -34.0), "1.2.4")
    head = coarse(np.clip(1.5 - distances(fine, (0, 0, 0)) / 40, 0, 1))
    tumor = Mask(distances(fine, TUMOR) < 10, fine, name="GTV")
    images = {
        Sequence.T1GD: Volume(head + coarse(0.5 * tumor.array), fine, "a.u.", "t1 gd"),
        Sequence.T1: Volume(head, fine, "a.u.", "t1"),
    }
    at = DAY0 + timedelta(days=28)
    return Patient(
        id=twin.patient_id,
        visits=tuple(
            Visit(o.date, images, {"GTV": tumor} if o.visit == 1 else {}, f"visit {o.visit}") for o in twin.observations
        ),
        treatments=(
            Biopsy(DAY0 + timedelta(days=3), "clinical.json"),
            Resection(DAY0 + timedelta(days=7), tumor, "clinical.json"),
            DrugDose(at, "temozolomide", 140.0, DoseUnit.MG),
            Fraction(at, FractionDose(2 * head, fine), "1.2.5"),
            Fraction(at + timedelta(days=1), 2.0, "assumed: weekday calendar"),
        ),
        structures={"GTV": tumor},
        dose=TotalDose(60 * head, fine),
        plan=PlanRecord("1.2.6", "plan", 60.0, 30, DAY0),
        clinical=twin.clinical,
        findings=twin.findings,
        sources=twin.sources,
        links=(FrameLink("1.2.4", "1.2.3", np.eye(4), "reg.dcm", DAY0),),
    )


def main() -> None:
    twin = make_twin()
    patient = make_patient(twin)
    fit = make_calibration(twin)
    forecast = fit.forecast(DAYS[-1], samples=4)
    front = optimize_dose(fit, BURMAN, horizon_days=180, samples=3, threads=1)
    report = BoardReport.from_plan(front, forecast=forecast, patient=patient)
    quality = QualityReport.from_twin(twin, patient=patient)
    values = {
        "patient": patient,
        "twin": twin,
        "calibration": fit,
        "forecast": forecast,
        "plan": front,
        "board": replace(report, panels=report.panels[-3:]),
        "quality": replace(quality, visits=tuple(replace(v, pictures=v.pictures[:1]) for v in quality.visits[:2])),
        "dose": Dose(np.full((1, 2, 3), 1.5, np.float32), Grid.regular((1, 2, 3)), name="a dose"),
    }
    for name, value in values.items():
        archive.save(value, FOLDER / f"{name}.npz", overwrite=True)
    archive.save(values["dose"], FOLDER / "encrypted.npz", overwrite=True, passphrase=PASSPHRASE)
    delivered = front.delivered
    stem = next(o for o in delivered.organs if o.structure == "BrainStem")
    numbers = {
        "patient": {
            "visits": len(patient.visits),
            "GTV mL": patient.structures["GTV"].volume_ml,
            "mean dose Gy": float(patient.dose.array.mean()),
            "prescribed Gy": patient.plan.prescribed,
        },
        "twin": {
            "tissue mL": float(twin.domain.mask.sum()) * twin.domain.grid.voxel_volume / 1000,
            "whole mL": [o.volumes_ml["whole"] for o in twin.observations],
            "similarity": [o.registration.similarity for o in twin.observations[1:]],
            "displacement mm": [float(o.displacement.vectors.max()) for o in twin.observations[1:]],
            "largest dose Gy": float(twin.dose.max()),
            "sum of fractions Gy": float(sum(i.dose.max() for i in twin.irradiations)),
            "temozolomide mg/m2": sum(a.amount for a in twin.administrations),
            "weight kg": twin.clinical.weight_kg,
        },
        "calibration": {
            "estimates": [[e.value, e.low, e.high] for e in fit.estimates],
            "ensemble": fit.ensemble.tolist(),
            "effective voxels per sample": fit.diagnostics.kappa,
            "solves": fit.diagnostics.solves,
            "sigma of the whole tumor": fit.diagnostics.sigma["whole"],
        },
        "forecast": {
            "whole mL": forecast.volumes["whole"].median.tolist(),
            "core mL": forecast.volumes["enhancing"].median.tolist(),
            "core's 95th percentile mL": forecast.volumes["enhancing"].p95.tolist(),
            "core's threshold": forecast.thresholds["enhancing"],
            "core's probability": float(forecast.fields[0].probability["enhancing"].astype(float).sum()),
            "dice": forecast.score(twin.observations[-1])["whole"].dice,
        },
        "plan": {
            "schedules": [o.name for o in front.options],
            "total Gy": [o.schedule.total for o in front.options],
            "progression days": [
                [o.outcome.progression.median, o.outcome.progression.low, o.outcome.progression.high]
                for o in front.options
            ],
            "limits": front.constraint_set,
            "brainstem checks": [[c.value, c.constraint.limit, c.met] for c in stem.ticks],
            "core mL": delivered.outcome.volumes_ml["enhancing"].median.tolist(),
            "rank agreement": front.rank_agreement,
            "volumes mL": [float(h.volume_ml[0]) for h in front.histograms],
        },
        "board": {
            "scan days": [s.day for s in report.scans],
            "roles": [str(s.role) for s in report.scans],
            "whole mL": [float(b.median[-1]) for b in report.bands if b.quantity == "whole"],
            "dice": [s.dice for s in report.scores],
            "EQD2 Gy": [o.eqd2 for o in report.options],
            "limits kept": [o.met for o in report.options],
            "parameters": [p.value for p in report.parameters],
        },
        "quality": {
            "roles": [v.role for v in quality.visits[:2]],
            "similarity": quality.visits[1].registration.similarity,
            "plane": str(quality.visits[0].pictures[0].plane),
            "mean gray value": float(quality.visits[0].pictures[0].image.array.astype(float).mean()),
        },
        "dose": {"sum": float(values["dose"].array.sum())},
    }
    lines = ",\n".join(f"{json.dumps(kind)}: {json.dumps(facts)}" for kind, facts in numbers.items())
    (FOLDER / "numbers.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
