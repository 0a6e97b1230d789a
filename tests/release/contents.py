"""What the archives of a release must hold and must not; knows names, not what builds them."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

#: A part, and its folder in the repository.
PARTS = {
    **{part: part for part in ("cli", "cloud", "edge", "export", "simulator", "training")},
    **dict.fromkeys(("checkpoint", "v1"), "protos"),
}
_NOWHERE = re.compile(
    r"(^|/)(node_modules|__pycache__|\.venv[^/]*|checkpoints|\.git|\.cache)(/|$)"
    r"|\.(safetensors|onnx|pte|wasm|pyc|tgz|pem|key)$"
    r"|^edge/web/(dist|build)/"
)
_NOT_IN_A_WHEEL = re.compile(r"(^|/)(tests?|benchmarks|docs|web/page)/|\.(ts|mjs|md)$")
_TOPS = {"escalade", "optimum"}  # optimum: a command for optimum-cli, found by its namespace


def wheel_defects(wheel: Path, repo: Path) -> list[str]:
    """A line for each thing that a wheel lacks or has too much, against the sources."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    inside = {name for name in names if ".dist-info/" not in name}
    found = [
        f"wheel: {name} has no place in it"
        for name in sorted(inside)
        if name.split("/")[0] not in _TOPS or _NOWHERE.search(name) or _NOT_IN_A_WHEEL.search(name)
    ]
    for part, root in PARTS.items():
        wanted = {
            f"escalade/{part}/{path.relative_to(repo / root / 'escalade' / part)}"
            for path in (repo / root / "escalade" / part).rglob("*")
            if path.suffix in {".py", ".pyi", ".toml", ".proto", ".html", ".css", ".js"}
        } | {f"escalade/{part}/py.typed"}
        found += [f"wheel: {name} is missing" for name in sorted(wanted - inside)]
    if "escalade/__init__.py" in names:
        found.append("wheel: escalade/__init__.py would hide all parts but one")
    return found + _licence("wheel", names)


def sdist_defects(sdist: Path) -> list[str]:
    """The same of a source archive; that it builds is shown by building the wheel from it."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    found = [
        f"sdist: {name} has no place in it"
        for name in sorted(names)
        if _NOWHERE.search(name) or name.startswith(("tests/", "benchmarks/"))
    ]
    wanted = {"pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md", "constraints.txt"}
    found += [f"sdist: {name} is missing" for name in sorted(wanted - names)]
    return found + _licence("sdist", names)


def _licence(kind: str, names: Iterable[str]) -> list[str]:
    return [] if any(name.endswith("LICENSE") for name in names) else [f"{kind}: no LICENSE"]
