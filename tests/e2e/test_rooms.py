"""The plan of the house, read off the code: no circle, and packages entered by their doors."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

REPO = Path(__file__).resolve().parents[2]
PARTS = ("cli", "edge", "cloud", "export", "training", "simulator")
LAYOUT = {part: REPO / part / "escalade" / part for part in PARTS} | {
    "v1": REPO / "protos" / "escalade" / "v1"
}


class Import(NamedTuple):
    """One module reads another; both by their dotted names."""

    reader: str
    read: str


@cache
def modules() -> dict[str, Path]:
    """Every module of ours; a package goes by its own name, not by `__init__`."""
    found = {}
    for part, folder in LAYOUT.items():
        for path in folder.rglob("*.py"):
            names = path.relative_to(folder).with_suffix("").parts
            found[".".join(("escalade", part, *names)).removesuffix(".__init__")] = path
    return found


@cache
def imports() -> tuple[Import, ...]:
    """Every import between them, lazy ones and those of type checkers included."""
    found = []
    for reader, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in modules() else node.module for name in inner]
            else:
                continue
            found += [Import(reader, name) for name in names if name in modules()]
    return tuple(found)


def is_package(name: str) -> bool:
    return modules()[name].name == "__init__.py"


def circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of two or more that can all be reached from one another (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(one: str) -> None:
        number[one] = lowest[one] = len(number)
        stack.append(one)
        for other in arrows.get(one, ()):
            if other not in number:
                visit(other)
                lowest[one] = min(lowest[one], lowest[other])
            elif other in stack:
                lowest[one] = min(lowest[one], number[other])
        if lowest[one] == number[one]:
            group = []
            while not group or group[-1] != one:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for one in list(arrows):
        if one not in number:
            visit(one)
    return found


def test_the_search_for_circles_finds_one() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == [["a", "b", "c"]]
    assert circles({"a": ["b", "c"], "b": ["c"]}) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    arrows = defaultdict(set)
    for reader, read in imports():
        if reader != read:
            arrows[reader].add(read)
    assert circles(arrows) == []


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_no_packages_import_each_other_in_a_circle(depth: int) -> None:
    """At each depth below `escalade`: parts, their packages and modules, and what those hold."""
    arrows = defaultdict(set)
    for one in imports():
        reader, read = (".".join(name.split(".")[:depth]) for name in one)
        # A package's own face reads what it holds: that is no arrow between two rooms.
        if reader != read and not (read.startswith(f"{reader}.") or reader.startswith(f"{read}.")):
            arrows[reader].add(read)
    assert circles(arrows) == []


def test_a_package_is_entered_through_its_face() -> None:
    deep = []
    for reader, read in imports():
        package = read.rpartition(".")[0]
        if is_package(read) or package.count(".") < 2 or package not in modules():
            continue  # a face, or a module that stands in a part's hall
        if read.rpartition(".")[2] in exported(package):
            continue
        if reader != package and not reader.startswith(f"{package}."):
            deep.append(f"{reader} -> {read}")
    assert deep == []


#: What users of the library, rather than other packages of ours, import.
FOR_USERS = {
    "escalade.edge": {"Answer", "Artifact", "Chat", "EdgeClient", "EdgeError", "Sampling"},
}


@pytest.mark.parametrize("name", sorted(filter(is_package, modules())))
def test_a_face_names_what_others_use_and_nothing_else(name: str) -> None:
    tree = ast.parse(modules()[name].read_text())
    taken = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    assert exported(name) == taken
    assert exported(name) - FOR_USERS.get(name, set()) <= used_outside()[name]


def exported(package: str) -> set[str]:
    """What `__all__` says; read, for some packages take seconds to import."""
    for node in ast.parse(modules()[package].read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@cache
def used_outside() -> Mapping[str, set[str]]:
    """For each package, the names that files outside it import from its face."""
    found = defaultdict(set)
    benchmarks = {f"benchmarks:{path}": path for path in (REPO / "benchmarks").rglob("*.py")}
    for reader, path in (modules() | benchmarks).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if reader != node.module and not reader.startswith(f"{node.module}."):
                found[node.module] |= {alias.name for alias in node.names}
    return found
