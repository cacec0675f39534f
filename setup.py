"""Builds the Cython kernel. All metadata is in pyproject.toml."""

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

kernel = Extension(
    "tumortwin.growth._kernel",
    ["tumortwin/growth/_kernel.pyx"],
    include_dirs=[numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    depends=["tumortwin/growth/_row.h", "tumortwin/growth/_rows.h"],
    # contracted multiply-adds would make the last bits depend on the processor
    extra_compile_args=["-O3", "-ffp-contract=off"],
)

setup(
    ext_modules=cythonize(
        [kernel],
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    )
)
