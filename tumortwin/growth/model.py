"""What is simulated: a domain, its parameters, the terms of the equation and the treatment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth.parameters import GrowthParameters
from tumortwin.growth.terms.companions import Companion, Necrosis
from tumortwin.growth.terms.diffusion import DiffusionTerm, TissueDiffusion
from tumortwin.growth.terms.laws import Gompertz, GrowthLaw, Logistic, RateMap
from tumortwin.growth.terms.tensor import TensorDiffusion
from tumortwin.growth.terms.treatment import DECAY_RATES, DrugKill
from tumortwin.imaging.findings import Finding, Severity
from tumortwin.twin import Administration, Irradiation, Removal, Twin


@dataclass(frozen=True, eq=False)
class Model:
    """The growth equation of one patient.

    du/dt = div(D(x) grad u) + growth(u; x) - kill(t) u with no flux through the domain's wall; u <- S(x) u at each
    irradiation, u <- (1 - removed(x)) u at each removal.

    Parameters
    ----------
    domain : Domain
        Where the tumor can grow.
    parameters : GrowthParameters
        The numbers.
    law : Logistic, Gompertz or Exponential
        The growth law.
    diffusion : TissueDiffusion, UniformDiffusion, VoxelDiffusion or TensorDiffusion
        How D varies in space.
    irradiations, administrations, removals : tuples
        Treatment on the domain's grid; times in days.
    decay_rates : mapping of str to float
        Elimination rate of each drug, 1/day.
    rate_factor : (z, y, x) array, optional
        rho of each voxel over ``proliferation_rate``, >= 0; not with Gompertz growth.
    companion : DeadCells or Necrosis, optional
        A second field beside the living cells.

    Raises
    ------
    InputError
        If an event's day is not finite, or its map is not on the domain's grid or holds impossible values.
    """

    domain: Domain
    parameters: GrowthParameters = field(default_factory=GrowthParameters)
    law: GrowthLaw = field(default_factory=Logistic)
    diffusion: DiffusionTerm | TensorDiffusion = field(default_factory=TissueDiffusion)
    irradiations: tuple[Irradiation, ...] = ()
    administrations: tuple[Administration, ...] = ()
    removals: tuple[Removal, ...] = ()
    decay_rates: Mapping[str, float] = field(default_factory=lambda: dict(DECAY_RATES))
    rate_factor: NDArray[np.floating] | None = None
    companion: Companion | None = None

    def __post_init__(self) -> None:
        for name in ("irradiations", "administrations", "removals"):
            events = tuple(sorted(getattr(self, name), key=lambda event: event.day))
            for event in events:
                if not np.isfinite(event.day):
                    raise InputError(f"one of the {name} is at day {event.day}: give a finite day")
            object.__setattr__(self, name, events)
        for given in self.administrations:
            if not (np.isfinite(given.amount) and given.amount >= 0):
                raise InputError(
                    f"the dose of {given.drug} at day {given.day} is a finite amount >= 0 {given.unit}, "
                    f"not {given.amount}"
                )
        checked: set[int] = set()
        for fraction in self.irradiations:
            if id(fraction.dose) not in checked:
                checked.add(id(fraction.dose))
                self._check_map(fraction.dose, np.inf, f"the dose at day {fraction.day}", "Gy >= 0")
        for removal in self.removals:
            self._check_map(removal.removed, 1.0, f"what is removed at day {removal.day}", "a share 0..1")

        if self.rate_factor is not None:
            self._check_map(self.rate_factor, np.inf, "the map of rates", "a factor >= 0")
            if np.ndim(self.rate_factor) != 3:
                raise InputError(f"the map of rates is a (z, y, x) array, not {self.rate_factor!r}")
            if isinstance(self.law, Gompertz):
                raise InputError("a map of rates goes with logistic or exponential growth, not with Gompertz's")
        if isinstance(self.companion, Necrosis) and not (isinstance(self.law, Logistic) and self.rate_factor is None):
            raise InputError("necrosis goes with logistic growth at one rate")

    @property
    def rates(self) -> RateMap | None:
        """Each voxel's rate of growth, where they differ."""
        return None if self.rate_factor is None else RateMap(self.rate_factor)

    def _check_map(self, values: object, high: float, what: str, wanted: str) -> None:
        array = np.asarray(values)
        if array.ndim and array.shape != self.domain.grid.shape:
            raise InputError(
                f"{what} has shape {array.shape}, the domain's grid {self.domain.grid.shape}: "
                "resample it to the domain's grid"
            )
        wrong = array[~(np.isfinite(array) & (array >= 0) & (array <= high))]
        if wrong.size:
            raise InputError(f"{what} is {wanted} everywhere, not {wrong[0]}")

    @property
    def kill(self) -> DrugKill:
        """The kill rate of all drug doses."""
        return DrugKill(self.administrations, self.parameters.drug_sensitivity, self.decay_rates)

    def findings(self) -> tuple[Finding, ...]:
        """List what a reader of this model's results should know."""
        found = []
        for drug in sorted({d.drug for d in self.administrations} - set(self.parameters.drug_sensitivity)):
            found.append(
                Finding(
                    f"no sensitivity to {drug} is given",
                    "growth",
                    "its doses have no effect in the model",
                    Severity.ASSUMED,
                )
            )
        if self.resolution > 0.5:
            rho, d = self.parameters.proliferation_rate, self.parameters.diffusivity
            found.append(
                Finding(
                    f"rho h^2 / D = {self.resolution:.2g} is above 0.5: along the grid, fronts run "
                    "more than 2 % too fast",
                    "growth",
                    f"use voxels of {np.sqrt(0.5 * d / rho):.2g} mm, or fit and forecast on this same grid",
                )
            )
        return tuple(found)

    @property
    def resolution(self) -> float:
        """Rho h^2 / D of white matter along the widest voxel edge; 0 without diffusion.

        The grid's error in the speed of fronts is about 3.8 % of it.
        """
        grid, p = self.domain.grid, self.parameters
        edges = [h for h, n in zip(grid.spacing, grid.shape, strict=True) if n > 1]
        return p.proliferation_rate * max(edges, default=0.0) ** 2 / p.diffusivity if p.diffusivity > 0 else 0.0


def model_of(
    twin: Twin,
    parameters: GrowthParameters | None = None,
    *,
    until: float | None = None,
    irradiations: Iterable[Irradiation] | None = None,
    administrations: Iterable[Administration] | None = None,
    law: GrowthLaw | None = None,
    diffusion: DiffusionTerm | TensorDiffusion | None = None,
) -> Model:
    """Build the growth equation of a twin with its own treatment, or another.

    Parameters
    ----------
    twin : Twin
        Domain and treatment.
    parameters : GrowthParameters, optional
        The numbers; the defaults if not given.
    until : float, optional
        Leave out what happens after this day.
    irradiations, administrations : iterables, optional
        In place of the twin's own; ``()`` for none.
    law, diffusion : optional
        In place of logistic growth and diffusion by tissue.
    """
    last = np.inf if until is None else until
    given = twin.irradiations if irradiations is None else irradiations
    drugs = twin.administrations if administrations is None else administrations
    return Model(
        twin.domain,
        parameters or GrowthParameters(),
        law or Logistic(),
        diffusion or TissueDiffusion(),
        tuple(e for e in given if e.day <= last),
        tuple(e for e in drugs if e.day <= last),
        tuple(e for e in twin.removals if e.day <= last),
    )
