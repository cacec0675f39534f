"""What the package declares to need is what it imports; without the extras, only what is theirs cannot be imported."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {
    "dicomweb-client": "dicomweb_client",
    "pillow": "PIL",
    "py-pde": "pde",
    "pydicom-data": "data_store",
    "pyjpegls": "jpeg_ls",
    "scikit-image": "skimage",
}
"""What a distribution is imported as, where that is not its name."""
NAMED = {
    "build": (".ci/wheel-test", "-m build"),
    "cython-lint": ("Makefile", "cython-lint"),
    "import-linter": ("Makefile", "lint-imports"),
    "jupyterlab": ("Makefile", "jupyter lab"),
    "mypy": ("Makefile", "/mypy"),
    "nbval": ("tests/notebooks/test_notebooks.py", "nbval"),
    "numba": ("benchmarks/growth.py", 'backend="numba"'),
    "pre-commit": (".pre-commit-config.yaml", "hooks:"),
    "pydicom-data": ("benchmarks/corpus.py", 'find_spec("data_store")'),
    # pydicom finds these decoders by itself
    "pyjpegls": ("tumortwin/imaging/reading/decoding.py", "JPEG"),
    "pylibjpeg": ("docs/network.md", "tumortwin[codecs]"),
    "pylibjpeg-openjpeg": ("docs/network.md", "JPEG 2000"),
    "pylibjpeg-rle": ("tumortwin/imaging/reading/decoding.py", "decoder of RLE"),
    "pytest-timeout": ("pyproject.toml", "\ntimeout = "),
    "pytest-xdist": ("Makefile", "pytest -n"),
    "ruff": ("Makefile", "ruff check"),
}
"""Distributions that are used without an import: where, and by which words."""
NEEDS_EXTRAS = {"apps.canvas", "network.association", "network.dimse", "network.reception", "network.web"}
"""Modules that cannot be imported without an extra; who imports them says which one to install."""


def distributions(requirements: list[str]) -> set[str]:
    names = {re.match(r"[\w.-]+", line).group().lower() for line in requirements}
    return names - {"tumortwin"}


def module_of(distribution: str) -> str:
    return MODULES.get(distribution, distribution).lower()


CORE = distributions(PROJECT["dependencies"])
EXTRAS = distributions([line for lines in PROJECT["optional-dependencies"].values() for line in lines]) - CORE


def imports_of(source: str) -> Iterator[str]:
    """Top-level names of the modules that a program imports from elsewhere."""
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        yield from (name.split(".")[0] for name in names)


def programs(*folders: str) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, path.read_text()
        for path in sorted((ROOT / folder).glob("*.ipynb")):
            cells = json.loads(path.read_text())["cells"]
            yield path, "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def test_every_import_is_declared():
    declared = {module_of(name) for name in CORE | EXTRAS} | set(sys.stdlib_module_names) | {"tumortwin"}
    missing = []
    for path, source in programs("tumortwin"):
        # scripts that made the data once say in their docstring what they need
        said = ast.get_docstring(ast.parse(source)) if path.match("data/make_*.py") else ""
        missing += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in imports_of(source)
            if name.lower() not in declared and name not in said.replace("-", "")
        ]
    assert not missing


def test_every_dependency_is_used():
    sources = programs("tumortwin", "tests", "benchmarks", "notebooks")
    imported = {name.lower() for _, source in sources for name in imports_of(source)}
    unused = []
    for name in CORE | EXTRAS:
        file, words = NAMED.get(name, ("", "never"))
        if module_of(name) not in imported and (not file or words not in (ROOT / file).read_text()):
            unused.append(name)
    assert not unused


def test_without_the_extras_only_their_own_modules_cannot_be_imported():
    program = f"""
import importlib, json, pkgutil, sys
sys.modules.update(dict.fromkeys({sorted(MODULES.get(name, name.replace("-", "_")) for name in EXTRAS)!r}))
import tumortwin
failed = []
for module in pkgutil.walk_packages(tumortwin.__path__, "tumortwin."):
    if ".data." not in module.name and not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except (ImportError, tumortwin.TumorTwinError):
            failed.append(module.name.removeprefix("tumortwin."))
from tumortwin import *
print(json.dumps(failed))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout.splitlines()[-1])) == NEEDS_EXTRAS
