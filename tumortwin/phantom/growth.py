"""The solver that grows synthetic tumors: independent of the product's kernel in scheme, grid, physics and code.

    du/dt = div(T(x) grad u) + rho(x) u (1 - u - w)        living cells, a fraction of the space
    dw/dt = - (ln 2 / half-life) w                         dead cells, visible until they are cleared
    u <- S(x) u,  w <- w + (1 - S(x)) u                    a fraction or a drug dose
    T n . grad u = 0                                       at the wall

The diffusion tensor T is discretized from its energy form: each voxel sums, over its eight corners, the energy
grad u . T grad u / 2 of the one-sided differences toward that corner, so that the matrix is symmetric, its rows sum to
zero (mass is kept to round-off, no flux through any wall) and a constant tensor moves a Gaussian's second moments
exactly. In time: Strang splitting with Crank-Nicolson diffusion, solved by conjugate gradients, and the exact logistic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from tumortwin.errors import InputError

Field = NDArray[np.floating]


def diffusion_matrix(
    tensor: NDArray, mask: NDArray[np.bool_], spacing: float, dtype: type = np.float64
) -> sparse.csr_array:
    """Assemble the matrix of div(T grad .) on the voxels of a mask, 1/day.

    Parameters
    ----------
    tensor : (6, n) array
        Components xx, yy, zz, xy, xz, yz of T in mm^2/day on the mask's n voxels, in C order.
    mask : (z, y, x) bool array
        Where the tumor can be.
    spacing : float
        Voxel edge in mm.
    dtype : dtype
        Of the matrix.
    """
    padded = np.pad(mask, 1)
    home = np.flatnonzero(padded)
    number = np.full(padded.size, -1, np.int32)
    number[home] = np.arange(len(home), dtype=np.int32)
    own = number[home]
    strides = {0: 1, 1: padded.shape[2], 2: padded.shape[1] * padded.shape[2]}  # of x, y and z
    beside = {(axis, sign): number[home + sign * strides[axis]] for axis in range(3) for sign in (-1, 1)}
    rows: list[NDArray] = []
    cols: list[NDArray] = []
    values: list[NDArray] = []

    def couple(a: NDArray, b: NDArray, c: NDArray, d: NDArray, weight: NDArray) -> None:
        """Add the second derivatives of weight (u_a - u_b)(u_c - u_d), negated: what diffusion does to each."""
        for first, s in ((a, 1), (b, -1)):
            for second, t in ((c, 1), (d, -1)):
                rows.append(first)
                cols.append(second)
                values.append((-s * t * weight).astype(dtype))

    for (axis, _), other in beside.items():
        here = other >= 0
        weight = 0.5 * tensor[axis, here] / spacing**2
        couple(other[here], own[here], other[here], own[here], weight)
    for component, (i, j) in ((3, (0, 1)), (4, (0, 2)), (5, (1, 2))):
        for si in (-1, 1):
            for sj in (-1, 1):
                a, b = beside[i, si], beside[j, sj]
                here = (a >= 0) & (b >= 0) & (np.abs(tensor[component]) > 1e-6)
                weight = 0.25 * si * sj * tensor[component, here] / spacing**2
                couple(a[here], own[here], b[here], own[here], weight)
                couple(b[here], own[here], a[here], own[here], weight)
    n = len(home)
    coo = sparse.coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(n, n))
    return coo.tocsr()


def crank_nicolson(matrix: sparse.csr_array, values: Field, dt: float) -> Field:
    """One Crank-Nicolson step of du/dt = matrix u, by conjugate gradients to ten ulp in the largest residual.

    Sums are numpy's own, not a threaded BLAS, so that equal input gives equal bits.
    """
    half = values.dtype.type(dt / 2)
    tolerance = 10 * np.finfo(values.dtype).eps
    change = half * (matrix @ values)
    x = values + change
    r = change + half * (matrix @ x) - (x - values)
    p, rr = r.copy(), float((r * r).sum(dtype=np.float64))
    for _ in range(100):
        if np.abs(r).max() <= tolerance:
            return x
        q = p - half * (matrix @ p)
        step = values.dtype.type(rr / float((p * q).sum(dtype=np.float64)))
        x += step * p
        r -= step * q
        before, rr = rr, float((r * r).sum(dtype=np.float64))
        p = r + values.dtype.type(rr / before) * p
    raise InputError("the phantom's diffusion did not converge: the diffusivity is not a positive tensor")


@dataclass(frozen=True, eq=False)
class Biology:
    """What the tumor of a synthetic patient is like.

    Parameters
    ----------
    diffusivity : float
        Mean diffusivity in white matter, mm^2/day (a third of the tensor's trace).
    grey_ratio : float
        Diffusivity in grey matter over that in white matter.
    anisotropy : float
        Diffusivity along the fibers over that across them, in white matter.
    proliferation_rate : float
        1/day.
    alpha : float
        Linear radiosensitivity, 1/Gy.
    alpha_beta : float
        Gy.
    drug_sensitivity : float
        Log-kill per mg/m^2 of one temozolomide dose.
    clearance_days : float
        Half-life of dead cells, days.
    variation : float
        SD of the logarithm of diffusivity and proliferation rate in space.
    alpha_variation : float
        The same of alpha: what recurs first is what was most resistant.
    """

    diffusivity: float = 0.08
    grey_ratio: float = 0.2
    anisotropy: float = 2.5
    proliferation_rate: float = 0.026
    alpha: float = 0.039
    alpha_beta: float = 10.0
    drug_sensitivity: float = 1.2e-4
    clearance_days: float = 55.0
    variation: float = 0.1
    alpha_variation: float = 0.15

    def survival(self, dose: NDArray | float, factor: NDArray | float = 1.0) -> NDArray:
        """Share of cells that survive `dose` Gy at once, by the linear-quadratic model; alpha is `factor` its mean."""
        return np.exp(-self.alpha * factor * dose * (1 + np.asarray(dose) / self.alpha_beta))


class Tumor:
    """Living and dead cells on the voxels of a mask, moved forward in time.

    Parameters
    ----------
    tensor : (6, z, y, x) array
        Diffusion tensor (xx, yy, zz, xy, xz, yz) in mm^2/day.
    rate : (z, y, x) array
        Proliferation rate in 1/day.
    mask : (z, y, x) bool array
        Where cells can be.
    spacing : float
        Voxel edge in mm.
    clearance_days : float
        Half-life of dead cells.
    dtype : dtype
        Of the cells; float32 is enough for a phantom.
    """

    def __init__(
        self,
        tensor: NDArray,
        rate: NDArray,
        mask: NDArray[np.bool_],
        spacing: float,
        clearance_days: float = np.inf,
        dtype: type = np.float32,
    ) -> None:
        self.mask = mask
        self.spacing = spacing
        self.decay = np.log(2) / clearance_days
        self._tensor, self._rate, self._dtype = tensor, rate, dtype
        self._prepare()
        self.living: Field = np.zeros(int(mask.sum()), dtype)
        self.dead: Field = np.zeros_like(self.living)
        self.day = 0.0

    def _prepare(self) -> None:
        self._matrix = diffusion_matrix(self._tensor[:, self.mask], self.mask, self.spacing, self._dtype)
        self._growth: Field = self._rate[self.mask].astype(self._dtype)

    def field(self, values: NDArray) -> NDArray[np.float32]:
        """Values of the mask's voxels as a (z, y, x) array, 0 outside."""
        out = np.zeros(self.mask.shape, np.float32)
        out[self.mask] = values
        return out

    def step(self, dt: float) -> None:
        """Go on by `dt` days: half a step of growth, one of diffusion, half a step of growth."""
        self._react(dt / 2)
        self.living = crank_nicolson(self._matrix, self.living, dt)
        self._react(dt / 2)
        self.day += dt

    def _react(self, dt: float) -> None:
        """Apply the exact logistic growth in the space not taken by dead cells, then their exact clearance."""
        room = np.maximum(1 - self.dead, self._dtype(1e-3))
        gain = np.exp(self._growth * room * self._dtype(dt))
        self.living = room * self.living * gain / (room + self.living * (gain - 1))
        self.dead *= self._dtype(np.exp(-self.decay * dt))

    def advance(self, until: float, longest: float = 2.0) -> None:
        """Go on to a day in equal steps not longer than `longest` days."""
        span = until - self.day
        if span < 0:
            raise InputError(f"a tumor does not grow back in time: it is at day {self.day}, not before {until}")
        if span == 0:
            return
        steps = int(np.ceil(span / longest - 1e-9))
        for _ in range(steps):
            self.step(span / steps)
        self.day = until

    def kill(self, survival: NDArray | float) -> None:
        """Turn the share 1 - survival of the living cells into dead ones."""
        survival = np.asarray(survival, self._dtype)
        self.dead += (1 - survival) * self.living
        self.living = self.living * survival

    def resect(self, removed: NDArray[np.bool_]) -> None:
        """Take out the cells of a region and close it: the cavity holds no cells from then on."""
        living, dead = self.field(self.living), self.field(self.dead)
        self.mask = self.mask & ~removed
        self._prepare()
        self.living = living[self.mask].astype(self._dtype)
        self.dead = dead[self.mask].astype(self._dtype)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> NDArray[np.float32]:
    """White noise smoothed by a Gaussian of `sigma` voxels, of zero mean and unit SD."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def fiber_tensor(
    white: NDArray[np.float32],
    grey: NDArray[np.float32],
    points: NDArray[np.floating],
    biology: Biology,
    spacing: float,
    variation: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Diffusion tensor (6, z, y, x) in mm^2/day with made-up fibers.

    Fibers run within the white matter's sheets (across the gradient of its smoothed share): from side to side near the
    midline, as in the corpus callosum, and otherwise front to back. They are plausible, not measured.

    Parameters
    ----------
    white, grey : (z, y, x) arrays
        Tissue shares.
    points : (3, z, y, x) array
        World x, y, z of the voxels, mm.
    biology : Biology
        Diffusivities.
    spacing : float
        Voxel edge in mm.
    variation : (z, y, x) array
        Factor on the diffusivity.
    """
    smooth = ndimage.gaussian_filter(white, 3.0 / spacing)
    normal = np.stack(np.gradient(smooth)[::-1])
    normal /= np.sqrt((normal**2).sum(0)) + 1e-3 / spacing
    across = np.exp(-((points[0] / 22) ** 2)) * np.exp(-(((points[2] - 22) / 18) ** 2))
    way = np.stack([across, 1 - across, 0.25 * np.ones_like(across)]).astype(np.float32)
    way -= (way * normal).sum(0) * normal
    way /= np.sqrt((way**2).sum(0)) + 1e-6
    mean = biology.diffusivity * (white + biology.grey_ratio * grey) * variation
    # anisotropy only where white matter is: along/across = ratio, the mean kept
    ratio = 1 + (biology.anisotropy - 1) * white
    crosswise = 3 * mean / (ratio + 2)
    extra = crosswise * (ratio - 1)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    return np.stack([(crosswise if i == j else 0) + extra * way[i] * way[j] for i, j in pairs]).astype(np.float32)


def grow_to(tumor: Tumor, reached: Callable[[Tumor], bool], longest: float = 2.0, limit: float = 2000.0) -> float:
    """Grow until a condition holds, and set the clock so that this is day 0.

    Returns
    -------
    float
        Days it took from the seed: the onset is that long before day 0.

    Raises
    ------
    InputError
        If the condition does not hold after `limit` days.
    """
    while not reached(tumor):
        if tumor.day > limit:
            raise InputError(
                f"the tumor does not reach the size asked for in {limit:.0f} days: ask for a smaller one, "
                "or for faster growth"
            )
        tumor.step(longest)
    took, tumor.day = tumor.day, 0.0
    return took
