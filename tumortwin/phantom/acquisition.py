"""How a synthetic head is scanned: signal equations over tissues, partial volume, pose, bias field and noise.

Voxels mix the signals of what they hold; nothing here is an inversion of what the product assumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.phantom.anatomy import Anatomy
from tumortwin.phantom.growth import smooth_noise
from tumortwin.phantom.lesion import SyntheticLesion

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Tissue:
    """Proton density, relaxation times in ms, and apparent diffusion coefficient in 1e-3 mm^2/s, at about 1.5 T."""

    density: float
    t1: float
    t2: float
    adc: float


# commonly quoted values (e.g. Stanisz et al. 2005, doi:10.1002/mrm.20605, for relaxation), varied by patient
TISSUES: Mapping[str, Tissue] = {
    "white": Tissue(0.70, 600, 78, 0.72),
    "grey": Tissue(0.82, 1150, 95, 0.86),
    "csf": Tissue(1.00, 4000, 1200, 3.0),
    "fat": Tissue(0.95, 280, 75, 0.05),
    "soft": Tissue(0.75, 950, 45, 1.2),
    "living": Tissue(0.88, 1350, 120, 0.85),
    "dead": Tissue(0.90, 1400, 140, 1.35),
    "edema": Tissue(0.90, 1350, 140, 1.55),
    "necrosis": Tissue(0.97, 2300, 300, 2.2),
    "cavity": Tissue(1.00, 3600, 900, 2.8),
}
HEALTHY = ("white", "grey", "csf", "fat", "soft")
_RELAXIVITY = 2.3  # 1/s added to 1/T1 where contrast agent leaks fully
_FAT_SATURATION = 0.12


def patient_tissues(rng: np.random.Generator, spread: float = 0.04) -> dict[str, Tissue]:
    """Sample the tissues of one patient: relaxation times and diffusion vary by a few per cent, more in the lesion."""
    out = {}
    for name, tissue in TISSUES.items():
        s = spread * (2 if name in ("living", "dead", "edema", "necrosis") else 0.7 if name != "csf" else 0.2)
        factors = np.exp(s * np.clip(rng.standard_normal(3), -2, 2))
        out[name] = replace(tissue, t1=tissue.t1 * factors[0], t2=tissue.t2 * factors[1], adc=tissue.adc * factors[2])
    return out


def signal(tissue: Tissue, kind: str, extra_rate: float = 0.0) -> float:
    """Signal of a tissue, relative to full magnetization.

    Parameters
    ----------
    tissue : Tissue
        What is scanned.
    kind : str
        "T1" (spoiled gradient echo, TR 20 ms, 25 degrees), "FLAIR" (inversion recovery turbo spin echo, TR 9000,
        TI 2450, TE 110 ms), "b0" or "b1000" (diffusion-weighted, TR 6000, TE 85 ms, fat saturated).
    extra_rate : float
        Added to 1/T1 by contrast agent, 1/s.
    """
    r1 = 1 / tissue.t1 + extra_rate / 1000
    if kind == "T1":
        e1, angle = np.exp(-20 * r1), np.deg2rad(25)
        return float(tissue.density * np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1) * np.exp(-5 / tissue.t2))
    if kind == "FLAIR":
        inversion = abs(1 - 2 * np.exp(-2450 * r1) + np.exp(-9000 * r1))
        return float(tissue.density * inversion * np.exp(-110 / tissue.t2))
    b = {"b0": 0.0, "b1000": 1.0}[kind]  # in 1000 s/mm^2, so that times 1e-3 mm^2/s it is an exponent
    fat = _FAT_SATURATION if tissue.adc < 0.3 else 1.0
    weight = (1 - np.exp(-6000 * r1)) * np.exp(-85 / tissue.t2) * np.exp(-b * tissue.adc)
    return float(tissue.density * weight * fat)


# puts white matter at some 300 units
_SCALE = {"T1": 5500.0, "FLAIR": 2100.0, "b0": 1100.0, "b1000": 1100.0}


@dataclass(frozen=True, eq=False)
class LesionSignals:
    """What a lesion changes: signal differences to the healthy head, by kind, on a part of the head's grid."""

    grid: Grid
    changes: Mapping[str, Array]


class Scanner:
    """Makes images of one head. Signals of the healthy head are computed, and blurred to a voxel size, once.

    Parameters
    ----------
    anatomy : Anatomy
        The head.
    lesion_grid : Grid
        Grid of the lesions that will be scanned.
    tissues : mapping of str to Tissue
        The patient's tissues.
    rng : numpy.random.Generator
        For the texture of enhancement.
    """

    def __init__(
        self, anatomy: Anatomy, lesion_grid: Grid, tissues: Mapping[str, Tissue], rng: np.random.Generator
    ) -> None:
        self.anatomy = anatomy
        self.tissues = tissues
        self._lesion_grid = lesion_grid
        self._texture = np.clip(1 + 0.15 * smooth_noise(rng, lesion_grid.shape, 2.0 / lesion_grid.spacing[0]), 0.6, 1.4)
        self._blurred: dict[tuple[str, float], Array] = {}

    def _near(self, lesion: SyntheticLesion) -> tuple[slice, slice, slice]:
        """Find the part of the head's grid that a lesion changes, with a margin of some mm."""
        changed = lesion.living + lesion.dead + lesion.edema + lesion.necrosis + lesion.cavity > 2e-3
        found = ndimage.find_objects(changed.astype(int))
        box = found[0] if found else (slice(0, 1),) * 3
        corners = np.array([[s.start for s in box], [s.stop - 1 for s in box]])
        low, high = self.anatomy.grid.to_index(self._lesion_grid.to_world(corners))
        margin = np.ceil(4 / self.anatomy.grid.spacing[0])
        low = np.clip(np.floor(low) - margin, 0, np.array(self.anatomy.grid.shape) - 1).astype(int)
        high = np.clip(np.ceil(high) + margin + 1, low + 1, self.anatomy.grid.shape).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))  # type: ignore[return-value]

    def _refined(self, values: Array, grid: Grid) -> Array:
        """Interpolate a field of the lesion's grid on a part of the head's grid."""
        matrix = np.linalg.inv(self._lesion_grid.affine) @ grid.affine
        return ndimage.affine_transform(
            values, np.diag(matrix)[:3], matrix[:3, 3], output_shape=grid.shape, order=1, output=np.float32
        )

    def _level(self, name: str, kind: str, extra_rate: float = 0.0) -> np.float32:
        """Signal of a pure tissue, in the images' units."""
        return np.float32(_SCALE[kind] * signal(self.tissues[name], kind, extra_rate))

    def signals(self, lesion: SyntheticLesion) -> LesionSignals:
        """Compute the changes that the lesion makes in T1, T1Gd, FLAIR, b0 and b1000.

        The brain tissue of a voxel is replaced by necrosis, living and dead cells, and what is left by edematous and
        normal tissue; its CSF, dura and skull stay. Where vessels leak, contrast agent shortens T1.
        """
        box = self._near(lesion)
        grid = self.anatomy.grid.cropped(box)
        white, grey = (self.anatomy.tissues[name][box] for name in ("white", "grey"))
        tissue = white + grey
        living, dead, necrosis, edema, leak, cavity = (
            self._refined(values, grid)
            for values in (
                lesion.living,
                lesion.dead,
                lesion.necrosis,
                lesion.edema,
                lesion.leak * self._texture,
                lesion.cavity,
            )
        )
        # necrosis takes its share first; cells fill the rest as far as there is room
        viable = (1 - necrosis) / np.maximum(living + dead, 1)
        parts = {"living": living * viable, "dead": dead * viable}
        rest = np.clip(1 - necrosis - sum(parts.values()), 0, 1)
        parts["edema"] = edema * rest
        normal = (rest - parts["edema"]) / np.maximum(tissue, 1e-3)
        parts |= {"white": normal * white, "grey": normal * grey}

        changes = {}
        for kind in ("T1", "FLAIR", "b0", "b1000"):
            now = necrosis * self._level("necrosis", kind)
            for name, part in parts.items():
                now += part * self._level(name, kind)
            change = tissue * now - white * self._level("white", kind) - grey * self._level("grey", kind)
            change += cavity * (self._level("cavity", kind) - (self._healthy(kind, box) + change))
            changes[kind] = change
            if kind == "T1":
                gain = np.zeros(grid.shape, np.float32)
                for name, part in parts.items():
                    gain += part * (self._level(name, kind, _RELAXIVITY) - self._level(name, kind))
                changes["T1Gd"] = change + tissue * leak * gain
        return LesionSignals(grid, changes)

    def _healthy(self, kind: str, box: tuple[slice, ...] = (slice(None),) * 3) -> Array:
        """Signal of healthy tissue, mixed by share."""
        total = np.zeros_like(self.anatomy.tissues["white"][box])
        for name in HEALTHY:
            total += self._level(name, kind) * self.anatomy.tissues[name][box]
        return total

    def image(self, kind: str, signals: LesionSignals, target: Grid, pose: Pose) -> Array:
        """Noise-free image of "T1", "T1Gd", "FLAIR", "b0" or "b1000"."""
        base = "T1" if kind == "T1Gd" else kind
        head = self.anatomy.grid
        key = (base, round(plane_blur(head, target), 3))
        if key not in self._blurred:
            if len(self._blurred) > 12:  # a head is large: keep what a few protocols need
                self._blurred.clear()
            self._blurred[key] = blurred(self._healthy(base), head, target)
        change = blurred(signals.changes[kind], head, target)
        return averaged(self._blurred[key], head, target, pose) + averaged(change, signals.grid, target, pose)

    def white_signal(self, kind: str) -> float:
        """Signal of white matter, in the images' units."""
        return float(self._level("white", kind))

    def masks(self, lesion: SyntheticLesion, target: Grid, pose: Pose) -> dict[str, Mask]:
        """Build the true regions on a series' grid from the voxels at least half inside.

        "enhancing", "necrosis", "whole" (both and edema), and after a resection "cavity".
        """
        box = self._near(lesion)
        grid = self.anatomy.grid.cropped(box)
        tissue = self.anatomy.tissues["white"][box] + self.anatomy.tissues["grey"][box] >= 0.5
        necrosis = (self._refined(lesion.necrosis, grid) >= 0.5) & tissue
        enhancing = (self._refined(lesion.leak, grid) >= 0.5) & tissue & ~necrosis
        whole = necrosis | enhancing | (self._refined(lesion.edema, grid) >= 0.4) & tissue
        regions = {"enhancing": enhancing, "necrosis": necrosis, "whole": whole}
        if lesion.cavity.any():
            regions["cavity"] = self._refined(lesion.cavity, grid) >= 0.5
        return {
            name: Mask(averaged(region.astype(np.float32), grid, target, pose) >= 0.5, target, name=name)
            for name, region in regions.items()
        }


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a head lies in a scanner: a rigid motion from the head's world to the visit's."""

    matrix: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))

    @classmethod
    def random(cls, rng: np.random.Generator, degrees: float = 3.0, mm: float = 5.0) -> Pose:
        """Draw a pose about the middle of the head: some degrees about each axis, some mm along each."""
        matrix = np.eye(4)
        angles = degrees * np.clip(rng.standard_normal(3), -1.5, 1.5)
        matrix[:3, :3] = Rotation.from_euler("xyz", angles, True).as_matrix()
        matrix[:3, 3] = np.clip(mm * rng.standard_normal(3), -10 / np.sqrt(3), 10 / np.sqrt(3))
        return cls(matrix)


def frame_uid(*names: object) -> str:
    """Derive a UID (2.25.) from names; equal names give the same UID."""
    digest = hashlib.sha256("|".join(map(str, ("tumortwin phantom", *names))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True)
class Protocol:
    """How one series is sliced.

    Parameters
    ----------
    voxel : (3,) tuple
        Slice distance, row distance and column distance in mm.
    plane : str
        "axial" or "sagittal".
    tilt : (3,) tuple
        Rotation of the slices about x, y, z in degrees (oblique planes).
    """

    voxel: tuple[float, float, float] = (2.0, 2.0, 2.0)
    plane: str = "axial"
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def grid(
        self, center: NDArray[np.float64], frame: str, size: tuple[float, float, float] = (176.0, 222.0, 188.0)
    ) -> Grid:
        """Build the grid around a world point, with a field of view of `size` mm (z, y, x)."""
        axes = {"axial": [(0, 0, 1), (0, 1, 0), (1, 0, 0)], "sagittal": [(-1, 0, 0), (0, 0, -1), (0, 1, 0)]}[self.plane]
        extent = {"axial": size, "sagittal": (size[2], size[0], size[1])}[self.plane]
        turn = Rotation.from_euler("xyz", self.tilt, True).as_matrix()
        shape = tuple(int(np.ceil(e / v / 2)) * 2 for e, v in zip(extent, self.voxel, strict=True))
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.array(axes, float).T * self.voxel
        affine[:3, 3] = center - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        return Grid(shape, affine, frame)  # type: ignore[arg-type]


def plane_blur(grid: Grid, target: Grid) -> float:
    """SD in fine voxels of the Gaussian that averages over a target's voxel in plane, less what the fine grid did."""
    # a box of width w has an SD of w/sqrt(12)
    return float(np.sqrt(max(max(target.spacing[1:]) ** 2 - grid.spacing[0] ** 2, 0) / 12)) / grid.spacing[0]


def blurred(values: Array, grid: Grid, target: Grid) -> Array:
    """Blur a fine image to the in-plane voxel of a target."""
    sigma = plane_blur(grid, target)
    return ndimage.gaussian_filter(values, sigma) if sigma > 0.1 else values


def averaged(values: Array, grid: Grid, target: Grid, pose: Pose) -> Array:
    """Sample a fine image on a target's voxels, averaged across its slices.

    Parameters
    ----------
    values : (z, y, x) array
        On `grid`, in the head's world.
    grid, target : Grid
        Of the fine image, and of the series in the visit's world.
    pose : Pose
        The head's world to the visit's.
    """
    out = np.zeros(target.shape, np.float32)
    # only voxels that lie within the fine image
    corners = np.stack(np.meshgrid(*[(-1, n) for n in grid.shape], indexing="ij"), -1).reshape(-1, 3)
    shown = target.to_index(grid.to_world(corners) @ pose.matrix[:3, :3].T + pose.matrix[:3, 3])
    low = np.clip(np.floor(shown.min(0)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(shown.max(0)).astype(int) + 1, low, target.shape)
    if (high == low).any():
        return out
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part_of = target.cropped(box)  # type: ignore[arg-type]
    parts = max(1, round(target.spacing[0] / max(grid.spacing[0], 1.5)))
    to_fine = np.linalg.inv(grid.affine) @ np.linalg.inv(pose.matrix) @ part_of.affine
    for part in range(parts):
        offset = to_fine[:3, :3] @ [(part + 0.5) / parts - 0.5, 0, 0] + to_fine[:3, 3]
        out[box] += ndimage.affine_transform(
            values, to_fine[:3, :3], offset, output_shape=part_of.shape, order=1, output=np.float32
        )
    out /= parts
    return out


def bias_field(grid: Grid, rng: np.random.Generator, strength: float = 0.12) -> Array:
    """Sample a coil's smooth shading: exp of a random quadratic in the field of view."""
    z, y, x = (
        np.linspace(-1, 1, n, dtype=np.float32).reshape([-1 if k == i else 1 for k in range(3)])
        for i, n in enumerate(grid.shape)
    )
    a = (strength * rng.standard_normal(9)).astype(np.float32)
    exponent = a[0] * z + a[1] * y + a[2] * x + a[3] * z * y + a[4] * y * x + a[5] * x * z
    exponent = exponent + a[6] * (z * z - 0.33) + a[7] * (y * y - 0.33) + a[8] * (x * x - 0.33)
    return np.exp(exponent)


def rician(values: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Magnitude of a signal with Gaussian noise of SD `sigma` in both channels."""
    real = values + np.float32(sigma) * rng.standard_normal(values.shape, dtype=np.float32)
    return np.hypot(real, np.float32(sigma) * rng.standard_normal(values.shape, dtype=np.float32))


def adc_map(b0: Volume, b1000: Volume, sigma: float) -> Volume:
    """Compute the scanner's ADC map in mm^2/s from two noisy images; 0 where there is no signal to compare."""
    seen = b0.array > 6 * sigma
    ratio = np.maximum(b0.array, 1e-3) / np.maximum(b1000.array, 1e-3)
    adc = np.where(seen, np.clip(np.log(ratio) / 1000, 0, 3.5e-3), 0)
    return b0.with_array(adc.astype(np.float32), unit="mm^2/s", name="ADC")
