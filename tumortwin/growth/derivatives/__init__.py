"""Derivatives of a simulation: tangents for a few parameters, the adjoint for many."""
