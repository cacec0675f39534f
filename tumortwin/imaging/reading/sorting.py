"""The planes of one series sorted into stacks: by what they show, where they lie and when they were taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.reading.attributes import text
from tumortwin.imaging.reading.plane import Plane
from tumortwin.imaging.reading.stacks import SAME_PLACE, Stack, is_measured, placed

PixelHash = Callable[[Plane], str | None]
"""Equal for planes with equal pixels; None for one that cannot be decoded."""


def make_stacks(planes: list[Plane], pixel_hash: PixelHash) -> list[Stack]:
    """Sort the planes of one series (one frame of reference) into stacks.

    Parameters
    ----------
    planes : list of Plane
        In any order.
    pixel_hash : callable
        What tells apart the pixels of planes at one position; called for repeated positions only.
    """
    groups: dict[Hashable, list[Plane]] = defaultdict(list)
    for plane in planes:
        groups[_kind(plane)].append(plane)
    stacks = [s for group in _merged(list(groups.values())) for s in _at_times(group, pixel_hash)]
    stacks.sort(key=lambda s: -len(s.planes))
    weighted = any(s.first.b_value for s in stacks)
    return [placed(replace(s, part=part, weighted=weighted)) for s, part in zip(stacks, _parts(stacks), strict=True)]


def _kind(plane: Plane) -> tuple[Hashable, ...]:
    """Build the key of what planes of one volume share exactly; the geometry comes last."""
    b_value = plane.b_value
    direction = plane.numbers("DiffusionGradientOrientation", 3) if b_value else None
    echo = plane.number("EffectiveEchoTime") or plane.number("EchoTime")
    return (
        plane.image_type,
        text(plane.sets, "ComplexImageComponent"),
        b_value,
        direction and tuple(np.round(direction, 3)),
        echo and round(echo, 1),
        plane.number("Rows"),
        plane.number("Columns"),
        text(plane.sets, "StackID"),
        (is_measured(plane), plane.numbers("ImagePositionPatient", 3) is not None),
        plane.numbers("ImageOrientationPatient", 6),
        plane.numbers("PixelSpacing", 2),
    )


def _merged(groups: list[list[Plane]]) -> list[list[Plane]]:
    """Join groups whose orientations and spacings differ by rounding only."""
    merged: dict[Hashable, list[tuple[NDArray[np.float64], list[Plane]]]] = defaultdict(list)
    for group in groups:
        alike = merged[_kind(group[0])[:-2]]
        orientation = group[0].numbers("ImageOrientationPatient", 6) or (9.0,) * 6
        spacing = group[0].numbers("PixelSpacing", 2) or (0.0, 0.0)
        geometry = np.array([*orientation, *np.log(np.abs(spacing) + 1e-9)])
        for known, members in alike:
            if np.abs(known - geometry).max() < 1e-4:
                members.extend(group)
                break
        else:
            alike.append((geometry, list(group)))
    return [members for alike in merged.values() for _, members in alike]


_CLOCKS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionNumber",
    "TriggerTime",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "ContentTime",
    "InversionTime",
    "FlipAngle",
    "SeriesNumber",
)


def _at_times(planes: list[Plane], pixel_hash: PixelHash) -> list[Stack]:
    """Drop duplicates; split planes that repeat their positions into time points."""
    depths = _depths(planes)
    if depths is None:
        return [Stack(tuple(planes))]
    order = np.argsort(depths, kind="stable")
    places: list[list[Plane]] = []
    last = -np.inf
    for i in order:
        if depths[i] - last > SAME_PLACE:
            places.append([])
            last = depths[i]
        places[-1].append(planes[i])
    several = max(len(place) for place in places)
    if several > 2:  # a dynamic series, if a clock says so: not all of it is to be decoded to look for duplicates
        parts = _by_clock(places)
        if parts:
            return [Stack(tuple(group), part, times=len(parts)) for part, group in parts.items()]
    findings = _drop_duplicates(places, pixel_hash)
    kept = [p for place in places for p in place]
    if max(len(place) for place in places) == 1:
        return [Stack(tuple(kept), findings=findings)]
    parts = _by_clock(places)
    if parts:
        return [Stack(tuple(group), part, findings=findings, times=len(parts)) for part, group in parts.items()]
    refused = (
        f"{sum(len(place) > 1 for place in places)} positions hold up to {max(map(len, places))} images with unlike "
        f"pixels, and no attribute tells them apart ({kept[0].where}): export one acquisition a series"
    )
    return [Stack(tuple(kept), refused=refused, findings=findings)]


def _by_clock(places: list[list[Plane]]) -> dict[str, list[Plane]]:
    """Planes that repeat their positions as time points, by the first attribute that tells them apart; else nothing."""
    place_of = {id(p): k for k, place in enumerate(places) for p in place}
    times = max(len(place) for place in places)
    mosaic = places[0][0].tile is not None
    for clock in (*_CLOCKS, *(("InstanceNumber",) if mosaic else ())):
        groups: dict[str, list[Plane]] = defaultdict(list)
        for plane in (p for place in places for p in place):
            groups[str(plane.value(clock))].append(plane)
        once = all(len({place_of[id(p)] for p in group}) == len(group) for group in groups.values())
        if once and len(groups) == times:
            return {f"{clock} {k}": group for k, group in sorted(groups.items())}
    return {}


def _drop_duplicates(places: list[list[Plane]], pixel_hash: PixelHash) -> tuple[Finding, ...]:
    """Keep one of planes at one position that hold the same pixels; drop what cannot be decoded beside what can."""
    copies: list[Plane] = []
    broken: list[Plane] = []
    for place in places:
        if len(place) == 1:
            continue
        kept: dict[str, Plane] = {}
        undecoded = []
        for plane in place:
            known = pixel_hash(plane)
            if known is None:
                undecoded.append(plane)
            elif known in kept:
                copies.append(plane)
            else:
                kept[known] = plane
        broken += undecoded if kept else undecoded[1:]
        place[:] = kept.values() or undecoded[:1]
    findings = []
    if copies:
        what = f"{len(copies)} duplicate plane(s) ({copies[0].where})"
        findings.append(Finding(what, "", "dropped: position and pixels are those of another file", Severity.REPAIRED))
    if broken:
        what = f"{len(broken)} plane(s) cannot be decoded ({broken[0].where})"
        findings.append(Finding(what, "", "dropped: another file holds the same position", Severity.REPAIRED))
    return tuple(findings)


def _depths(planes: list[Plane]) -> NDArray[np.float64] | None:
    """Distance of each plane along the normal in mm."""
    orientation = planes[0].numbers("ImageOrientationPatient", 6)
    positions = [p.numbers("ImagePositionPatient", 3) for p in planes]
    if orientation is None or None in positions:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return np.array(positions) @ normal / length if length > 0.5 else None


def _parts(stacks: list[Stack]) -> list[str]:
    """Name each stack by what sets it apart from the other stacks of its series."""
    if len(stacks) == 1:
        return [stacks[0].part]
    named: list[list[str]] = [[s.part] if s.part else [] for s in stacks]
    kinds = [_kind(s.first) for s in stacks]
    said = {0: "type {}", 2: "b {}", 4: "echo {} ms", 7: "stack {}", 10: "pixels {} mm"}
    for i in range(len(kinds[0])):
        if len({str(k[i]) for k in kinds}) > 1:
            for parts, stack, kind in zip(named, stacks, kinds, strict=True):
                v: object = kind[i]
                if i == 9:
                    parts.append(stack.plane)
                elif i in said and v is not None:
                    parts.append(
                        said[i].format(
                            "/".join(map(str, v)) if isinstance(v, tuple) else f"{v:g}" if isinstance(v, float) else v
                        )
                    )
    return [", ".join(parts) or f"part {i + 1}" for i, parts in enumerate(named)]
