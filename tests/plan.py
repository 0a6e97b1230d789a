"""Reads the plan of the house off the code: who imports whom; draws it for docs/architecture.md.

.venv/bin/python tests/plan.py    # writes the drawings anew
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "architecture.md"
PARTS = ("cli", "edge", "cloud", "export", "training", "simulator")
LAYOUT = {part: REPO / part / "escalade" / part for part in PARTS} | {
    part: REPO / "protos" / "escalade" / part for part in ("checkpoint", "v1")
}
_DRAWING = re.compile(r"(<!-- drawing: (\w+) -->\n)```mermaid\n.*?```\n", re.S)


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
    """Whether a module is a package."""
    return modules()[name].name == "__init__.py"


def rooms(depth: int) -> dict[str, set[str]]:
    """Who reads whom among what stands at a depth below `escalade`, faces left out."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for one in imports():
        reader, read = (".".join(name.split(".")[:depth]) for name in one)
        # A package's own face reads what it holds: that is no arrow between two rooms.
        if reader != read and not (read.startswith(f"{reader}.") or reader.startswith(f"{read}.")):
            arrows[reader].add(read)
    return arrows


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


def drawing(part: str) -> str:
    """The rooms of a part as a mermaid flowchart; an arrow that two others imply is left out.

    What nearly everything reads (`errors`) is left out too.
    """
    inside = f"escalade.{part}."
    arrows = {
        reader.removeprefix(inside): {
            one.removeprefix(inside) for one in read if one.startswith(inside)
        }
        for reader, read in rooms(3).items()
        if reader.startswith(inside)
    }
    names = {*arrows, *(one for read in arrows.values() for one in read)} - {"errors", "quiet"}
    lines = ["flowchart TD"]
    for name in sorted(names):
        shape = f'["{name}/"]' if is_package(inside + name) else f"({name})"
        lines.append(f"    {name}{shape}")
    for reader in sorted(names):
        near = arrows.get(reader, set()) & names
        implied = {far for one in near for far in _reached(arrows, one)}
        lines += [f"    {reader} --> {one}" for one in sorted(near - implied)]
    return "\n".join(lines) + "\n"


def redrawn(page: str) -> str:
    """The page with every drawing as the code is now."""
    return _DRAWING.sub(lambda found: f"{found[1]}```mermaid\n{drawing(found[2])}```\n", page)


def _reached(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for one in arrows.get(waiting.pop(), ()):
            if one not in found:
                found.add(one)
                waiting.append(one)
    return found


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text()))
