"""What can be drawn on: one visit's images in one frame of reference, and the voxels that masks are drawn on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tumortwin.errors import InputError
from tumortwin.geometry.segmentation.regions import drawn_regions
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.sequence import POSE_ORDER
from tumortwin.imaging.volume import Grid, Mask, Volume
from tumortwin.patient import Patient, Visit


@dataclass(frozen=True, eq=False)
class Sheet:
    """One visit, ready to be drawn on.

    Parameters
    ----------
    title : str
        For people.
    images : mapping of str to Volume
        In the frame of reference of the one that is drawn on.
    own : str
        The image on whose voxels masks are drawn.
    drawn : mapping of str to Mask
        What is there already, by region ("enhancing", "whole"), on those voxels.
    findings : tuple of Finding
        Images and masks that are left out.
    """

    title: str
    images: Mapping[str, Volume]
    own: str
    drawn: Mapping[str, Mask] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def grid(self) -> Grid:
        """Of what is drawn."""
        return self.images[self.own].grid

    def start(self, region: str) -> Mask:
        """Return the mask already drawn of a region, or an empty one."""
        return self.drawn.get(region, Mask(np.zeros(self.grid.shape, bool), self.grid, name=region))

    @classmethod
    def of(cls, title: str, images: Mapping[str, Volume], masks: Mapping[str, Mask]) -> Sheet:
        """Choose what is drawn on: the image that masks lie on, else T1Gd or what stands for a visit's pose.

        Masks on other voxels of the same frame of reference are resampled, once.

        Raises
        ------
        InputError
            If there is no image.
        """
        if not images:
            raise InputError(f"{title} has no image to draw on")
        order = [name for name in (*map(str, POSE_ORDER), *images) if name in images]
        held = [mask.grid for mask in masks.values()]
        own = next((name for name in order if any(images[name].grid.matches(grid) for grid in held)), order[0])
        frame, grid = images[own].frame, images[own].grid
        left = [f"the image {name}" for name, image in images.items() if image.frame != frame]
        left += [f"the mask {name!r}" for name, mask in masks.items() if mask.frame != frame]
        findings = (
            [
                Finding(
                    f"{', '.join(left)} in another frame of reference than {own}",
                    title,
                    "left out: register and resample first",
                    Severity.LEFT_OUT,
                )
            ]
            if left
            else []
        )
        known, found = drawn_regions({n: m for n, m in masks.items() if m.frame == frame}, title)
        cavity = [m for n, m in masks.items() if "cavity" in n.lower() and m.frame == frame]
        drawn = {str(region): mask for region, mask in known.items()}
        if cavity and "cavity" not in drawn:
            drawn["cavity"] = cavity[0]
        else:
            findings += found
        return cls(
            title,
            {name: image for name, image in images.items() if image.frame == frame},
            own,
            {region: mask if mask.grid.matches(grid) else resample(mask, grid) for region, mask in drawn.items()},
            tuple(findings),
        )


def sheets_of(
    what: Patient | Visit | Volume | Mapping[str, Volume], masks: Mapping[str, Mask] | None = None
) -> list[Sheet]:
    """Build a sheet for each visit with an image; `masks` replace the visits' own.

    Raises
    ------
    InputError
        If there is no image, or a patient's masks would be for several visits.
    """
    if isinstance(what, Patient):
        visits = [visit for visit in what.visits if visit.images]
        if not visits:
            raise InputError(f"patient {what.id!r} has no image to draw on: see patient.findings")
        if masks is not None and len(visits) > 1:
            raise InputError(f"whose visit are the masks? patient {what.id!r} has {len(visits)}: give one visit")
        return [_visit_sheet(visit, masks, f"{i}: ") for i, visit in enumerate(visits, 1)]
    if isinstance(what, Visit):
        return [_visit_sheet(what, masks, "")]
    images = {what.name or "image": what} if isinstance(what, Volume) else {str(k): v for k, v in what.items()}
    return [Sheet.of("the images", images, masks or {})]


def _visit_sheet(visit: Visit, masks: Mapping[str, Mask] | None, number: str) -> Sheet:
    title = f"{number}{visit.date:%Y-%m-%d}{' ' + visit.label if visit.label else ''}"
    return Sheet.of(title, {str(k): v for k, v in visit.images.items()}, visit.masks if masks is None else masks)
