"""NIfTI-1 files: the values, where the voxels are, and what to believe when a header contradicts itself.

Read here and not by ITK, which turns values that are not finite into zeros without a word, believes either of two
contradicting headers by rules of its own, and rounds offsets.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity

_TO_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
_VOXEL_MM = (0.02, 50.0)


_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


def read_nifti(path: Path, findings: list[Finding] | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values (z, y, x), and the affine from index (z, y, x) to LPS mm.

    Parameters
    ----------
    path : Path
        A .nii or .nii.gz file.
    findings : list of Finding or None
        Receives what was contradictory and what was believed; without it such a file is refused.

    Raises
    ------
    ReadError
        If it is no NIfTI-1 file of one value a voxel, is cut short, says no orientation, or contradicts itself in a way
        that has no likely answer.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            raw = file.read(352)
            order = _byte_order(path, raw)
            layout = _layout(path, raw, order)
            # no more than the header speaks of, for a small file can unpack to any size; nor at once, for the header
            # can speak of anything
            pieces = [raw]
            while (wanted := layout.needed - sum(map(len, pieces))) > 0:
                pieces.append(file.read(min(wanted, 1 << 24)))
                if not pieces[-1]:
                    break
            raw = b"".join(pieces)
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(f"{path} cannot be read ({error}): copy it again") from error
    array = _values(path, raw, layout)
    affine = _affine(path, raw, order, findings)
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        what, count = "values that are not finite", int((~finite).sum())
        if findings is None:
            raise ReadError(f"{path} has {count} {what}: replace them")
        findings.append(Finding(f"{count} {what}", path.name, "set to 0", Severity.REPAIRED))
        array = np.where(finite, array, array.dtype.type(0))
    return array, affine


def _byte_order(path: Path, raw: bytes) -> str:
    if len(raw) < 348:
        raise ReadError(f"{path} cannot be read as an image: it is shorter than a NIfTI header")
    for order in "<>":
        if struct.unpack_from(order + "i", raw)[0] == 348 and raw[344:348] == b"n+1\0":
            return order
    raise ReadError(f"{path} is not NIfTI-1 in one file (ANALYZE, .hdr/.img and NIfTI-2 are not read): convert it")


class _Layout(NamedTuple):
    """How the values are stored."""

    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    start: int
    scale: tuple[float, float] | None

    @property
    def needed(self) -> int:
        """Bytes from the file's start to its last value."""
        z, y, x = self.shape
        return self.start + self.dtype.itemsize * z * y * x


def _layout(path: Path, raw: bytes, order: str) -> _Layout:
    count, *sizes = struct.unpack_from(order + "8h", raw, 40)
    code = struct.unpack_from(order + "h", raw, 70)[0]
    offset, slope, inter = struct.unpack_from(order + "3f", raw, 108)
    sizes = sizes[: max(count, 0)]
    if not 3 <= count <= 7 or min(sizes) < 1 or any(n > 1 for n in sizes[3:]) or code not in _TYPES:
        raise ReadError(
            f"{path} is of {' x '.join(map(str, sizes))} voxels, data type {code}: give a 3D image of one value a voxel"
        )
    start = int(offset) if np.isfinite(offset) and 352 <= offset < 2**31 else 352
    # a slope of 0 means that there is none
    scaled = np.isfinite(slope) and np.isfinite(inter) and slope != 0 and (slope, inter) != (1, 0)
    return _Layout(
        np.dtype(order + _TYPES[code]), (sizes[2], sizes[1], sizes[0]), start, (slope, inter) if scaled else None
    )


def _values(path: Path, raw: bytes, layout: _Layout) -> NDArray[Any]:
    if len(raw) < layout.needed:
        raise ReadError(f"{path} is cut short: {len(raw)} of {layout.needed} bytes: copy it again")
    array = np.frombuffer(raw, layout.dtype, int(np.prod(layout.shape)), layout.start).reshape(layout.shape)
    array = array.astype(layout.dtype.newbyteorder("="))
    if layout.scale is None:
        return array
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is said
        return array * np.float64(layout.scale[0]) + np.float64(layout.scale[1])


def _affine(path: Path, raw: bytes, order: str, findings: list[Finding] | None) -> NDArray[np.float64]:
    """The sform counts, else the qform. A header that says neither does not say which side is left."""
    pixdim = np.array(struct.unpack_from(order + "8f", raw, 76), float)
    q_code, s_code = struct.unpack_from(order + "2h", raw, 252)
    to_mm = _TO_MM.get(raw[123] & 7, 1.0)
    q = _qform(struct.unpack_from(order + "6f", raw, 256), pixdim) if q_code > 0 else None
    s = (
        np.vstack([np.reshape(struct.unpack_from(order + "12f", raw, 280), (3, 4)), (0, 0, 0, 1)])
        if s_code > 0
        else None
    )

    def doubt(what: str, believed: str, remedy: str) -> None:
        if findings is None:
            raise ReadError(f"{path} contradicts itself: {what}: {remedy}")
        findings.append(Finding(what, path.name, believed, Severity.ASSUMED))

    chosen = s if s is not None else q
    if chosen is None:
        raise ReadError(f"{path} says neither qform nor sform, so that left and right are not told: set its sform")
    if not np.isfinite(chosen).all() or abs(np.linalg.det(chosen[:3, :3])) < 1e-12:
        raise ReadError(f"{path}: its affine is singular or not finite ({chosen[:3].tolist()}): mend its sform")
    norms, edges = np.linalg.norm(chosen[:3, :3], axis=0), np.abs(pixdim[1:4])
    if not np.allclose(norms, edges, rtol=1e-2):
        sizes = f"voxels of {_mm(norms)} mm by its affine ({'sform' if s is not None else 'qform'}), of {_mm(edges)} mm"
        placeholder = np.abs(np.abs(chosen[:3, :3]) - np.eye(3)).max() < 1e-6
        if not placeholder or edges.min() <= 0:
            raise ReadError(f"{path} contradicts itself: {sizes} by pixdim: mend the header (pixdim is mostly right)")
        doubt(
            f"{sizes} by pixdim",
            "pixdim is believed: an affine of ones is what writers leave that know none; its directions are kept",
            "mend the header (pixdim is mostly right)",
        )
        chosen, s = chosen @ np.diag([*edges, 1.0]), None
    if s is not None and q is not None:
        _compare(path, s, q, struct.unpack_from(order + "8h", raw, 40)[1:4], doubt)
    chosen = chosen.copy()
    chosen[:3] *= to_mm
    spacing = np.linalg.norm(chosen[:3, :3], axis=0)
    if spacing.min() < _VOXEL_MM[0] or spacing.max() > _VOXEL_MM[1]:
        raise ReadError(f"{path}: voxels of {_mm(spacing)} mm: mend its units (xyzt_units) or voxel size")
    if raw[123] & 7 not in (1, 2, 3) and findings is not None:
        findings.append(Finding("the unit of length is not stated", path.name, "taken as mm"))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ chosen
    return np.asarray(lps[:, [2, 1, 0, 3]], np.float64)


def _qform(values: tuple[float, ...], pixdim: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine of a quaternion (nifti1.h, method 2)."""
    b, c, d = values[:3]
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * pixdim[1:4] * (1, 1, -1 if pixdim[0] < 0 else 1)
    affine[:3, 3] = values[3:]
    return affine


def _compare(
    path: Path,
    s: NDArray[np.float64],
    q: NDArray[np.float64],
    shape: tuple[int, ...],
    doubt: Callable[[str, str, str], None],
) -> None:
    corners = np.array(np.meshgrid(*[(0, max(n, 1) - 1) for n in shape])).reshape(3, -1)
    apart = float(np.linalg.norm((s - q)[:3] @ np.vstack([corners, np.ones(8)]), axis=0).max())
    if apart <= 0.1:
        return
    if np.sign(np.linalg.det(s[:3, :3])) != np.sign(np.linalg.det(q[:3, :3])):
        raise ReadError(
            f"{path}: its qform and sform are mirror images of each other, so that left and right are not "
            "told: mend the header"
        )
    doubt(f"its sform and qform put voxels up to {apart:.3g} mm apart", "the sform is believed", "set both alike")


def _mm(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{v:g}" for v in values)
