"""Packages that import their modules late: the same public names for Python, type checkers and editors."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

LAZY = ["tumortwin", "tumortwin.geometry", "tumortwin.imaging", "tumortwin.patient", "tumortwin.twin"]
HEAVY = {"SimpleITK", "skimage", "pydicom", "highdicom", "matplotlib"}


def modules_after(statement: str) -> set[str]:
    """Top-level names of ``sys.modules`` in a new process that ran a statement."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def names_for_type_checkers(package) -> set[str]:
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize(
    "statement", ["import tumortwin.growth", "from tumortwin.twin import Irradiation, Twin", "from tumortwin import *"]
)
def test_what_an_import_brings_along(statement):
    brought = modules_after(statement) & HEAVY
    # the star asks for every name: without it the test would pass if nothing were found at all
    assert brought == (HEAVY if "*" in statement else set())


@pytest.mark.parametrize("name", LAZY)
def test_python_and_type_checkers_see_the_same_names(name):
    package = importlib.import_module(name)
    assert names_for_type_checkers(package) == set(package.__all__) - {"__version__"}
    assert dir(package) == sorted(package.__all__)


@pytest.mark.parametrize("name", LAZY)
def test_every_public_name_is_found_and_is_no_module(name):
    package = importlib.import_module(name)
    assert not set(package.__all__) & {module.name for module in pkgutil.iter_modules(package.__path__)}
    for public in package.__all__:
        getattr(package, public)


def test_a_warning_of_an_old_name_points_at_the_line_that_used_it():
    with pytest.warns(DeprecationWarning, match="OutlineDensity") as caught:
        from tumortwin.geometry import Front  # noqa: F401
    assert {warning.filename for warning in caught} == {__file__}
