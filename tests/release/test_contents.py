"""What `make dist` refuses of an archive, planted."""

from __future__ import annotations

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPO = HERE.parents[1]
SPEC = importlib.util.spec_from_file_location("release_contents", HERE / "contents.py")
assert SPEC is not None
assert SPEC.loader is not None
contents = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(contents)


def wheel_of(path: Path, *, without: str = "", also: str = "") -> Path:
    """A wheel of this checkout, by name."""
    with zipfile.ZipFile(path, "w") as archive:
        for part, root in contents.PARTS.items():
            home = REPO / root
            for file in (home / "escalade" / part).rglob("*"):
                name = str(file.relative_to(home))
                if file.is_file() and "__pycache__" not in name and name != without:
                    archive.writestr(name, "")
        archive.writestr("escalade-0.dist-info/licenses/LICENSE", "")
        if also:
            archive.writestr(also, "")
    return path


def test_a_whole_wheel_is_taken(tmp_path: Path) -> None:
    assert contents.wheel_defects(wheel_of(tmp_path / "x.whl"), REPO) == []


@pytest.mark.parametrize(
    "name",
    ["escalade/checkpoint/py.typed", "escalade/edge/client.py", "escalade/v1/cascade.proto"],
)
def test_what_a_wheel_lacks_is_named(tmp_path: Path, name: str) -> None:
    wheel = wheel_of(tmp_path / "x.whl", without=name)
    assert contents.wheel_defects(wheel, REPO) == [f"wheel: {name} is missing"]


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_x.py",
        "escalade/edge/tests/test_x.py",
        "escalade/training/checkpoints/large/model.safetensors",
        "escalade/edge/web/page/main.ts",
        "escalade/edge/ort/ort-wasm-simd-threaded.wasm",
    ],
)
def test_what_a_wheel_has_too_much_is_named(tmp_path: Path, name: str) -> None:
    wheel = wheel_of(tmp_path / "x.whl", also=name)
    assert contents.wheel_defects(wheel, REPO) == [f"wheel: {name} has no place in it"]


def test_what_a_source_archive_has_too_much_is_named(tmp_path: Path) -> None:
    names = ["pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md", "constraints.txt"]
    strange = "edge/web/node_modules/x/index.js"
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in [*names, "LICENSE", strange]:
            archive.addfile(tarfile.TarInfo(f"escalade-0/{name}"), io.BytesIO())
    assert contents.sdist_defects(path) == [f"sdist: {strange} has no place in it"]
