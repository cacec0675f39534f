"""No import cycle inside a package of tumortwin, imports inside functions counted; those for annotations apart.

Run as a program it prints the cycles of a tree: ``python tests/test_imports.py [FOLDER]``.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import tumortwin

PACKAGE = Path(tumortwin.__file__).parent


def imported(tree: ast.AST, modules: set[str], annotations: bool) -> Iterator[str]:
    """The modules that are imported anywhere in a file; those under ``if TYPE_CHECKING`` only with `annotations`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not annotations:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in modules else node.module
        yield from imported(node, modules, annotations)


def with_packages(target: str, module: str) -> Iterator[str]:
    """A module that another one imports, and the packages that are run for it because the other is not in them."""
    yield target
    while "." in target:
        target = target.rpartition(".")[0]
        if not f"{module}.".startswith(f"{target}."):
            yield target


def cycles(package: Path, annotations: bool) -> list[list[str]]:
    """Groups of modules of a package that import each other, directly or through others."""
    paths = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py*"))
        if path.suffix in (".py", ".pyx")
    }
    graph: dict[str, set[str]] = {module: set() for module in paths}
    for module, path in paths.items():
        if path.suffix == ".py":
            for target in imported(ast.parse(path.read_text(encoding="utf-8")), set(paths), annotations):
                graph[module] |= {*with_packages(target, module)} - {module}

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in found:
                found.add(module)
                waiting += graph[module]
        return found

    reach = {module: reached(module) for module in graph}
    groups = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted(sorted(group) for group in groups)


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(PACKAGE, annotations=False) == []


def test_cycles_are_found(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    for name, text in {
        "__init__": "from pack.a import x",
        "a": "def f():\n    from pack import b",
        "b": "from pack.c import y\nif TYPE_CHECKING:\n    from pack.d import z",
        "c": "import pack.sub.e",
        "d": "import pack.b",
        "sub/__init__": "from pack.a import x",
        "sub/e": "",
    }.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cycles(package, annotations=False) == [["pack.a", "pack.b", "pack.c", "pack.sub"]]
    assert cycles(package, annotations=True) == [["pack.a", "pack.b", "pack.c", "pack.d", "pack.sub"]]


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    for annotations in (False, True):
        found = cycles(folder, annotations)
        print(f"{len(found)} cycle(s) {'with' if annotations else 'without'} imports for annotations")
        for group in found:
            print("  " + ", ".join(group))
