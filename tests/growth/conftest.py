"""Problems that the growth tests share."""

import numpy as np
import pytest

from tumortwin.geometry.domain import Domain
from tumortwin.growth import GrowthParameters, Model
from tumortwin.imaging.volume import Grid
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal


@pytest.fixture
def domain() -> Domain:
    """A ball of white and grey matter in a grid of unlike edges."""
    grid = Grid.regular((15, 22, 24), (3.0, 2.0, 2.0))
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.center
    mask = (points**2).sum(-1) < 21**2
    white = mask * (np.random.default_rng(4).random(grid.shape) > 0.3)
    return Domain(grid, mask, white, mask & ~white, np.zeros(grid.shape))


@pytest.fixture
def treated_model(domain) -> tuple[Model, np.ndarray]:
    """A model with every kind of event, and a density to start from."""
    density = np.zeros(domain.grid.shape)
    density[6:9, 8:13, 9:14] = 0.6 * domain.mask[6:9, 8:13, 9:14]
    dose = np.linspace(0, 2, domain.mask.size, dtype=np.float32).reshape(domain.grid.shape)
    removed = np.zeros(domain.grid.shape, np.float32)
    removed[:, :, :11] = 0.95
    return Model(
        domain,
        GrowthParameters(diffusivity=0.15, proliferation_rate=0.08),
        irradiations=tuple(Irradiation(float(day), dose) for day in (12, 13, 13.25, 16)),
        administrations=tuple(Administration(day, "temozolomide", 75, DoseUnit.MG_PER_M2) for day in range(11, 20)),
        removals=(Removal(5.5, removed),),
    ), density
