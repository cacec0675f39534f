"""How images lie to each other: rigid registration, small motion, coarse deformation, transforms from files."""
