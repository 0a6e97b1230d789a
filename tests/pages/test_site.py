"""The site of `make docs`: every page has a place, and what is dead is found."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parents[2]
SITE = REPO / "docs" / "site"


def module(name: str) -> ModuleType:
    """One of the site's, which stand in no package."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_navigation_has_every_guide_once() -> None:
    staging = module("staging")
    shown = [page for section in staging.guides().values() for page in section]
    assert sorted(shown) == sorted(set((REPO / "docs").glob("*.md")) - {staging.INDEX})


def test_pages_lie_as_in_the_repository_and_drawings_become_pictures(tmp_path: Path) -> None:
    module("staging").stage(tmp_path, lambda drawing: f"<svg>{len(drawing)}</svg>")
    for name in ("README.md", "SECURITY.md", "docs/README.md", "docs/web.md", "edge/README.md"):
        assert (tmp_path / name).is_file(), name
    page = (tmp_path / "docs" / "architecture.md").read_text()
    assert "```mermaid" not in page
    assert 'src="images/architecture-1.svg"' in page
    assert (tmp_path / "docs" / "images" / "architecture-6.svg").read_text().startswith("<svg>")
    assert "](edge/README.md)" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="other.html#there">x</a> <a href="#here">x</a> <p id="here">', None),
        ('<a href="https://example.org/">elsewhere</a>', None),
        ('<a href="gone.html">x</a>', "gone.html: no such file"),
        ('<a href="other.html#gone">x</a>', "other.html#gone: no such anchor"),
        ('<img src="gone.svg">', "gone.svg: no such file"),
        ('<script src="https://example.org/x.js"></script>', "loads https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "loads //example.org/x.css"),
    ],
)
def test_what_is_dead_or_strays_is_found(tmp_path: Path, body: str, said: str | None) -> None:
    (tmp_path / "other.html").write_text('<h2 id="there">')
    (tmp_path / "index.html").write_text(body)
    _, found = module("links").defects(tmp_path)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_builds() -> None:
    python = REPO / ".venv-docs" / "bin" / "python"
    if not python.exists():
        pytest.skip("no .venv-docs: `make docs` makes it")
    done = subprocess.run([python, SITE / "build.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 defects" in done.stdout
