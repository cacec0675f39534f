"""Builds the Cython kernels. All metadata is in pyproject.toml."""

from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

HEADERS = [str(path) for path in Path("tumortwin/growth").glob("*.h")]

kernels = [
    Extension(
        f"tumortwin.growth.{name}",
        [f"tumortwin/growth/{name}.pyx"],
        include_dirs=[numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        depends=HEADERS,
        # contracted multiply-adds would make the last bits depend on the processor
        extra_compile_args=["-O3", "-ffp-contract=off"],
    )
    for name in ("_kernel", "_sensitivity")
]

setup(
    ext_modules=cythonize(
        kernels,
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
        },
    )
)
