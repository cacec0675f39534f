"""Planning objects into the frame of reference of a visit, by way of Spatial Registration objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from tumortwin.imaging.findings import Finding
from tumortwin.imaging.frame_links import FrameLink, links_from
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.volume import Volume
from tumortwin.patient.timeline import Visit

AnyVolume = TypeVar("AnyVolume", bound=Volume)


def ways_to_visits(
    frames: Iterable[str | None],
    visits: Iterable[Visit],
    links: Iterable[FrameLink],
    when: datetime | None,
    findings: list[Finding],
) -> dict[str, FrameLink]:
    """How planning objects get from their frames to an MR visit's.

    Parameters
    ----------
    frames : iterable of str or None
        Of structures and doses.
    visits : iterable of Visit
        Those with MR images are where things can go.
    links : iterable of FrameLink
        Spatial Registration objects.
    when : datetime or None
        When treatment was planned: of several visits the nearest in time is taken.
    findings : list of Finding
        Says what is moved by which object.

    Returns
    -------
    dict of str to FrameLink
        By frame; frames of a visit, and those without a way to one, are not in it.
    """
    dates = {i.frame: v.date for v in visits for s, i in v.images.items() if s is not MRSequence.CT}
    links = tuple(links)
    ways: dict[str, FrameLink] = {}
    for frame in dict.fromkeys(frames):
        if frame is None or frame in dates:
            continue
        found = [way for target, way in links_from(frame, links).items() if target in dates]
        if not found:
            continue
        way = min(found, key=lambda w: abs(dates[w.target] - (when or dates[w.target])))
        ways[frame] = way
        findings.append(
            Finding(
                f"planned in another frame of reference than the MR ({frame})",
                way.name,
                f"brought to the visit of {dates[way.target]:%Y-%m-%d} by this Spatial Registration",
            )
        )
    return ways


def moved(volume: AnyVolume, ways: Mapping[str, FrameLink]) -> AnyVolume:
    """Move the grid of a volume by a rigid motion: voxel values stay, nothing is interpolated."""
    way = ways.get(volume.frame or "")
    if way is None:
        return volume
    return replace(volume, grid=replace(volume.grid, affine=way.matrix @ volume.affine, frame=way.target))
