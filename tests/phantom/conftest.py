"""A hand-made patient small enough to be written in a second, and an independent check of DICOM files."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Grid, Mask, TotalDose, Volume
from tumortwin.imaging.writing.header import hashed_uid
from tumortwin.phantom.synthetic import Encoding, SyntheticPatient, SyntheticSeries, SyntheticVisit
from tumortwin.therapy.events import Biopsy, DoseUnit, DrugDose, Fraction

SHAPE = (12, 40, 36)


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    x, y, z = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def oblique(grid: Grid, degrees: tuple[float, float, float]) -> Grid:
    affine = np.array(grid.affine)
    affine[:3, :3] = rotation(degrees) @ affine[:3, :3]
    return Grid(grid.shape, affine, grid.frame)


def sagittal(grid: Grid) -> Grid:
    """The same axes in another order: planes go to the left, columns to the back, rows to the feet."""
    affine = np.array(grid.affine)
    affine[:3, :3] = affine[:3, :3] @ np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]])
    return Grid(grid.shape, affine, grid.frame)


def make(seed: int = 3) -> SyntheticPatient:
    """Two visits, one oblique; axial and sagittal; every encoding; SEGs, a structure with a hole, dose, fractions."""
    rng = np.random.default_rng(seed)
    start = datetime(2024, 1, 2, 9, 30)
    visits = []
    for index, (label, degrees) in enumerate([("diagnosis", (0, 0, 0)), ("planning", (12, -7, 5))]):
        grid = oblique(
            Grid.regular(SHAPE, (5.0, 1.25, 1.1), (-20.3, -31.7, -28.9), hashed_uid("frame", seed, index)), degrees
        )

        def image(unit: str = "a.u.", top: float = 640.0, grid: Grid = grid) -> Volume:
            smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), (1, 3, 3))
            smooth = (smooth - smooth.min()) / np.ptp(smooth)
            return Volume((smooth * top).astype(np.float32), grid, unit)

        series = [
            SyntheticSeries(MRSequence.T1, image(grid=sagittal(grid)), "t1_mprage_sag", Encoding.PLAIN),
            SyntheticSeries(MRSequence.T1GD, image(), "t1_mprage_tra_KM", Encoding.JPEG_LS),
            SyntheticSeries(MRSequence.FLAIR, image(), "t2_tirm_tra_dark-fluid", Encoding.RLE),
            SyntheticSeries(MRSequence.ADC, image("mm^2/s", 3e-3), "ep2d_diff_3scan_trace_ADC", Encoding.JPEG_LS),
        ]
        if index == 0:
            series += [
                SyntheticSeries(MRSequence.DWI, image(top=top), f"ep2d_diff_b{b:g}", b_value=b)
                for b, top in ((0.0, 900.0), (1000.0, 300.0))
            ]
        else:
            series = [SyntheticSeries(s.sequence, s.volume, s.description, Encoding.ENHANCED) for s in series]
        core, ring = np.zeros((2, *SHAPE), bool)
        core[4:8, 15:20, 12:18] = True
        ring[3:9, 12:24, 9:22] = True
        expert = {
            "enhancing": Mask(ring & ~core, grid),
            "necrosis": Mask(core, grid),
            "edema": Mask(ndimage.binary_dilation(ring, iterations=2) & ~ring, grid),
        }
        visits.append(SyntheticVisit(start + timedelta(days=21.25 * index), label, tuple(series), expert))
    structures = {
        "GTV": expert["enhancing"],
        "PTV": Mask(ndimage.binary_dilation(ring, iterations=3), grid),
        "Brainstem": Mask(np.roll(core, 12, axis=1), grid),
    }
    dose = TotalDose((60 * ndimage.gaussian_filter(ring.astype(np.float32), 2)).astype(np.float32), grid)
    first = datetime(2024, 1, 30, 14, 5)
    treatments = (
        Biopsy(start + timedelta(days=3)),
        *(Fraction(first + timedelta(days=n), dose.per_fraction(2)) for n in range(2)),
        *(DrugDose(first + timedelta(days=n), "temozolomide", 75.0, DoseUnit.MG_PER_M2) for n in range(3)),
    )
    return SyntheticPatient(
        id="TT-0009",
        seed=seed,
        visits=tuple(visits),
        planning_visit=1,
        structures=structures,
        dose=dose,
        prescribed=60.0,
        treatments=treatments,
        clinical={"age_years": 57, "weight_kg": 78.0, "height_m": 1.76, "diagnosis": "glioblastoma"},
        truth={"diffusivity": {"value": 0.12, "unit": "mm^2/day"}},
        truth_arrays={"density day 0": Volume(rng.random(SHAPE, np.float32), grid), "tumor": Mask(ring, grid)},
        truth_transforms={"planning": np.eye(4)},
    )


@pytest.fixture(scope="session")
def make_small() -> Callable[[int], SyntheticPatient]:
    return make


@pytest.fixture(scope="session")
def small_patient() -> SyntheticPatient:
    return make()


@pytest.fixture(scope="session")
def written(small_patient: SyntheticPatient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small patient's folder."""
    from tumortwin.phantom.dicom import write_patient

    return write_patient(small_patient, tmp_path_factory.mktemp("phantom"))
