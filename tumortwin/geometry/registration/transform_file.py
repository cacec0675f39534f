"""Transforms that people bring along: ITK files and DICOM Spatial Registrations."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from tumortwin.errors import InputError, ReadError
from tumortwin.geometry.registration.rigid import matrix_of
from tumortwin.imaging.frame_links import FrameLink, links_from
from tumortwin.imaging.objects.spatial_registration import RIGID, read_registration
from tumortwin.imaging.reading.attributes import DAMAGED
from tumortwin.imaging.reading.dicom_file import parse_dicom
from tumortwin.imaging.reading.instance import Instance

ITK_SUFFIXES = (".tfm", ".txt", ".mat", ".h5", ".hdf5", ".xfm")
ADVICE = "give a rigid transform (rotation and shift) of reference to visit: .tfm, .txt, .mat, .h5 or a DICOM REG"


def rigid_matrix(given: ArrayLike, what: str) -> NDArray[np.float64]:
    """Check that a matrix is a rigid motion.

    Parameters
    ----------
    given : (4, 4) array
        World of the fixed image to world of the moving image, LPS mm.
    what : str
        File or argument, for errors.

    Raises
    ------
    InputError
        If it has another shape, is not finite, mirrors, scales or shears.
    """
    try:
        matrix = np.array(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: not a matrix of numbers ({error}): {ADVICE}") from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise InputError(f"{what}: not a 4 x 4 matrix with the last row 0 0 0 1, but of shape {matrix.shape}: {ADVICE}")
    turn = matrix[:3, :3]
    size = np.linalg.svd(turn, compute_uv=False)
    if np.linalg.det(turn) <= 0:
        raise InputError(
            f"{what}: it mirrors left and right or flattens (determinant {np.linalg.det(turn):.3f}), "
            "which no head does: look for a sign or an axis order (RAS instead of LPS) that was mixed up"
        )
    if np.abs(turn.T @ turn - np.eye(3)).max() >= RIGID:
        raise InputError(
            f"{what}: it scales or shears (factors {', '.join(f'{s:.4f}' for s in size)}), which would "
            f"change the tumor's volume: {ADVICE}"
        )
    return matrix


def read_transform(
    path: str | os.PathLike[str], *, fixed: str | None = None, moving: str | None = None
) -> NDArray[np.float64]:
    """Read a rigid transform from a file.

    Parameters
    ----------
    path : path-like
        An ITK transform (.tfm, .txt, .mat, .h5; rigid, affine or a composite of such), which maps points of the fixed
        image (the reference) to the moving one (the visit) as ITK, ANTs and elastix write it; or a DICOM Spatial
        Registration.
    fixed, moving : str, optional
        Frame of reference UIDs. They tell the direction of a DICOM object, which may hold several links. Without them
        it must hold one, and its own frame of reference is the fixed one (DICOM PS3.3 C.20.2).

    Returns
    -------
    (4, 4) array
        World point (LPS mm) of the fixed image to the world point of the moving image.

    Raises
    ------
    ReadError
        If the file is missing or damaged, holds no transform or a deformable one, or does not link the two frames.
    InputError
        If the transform mirrors, scales or shears.
    """
    file = Path(path)
    if not file.is_file():
        raise ReadError(f"{file}: there is no such file")
    if file.suffix.lower() in ITK_SUFFIXES:
        return rigid_matrix(_itk_matrix(file), str(file))
    return _dicom_matrix(file, fixed, moving)


def _itk_matrix(file: Path) -> NDArray[np.float64]:
    try:
        transform = sitk.ReadTransform(str(file))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ReadError(f"{file}: not an ITK transform ({reason}): {ADVICE}") from error
    for part in _parts(transform):
        if not part.IsLinear():
            raise ReadError(
                f"{file}: holds a deformable transform ({part.GetName()}), which would move the tumor's "
                f"edge along with its growth: {ADVICE}; build_twin(deformable=True) finds one that spares "
                "the tumor"
            )
    return matrix_of(transform)


def _parts(transform: sitk.Transform) -> list[sitk.Transform]:
    if transform.GetTransformEnum() != sitk.sitkComposite:
        return [transform]
    composite = sitk.CompositeTransform(transform)
    return [composite.GetNthTransform(i) for i in range(composite.GetNumberOfTransforms())]


def _dicom_matrix(file: Path, fixed: str | None, moving: str | None) -> NDArray[np.float64]:
    content = file.read_bytes()
    try:
        data = parse_dicom(content)
        modality = str(data.get("Modality", ""))
        deformable = "DeformableRegistrationSequence" in data
    except DAMAGED as error:
        raise ReadError(
            f"{file}: neither an ITK transform ({', '.join(ITK_SUFFIXES)}) nor readable DICOM "
            f"({type(error).__name__}: {error}): {ADVICE}"
        ) from error
    if deformable:
        raise ReadError(
            f"{file}: a Deformable Spatial Registration, which would move the tumor's edge along with its "
            f"growth: {ADVICE}"
        )
    links, findings = read_registration(Instance(file, file.name, data), data)
    if not links:
        what = "; ".join(f.what for f in findings) or f"modality {modality or 'not stated'}, no Registration Sequence"
        raise ReadError(f"{file}: no rigid Spatial Registration ({what}): {ADVICE}")
    return rigid_matrix(_link_between(links, fixed, moving, file), str(file))


def _link_between(links: list[FrameLink], fixed: str | None, moving: str | None, file: Path) -> NDArray[np.float64]:
    if fixed is not None and moving is not None:
        way = links_from(fixed, links).get(moving)
        if way is None:
            held = ", ".join(f"{x.source} to {x.target}" for x in links)
            raise ReadError(f"{file}: it does not link the frames of reference {fixed} and {moving}, but {held}")
        return way.matrix
    if len(links) > 1:
        raise ReadError(f"{file}: it links {len(links)} frames of reference: say which with fixed= and moving=")
    return links[0].reversed().matrix
