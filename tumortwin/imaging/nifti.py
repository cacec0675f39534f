"""NIfTI, NRRD and MetaImage files to and from volumes. NIfTI's RAS turns into LPS at the door."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError, LabelError, ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.labels import LABELS, LabelScheme
from tumortwin.imaging.nifti_geometry import lps_affine
from tumortwin.imaging.reading.attributes import DAMAGED
from tumortwin.imaging.volume import Dose, Grid, Mask, Volume
from tumortwin.outputs import new_file

if TYPE_CHECKING:
    import SimpleITK as sitk  # imported where they are used: who reads DICOM should not wait for them
    from nibabel.nifti1 import Nifti1Header

AnyDose = TypeVar("AnyDose", bound=Dose)
_TYPES = {2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280}
"""Codes of NIfTI for integers and floating point numbers of up to eight bytes."""


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
        If the file cannot be read.
    LabelError
        If it holds a value that the scheme does not know.
    """
    names = LABELS[labels] if isinstance(labels, LabelScheme) else labels
    said = f"the scheme {labels.value!r}" if isinstance(labels, LabelScheme) else "the label table"
    array, grid = _read(path, frame, findings)
    values = _values(path, array)
    unknown = [v for v in values if v not in names]
    if unknown:
        known = ", ".join(f"{v} {n}" for v, n in sorted(names.items()))
        raise LabelError(
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
    """Multiply the values by a factor and round them once."""
    with np.errstate(over="ignore"):
        values = (array * np.float64(factor)).astype(np.float32)
    if not np.isfinite(values).all():
        raise ReadError(f"{path} has values up to {np.abs(array).max():g}: mend its scale (scl_slope) or the values")
    return values


def _values(path: str | os.PathLike[str], array: NDArray[Any]) -> NDArray[Any]:
    """List the distinct values other than 0 of a mask or label file."""
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
        array, affine = _read_nifti(file, findings)
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


def _read_nifti(path: Path, findings: list[Finding] | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values (z, y, x) of a NIfTI-1 or NIfTI-2 file, and the affine from index (z, y, x) to LPS mm.

    Read with nibabel and not with ITK, which turns values that are not finite into zeros without a word, believes
    either of two contradicting headers by rules of its own, and rounds offsets.

    Raises
    ------
    ReadError
        If it is no NIfTI file of one value a voxel, is cut short, or its geometry is not known.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(Nifti2Header.sizeof_hdr)
            if len(content) < Nifti1Header.sizeof_hdr:
                raise ReadError(f"{path} cannot be read as an image: it is shorter than a NIfTI header")
            kind = next((k for k in (Nifti1Header, Nifti2Header) if k.may_contain_header(content)), None)
            header = kind and kind(content[: kind.sizeof_hdr], check=False)
            if header is None or header["magic"] != header.single_magic:
                raise ReadError(f"{path} is not NIfTI in one file (ANALYZE and .hdr/.img are not read): convert it")
            needed = _bytes_of(path, header)
            # no more than the header speaks of, for a small file can unpack to any size; nor at once, for the header
            # can speak of anything
            pieces = [content]
            while (wanted := needed - sum(map(len, pieces))) > 0:
                pieces.append(file.read(min(wanted, 1 << 24)))
                if not pieces[-1]:
                    raise ReadError(f"{path} is cut short: {needed - wanted} of {needed} bytes: copy it again")
        array = header.data_from_fileobj(BytesIO(b"".join(pieces)))
        affine = lps_affine(path, header, findings)
    except ReadError:
        raise
    except DAMAGED as error:
        raise ReadError(f"{path} cannot be read ({type(error).__name__}: {error}): copy it again") from error
    array = array.reshape(array.shape[:3]).T
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        what, count = "values that are not finite", int((~finite).sum())
        if findings is None:
            raise ReadError(f"{path} has {count} {what}: replace them")
        findings.append(Finding(f"{count} {what}", path.name, "set to 0", Severity.REPAIRED))
        array = np.where(finite, array, array.dtype.type(0))
    return array, affine


def _bytes_of(path: Path, header: Nifti1Header) -> int:
    """Bytes from the file's start to its last value; an impossible offset to the first one is corrected in the header.

    Raises
    ------
    ReadError
        If the file holds no 3D image of one value a voxel.
    """
    shape, code = header.get_data_shape(), int(header["datatype"])
    if len(shape) < 3 or min(shape) < 1 or max(shape[3:], default=1) > 1 or code not in _TYPES:
        raise ReadError(
            f"{path} is of {' x '.join(map(str, shape))} voxels, data type {code}: give a 3D image of one value a voxel"
        )
    if not header.single_vox_offset <= header["vox_offset"] < 2**31:
        header["vox_offset"] = header.single_vox_offset
    return header.get_data_offset() + header.get_data_dtype().itemsize * math.prod(shape)


def to_sitk(volume: Volume) -> sitk.Image:
    """Convert the volume to a SimpleITK image (LPS); a mask becomes 0 and 1.

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
