"""Lays the repository's pages out for the site, as they lie in the repository; knows no mkdocs.

So a link that works on GitHub works in the site. What mkdocs reads otherwise is changed: links to
folders lead to their README, what is linked and no page is copied, drawings become pictures, and
bars in a table's code are no cells.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
INDEX = REPO / "docs" / "README.md"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PARTS = ("edge", "cloud", "training", "export", "simulator", "cli", "protos")
ALSO = ("edge/web", "benchmarks", "tests", "tests/aarch64", "tests/netns", "training/checkpoints")

Draw = Callable[[str], str]

_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
_LISTED = re.compile(r"\[[^\]]+\]\(([\w-]+\.md)\)")
_DRAWING = re.compile(r"```mermaid\n(.*?)```\n", re.S)
_CELL_CODE = re.compile(r"^\|.*\\\|.*$", re.M)
_COMMENT = re.compile(r"^<!-- (not run|run instead|drawing): .*? -->\n", re.S | re.M)


def pages() -> list[Path]:
    """Every page of the site but those of the interfaces."""
    readmes = [REPO / folder / "README.md" for folder in (*PARTS, *ALSO)]
    return [REPO / name for name in TOP] + sorted((REPO / "docs").glob("*.md")) + readmes


def guides() -> dict[str, list[Path]]:
    """The guides by the sections of docs/README.md, in its order: what the navigation shows."""
    found: dict[str, list[Path]] = {}
    section: list[Path] = []
    for line in INDEX.read_text().splitlines():
        if re.fullmatch(r"[A-Z][\w ]+:", line):
            section = found.setdefault(line.removesuffix(":"), [])
        for name in _LISTED.findall(line):
            page = INDEX.parent / name
            if found and all(page not in pages for pages in found.values()):
                section.append(page)
    return found


def title(page: Path) -> str:
    """A page's heading, without marks."""
    heading = re.search(r"^# (.+)$", page.read_text(), re.M)
    return heading[1].replace("`", "") if heading else page.stem


def stage(home: Path, draw: Draw) -> None:
    """Copy all pages, their pictures and what they link into an empty folder.

    Raises:
        FileNotFoundError: a page links what is not there.
    """
    shutil.copytree(REPO / "docs" / "images", home / "docs" / "images")
    ours = set(pages())
    for page in pages():
        copied = home / page.relative_to(REPO)
        copied.parent.mkdir(parents=True, exist_ok=True)
        text = _COMMENT.sub("", page.read_text())
        text = _LINK.sub(partial(_target, page=page, ours=ours, home=home), text)
        text = _CELL_CODE.sub(_bars, text)
        copied.write_text(_drawn(text, copied, draw))


def _bars(row: re.Match[str]) -> str:
    r"""A table's row whose code says `|` and not, as for GitHub, `\|`."""
    return re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), row[0])


def _target(found: re.Match[str], *, page: Path, ours: set[Path], home: Path) -> str:
    link = found[1]
    if re.match(r"[a-z]+:", link):
        return link
    file = (page.parent / link).resolve()
    if file.is_dir():
        file, link = file / "README.md", f"{link.rstrip('/')}/README.md"
    if not file.is_file():
        raise FileNotFoundError(f"{page.relative_to(REPO)} links {link}, which is not there")
    if file not in ours and "images" not in file.parts:
        copied = home / file.relative_to(REPO)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copied)
    return link


def _drawn(text: str, page: Path, draw: Draw) -> str:
    """The text with drawings as pictures beside the page; who clicks one sees it whole."""

    def picture(found: re.Match[str]) -> str:
        before = text[: found.start()]
        name = f"images/{page.stem}-{before.count('```mermaid') + 1}.svg"
        (page.parent / name).write_text(draw(found[1]))
        said = before.strip().rsplit("\n\n", 1)[-1].replace("\n", " ").replace('"', "'")
        said = re.sub(r"[\[\]`]|\([^)]*\)", "", said)
        drawn = f'<img alt="{said}" src="{name}">'
        return f'<p class="drawing"><a href="{name}">{drawn}</a></p>\n'

    return _DRAWING.sub(picture, text)
