"""The terms of the equation, one at a time, and the numbers they take."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from tumortwin.errors import InputError
from tumortwin.geometry.domain import Domain
from tumortwin.growth import (
    SOURCES,
    UNITS,
    DeadCells,
    DrugKill,
    Exponential,
    Gompertz,
    GrowthParameters,
    Logistic,
    Model,
    Necrosis,
    TensorDiffusion,
    TissueDiffusion,
    UniformDiffusion,
    VoxelDiffusion,
    ellipsoid_seed,
    simulate,
    survival,
)
from tumortwin.growth.terms.laws import RateMap
from tumortwin.growth.terms.tensor import selling
from tumortwin.imaging.volume import Grid
from tumortwin.therapy.events import DoseUnit
from tumortwin.twin import Administration, Irradiation, Removal

NO_KILL = DrugKill((), {}, {})
LAWS = [Logistic(), Exponential(), Gompertz()]


def dose(day: float, amount: float = 75.0, drug: str = "temozolomide", unit: DoseUnit = DoseUnit.MG_PER_M2):
    return Administration(day, drug, amount, unit)


def test_every_parameter_has_a_unit_and_a_source() -> None:
    assert set(UNITS) == set(SOURCES) == set(GrowthParameters.__dataclass_fields__)
    assert all(UNITS.values())
    assert all(len(source) > 20 for source in SOURCES.values())


@pytest.mark.parametrize(("values", "said"), [
    ({"diffusivity": -0.1}, "diffusivity.*-0.1"), ({"proliferation_rate": np.nan}, "proliferation_rate.*nan"),
    ({"grey_ratio": np.inf}, "grey_ratio.*inf"), ({"alpha": -1}, "alpha.*-1"), ({"alpha_beta": 0}, "alpha_beta.*0"),
    ({"drug_sensitivity": {"x": -2.0}}, "to x.*-2"), ({"capacity": 0}, "capacity.*0"),
    ({"capacity": np.inf}, "capacity.*inf"), ({"diffusivity": None}, "diffusivity.*mm.2/day.*None"),
    ({"grey_ratio": "a"}, "grey_ratio is a number, not 'a'"),
])  # fmt: skip
def test_bad_parameters_are_named(values, said) -> None:
    with pytest.raises(InputError, match=said):
        GrowthParameters(**values)


def test_diffusion_by_tissue(domain) -> None:
    parameters = GrowthParameters(grey_ratio=0.3)
    d = TissueDiffusion().relative(domain, parameters)
    np.testing.assert_allclose(d[domain.white > 0], 1)
    np.testing.assert_allclose(d[domain.grey > 0], 0.3)
    assert not d[~domain.mask].any()
    np.testing.assert_array_equal(UniformDiffusion().relative(domain, parameters), domain.mask)


@pytest.mark.parametrize(("factor", "said"), [(np.ones((2, 2, 2)), r"\(2, 2, 2\)"), (-1.0, "-1"), (np.nan, "nan")])
def test_bad_diffusion_maps_are_named(domain, factor, said) -> None:
    factor = factor if np.ndim(factor) else np.full(domain.grid.shape, factor)
    with pytest.raises(InputError, match=said):
        VoxelDiffusion(factor).relative(domain, GrowthParameters())


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("rate", [0.05, -0.05, 0.0])
@pytest.mark.parametrize("capacity", [1.0, 0.3, 2.5])
def test_flows_solve_their_equation_also_a_little_outside(law, rate, capacity) -> None:
    u0 = np.array([-0.01, 0.0, 1e-6, 0.02, 0.5, 1.0, 1.02]) * capacity
    slopes = {
        Logistic: lambda u: u * (1 - u / capacity),
        Exponential: lambda u: u,
        Gompertz: lambda u: -u * np.log(np.maximum(u / capacity, 1e-4)),
    }
    if isinstance(law, Gompertz) and rate < 0:
        with pytest.raises(InputError, match=r"Gompertz.*-0\.05"):
            law.flow(rate, 2.0, 7.0, NO_KILL, capacity)
        return
    got = law.flow(rate, 2.0, 7.0, NO_KILL, capacity)(u0)
    oracle = solve_ivp(lambda t, u: rate * slopes[type(law)](u), (2, 7), u0, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(got, oracle.y[:, -1], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("capacity", [1.0, 2.5])
def test_flows_compose_whatever_the_drugs(law, capacity) -> None:
    kill = DrugKill([dose(0.3), dose(1.2, 150), dose(5.0)], {"temozolomide": 5e-3}, {"temozolomide": 9.24})
    u = np.array([0.05, 0.4, 0.9])
    through = law.flow(0.1, 0, 6, kill, capacity)(u)
    for cut in (0.29, 0.31, 1.25, 4.0):
        first, second = law.flow(0.1, 0, cut, kill, capacity), law.flow(0.1, cut, 6, kill, capacity)
        np.testing.assert_allclose(second(first(u)), through, rtol=1e-10)


@pytest.mark.parametrize("law", [Logistic(), Exponential()], ids=lambda law: type(law).__name__)
def test_a_table_of_rates_holds_each_rate_s_own_flow(law) -> None:
    kill = DrugKill([dose(0.3), dose(1.2, 150)], {"temozolomide": 5e-3}, {"temozolomide": 9.24})
    table = RateMap(np.array([[[0.2, 3.0]]]))
    flows = table.flow(law, 0.1, 0.0, 6.0, kill, 0.8)
    for k in (0, 100, 256):
        one = law.flow(0.1 * table.levels[k], 0.0, 6.0, kill, 0.8)
        assert (flows.growth[k], flows.crowding[k]) == pytest.approx(one, rel=1e-13, abs=1e-15)
    # the lowest and highest rate are kept exactly, the others to half of 1/65535 of the range
    np.testing.assert_allclose(np.interp(table.place, np.arange(257), table.levels), [[[0.2, 3.0]]], rtol=1e-14)
    many = 0.2 + np.random.default_rng(0).random((3, 4, 5))
    kept = np.interp(RateMap(many).place, np.arange(257), RateMap(many).levels)
    assert np.abs(kept - many).max() <= 0.5 / 65535 * np.ptp(many) * (1 + 1e-9)


def test_a_floor_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"floor.*0 < floor < 1.*1\.5"):
        Gompertz(1.5)


def test_log_kill_is_the_integral_of_the_concentration() -> None:
    kill = DrugKill([dose(2.0), dose(0.5, 100.0)], {"temozolomide": 2e-3}, {"temozolomide": 3.0})

    def rate(t: float) -> float:
        return 2e-3 * 3.0 * sum(a * np.exp(-3.0 * (t - d)) for d, a in [(0.5, 100.0), (2.0, 75.0)] if t >= d)

    for t in (0.4, 0.7, 1.9, 2.0, 2.4, 9.0):
        assert kill.between(0, t) == pytest.approx(quad(rate, 0, t, points=[0.5, 2.0], epsabs=1e-13)[0], abs=1e-11)
    assert kill.between(0, 1000) == pytest.approx(2e-3 * 175)  # a dose's whole log-kill is sensitivity * amount


def test_drugs_add_and_unknown_ones_do_nothing() -> None:
    sensitivity, decay = {"a": 1e-3, "b": 2e-3}, {"a": 1.0, "b": 5.0}
    both = DrugKill([dose(0, 10, "a"), dose(0, 10, "b"), dose(0, 10, "c")], sensitivity, decay)
    apart = [DrugKill([dose(0, 10, name)], sensitivity, decay).between(0, 2) for name in "ab"]
    assert both.between(0, 2) == pytest.approx(sum(apart))


def test_drugs_that_cannot_be_computed_are_named() -> None:
    with pytest.raises(InputError, match=r"temozolomide.*mg and mg/m2"):
        DrugKill([dose(0), dose(1, unit=DoseUnit.MG)], {"temozolomide": 1e-3}, {"temozolomide": 9.24})
    with pytest.raises(InputError, match="x has a sensitivity but no decay rate"):
        DrugKill([dose(0, drug="x")], {"x": 1e-3}, {})


def test_bad_tissue_is_named(domain) -> None:
    for wrong in (np.nan, -0.5):
        white = domain.white.copy()
        white[7, 11, 12] = wrong
        with pytest.raises(InputError, match=rf"share of white is 0..1, not {wrong}"):
            Domain(domain.grid, domain.mask, white, domain.grey, domain.csf)


def test_survival_is_linear_quadratic() -> None:
    parameters = GrowthParameters(alpha=0.1, alpha_beta=5.0)
    np.testing.assert_allclose(survival(parameters, np.array([0.0, 2.0, 8.0])), np.exp([0, -0.28, -2.08]))
    assert survival(GrowthParameters(alpha=0.1, alpha_beta=np.inf), 3.0) == pytest.approx(np.exp(-0.3))


@pytest.mark.parametrize(("events", "said"), [
    ({"irradiations": (Irradiation(np.nan, 2.0),)}, "irradiations.*nan"),
    ({"irradiations": (Irradiation(1.0, np.ones((2, 2, 2))),)}, r"\(2, 2, 2\).*resample"),
    ({"irradiations": (Irradiation(1.0, -2.0),)}, "day 1.*-2"),
    ({"irradiations": (Irradiation(1.0, np.nan),)}, "day 1.*nan"),
    ({"removals": (Removal(1.0, np.full((15, 22, 24), 1.5)),)}, r"share 0\.\.1.*1\.5"),
    ({"administrations": (dose(2.0, np.nan),)}, "temozolomide at day 2.*mg/m2, not nan"),
    ({"administrations": (dose(2.0, -75.0),)}, "temozolomide at day 2.*mg/m2, not -75"),
])  # fmt: skip
def test_bad_events_are_named(domain, events, said) -> None:
    with pytest.raises(InputError, match=said):
        Model(domain, **events)


@pytest.mark.parametrize(("terms", "said"), [
    ({"rate_factor": np.full((15, 22, 24), -1.0)}, "factor >= 0.*-1"), ({"rate_factor": 2.0}, "map of rates.*2.0"),
    ({"rate_factor": np.ones((15, 22, 24)), "law": Gompertz()}, "Gompertz"),
    ({"companion": Necrosis(), "law": Exponential()}, "necrosis goes with logistic"),
])  # fmt: skip
def test_terms_that_do_not_go_together_are_named(domain, terms, said) -> None:
    with pytest.raises(InputError, match=said):
        Model(domain, **terms)


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t[:2], r"\(2, 22, 24, 3, 3\)"), (lambda t: -t, "positive definite.*-1"),
    (lambda t: t * np.nan, "finite"), (lambda t: t + np.eye(3)[::-1] * [0, 0, 1], "symmetric"),
])  # fmt: skip
def test_bad_tensors_are_named(domain, change, said) -> None:
    tensor = change(np.broadcast_to(np.eye(3), (*domain.grid.shape, 3, 3)))
    with pytest.raises(InputError, match=said):
        TensorDiffusion(tensor).coupling(domain)


def test_selling_s_decomposition_gives_the_tensor_back() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((500, 3, 3)) * np.array([1.0, 0.3, 0.1])
    tensors = root @ root.transpose(0, 2, 1) + 1e-3 * np.eye(3)
    weights, offsets = selling(tensors)
    assert weights.min() >= 0
    np.testing.assert_allclose(np.einsum("nk,nka,nkb->nab", weights, offsets, offsets), tensors, atol=1e-9)


@pytest.mark.parametrize("wrong", [
    lambda: DeadCells(0.0), lambda: Necrosis(-1.0), lambda: Necrosis(1.0, 1.0), lambda: DeadCells(np.nan),
])  # fmt: skip
def test_bad_companions_are_refused(wrong) -> None:
    with pytest.raises(InputError, match=r"half-time|threshold"):
        wrong()


def test_a_drug_without_a_sensitivity_is_a_finding(domain) -> None:
    model = Model(domain, GrowthParameters(diffusivity=1.0), administrations=(dose(0, drug="newdrug"),))
    assert [f.what for f in model.findings()] == ["no sensitivity to newdrug is given"]


def test_whole_numbers_of_milligrams_lose_nothing():
    def kill(kind: type) -> float:
        doses = [Administration(day, "temozolomide", kind(75), DoseUnit.MG) for day in (0.0, 0.5, 1.0)]
        return DrugKill(doses, {"temozolomide": 1e-3}, {"temozolomide": 0.7}).between(0.7, 4.0)

    assert kill(int) == kill(float)


@pytest.mark.parametrize("numbers", [(0.05, 0.1, 0.015, 0.9), (0.12, 0.05, 0.06, 0.7), (0.12, 0.05, 0.5, 0.7)])
def test_a_necrotic_core_does_not_fill_beyond_capacity(numbers):
    diffusivity, rho, rate, threshold = numbers
    domain = Domain.uniform(Grid.regular((1, 61, 61), 1.5))
    model = Model(
        domain, GrowthParameters(diffusivity=diffusivity, proliferation_rate=rho), companion=Necrosis(rate, threshold)
    )
    run = simulate(model, ellipsoid_seed(domain, domain.grid.center, 6.0), 0, 200, save_at=range(0, 200, 20))
    assert max(v.max() for v in run.companions) < 1
    assert max(total.max() for total in run.visible) < 1.15
