"""How the tumor grows: the reaction-diffusion equation, its kernel and its solver."""

from tumortwin.growth.derivatives.adjoint import LossGradient, simulate_with_gradient
from tumortwin.growth.derivatives.tangent import TangentSimulation, simulate_with_tangents
from tumortwin.growth.front import Front, equivalent_radius, front_of, recent_speed
from tumortwin.growth.model import Model, model_of
from tumortwin.growth.parameters import SOURCES, UNITS, GrowthParameters
from tumortwin.growth.scheme import Step, StepPlan
from tumortwin.growth.seed import SEED_NUMBERS, ellipsoid_seed, ellipsoid_seed_tangents
from tumortwin.growth.solver import Simulation, simulate
from tumortwin.growth.terms.companions import DeadCells, Necrosis
from tumortwin.growth.terms.diffusion import TissueDiffusion, UniformDiffusion, VoxelDiffusion
from tumortwin.growth.terms.laws import Exponential, Gompertz, Logistic
from tumortwin.growth.terms.tensor import TensorDiffusion
from tumortwin.growth.terms.treatment import DECAY_RATES, DrugKill, survival

__all__ = [
    "DECAY_RATES", "SEED_NUMBERS", "SOURCES", "UNITS", "DeadCells", "DrugKill", "Exponential", "Front", "Gompertz",
    "GrowthParameters", "Logistic", "LossGradient", "Model", "Necrosis", "Simulation", "Step", "StepPlan",
    "TangentSimulation", "TensorDiffusion", "TissueDiffusion", "UniformDiffusion", "VoxelDiffusion", "ellipsoid_seed",
    "ellipsoid_seed_tangents", "equivalent_radius", "front_of", "model_of", "recent_speed", "simulate",
    "simulate_with_gradient", "simulate_with_tangents", "survival",
]  # fmt: skip
