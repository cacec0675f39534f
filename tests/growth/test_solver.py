"""simulate(): events at their own time, saves, plans, bad input."""

import numpy as np
import pytest

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import GrowthParameters, Model, simulate
from tumortwin.imaging.volume import Grid
from tumortwin.twin import Irradiation


def small() -> tuple[Domain, np.ndarray]:
    grid = Grid.regular((7, 8, 9), 2.0)
    density = np.zeros(grid.shape)
    density[2:5, 2:6, 3:6] = 0.5
    return Domain.uniform(grid), density


def test_cutting_a_solve_anywhere_changes_nothing_but_the_steps() -> None:
    domain, density = small()
    model = Model(domain, GrowthParameters(), irradiations=tuple(Irradiation(d, 2.0) for d in (1.0, 2.0, 3.5)))
    through = simulate(model, density, 0, 5, save_at=(2.0,), dt=0.1, dtype=np.float64)
    first = simulate(model, density, 0, 2, dt=0.1, dtype=np.float64)
    second = simulate(model, first.fields[-1], 2, 5, dt=0.1, dtype=np.float64)
    np.testing.assert_allclose(first.at(2), through.at(2), rtol=1e-13)
    np.testing.assert_allclose(second.at(5), through.at(5), rtol=1e-13)


@pytest.mark.parametrize(("change", "said"), [
    (lambda u: u * np.nan, "not finite"), (lambda u: u * 3, "1.5"), (lambda u: -u, "-0.5"), (lambda u: u[1:], "shape"),
])
def test_bad_densities_are_named(change, said) -> None:
    domain, density = small()
    with pytest.raises(InputError, match=said):
        simulate(Model(domain), change(density), 0, 1)
