"""The state of a solve on the part of the grid that matters, stepped by the kernel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.growth import _kernel
from tumortwin.growth.scheme import Box, legendre_stages
from tumortwin.growth.terms.laws import Flow, Moebius, MoebiusMap

_STILL = Moebius(1.0, 0.0)
_EULER = np.array([[0.0, 1.0]])
_CACHE = 700_000
"""Bytes that a strip of the wave of stages may take: less than a core's own cache, 1-2 MB on most."""


class KernelStepper:
    """State and steps of a solve, on the domain's bounding box with a margin of one voxel.

    Only the active box is swept: densities above `eps` and what they can reach within a step. Its edge lets nothing
    through, so sweeping less loses no cells.

    Parameters
    ----------
    relative : (z, y, x) array
        D over `diffusivity`, 0 outside the mask.
    mask : (z, y, x) bool array
        The domain.
    spacing : tuple of float
        Voxel edges along (z, y, x), mm.
    diffusivity : float
        mm^2/day.
    dtype : numpy.float32 or numpy.float64
        Of the density and the face coefficients.
    eps : float
        Density that counts as none.
    threads : int
        Threads that share a sweep.

    Attributes
    ----------
    rate : float
        Largest sum of face coefficients of a voxel, 1/day: half of Gershgorin's bound on the spectrum.
    box : tuple of 6 int
        The swept box.
    sweeps : int
        RKL2 stages done.
    rounding : float
        Of `dtype`.
    eps : float
        May be changed between steps.
    """

    def __init__(
        self,
        relative: NDArray[np.float64],
        mask: NDArray[np.bool_],
        spacing: tuple[float, float, float],
        diffusivity: float,
        dtype: type[np.floating],
        eps: float,
        threads: int = 1,
    ) -> None:
        self._shape = mask.shape
        self._crop = _extents(mask)
        # whole blocks of voxels in a row
        margin = ((1, 1), (1, 1), (1, 1 + -(mask[self._crop].shape[2] + 2) % _kernel.BLOCK))
        inside = np.pad(mask[self._crop], margin)
        last = inside.shape[2] - np.argmax(inside[..., ::-1], axis=2)
        self._lo = np.argmax(inside, axis=2).astype(np.intc)
        self._hi = np.where(inside.any(axis=2), last, 0).astype(np.intc)
        self._inside, self._margin = inside, margin
        # the sweep is bound by memory: single precision keeps an axis' coefficients as 16-bit multiples of a quantum
        coefficient = np.uint16 if dtype == np.float32 else np.float64
        fz, fy, fx = self._faces = tuple(aligned_zeros(inside.shape, coefficient) for _ in range(3))
        padded = np.pad(relative[self._crop], margin)
        self._units = tuple(
            _kernel.faces(padded, axis, face) / h**2
            for axis, (face, h) in enumerate(zip(self._faces, spacing, strict=True))
        )
        del padded
        self._diffusivity = diffusivity
        self.rate = _kernel.largest_sum(fz, fy, fx, self._units) * diffusivity
        self._shut: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.rounding = float(np.finfo(dtype).eps)
        self.sweeps = 0
        self.eps = eps
        # the density, and the stages' arrays; those that a solve does not need are never touched
        self._u, self._odd, self._even, self._kept = (aligned_zeros(inside.shape, dtype) for _ in range(4))
        self._place: NDArray[np.uint16] | None = None
        self._second: NDArray[Any] | None = None
        self._kept_second: NDArray[Any] | None = None
        self._lowest = 0.0
        self._box: Box = (1, 1, 1, 1, 1, 1)
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._threads = threads

    @property
    def box(self) -> Box:
        """The swept box. Outside of it the density is 0; the faces at its edge let nothing through."""
        return self._box

    @box.setter
    def box(self, box: Box) -> None:
        if box == self._box:
            return
        for face, coefficients in self._shut:
            face[...] = coefficients
        self._box = box
        for axis, face in enumerate(self._faces):
            for at in (box[2 * axis] - 1, box[2 * axis + 1] - 1):
                edge = face[tuple(at if k == axis else slice(box[2 * k], box[2 * k + 1]) for k in range(3))]
                self._shut.append((edge, edge.copy()))
        for edge, _ in self._shut[-6:]:
            edge[...] = 0
        del self._shut[:-6]

    def load(self, density: NDArray[np.floating]) -> None:
        """Take a (z, y, x) density. Voxels outside the mask, and those of at most `eps` outside the box, become 0."""
        inner = self._u[1:-1, 1:-1, 1 : -self._margin[2][1]]
        inside = self._inside[1:-1, 1:-1, 1 : -self._margin[2][1]]
        np.copyto(inner, density[self._crop], casting="same_kind", where=inside)
        active = self._u > self.eps
        if not active.any():
            self._u[...] = 0
            return
        z, y, x = _extents(active)
        kept = self._u[z, y, x].copy()
        self._u[...] = 0
        self._u[z, y, x] = kept
        self._lowest = min(float(kept.min()), 0.0)
        self.box = (z.start, z.stop, y.start, y.stop, x.start, x.stop)

    def field(self) -> NDArray[np.floating]:
        """Copy the density, (z, y, x)."""
        return self._full(self._u)

    def _full(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        full = np.zeros(self._shape, self._u.dtype)
        full[self._crop] = values[1:-1, 1:-1, 1 : -self._margin[2][1]]
        return full

    def widen(self, stages: int) -> None:
        """Make the box reach `stages` voxels beyond every density above eps, but not beyond the domain."""
        box = list(self.box)
        for axis in range(3):
            limit = self._u.shape[axis] - self._margin[axis][1]
            for side, outward in ((0, -1), (1, 1)):
                at = box[2 * axis + side]
                slab = [slice(box[2 * k], box[2 * k + 1]) for k in range(3)]
                slab[axis] = slice(at, at + stages) if side == 0 else slice(max(at - stages, box[2 * axis]), at)
                part = self._u[tuple(slab)]
                if part.size and part.max() > self.eps:
                    # a little more than is needed, so that not every step has to widen
                    box[2 * axis + side] = min(max(at + outward * (stages + 2), 1), limit)
        self.box = (box[0], box[1], box[2], box[3], box[4], box[5])

    def use(self, box: Box) -> None:
        """Sweep this box from now on.

        Raises
        ------
        InputError
            If it is not inside the domain, or does not hold the box so far.
        """
        for axis, n in enumerate(self._u.shape):
            begin, end = box[2 * axis : 2 * axis + 2]
            if not (1 <= begin <= self.box[2 * axis] and self.box[2 * axis + 1] <= end <= n - 1):
                raise InputError(
                    "the plan was made for another domain, or for a tumor that is elsewhere or smaller: "
                    f"it sweeps {box}, the density needs {self.box}; make a new plan"
                )
        self.box = box

    def react(self, flow: Flow) -> None:
        """Apply a pointwise flow."""
        if isinstance(flow, MoebiusMap):
            if self._place is None:
                place = np.minimum(flow.place * 256, 65535).astype(np.uint16)
                self._place = np.pad(place[self._crop], self._margin)
            tables = tuple(np.append(t, t[-1]).astype(self._u.dtype) for t in flow[:2])
            self._share(_kernel.moebius_by, (self._u, self._lo, self._hi, self._place), tables)
            return
        sweep = _kernel.moebius if isinstance(flow, Moebius) else _kernel.power
        self._share(sweep, (self._u, self._lo, self._hi), flow)

    def prepare(self, factor: NDArray[np.floating]) -> NDArray[np.floating]:
        """Convert a number or a (z, y, x) map to the form that :meth:`scale` takes."""
        padded = np.pad(factor[self._crop], self._margin) if factor.ndim else np.full((1, 1, 1), factor)
        return padded.astype(self._u.dtype)

    def scale(self, prepared: NDArray[np.floating], both: bool = False) -> None:
        """Multiply the density, or it and the second field, by a number or a map from :meth:`prepare`."""
        z0, z1, y0, y1, x0, x1 = self.box
        box = np.s_[z0:z1, y0:y1, x0:x1]
        factor = prepared if prepared.size == 1 else prepared[box]
        self._u[box] *= factor
        if both and self._second is not None:
            self._second[box] *= factor

    def diffuse(self, tau: float, stages: int, then: Flow) -> None:
        """One RKL2 step of diffusion over `tau` days, followed by a pointwise flow."""
        fused = then if isinstance(then, Moebius) else _STILL
        coefficients, share = legendre_stages(stages)
        self._wave(tau, coefficients, share, *fused)
        self.sweeps += stages
        if fused is not then:
            self.react(then)

    def euler(self, tau: float) -> None:
        """One explicit Euler step of diffusion over `tau` days."""
        self._wave(tau, _EULER, 1.0, *_STILL)
        self._u, self._odd = self._odd, self._u
        self.sweeps += 1

    def _wave(self, tau: float, coefficients: NDArray[np.float64], *numbers: float) -> None:
        """All stages of a step. Threads do shrinking parts of the planes at once, then what is left between them."""
        z0, z1 = self.box[:2]
        if z0 == z1:
            return
        stages = len(coefficients)
        units = tuple(unit * tau * self._diffusivity for unit in self._units)
        # rows of a strip: as many as let all stages of its planes stay in the cache
        voxel = 3 * (self._u.itemsize + self._faces[0].itemsize)
        strip = max(_CACHE // ((stages + 2) * self._u.shape[2] * voxel), 2)
        parts = min(self._threads, max((z1 - z0) // (2 * stages), 1))
        edges = [z0 + (z1 - z0) * k // parts for k in range(parts + 1)]
        sweeps = [(low, high, int(low > z0), -int(high < z1)) for low, high in pairwise(edges)]
        between = [(edge, edge, -1, 1) for edge in edges[1:-1]] if stages > 1 else []
        for part in (sweeps, between):
            self._lowest = min(
                self._lowest,
                *self._parallel(
                    _kernel.diffuse,
                    [
                        (
                            self._u,
                            self._odd,
                            self._even,
                            *self._faces,
                            self._lo,
                            self._hi,
                            self.box,
                            coefficients,
                            units,
                            strip,
                            *planes,
                            *numbers,
                        )
                        for planes in part
                    ],
                ),
                0.0,
            )

    @property
    def pair(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The density in the box and a second field there, 0 at first, to be changed in place."""
        if self._second is None:
            self._second, self._kept_second = (np.zeros_like(self._u) for _ in range(2))
        z0, z1, y0, y1, x0, x1 = self._box
        box = np.s_[z0:z1, y0:y1, x0:x1]
        return self._u[box], self._second[box]

    def second(self) -> NDArray[np.floating]:
        """Copy the second field, (z, y, x)."""
        assert self._second is not None
        return self._full(self._second)

    def keep(self) -> None:
        """Remember the density for :meth:`swap`."""
        np.copyto(self._kept, self._u)
        if self._second is not None and self._kept_second is not None:
            np.copyto(self._kept_second, self._second)

    def swap(self) -> None:
        """Exchange the density with what was kept."""
        self._u, self._kept = self._kept, self._u
        self._second, self._kept_second = self._kept_second, self._second

    def difference(self) -> tuple[float, float]:
        """L2 norms of the density minus what was kept, and of the density."""
        change, size = _kernel.squares(self._u, self._kept, self._lo, self._hi, self.box)
        return change**0.5, size**0.5

    def lowest(self) -> float:
        """Return the smallest density that occurred, or 0."""
        return self._lowest

    def _share(self, sweep: Callable[..., None], arrays: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
        """Run a sweep over the box, by parts of its planes on all threads."""
        z0, z1 = self.box[:2]
        parts = min(self._threads, max((z1 - z0) // 2, 1))
        edges = [z0 + (z1 - z0) * k // parts for k in range(parts + 1)]
        self._parallel(sweep, [(*arrays, self.box, low, high, *numbers) for low, high in pairwise(edges)])

    def _parallel(self, work: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        """Call `work` with each of the arguments, the first on this thread."""
        others = [self._pool.submit(work, *these) for these in arguments[1:]] if self._pool else []
        return [work(*these) for these in arguments[:1]] + [other.result() for other in others]


def aligned_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Allocate an array of zeros that begins at a boundary of a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    skip = -memory.ctypes.data % 64
    return memory[skip : skip + size].view(dtype).reshape(shape)


def _extents(used: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Find the bounding box of the true values."""
    z, y, x = (np.flatnonzero(np.any(used, axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return slice(int(z[0]), int(z[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
