"""Modules, their imports, and the rooms of a package: `python tests/support/rooms.py` prints how many, and the arrows.

A room is what lies directly in a package: a module or a folder. An arrow is one room that imports from another.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("q1net_core", "training", "pipelines")


def name_module(path: Path) -> str:
    """``q1net_core/jpeg/__init__.py`` -> ``q1net_core.jpeg``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_module(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imports(tree: ast.AST, inside_functions: bool = True) -> Iterator[str]:
    """Dotted names of all imports; ``from a import b`` counts as ``a.b``. What only type checkers see is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, inside_functions)


@cache
def imported(module: str, inside_functions: bool = True) -> frozenset[str]:
    """Dotted names that a module imports."""
    return frozenset(imports(ast.parse(MODULES[module].read_text()), inside_functions))


def module_of(name: str) -> str | None:
    """The module of this project in which a dotted name lies, if any."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def modules_of(module: str) -> set[str]:
    """The modules of this project that a module imports."""
    return {found for name in imported(module) if (found := module_of(name))} - {module}


def room_of(module: str) -> str:
    """``q1net_core.jpeg.tables`` -> ``q1net_core.jpeg``."""
    return ".".join(module.split(".")[:2])


def arrows(package: str) -> dict[str, set[str]]:
    """Each room of a package, its own root left out -> the rooms of the package that it imports from."""
    found: dict[str, set[str]] = {room_of(module): set() for module in MODULES if module.startswith(f"{package}.")}
    for module in MODULES:
        if room_of(module) in found:
            found[room_of(module)] |= {room_of(other) for other in modules_of(module)} & found.keys()
    return {room: others - {room} for room, others in found.items()}


def floors(graph: dict[str, set[str]]) -> int:
    """How many rooms lie above each other at most; graphlib.CycleError if some import each other in a circle."""
    height: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        height[room] = 1 + max((height[other] for other in graph[room]), default=0)
    return max(height.values(), default=0)


if __name__ == "__main__":
    for each in PACKAGES:
        rooms = arrows(each)
        print(f"{each}: {len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows, {floors(rooms)} floors")
