"""The plan of the house, read off the code: no circle, and packages entered by their doors."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

import pytest
from plan import PAGE, REPO, circles, imports, is_package, modules, redrawn, rooms


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
    assert circles(rooms(depth)) == []


def test_the_drawings_are_of_the_code() -> None:
    page = PAGE.read_text()
    assert page.count("<!-- drawing: ") >= 5
    assert redrawn(page) == page, "run `.venv/bin/python tests/plan.py`"


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
    "escalade.edge": {
        *("Answer", "Artifact", "Cascade", "Chat", "EdgeClient", "EdgeError", "OpenOptions"),
        *("Query", "Sampling"),
    },
    "escalade.edge.deferral.agreement": {"Medoid"},
    "escalade.edge.policy": {"Battery", "PendingConsent"},
    "escalade.simulator.devices": {"Device", "get_device"},
    "escalade.simulator.network.calls": {"CallBytes", "CallNetwork"},
    "escalade.training.online": {"CallableExpert", "Configuration"},
}


@pytest.mark.parametrize("name", sorted(filter(is_package, modules())))
def test_a_face_names_what_others_use_and_nothing_else(name: str) -> None:
    tree = ast.parse(modules()[name].read_text())
    taken = {
        alias.asname or alias.name
        for node in stated(tree)
        if isinstance(node, ast.ImportFrom) and node.module not in {"escalade.v1.lazy", "typing"}
        for alias in node.names
    }
    assert exported(name) == taken
    assert exported(name) - FOR_USERS.get(name, set()) <= used_outside()[name]


def stated(face: ast.Module) -> Iterator[ast.stmt]:
    """Its statements, and those for types alone, where names are loaded when they are asked for."""
    for node in face.body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from node.body


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
