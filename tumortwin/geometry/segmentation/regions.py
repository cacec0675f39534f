"""What a drawn region is called, and what part of the tumor it therefore is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.organ_names import names_brain
from tumortwin.imaging.resampling import resample
from tumortwin.imaging.volume import Mask


class Region(StrEnum):
    """Parts of a tumor that people draw."""

    ENHANCING = "enhancing"
    NECROSIS = "necrosis"
    EDEMA = "edema"
    CORE = "core"
    """Enhancing and necrosis together: the GTV."""
    WHOLE = "whole"
    """All of them."""
    CAVITY = "cavity"
    """What a resection left: no part of the tumor."""


NAME_RULES: tuple[tuple[str, Region], ...] = (
    # before the core: "resected tumor" is none
    (r"cavit|resect|^rc$|surgical[ _-]?bed", Region.CAVITY),
    # BraTS 2024's "surrounding non-enhancing FLAIR hyperintensity" is edema and infiltration, and not the core
    (r"^snfh$|flair[ _-]?hyperintens", Region.EDEMA),
    (r"non[ _-]?enhanc|necro|^ncr|^netc$", Region.NECROSIS),
    (r"enhanc|^et$", Region.ENHANCING),
    (r"o?edema|^ed$|peritumou?r", Region.EDEMA),
    (r"whole|^wt$|flair", Region.WHOLE),
    (r"^i?gtv|gross|tumou?r[ _-]?core|^tc$|^core$", Region.CORE),
)
"""Regular expressions searched in the lower-case name, the first that fits wins."""

_NOT_TUMOR = re.compile(
    r"^(ctv|ptv|itv|brain|chiasm|eye|lens|optic|cochlea|pituitary|hippocamp|body|external|skin|"
    r"couch|bone|skull|lacrimal|retina|spinal|ring|breast|prostate|liver|kidney|pancreas|lung|cervix)"
    r"|_prv$"
)


def region_of(name: str) -> Region | None:
    """Find the part of a tumor that a name stands for, or return None."""
    if names_brain(name):
        return None  # "whole brain" is no whole tumor
    text = name.strip().lower()
    return next((region for pattern, region in NAME_RULES if re.search(pattern, text)), None)


def drawn_regions(masks: Mapping[str, Mask], where: str) -> tuple[dict[Region, Mask], list[Finding]]:
    """Sort drawn masks by what they show; several of one kind (two lesions) are united.

    Parameters
    ----------
    masks : mapping of str to Mask
        As drawn, by name.
    where : str
        The visit, for findings.

    Returns
    -------
    dict of Region to Mask, list of Finding
        Empty masks and unknown names are left out, with a finding.
    """
    found: dict[Region, Mask] = {}
    findings: list[Finding] = []
    unknown = []
    for name, mask in masks.items():
        region = region_of(name)
        if region is None:
            if not (_NOT_TUMOR.search(name.strip().lower()) or names_brain(name)):
                unknown.append(name)
        elif not mask.array.any():
            findings.append(Finding(f"the mask {name!r} is empty", where, "left out", Severity.LEFT_OUT))
        else:
            found[region] = united(found[region], mask) if region in found else mask
    if unknown:
        findings.append(
            Finding(
                f"no rule says what part of the tumor {', '.join(map(repr, sorted(unknown)))} is",
                where,
                "left out; names that are understood: enhancing, necrosis, edema, whole tumor, GTV, cavity",
                Severity.LEFT_OUT,
            )
        )
    return found, findings


def united(*masks: Mask) -> Mask:
    """Unite masks on the grid of the first."""
    first, *others = masks
    array = first.array.copy()
    for other in others:
        array |= other.array if other.grid == first.grid else resample(other, first.grid).array
    return first.with_array(array)


def without(mask: Mask, other: Mask) -> Mask:
    """Remove from a mask what lies inside another."""
    there = other.array if other.grid == mask.grid else resample(other, mask.grid).array
    return mask.with_array(mask.array & ~there)
