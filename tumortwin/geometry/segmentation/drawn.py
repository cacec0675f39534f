"""A tumor's masks from drawings alone, where no image tells the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tumortwin.geometry.segmentation.certainty import drawn_interval
from tumortwin.geometry.segmentation.regions import Region, united, without
from tumortwin.geometry.segmentation.tumor import TumorMasks
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.imaging.volume import Mask


def drawn_tumor(drawn: Mapping[Region, Mask], grid_of: Mask, where: str = "") -> TumorMasks:
    """Enhancing tumor, necrosis and whole tumor as far as they were drawn; nothing is segmented.

    A core (GTV) of which no part was drawn counts as enhancing. Without whole tumor or edema the core stands for the
    whole.

    Parameters
    ----------
    drawn : mapping of Region to Mask
        See :func:`~tumortwin.geometry.segmentation.regions.drawn_regions`.
    grid_of : Mask
        On whose grid empty masks lie.
    where : str
        The visit, for findings.
    """
    nothing = grid_of.with_array(np.zeros(grid_of.grid.shape, bool))
    core = drawn.get(Region.CORE)
    necrosis = drawn.get(Region.NECROSIS)
    enhancing = drawn.get(Region.ENHANCING)
    if enhancing is None:
        enhancing = nothing if core is None else core if necrosis is None else without(core, necrosis)
    if necrosis is None:
        necrosis = nothing if core is None else without(core, enhancing)
    around = [drawn[r] for r in (Region.WHOLE, Region.EDEMA) if r in drawn]
    whole = united(*around, enhancing, necrosis) if around else united(enhancing, necrosis)
    findings = []
    if not drawn:
        findings.append(
            Finding(
                "no part of the tumor was drawn, and nothing is segmented outside of heads",
                where,
                "the visit counts as showing none: draw it (a click or a box will do)",
                Severity.ASSUMED,
            )
        )
    elif not around:
        findings.append(Finding("no whole tumor was drawn", where, "the core stands for it", Severity.ASSUMED))
    parts = {Region.WHOLE: whole, Region.ENHANCING: enhancing, Region.NECROSIS: necrosis}
    if Region.CAVITY in drawn:
        parts[Region.CAVITY] = drawn[Region.CAVITY]
    parts = {region: mask.with_array(mask.array, name=str(region)) for region, mask in parts.items()}
    source = "drawn: " + ", ".join(map(str, drawn)) if drawn else "nothing drawn"
    return TumorMasks(
        parts[Region.WHOLE],
        parts[Region.ENHANCING],
        parts[Region.NECROSIS],
        source,
        {},
        tuple(findings),
        parts.get(Region.CAVITY),
        intervals_ml={r: drawn_interval(m) for r, m in parts.items()},
    )
