"""Writes the pages of the interfaces: for each part its faces, and what each face names.

A face is an `__init__.py` with an `__all__`. Read, not imported: no torch is needed.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from staging import PARTS, REPO

ROOTS = {part: REPO / part / "escalade" for part in PARTS}


class Face(NamedTuple):
    """A package that names what others may use."""

    name: str  # dotted
    says: str  # the first line of its docstring
    exports: tuple[str, ...]


def faces(part: str) -> list[Face]:
    """The faces of a part, by name; those that export nothing are left out."""
    found = []
    for path in ROOTS[part].rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                name = ".".join(("escalade", *path.parent.relative_to(ROOTS[part]).parts))
                says = (ast.get_docstring(tree) or "").split("\n")[0]
                found.append(Face(name, says, tuple(ast.literal_eval(node.value))))
    return sorted(found)


def write_interfaces(home: Path) -> dict[str, list[Path]]:
    """A page for each face, and one for each part that lists them; by part, in order."""
    written: dict[str, list[Path]] = {}
    for part in PARTS:
        folder = home / part
        folder.mkdir(parents=True)
        index = folder / "README.md"
        rows = []
        written[part] = [index]
        for face in faces(part):
            page = folder / f"{face.name.removeprefix('escalade.')}.md"
            page.write_text(_page(face))
            written[part].append(page)
            rows.append(f"| [`{face.name}`]({page.name}) | {face.says} |")
        index.write_text(_index(part, rows))
    names = "\n".join(f"- [{part}]({part}/README.md)" for part in written if len(written[part]) > 1)
    (home / "README.md").write_text(
        "# Interfaces\n\nWhat each part names for others, off its docstrings. A package's modules "
        "are its own\naffair: import from the package. An application begins at "
        f"[`escalade.edge`](edge/edge.md).\n\n{names}\n"
    )
    return {part: pages for part, pages in written.items() if len(pages) > 1}


def _page(face: Face) -> str:
    names = "\n".join(f"        - {name}" for name in face.exports)
    head = f"---\ntitle: {face.name}\n---\n\n::: {face.name}\n"
    return f"{head}    options:\n      members:\n{names}\n"


def _index(part: str, rows: list[str]) -> str:
    about = f"[What the part holds, and what it must not know](../../{part}/README.md).\n"
    return f"# {part}\n\n{about}\n| package | |\n| --- | --- |\n" + "\n".join(rows) + "\n"
