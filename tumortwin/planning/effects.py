"""What a schedule does to organs at risk, held against their limits."""

from __future__ import annotations

from dataclasses import dataclass

from tumortwin.planning.constraints import Constraint, Organ, Quantity


@dataclass(frozen=True)
class ConstraintCheck:
    """A limit, what the option does, and whether it is kept."""

    constraint: Constraint
    value: float

    @property
    def met(self) -> bool:
        """Whether the value is at most the limit, to 0.1 %."""
        return self.value <= self.constraint.limit * 1.001

    def __str__(self) -> str:
        c, ntcp = self.constraint, self.constraint.quantity is Quantity.NTCP
        value, limit = (f"{100 * v:.2g} %" if ntcp else f"{v:.1f} Gy EQD2" for v in (self.value, c.limit))
        return f"{c.organ} {c.quantity} {value} {'<=' if self.met else '>'} {limit}"


@dataclass(frozen=True)
class OrganEffect:
    """What an option does to an organ at risk.

    Parameters
    ----------
    structure : str
        Name as contoured.
    organ : Organ
        What it is.
    mean, near_max : float
        Physical dose in Gy: Dmean, and of the hottest 0.03 mL.
    alpha_beta : float
        Gy.
    bed, eqd2 : float
        Of the hottest 0.03 mL, in Gy.
    checks : tuple of ConstraintCheck
        Its limits.
    """

    structure: str
    organ: Organ
    mean: float
    near_max: float
    alpha_beta: float
    bed: float
    eqd2: float
    checks: tuple[ConstraintCheck, ...]
