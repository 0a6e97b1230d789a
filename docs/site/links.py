"""Checks built pages: links and anchors lead somewhere, nothing is loaded from elsewhere.

Knows HTML files in a folder, not what made them. Links to other sites are not followed.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser fetches by itself, by tag; a `link` does for these relations.
_LOADS = {
    **{"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"},
    **{"audio": "src", "embed": "src", "object": "data", "link": "href"},
}
_LOADING = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "manifest"}


class _Page(HTMLParser):
    """What a page links and loads, and where it can be entered."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {"", "__skip"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.anchors |= {said[name] for name in ("id", "name") if name in said}
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag in _LOADS and (tag != "link" or _LOADING & set(said.get("rel", "").split())):
            self.loads.append(said.get(_LOADS[tag], ""))


def defects(site: Path) -> tuple[int, list[str]]:
    """How many links and loads were checked, and a line for each that is dead or strays."""
    pages = {path.resolve(): _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    checked, found = 0, []
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        if where.name == "404.html":
            continue  # its links are of the site's address
        for link in [*page.links, *filter(None, page.loads)]:
            to = urlsplit(link)
            checked += 1
            if to.scheme in {"data", "mailto", "javascript"}:
                continue
            if to.scheme or to.netloc:
                if link in page.loads:
                    found.append(f"{where}: loads {link}")
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                found.append(f"{where}: {link}: no such file")
            elif target in pages and unquote(to.fragment) not in pages[target].anchors:
                found.append(f"{where}: {link}: no such anchor")
    for sheet in site.rglob("*.css"):
        for line in sheet.read_text().split("url(")[1:]:
            if line.lstrip("\"'").startswith(("http:", "https:", "//")):
                found.append(f"{sheet.relative_to(site)}: loads {line.split(')')[0]}")
    return checked, sorted(set(found))
