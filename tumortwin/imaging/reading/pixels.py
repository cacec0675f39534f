"""Stored pixels into numbers: decoding, rescale and padding of one stack at a time."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tumortwin.errors import ReadError
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.attributes import DAMAGED, number, tag_of, text
from tumortwin.imaging.reading.decoding import decode
from tumortwin.imaging.reading.instance import Instance, read_pixels
from tumortwin.imaging.reading.plane import Plane
from tumortwin.imaging.reading.stacks import Stack, without
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Volume
from tumortwin.threads import pool_of

SIGNAL = "a.u."
"""Unit of MR signal."""
_THREADS = min(8, os.cpu_count() or 1)
_PIXELS = frozenset(map(tag_of, ("PixelData", "FloatPixelData", "DoubleFloatPixelData")))
_WORTH_A_THREAD = 2**19
"""Bytes of a decoded plane from which decoding in parallel pays."""


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
    if _PIXELS.isdisjoint(data.keys()):
        raise ReadError(f"{instance.name}: no pixel data, or they are cut off: {again}")
    try:
        decoded = decode(data, frames)
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


def pixel_hash(plane: Plane) -> str | None:
    """Equal for planes with equal stored pixels and scale; None if they cannot be decoded."""
    try:
        stored = stored_planes(plane.instance, read_pixels(plane.instance, {}), [plane.frame])[0][plane.tile or ...]
    except ReadError:
        return None
    meaning = [plane.number(k) for k in ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation")]
    return f"{meaning} {stored.shape} {hashlib.sha256(stored.tobytes()).hexdigest()}"


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
        Padding that was replaced, slices that could not be decoded, scales that are not the usual ones.

    Raises
    ------
    ReadError
        If files cannot be decoded, but for single ones inside, or the values have no linear scale.
    """
    if stack.grid is None:
        raise ReadError(f"{stack.where}: {stack.refused}")
    # planes of a stack share one size; `stored_planes` holds each file to it
    shape = (len(stack.planes), *(stack.leaning or stack.grid).shape[1:])
    _refuse_empty_claims(stack, shape)
    array = np.empty(shape, np.float32)
    padded = np.zeros(array.shape, bool) if stack.first.number("PixelPaddingValue") is not None else None
    scale = _scale(stack, unit, real_world)
    order = sorted(range(len(stack.planes)), key=lambda i: (stack.planes[i].instance.name, stack.planes[i].frame))
    files = [list(group) for _, group in groupby(order, key=lambda i: stack.planes[i].instance.name)]
    beyond: list[str] = []
    lost: dict[int, ReadError] = {}

    def read(members: list[int]) -> None:
        """One file into its places: no two threads write to the same."""
        instance = stack.planes[members[0]].instance
        own: dict[str, str] = {}
        try:
            data = read_pixels(instance, own)
            frames = sorted({stack.planes[i].frame for i in members})
            pixels = dict(zip(frames, stored_planes(instance, data, frames), strict=True))
        except ReadError as error:
            lost.update(dict.fromkeys(members, error))
            return
        sources.update(own)
        for i in members:
            plane = stack.planes[i]
            stored, spoiled = _within_bits_stored(plane, pixels[plane.frame][plane.tile or ...])
            if spoiled:
                beyond.append(plane.where)
            slope, intercept = scale[i]
            # in float64, so that 32-bit values and large intercepts round once
            array[i] = stored if (slope, intercept) == (1.0, 0.0) else stored * slope + intercept
            if padded is not None:
                padded[i] = _padding(plane, stored)

    if array[0].nbytes < _WORTH_A_THREAD:  # small files are mostly parsing, which threads only hold up
        for members in files:
            read(members)
    else:  # as many files in memory as threads
        with pool_of(min(len(files), _THREADS)) as pool:
            for _ in pool.map(read, files):
                pass
    findings: list[Finding] = []
    if lost:
        stack, array, padded = _mended(stack, lost, array, padded, findings)
    if any(p.philips_scale for p in stack.planes) and unit == SIGNAL:
        what = "Philips' private scale slope is there"
        findings.append(Finding(what, stack.where, "the signal is (stored RS + RI) / (RS SS)"))
    if beyond:
        findings.append(
            Finding(
                f"bits above BitsStored are set in {len(beyond)} plane(s) ({min(beyond)})",
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
    assert stack.grid is not None
    volume = Volume(array, stack.leaning or stack.grid, unit, name, source)
    if stack.leaning is not None:
        volume = resample(volume, stack.grid, fill=float(array.min()))
    return volume, findings


def _refuse_empty_claims(stack: Stack, shape: tuple[int, ...]) -> None:
    """Before memory is taken for more pixels than the files seem to hold, see that one of them can be decoded.

    Raises
    ------
    ReadError
        If none can.
    """
    files = {p.instance.path: p for p in stack.planes}
    if math.prod(shape) <= 8 * sum(path.stat().st_size for path in files):
        return
    for plane in files.values():
        try:
            stored_planes(plane.instance, read_pixels(plane.instance, {}), [plane.frame])
            return
        except ReadError as error:
            refusal = error
    raise refusal


def _scale(stack: Stack, unit: str, real_world: bool) -> list[tuple[float, float]]:
    """Slope and intercept of each plane.

    Raises
    ------
    ReadError
        If the values are not a linear function of what is stored, or not the same one in kind for all planes.
    """
    kind = "RealWorldValue" if real_world else "Rescale"
    again = "export it again"
    philips = [p.philips_scale for p in stack.planes] if unit == SIGNAL else [None]
    if any(philips) and not all(philips):
        raise ReadError(f"{stack.where}: some slices have Philips' private scale slope and some have not: {again}")
    found = []
    for i, plane in enumerate(stack.planes):
        if plane.value("ModalityLUTSequence"):
            raise ReadError(f"{plane.where}: the values come out of a lookup table, not by a slope: {again} with one")
        slope, intercept = plane.number(f"{kind}Slope"), plane.number(f"{kind}Intercept") or 0.0
        if slope == 0:
            raise ReadError(f"{plane.where}: {kind}Slope is 0, so all values would be alike: {again}")
        slope = 1.0 if slope is None else slope
        private = philips[i] if any(philips) else None
        found.append((1 / private, intercept / (slope * private)) if private else (slope, intercept))
    return found


def _mended(
    stack: Stack,
    lost: dict[int, ReadError],
    array: NDArray[np.float32],
    padded: NDArray[np.bool_] | None,
    findings: list[Finding],
) -> tuple[Stack, NDArray[np.float32], NDArray[np.bool_] | None]:
    """Remove the planes that could not be decoded from the stack, if they are few.

    Raises
    ------
    ReadError
        If they are not.
    """
    mended = without(stack, set(lost))
    error = lost[min(lost)]
    if mended.refused:
        raise error if len(lost) == len(stack.planes) else ReadError(f"{error}; {mended.refused}")
    findings.append(Finding(str(error), stack.where, f"{len(lost)} slice(s) left out", Severity.LEFT_OUT))
    findings += [replace(f, where=stack.where) for f in mended.findings if f not in stack.findings]
    left = [k for k in range(len(stack.planes)) if k not in lost]
    return mended, array[left], None if padded is None else padded[left]


def _within_bits_stored(plane: Plane, stored: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Keep the value bits alone, sign extended (decoders leave that undone), and report whether others were set."""
    allocated, bits = int(plane.number("BitsAllocated") or 0), int(plane.number("BitsStored") or 0)
    if stored.dtype.kind not in "iu" or not 0 < bits < allocated or allocated != 8 * stored.dtype.itemsize:
        return stored, False
    high = int(plane.number("HighBit") or bits - 1)
    left, right = max(allocated - 1 - high, 0), allocated - bits
    if stored.dtype.kind == "u" and left == right and stored.size and stored.max() < 1 << bits:
        return stored, False
    alone = np.right_shift(np.left_shift(stored, left), right)
    # a negative number whose sign was not extended is no trouble, an unsigned one that loses bits is
    return alone, bool(stored.dtype.kind == "u" and left == right and (alone != stored).any())


def _padding(plane: Plane, stored: NDArray[Any]) -> NDArray[np.bool_]:
    value, limit = plane.number("PixelPaddingValue"), plane.number("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, bool)
    low, high = sorted(_as_stored(v, plane, stored) for v in (value, value if limit is None else limit))
    return np.asarray((stored >= low) & (stored <= high))


def _as_stored(value: float, plane: Plane, stored: NDArray[Any]) -> float:
    """Convert a padding value to what the pixels hold: one written with the wrong sign is meant as the same bits."""
    span = 2.0 ** (8 * stored.dtype.itemsize)
    if plane.number("PixelRepresentation") == 1:
        return value - span if value >= span / 2 else value
    return value + span if value < 0 else value


def _between(array: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Linear interpolation between neighboring planes at fractional plane indices."""
    low = np.clip(np.floor(at).astype(int), 0, len(array) - 2)
    share = (at - low).astype(np.float32)[:, None, None]
    return array[low] * (1 - share) + array[low + 1] * share
