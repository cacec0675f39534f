"""Where the voxels of a NIfTI file are, and what to believe when its header contradicts itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_TO_MM = {1: 1000.0, 2: 1.0, 3: 1e-3}
_VOXEL_MM = (0.02, 50.0)


def lps_affine(path: Path, header: Nifti1Header, findings: list[Finding] | None) -> NDArray[np.float64]:
    """Compute the affine from index (z, y, x) to LPS mm: from the sform, else from the qform.

    Parameters
    ----------
    path : Path
        The file, for messages.
    header : nibabel.nifti1.Nifti1Header
        As stored: neither checked nor corrected. A NIfTI-2 header is one, too.
    findings : list of Finding or None
        Receives what was contradictory and what was believed; without it such a header is refused.

    Raises
    ------
    ReadError
        If the header says neither qform nor sform, and so not which side is left, or contradicts itself in a way that
        has no likely answer.
    """
    pixdim = np.array(header["pixdim"], float)
    unit = int(header["xyzt_units"]) & 7
    s, _ = header.get_sform(coded=True)
    q = _qform(header)

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
        _compare(path, s, q, header.get_data_shape()[:3], doubt)
    chosen = chosen.copy()
    chosen[:3] *= _TO_MM.get(unit, 1.0)
    spacing = np.linalg.norm(chosen[:3, :3], axis=0)
    if spacing.min() < _VOXEL_MM[0] or spacing.max() > _VOXEL_MM[1]:
        raise ReadError(f"{path}: voxels of {_mm(spacing)} mm: mend its units (xyzt_units) or voxel size")
    if unit not in _TO_MM and findings is not None:
        findings.append(Finding("the unit of length is not stated", path.name, "taken as mm"))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ chosen
    return np.asarray(lps[:, [2, 1, 0, 3]], np.float64)


def _qform(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Compute the affine of the header's quaternion; return None if there is none."""
    stored = header.copy()
    # nibabel refuses sizes that are negative, and a handedness that is neither 1 nor -1
    stored["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    stored["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    affine: NDArray[np.float64] | None
    affine, _ = stored.get_qform(coded=True)
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
