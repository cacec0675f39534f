"""The state of a solve on the part of the grid that matters, stepped by the kernel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from tumortwin.growth import _kernel
from tumortwin.growth.scheme import Box, rkl2_stages
from tumortwin.growth.terms.laws import Flow, Moebius

_STILL = Moebius(1.0, 0.0)


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
    """

    def __init__(self, relative: NDArray[np.float64], mask: NDArray[np.bool_], spacing: tuple[float, float, float],
                 diffusivity: float, dtype: type[np.floating], eps: float, threads: int = 1) -> None:
        self._shape = mask.shape
        self._crop = tuple(_extent(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        inside = np.pad(mask[self._crop], 1)
        self._lo = np.argmax(inside, axis=2).astype(np.intc)
        self._hi = np.where(inside.any(axis=2), inside.shape[2] - np.argmax(inside[..., ::-1], axis=2), 0).astype(np.intc)
        self._inside = inside
        self._faces = tuple(np.zeros(inside.shape, dtype) for _ in range(3))
        largest = _kernel.faces(np.pad(relative[self._crop], 1), *spacing, *self._faces)
        self._wall = np.zeros(inside.shape[2], dtype)
        self._diffusivity = diffusivity
        self.rate = largest * diffusivity
        self.rounding = float(np.finfo(dtype).eps)
        self.sweeps = 0
        self._eps = eps
        # the density, and the stages' arrays; those that a solve does not need are never touched
        self._u, self._first, self._odd, self._even, self._kept = (np.zeros(inside.shape, dtype) for _ in range(5))
        self.box: Box = (1, 1, 1, 1, 1, 1)
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._threads = threads

    def load(self, density: NDArray[np.floating]) -> None:
        """Take a (z, y, x) density. Voxels outside the mask, and those of at most `eps` outside the box, become 0."""
        values = np.where(self._inside, np.pad(density[self._crop], 1), 0)
        active = values > self._eps
        if not active.any():
            return
        z, y, x = (_extent(active.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        self._u[z, y, x] = values[z, y, x]
        self.box = (z.start, z.stop, y.start, y.stop, x.start, x.stop)

    def field(self) -> NDArray[np.floating]:
        """A copy of the density, (z, y, x)."""
        full = np.zeros(self._shape, self._u.dtype)
        full[self._crop] = self._u[1:-1, 1:-1, 1:-1]
        return full

    def widen(self, stages: int) -> None:
        """Make the box reach `stages` voxels beyond every density above eps, but not beyond the domain."""
        box = list(self.box)
        for axis in range(3):
            limit = self._u.shape[axis] - 1
            for side, outward in ((0, -1), (1, 1)):
                at = box[2 * axis + side]
                slab = [slice(box[2 * k], box[2 * k + 1]) for k in range(3)]
                slab[axis] = slice(at, at + stages) if side == 0 else slice(max(at - stages, box[2 * axis]), at)
                part = self._u[tuple(slab)]
                if part.size and part.max() > self._eps:
                    # a little more than is needed, so that not every step has to widen
                    box[2 * axis + side] = min(max(at + outward * (stages + 2), 1), limit)
        self.box = (box[0], box[1], box[2], box[3], box[4], box[5])

    def react(self, flow: Flow) -> None:
        """Apply a pointwise flow."""
        sweep = _kernel.moebius if isinstance(flow, Moebius) else _kernel.power
        self._share(lambda z0, z1: sweep(self._u, self._lo, self._hi, self.box, z0, z1, *flow))

    def scale(self, factor: NDArray[np.floating] | float) -> None:
        """Multiply by a number or a (z, y, x) map."""
        z0, z1, y0, y1, x0, x1 = self.box
        factor = np.asarray(factor)
        if factor.ndim:
            factor = factor[self._crop][z0 - 1:z1 - 1, y0 - 1:y1 - 1, x0 - 1:x1 - 1]
        self._u[z0:z1, y0:y1, x0:x1] *= factor.astype(self._u.dtype)

    def diffuse(self, tau: float, stages: int, then: Flow) -> None:
        """One RKL2 step of diffusion over `tau` days, followed by a pointwise flow."""
        u, first = self._u, self._first
        fused = then if isinstance(then, Moebius) else _STILL
        before, last = u, u
        for j, (a, b, d, e) in enumerate(rkl2_stages(stages), 1):
            end = j == stages
            # u itself is read only voxel by voxel after the first stage: the last one may write over it
            out = first if j == 1 else u if end else self._odd if j == 2 else self._even if j == 3 else before
            if j == 2:  # Y_1 is Y_{j-1}
                a, d = a + d, 0.0
            elif j == 3:  # Y_1 is Y_{j-2}
                b, d = b + d, 0.0
            self._share(lambda z0, z1, j=j, end=end, p=last, q=before, out=out, a=a, b=b, d=d, e=e: _kernel.stage(
                min(j, 3), end, p, q, u, first, out, *self._faces, self._lo, self._hi, self._wall, self.box, z0, z1,
                a, b, d, e * tau * self._diffusivity, *fused))
            before, last = last, out
        self.sweeps += stages
        if fused is not then:
            self.react(then)

    def keep(self) -> None:
        """Remember the density for :meth:`swap`."""
        np.copyto(self._kept, self._u)

    def swap(self) -> None:
        """Exchange the density with what was kept."""
        self._u, self._kept = self._kept, self._u

    def difference(self) -> tuple[float, float]:
        """L2 norms of the density minus what was kept, and of the density."""
        change, size = _kernel.squares(self._u, self._kept, self._lo, self._hi, self.box)
        return change**0.5, size**0.5

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest density."""
        return _kernel.extremes(self._u, self._lo, self._hi, self.box)

    def _share(self, sweep: Callable[[int, int], None]) -> None:
        """Run a sweep over the box's planes, by parts on all threads."""
        z0, z1 = self.box[:2]
        if self._pool is None or z1 - z0 < 2 * self._threads:
            sweep(z0, z1)
            return
        edges = [z0 + (z1 - z0) * k // self._threads for k in range(self._threads + 1)]
        others = [self._pool.submit(sweep, *part) for part in zip(edges[1:-1], edges[2:], strict=True)]
        sweep(edges[0], edges[1])
        for done in others:
            done.result()


def _extent(used: NDArray[np.bool_]) -> slice:
    """From the first to the last true value."""
    where = np.flatnonzero(used)
    return slice(int(where[0]), int(where[-1]) + 1)
