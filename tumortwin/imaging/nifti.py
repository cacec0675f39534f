"""NIfTI, NRRD and MetaImage files to and from volumes. ITK turns NIfTI's RAS into LPS at the door."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tumortwin.errors import InputError, ReadError
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.outputs import new_file


def read_image(path: str | os.PathLike[str], *, unit: str, frame: str | None = None, factor: float = 1.0) -> Volume:
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

    Returns
    -------
    Volume
        float32, in LPS.

    Raises
    ------
    ReadError
        If the file cannot be read, is not 3D, or contradicts itself about the voxel size.
    """
    array, grid = _read(path, frame)
    return Volume(array.astype(np.float32) * np.float32(factor), grid, unit, Path(path).name, (str(path),))


def read_mask(path: str | os.PathLike[str], *, label: int | None = None, frame: str | None = None) -> Mask:
    """Read a mask: the voxels of one label, or of a file that holds zeros and one other value.

    Parameters
    ----------
    path : path-like
        As in :func:`read_image`.
    label : int, optional
        The value inside. Files with several values need it: labels are named, never guessed.
    frame : str, optional
        Frame of reference to give it.

    Raises
    ------
    ReadError
        If the file cannot be read, or holds several labels and none is named.
    """
    array, grid = _read(path, frame)
    labels = np.unique(array)
    if label is None:
        inside = labels[labels != 0]
        if len(inside) > 1:
            some = ", ".join(f"{v:g}" for v in inside[:8])
            raise ReadError(f"{path} holds several values ({some}): give the label that is meant")
        return Mask(array != 0, grid, name=Path(path).name, source=(str(path),))
    return Mask(array == label, grid, name=f"{Path(path).name} label {label}", source=(str(path),))


def _read(path: str | os.PathLike[str], frame: str | None) -> tuple[np.ndarray, Grid]:
    if not Path(path).is_file():
        raise ReadError(f"{path} is no file: give a NIfTI, NRRD or MetaImage file")
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
    _refuse_contradiction(path, image)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), Grid(image.GetSize()[::-1], affine, frame)


def _refuse_contradiction(path: str | os.PathLike[str], image: sitk.Image) -> None:
    """NIfTI states the voxel size twice, and some writers leave a 1 mm affine beside other pixdims."""
    keys = set(image.GetMetaDataKeys())
    rows = [image.GetMetaData(f"srow_{a}") for a in "xyz" if f"srow_{a}" in keys]
    if len(rows) < 3 or float(image.GetMetaData("sform_code") or 0) <= 0:
        return
    affine = np.linalg.norm(np.array([[float(v) for v in row.split()[:3]] for row in rows]), axis=0)
    pixdim = np.array([float(image.GetMetaData(f"pixdim[{i}]")) for i in (1, 2, 3)])
    if not np.allclose(affine, pixdim, rtol=1e-2):
        raise ReadError(
            f"{path} contradicts itself: voxels of {' x '.join(f'{v:g}' for v in affine)} mm by its affine (sform), of "
            f"{' x '.join(f'{v:g}' for v in pixdim)} mm by pixdim: mend the header (pixdim is mostly right)"
        )


def to_sitk(volume: Volume) -> sitk.Image:
    """The volume as a SimpleITK image (LPS); a mask as 0 and 1.

    Raises
    ------
    InputError
        If its axes are not at right angles: ITK and NIfTI's qform cannot hold it.
    """
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
    image = to_sitk(volume)
    with new_file(target, overwrite=overwrite) as temporary:
        sitk.WriteImage(image, str(temporary))
    return target
