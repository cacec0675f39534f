"""What a board page shows of the given dose and of the compared schedules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tumortwin.board.values import DvhCurve, OptionRow, OrganDose
from tumortwin.planning.constraints import TARGETS, Constraint, Quantity, organ_named
from tumortwin.planning.options import DEFINITIONS
from tumortwin.therapy.linear_quadratic import bed, dose_per_fraction_of_bed

if TYPE_CHECKING:
    from tumortwin.planning import GivenDose, OrganEffect, PlanFront

CURVES = 7
"""More curves than this cannot be told apart."""


def dose_fields(given: GivenDose | None) -> dict[str, Any]:
    """Compute the report's fields of the given dose: histograms of the physical dose, organs against their limits.

    Targets come first, then organs with a limit, then the rest; no more than :data:`CURVES`.
    """
    if given is None:
        return {}
    histograms = sorted(given.delivered, key=lambda h: _rank(h.structure))[:CURVES]
    doses = np.linspace(0, 1.02 * max(h.maximum for h in histograms), 200)
    shown = {h.structure for h in histograms}
    limits = _organs(given.organs, len(given.schedule.doses))
    return {
        "dvh": tuple(DvhCurve(h.structure, doses, h.curve(doses)) for h in histograms),
        "dvh_limits": tuple(limit for limit in limits if limit.organ in shown),
        "limit_set": given.limits.name,
    }


def plan_fields(front: PlanFront | None) -> dict[str, Any]:
    """Compute the report's fields of the compared schedules; none without a front."""
    if front is None:
        return {}
    horizon = front.calibration.twin.date(front.horizon)
    return {
        "options": tuple(
            OptionRow(
                o.name,
                o.source.value,
                len(o.schedule.doses),
                o.schedule.total / len(o.schedule.doses) if o.schedule.doses else 0.0,
                o.schedule.total,
                o.tumor_bed,
                o.tumor_eqd2,
                _organs(o.organs, len(o.schedule.doses)),
                {"progression_days": o.outcome.progression, "final_ml": o.outcome.final_ml},
            )
            for o in front.options
        ),
        "outcome_names": {"progression_days": "days to progression", "final_ml": f"core mL, {horizon:%Y-%m-%d}"},
        "horizon_days": front.horizon_days,
        "limit_set": front.constraint_set,
        "definitions": (
            "Progression: core 40 % above its nadir, from the start of radiotherapy.",
            f"Prescribed doses: {front.prescription_point}.",
            *DEFINITIONS,
        ),
    }


def _organs(effects: Iterable[OrganEffect], fractions: int) -> tuple[OrganDose, ...]:
    organs = []
    for effect in effects:
        for check in effect.checks:
            c, ntcp = check.constraint, check.constraint.quantity is Quantity.NTCP
            scale, metric = (100.0, "NTCP %") if ntcp else (1.0, "EQD2 Gy of the hottest 0.03 mL")
            organs.append(
                OrganDose(
                    effect.structure,
                    metric,
                    scale * check.value,
                    scale * c.limit,
                    check.met,
                    f"{c.risk}: {c.reference}",
                    None if ntcp else _physical(c, fractions),
                )
            )
    return tuple(organs)


def _physical(constraint: Constraint, fractions: int) -> float | None:
    """Convert the limit's EQD2 to the physical dose in Gy of a course with a given number of fractions."""
    if not fractions:
        return None
    effective = bed(2.0, constraint.limit / 2.0, constraint.alpha_beta)
    return float(fractions * dose_per_fraction_of_bed(effective, fractions, constraint.alpha_beta))


def _rank(name: str) -> tuple[int, str]:
    plain = name.lower()
    target = next((i for i, t in enumerate(TARGETS) if plain.startswith(t)), None)
    if target is not None:
        return target, plain
    return (4 if organ_named(name) is None or plain.startswith("brain (") else 3), plain
