"""The same scheme in plain NumPy: what the kernel is tested against. Slow, and meant to be read.

Fields are (z, y, x) arrays. A face coefficient belongs to the face between a voxel and the next one along its axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth.scheme import Box, rkl2_stages
from tumortwin.growth.terms.laws import Flow

Faces = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]


def face_coefficients(diffusivity: NDArray[np.floating], spacing: tuple[float, float, float]) -> Faces:
    """Harmonic-mean coefficients of the faces, 1/day.

    Parameters
    ----------
    diffusivity : (z, y, x) array
        D of each voxel, mm^2/day; 0 where no cell can be.
    spacing : tuple of float
        Voxel edges along (z, y, x), mm.

    Returns
    -------
    tuple of three (z, y, x) arrays
        2 D D' / (D + D') / h^2 along z, y, x; 0 on the grid's last plane, so the grid's wall lets nothing through.
    """
    faces = []
    for axis, h in enumerate(spacing):
        below = np.moveaxis(diffusivity, axis, 0)[:-1]
        above = np.moveaxis(diffusivity, axis, 0)[1:]
        total = below + above
        face = np.zeros_like(diffusivity)
        mean = np.divide(2 * below * above, total, out=np.zeros_like(total), where=total > 0)
        np.moveaxis(face, axis, 0)[:-1] = mean / h**2
        faces.append(face)
    return faces[0], faces[1], faces[2]


def quantized(faces: Faces) -> Faces:
    """Round each axis' coefficients, as in single precision, to whole multiples of 1/65535 of the largest."""
    units = [float(face.max()) / 65535 or 1.0 for face in faces]
    rounded = [np.floor(face / unit + 0.5) * unit for face, unit in zip(faces, units, strict=True)]
    return rounded[0], rounded[1], rounded[2]


def divergence(u: NDArray[np.floating], faces: Faces) -> NDArray[np.floating]:
    """div(D grad u) by finite volumes: what flows into each voxel through its six faces, 1/day."""
    out = np.zeros_like(u)
    for axis, face in enumerate(faces):
        flux = np.moveaxis(face, axis, 0)[:-1] * np.diff(np.moveaxis(u, axis, 0), axis=0)
        into = np.moveaxis(out, axis, 0)
        into[:-1] += flux
        into[1:] -= flux
    return out


def largest_rate(faces: Faces) -> float:
    """Largest sum of the face coefficients of a voxel, 1/day: half of Gershgorin's bound on the spectrum."""
    total = np.zeros(faces[0].shape)
    for axis, face in enumerate(faces):
        total += face
        np.moveaxis(total, axis, 0)[1:] += np.moveaxis(face, axis, 0)[:-1]
    return float(total.max())


def euler_step(u: NDArray[np.floating], faces: Faces, tau: float) -> NDArray[np.floating]:
    """One explicit Euler step of diffusion. It makes no new extremum while tau * largest_rate <= 1."""
    return u + u.dtype.type(tau) * divergence(u, faces)


def rkl2_step(u: NDArray[np.floating], faces: Faces, tau: float, stages: int) -> NDArray[np.floating]:
    """One RKL2 step of diffusion (Meyer, Balsara & Aslam 2014, doi:10.1016/j.jcp.2013.08.021)."""
    real = u.dtype.type
    coefficients = rkl2_stages(stages)
    before, last = u, u + real(coefficients[0].e * tau) * divergence(u, faces)
    first = last
    for a, b, d, e in coefficients[1:]:
        new = (
            u
            + real(a) * (last - u)
            + real(b) * (before - u)
            + real(d) * (first - u)
            + real(e * tau) * divergence(last, faces)
        )
        before, last = last, new
    return last


class ReferenceStepper:
    """State and steps of a solve on the whole grid, in NumPy. The kernel's stepper has the same methods."""

    def __init__(
        self,
        relative: NDArray[np.float64],
        mask: NDArray[np.bool_],
        spacing: tuple[float, float, float],
        diffusivity: float,
        dtype: type[np.floating],
        eps: float = 0.0,
        threads: int = 1,
    ) -> None:
        faces = face_coefficients(relative * diffusivity, spacing)
        if dtype == np.float32:
            faces = quantized(faces)
        self.rate = largest_rate(faces)
        self.rounding = float(np.finfo(dtype).eps)
        self.sweeps = 0
        self.eps = eps
        self.box: Box = (0, mask.shape[0], 0, mask.shape[1], 0, mask.shape[2])
        self._faces: Faces = tuple(face.astype(dtype) for face in faces)  # type: ignore[assignment]
        self._mask = mask
        self._u = np.zeros(mask.shape, dtype)
        self._kept = self._u
        self._second = self._kept_second = np.zeros(mask.shape, dtype)

    def load(self, density: NDArray[np.floating]) -> None:
        """Take a (z, y, x) density; voxels outside the mask become 0."""
        self._u = np.where(self._mask, density, 0).astype(self._u.dtype)

    def field(self) -> NDArray[np.floating]:
        """Copy the density, (z, y, x)."""
        return self._u.copy()

    def widen(self, stages: int) -> None:
        """Make the box large enough for the next step: here it is the whole grid."""

    def use(self, box: Box) -> None:
        """Sweep this box: here it is the whole grid."""

    def react(self, flow: Flow) -> None:
        """Apply a pointwise flow."""
        self._u[...] = flow(self._u)

    def prepare(self, factor: NDArray[np.floating]) -> NDArray[np.floating]:
        """Convert a number or a (z, y, x) map to the form that :meth:`scale` takes."""
        return factor.astype(self._u.dtype)

    def scale(self, prepared: NDArray[np.floating], both: bool = False) -> None:
        """Multiply the density, or it and the second field, by a number or a map from :meth:`prepare`."""
        self._u *= prepared
        if both:
            self._second *= prepared

    def diffuse(self, tau: float, stages: int, then: Flow) -> None:
        """One step of diffusion over `tau` days, followed by a pointwise flow."""
        self._u = rkl2_step(self._u, self._faces, tau, stages)
        self.react(then)
        self.sweeps += stages

    @property
    def pair(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The density and a second field, 0 at first, to be changed in place."""
        return self._u, self._second

    def second(self) -> NDArray[np.floating]:
        """Copy the second field, (z, y, x)."""
        return self._second.copy()

    def keep(self) -> None:
        """Remember the density for :meth:`swap`."""
        self._kept = self._u.copy()
        self._kept_second = self._second.copy()

    def swap(self) -> None:
        """Exchange the density with what was kept."""
        self._u, self._kept = self._kept, self._u
        self._second, self._kept_second = self._kept_second, self._second

    def difference(self) -> tuple[float, float]:
        """L2 norms of the density minus what was kept, and of the density, in float64."""
        u = self._u.astype(np.float64)
        return float(np.linalg.norm(u - self._kept)), float(np.linalg.norm(u))

    def lowest(self) -> float:
        """Return the smallest density, or 0."""
        return min(float(self._u.min()), 0.0)
