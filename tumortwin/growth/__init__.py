"""How the tumor grows: the reaction-diffusion equation, its kernel and its solver."""
