"""`make docs`: the guides and the interfaces as a site in build/docs/site; serves nothing.

Exit status 1 when a link or an anchor is dead, a page stands in no navigation, or a page would load
something from elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mermaidx
import yaml
from interfaces import write_interfaces
from links import defects
from staging import PARTS, REPO, guides, stage, title

HOME = REPO / "build" / "docs"
OURS = Path(__file__).resolve().parent


def main() -> int:
    """Build and check."""
    began = time.perf_counter()
    shutil.rmtree(HOME, ignore_errors=True)
    pages = HOME / "pages"
    stage(pages, draw)
    interfaces = write_interfaces(pages / "api")
    (pages / "assets").mkdir()
    for name in ("look.css", "iframe-worker.js"):
        shutil.copy(OURS / name, pages / "assets")
    settings = {"INHERIT": "../../docs/site/mkdocs.yml", "nav": navigation(pages, interfaces)}
    (HOME / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    # mkdocs-material tells every build of mkdocs 2, in red.
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    if subprocess.run([*command, "-f", HOME / "mkdocs.yml"], env=quiet, check=False).returncode:
        return 1
    checked, found = defects(HOME / "site")
    print(*found, sep="\n", end="\n" if found else "")
    count = len(list((HOME / "site").rglob("*.html")))
    print(
        f"{count} pages, {checked} links checked, {len(found)} defects, "
        f"{time.perf_counter() - began:.0f} s: {HOME.relative_to(REPO)}/site/index.html"
    )
    return 1 if found else 0


def draw(drawing: str) -> str:
    """A mermaid drawing as SVG, by mermaid itself, here rather than in every reader's browser."""
    return str(mermaidx.render(drawing).svg())


def navigation(pages: Path, interfaces: dict[str, list[Path]]) -> list[object]:
    """What mkdocs calls `nav`: the guides as in docs/README.md, the interfaces, the rest."""

    def entry(page: Path, home: Path) -> dict[str, str]:
        return {title(page): str(page.relative_to(home))}

    nav: list[object] = [{"Home": "README.md"}, {"All guides": "docs/README.md"}]
    for section, found in guides().items():
        nav.append({section: [entry(page, REPO) for page in found]})
    api: list[object] = ["api/README.md"]
    for part, found in interfaces.items():
        names = [{page.stem: str(page.relative_to(pages))} for page in found[1:]]
        api.append({part: [str(found[0].relative_to(pages)), *names]})
    rest: list[object] = [{"Changelog": "CHANGELOG.md"}, "SECURITY.md", "CONTRIBUTING.md"]
    staged = {str(page.relative_to(pages)) for page in pages.rglob("README.md")}
    shown = {f"{part}/README.md" for part in PARTS}
    others = sorted(
        name
        for name in staged - shown - {"README.md", "docs/README.md"}
        if not name.startswith("api/")
    )
    folders = [{name.removesuffix("/README.md"): name} for name in [*sorted(shown), *others]]
    return [*nav, {"Interfaces": api}, {"The repository": [*rest, {"Folders": folders}]}]


if __name__ == "__main__":
    sys.exit(main())
