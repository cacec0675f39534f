"""NIfTI, NRRD and MetaImage files to and from volumes. NIfTI's RAS turns into LPS at the door."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.findings import Finding
from tumortwin.imaging.labels import LABELS, LabelScheme
from tumortwin.imaging.nifti1 import read_nifti
from tumortwin.imaging.volume import Dose, Grid, Mask, Volume
from tumortwin.outputs import new_file

if TYPE_CHECKING:
    import SimpleITK as sitk  # imported where it is used: who reads DICOM should not wait for it

AnyDose = TypeVar("AnyDose", bound=Dose)


def read_image(
    path: str | os.PathLike[str],
    *,
    unit: str,
    frame: str | None = None,
    factor: float = 1.0,
    findings: list[Finding] | None = None,
) -> Volume:
    """Read a 3D image.

    Parameters
    ----------
    path : path-like
        A NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd) file.
    unit : str
        Unit of the values times `factor`: these formats do not say it.
    frame : str, optional
        Frame of reference to give it. Images of frame None are taken to share one.
    factor : float
        Multiplies the values, e.g. 1e-6 for an ADC in 10^-6 mm^2/s.
    findings : list of Finding, optional
        Receives what the header contradicts itself about, and what was believed. Without it such a file is refused.

    Returns
    -------
    Volume
        float32, in LPS.

    Raises
    ------
    ReadError
        If the file cannot be read, is not 3D, does not say which side is left, or contradicts itself.
    """
    array, grid = _read(path, frame, findings)
    return Volume(_single(path, array, factor), grid, unit, Path(path).name, (str(path),))


def read_mask(
    path: str | os.PathLike[str],
    *,
    label: int | None = None,
    frame: str | None = None,
    findings: list[Finding] | None = None,
) -> Mask:
    """Read a mask: the voxels of one label, or of a file that holds zeros and one other value.

    Parameters
    ----------
    path : path-like
        As in :func:`read_image`.
    label : int, optional
        The value inside. Files with several values need it: labels are named, never guessed.
    frame : str, optional
        Frame of reference to give it.
    findings : list of Finding, optional
        As in :func:`read_image`.

    Raises
    ------
    ReadError
        If the file cannot be read, or holds several labels and none is named.
    """
    array, grid = _read(path, frame, findings)
    if label is None:
        inside = _values(path, array)
        if len(inside) > 1:
            some = ", ".join(f"{v:g}" for v in inside[:8])
            raise ReadError(f"{path} holds several values ({some}): give the label that is meant, or their scheme")
        return Mask(array != 0, grid, name=Path(path).name, source=(str(path),))
    return Mask(array == label, grid, name=f"{Path(path).name} label {label}", source=(str(path),))


def read_labels(
    path: str | os.PathLike[str],
    labels: LabelScheme | Mapping[int, str],
    *,
    frame: str | None = None,
    findings: list[Finding] | None = None,
) -> dict[str, Mask]:
    """Read a file of several labels as one mask for each that occurs.

    Parameters
    ----------
    path : path-like
        As in :func:`read_image`.
    labels : LabelScheme or mapping of int to str
        What each value means: the same number means different things in different schemes.
    frame : str, optional
        Frame of reference to give it.
    findings : list of Finding, optional
        As in :func:`read_image`.

    Raises
    ------
    ReadError
        If the file cannot be read, or holds a value that the scheme does not know.
    """
    names = LABELS[labels] if isinstance(labels, LabelScheme) else labels
    said = f"the scheme {labels.value!r}" if isinstance(labels, LabelScheme) else "the label table"
    array, grid = _read(path, frame, findings)
    values = _values(path, array)
    unknown = [v for v in values if v not in names]
    if unknown:
        known = ", ".join(f"{v} {n}" for v, n in sorted(names.items()))
        raise ReadError(
            f"{path} holds the value {unknown[0]:g}, which {said} does not know ({known}): name the scheme "
            "it was made with"
        )
    by_name: dict[str, NDArray[np.bool_]] = {}
    for value in values:
        name = names[int(value)]
        by_name[name] = by_name.get(name, np.zeros(array.shape, bool)) | (array == value)
    return {name: Mask(inside, grid, name=name, source=(str(path),)) for name, inside in by_name.items()}


def read_dose_map(
    path: str | os.PathLike[str],
    kind: type[AnyDose],
    *,
    frame: str | None = None,
    findings: list[Finding] | None = None,
) -> AnyDose:
    """Read a dose map in Gy.

    Parameters
    ----------
    path : path-like
        As in :func:`read_image`.
    kind : type
        TotalDose or FractionDose: these formats do not say which it is.
    frame : str, optional
        Frame of reference to give it.
    findings : list of Finding, optional
        As in :func:`read_image`.

    Raises
    ------
    ReadError
        If the file cannot be read, or a value is negative or not finite.
    """
    array, grid = _read(path, frame, findings)
    if not np.isfinite(array).all() or array.min() < 0:
        raise ReadError(f"{path} has negative or non-finite values: give a dose map in Gy")
    return kind(_single(path, array), grid, name=Path(path).name, source=(str(path),))


def _single(path: str | os.PathLike[str], array: NDArray[Any], factor: float = 1.0) -> NDArray[np.float32]:
    """The values times a factor, rounded once."""
    with np.errstate(over="ignore"):
        values = (array * np.float64(factor)).astype(np.float32)
    if not np.isfinite(values).all():
        raise ReadError(f"{path} has values up to {np.abs(array).max():g}: mend its scale (scl_slope) or the values")
    return values


def _values(path: str | os.PathLike[str], array: NDArray[Any]) -> NDArray[Any]:
    """The values other than 0 of a mask or label file."""
    values = np.unique(array)
    values = values[values != 0]
    if len(values) > 1 and not np.equal(np.mod(values, 1), 0).all():
        raise ReadError(
            f"{path} holds {len(values)} values that are no whole numbers: a mask that was interpolated? "
            "Give the mask itself, or cut it at one half"
        )
    return values


def _read(path: str | os.PathLike[str], frame: str | None, findings: list[Finding] | None) -> tuple[NDArray[Any], Grid]:
    file = Path(path)
    if not file.is_file():
        raise ReadError(f"{path} is no file: give a NIfTI, NRRD or MetaImage file")
    if file.name.lower().endswith((".nii", ".nii.gz")):
        array, affine = read_nifti(file, findings)
        return array, Grid(array.shape, affine, frame)
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1]
        raise ReadError(f"{path} cannot be read as an image ({last}): give a NIfTI, NRRD or MetaImage file") from error
    size = image.GetSize()
    if len(size) == 4 and size[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ReadError(
            f"{path} has size {size} with {image.GetNumberOfComponentsPerPixel()} component(s): give a 3D image of one "
            "value a voxel"
        )
    if file.suffix.lower() in (".nrrd", ".nhdr") and "NRRD_space" not in image.GetMetaDataKeys():
        raise ReadError(
            f"{path} does not say its space, so that left and right are not told: set it "
            "(left-posterior-superior or another anatomical one)"
        )
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), Grid(image.GetSize()[::-1], affine, frame)


def to_sitk(volume: Volume) -> sitk.Image:
    """The volume as a SimpleITK image (LPS); a mask as 0 and 1.

    Raises
    ------
    InputError
        If its axes are not at right angles: ITK and NIfTI's qform cannot hold it.
    """
    import SimpleITK as sitk

    array = volume.array.astype(np.uint8) if isinstance(volume, Mask) else volume.array
    image = sitk.GetImageFromArray(array)
    spacing = np.array(volume.grid.spacing[::-1])
    direction = volume.affine[:3, 2::-1] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 5e-3:
        raise InputError(f"{volume!r} has axes that are not at right angles: resample it on an upright grid first")
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def write_nifti(volume: Volume, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a volume as NIfTI.

    Parameters
    ----------
    volume : Volume
        Written in its own unit; masks as 0 and 1.
    path : path-like
        Ends in .nii or .nii.gz.
    overwrite : bool
        Replace a file that is there already.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If the name has another ending, or the axes are not at right angles.
    OutputExistsError
        If the file is there and `overwrite` is false.
    """
    target = Path(path)
    if not target.name.lower().endswith((".nii.gz", ".nii")):
        raise InputError(f"a NIfTI file ends in .nii or .nii.gz, not {target.name!r}")
    import SimpleITK as sitk

    image = to_sitk(volume)
    with new_file(target, overwrite=overwrite) as temporary:
        sitk.WriteImage(image, str(temporary))
    return target
