"""Stored pixels into numbers: decoding, rescale and padding of one stack at a time."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.headers import DAMAGED, Instance, Plane, number, read_whole, text
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.stacks import Stack
from tumortwin.imaging.volume import Volume


def stored_planes(instance: Instance, data: Dataset, frames: list[int]) -> list[NDArray[Any]]:
    """Decode frames of a file as stored: no rescale, no color.

    Raises
    ------
    ReadError
        If the file has no pixels, is not monochrome, or cannot be decoded.
    """
    again = "export this series again, uncompressed and complete"
    meaning = text((data,), "PhotometricInterpretation")
    if number((data,), "SamplesPerPixel") not in (None, 1) or meaning not in ("", "MONOCHROME1", "MONOCHROME2"):
        raise ReadError(f"{instance.name}: {meaning} pixels are not measured values: leave it out")
    if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
        raise ReadError(f"{instance.name}: no pixel data: {again}")
    try:
        # the number of frames says which frame is the last; `indices` decodes only those wanted
        decoded = [np.asarray(a) for a in iter_pixels(data, indices=frames, raw=True)]
    except DAMAGED as error:
        raise ReadError(
            f"{instance.name}: the pixels cannot be decoded ({type(error).__name__}: {error}): {again}"
        ) from error
    shape = (number((data,), "Rows"), number((data,), "Columns"))
    if len(decoded) != len(frames) or any(a.shape != shape for a in decoded):
        raise ReadError(
            f"{instance.name}: the pixels are not {len(frames)} frame(s) of {shape[0]:g} x {shape[1]:g}: {again}"
        )
    return decoded


def same_pixels(a: Plane, b: Plane) -> bool:
    """Whether two planes hold the same stored pixels and scale."""
    if a.instance is b.instance and a.frame == b.frame:
        return True
    for keyword in ("RescaleSlope", "RescaleIntercept", "BitsAllocated", "PixelRepresentation"):
        if a.number(keyword) != b.number(keyword):
            return False
    try:
        first, second = (stored_planes(p.instance, read_whole(p.instance, {}), [p.frame])[0] for p in (a, b))
    except ReadError:
        return False
    return first.shape == second.shape and bool((first == second).all())


def load(stack: Stack, sources: dict[str, str], *, unit: str, real_world: bool = False) -> tuple[Volume, list[Finding]]:
    """Decode a stack into a volume, rescaled plane by plane, on its regular grid.

    Parameters
    ----------
    stack : Stack
        With a grid.
    sources : dict
        Receives the SHA-256 of each file that is read.
    unit : str
        Unit of the rescaled values.
    real_world : bool
        Scale by the Real World Value Mapping instead of by the rescale slope and intercept.

    Returns
    -------
    volume : Volume
        float32.
    findings : list of Finding
        Padding that was replaced.

    Raises
    ------
    ReadError
        If a file cannot be decoded.
    """
    if stack.grid is None:
        raise ReadError(f"{stack.where}: {stack.refused}")
    # planes of a stack share one size; `stored_planes` holds each file to it
    array = np.empty((len(stack.planes), *(stack.leaning or stack.grid).shape[1:]), np.float32)
    padded = np.zeros(array.shape, bool) if stack.first.number("PixelPaddingValue") is not None else None
    beyond: list[str] = []
    order = sorted(range(len(stack.planes)), key=lambda i: (stack.planes[i].instance.name, stack.planes[i].frame))
    for _, group in groupby(order, key=lambda i: stack.planes[i].instance.name):
        members = list(group)
        instance = stack.planes[members[0]].instance
        data = read_whole(instance, sources)
        pixels = stored_planes(instance, data, [stack.planes[i].frame for i in members])
        for i, stored in zip(members, pixels, strict=True):
            plane = stack.planes[i]
            stored, spoiled = _within_bits_stored(plane, stored)
            beyond += [plane.where] if spoiled else []
            kind = "RealWorldValue" if real_world else "Rescale"
            slope, intercept = plane.number(f"{kind}Slope"), plane.number(f"{kind}Intercept")
            if slope == 0:
                raise ReadError(f"{plane.where}: {kind}Slope is 0, so all values would be alike: export it again")
            # in float64, so that 32-bit values and large intercepts round once
            array[i] = stored * (1.0 if slope is None else slope) + (intercept or 0.0)
            if padded is not None:
                padded[i] = _padding(plane, stored)
    findings = []
    if beyond:
        findings.append(
            Finding(
                f"bits above BitsStored are set in {len(beyond)} plane(s) ({beyond[0]})",
                stack.where,
                "taken for overlays and ignored",
                Severity.ASSUMED,
            )
        )
    if padded is not None and padded.any() and not padded.all():
        low = float(array[~padded].min())
        array[padded] = low
        findings.append(
            Finding(
                f"{padded.mean():.0%} of the voxels are padding", stack.where, f"set to the lowest real value, {low:g}"
            )
        )
    elif padded is not None and padded.all():
        findings.append(Finding("every voxel is padding", stack.where, "kept as stored", Severity.ASSUMED))
    if stack.at is not None:
        array = _between(array, stack.at)
    source = (stack.first.instance.text("SeriesInstanceUID"),)
    name = stack.first.instance.text("SeriesDescription") or source[0]
    volume = Volume(array, stack.leaning or stack.grid, unit, name, source)
    if stack.leaning is not None:
        volume = resample(volume, stack.grid, fill=float(array.min()))
    return volume, findings


def _within_bits_stored(plane: Plane, stored: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """The value bits alone, the sign extended (decoders leave that undone); and whether others were set."""
    allocated, bits = int(plane.number("BitsAllocated") or 0), int(plane.number("BitsStored") or 0)
    if stored.dtype.kind not in "iu" or not 0 < bits < allocated or allocated != 8 * stored.dtype.itemsize:
        return stored, False
    high = int(plane.number("HighBit") or bits - 1)
    left, right = max(allocated - 1 - high, 0), allocated - bits
    alone = np.right_shift(np.left_shift(stored, left), right)
    # a negative number whose sign was not extended is no trouble, an unsigned one that loses bits is
    return alone, bool(stored.dtype.kind == "u" and left == right and (alone != stored).any())


def _padding(plane: Plane, stored: NDArray[Any]) -> NDArray[np.bool_]:
    value, limit = plane.number("PixelPaddingValue"), plane.number("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, bool)
    if plane.number("PixelRepresentation") == 0 and value < 0:
        value += 65536  # written as a signed number, meant as the same 16 bits
    low, high = sorted((value, value if limit is None else limit))
    return np.asarray((stored >= low) & (stored <= high))


def _between(array: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Linear interpolation between neighboring planes at fractional plane indices."""
    low = np.clip(np.floor(at).astype(int), 0, len(array) - 2)
    share = (at - low).astype(np.float32)[:, None, None]
    return array[low] * (1 - share) + array[low + 1] * share
