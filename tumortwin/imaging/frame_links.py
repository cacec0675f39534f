"""How frames of reference lie to each other: rigid motions and the shortest way over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FrameLink:
    """A rigid motion between two frames of reference.

    Parameters
    ----------
    source, target : str
        Frame of reference UIDs.
    matrix : (4, 4) array
        Takes a point of `source` to the point of `target` that shows the same tissue, LPS mm.
    name : str
        For people: the file it is from.
    date : datetime or None
        When it was made.
    """

    source: str
    target: str
    matrix: NDArray[np.float64]
    name: str
    date: datetime | None = None

    def reversed(self) -> FrameLink:
        """Invert the link: swap its source and target."""
        back = np.asarray(np.linalg.inv(self.matrix), np.float64)
        return FrameLink(self.target, self.source, back, self.name, self.date)


def links_from(start: str, links: Iterable[FrameLink]) -> dict[str, FrameLink]:
    """Compose the link from a frame of reference to every other that can be reached, over as few links as possible.

    Of several links between two frames the latest counts.
    """
    ordered = sorted(links, key=lambda link: link.date or datetime.min, reverse=True)
    steps = [way for link in ordered for way in (link, link.reversed())]
    reached = {start: FrameLink(start, start, np.eye(4), "")}
    frontier = [start]
    while frontier:
        following = []
        for frame in frontier:
            for step in steps:
                if step.source == frame and step.target not in reached:
                    way = reached[frame]
                    names = ", ".join(dict.fromkeys(n for n in (way.name, step.name) if n))
                    reached[step.target] = FrameLink(start, step.target, step.matrix @ way.matrix, names, step.date)
                    following.append(step.target)
        frontier = following
    del reached[start]
    return reached
